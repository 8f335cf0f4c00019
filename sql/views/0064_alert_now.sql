-- One alert as the newest record of the control log left it; no row for one of which nothing is kept. Parameters: alert, a UUID as text.
CREATE OR REPLACE VIEW ${database}.alert_now ${on_cluster} AS
SELECT
    rule,
    rule_version,
    account_id,
    conversation_id,
    metric_name,
    severity,
    toUnixTimestamp64Milli(raised_at) AS raised_ms,
    toUnixTimestamp64Milli(resolved_at) AS resolved_ms,
    status
FROM ${table alert_instances}
WHERE alert_id = toUUID({alert:String})
ORDER BY log_time DESC, log_offset DESC
LIMIT 1
