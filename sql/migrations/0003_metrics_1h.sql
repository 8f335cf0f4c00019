-- One state a metric and hour, all accounts together: what 7 and 30 days are answered from.
CREATE TABLE IF NOT EXISTS ${database}.metrics_1h ${on_cluster}
(
    metric_name LowCardinality(String),
    t           DateTime('UTC') CODEC(Delta, ZSTD(1)),
    count       SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    sum         SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
    min         SimpleAggregateFunction(min, Float64) CODEC(ZSTD(1)),
    max         SimpleAggregateFunction(max, Float64) CODEC(ZSTD(1)),
    -- The newest sample; of two in one millisecond the greater value, so that a replay agrees.
    last        SimpleAggregateFunction(max, Tuple(at DateTime64(3, 'UTC'), value Float64)) CODEC(ZSTD(1)),
    -- Bucket of the log-gamma histogram -> number of samples in it.
    histogram   SimpleAggregateFunction(sumMap, Map(Int16, UInt64)) CODEC(ZSTD(1))
)
ENGINE = ${engine AggregatingMergeTree}
PARTITION BY toMonday(t)
ORDER BY (metric_name, t)
TTL t + toIntervalDay(${retention_days})
SETTINGS index_granularity = 128, ${deduplication}, ${durability}, ${expiry}, ${few_files}
