-- One metric of one account over a window of whole hours, from its hours and the histograms of its days.
-- Parameters: previous_from_ms <= from_ms < to_ms and from_ms <= compared_to_ms <= to_ms in milliseconds since 1970, step_s in seconds, aggregate one of mean, sum, last, max.
-- Rows by section: 'point' one a step that has samples, in order; 'window' from..to together; 'previous' previous_from..from together.
-- compared_count, compared_value: of a row's samples before compared_to; percentage_change compares from..compared_to with previous_from..from.
-- Percentiles are the value at rank ceil(q * n) of all samples, within 1 percent; 'previous', a point shorter than a day and
-- a window of other than whole days have none.
CREATE OR REPLACE VIEW ${database}.account_series_1d ${on_cluster} AS
WITH
    fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AS window_start,
    fromUnixTimestamp64Milli({compared_to_ms:Int64}, 'UTC') AS compared_end,
    sum(state.weight) > 0 AND (section = 'window' OR {step_s:UInt32} >= 86400) AND {from_ms:Int64} % 86400000 = 0 AND {to_ms:Int64} % 86400000 = 0 AS has_percentiles,
    -- The value a bucket stands for, 2 * gamma^i / (1 + gamma) = 0.99 * gamma^i where gamma = 1.01 / 0.99, never beyond what was seen.
    arrayMap(
        bucket -> greatest(min, least(max, sign(bucket) * 0.99 * exp((abs(bucket) - 15500) * 0.020000666706669435))),
        quantilesExactWeighted(0.5, 0.95, 0.99)(state.bucket, state.weight)) AS percentiles,
    anyOrNullIf(compared_value, section = 'previous') OVER () AS previous_value
SELECT
    multiIf(grouping(state.point) = 0, 'point', state.is_current, 'window', 'previous') AS section,
    state.point AS t,
    sum(state.count) AS count,
    multiIf({aggregate:String} = 'mean', sum(state.sum) / count, {aggregate:String} = 'sum', sum(state.sum), {aggregate:String} = 'max', max, tupleElement(max(state.last), 'value')) AS value,
    min(state.min) AS min,
    max(state.max) AS max,
    if(has_percentiles, percentiles[1], NULL) AS p50,
    if(has_percentiles, percentiles[2], NULL) AS p95,
    if(has_percentiles, percentiles[3], NULL) AS p99,
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
        last,
        toInt16(0) AS bucket,
        toUInt64(0) AS weight
    FROM ${table account_metrics_1h}
    WHERE metric_name = {metric:String} AND account_id = {account:String}
      AND t >= fromUnixTimestamp64Milli({previous_from_ms:Int64}, 'UTC') AND t < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
    UNION ALL
    -- Rows that carry a bucket and are neutral under everything else. They lie at midnight: where points are shorter
    -- than a day, the first point of a day may have nothing but them, which HAVING leaves out.
    SELECT
        1,
        t < compared_end,
        greatest(toStartOfInterval(t, toIntervalSecond({step_s:UInt32})), window_start),
        0,
        0.,
        inf,
        -inf,
        CAST((toDateTime64(0, 3, 'UTC'), -inf), 'Tuple(at DateTime64(3, \'UTC\'), value Float64)'),
        bucket,
        weight
    FROM ${table account_metrics_1d}
    ARRAY JOIN mapKeys(histogram) AS bucket, mapValues(histogram) AS weight
    WHERE metric_name = {metric:String} AND account_id = {account:String}
      AND t >= window_start AND t < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
) AS state
GROUP BY state.is_current, state.point WITH ROLLUP
HAVING count > 0 AND grouping(state.is_current) = 0 AND (state.is_current OR grouping(state.point) = 1)
ORDER BY section, t
