-- The one row of activity_events that counts for an id: the least (created_at, log_partition, log_offset, log_row).
-- The table is partitioned by the first of them, so rows of one id may stand in two partitions: read it with min(first) … GROUP BY id.
CREATE TABLE IF NOT EXISTS ${database}.activity_first_seen ${on_cluster}
(
    id    UUID,
    first SimpleAggregateFunction(min, Tuple(created_at DateTime64(3, 'UTC'), log_partition UInt16, log_offset UInt64, log_row UInt32)) CODEC(ZSTD(1))
)
ENGINE = ${engine AggregatingMergeTree}
PARTITION BY toMonday(tupleElement(first, 'created_at'))
ORDER BY id
TTL toDateTime(tupleElement(first, 'created_at')) + toIntervalDay(${retention_days})
SETTINGS index_granularity = 256, ${deduplication}, ${durability}, ${expiry}, ${no_statistics}
