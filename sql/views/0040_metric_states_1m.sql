-- The minutes of one metric as they are kept, unordered and unmerged: a minute may have several rows, which add up.
-- metric_series_1m answers the same window finished; this one leaves merging to the reader, which takes a third of the time.
-- Parameters: previous_from <= from < to, whole minutes. Rows before from, which are only compared with, have no histogram.
CREATE OR REPLACE VIEW ${database}.metric_states_1m ${on_cluster} AS
SELECT
    t,
    count,
    sum,
    min,
    max,
    last,
    if(t >= {from:DateTime('UTC')}, histogram, CAST(map(), 'Map(Int16, UInt64)')) AS histogram
FROM ${table metrics_1m}
WHERE metric_name = {metric:String} AND t >= {previous_from:DateTime('UTC')} AND t < {to:DateTime('UTC')}
