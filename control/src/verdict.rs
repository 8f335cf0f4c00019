//! What the log decided about a command.

use serde::{Deserialize, Serialize};

use crate::actor::Actor;
use crate::command::RecordFault;

/// The verdict on one record. The same on every instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// It was done.
    Applied {
        /// The version that what it changed has now.
        version: u64,
    },
    /// It was so already.
    Unchanged(Unchanged),
    /// Somebody else was first.
    Conflict(Conflict),
    /// It cannot be done.
    Refused(Refusal),
    /// It was taken back before it came.
    Cancelled {
        /// Where the log took it back.
        at: u64,
    },
    /// The log had it before: what was decided there holds.
    Duplicate {
        /// Where it came first.
        first: u64,
    },
}

/// Why nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unchanged {
    /// The alert was raised before.
    AlreadyRaised,
    /// The alert is resolved already.
    AlreadyResolved,
    /// The same actor acknowledged it before, or nobody has and it was to be taken back.
    AlreadySo,
    /// Newer data was reported before.
    OldNews,
    /// The command to be taken back was decided before.
    TooLate,
}

/// Who was first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// Who.
    pub by: Actor,
    /// Since when, by log time.
    pub since_ms: i64,
    /// What they did.
    pub what: Decided,
    /// The version in force: with it as `expected` the command can be put again.
    pub version: u64,
}

/// What somebody else decided before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decided {
    /// Acknowledged it.
    Acknowledged,
    /// Resolved it.
    Resolved,
    /// Changed it in another way.
    Changed,
}

/// Why something cannot be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The record is no command.
    Record(RecordFault),
    /// Its version does not count yet.
    VersionNotInForce,
    /// Another command has its id.
    IdReused,
    /// No such alert, or it is forgotten.
    UnknownAlert,
    /// No such silence, or it has ended.
    UnknownSilence,
    /// No such policy.
    UnknownPolicy,
    /// No such rule.
    UnknownRule,
    /// The alert is not resolved.
    NotResolved,
    /// The alert is resolved.
    IsResolved,
    /// There is no such level.
    NoSuchLevel,
    /// The end lies before the log's time, or more than a year behind it.
    BadEnd,
    /// Raised so long ago that nobody could tell whether it was raised before.
    TooOld,
    /// Only who is a person can do that.
    OnlyPeople,
    /// Only the evaluator can do that.
    OnlyEvaluator,
    /// As many alerts are open as can be.
    TooManyAlerts,
    /// As many silences are there as can be.
    TooManySilences,
    /// As many policies are there as can be.
    TooManyPolicies,
    /// As many rules are there as can be.
    TooManyRules,
    /// The alert has as many notes or opinions as it can have.
    TooManyNotes,
}

impl Verdict {
    /// Every [`Verdict::code`].
    pub const CODES: [&str; 6] = ["applied", "unchanged", "conflict", "refused", "cancelled", "duplicate"];

    /// Whether it was done.
    #[must_use]
    pub fn is_applied(&self) -> bool {
        matches!(self, Self::Applied { .. })
    }

    /// A word for it that does not change.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Applied { .. } => "applied",
            Self::Unchanged(_) => "unchanged",
            Self::Conflict(_) => "conflict",
            Self::Refused(_) => "refused",
            Self::Cancelled { .. } => "cancelled",
            Self::Duplicate { .. } => "duplicate",
        }
    }

    /// Its place in [`Verdict::CODES`].
    pub(crate) fn place(&self) -> usize {
        Self::CODES.iter().position(|code| *code == self.code()).unwrap_or_default()
    }

    /// A word for the reason, where there is one.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Applied { .. } | Self::Cancelled { .. } | Self::Duplicate { .. } => "",
            Self::Unchanged(why) => why.code(),
            Self::Conflict(conflict) => match conflict.what {
                Decided::Acknowledged => "acknowledged",
                Decided::Resolved => "resolved",
                Decided::Changed => "changed",
            },
            Self::Refused(refusal) => refusal.code(),
        }
    }
}

impl Unchanged {
    /// A word for it that does not change.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::AlreadyRaised => "already_raised",
            Self::AlreadyResolved => "already_resolved",
            Self::AlreadySo => "already_so",
            Self::OldNews => "old_news",
            Self::TooLate => "too_late",
        }
    }
}

impl Refusal {
    /// A word for it that does not change.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Record(RecordFault::TooLarge) => "record_too_large",
            Self::Record(RecordFault::Unreadable) => "record_unreadable",
            Self::Record(RecordFault::UnknownVersion) => "unknown_version",
            Self::Record(RecordFault::UnknownOp) => "unknown_op",
            Self::Record(RecordFault::UnreadableArgs) => "args_unreadable",
            Self::Record(RecordFault::OutOfBounds) => "out_of_bounds",
            Self::VersionNotInForce => "version_not_in_force",
            Self::IdReused => "id_reused",
            Self::UnknownAlert => "unknown_alert",
            Self::UnknownSilence => "unknown_silence",
            Self::UnknownPolicy => "unknown_policy",
            Self::UnknownRule => "unknown_rule",
            Self::NotResolved => "not_resolved",
            Self::IsResolved => "is_resolved",
            Self::NoSuchLevel => "no_such_level",
            Self::BadEnd => "bad_end",
            Self::TooOld => "too_old",
            Self::OnlyPeople => "only_people",
            Self::OnlyEvaluator => "only_evaluator",
            Self::TooManyAlerts => "too_many_alerts",
            Self::TooManySilences => "too_many_silences",
            Self::TooManyPolicies => "too_many_policies",
            Self::TooManyRules => "too_many_rules",
            Self::TooManyNotes => "too_many_notes",
        }
    }
}
