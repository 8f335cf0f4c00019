-- Dead letters that were put on the log again, by their place on it. 'started' stands before the letter is sent, 'replayed' after the log
-- has it, 'refused' when it certainly has not: one that has only 'started' may or may not be on the log. log_time is the dead letter's,
-- so that both expire together. run is who set the mark: what one run began, only it ends.
CREATE TABLE IF NOT EXISTS ${database}.dead_letter_replays ${on_cluster}
(
    topic         LowCardinality(String),
    log_partition UInt16,
    log_offset    UInt64,
    log_row       UInt32,
    log_time      DateTime64(3, 'UTC'),
    run           String,
    state         LowCardinality(String),
    at            DateTime64(3, 'UTC')
)
ENGINE = ${engine_on_every_node MergeTree}
PARTITION BY toMonday(log_time)
ORDER BY (log_time, topic, log_partition, log_offset, log_row)
TTL toDateTime(log_time) + toIntervalDay(${retention_days})
SETTINGS ${deduplication}, ${durability}, ${expiry}, ${no_statistics}
