-- Events from (offsets[i], rows[i]) on in keys[i], a place and a partition of the log (see tail_heads_activity); all of a key not named.
-- What floors and ends are, tail_heads_activity says.
-- Empty filters match everything. Ordered so that a reader who takes max_rows can go on behind the last. counts is 0 for a row that
-- records again an event another row stands for: leave those out.
CREATE OR REPLACE VIEW ${database}.tail_activity ${on_cluster} AS
WITH page AS
(
    WITH
        concat(toString(shardNum()), '/', _partition_id) AS place,
        indexOf({keys:Array(String)}, concat(place, '/', toString(log_partition))) AS key
    SELECT
        place, log_partition, log_offset, log_row,
        id, created_at, event_type, title, account_id, conversation_id, user_id, severity, category, is_vip, metadata
    FROM ${table activity_events}
    WHERE toInt64OrZero(splitByChar('_', _part)[3]) > {blocks:Array(Int64)}[indexOf({places:Array(String)}, concat(toString(shardNum()), '/', _partition_id))]
      AND (log_offset > {offsets:Array(UInt64)}[key] OR (log_offset = {offsets:Array(UInt64)}[key] AND log_row >= {rows:Array(UInt32)}[key]))
      AND (toInt64OrZero(splitByChar('_', _part)[2]) >= {floors:Array(Int64)}[key] OR created_at > fromUnixTimestamp64Milli({ends:Array(Int64)}[key], 'UTC'))
      AND created_at >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
      AND (empty({event_types:Array(String)}) OR event_type IN {event_types:Array(String)})
      AND (empty({severities:Array(String)}) OR severity IN {severities:Array(String)})
      AND ({account:String} = '' OR account_id = {account:String})
      AND ({conversation:String} = '' OR conversation_id = {conversation:String})
    ORDER BY place, log_partition, log_offset, log_row
    LIMIT {max_rows:UInt32}
)
SELECT
    page.place AS place,
    page.log_partition AS log_partition,
    page.log_offset AS log_offset,
    page.log_row AS log_row,
    toString(page.id) AS id,
    page.created_at AS created_at,
    event_type,
    title,
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
ORDER BY place, log_partition, log_offset, log_row
