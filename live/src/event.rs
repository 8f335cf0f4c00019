//! From a record of the log to the events it holds, each written down once.

use chrono::{DateTime, Utc};
use kelly_schemas::decode::{self, Origin};
use kelly_schemas::{Activity, Limits, Severity};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

/// An event, with the fields it has in the activity feed.
#[derive(Debug, Serialize, ToSchema)]
pub struct LiveEvent {
    /// Its id. An event that was recorded twice comes twice, under the same id.
    pub id: Uuid,
    /// Its type.
    pub event_type: String,
    /// One line.
    pub title: String,
    /// More; null when there is none.
    pub description: Option<String>,
    /// The account concerned.
    pub account_id: Option<String>,
    /// The conversation concerned.
    pub conversation_id: Option<String>,
    /// The user concerned.
    pub user_id: Option<String>,
    /// How much it matters.
    #[schema(value_type = String, example = "high")]
    pub severity: Severity,
    /// Its category.
    pub category: String,
    /// When it happened.
    pub created_at: DateTime<Utc>,
    /// Whether it belongs to the VIP feed.
    pub is_vip: bool,
    /// What the producer added, as it was recorded; null when nothing.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Box<RawValue>>,
}

impl From<Activity<'_>> for LiveEvent {
    fn from(event: Activity<'_>) -> Self {
        let present = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Self {
            id: event.id,
            is_vip: event.is_vip(),
            description: present(&event.description),
            account_id: present(&event.account_id),
            conversation_id: present(&event.conversation_id),
            user_id: present(&event.user_id),
            severity: event.severity,
            // Decoding has bounded it to 1970 to 2106.
            created_at: DateTime::from_timestamp_millis(event.created_at_ms).unwrap_or_default(),
            // Decoding has made sure that it is a JSON object.
            metadata: present(&event.metadata).and_then(|text| RawValue::from_string(text).ok()),
            event_type: event.event_type.into_owned(),
            title: event.title.into_owned(),
            category: event.category.into_owned(),
        }
    }
}

/// The events of one record, with their rows in it.
#[derive(Debug)]
pub struct RecordEvents {
    /// Partition of the record.
    pub partition: u32,
    /// Its offset.
    pub offset: u64,
    /// The good rows, in order. Bad ones are not shown: ingest keeps them as dead letters.
    pub events: Vec<(u32, LiveEvent)>,
}

/// Reads the record with this payload at this place, exactly as ingest does.
#[must_use]
pub fn events_of(
    payload: &[u8],
    (partition, offset): (u32, u64),
    log_time_ms: i64,
    limits: &Limits,
) -> RecordEvents {
    let origin = Origin { partition, offset, log_time_ms, limits };
    let mut events = Vec::new();
    decode::activities(payload, &origin, &mut |row, outcome| {
        if let Ok(event) = outcome {
            events.push((row, event.into()));
        }
    });
    RecordEvents { partition, offset, events }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_rows_keep_their_numbers_and_bad_ones_are_not_shown() {
        let payload = br#"[{"event_type":"a","title":"one"},{"event_type":"b"},
            {"event_type":"c","title":"three","account_id":"acme","vip":true,"severity":"high"}]"#;
        let record = events_of(payload, (3, 42), 1_790_000_000_123, &Limits::default());
        let rows: Vec<u32> = record.events.iter().map(|(row, _)| *row).collect();
        assert_eq!(((record.partition, record.offset), rows), ((3, 42), vec![0, 2]));
        let shown = serde_json::to_value(&record.events[1].1).unwrap();
        assert_eq!(shown["created_at"], "2026-09-21T14:13:20.123Z");
        assert_eq!(shown["metadata"], serde_json::json!({"vip": true}));
        assert_eq!((&shown["is_vip"], &shown["severity"]), (&true.into(), &"high".into()));
        assert_eq!((&shown["account_id"], &shown["user_id"]), (&"acme".into(), &serde_json::Value::Null));
        for nothing in [&b"no JSON"[..], b"", b"[]", br#"{"event_type":"a","title":"x","message":"hello"}"#] {
            assert!(events_of(nothing, (0, 0), 0, &Limits::default()).events.is_empty());
        }
    }
}
