-- The histogram of a metric, account and day, one row a bucket: an account fills few buckets, a map would cost more.
CREATE TABLE IF NOT EXISTS ${database}.account_metrics_1d ${on_cluster}
(
    metric_name LowCardinality(String),
    account_id  LowCardinality(String),
    t           DateTime('UTC') CODEC(Delta, ZSTD(1)),
    bucket      Int16 CODEC(Delta, ZSTD(1)),
    count       SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    -- Zero but in a marker (sql/src/evidence.rs), where it is the end of the newest range; the other rollups' markers keep it in max.
    log_end     SimpleAggregateFunction(max, UInt64) CODEC(ZSTD(1))
)
ENGINE = ${engine AggregatingMergeTree}
PARTITION BY toMonday(t)
ORDER BY (metric_name, account_id, t, bucket)
TTL t + toIntervalDay(${retention_days})
SETTINGS index_granularity = 1024, ${deduplication}, ${durability}, ${expiry}, ${few_files}
