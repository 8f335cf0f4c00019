-- Dead letters since since_ms, newest first. Empty filters match everything; log_partition, log_offset and log_row do below zero.
-- Of the bytes the first max_bytes; size is of all that is kept. Of its marks see dead_letter_marks.
CREATE OR REPLACE VIEW ${database}.dead_letter_page ${on_cluster} AS
SELECT
    page.topic AS topic,
    page.log_partition AS log_partition,
    page.log_offset AS log_offset,
    page.log_row AS log_row,
    page.log_time AS log_time,
    reason_code,
    reason,
    content_type,
    size,
    hex_bytes,
    replay_state,
    replay_at,
    open_runs
FROM
(
    SELECT
        topic, log_partition, log_offset, log_row, log_time, reason_code, reason, content_type,
        length(bytes) AS size,
        hex(substring(bytes, 1, {max_bytes:UInt32})) AS hex_bytes
    FROM ${table dead_letters}
    WHERE log_time >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
      AND ({topic:String} = '' OR topic = {topic:String})
      AND (empty({codes:Array(String)}) OR reason_code IN {codes:Array(String)})
      AND ({log_partition:Int64} < 0 OR log_partition = {log_partition:Int64})
      AND ({log_offset:Int64} < 0 OR log_offset = {log_offset:Int64})
      AND ({log_row:Int64} < 0 OR log_row = {log_row:Int64})
    ORDER BY log_time DESC, topic DESC, log_partition DESC, log_offset DESC, log_row DESC
    LIMIT {max_rows:UInt32}
) AS page
GLOBAL LEFT JOIN
(
    SELECT * FROM ${database}.dead_letter_marks WHERE log_time >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
) AS marks
ON marks.topic = page.topic AND marks.log_partition = page.log_partition AND marks.log_offset = page.log_offset
    AND marks.log_row = page.log_row AND marks.log_time = page.log_time
ORDER BY log_time DESC, topic DESC, log_partition DESC, log_offset DESC, log_row DESC
