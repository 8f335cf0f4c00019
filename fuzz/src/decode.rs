//! Messages of the log and bodies of HTTP.

use std::fmt::Debug;

use kelly_schemas::decode::{self, Form, Origin, RawRow};
use kelly_schemas::{Activity, Fault, Limits, Metric, Reject, limits};
use serde_json::{Map, Value, json};

use crate::redaction::{check_kept, names_a_field_of_content, strings_of};

/// 2024-09-11T15:30:50Z: the examples' times lie around it.
pub(crate) const LOG_TIME_MS: i64 = 1_726_068_650_000;

/// Limits that short inputs reach.
pub(crate) fn tight_limits() -> Limits {
    Limits { max_rows: 20, max_metadata_bytes: 512, ..Limits::default() }
}

pub(crate) fn origin(limits: &Limits) -> Origin<'_> {
    Origin { partition: 3, offset: 42, log_time_ms: LOG_TIME_MS, limits }
}

/// A message of metrics.
pub fn metrics(input: &[u8]) {
    message::<Metrics>(input);
}

/// A message of events.
pub fn activities(input: &[u8]) {
    message::<Activities>(input);
}

/// A body of HTTP. The first byte chooses its form and what its rows are.
pub fn body(input: &[u8]) {
    let Some((choice, body)) = input.split_first() else { return };
    let form = if choice & 1 == 0 { Form::Json } else { Form::Ndjson };
    if choice & 2 == 0 { cut_body::<Metrics>(body, form) } else { cut_body::<Activities>(body, form) }
}

/// A kind of row.
pub(crate) trait Kind {
    type Row<'a>: PartialEq + Debug;

    fn message<'a>(
        payload: &'a [u8],
        origin: &Origin<'_>,
        sink: &mut impl FnMut(u32, Result<Self::Row<'a>, Reject<'a>>),
    );
    fn row<'a>(row: &RawRow<'a>, origin: &Origin<'_>) -> Result<Self::Row<'a>, Reject<'a>>;
    /// Panics when the row is not within the limits.
    fn verify(row: &Self::Row<'_>, origin: &Origin<'_>);
    /// The row as a producer would send it.
    fn encode(row: &Self::Row<'_>) -> String;
}

pub(crate) struct Metrics;

impl Kind for Metrics {
    type Row<'a> = Metric<'a>;

    fn message<'a>(
        payload: &'a [u8],
        origin: &Origin<'_>,
        sink: &mut impl FnMut(u32, Result<Metric<'a>, Reject<'a>>),
    ) {
        decode::metrics(payload, origin, sink);
    }

    fn row<'a>(row: &RawRow<'a>, origin: &Origin<'_>) -> Result<Metric<'a>, Reject<'a>> {
        decode::metric(row, origin)
    }

    fn verify(row: &Metric<'_>, origin: &Origin<'_>) {
        is_name(&row.metric_name, limits::METRIC_NAME_CHARACTERS);
        is_name(&row.metric_type, limits::METRIC_TYPE_CHARACTERS);
        assert!(row.value.abs() <= limits::VALUE_MAGNITUDE, "{}", row.value);
        is_within_time(row.timestamp_ms, origin);
        is_label(&row.account_id, limits::ACCOUNT_ID_CHARACTERS);
        is_label(&row.conversation_id, limits::CONVERSATION_ID_CHARACTERS);
        is_label(&row.user_id, limits::USER_ID_CHARACTERS);
        is_metadata(&row.metadata, origin);
        assert!(!row.partition_key().is_empty());
    }

    fn encode(row: &Metric<'_>) -> String {
        let fields = json!({
            "metric_name": row.metric_name, "metric_type": row.metric_type, "value": row.value,
            "timestamp": row.timestamp_ms, "account_id": row.account_id,
            "conversation_id": row.conversation_id, "user_id": row.user_id,
        });
        with_metadata(fields, &row.metadata)
    }
}

pub(crate) struct Activities;

impl Kind for Activities {
    type Row<'a> = Activity<'a>;

    fn message<'a>(
        payload: &'a [u8],
        origin: &Origin<'_>,
        sink: &mut impl FnMut(u32, Result<Activity<'a>, Reject<'a>>),
    ) {
        decode::activities(payload, origin, sink);
    }

    fn row<'a>(row: &RawRow<'a>, origin: &Origin<'_>) -> Result<Activity<'a>, Reject<'a>> {
        decode::activity(row, origin)
    }

    fn verify(row: &Activity<'_>, origin: &Origin<'_>) {
        assert!(!row.id.is_nil());
        is_name(&row.event_type, limits::EVENT_TYPE_CHARACTERS);
        assert!(!row.title.is_empty());
        is_label(&row.title, limits::TITLE_CHARACTERS);
        assert!(row.description.chars().count() <= limits::DESCRIPTION_CHARACTERS);
        assert!(!row.category.is_empty());
        is_label(&row.category, limits::CATEGORY_CHARACTERS);
        is_within_time(row.created_at_ms, origin);
        is_label(&row.account_id, limits::ACCOUNT_ID_CHARACTERS);
        is_label(&row.conversation_id, limits::CONVERSATION_ID_CHARACTERS);
        is_label(&row.user_id, limits::USER_ID_CHARACTERS);
        is_metadata(&row.metadata, origin);
        assert!(!row.partition_key().is_empty());
    }

    fn encode(row: &Activity<'_>) -> String {
        let fields = json!({
            "id": row.id, "event_type": row.event_type, "title": row.title, "description": row.description,
            "severity": row.severity, "category": row.category, "created_at": row.created_at_ms,
            "account_id": row.account_id, "conversation_id": row.conversation_id, "user_id": row.user_id,
        });
        with_metadata(fields, &row.metadata)
    }
}

pub(crate) fn decoded<'a, K: Kind>(
    payload: &'a [u8],
    limits: &Limits,
) -> Vec<Result<K::Row<'a>, Reject<'a>>> {
    let mut rows = Vec::new();
    K::message(payload, &origin(limits), &mut |row, outcome| {
        assert_eq!(row as usize, rows.len(), "rows come in order, each once");
        rows.push(outcome);
    });
    rows
}

fn message<K: Kind>(payload: &[u8]) {
    let limits = tight_limits();
    let rows = decoded::<K>(payload, &limits);
    assert_eq!(rows, decoded::<K>(payload, &limits), "a replay builds the same rows");
    let is_empty_array = || serde_json::from_slice::<Vec<Value>>(decode::without_byte_order_mark(payload));
    assert!(!rows.is_empty() || is_empty_array().is_ok_and(|rows| rows.is_empty()), "no answer");
    for outcome in &rows {
        check_outcome::<K>(outcome, &limits);
    }
}

pub(crate) fn check_outcome<K: Kind>(outcome: &Result<K::Row<'_>, Reject<'_>>, limits: &Limits) {
    match outcome {
        Ok(row) => {
            K::verify(row, &origin(limits));
            let again = K::encode(row);
            let raw = RawRow { index: 7, line: None, bytes: again.as_bytes() };
            let read = K::row(&raw, &origin(limits)).map_err(|reject| reject.fault);
            // By their texts, which tell every bit of a number: the two borrow from different messages.
            assert_eq!(format!("{read:?}"), format!("Ok({row:?})"), "{again}");
        }
        Err(reject) => check_reject(reject),
    }
}

pub(crate) fn check_reject(reject: &Reject<'_>) {
    let shown = reject.fault.to_string();
    assert!(!shown.is_empty() && !reject.fault.code().is_empty());
    let kept = reject.kept_bytes();
    if names_a_field_of_content(&reject.bytes) || matches!(reject.fault, Fault::ConversationContent { .. }) {
        check_kept(&kept);
        // Short strings are in any message by chance, and a name may be shown.
        let Ok(value) = serde_json::from_slice(&reject.bytes) else { return };
        let said = strings_of(&value);
        for text in said.values.iter().filter(|text| text.len() > 20 && !said.names.contains(*text)) {
            assert!(!shown.contains(text.as_str()), "{shown:?} says {text:?}");
        }
    } else {
        assert!(reject.redact || kept == reject.bytes);
    }
}

/// A body cut into rows decodes to what it decodes to as a message of the log.
fn cut_body<K: Kind>(body: &[u8], form: Form) {
    let limits = tight_limits();
    let cut = decode::split_rows(body, form, &limits);
    assert_eq!(cut, decode::split_rows(body, form, &limits));
    let rows = match &cut {
        Ok(rows) => rows,
        Err(fault) => {
            assert!(!fault.to_string().is_empty());
            if form == Form::Json {
                let message = decoded::<K>(body, &limits);
                let codes: Vec<_> =
                    message.iter().map(|row| row.as_ref().map_err(|reject| reject.fault.code())).collect();
                assert!(matches!(codes[..], [Err(code)] if code == fault.code()), "{codes:?} and {fault:?}");
            }
            return;
        }
    };
    assert!(rows.len() <= limits.max_rows);
    let mut last_line = 0;
    let outcomes: Vec<_> = rows
        .iter()
        .zip(0..)
        .map(|(row, index)| {
            assert_eq!(row.index, index);
            assert_eq!(row.line.is_some(), form == Form::Ndjson);
            if let Some(line) = row.line {
                assert!(line > last_line, "lines go on");
                last_line = line;
                let there =
                    decode::without_byte_order_mark(body).split(|byte| *byte == b'\n').nth(line as usize - 1);
                assert!(
                    there.is_some_and(|line| line.windows(row.bytes.len()).any(|part| part == row.bytes))
                );
            }
            let outcome = K::row(row, &origin(&limits));
            check_outcome::<K>(&outcome, &limits);
            outcome
        })
        .collect();
    if form == Form::Json {
        let message = decoded::<K>(body, &limits);
        assert_eq!(outcomes.len(), message.len());
        for (over_http, on_the_log) in outcomes.iter().zip(&message) {
            match (over_http, on_the_log) {
                (Ok(one), Ok(other)) => assert_eq!(one, other),
                (Err(one), Err(other)) => assert_eq!(one.fault.code(), other.fault.code()),
                other => panic!("{other:?}"),
            }
        }
    }
}

fn with_metadata(fields: Value, metadata: &str) -> String {
    let Value::Object(fields) = fields else { unreachable!("made above") };
    let known: Map<_, _> = fields.into_iter().filter(|(_, value)| value.as_str() != Some("")).collect();
    let mut text = Value::from(known).to_string();
    if !metadata.is_empty() {
        text.truncate(text.len() - 1);
        text.push_str(",\"metadata\":");
        text.push_str(metadata);
        text.push('}');
    }
    text
}

fn is_name(text: &str, limit: usize) {
    assert!((1..=limit).contains(&text.len()), "{text:?}");
    assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:/-".contains(&byte)), "{text:?}");
}

fn is_label(text: &str, limit: usize) {
    assert!(text.chars().count() <= limit, "{text:?}");
    assert!(!text.chars().any(char::is_control), "{text:?}");
}

fn is_within_time(epoch_ms: i64, origin: &Origin<'_>) {
    let Limits { max_age_ms, max_future_ms, .. } = *origin.limits;
    assert!((LOG_TIME_MS - max_age_ms..=LOG_TIME_MS + max_future_ms).contains(&epoch_ms), "{epoch_ms}");
}

/// What a metadata column may hold: nothing, or one object, not too long, not too deep, without content.
pub(crate) fn is_metadata(text: &str, origin: &Origin<'_>) {
    if text.is_empty() {
        return;
    }
    assert!(text.len() <= origin.limits.max_metadata_bytes, "{} bytes", text.len());
    let value: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert!(value.as_object().is_some_and(|object| !object.is_empty()), "{text}");
    assert!(depth(&value) <= limits::METADATA_DEPTH, "{text}");
    for name in strings_of(&value).names {
        assert!(!crate::redaction::is_content(&name), "{name:?} in {text}");
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
