-- One state a conversation, metric and day: what is left of a conversation when its raw metrics have expired.
CREATE TABLE IF NOT EXISTS ${database}.conversation_metrics_1d ${on_cluster}
(
    conversation_id String CODEC(ZSTD(1)),
    metric_name     LowCardinality(String),
    t               DateTime('UTC') CODEC(Delta, ZSTD(1)),
    -- In the key, last: a conversation belongs to one account, and if a producer says otherwise neither is lost.
    account_id      LowCardinality(String),
    count           SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    sum             SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
    min             SimpleAggregateFunction(min, Float64) CODEC(ZSTD(1)),
    max             SimpleAggregateFunction(max, Float64) CODEC(ZSTD(1)),
    last            SimpleAggregateFunction(max, Tuple(at DateTime64(3, 'UTC'), value Float64)) CODEC(ZSTD(1))
)
ENGINE = ${engine AggregatingMergeTree}
PARTITION BY toMonday(t)
ORDER BY (conversation_id, metric_name, t, account_id)
TTL t + toIntervalDay(${retention_days})
SETTINGS index_granularity = 1024, ${deduplication}, ${durability}, ${expiry}
