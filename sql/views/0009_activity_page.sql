-- The max_rows newest events behind (before_ms, before_id, before_account), newest first, those of one instant and id by their
-- account. Empty filters match everything. counts is 0 for a row that records again an event another row stands for: leave those out.
CREATE OR REPLACE VIEW ${database}.activity_page ${on_cluster} AS
WITH
    fromUnixTimestamp64Milli({before_ms:Int64}, 'UTC') AS before,
    page AS
    (
        SELECT
            id, created_at, event_type, title, description, account_id, conversation_id, user_id, severity, category, is_vip,
            metadata, log_partition, log_offset, log_row
        FROM ${table activity_events}
        WHERE ${include events_behind}
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
    -- An event whose first_seen row is not there yet is new: nothing else records it.
    toUInt8(${include is_first_seen page}) AS counts
FROM page
GLOBAL LEFT JOIN
${include first_seen_of page}
ORDER BY page.created_at DESC, page.id DESC, page.account_id
