-- One metric of several groups over a window, each by itself. Included by a view that says what a group is and gives the rows `state`.
-- Parameters: groups, their ids; from_ms < to_ms in milliseconds since 1970, step_s in seconds, aggregate one of mean, sum, last, max.
-- Rows by group and section: 'group' the whole window, then 'point' one a step that has samples, in order.
WITH
    fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AS window_start,
    ${include own_summary},
    ${include percentiles_of_${1}}
SELECT
    toString(state.group_id) AS group_id,
    if(grouping(state.point) = 0, 'point', 'group') AS section,
    state.point AS t,
    own_count AS count,
    ${include aggregate own} AS value,
    own_min AS min,
    own_max AS max,
    ${include percentile_columns}
FROM
(
