-- Dead letters since since_ms, newest first. Empty filters match everything; log_partition, log_offset and log_row do below zero.
-- Of the bytes the first max_bytes; size is of all that is kept. replay_state is empty, 'started' or 'replayed'.
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
    replay_at
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
    SELECT
        topic, log_partition, log_offset, log_row, log_time,
        -- A letter that was once replayed stays so; else the last word counts, 'refused' being none.
        multiIf(countIf(state = 'replayed') > 0, 'replayed', argMax(state, (at, state != 'started')) = 'started', 'started', '') AS replay_state,
        max(at) AS replay_at
    FROM ${database}.dead_letter_replays
    WHERE log_time >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
    GROUP BY ALL
) AS replays
ON replays.topic = page.topic AND replays.log_partition = page.log_partition AND replays.log_offset = page.log_offset
    AND replays.log_row = page.log_row AND replays.log_time = page.log_time
ORDER BY log_time DESC, topic DESC, log_partition DESC, log_offset DESC, log_row DESC
