-- One metric of several conversations over a window of whole days (UTC), each by itself, from their days.
-- Parameters: groups, the conversations; from_ms < to_ms in milliseconds since 1970, step_s in seconds, aggregate one of mean, sum, last, max, account empty for any.
-- Rows by conversation and section: 'group' the whole window, then 'point' one a step that has samples, in order.
-- There are no percentiles: p50, p95 and p99 are null.
CREATE OR REPLACE VIEW ${database}.conversation_group_series_1d ${on_cluster} AS
WITH
    fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AS window_start
SELECT
    toString(state.group_id) AS group_id,
    if(grouping(state.point) = 0, 'point', 'group') AS section,
    state.point AS t,
    sum(state.count) AS count,
    multiIf({aggregate:String} = 'mean', sum(state.sum) / count, {aggregate:String} = 'sum', sum(state.sum), {aggregate:String} = 'max', max, tupleElement(max(state.last), 'value')) AS value,
    min(state.min) AS min,
    max(state.max) AS max,
    CAST(NULL, 'Nullable(Float64)') AS p50,
    CAST(NULL, 'Nullable(Float64)') AS p95,
    CAST(NULL, 'Nullable(Float64)') AS p99
FROM
(
    SELECT
        conversation_id AS group_id,
        greatest(toStartOfInterval(t, toIntervalSecond({step_s:UInt32})), window_start) AS point,
        count,
        sum,
        min,
        max,
        last
    FROM ${table conversation_metrics_1d}
    WHERE conversation_id IN {groups:Array(String)} AND metric_name = {metric:String} AND ({account:String} = '' OR account_id = {account:String})
      AND t >= window_start AND t < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
) AS state
GROUP BY state.group_id, state.point WITH ROLLUP
HAVING grouping(state.group_id) = 0
ORDER BY group_id, section, t
