-- Alerts that were raised in a window and are as asked for, newest first, each as its newest record left it, with how often somebody was to be
-- told of it. What is empty matches any; label_names and label_values are of one length. No message is written for what is quiet,
-- which is not known here. Parameters: from_ms < to_ms in milliseconds since 1970.
CREATE OR REPLACE VIEW ${database}.alerts_matched ${on_cluster} AS
SELECT
    toString(alert_id) AS alert,
    tupleElement(newest, 1) AS rule,
    tupleElement(newest, 2) AS account_id,
    tupleElement(newest, 3) AS conversation_id,
    tupleElement(newest, 4) AS metric_name,
    tupleElement(newest, 5) AS severity,
    tupleElement(newest, 6) AS status,
    tupleElement(newest, 7) AS raised_ms,
    tupleElement(newest, 8) AS resolved_ms,
    tupleElement(newest, 9) AS explanation,
    tellings
FROM
(
    SELECT
        alert_id,
        argMax(
            (rule, account_id, conversation_id, metric_name, severity, status, toUnixTimestamp64Milli(raised_at),
                toUnixTimestamp64Milli(resolved_at), explanation, labels),
            (log_time, log_offset)) AS newest,
        uniqExactIf((log_life, log_offset), hasAny(splitByChar(',', steps), ['raised', 'worsened', 'data_resolved', 'resolved', 'reopened', 'climbed'])) AS tellings
    FROM ${table alert_instances}
    -- A clock of a producer may be ahead of the log's by some minutes.
    WHERE log_time >= fromUnixTimestamp64Milli({from_ms:Int64} - 3600000, 'UTC')
      AND raised_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND raised_at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
      AND ${include of_accounts}
      AND ({rule:String} = '' OR rule = {rule:String})
      AND ({metric:String} = '' OR metric_name = {metric:String})
      AND ({account:String} = '' OR account_id = {account:String})
      AND ({conversation:String} = '' OR conversation_id = {conversation:String})
    GROUP BY alert_id
)
WHERE ({severity:String} = '' OR severity = {severity:String})
  AND arrayAll((name, wanted) -> JSONExtractString(tupleElement(newest, 10), name) = wanted, {label_names:Array(String)}, {label_values:Array(String)})
ORDER BY raised_ms DESC, alert
LIMIT {max_rows:UInt32}
