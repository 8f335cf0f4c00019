-- How far activity_events reaches in each partition of the log, by the events that happened since since_ms.
CREATE OR REPLACE VIEW ${database}.activity_arrived ${on_cluster} AS
SELECT log_partition, max(log_offset) + 1 AS next
FROM ${table activity_events}
WHERE created_at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
GROUP BY log_partition
ORDER BY log_partition
