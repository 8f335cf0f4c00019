-- One state a metric, account and hour. Sparse: no histogram here, percentiles of an account come from its days.
CREATE TABLE IF NOT EXISTS ${database}.account_metrics_1h ${on_cluster}
(
    metric_name LowCardinality(String),
    account_id  LowCardinality(String),
    t           DateTime('UTC') CODEC(Delta, ZSTD(1)),
    count       SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    sum         SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
    min         SimpleAggregateFunction(min, Float64) CODEC(ZSTD(1)),
    max         SimpleAggregateFunction(max, Float64) CODEC(ZSTD(1)),
    last        SimpleAggregateFunction(max, Tuple(at DateTime64(3, 'UTC'), value Float64)) CODEC(ZSTD(1))
)
ENGINE = ${engine AggregatingMergeTree}
PARTITION BY toMonday(t)
ORDER BY (metric_name, account_id, t)
TTL t + toIntervalDay(${retention_days})
SETTINGS index_granularity = 1024, ${deduplication}, ${durability}, ${expiry}, ${few_files}
