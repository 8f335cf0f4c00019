-- Everything that is counted ahead of questions, one tier after the other in one table: an insert costs what its parts cost, whatever
-- is in them. A question names its tier; the tier is first in the key, so it reads nothing of the others.
--
-- | tier | a row is | conversation_id | account_id | histogram |
-- |---|---|---|---|---|
-- | minute | a metric and minute, all accounts together | '' | '' | yes |
-- | hour | a metric and hour, all accounts together | '' | '' | yes |
-- | account_hour | a metric, account and hour; samples without an account under '' | '' | yes | no: too sparse to pay for one |
-- | account_day | the histogram of a metric, account and day; count, sum, min, max and last are those of no sample | '' | yes | yes |
-- | conversation_day | a metric, conversation, account and day; samples without a conversation under '' | yes | yes | no |
-- | marker | no samples: the newest range of the log that is in (sql/src/evidence.rs); metric_name is the life of its partition | '' | '' | no |
--
-- account_hour and account_day may be added up together: the one has no histogram, the other no samples.
CREATE TABLE IF NOT EXISTS ${database}.metric_rollups ${on_cluster}
(
    tier            Enum8('minute' = 1, 'hour' = 2, 'account_hour' = 3, 'account_day' = 4, 'conversation_day' = 5, 'marker' = 6),
    conversation_id String CODEC(ZSTD(1)),
    metric_name     LowCardinality(String),
    -- Of a conversation, in the key too: it belongs to one account, and if a producer says otherwise neither is lost.
    account_id      LowCardinality(String),
    t               DateTime('UTC') CODEC(Delta, ZSTD(1)),
    count           SimpleAggregateFunction(sum, UInt64) CODEC(ZSTD(1)),
    sum             SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
    min             SimpleAggregateFunction(min, Float64) CODEC(ZSTD(1)),
    max             SimpleAggregateFunction(max, Float64) CODEC(ZSTD(1)),
    -- The newest sample; of two in one millisecond the greater value, so that a replay agrees.
    last            SimpleAggregateFunction(max, Tuple(at DateTime64(3, 'UTC'), value Float64)) CODEC(ZSTD(1)),
    -- Bucket of the log-gamma histogram -> number of samples in it. One map a row: one row a bucket would cost an insert three
    -- times and a merge six times as much.
    histogram       SimpleAggregateFunction(sumMap, Map(Int16, UInt64)) CODEC(ZSTD(1))
)
ENGINE = ${engine AggregatingMergeTree}
PARTITION BY toMonday(t)
ORDER BY (tier, conversation_id, metric_name, account_id, t)
TTL t + toIntervalDay(${retention_days})
-- A granule ends after so many rows or bytes: rows with histograms, of which few answer a question, get short ones. It is compressed
-- as one, all columns together: a question reads all of them, and a quarter of the bytes is saved.
SETTINGS index_granularity = 1024, index_granularity_bytes = 65536, compress_per_column_in_compact_parts = 0, ${deduplication}, ${durability}, ${expiry}, ${few_files}, ${no_statistics}
