-- Metrics from (offsets[i], rows[i]) on in keys[i], a place and a partition of the log (see tail_heads_metrics); all of a key not named.
-- What floors and ends are, tail_heads_metrics says.
-- Empty filters match everything. Ordered so that a reader who takes max_rows can go on behind the last.
CREATE OR REPLACE VIEW ${database}.tail_metrics ${on_cluster} AS
WITH
    concat(toString(shardNum()), '/', _partition_id) AS place,
    indexOf({keys:Array(String)}, concat(place, '/', toString(log_partition))) AS key
SELECT
    place,
    log_partition,
    log_offset,
    log_row,
    metric_name,
    value,
    timestamp,
    account_id,
    conversation_id,
    user_id,
    metadata
FROM ${table system_metrics}
WHERE toInt64OrZero(splitByChar('_', _part)[3]) > {blocks:Array(Int64)}[indexOf({places:Array(String)}, concat(toString(shardNum()), '/', _partition_id))]
  AND (log_offset > {offsets:Array(UInt64)}[key] OR (log_offset = {offsets:Array(UInt64)}[key] AND log_row >= {rows:Array(UInt32)}[key]))
  AND (toInt64OrZero(splitByChar('_', _part)[2]) >= {floors:Array(Int64)}[key] OR timestamp > fromUnixTimestamp64Milli({ends:Array(Int64)}[key], 'UTC'))
  AND timestamp >= fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC')
  AND (empty({metrics:Array(String)}) OR metric_name IN {metrics:Array(String)})
  AND ({account:String} = '' OR account_id = {account:String})
  AND ({conversation:String} = '' OR conversation_id = {conversation:String})
  AND value >= {least:Float64} AND value <= {most:Float64}
ORDER BY place, log_partition, log_offset, log_row
LIMIT {max_rows:UInt32}
