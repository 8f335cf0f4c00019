-- Dead letters to put on the log again, without those that were, unless again is set. Empty filters match everything.
-- Those that can only be left out come last, so that they never stand in the way of the others when max_rows are asked for; before
-- them come those with marks, the oldest mark first, and first those never tried, oldest first.
CREATE OR REPLACE VIEW ${database}.dead_letters_to_replay ${on_cluster} AS
SELECT
    letters.topic AS topic,
    letters.log_partition AS log_partition,
    letters.log_offset AS log_offset,
    letters.log_row AS log_row,
    letters.log_time AS log_time,
    reason_code,
    reason,
    content_type,
    size,
    '' AS hex_bytes,
    replay_state,
    replay_at,
    open_runs
FROM
(
    SELECT topic, log_partition, log_offset, log_row, log_time, reason_code, reason, content_type, length(bytes) AS size
    FROM ${table dead_letters}
    WHERE log_time >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
      AND ({topic:String} = '' OR topic = {topic:String})
      AND (empty({codes:Array(String)}) OR reason_code IN {codes:Array(String)})
) AS letters
GLOBAL LEFT JOIN
(
    SELECT * FROM ${database}.dead_letter_marks WHERE log_time >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
) AS marks
ON marks.topic = letters.topic AND marks.log_partition = letters.log_partition AND marks.log_offset = letters.log_offset
    AND marks.log_row = letters.log_row AND marks.log_time = letters.log_time
WHERE {again:UInt8} != 0 OR replay_state != 'replayed'
ORDER BY
    ({again:UInt8} = 0 AND replay_state = 'started') OR reason_code = 'conversation_content' OR size = 0,
    replay_at, log_time, topic, log_partition, log_offset, log_row
LIMIT {max_rows:UInt32}
