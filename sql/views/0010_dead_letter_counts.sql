-- Messages that were refused: all that are kept, those since since_ms, and when the newest came.
CREATE OR REPLACE VIEW ${database}.dead_letter_counts ${on_cluster} AS
SELECT
    count() AS total,
    countIf(log_time >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')) AS recent,
    maxOrNull(log_time) AS newest
FROM ${table dead_letters}
