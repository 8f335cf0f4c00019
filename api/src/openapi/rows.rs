//! What producers send, as the document describes it. The rows themselves are read by
//! `kelly_schemas::decode`; these types exist for their schemas only.

use kelly_schemas::Severity;
use utoipa::ToSchema;

/// One metric, or several.
#[derive(ToSchema)]
#[schema(as = MetricRows)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) enum MetricRows {
    /// One metric.
    One(Box<Metric>),
    /// Several.
    Many(Vec<Metric>),
}

/// One event, or several.
#[derive(ToSchema)]
#[schema(as = ActivityRows)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) enum ActivityRows {
    /// One event.
    One(Box<ActivityEvent>),
    /// Several.
    Many(Vec<ActivityEvent>),
}

/// A measured value. Fields beyond these go to `metadata`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct Metric {
    /// What was measured: letters, digits and `_.:/-`.
    #[schema(example = "response_time", min_length = 1, max_length = 100, pattern = "^[A-Za-z0-9_.:/-]+$")]
    metric_name: String,
    /// `gauge` or `counter`, or a word of yours; absent: what the catalogue says of the name.
    #[schema(example = "gauge", max_length = 50)]
    metric_type: Option<String>,
    /// The value; finite.
    #[schema(example = 145.2)]
    value: f64,
    /// When; absent: when the log took the row.
    timestamp: Option<Timestamp>,
    /// Another name of `timestamp`; not both.
    created_at: Option<Timestamp>,
    /// The account concerned.
    #[schema(example = "account123", max_length = 50)]
    account_id: Option<String>,
    /// The conversation concerned.
    #[schema(example = "conv456", max_length = 100)]
    conversation_id: Option<String>,
    /// The user concerned.
    #[schema(example = "user789", max_length = 50)]
    user_id: Option<String>,
    /// Whatever else; an object of at most 8 KiB. No conversation text.
    #[schema(value_type = Option<Object>)]
    metadata: Option<serde_json::Value>,
    /// An id of yours, of any type; kept in `metadata`.
    id: Option<serde_json::Value>,
}

/// Something that happened. Fields beyond these go to `metadata`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct ActivityEvent {
    /// Its id; an event sent twice under one id shows once. Absent: one is made.
    #[schema(format = "uuid", value_type = Option<String>)]
    id: Option<String>,
    /// Its type: letters, digits and `_.:/-`.
    #[schema(
        example = "user_interaction",
        min_length = 1,
        max_length = 100,
        pattern = "^[A-Za-z0-9_.:/-]+$"
    )]
    event_type: String,
    /// One line.
    #[schema(example = "User started conversation", min_length = 1, max_length = 200)]
    title: String,
    /// More.
    #[schema(max_length = 10000)]
    description: Option<String>,
    /// The account concerned.
    #[schema(example = "account123", max_length = 50)]
    account_id: Option<String>,
    /// The conversation concerned.
    #[schema(example = "conv456", max_length = 100)]
    conversation_id: Option<String>,
    /// The user concerned.
    #[schema(example = "user789", max_length = 50)]
    user_id: Option<String>,
    /// How much it matters; absent: low.
    severity: Option<Severity>,
    /// Its category; absent: general.
    #[schema(example = "general", max_length = 50)]
    category: Option<String>,
    /// When; absent: the time in a UUIDv7 `id`, else when the log took the row.
    created_at: Option<Timestamp>,
    /// Another name of `created_at`; not both.
    timestamp: Option<Timestamp>,
    /// Whatever else; an object of at most 8 KiB. `"vip": true` makes the event VIP. No conversation text.
    #[schema(value_type = Option<Object>)]
    metadata: Option<serde_json::Value>,
}

/// An instant: RFC 3339, or milliseconds since 1970. At most ten minutes ahead, and not older than what
/// is kept.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) enum Timestamp {
    /// RFC 3339.
    Text(chrono::DateTime<chrono::Utc>),
    /// Milliseconds since 1970.
    Milliseconds(f64),
}
