-- One metric of several conversations over a window, each by itself, from their samples.
-- Parameters: groups, the conversations; from_ms < to_ms in milliseconds since 1970, step_s in seconds, aggregate one of mean, sum, last, max, account empty for any.
-- Rows by conversation and section: 'group' the whole window, then 'point' one a step that has samples, in order.
-- Percentiles are the value at rank ceil(q * n) of all samples, exactly.
CREATE OR REPLACE VIEW ${database}.conversation_group_series_raw ${on_cluster} AS
WITH
    fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AS window_start,
    quantilesExactWeighted(0.5, 0.95, 0.99)(state.value, 1) AS percentiles
SELECT
    toString(state.group_id) AS group_id,
    if(grouping(state.point) = 0, 'point', 'group') AS section,
    state.point AS t,
    count() AS count,
    multiIf({aggregate:String} = 'mean', sum(state.value) / count, {aggregate:String} = 'sum', sum(state.value), {aggregate:String} = 'max', max, tupleElement(max(state.last), 'value')) AS value,
    min(state.value) AS min,
    max(state.value) AS max,
    toNullable(percentiles[1]) AS p50,
    toNullable(percentiles[2]) AS p95,
    toNullable(percentiles[3]) AS p99
FROM
(
    SELECT
        conversation_id AS group_id,
        greatest(toStartOfInterval(timestamp, toIntervalSecond({step_s:UInt32})), window_start) AS point,
        value,
        CAST((timestamp, value), 'Tuple(at DateTime64(3, \'UTC\'), value Float64)') AS last
    FROM ${table system_metrics}
    WHERE conversation_id IN {groups:Array(String)} AND metric_name = {metric:String} AND ({account:String} = '' OR account_id = {account:String})
      -- The table is sorted by metric, account and time: the conversations' days tell whose ranges of it to read.
      AND account_id GLOBAL IN (
        SELECT account_id FROM ${table conversation_metrics_1d}
        WHERE conversation_id IN {groups:Array(String)} AND metric_name = {metric:String}
          AND t >= toStartOfDay(fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')) AND t < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC'))
      AND timestamp >= window_start AND timestamp < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
) AS state
GROUP BY state.group_id, state.point WITH ROLLUP
HAVING grouping(state.group_id) = 0
ORDER BY group_id, section, t
