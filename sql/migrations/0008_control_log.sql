-- Every record of the control log with its verdict, in the order in which it was decided. Every instance may write it: its rows follow
-- from the log alone, so a record written twice is two equal rows, of which merges leave one. Read it with FINAL or LIMIT 1 BY.
CREATE TABLE IF NOT EXISTS ${database}.control_log ${on_cluster}
(
    log_life     LowCardinality(String),  -- which topic of this name it is: its id
    log_offset   UInt64 CODEC(Delta, ZSTD(1)),
    log_time     DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    command_id   UUID,                    -- zero when the record has none
    actor_kind   LowCardinality(String),
    actor_id     String CODEC(ZSTD(1)),
    actor_role   LowCardinality(String),
    op           LowCardinality(String),  -- empty when the record is no command
    alert_id     UUID,                    -- zero when it is about none
    verdict      LowCardinality(String),
    reason       LowCardinality(String),
    detail       String CODEC(ZSTD(1)),   -- the verdict as JSON
    changes      String CODEC(ZSTD(1)),   -- what it changed, as JSON
    payload      String CODEC(ZSTD(1)),   -- the record as it is; empty when it is no command: nobody knows what it holds
    payload_hash String CODEC(NONE),      -- SHA-256 of the record
    chain        String CODEC(NONE),      -- hash over this and every record and verdict before
    INDEX by_command command_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_alert alert_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ${engine_on_every_node ReplacingMergeTree}
PARTITION BY toMonday(log_time)
ORDER BY (log_life, log_offset)
TTL toDateTime(log_time) + toIntervalDay(${audit_retention_days})
SETTINGS index_granularity = 1024, ${deduplication}, ${durability}, ${expiry}, ${no_statistics}
