-- One metric of one conversation over a window, from its samples. account is empty for any.
-- previous_from_ms <= from_ms < to_ms in milliseconds since 1970, step_s in seconds, aggregate one of mean, sum, last, max.
-- Rows: section 'point' (one a step that has samples, in order), 'window' (from..to together), 'previous' (previous_from..from together).
-- Percentiles are the value at rank ceil(q * n) of all samples, exactly.
CREATE OR REPLACE VIEW ${database}.conversation_series_raw ${on_cluster} AS
WITH
    fromUnixTimestamp64Milli({previous_from_ms:Int64}, 'UTC') AS first_instant,
    fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AS window_start,
    fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC') AS window_end,
    {step_s:UInt32} * 1000 AS step_ms
SELECT
    section,
    instant AS t,
    samples AS count,
    value,
    least_value AS min,
    greatest_value AS max,
    percentiles[1] AS p50,
    percentiles[2] AS p95,
    percentiles[3] AS p99,
    tupleElement(newest, 'at') AS newest,
    if(section = 'window', (value - previous_value) / nullIf(abs(previous_value), 0) * 100, NULL) AS percentage_change
FROM
(
    SELECT
        *,
        multiIf(whole_window = 0 AND is_current = 1, 'point', whole_window = 1 AND is_current = 1, 'window', 'previous') AS section,
        multiIf({aggregate:String} = 'sum', total, {aggregate:String} = 'last', tupleElement(newest, 'value'), {aggregate:String} = 'max', greatest_value, total / samples) AS value,
        anyOrNullIf(value, section = 'previous') OVER () AS previous_value,
        if(is_current = 1, CAST(found, 'Array(Nullable(Float64))'), [NULL, NULL, NULL]) AS percentiles
    FROM
    (
        SELECT
            sample.is_current AS is_current,
            sample.point AS instant,
            grouping(sample.point) AS whole_window,
            grouping(sample.is_current) AS both_windows,
            count() AS samples,
            sum(sample.value) AS total,
            min(sample.value) AS least_value,
            max(sample.value) AS greatest_value,
            max(sample.last) AS newest,
            quantilesExactWeightedIf(0.5, 0.95, 0.99)(sample.value, 1, sample.is_current) AS found
        FROM
        (
            SELECT
                timestamp >= window_start AS is_current,
                if(is_current, greatest(fromUnixTimestamp64Milli(toInt64(intDiv(toUnixTimestamp64Milli(timestamp), step_ms) * step_ms), 'UTC'), window_start), first_instant) AS point,
                value,
                CAST((timestamp, value), 'Tuple(at DateTime64(3, \'UTC\'), value Float64)') AS last
            FROM ${table system_metrics}
            WHERE conversation_id = {conversation:String} AND metric_name = {metric:String}
              AND ({account:String} = '' OR account_id = {account:String})
              AND timestamp >= first_instant AND timestamp < window_end
        ) AS sample
        GROUP BY sample.is_current, sample.point WITH ROLLUP
    )
    WHERE both_windows = 0 AND (is_current = 1 OR whole_window = 1)
)
ORDER BY section, t
