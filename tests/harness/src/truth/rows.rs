//! What is sent, each row made of its number alone.

use kelly_schemas::encode::NewMetric;
use serde_json::{Value, json};
use uuid::Uuid;

/// One metric, made of its number alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Name.
    pub metric: String,
    /// The number.
    pub value: f64,
    /// When.
    pub timestamp_ms: i64,
    /// Account; empty for none.
    pub account: String,
    /// Conversation; empty for none.
    pub conversation: String,
    /// The key on the log.
    pub key: String,
}

/// One activity event, made of its number alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its own, by which it shows once.
    pub id: Uuid,
    /// With the number.
    pub title: String,
    /// Type.
    pub event_type: &'static str,
    /// Severity.
    pub severity: &'static str,
    /// When.
    pub created_at_ms: i64,
    /// Account.
    pub account: String,
    /// Conversation: the key on the log.
    pub conversation: String,
    /// How often it is sent: a producer may record an event again under its id.
    pub copies: u64,
}

/// Groups of every tier, and partitions of every table: minutes, hours and days, with several rows in each.
const MINUTES_AGO: [i64; 7] = [1, 2, 30, 61, 180, 1_500, 2_800];

fn time_ms(number: u64, base_ms: i64) -> i64 {
    base_ms - MINUTES_AGO[(number % 7) as usize] * 60_000 - (number % 4_999) as i64
}

impl Sample {
    /// The metric of this number.
    pub(super) fn of(number: u64, metrics: &str, base_ms: i64) -> Self {
        let conversation = number % 53;
        Self {
            metric: format!("{metrics}.{}", number % 3),
            value: number as f64,
            timestamp_ms: time_ms(number, base_ms),
            account: if number % 11 == 4 { String::new() } else { format!("a{}", conversation % 4) },
            conversation: if number % 13 == 6 { String::new() } else { format!("c{conversation}") },
            key: format!("c{conversation}"),
        }
    }

    /// The row as producers send it.
    pub fn json(&self) -> Value {
        let mut row =
            json!({"metric_name": self.metric, "value": self.value, "timestamp": self.timestamp_ms});
        for (field, text) in [("account_id", &self.account), ("conversation_id", &self.conversation)] {
            if !text.is_empty() {
                row[field] = json!(text);
            }
        }
        row
    }

    /// The row as a message of Arrow takes it.
    pub fn arrow(&self) -> NewMetric<'_> {
        NewMetric {
            metric_name: &self.metric,
            value: self.value,
            timestamp_ms: Some(self.timestamp_ms),
            account_id: (!self.account.is_empty()).then_some(&*self.account),
            conversation_id: (!self.conversation.is_empty()).then_some(&*self.conversation),
            ..NewMetric::default()
        }
    }
}

impl Event {
    /// The event of this number.
    pub(super) fn of(number: u64, name: &str, base_ms: i64) -> Self {
        let conversation = number % 31;
        let created_at_ms = time_ms(number, base_ms);
        let mut tail = [0; 10];
        tail[2..].copy_from_slice(&number.to_be_bytes());
        let id = uuid::Builder::from_unix_timestamp_millis(created_at_ms as u64, &tail).into_uuid();
        Self {
            id,
            title: format!("{name} {number}"),
            event_type: ["escalation", "handover", "user_interaction"][(number % 3) as usize],
            severity: ["low", "medium", "high", "critical"][(number % 4) as usize],
            created_at_ms,
            account: format!("a{}", conversation % 4),
            conversation: format!("c{conversation}"),
            copies: if number.is_multiple_of(5) { 2 } else { 1 },
        }
    }

    /// The rows as producers send them.
    pub fn json(&self) -> impl Iterator<Item = Value> {
        let row = json!({
            "id": self.id,
            "title": self.title,
            "event_type": self.event_type,
            "severity": self.severity,
            "created_at": self.created_at_ms,
            "account_id": self.account,
            "conversation_id": self.conversation,
        });
        std::iter::repeat_n(row, self.copies as usize)
    }
}
