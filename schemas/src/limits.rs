//! What a message may be at most. Lengths are the VARCHARs of the specification, in characters.

use serde::Serialize;

/// Longest `metric_name`.
pub const METRIC_NAME_CHARACTERS: usize = 100;
/// Longest `metric_type`.
pub const METRIC_TYPE_CHARACTERS: usize = 50;
/// Longest `event_type`.
pub const EVENT_TYPE_CHARACTERS: usize = 100;
/// Longest `title` of an event.
pub const TITLE_CHARACTERS: usize = 200;
/// Longest `description` of an event: TEXT in the specification, so the bound is ours.
pub const DESCRIPTION_CHARACTERS: usize = 10_000;
/// Longest `account_id`.
pub const ACCOUNT_ID_CHARACTERS: usize = 50;
/// Longest `conversation_id`.
pub const CONVERSATION_ID_CHARACTERS: usize = 100;
/// Longest `user_id`.
pub const USER_ID_CHARACTERS: usize = 50;
/// Longest `category` of an event.
pub const CATEGORY_CHARACTERS: usize = 50;
/// Largest magnitude of a metric's value; beyond it the histogram has no bucket.
pub const VALUE_MAGNITUDE: f64 = 1e130;
/// Objects and arrays within one another, in metadata and in unknown fields.
pub const METADATA_DEPTH: usize = 16;
/// Unknown fields a row may carry into its metadata.
pub const UNKNOWN_FIELDS: usize = 64;
/// The last instant the store's 32-bit seconds can hold, 2106-02-07T06:28:15.999Z, whatever the other bounds say.
pub const LATEST_MS: i64 = 4_294_967_295_999;

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;

/// The bounds that follow the configuration. Both bounds on time are relative to the log's time of the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// How far in the future a timestamp may lie: room for clocks that go wrong, not for forecasts.
    pub max_future_ms: i64,
    /// How old a timestamp may be: nothing older is kept, so nothing older is taken.
    pub max_age_ms: i64,
    /// Bytes of one message, and of one row over HTTP.
    pub max_message_bytes: usize,
    /// Rows in one message, and in one body over HTTP.
    pub max_rows: usize,
    /// Bytes of one Arrow message. Over HTTP a body has a bound of its own, of the same size.
    pub max_arrow_message_bytes: usize,
    /// Rows in one Arrow message, over all its record batches. Fewer than a batch of ingest has, which takes a message whole.
    pub max_arrow_rows: usize,
    /// Bytes of one row's metadata as JSON text, unknown fields included.
    pub max_metadata_bytes: usize,
}

impl Limits {
    /// The limits of a store that keeps its rows for so many days.
    #[must_use]
    pub fn with_retention_days(days: u32) -> Self {
        Self {
            max_future_ms: 10 * MINUTE_MS,
            max_age_ms: i64::from(days) * DAY_MS,
            max_message_bytes: 1 << 20,
            max_rows: 10_000,
            max_arrow_message_bytes: 4 << 20,
            max_arrow_rows: 1 << 16,
            max_metadata_bytes: 8 << 10,
        }
    }
}

impl Default for Limits {
    /// Of the specification's MONITORING_DB_RETENTION_DAYS=90.
    fn default() -> Self {
        Self::with_retention_days(90)
    }
}
