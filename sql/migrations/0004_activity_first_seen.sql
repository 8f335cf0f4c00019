-- The one row of activity_events that counts for an event: the least (created_at, log_partition, log_offset, log_row). An event is an id of
-- an account: who records an id for one account says nothing about another account's event of that id.
-- The table is partitioned by the first of them, so rows of one event may stand in two partitions: read it with
-- min(first) … GROUP BY id, account_id.
CREATE TABLE IF NOT EXISTS ${database}.activity_first_seen ${on_cluster}
(
    id         UUID,
    account_id LowCardinality(String),
    first      SimpleAggregateFunction(min, Tuple(created_at DateTime64(3, 'UTC'), log_partition UInt16, log_offset UInt64, log_row UInt32)) CODEC(ZSTD(1))
)
ENGINE = ${engine AggregatingMergeTree}
PARTITION BY toMonday(tupleElement(first, 'created_at'))
ORDER BY (id, account_id)
TTL toDateTime(tupleElement(first, 'created_at')) + toIntervalDay(${retention_days})
SETTINGS index_granularity = 256, ${deduplication}, ${durability}, ${expiry}, ${no_statistics}
