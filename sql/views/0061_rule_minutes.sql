-- What the samples of some metrics came to by the minute, of all accounts together, oldest first: for alert rules, where the samples are
-- gone. Parameters: from_ms < to_ms, whole minutes in milliseconds since 1970.
CREATE OR REPLACE VIEW ${database}.rule_minutes ${on_cluster} AS
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
WHERE tier = 'minute' AND conversation_id = '' AND metric_name IN {metrics:Array(String)} AND account_id = ''
  AND ${include in_window t}
GROUP BY t, metric_name, account_id
ORDER BY t, metric_name, account_id
