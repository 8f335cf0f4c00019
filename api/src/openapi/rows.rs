//! What producers send, as the document describes it. The rows themselves are read by
//! `kelly_schemas::decode`; these types exist for their schemas only.

use kelly_schemas::Severity;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};

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

/// Metrics, a JSON object a line. As OpenAPI has it for such types, the schema is of the lines as if they stood in an
/// array; a body that is that array is taken as well.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct MetricLines(Vec<Metric>);

/// Events, a JSON object a line. As OpenAPI has it for such types, the schema is of the lines as if they stood in an
/// array; a body that is that array is taken as well.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct ActivityLines(Vec<ActivityEvent>);

/// A measured value. Fields beyond these go to `metadata`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct Metric {
    /// What was measured: letters, digits and `_.:/-`.
    #[schema(example = "response_time", min_length = 1, max_length = 100, pattern = "^[A-Za-z0-9_.:/-]+$")]
    metric_name: String,
    /// `gauge` or `counter`, or a word of yours; absent: what the catalogue says of the name.
    #[schema(example = "gauge", max_length = 50, pattern = "^[A-Za-z0-9_.:/-]*$")]
    metric_type: Option<String>,
    /// The value; finite, and of a magnitude that percentiles can be given for.
    #[schema(example = 145.2, minimum = -1e130, maximum = 1e130)]
    value: f64,
    /// When; absent: when the log took the row.
    timestamp: Option<Timestamp>,
    /// Another name of `timestamp`; not both.
    created_at: Option<Timestamp>,
    /// The account concerned.
    #[schema(example = "account123", max_length = 50, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    account_id: Option<String>,
    /// The conversation concerned.
    #[schema(example = "conv456", max_length = 100, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    conversation_id: Option<String>,
    /// The user concerned.
    #[schema(example = "user789", max_length = 50, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
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
    /// Its id, a UUID with hyphens or without, best a UUIDv7; an event sent twice under one id shows once. Absent or
    /// empty: one is made.
    #[schema(
        pattern = "^((?=.*[1-9a-fA-F])([0-9a-fA-F]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}))?$",
        value_type = Option<String>
    )]
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
    #[schema(
        example = "User started conversation",
        min_length = 1,
        max_length = 200,
        pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$"
    )]
    title: String,
    /// More.
    #[schema(
        max_length = 10000,
        pattern = "^[^\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f-\\u009f]*$"
    )]
    description: Option<String>,
    /// The account concerned.
    #[schema(example = "account123", max_length = 50, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    account_id: Option<String>,
    /// The conversation concerned.
    #[schema(example = "conv456", max_length = 100, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    conversation_id: Option<String>,
    /// The user concerned.
    #[schema(example = "user789", max_length = 50, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    user_id: Option<String>,
    /// How much it matters; absent or empty: low.
    #[schema(schema_with = severity)]
    severity: Option<Severity>,
    /// Its category; absent: general.
    #[schema(example = "general", max_length = 50, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
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
    // A comment of its own would be described as an object beside the number.
    Milliseconds(#[schema(inline)] Milliseconds),
}

/// Milliseconds since 1970.
#[derive(ToSchema)]
#[schema(minimum = 0)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct Milliseconds(f64);

fn severity() -> Schema {
    let names = Severity::ALL.map(Severity::as_str).into_iter().chain([""]).map(Value::from);
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .description(Some("How much it matters; absent or empty: low."))
        .enum_values(Some(names.chain([Value::Null])))
        .into()
}
