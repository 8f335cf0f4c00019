//! What a record changed: for those who show it, tell it on or write it down.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A step in the life of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// It began.
    Raised,
    /// It got worse.
    Worsened,
    /// It got better, and is not over.
    Improved,
    /// The data say it is over; a person may have said so before.
    DataResolved,
    /// Somebody takes care.
    Acknowledged,
    /// Nobody takes care any more.
    Unacknowledged,
    /// It has an owner.
    Assigned,
    /// It has none any more.
    Unassigned,
    /// A person set it to a higher level.
    Escalated,
    /// A person set it to a lower level.
    Deescalated,
    /// It came to the next level by itself, because nobody acknowledged it.
    Climbed,
    /// A person says it is over.
    Resolved,
    /// A person, or worse data, says that it is not over.
    Reopened,
    /// Somebody wrote something about it.
    Noted,
    /// Somebody said what he thinks of it.
    Rated,
}

impl Step {
    /// A word for it that does not change.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Worsened => "worsened",
            Self::Improved => "improved",
            Self::DataResolved => "data_resolved",
            Self::Acknowledged => "acknowledged",
            Self::Unacknowledged => "unacknowledged",
            Self::Assigned => "assigned",
            Self::Unassigned => "unassigned",
            Self::Escalated => "escalated",
            Self::Deescalated => "deescalated",
            Self::Climbed => "climbed",
            Self::Resolved => "resolved",
            Self::Reopened => "reopened",
            Self::Noted => "noted",
            Self::Rated => "rated",
        }
    }
}

/// One change. A record may make many: alerts climb when its log time says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Of an alert.
    Alert {
        /// Which.
        alert: Uuid,
        /// What happened.
        step: Step,
    },
    /// A silence began or was changed.
    SilencePut {
        /// Which.
        silence: Uuid,
    },
    /// A silence ended, by a person or by its time.
    SilenceEnded {
        /// Which.
        silence: Uuid,
    },
    /// An incident began.
    IncidentOpened {
        /// Which.
        incident: u64,
    },
    /// The last alert of an incident is resolved.
    IncidentClosed {
        /// Which.
        incident: u64,
    },
    /// A policy was made, changed or removed.
    Policy {
        /// Which.
        policy: String,
    },
    /// A rule was made or changed.
    RulePut {
        /// Which.
        rule: String,
    },
    /// A rule was removed.
    RuleDeleted {
        /// Which.
        rule: String,
    },
    /// Commands of a further version count.
    Version {
        /// Which.
        version: u16,
    },
}
