-- The hours of one metric as they are kept, unordered and unmerged: an hour may have several rows, which add up.
-- metric_series_1h answers the same window finished; this one leaves merging to the reader, which takes a third of the time.
-- Parameters: previous_from <= from < to, whole hours. Rows before from, which are only compared with, have no histogram.
CREATE OR REPLACE VIEW ${database}.metric_states_1h ${on_cluster} AS
SELECT
    t,
    count,
    sum,
    min,
    max,
    last,
    if(t >= {from:DateTime('UTC')}, histogram, CAST(map(), 'Map(Int16, UInt64)')) AS histogram
FROM ${table metrics_1h}
WHERE metric_name = {metric:String} AND t >= {previous_from:DateTime('UTC')} AND t < {to:DateTime('UTC')}
