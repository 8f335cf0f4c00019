-- One metric of one conversation over a window, from its samples; account is empty for any.
-- Parameters: previous_from_ms <= from_ms < to_ms and from_ms <= compared_to_ms <= to_ms in milliseconds since 1970, step_s in seconds, aggregate one of mean, sum, last, max.
-- Rows by section: 'point' one a step that has samples, in order; 'window' from..to together; 'previous' previous_from..from together.
-- compared_count, compared_value: of a row's samples before compared_to; percentage_change compares from..compared_to with previous_from..from.
-- Percentiles are the value at rank ceil(q * n) of all samples, exactly.
CREATE OR REPLACE VIEW ${database}.conversation_series_raw ${on_cluster} AS
WITH
    fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AS window_start,
    fromUnixTimestamp64Milli({compared_to_ms:Int64}, 'UTC') AS compared_end,
    quantilesExactWeighted(0.5, 0.95, 0.99)(state.value, 1) AS percentiles,
    anyOrNullIf(compared_value, section = 'previous') OVER () AS previous_value
SELECT
    multiIf(grouping(state.point) = 0, 'point', state.is_current, 'window', 'previous') AS section,
    state.point AS t,
    count() AS count,
    multiIf({aggregate:String} = 'mean', sum(state.value) / count, {aggregate:String} = 'sum', sum(state.value), {aggregate:String} = 'max', max, tupleElement(max(state.last), 'value')) AS value,
    min(state.value) AS min,
    max(state.value) AS max,
    toNullable(percentiles[1]) AS p50,
    toNullable(percentiles[2]) AS p95,
    toNullable(percentiles[3]) AS p99,
    tupleElement(max(state.last), 'at') AS newest,
    countIf(state.is_compared) AS compared_count,
    if(compared_count = 0, NULL, multiIf({aggregate:String} = 'mean', sumIf(state.value, state.is_compared) / compared_count, {aggregate:String} = 'sum', sumIf(state.value, state.is_compared), {aggregate:String} = 'max', maxIf(state.value, state.is_compared), tupleElement(maxIf(state.last, state.is_compared), 'value'))) AS compared_value,
    if(section = 'window', (compared_value - previous_value) / nullIf(abs(previous_value), 0) * 100, NULL) AS percentage_change
FROM
(
    SELECT
        timestamp >= window_start AS is_current,
        timestamp < compared_end AS is_compared,
        greatest(toStartOfInterval(timestamp, toIntervalSecond({step_s:UInt32})), window_start) AS point,
        value,
        CAST((timestamp, value), 'Tuple(at DateTime64(3, \'UTC\'), value Float64)') AS last
    FROM ${table system_metrics}
    WHERE conversation_id = {conversation:String} AND metric_name = {metric:String} AND ({account:String} = '' OR account_id = {account:String})
      -- The table is sorted by metric, account and time: the conversation's days tell whose range of it to read.
      AND account_id GLOBAL IN (
        SELECT account_id FROM ${table conversation_metrics_1d}
        WHERE conversation_id = {conversation:String} AND metric_name = {metric:String}
          AND t >= toStartOfDay(fromUnixTimestamp64Milli({previous_from_ms:Int64}, 'UTC')) AND t < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC'))
      AND timestamp >= fromUnixTimestamp64Milli({previous_from_ms:Int64}, 'UTC') AND timestamp < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
) AS state
GROUP BY state.is_current, state.point WITH ROLLUP
HAVING grouping(state.is_current) = 0 AND (state.is_current OR grouping(state.point) = 1)
ORDER BY section, t
