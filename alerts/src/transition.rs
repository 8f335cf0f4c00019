//! What the engine says: that an alert was raised, changed, ended; and on request every value it looked at.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::entity::{Entity, Place};
use crate::rule::Level;

/// A change in the life of an alert that the data made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    /// The alert, from its raise to its end, whatever its level does. The same on every instance that sees the same rows.
    pub alert: Uuid,
    /// What happened.
    pub change: Change,
    /// How bad it is now; of one that ended, how bad it was.
    pub level: Level,
    /// What raised it.
    pub cause: Cause,
    /// The rule.
    pub rule: String,
    /// The version of the rule that raised it.
    pub rule_version: u32,
    /// What it is about.
    pub entity: Entity,
    /// The account of a conversation, where its rows name one; of an account itself; else "".
    pub account_id: String,
    /// The metric; "" for composites.
    pub metric: String,
    /// When it happened, in event time.
    pub at_ms: i64,
    /// Since when the condition held.
    pub since_ms: i64,
    /// The value at that time, where there was one.
    pub value: Option<f64>,
    /// The threshold of its level, where there is one.
    pub threshold: Option<f64>,
    /// How surprising the value was, of anomalies.
    pub score: Option<f64>,
    /// All of it as a sentence.
    pub explanation: String,
    /// Of the rule.
    pub labels: BTreeMap<String, String>,
    /// Of the rule.
    pub runbook: Option<String>,
    /// A part of other rules only: it is told to nobody.
    pub quiet: bool,
    /// The row that made it happen, where it was one and not time.
    pub place: Option<Place>,
}

/// What happened to an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is new.
    Raised,
    /// From a warning to critical.
    Worsened,
    /// From critical to a warning.
    Improved,
    /// It ended.
    Resolved(End),
}

/// Why an alert ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The values are good again.
    Recovered,
    /// There were no more rows.
    NoData,
    /// The conversation, or what else it was about, has not been heard of for so long that it is forgotten.
    Vanished,
    /// The rule watches something else now.
    RuleChanged,
    /// The rule is no longer there.
    RuleRemoved,
    /// The hours of the rule are over.
    ScheduleEnded,
}

/// What raises an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The rule's condition.
    Condition,
    /// Silence.
    NoData,
    /// Something is configured wrongly.
    Configuration,
}

/// A value that was looked at, while an alert was near or fired unless the sink wants all: for the chart of its history.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evaluation<'a> {
    /// The rule.
    pub rule: &'a str,
    /// What it is about.
    pub entity: &'a Entity,
    /// The alert that fires after it, if one does.
    pub alert: Option<Uuid>,
    /// When, in event time.
    pub at_ms: i64,
    /// The value, where there was one to judge.
    pub value: Option<f64>,
    /// The threshold of the level that the value reached, else of the mildest.
    pub threshold: Option<f64>,
    /// What came of it.
    pub decision: Decision,
}

/// What came of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Too little to judge.
    Unknown,
    /// Good.
    Good,
    /// Bad, and `for` is not over.
    Pending,
    /// Bad for long enough, but muted, out of hours, or held back by its cause.
    HeldBack,
    /// Bad, and the alert fires.
    Firing,
    /// Good again, and `keep_firing_for` is not over.
    Recovering,
}

/// Where the engine says it to.
pub trait Sink {
    /// The life of an alert changed.
    fn transition(&mut self, transition: Transition);

    /// A value was looked at while an alert was near or fired.
    fn evaluated(&mut self, _evaluation: Evaluation<'_>) {}

    /// Whether it wants to be told of values that were looked at while nothing was wrong, too.
    fn wants_every_value(&self) -> bool {
        false
    }
}

impl Sink for Vec<Transition> {
    fn transition(&mut self, transition: Transition) {
        self.push(transition);
    }
}

/// What makes an alert the one it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity<'a> {
    pub(crate) rule: &'a str,
    pub(crate) version: u32,
    pub(crate) entity: &'a Entity,
    pub(crate) raised_ms: i64,
    /// How many the entity had before.
    pub(crate) number: u32,
}

impl Identity<'_> {
    /// The id: shaped as a UUIDv8 of a hash.
    pub(crate) fn id(&self) -> Uuid {
        let mut hasher = Sha256::new();
        let mut text = |text: &str| {
            // The length before it keeps one identity from reading as another.
            hasher.update((text.len() as u64).to_be_bytes());
            hasher.update(text.as_bytes());
        };
        text("alert");
        text(self.rule);
        let (kind, name) = match self.entity.subject.borrowed() {
            crate::entity::SubjectRef::Global => ("global", ""),
            crate::entity::SubjectRef::Account(id) => ("account", id),
            crate::entity::SubjectRef::Conversation(id) => ("conversation", id),
        };
        text(kind);
        text(name);
        text(&self.entity.part);
        hasher.update(self.version.to_be_bytes());
        hasher.update(self.raised_ms.to_be_bytes());
        hasher.update(self.number.to_be_bytes());
        let digest: [u8; 32] = hasher.finalize().into();
        let mut first = [0; 16];
        first.copy_from_slice(&digest[..16]);
        uuid::Builder::from_custom_bytes(first).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::Subject;

    #[test]
    fn every_part_of_an_identity_counts_and_nothing_else() {
        let account =
            |id: &str, part: &str| Entity { subject: Subject::Account(id.into()), part: part.into() };
        let conversation = Entity { subject: Subject::Conversation("a".into()), part: "".into() };
        let entities = [Entity::global(), account("a", ""), account("", "a"), conversation];
        let mut ids: Vec<Uuid> = entities
            .iter()
            .map(|entity| Identity { rule: "r", version: 1, entity, raised_ms: 5, number: 0 }.id())
            .collect();
        let base = Identity { rule: "r", version: 1, entity: &entities[0], raised_ms: 5, number: 0 };
        for other in [
            Identity { rule: "s", ..base },
            Identity { version: 2, ..base },
            Identity { raised_ms: 6, ..base },
            Identity { number: 1, ..base },
        ] {
            ids.push(other.id());
        }
        for (index, id) in ids.iter().enumerate() {
            assert!(!ids[..index].contains(id), "{id} came twice");
            assert_eq!(id.get_version_num(), 8);
        }
        assert_eq!(base.id().to_string(), base.id().to_string());
    }
}
