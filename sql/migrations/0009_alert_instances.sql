-- Alerts as each record of the control log that changed them left them: the newest row of an alert is how it stands, all of them are its
-- history. Written as control_log is. A number that is not there is NaN, a time that is not there 1970.
CREATE TABLE IF NOT EXISTS ${database}.alert_instances ${on_cluster}
(
    log_life        LowCardinality(String),
    log_offset      UInt64 CODEC(Delta, ZSTD(1)),
    log_time        DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    alert_id        UUID,
    steps           String CODEC(ZSTD(1)),  -- what happened, with commas between
    status          LowCardinality(String),
    severity        LowCardinality(String),
    worst_severity  LowCardinality(String),
    rule            LowCardinality(String),
    rule_version    UInt32 CODEC(ZSTD(1)),
    account_id      LowCardinality(String),
    conversation_id String CODEC(ZSTD(1)),
    metric_name     LowCardinality(String),
    raised_at       DateTime64(3, 'UTC') CODEC(ZSTD(1)),
    value           Float64 CODEC(ZSTD(1)),
    threshold       Float64 CODEC(ZSTD(1)),
    explanation     String CODEC(ZSTD(1)),
    labels          String CODEC(ZSTD(1)),  -- JSON
    acknowledged_by String CODEC(ZSTD(1)),
    acknowledged_at DateTime64(3, 'UTC') CODEC(ZSTD(1)),
    owner           String CODEC(ZSTD(1)),
    level           UInt8 CODEC(ZSTD(1)),
    resolved_by     String CODEC(ZSTD(1)),
    resolved_at     DateTime64(3, 'UTC') CODEC(ZSTD(1)),
    resolved_reason LowCardinality(String), -- why the data say it is over
    resolved_value  Float64 CODEC(ZSTD(1)),
    resolved_note   String CODEC(ZSTD(1)),
    incident        UInt64 CODEC(ZSTD(1)),
    version         UInt64 CODEC(ZSTD(1)),
    INDEX by_alert alert_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_rule rule TYPE set(64) GRANULARITY 1,
    INDEX by_account account_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = ${engine_on_every_node ReplacingMergeTree}
PARTITION BY toMonday(log_time)
ORDER BY (log_life, log_offset, alert_id)
TTL toDateTime(log_time) + toIntervalDay(${audit_retention_days})
SETTINGS index_granularity = 1024, ${deduplication}, ${durability}, ${expiry}, ${no_statistics}
