-- One metric of several accounts over a window of whole hours, each by itself, from their hours and the histograms of their days.
-- Parameters: groups, the accounts; from_ms < to_ms in milliseconds since 1970, step_s in seconds, aggregate one of mean, sum, last, max.
-- Rows by account and section: 'group' the whole window, then 'point' one a step that has samples, in order.
-- Percentiles are the value at rank ceil(q * n) of all samples, within 1 percent; a point shorter than a day and a window of other than
-- whole days have none.
CREATE OR REPLACE VIEW ${database}.account_group_series_1d ${on_cluster} AS
WITH
    fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AS window_start,
    sum(state.weight) > 0 AND (section = 'group' OR {step_s:UInt32} >= 86400) AND {from_ms:Int64} % 86400000 = 0 AND {to_ms:Int64} % 86400000 = 0 AS has_percentiles,
    -- The value a bucket stands for, 2 * gamma^i / (1 + gamma) = 0.99 * gamma^i where gamma = 1.01 / 0.99, never beyond what was seen.
    arrayMap(
        bucket -> greatest(min, least(max, sign(bucket) * 0.99 * exp((abs(bucket) - 15500) * 0.020000666706669435))),
        quantilesExactWeighted(0.5, 0.95, 0.99)(state.bucket, state.weight)) AS percentiles
SELECT
    toString(state.group_id) AS group_id,
    if(grouping(state.point) = 0, 'point', 'group') AS section,
    state.point AS t,
    sum(state.count) AS count,
    multiIf({aggregate:String} = 'mean', sum(state.sum) / count, {aggregate:String} = 'sum', sum(state.sum), {aggregate:String} = 'max', max, tupleElement(max(state.last), 'value')) AS value,
    min(state.min) AS min,
    max(state.max) AS max,
    if(has_percentiles, percentiles[1], NULL) AS p50,
    if(has_percentiles, percentiles[2], NULL) AS p95,
    if(has_percentiles, percentiles[3], NULL) AS p99
FROM
(
    SELECT
        account_id AS group_id,
        greatest(toStartOfInterval(t, toIntervalSecond({step_s:UInt32})), window_start) AS point,
        count,
        sum,
        min,
        max,
        last,
        toInt16(0) AS bucket,
        toUInt64(0) AS weight
    FROM ${table account_metrics_1h}
    WHERE metric_name = {metric:String} AND account_id IN {groups:Array(String)}
      AND t >= window_start AND t < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
    UNION ALL
    -- Rows that carry a bucket and are neutral under everything else. They lie at midnight: where points are shorter
    -- than a day, the first point of a day may have nothing but them, which HAVING leaves out.
    SELECT
        account_id,
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
    WHERE metric_name = {metric:String} AND account_id IN {groups:Array(String)}
      AND t >= window_start AND t < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
) AS state
GROUP BY state.group_id, state.point WITH ROLLUP
HAVING count > 0 AND grouping(state.group_id) = 0
ORDER BY group_id, section, t
