-- One metric of one conversation over a window of whole days, from its days; account is empty for any.
-- Parameters: previous_from_ms <= from_ms < to_ms and from_ms <= compared_to_ms <= to_ms in milliseconds since 1970, step_s in seconds, aggregate one of mean, sum, last, max.
-- Rows by section: 'point' one a step that has samples, in order; 'window' from..to together; 'previous' previous_from..from together.
-- compared_count, compared_value: of a row's samples before compared_to; percentage_change compares from..compared_to with previous_from..from.
-- There are no percentiles: p50, p95 and p99 are null.
CREATE OR REPLACE VIEW ${database}.conversation_series_1d ${on_cluster} AS
WITH
    fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AS window_start,
    fromUnixTimestamp64Milli({compared_to_ms:Int64}, 'UTC') AS compared_end,
    anyOrNullIf(compared_value, section = 'previous') OVER () AS previous_value
SELECT
    multiIf(grouping(state.point) = 0, 'point', state.is_current, 'window', 'previous') AS section,
    state.point AS t,
    sum(state.count) AS count,
    multiIf({aggregate:String} = 'mean', sum(state.sum) / count, {aggregate:String} = 'sum', sum(state.sum), {aggregate:String} = 'max', max, tupleElement(max(state.last), 'value')) AS value,
    min(state.min) AS min,
    max(state.max) AS max,
    CAST(NULL, 'Nullable(Float64)') AS p50,
    CAST(NULL, 'Nullable(Float64)') AS p95,
    CAST(NULL, 'Nullable(Float64)') AS p99,
    tupleElement(max(state.last), 'at') AS newest,
    sumIf(state.count, state.is_compared) AS compared_count,
    if(compared_count = 0, NULL, multiIf({aggregate:String} = 'mean', sumIf(state.sum, state.is_compared) / compared_count, {aggregate:String} = 'sum', sumIf(state.sum, state.is_compared), {aggregate:String} = 'max', maxIf(state.max, state.is_compared), tupleElement(maxIf(state.last, state.is_compared), 'value'))) AS compared_value,
    if(section = 'window', (compared_value - previous_value) / nullIf(abs(previous_value), 0) * 100, NULL) AS percentage_change
FROM
(
    SELECT
        t >= window_start AS is_current,
        t < compared_end AS is_compared,
        greatest(toStartOfInterval(t, toIntervalSecond({step_s:UInt32})), window_start) AS point,
        count,
        sum,
        min,
        max,
        last
    FROM ${table conversation_metrics_1d}
    WHERE conversation_id = {conversation:String} AND metric_name = {metric:String} AND ({account:String} = '' OR account_id = {account:String})
      AND t >= fromUnixTimestamp64Milli({previous_from_ms:Int64}, 'UTC') AND t < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
) AS state
GROUP BY state.is_current, state.point WITH ROLLUP
HAVING grouping(state.is_current) = 0 AND (state.is_current OR grouping(state.point) = 1)
ORDER BY section, t
