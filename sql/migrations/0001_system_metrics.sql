-- Raw metrics, one row a record of the log. A metric has no id of its own: topic, partition, offset and row name it.
CREATE TABLE IF NOT EXISTS ${database}.system_metrics ${on_cluster}
(
    metric_name     LowCardinality(String),
    metric_type     LowCardinality(String),
    value           Float64 CODEC(ZSTD(1)),
    timestamp       DateTime64(3, 'UTC') CODEC(GCD, Delta, ZSTD(1)),
    account_id      LowCardinality(String),
    conversation_id String CODEC(ZSTD(1)),
    user_id         String CODEC(ZSTD(1)),
    metadata        String CODEC(ZSTD(1)),
    log_partition   UInt16 CODEC(ZSTD(1)),
    log_offset      UInt64 CODEC(Delta, ZSTD(1)),
    log_row         UInt32 CODEC(ZSTD(1)),
    -- The log's time of its message: what was heard when is what alert rules judge by, live and over history.
    log_time        DateTime64(3, 'UTC') DEFAULT timestamp CODEC(Delta, ZSTD(1)),
    -- Finds the rows of a declared range without reading the table.
    INDEX by_log_offset log_offset TYPE minmax GRANULARITY 1,
    INDEX by_log_partition log_partition TYPE minmax GRANULARITY 1
)
ENGINE = ${engine MergeTree}
PARTITION BY toDate(timestamp)
ORDER BY (metric_name, account_id, timestamp)
TTL toDateTime(timestamp) + toIntervalHour(${metrics_retention_hours})
-- An inserted part is a handful of files, not four a column: making and syncing files is a good part of an insert.
SETTINGS min_bytes_for_wide_part = 67108864, default_compression_codec = 'ZSTD(1)', ${deduplication}, ${durability}, ${expiry}, ${no_statistics}
