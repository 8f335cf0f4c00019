-- What each table holds on the disk of the server asked.
CREATE OR REPLACE VIEW ${database}.storage ${on_cluster} AS
SELECT
    table,
    sum(rows) AS rows,
    sum(bytes_on_disk) AS bytes_on_disk,
    count() AS parts
FROM system.parts
WHERE database = '${database}' AND active
GROUP BY table
ORDER BY table
