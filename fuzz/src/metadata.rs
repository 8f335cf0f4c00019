//! The metadata of a row: what a producer says beside the columns, kept as text.

use kelly_schemas::{Limits, Severity};
use serde_json::Value;

use crate::decode::{Kind, LOG_TIME_MS, Metrics, check_outcome, decoded, tight_limits};

/// The input is the metadata of a row; behind its first line break, its other fields.
pub fn metadata(input: &[u8]) {
    let at = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (own, beside) = input.split_at(at);
    let mut message = br#"{"metric_name":"m","value":1,"metadata":"#.to_vec();
    message.extend_from_slice(own);
    if let [_, fields @ ..] = beside {
        message.push(b',');
        message.extend_from_slice(fields);
    }
    message.push(b'}');
    let limits = tight_limits();
    for outcome in decoded::<Metrics>(&message, &limits) {
        check_outcome::<Metrics>(&outcome, &limits);
        if let Ok(row) = outcome {
            nothing_is_lost(&message, &row.metadata);
            vip_is_what_it_says(&row.metadata, &limits);
        }
    }
}

/// Every field that is no column comes back from the metadata.
fn nothing_is_lost(message: &[u8], kept: &str) {
    const COLUMNS: [&str; 9] = [
        "account_id",
        "conversation_id",
        "user_id",
        "metric_name",
        "metric_type",
        "value",
        "timestamp",
        "created_at",
        "metadata",
    ];
    let message: Value = serde_json::from_slice(message).expect("an accepted message is JSON");
    let kept: Value = if kept.is_empty() {
        Value::Object(Default::default())
    } else {
        serde_json::from_str(kept).expect("metadata is JSON")
    };
    let mut expected = message["metadata"].as_object().cloned().unwrap_or_default();
    let fields = message.as_object().expect("a row is an object").clone();
    expected.extend(fields.into_iter().filter(|(name, _)| !COLUMNS.contains(&name.as_str())));
    assert_eq!(kept, Value::Object(expected));
}

fn vip_is_what_it_says(metadata: &str, limits: &Limits) {
    let says_vip = !metadata.is_empty()
        && serde_json::from_str::<Value>(metadata).is_ok_and(|value| value["vip"] == Value::Bool(true));
    let mut message = format!(r#"{{"event_type":"e","title":"t","created_at":{LOG_TIME_MS}"#).into_bytes();
    if !metadata.is_empty() {
        message.extend_from_slice(b",\"metadata\":");
        message.extend_from_slice(metadata.as_bytes());
    }
    message.push(b'}');
    let mut rows = decoded::<crate::decode::Activities>(&message, limits);
    let event = rows.pop().expect("one row").expect("what a metric may say an event may");
    assert_eq!((event.severity, event.is_vip()), (Severity::Low, says_vip), "{metadata}");
    <crate::decode::Activities as Kind>::encode(&event);
}
