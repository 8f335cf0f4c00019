-- The accounts of one metric over a window of whole hours, ranked, from its hours; by a percentile only over whole days (UTC), from the histograms of its days.
-- Parameters: previous_from_ms <= previous_to_ms <= from_ms < to_ms and from_ms <= compared_to_ms <= to_ms in milliseconds since 1970, aggregate one of
-- mean, sum, last, max, order_by one of count, sum, mean, min, max, last, p50, p95, p99, descending 0 or 1, top the most groups.
-- Rows: first that of the samples without an account where there are any (group_id is ''), then the groups in their order, of equals the one
-- with more samples and then the lesser id first; one more than top when there is no row without an account. total_* are of every sample of the window,
-- group_count tells the groups there are in all. compared_* are of a group's samples in from..compared_to, previous_* of those in
-- previous_from..previous_to; nothing is read for the latter where previous_from is from.
CREATE OR REPLACE VIEW ${database}.account_groups_1d ${on_cluster} AS
WITH
    fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AS window_start,
    fromUnixTimestamp64Milli({compared_to_ms:Int64}, 'UTC') AS compared_end,
    fromUnixTimestamp64Milli({previous_to_ms:Int64}, 'UTC') AS previous_end
SELECT
    ranked.group_id AS group_id,
    ranked.count AS count,
    ranked.value AS value,
    ranked.sum AS sum,
    ranked.min AS min,
    ranked.max AS max,
    tupleElement(ranked.newest_sample, 'at') AS newest,
    tupleElement(ranked.newest_sample, 'value') AS last,
    ranked.compared_count AS compared_count,
    ranked.compared_value AS compared_value,
    ranked.previous_count AS previous_count,
    ranked.previous_value AS previous_value,
    countIf(ranked.group_id != '') OVER () AS group_count,
    sum(ranked.count) OVER () AS total_count,
    sum(ranked.sum) OVER () AS total_sum,
    min(ranked.min) OVER () AS total_min,
    max(ranked.max) OVER () AS total_max,
    tupleElement(max(ranked.newest_sample) OVER (), 'at') AS total_newest,
    tupleElement(max(ranked.newest_sample) OVER (), 'value') AS total_last,
    multiIf({aggregate:String} = 'mean', total_sum / total_count, {aggregate:String} = 'sum', total_sum, {aggregate:String} = 'max', total_max, total_last) AS total_value
FROM
(
    WITH
        {order_by:String} IN ('p50', 'p95', 'p99') AS by_percentile,
        -- The value a bucket stands for, 2 * gamma^i / (1 + gamma) = 0.99 * gamma^i where gamma = 1.01 / 0.99, never beyond what was seen.
        arrayMap(
            bucket -> greatest(min, least(max, sign(bucket) * 0.99 * exp((abs(bucket) - 15500) * 0.020000666706669435))),
            quantilesExactWeightedIf(0.5, 0.95, 0.99)(state.bucket, state.weight, by_percentile)) AS percentiles
    SELECT
        toString(state.group_id) AS group_id,
        sumIf(state.count, state.is_current) AS count,
        sumIf(state.sum, state.is_current) AS sum,
        minIf(state.min, state.is_current) AS min,
        maxIf(state.max, state.is_current) AS max,
        maxIf(state.last, state.is_current) AS newest_sample,
        multiIf({aggregate:String} = 'mean', sum / count, {aggregate:String} = 'sum', sum, {aggregate:String} = 'max', max, tupleElement(newest_sample, 'value')) AS value,
        sumIf(state.count, state.is_compared) AS compared_count,
        if(compared_count = 0, NULL, multiIf({aggregate:String} = 'mean', sumIf(state.sum, state.is_compared) / compared_count, {aggregate:String} = 'sum', sumIf(state.sum, state.is_compared), {aggregate:String} = 'max', maxIf(state.max, state.is_compared), tupleElement(maxIf(state.last, state.is_compared), 'value'))) AS compared_value,
        sumIf(state.count, state.is_previous) AS previous_count,
        if(previous_count = 0, NULL, multiIf({aggregate:String} = 'mean', sumIf(state.sum, state.is_previous) / previous_count, {aggregate:String} = 'sum', sumIf(state.sum, state.is_previous), {aggregate:String} = 'max', maxIf(state.max, state.is_previous), tupleElement(maxIf(state.last, state.is_previous), 'value'))) AS previous_value,
        multiIf({order_by:String} = 'count', toFloat64(count), {order_by:String} = 'sum', sum, {order_by:String} = 'mean', sum / count, {order_by:String} = 'min', min, {order_by:String} = 'last', tupleElement(newest_sample, 'value'), {order_by:String} = 'p50', percentiles[1], {order_by:String} = 'p95', percentiles[2], {order_by:String} = 'p99', percentiles[3], max) AS order_key
    FROM
    (
        SELECT
            account_id AS group_id,
            t >= window_start AS is_current,
            t >= window_start AND t < compared_end AS is_compared,
            t < previous_end AS is_previous,
            count,
            sum,
            min,
            max,
            last,
            toInt16(0) AS bucket,
            toUInt64(0) AS weight
        FROM ${table account_metrics_1h}
        WHERE metric_name = {metric:String}
          AND t >= fromUnixTimestamp64Milli({previous_from_ms:Int64}, 'UTC') AND t < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
        UNION ALL
        -- Rows that carry a bucket and are neutral under everything else; read only where percentiles decide the order.
        SELECT
            account_id,
            1,
            0,
            0,
            0,
            0.,
            inf,
            -inf,
            CAST((toDateTime64(0, 3, 'UTC'), -inf), 'Tuple(at DateTime64(3, \'UTC\'), value Float64)'),
            bucket,
            weight
        FROM ${table account_metrics_1d}
        ARRAY JOIN mapKeys(histogram) AS bucket, mapValues(histogram) AS weight
        WHERE {order_by:String} IN ('p50', 'p95', 'p99') AND metric_name = {metric:String}
          AND t >= window_start AND t < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
    ) AS state
    GROUP BY state.group_id
    HAVING count > 0
) AS ranked
ORDER BY ranked.group_id != '', if({descending:UInt8} = 1, -ranked.order_key, ranked.order_key), ranked.count DESC, ranked.group_id
LIMIT {top:UInt32} + 1
