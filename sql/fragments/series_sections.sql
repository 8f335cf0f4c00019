GROUP BY state.is_current, state.point WITH ROLLUP
-- Where points are shorter than a day, the first of a day may have nothing but the histogram of that day.
HAVING count > 0 AND grouping(state.is_current) = 0 AND (state.is_current OR grouping(state.point) = 1)
ORDER BY section, t
