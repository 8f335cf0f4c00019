-- The conversations of one metric over a window, ranked, from its samples.
-- Parameters: previous_from_ms <= previous_to_ms <= from_ms < to_ms and from_ms <= compared_to_ms <= to_ms in milliseconds since 1970, account empty for any, aggregate one of
-- mean, sum, last, max, order_by one of count, sum, mean, min, max, last, p50, p95, p99, descending 0 or 1, top the most groups.
-- Rows: first that of the samples without a conversation where there are any (group_id is ''), then the groups in their order, of equals the one
-- with more samples and then the lesser id first; one more than top when there is no row without a conversation. total_* are of every sample of the window,
-- group_count tells the groups there are in all. compared_* are of a group's samples in from..compared_to, previous_* of those in
-- previous_from..previous_to; nothing is read for the latter where previous_from is from.
CREATE OR REPLACE VIEW ${database}.conversation_groups_raw ${on_cluster} AS
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
        -- Only where they decide the order: for it every sample has to be kept.
        {order_by:String} IN ('p50', 'p95', 'p99') AS by_percentile,
        quantilesExactWeightedIf(0.5, 0.95, 0.99)(state.sum, 1, by_percentile AND state.is_current) AS percentiles
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
            conversation_id AS group_id,
            timestamp >= window_start AS is_current,
            timestamp >= window_start AND timestamp < compared_end AS is_compared,
            timestamp < previous_end AS is_previous,
            1 AS count,
            value AS sum,
            value AS min,
            value AS max,
            CAST((timestamp, value), 'Tuple(at DateTime64(3, \'UTC\'), value Float64)') AS last
        FROM ${table system_metrics}
        WHERE metric_name = {metric:String} AND ({account:String} = '' OR account_id = {account:String})
          AND timestamp >= fromUnixTimestamp64Milli({previous_from_ms:Int64}, 'UTC') AND timestamp < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
    ) AS state
    GROUP BY state.group_id
    HAVING count > 0
) AS ranked
ORDER BY ranked.group_id != '', if({descending:UInt8} = 1, -ranked.order_key, ranked.order_key), ranked.count DESC, ranked.group_id
LIMIT {top:UInt32} + 1
