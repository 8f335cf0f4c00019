-- Different conversations with a sample or an event since each of the instants starts_ms (milliseconds since 1970), the
-- earliest of which is first_ms; accounts is empty for any. One figure i counts since starts_ms[i]; without a conversation it has no row.
CREATE OR REPLACE VIEW ${database}.conversations_seen ${on_cluster} AS
SELECT
    toUInt32(figure) AS figure,
    count() AS conversations
FROM
(
    SELECT conversation_id, max(at) AS seen_at
    FROM
    (
        SELECT conversation_id, tupleElement(last, 'at') AS at
        FROM ${table metric_rollups}
        WHERE tier = 'conversation_day' AND t >= toStartOfDay(fromUnixTimestamp64Milli({first_ms:Int64}, 'UTC')) AND conversation_id != '' AND ${include of_accounts}
        UNION ALL
        SELECT conversation_id, created_at
        FROM ${table activity_events}
        WHERE created_at >= fromUnixTimestamp64Milli({first_ms:Int64}, 'UTC') AND conversation_id != '' AND ${include of_accounts}
    )
    GROUP BY conversation_id
)
ARRAY JOIN arrayEnumerate({starts_ms:Array(Int64)}) AS figure
WHERE seen_at >= fromUnixTimestamp64Milli({starts_ms:Array(Int64)}[figure], 'UTC')
GROUP BY figure
ORDER BY figure
