//! An alert as the control log has made it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::actor::By;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// To be known.
    Info,
    /// To be looked at.
    Warning,
    /// To be acted upon now.
    Critical,
}

impl Severity {
    /// A word for it that does not change.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Where an alert is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nobody has taken it yet.
    Active,
    /// Somebody has seen it and takes care.
    Acknowledged,
    /// Over.
    Resolved,
}

impl Status {
    /// A word for it that does not change.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
        }
    }
}

/// Why data resolved it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataReason {
    /// The value is back where it should be.
    Recovered,
    /// No data came any more.
    NoData,
    /// What it was about is gone.
    Vanished,
    /// The rule was changed.
    RuleChanged,
    /// The rule was removed.
    RuleRemoved,
    /// The rule's schedule ended.
    ScheduleEnded,
}

impl DataReason {
    /// A word for it that does not change.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Recovered => "recovered",
            Self::NoData => "no_data",
            Self::Vanished => "vanished",
            Self::RuleChanged => "rule_changed",
            Self::RuleRemoved => "rule_removed",
            Self::ScheduleEnded => "schedule_ended",
        }
    }
}

/// How it was resolved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resolution {
    /// By whom and when.
    pub by: By,
    /// Why, where data resolved it.
    pub reason: Option<DataReason>,
    /// The value then.
    pub value: Option<f64>,
    /// What the person said.
    pub note: Option<String>,
}

/// What somebody thinks of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Feedback {
    /// There was no problem.
    FalsePositive,
    /// There was one, and nothing to be done.
    NotActionable,
    /// It did not say enough.
    PoorDetails,
}

impl Feedback {
    /// A word for it that does not change.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::FalsePositive => "false_positive",
            Self::NotActionable => "not_actionable",
            Self::PoorDetails => "poor_details",
        }
    }
}

/// A person's words about an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Whose, and when.
    pub by: By,
    /// The words.
    pub text: String,
}

/// Who owns it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The person.
    pub to: String,
    /// Who said so, and when.
    pub by: By,
}

/// How far it has climbed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Climb {
    /// Level; 0 is where it begins.
    pub level: u8,
    /// Whom that level tells.
    pub notify: Vec<String>,
    /// How often all levels were gone through.
    pub rounds: u8,
    /// The policy that makes it climb.
    pub policy: Option<String>,
    /// Log time of the next level; `None` when it does not climb by itself.
    pub due_ms: Option<i64>,
}

/// An alert, from its raise to its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Its id, from raise to resolve, whatever its severity does.
    pub id: Uuid,
    /// The rule that raised it.
    pub rule: String,
    /// That rule's version.
    pub rule_version: u32,
    /// Account it is about.
    pub account_id: Option<String>,
    /// Conversation it is about.
    pub conversation_id: Option<String>,
    /// Metric it is about.
    pub metric: Option<String>,
    /// Severity now.
    pub severity: Severity,
    /// The worst it has been.
    pub worst: Severity,
    /// Event time of the raise.
    pub raised_ms: i64,
    /// Since when its condition holds (event time).
    pub since_ms: i64,
    /// Where on the log it was raised.
    pub raised: By,
    /// The newest value the data reported.
    pub value: Option<f64>,
    /// The threshold it was held against.
    pub threshold: Option<f64>,
    /// What is wrong, with the number that matters.
    pub explanation: String,
    /// The rule's labels.
    pub labels: BTreeMap<String, String>,
    /// Where to read what to do.
    pub runbook: Option<String>,
    /// Recorded and shown, but nobody is to be told.
    pub quiet: bool,
    /// Why it exists, where that is not a value beyond a threshold.
    pub cause: Option<String>,
    /// Where it is in its life.
    pub status: Status,
    /// Whether its condition still holds, as far as data said. A person can resolve what still holds.
    pub holds: bool,
    /// Event time of the newest report of the data: an older one is no news.
    pub data_ms: i64,
    /// Who acknowledged it.
    pub acknowledged: Option<By>,
    /// Who owns it.
    pub owner: Option<Owner>,
    /// How far it has climbed.
    pub climb: Climb,
    /// How it was resolved.
    pub resolution: Option<Resolution>,
    /// The incident it belongs to.
    pub incident: u64,
    /// Who made its version, and when: the offset is the version. It changes with what people decide upon: raise, worsening,
    /// acknowledgement, owner, level set by a person, resolve, reopening. Not with notes, feedback or climbing by itself.
    pub changed: By,
    /// What people wrote about it.
    pub notes: Vec<Note>,
    /// What people think of it, by person.
    pub feedback: BTreeMap<String, Feedback>,
}

impl Alert {
    /// What a command that was made for this state of it names as `expected`.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.changed.offset
    }

    /// Whether it is not resolved.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.status != Status::Resolved
    }
}
