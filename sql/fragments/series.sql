-- One metric over a window, in points. Included by a view that gives the rows `state`.
-- Parameters: previous_from_ms <= from_ms < to_ms and from_ms <= compared_to_ms <= to_ms in milliseconds since 1970, step_s in seconds,
-- aggregate one of mean, sum, last, max.
-- Rows by section: 'point' one a step that has samples, in order; 'window' from..to together; 'previous' previous_from..from together.
-- compared_count, compared_value: of a row's samples before compared_to; percentage_change compares from..compared_to with previous_from..from.
WITH
    fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AS window_start,
    fromUnixTimestamp64Milli({compared_to_ms:Int64}, 'UTC') AS compared_end,
    ${include own_summary},
    ${include part_value compared},
    ${include percentiles_of_${1}},
    anyOrNullIf(compared_value, section = 'previous') OVER () AS previous_value
SELECT
    multiIf(grouping(state.point) = 0, 'point', state.is_current, 'window', 'previous') AS section,
    state.point AS t,
    own_count AS count,
    ${include aggregate own} AS value,
    own_min AS min,
    own_max AS max,
    ${include percentile_columns},
    tupleElement(own_newest, 'at') AS newest,
    compared_count,
    compared_value,
    if(section = 'window', (compared_value - previous_value) / nullIf(abs(previous_value), 0) * 100, NULL) AS percentage_change
