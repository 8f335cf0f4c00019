-- The same by the hour and account; samples without an account under ''.
-- Parameters: from_ms < to_ms, whole hours in milliseconds since 1970.
CREATE OR REPLACE VIEW ${database}.rule_account_hours ${on_cluster} AS
SELECT
    toInt64(toUnixTimestamp(t)) * 1000 AS at_ms,
    metric_name,
    account_id,
    sum(count) AS samples,
    sum(sum) AS total,
    min(min) AS least,
    max(max) AS largest,
    tupleElement(max(last), 'value') AS newest
FROM ${table metric_rollups}
WHERE tier = 'account_hour' AND conversation_id = '' AND metric_name IN {metrics:Array(String)} AND ${include of_accounts}
  AND ${include in_window t}
GROUP BY t, metric_name, account_id
ORDER BY t, metric_name, account_id
