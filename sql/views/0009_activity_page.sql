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
        WHERE created_at <= before AND (created_at < before OR id < {before_id:UUID} OR (id = {before_id:UUID} AND account_id > {before_account:String}))
          AND ({severity:String} = '' OR severity = {severity:String})
          AND ({event_type:String} = '' OR event_type = {event_type:String})
          AND ${include of_accounts}
          AND is_vip >= {vip_only:UInt8}
        -- Along the table's own order, so that no more than the page is read. Of the rows of one event and instant the first
        -- on the log stands for all: a producer that repeats an event must not fill a page with it.
        ORDER BY created_at DESC, id DESC, account_id, log_partition, log_offset, log_row
        LIMIT 1 BY created_at, id, account_id
        LIMIT {max_rows:UInt32}
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
    toUInt8(tupleElement(first, 'created_at') = toDateTime64(0, 3, 'UTC') OR (tupleElement(first, 'log_partition') = log_partition AND tupleElement(first, 'log_offset') = log_offset AND tupleElement(first, 'log_row') = log_row)) AS counts
FROM page
GLOBAL LEFT JOIN
(
    SELECT id, account_id, min(first_seen.first) AS first
    FROM ${table activity_first_seen} AS first_seen
    WHERE id GLOBAL IN (SELECT id FROM page)
    GROUP BY id, account_id
) AS seen ON seen.id = page.id AND seen.account_id = page.account_id
ORDER BY page.created_at DESC, page.id DESC, page.account_id
