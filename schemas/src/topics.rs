//! Names on the log.

/// Metrics: one JSON object or an array a message, keyed by [`Metric::partition_key`](crate::Metric::partition_key).
pub const METRICS: &str = "kelly.metrics";

/// Activity events: one JSON object or an array a message, keyed by [`Activity::partition_key`](crate::Activity::partition_key).
pub const ACTIVITY: &str = "kelly.activity";

/// The consumer group that writes both topics into the store.
pub const INGEST_GROUP: &str = "kelly-ingest";
