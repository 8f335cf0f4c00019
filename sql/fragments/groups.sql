-- Groups of one metric over a window, ranked. Included by a view that says what a group is and gives the rows `state`.
-- Parameters: previous_from_ms <= previous_to_ms <= from_ms < to_ms and from_ms <= compared_to_ms <= to_ms in milliseconds since 1970, aggregate
-- one of mean, sum, last, max, order_by one of count, sum, mean, min, max, last and, where there are percentiles, p50, p95, p99,
-- descending 0 or 1, top the most groups.
-- Rows: first that of the samples without a group where there are any (group_id is ''), then the groups in their order, of equals the one
-- with more samples and then the lesser id first; one more than top when there is no row without a group. total_* are of every sample of the
-- window, group_count tells the groups there are in all. compared_* are of a group's samples in from..compared_to, previous_* of those in
-- previous_from..previous_to; nothing is read for the latter where previous_from is from.
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
    ${include aggregate total} AS total_value
FROM
(
    WITH
        -- Only where they decide the order: for it every sample or histogram has to be read.
        {order_by:String} IN ('p50', 'p95', 'p99') AS by_percentile,
        ${include part_summary current own},
        ${include part_value compared},
        ${include part_value previous},
        ${include ranking_by_${1}}
    SELECT
        toString(state.group_id) AS group_id,
        own_count AS count,
        own_sum AS sum,
        own_min AS min,
        own_max AS max,
        own_newest AS newest_sample,
        ${include aggregate own} AS value,
        compared_count,
        compared_value,
        previous_count,
        previous_value,
        multiIf({order_by:String} = 'count', toFloat64(count), {order_by:String} = 'sum', sum, {order_by:String} = 'mean', sum / count, {order_by:String} = 'min', min, {order_by:String} = 'last', own_last, {order_by:String} = 'p50', percentiles[1], {order_by:String} = 'p95', percentiles[2], {order_by:String} = 'p99', percentiles[3], max) AS order_key
    FROM
    (
