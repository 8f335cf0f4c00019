-- What the log held and Kelly could not take, and why. Text of conversations is cut out before it comes here.
CREATE TABLE IF NOT EXISTS ${database}.dead_letters ${on_cluster}
(
    topic         LowCardinality(String),
    log_partition UInt16 CODEC(ZSTD(1)),
    log_offset    UInt64 CODEC(Delta, ZSTD(1)),
    log_row       UInt32 CODEC(ZSTD(1)),
    log_time      DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    reason_code   LowCardinality(String),
    reason        String CODEC(ZSTD(1)),
    content_type  LowCardinality(String),
    bytes         String CODEC(ZSTD(1))
)
ENGINE = ${engine MergeTree}
PARTITION BY toMonday(log_time)
ORDER BY (log_time, topic, log_partition, log_offset, log_row)
TTL toDateTime(log_time) + toIntervalDay(${retention_days})
SETTINGS ${deduplication}, ${durability}, ${expiry}, ${no_statistics}
