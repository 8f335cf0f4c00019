-- Which of the metrics named have samples at all in what is kept, from their hours; of some accounts from the hours of those.
-- Parameters: metrics; accounts, empty for any. One row a metric that has.
CREATE OR REPLACE VIEW ${database}.metrics_seen ${on_cluster} AS
SELECT
    toString(metric_name) AS metric
FROM ${table metric_rollups}
WHERE ((empty({accounts:Array(String)}) AND tier = 'hour') OR (tier = 'account_hour' AND account_id IN {accounts:Array(String)}))
  AND conversation_id = '' AND metric_name IN {metrics:Array(String)}
GROUP BY metric_name
