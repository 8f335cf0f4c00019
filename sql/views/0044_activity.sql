-- The events of a window, newest first, each once however often it was recorded. Empty filters match everything.
-- Parameters: from_ms < to_ms in milliseconds since 1970.
CREATE OR REPLACE VIEW ${database}.activity ${on_cluster} AS
WITH
    events AS
    (
        SELECT *
        FROM ${table activity_events}
        WHERE created_at >= fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC') AND created_at < fromUnixTimestamp64Milli({to_ms:Int64}, 'UTC')
          AND ({severity:String} = '' OR severity = {severity:String})
          AND ({event_type:String} = '' OR event_type = {event_type:String})
          AND ${include of_accounts}
    )
SELECT
    toString(events.id) AS id,
    events.created_at AS created_at,
    event_type,
    title,
    description,
    events.account_id AS account_id,
    conversation_id,
    user_id,
    severity,
    category,
    is_vip,
    metadata
FROM events
GLOBAL LEFT JOIN
${include first_seen_of events}
-- The earliest row of an id and account stands for its event, as in activity_page; one whose first_seen row is not there yet is new.
WHERE ${include is_first_seen events}
ORDER BY events.created_at DESC, events.id DESC, events.account_id
