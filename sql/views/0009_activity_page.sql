-- Events older than (before_ms, before_id), newest first, at least max_rows of them when there are as many. Empty filters match
-- everything. counts is 0 for a row that records again an event another row stands for: those are to be left out.
-- Rows of one key come together, so that going on after a key never misses one.
CREATE OR REPLACE VIEW ${database}.activity_page ${on_cluster} AS
WITH
    fromUnixTimestamp64Milli({before_ms:Int64}, 'UTC') AS before,
    page AS
    (
        SELECT *
        FROM ${table activity_events}
        WHERE created_at <= before AND (created_at < before OR id < {before_id:UUID})
          AND ({severity:String} = '' OR severity = {severity:String})
          AND ({event_type:String} = '' OR event_type = {event_type:String})
          AND ({account:String} = '' OR account_id = {account:String})
          AND is_vip >= {vip_only:UInt8}
        ORDER BY created_at DESC, id DESC
        LIMIT {max_rows:UInt32} WITH TIES
    )
SELECT
    toString(page.id) AS id,
    page.created_at AS created_at,
    event_type,
    title,
    description,
    account_id,
    conversation_id,
    user_id,
    severity,
    category,
    is_vip,
    metadata,
    -- An event whose first_seen row is not there yet is new: nothing else records it.
    toUInt8(seen.first IS NULL OR (tupleElement(seen.first, 'log_partition'), tupleElement(seen.first, 'log_offset'), tupleElement(seen.first, 'log_row')) = (log_partition, log_offset, log_row)) AS counts
FROM page
LEFT JOIN
(
    SELECT id, min(first) AS first
    FROM ${table activity_first_seen}
    WHERE id IN (SELECT id FROM page)
    GROUP BY id
) AS seen ON seen.id = page.id
ORDER BY page.created_at DESC, page.id DESC
