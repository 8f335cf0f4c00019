-- Activity events as they came; one recorded twice for its account is here twice, and activity_first_seen says which row counts.
CREATE TABLE IF NOT EXISTS ${database}.activity_events ${on_cluster}
(
    id              UUID,
    event_type      LowCardinality(String),
    title           String CODEC(ZSTD(1)),
    description     String CODEC(ZSTD(1)),
    account_id      LowCardinality(String),
    conversation_id String CODEC(ZSTD(1)),
    user_id         String CODEC(ZSTD(1)),
    severity        LowCardinality(String),
    category        LowCardinality(String),
    created_at      DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    metadata        String CODEC(ZSTD(1)),
    is_vip          UInt8,
    log_partition   UInt16 CODEC(ZSTD(1)),
    log_offset      UInt64 CODEC(Delta, ZSTD(1)),
    log_row         UInt32 CODEC(ZSTD(1)),
    INDEX by_id id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_account account_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_conversation conversation_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_event_type event_type TYPE set(64) GRANULARITY 1,
    INDEX by_severity severity TYPE set(8) GRANULARITY 1,
    INDEX by_vip is_vip TYPE minmax GRANULARITY 1,
    INDEX by_log_offset log_offset TYPE minmax GRANULARITY 1,
    INDEX by_log_partition log_partition TYPE minmax GRANULARITY 1
)
ENGINE = ${engine MergeTree}
PARTITION BY toMonday(created_at)
ORDER BY (created_at, id)
TTL toDateTime(created_at) + toIntervalDay(${retention_days})
SETTINGS index_granularity = 1024, ${deduplication}, ${durability}, ${expiry}, ${no_statistics}
