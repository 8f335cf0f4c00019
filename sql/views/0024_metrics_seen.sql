-- Which of the metrics named have samples at all in what is kept, from their hours.
-- Parameters: metrics. One row a metric that has.
CREATE OR REPLACE VIEW ${database}.metrics_seen ${on_cluster} AS
SELECT
    toString(metric_name) AS metric
FROM ${table metrics_1h}
WHERE metric_name IN {metrics:Array(String)} AND ${no_markers}
GROUP BY metric_name
