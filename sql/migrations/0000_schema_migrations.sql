-- The journal of migrations and views: appended to, never updated. A migration that has 'started' and not 'applied' is half applied.
CREATE TABLE IF NOT EXISTS ${database}.schema_migrations ${on_cluster}
(
    kind          LowCardinality(String), -- 'migration', 'view' or 'retention'
    number        UInt32,
    name          String,
    checksum      String,                 -- of its text; of a retention the interval itself
    state         LowCardinality(String), -- 'started', 'applied', or of a retention 'complete'
    at            DateTime64(6, 'UTC') DEFAULT now64(6),
    kelly_version String
)
ENGINE = ${engine_on_every_node MergeTree}
ORDER BY (kind, number, at)
SETTINGS ${durability}
