-- How far system_metrics reaches, by the part of it a writer fills in order: a shard, a day of it (place) and a partition of the log.
-- Read are only the parts of the places that hold a block above blocks[i] of places[i]; a place not named is read whole.
-- The name of a part ends in _FIRSTBLOCK_LASTBLOCK_LEVEL, behind which a mutation may stand.
CREATE OR REPLACE VIEW ${database}.tail_heads_metrics ${on_cluster} AS
SELECT
    concat(toString(shardNum()), '/', _partition_id) AS place,
    log_partition,
    max(toInt64OrZero(splitByChar('_', _part)[3])) AS block,
    max(log_offset) AS log_offset
FROM ${table system_metrics}
WHERE toInt64OrZero(splitByChar('_', _part)[3]) > {blocks:Array(Int64)}[indexOf({places:Array(String)}, concat(toString(shardNum()), '/', _partition_id))]
GROUP BY place, log_partition
