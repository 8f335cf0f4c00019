-- What a day adds to each table on the disk of the server asked, over the whole days (UTC) of [from_ms, until_ms): midnights in
-- milliseconds since 1970. Read from the bounds of the parts alone: a part's rows are taken as spread evenly over the time they
-- are about. A table whose first row lies within the window is measured from the next midnight on; days tells how many are left,
-- and without one there is no figure. Rows about a day lie at its midnight, whenever in it they began: of rollups the first day
-- is left out even where it is whole.
CREATE OR REPLACE VIEW ${database}.storage_growth ${on_cluster} AS
WITH
    parts AS
    (
        SELECT
            table,
            rows,
            bytes_on_disk,
            if(table = 'metric_rollups', 60, 1) AS resolution,
            -- activity_first_seen is partitioned by an expression whose bounds the store does not keep: a week it is.
            toUnixTimestamp(min_time) > 0 AS has_bounds,
            if(has_bounds, toUnixTimestamp(min_time), toUnixTimestamp(toDateTime(toDateOrZero(partition), 'UTC'))) AS starts,
            if(has_bounds, toUnixTimestamp(max_time) + resolution, least(starts + 7 * 86400, toUnixTimestamp(now()) + 1)) AS ends
        FROM system.parts
        WHERE database = '${database}' AND active AND table != 'schema_migrations'
    ),
    firsts AS
    (
        SELECT
            table,
            greatest(toInt64(intDiv({from_ms:Int64}, 1000)), toInt64(intDiv(min(starts) + any(resolution) + 86398, 86400) * 86400)) AS opens,
            toInt64(intDiv({until_ms:Int64}, 1000)) AS closes
        FROM parts
        GROUP BY table
    )
SELECT
    table,
    toUInt32(greatest(intDiv(any(closes) - any(opens), 86400), 0)) AS days,
    if(days = 0, NULL, sum(rows * share) / days) AS rows_a_day,
    if(days = 0, NULL, sum(bytes_on_disk * share) / days) AS bytes_a_day
FROM
(
    SELECT
        table,
        rows,
        bytes_on_disk,
        opens,
        closes,
        greatest(least(toInt64(ends), closes) - greatest(toInt64(starts), opens), 0) / greatest(toInt64(ends) - toInt64(starts), 1) AS share
    FROM parts
    INNER JOIN firsts USING (table)
)
GROUP BY table
ORDER BY table
