-- As activity_page, for a user who reads: with unread_only without the events that the user marked, and those that one mark of
-- everything up to an event covers: until_ms is before 1970 where there is none. What is older than from_ms is left out.
-- Another mark may cover what is left: query/src/reading.rs decides by created_at, log_partition and log_offset.
CREATE OR REPLACE VIEW ${database}.activity_page_of_reader ${on_cluster} AS
WITH
    fromUnixTimestamp64Milli({before_ms:Int64}, 'UTC') AS before,
    fromUnixTimestamp64Milli({until_ms:Int64}, 'UTC') AS until,
    page AS
    (
        SELECT
            id, created_at, event_type, title, description, account_id, conversation_id, user_id, severity, category, is_vip,
            metadata, log_partition, log_offset, log_row, toUInt8(${include is_marked}) AS is_marked
        FROM ${table activity_events}
        WHERE ${include events_behind}
          AND created_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC')
          AND ({unread_only:UInt8} = 0 OR NOT (is_marked OR ${include is_up_to}))
${include events_in_order}
    )
SELECT
    toString(page.id) AS id,
    page.created_at AS created_at,
    event_type,
    title,
    description,
    page.account_id AS account_id,
    conversation_id,
    user_id,
    severity,
    category,
    is_vip,
    metadata,
    page.log_partition AS log_partition,
    page.log_offset AS log_offset,
    is_marked,
    -- As in activity_page.
    toUInt8(${include is_first_seen page}) AS counts
FROM page
GLOBAL LEFT JOIN
${include first_seen_of page}
ORDER BY page.created_at DESC, page.id DESC, page.account_id
