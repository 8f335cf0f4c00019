-- What the control log last decided about a rule up to a time: its document, or (rule.delete) that it was removed. No row where nothing
-- of it is kept. Parameters: rule; at_ms in milliseconds since 1970.
CREATE OR REPLACE VIEW ${database}.rule_document ${on_cluster} AS
SELECT
    op,
    JSONExtractRaw(payload, 'args', 'document') AS document,
    log_offset,
    toUnixTimestamp64Milli(log_time) AS log_time_ms
FROM ${table control_log}
WHERE op IN ('rule.put', 'rule.delete') AND verdict = 'applied' AND JSONExtractString(payload, 'args', 'rule') = {rule:String}
  AND log_time <= fromUnixTimestamp64Milli({at_ms:Int64}, 'UTC')
ORDER BY log_time DESC, log_offset DESC
LIMIT 1
