-- The histogram of a metric, account and day. One map a group: one row a bucket would cost an insert three times
-- and a merge six times as much, and a question about thirty days as many times the rows as a day has buckets.
CREATE TABLE IF NOT EXISTS ${database}.account_metrics_1d ${on_cluster}
(
    metric_name LowCardinality(String),
    account_id  LowCardinality(String),
    t           DateTime('UTC') CODEC(Delta, ZSTD(1)),
    -- Bucket of the log-gamma histogram -> number of samples in it.
    histogram   SimpleAggregateFunction(sumMap, Map(Int16, UInt64)) CODEC(ZSTD(1)),
    -- Zero but in a marker (sql/src/evidence.rs), where it is the end of the newest range; the other rollups' markers keep it in max.
    log_end     SimpleAggregateFunction(max, UInt64) CODEC(ZSTD(1))
)
ENGINE = ${engine AggregatingMergeTree}
PARTITION BY toMonday(t)
ORDER BY (metric_name, account_id, t)
TTL t + toIntervalDay(${retention_days})
SETTINGS index_granularity = 512, ${deduplication}, ${durability}, ${expiry}, ${few_files}
