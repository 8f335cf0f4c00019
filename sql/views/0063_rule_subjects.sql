-- What the samples of some metrics were about over whole days: all of them, those of no conversation, those of neither a conversation nor
-- an account. Parameters: from_ms < to_ms, whole days in milliseconds since 1970.
CREATE OR REPLACE VIEW ${database}.rule_subjects ${on_cluster} AS
SELECT
    metric_name,
    sumIf(count, tier = 'account_hour') AS samples,
    sumIf(count, tier = 'conversation_day') AS of_no_conversation,
    sumIf(count, tier = 'conversation_day' AND account_id = '') AS of_nothing
FROM ${table metric_rollups}
WHERE tier IN ('account_hour', 'conversation_day') AND conversation_id = '' AND metric_name IN {metrics:Array(String)}
  AND ${include of_accounts}
  AND ${include in_window t}
GROUP BY metric_name
