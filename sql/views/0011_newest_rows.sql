-- When the newest metric since since_ms and the newest event since then happened.
CREATE OR REPLACE VIEW ${database}.newest_rows ${on_cluster} AS
SELECT
    (
        SELECT maxOrNull(tupleElement(last, 'at'))
        FROM ${table metric_rollups}
        WHERE tier = 'hour' AND t >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
    ) AS metric,
    (
        SELECT maxOrNull(created_at)
        FROM ${table activity_events}
        WHERE created_at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
    ) AS event
