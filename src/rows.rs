//! Rows as producers write them, and the records that carry them to the log. What Kelly produces
//! itself (its own metrics, the demo, a replay to the log) goes this way and no other.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use kelly_schemas::Stream;
use kelly_stream::NewRecord;
use serde::Serialize;
use uuid::Uuid;

/// A metric to produce.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MetricRow {
    /// Name.
    pub metric_name: &'static str,
    /// Value.
    pub value: f64,
    /// When, ms since the epoch.
    #[serde(rename = "timestamp")]
    pub at_ms: i64,
    /// Account.
    pub account_id: &'static str,
    /// Conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<Arc<str>>,
    /// User.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<Arc<str>>,
    /// Anything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<serde_json::Value>,
}

/// An activity event to produce.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EventRow {
    /// Id.
    pub id: Uuid,
    /// Kind.
    pub event_type: &'static str,
    /// One line for people.
    pub title: String,
    /// `low`, `medium`, `high` or `critical`.
    pub severity: &'static str,
    /// Category.
    pub category: &'static str,
    /// When, ms since the epoch.
    #[serde(rename = "created_at")]
    pub at_ms: i64,
    /// Account.
    pub account_id: &'static str,
    /// Conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<Arc<str>>,
    /// User.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<Arc<str>>,
    /// Anything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<serde_json::Value>,
}

/// Rows of one message at most: well under the limit of the decoder, and large enough that a
/// message's own cost does not count.
const ROWS_A_MESSAGE: usize = 500;

/// Packs rows into messages, an array each, keyed by account so that an account's rows keep their order.
pub fn records(metrics: &[MetricRow], events: &[EventRow]) -> Vec<NewRecord> {
    let mut records = pack(Stream::Metrics, metrics, |row| row.account_id);
    records.extend(pack(Stream::Activity, events, |row| row.account_id));
    records
}

fn pack<'r, Row: Serialize>(
    stream: Stream,
    rows: &'r [Row],
    key: impl Fn(&'r Row) -> &'r str,
) -> Vec<NewRecord> {
    let topic: Arc<str> = stream.topic().into();
    let mut by_key: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        by_key.entry(key(row)).or_default().push(row);
    }
    let mut records = Vec::new();
    for (key, rows) in by_key {
        for message in rows.chunks(ROWS_A_MESSAGE) {
            let payload = serde_json::to_vec(message).expect("rows are plain data, JSON has a form for each");
            records.push(NewRecord {
                topic: topic.clone(),
                partition: None,
                key: Some(Bytes::copy_from_slice(key.as_bytes())),
                payload: payload.into(),
                content_type: None,
            });
        }
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(account_id: &'static str, value: f64) -> MetricRow {
        MetricRow {
            metric_name: "messages",
            value,
            at_ms: 1,
            account_id,
            conversation_id: None,
            user_id: None,
            metadata: None,
        }
    }

    #[test]
    fn rows_are_packed_by_account_in_order_and_in_bounds() {
        let rows: Vec<MetricRow> =
            (0..1_201).map(|n| metric(if n % 3 == 0 { "a" } else { "b" }, f64::from(n))).collect();
        let records = records(&rows, &[]);
        assert_eq!(records.len(), 1 + 2);
        let mut seen = 0;
        for record in &records {
            let packed: Vec<serde_json::Value> = serde_json::from_slice(&record.payload).unwrap();
            assert!(packed.len() <= ROWS_A_MESSAGE);
            assert!(
                packed
                    .iter()
                    .all(|row| row["account_id"].as_str().unwrap().as_bytes()
                        == record.key.as_deref().unwrap())
            );
            assert!(packed.is_sorted_by(|a, b| a["value"].as_f64() <= b["value"].as_f64()));
            seen += packed.len();
        }
        assert_eq!(seen, rows.len());
    }
}
