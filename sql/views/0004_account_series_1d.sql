-- One metric of one account over a window of whole days, from its hours and, for percentiles, the histogram of its days.
-- previous_from_ms <= from_ms < to_ms in milliseconds since 1970, step_s in seconds, aggregate one of mean, sum, last, max.
-- Rows: section 'point' (one a step that has samples, in order), 'window' (from..to together), 'previous' (previous_from..from together).
-- Percentiles are the value at rank ceil(q * n) of all samples, within 1 percent. A point shorter than a day has none.
CREATE OR REPLACE VIEW ${database}.account_series_1d ${on_cluster} AS
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
        if(is_current = 1 AND (whole_window = 1 OR {step_s:UInt32} >= 86400), CAST(found, 'Array(Nullable(Float64))'), [NULL, NULL, NULL]) AS percentiles
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
            quantilesExactWeighted(0.5, 0.95, 0.99)(state.bucket, state.weight) AS buckets
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
                toInt16(0) AS bucket,
                toUInt64(0) AS weight
            FROM ${table account_metrics_1h}
            WHERE metric_name = {metric:String} AND account_id = {account:String} AND t >= first_instant AND t < window_end
            UNION ALL
            -- Rows that carry a bucket and nothing else: neutral under every other aggregate.
            SELECT
                1,
                greatest(toDateTime(intDiv(toUnixTimestamp(t), {step_s:UInt32}) * {step_s:UInt32}, 'UTC'), window_start),
                0,
                0.,
                inf,
                -inf,
                CAST((toDateTime64(0, 3, 'UTC'), -inf), 'Tuple(at DateTime64(3, \'UTC\'), value Float64)'),
                bucket,
                count
            FROM ${table account_metrics_1d}
            WHERE metric_name = {metric:String} AND account_id = {account:String} AND t >= window_start AND t < window_end
        ) AS state
        GROUP BY state.is_current, state.point WITH ROLLUP
        -- A day's histogram lies at its midnight, where a shorter point may have no sample.
        HAVING samples > 0
    )
    WHERE both_windows = 0 AND (is_current = 1 OR whole_window = 1)
)
ORDER BY section, t
