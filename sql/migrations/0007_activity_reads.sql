-- What users have read. A mark is one of them doing so once: a row an event (kind 'event'), or one row for everything up to an event
-- ('up_to'). A row of kind 'undo' takes back the mark that it names. Rows are only added; which events are read follows from all of them.
CREATE TABLE IF NOT EXISTS ${database}.activity_reads ${on_cluster}
(
    issuer     LowCardinality(String),
    subject    String CODEC(ZSTD(1)),
    kind       LowCardinality(String),
    mark       UUID,
    -- The event; of 'up_to' the one up to which, by its place in the feed.
    created_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    event_id   UUID,
    account_id LowCardinality(String),
    -- Of 'up_to' only: which events it is about, and which of them were there when it was made, both as JSON (query/src/reading.rs).
    scope      String CODEC(ZSTD(1)),
    arrived    String CODEC(ZSTD(1)),
    marked_at  DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    -- From when on its age counts: not before that of any event it is about. Parts go as a whole, so it is the end of a week.
    ages_from  DateTime('UTC') CODEC(Delta, ZSTD(1)),
    -- What reading_versions asks of everybody who looks, each second: counted when a part is written, and not anew for each question.
    PROJECTION changes (SELECT issuer, subject, count(), countIf(kind = 'event'), argMin(mark, (marked_at, mark)) GROUP BY issuer, subject)
)
ENGINE = ${engine_on_every_node MergeTree}
PARTITION BY toMonday(ages_from)
ORDER BY (issuer, subject, kind, mark)
TTL ages_from + toIntervalDay(${retention_days})
SETTINGS index_granularity = 1024, ${deduplication}, ${durability}, ${expiry}, ${no_statistics}
