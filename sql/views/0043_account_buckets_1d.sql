-- The histograms of the days of one metric of one account as they are kept, unordered and unmerged: rows of one bucket add up.
-- Parameters: from < to, whole days.
CREATE OR REPLACE VIEW ${database}.account_buckets_1d ${on_cluster} AS
SELECT t, bucket, count
FROM ${table account_metrics_1d}
ARRAY JOIN mapKeys(histogram) AS bucket, mapValues(histogram) AS count
WHERE metric_name = {metric:String} AND account_id = {account:String} AND t >= {from:DateTime('UTC')} AND t < {to:DateTime('UTC')}
