-- The hours of one metric of one account as they are kept, unordered and unmerged: an hour may have several rows, which add up.
-- account_series_1d answers the same window finished; this one leaves merging to the reader.
-- Parameters: previous_from < to, whole hours.
CREATE OR REPLACE VIEW ${database}.account_states_1h ${on_cluster} AS
SELECT t, count, sum, min, max, last
FROM ${table account_metrics_1h}
WHERE metric_name = {metric:String} AND account_id = {account:String}
  AND t >= {previous_from:DateTime('UTC')} AND t < {to:DateTime('UTC')}
