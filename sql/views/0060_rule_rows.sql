-- Metrics as alert rules heard them: by the log's time of their messages, and of one time by their place on the log. Empty conversations
-- match any. Of the metadata nothing where nobody asks for it. Parameters: from_ms < to_ms in milliseconds since 1970, of the rows' own times.
CREATE OR REPLACE VIEW ${database}.rule_rows ${on_cluster} AS
SELECT
    toUnixTimestamp64Milli(log_time) AS log_time_ms,
    log_partition,
    log_offset,
    log_row,
    metric_name,
    metric_type,
    value,
    toUnixTimestamp64Milli(timestamp) AS at_ms,
    account_id,
    conversation_id,
    user_id,
    if({with_metadata:UInt8} = 1, metadata, '') AS told
FROM ${table system_metrics}
WHERE metric_name IN {metrics:Array(String)}
  AND ${include of_accounts}
  AND (empty({conversations:Array(String)}) OR conversation_id IN {conversations:Array(String)})
  AND ${include in_window timestamp}
ORDER BY log_time, log_partition, log_offset, log_row
