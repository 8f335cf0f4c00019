-- Which of the metrics named have samples at all in what is kept, from their hours.
-- Parameters: metrics. One row a metric that has.
CREATE OR REPLACE VIEW ${database}.metrics_seen ${on_cluster} AS
SELECT
    toString(metric_name) AS metric
FROM ${table metric_rollups}
WHERE tier = 'hour' AND conversation_id = '' AND metric_name IN {metrics:Array(String)}
GROUP BY metric_name
