-- One metric over a window, from its minutes.
-- previous_from_ms <= from_ms < to_ms in milliseconds since 1970, step_s in seconds, aggregate one of mean, sum, last, max.
-- Rows: section 'point' (one a step that has samples, in order), 'window' (from..to together), 'previous' (previous_from..from together).
-- Percentiles are the value at rank ceil(q * n) of all samples, within 1 percent.
CREATE OR REPLACE VIEW ${database}.metric_series_1m ${on_cluster} AS
WITH
    toDateTime(intDiv({previous_from_ms:Int64}, 1000), 'UTC') AS first_instant,
    toDateTime(intDiv({from_ms:Int64}, 1000), 'UTC') AS window_start,
    toDateTime(intDiv({to_ms:Int64}, 1000), 'UTC') AS window_end
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
        -- The value a bucket stands for (the inverse of the log-gamma histogram), never beyond what was seen.
        arrayMap(
            bucket -> greatest(least_value, least(greatest_value, if(bucket = 0, 0., sign(bucket) * 2 * exp((abs(bucket) - 15500) * log(1.01 / 0.99)) / (1 + 1.01 / 0.99)))),
            buckets) AS found,
        if(is_current = 1, CAST(found, 'Array(Nullable(Float64))'), [NULL, NULL, NULL]) AS percentiles
    FROM
    (
        SELECT
            state.is_current AS is_current,
            toDateTime64(state.point, 3, 'UTC') AS instant,
            grouping(state.point) AS whole_window,
            grouping(state.is_current) AS both_windows,
            sum(state.count) AS samples,
            sum(state.sum) AS total,
            min(state.min) AS least_value,
            max(state.max) AS greatest_value,
            max(state.last) AS newest,
            sumMap(state.histogram) AS merged,
            arrayReduce('quantilesExactWeighted(0.5, 0.95, 0.99)', mapKeys(merged), mapValues(merged)) AS buckets
        FROM
        (
            SELECT
                t >= window_start AS is_current,
                if(is_current, greatest(toDateTime(intDiv(toUnixTimestamp(t), {step_s:UInt32}) * {step_s:UInt32}, 'UTC'), window_start), first_instant) AS point,
                count,
                sum,
                min,
                max,
                last,
                if(is_current, histogram, CAST(map(), 'Map(Int16, UInt64)')) AS histogram
            FROM ${table metrics_1m}
            WHERE metric_name = {metric:String} AND t >= first_instant AND t < window_end
        ) AS state
        GROUP BY state.is_current, state.point WITH ROLLUP
    )
    WHERE both_windows = 0 AND (is_current = 1 OR whole_window = 1)
)
ORDER BY section, t
