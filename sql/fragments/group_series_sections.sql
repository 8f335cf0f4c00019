) AS state
GROUP BY state.group_id, state.point WITH ROLLUP
-- Where points are shorter than a day, the first of a day may have nothing but the histogram of that day.
HAVING count > 0 AND grouping(state.group_id) = 0
ORDER BY group_id, section, t
