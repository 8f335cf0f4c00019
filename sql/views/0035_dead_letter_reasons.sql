-- Dead letters since since_ms by topic and reason, most first. Empty filters match everything.
CREATE OR REPLACE VIEW ${database}.dead_letter_reasons ${on_cluster} AS
SELECT
    topic,
    reason_code,
    count() AS count,
    min(log_time) AS oldest,
    max(log_time) AS newest,
    argMax(reason, (log_time, log_offset, log_row)) AS newest_reason
FROM ${table dead_letters}
WHERE log_time >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
  AND ({topic:String} = '' OR topic = {topic:String})
  AND (empty({codes:Array(String)}) OR reason_code IN {codes:Array(String)})
GROUP BY topic, reason_code
ORDER BY count DESC, topic, reason_code
