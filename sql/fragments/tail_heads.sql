-- Read are only the parts of the places that hold a block above blocks[i] of places[i]; a place not named is read whole.
-- The name of a part ends in _FIRSTBLOCK_LASTBLOCK_LEVEL, behind which a mutation may stand.
-- lowest is the least offset in the parts whose blocks all come after the newest seen, seen[i] of places[i]: below what was seen, the topic was
-- made anew. Where that happened in keys[i], a place and a partition of the log, only the rows since count: those of blocks from
-- floors[i] on, and of parts merged over that border those that happened after ends[i].
WITH
    indexOf({keys:Array(String)}, concat(toString(shardNum()), '/', _partition_id, '/', toString(log_partition))) AS key,
    toInt64OrZero(splitByChar('_', _part)[2]) AS first_block
SELECT
    concat(toString(shardNum()), '/', _partition_id) AS place,
    log_partition,
    max(toInt64OrZero(splitByChar('_', _part)[3])) AS block,
    max(stored.log_offset) AS log_offset,
    max(${2}) AS newest,
    minIfOrNull(stored.log_offset, first_block > {seen:Array(Int64)}[indexOf({places:Array(String)}, place)]) AS lowest
FROM ${table ${1}} AS stored
WHERE toInt64OrZero(splitByChar('_', _part)[3]) > {blocks:Array(Int64)}[indexOf({places:Array(String)}, concat(toString(shardNum()), '/', _partition_id))]
  AND (first_block >= {floors:Array(Int64)}[key] OR ${2} > fromUnixTimestamp64Milli({ends:Array(Int64)}[key], 'UTC'))
GROUP BY place, log_partition
