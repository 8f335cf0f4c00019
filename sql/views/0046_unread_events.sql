-- The events of activity_page_of_reader with unread_only, as far as it takes to count them.
CREATE OR REPLACE VIEW ${database}.unread_events ${on_cluster} AS
WITH
    fromUnixTimestamp64Milli({before_ms:Int64}, 'UTC') AS before,
    fromUnixTimestamp64Milli({until_ms:Int64}, 'UTC') AS until,
    page AS
    (
        SELECT id, created_at, event_type, account_id, severity, is_vip, log_partition, log_offset, log_row
        FROM ${table activity_events}
        WHERE ${include events_behind}
          AND created_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
          AND NOT (${include is_marked} OR ${include is_up_to})
${include events_in_order}
    )
SELECT
    toString(page.id) AS id,
    page.created_at AS created_at,
    event_type,
    page.account_id AS account_id,
    severity,
    is_vip,
    page.log_partition AS log_partition,
    page.log_offset AS log_offset,
    toUInt8(${include is_first_seen page}) AS counts
FROM page
GLOBAL LEFT JOIN
${include first_seen_of page}
ORDER BY page.created_at DESC, page.id DESC, page.account_id
