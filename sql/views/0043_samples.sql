-- The samples of one metric over a window, as they were recorded, oldest first; accounts and conversation are empty for any.
-- Parameters: from_ms < to_ms in milliseconds since 1970.
CREATE OR REPLACE VIEW ${database}.samples ${on_cluster} AS
SELECT timestamp, metric_name, metric_type, value, account_id, conversation_id, user_id, metadata
FROM ${table system_metrics}
WHERE metric_name = {metric:String}
  AND ${include of_accounts}
  AND ({conversation:String} = '' OR conversation_id = {conversation:String})
  AND timestamp >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND timestamp < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
ORDER BY timestamp
