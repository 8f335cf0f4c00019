//! What can be commanded, with the bounds of what a command may hold.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::alert::{DataReason, Feedback, Severity};
use crate::matcher::Matcher;

/// Longest id, name or label, in characters. A command with a longer one is refused whole.
pub const MAX_NAME_CHARS: usize = 256;

/// Longest note, reason or explanation. A command with a longer one is refused whole.
pub const MAX_TEXT_BYTES: usize = 4_096;

/// Most labels of an alert or a matcher. A command with more is refused whole.
pub const MAX_LABELS: usize = 32;

/// Most levels of a policy, and most people a level tells. A command with more is refused whole.
pub const MAX_LEVELS: usize = 16;

/// Longest document of a rule. A command with a longer one is refused whole.
pub const MAX_DOCUMENT_BYTES: usize = 64 * 1024;

/// Longest time ahead of the log that a silence may end: a year. A silence for ever is a rule to be removed.
pub const MAX_SILENCE_MS: i64 = 366 * 24 * 3_600 * 1_000;

/// What a command does. Its name on the log is `op`, its parts are `args`.
///
/// A variant is added only together with a new version of the commands ([`crate::command::VERSION`]), so that an instance of
/// before judges the log as one of after does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", content = "args")]
pub enum Op {
    /// Nothing: who waits for its offset has seen everything before it.
    #[serde(rename = "noop")]
    Noop,
    /// Nothing but the log's time: what is due by then happens.
    #[serde(rename = "tick")]
    Tick,
    /// Settles a command of which nobody knows whether it was written: what the log has first, holds.
    #[serde(rename = "cancel")]
    Cancel(Cancel),
    /// From here on commands of this version count.
    #[serde(rename = "upgrade")]
    Upgrade(Upgrade),
    /// What the data say of an alert.
    #[serde(rename = "alert.transition")]
    Transition(Box<Transition>),
    /// Somebody takes care of it.
    #[serde(rename = "alert.acknowledge")]
    Acknowledge(Handle),
    /// Nobody takes care of it any more.
    #[serde(rename = "alert.unacknowledge")]
    Unacknowledge(Handle),
    /// It gets an owner, or none.
    #[serde(rename = "alert.assign")]
    Assign(Assign),
    /// It goes up a level, or to one.
    #[serde(rename = "alert.escalate")]
    Escalate(SetLevel),
    /// It goes down a level, or to one.
    #[serde(rename = "alert.deescalate")]
    Deescalate(SetLevel),
    /// A person says that it is over.
    #[serde(rename = "alert.resolve")]
    Resolve(Handle),
    /// A person says that it is not over.
    #[serde(rename = "alert.reopen")]
    Reopen(Handle),
    /// Words about it.
    #[serde(rename = "alert.note")]
    Note(AddNote),
    /// Whether it was worth anybody's time.
    #[serde(rename = "alert.feedback")]
    Feedback(GiveFeedback),
    /// Nobody is told of alerts like these for a while.
    #[serde(rename = "silence.put")]
    PutSilence(PutSilence),
    /// They are told of them again.
    #[serde(rename = "silence.end")]
    EndSilence(EndSilence),
    /// How alerts climb that nobody acknowledges.
    #[serde(rename = "policy.put")]
    PutPolicy(PutPolicy),
    /// They do not climb by this policy any more.
    #[serde(rename = "policy.delete")]
    DeletePolicy(DeletePolicy),
    /// A rule is made or changed.
    #[serde(rename = "rule.put")]
    PutRule(PutRule),
    /// A rule is removed.
    #[serde(rename = "rule.delete")]
    DeleteRule(DeleteRule),
}

/// Every name of an [`Op`], in order.
pub const NAMES: [&str; 20] = [
    "noop",
    "tick",
    "cancel",
    "upgrade",
    "alert.transition",
    "alert.acknowledge",
    "alert.unacknowledge",
    "alert.assign",
    "alert.escalate",
    "alert.deescalate",
    "alert.resolve",
    "alert.reopen",
    "alert.note",
    "alert.feedback",
    "silence.put",
    "silence.end",
    "policy.put",
    "policy.delete",
    "rule.put",
    "rule.delete",
];

/// Args of `cancel`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cancel {
    /// The command.
    pub command: Uuid,
}

/// Args of `upgrade`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upgrade {
    /// The version behind the one in force.
    pub version: u16,
}

/// What happened to an alert's condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransitionKind {
    /// It begins to hold.
    Raised,
    /// It is worse than before.
    Worsened,
    /// It is better than before, and holds.
    Improved,
    /// It does not hold any more.
    Resolved,
}

/// Args of `alert.transition`: what the evaluator found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transition {
    /// The alert, the same from raise to resolve.
    pub alert: Uuid,
    /// What happened.
    pub kind: TransitionKind,
    /// Why it is resolved; only then.
    #[serde(default)]
    pub reason: Option<DataReason>,
    /// The rule.
    pub rule: String,
    /// Its version.
    pub rule_version: u32,
    /// Account it is about.
    #[serde(default)]
    pub account_id: Option<String>,
    /// Conversation it is about.
    #[serde(default)]
    pub conversation_id: Option<String>,
    /// Metric it is about.
    #[serde(default)]
    pub metric: Option<String>,
    /// Severity from now on; of a resolve the last one.
    pub severity: Severity,
    /// Event time.
    pub at_ms: i64,
    /// Since when the condition holds (event time).
    pub since_ms: i64,
    /// The value that decided.
    #[serde(default)]
    pub value: Option<f64>,
    /// The threshold it was held against.
    #[serde(default)]
    pub threshold: Option<f64>,
    /// What is wrong, for people.
    pub explanation: String,
    /// The rule's labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Where to read what to do.
    #[serde(default)]
    pub runbook: Option<String>,
    /// Recorded and shown, but nobody is to be told.
    #[serde(default)]
    pub quiet: bool,
    /// Why it exists, where that is not a value beyond a threshold.
    #[serde(default)]
    pub cause: Option<String>,
}

/// Args of what is done to an alert as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handle {
    /// The alert.
    pub alert: Uuid,
    /// The version that the caller saw: with another one in force the command is a conflict.
    #[serde(default)]
    pub expected: Option<u64>,
    /// Why, or what else there is to say.
    #[serde(default)]
    pub note: Option<String>,
}

/// Args of `alert.assign`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assign {
    /// The alert.
    pub alert: Uuid,
    /// As in [`Handle`].
    #[serde(default)]
    pub expected: Option<u64>,
    /// The owner; none takes it from the one it has.
    #[serde(default)]
    pub to: Option<String>,
    /// Why.
    #[serde(default)]
    pub note: Option<String>,
}

/// Args of `alert.escalate` and `alert.deescalate`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetLevel {
    /// The alert.
    pub alert: Uuid,
    /// As in [`Handle`].
    #[serde(default)]
    pub expected: Option<u64>,
    /// The level; none means the next one.
    #[serde(default)]
    pub level: Option<u8>,
    /// Why.
    #[serde(default)]
    pub note: Option<String>,
}

/// Args of `alert.note`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddNote {
    /// The alert.
    pub alert: Uuid,
    /// The words.
    pub text: String,
}

/// Args of `alert.feedback`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GiveFeedback {
    /// The alert.
    pub alert: Uuid,
    /// What the actor thinks of it; a later opinion takes the place of his earlier one.
    pub kind: Feedback,
}

/// Args of `silence.put`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutSilence {
    /// Its id; one that is there is changed.
    pub silence: Uuid,
    /// Which alerts.
    pub matcher: Matcher,
    /// When it ends, by log time.
    pub ends_ms: i64,
    /// Why.
    pub reason: String,
}

/// Args of `silence.end`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndSilence {
    /// The silence.
    pub silence: Uuid,
}

/// A level of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Level {
    /// How long an alert stays unacknowledged at the level before until it comes here.
    pub after_ms: i64,
    /// Whom it tells: names of people, roles or destinations.
    pub notify: Vec<String>,
}

/// Args of `policy.put`: how alerts climb.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutPolicy {
    /// Its name. Of several policies that mean an alert, the first by name counts; `default` comes last.
    pub policy: String,
    /// Which alerts; one that names nothing means all.
    #[serde(default)]
    pub matcher: Matcher,
    /// From which severity on.
    pub severity: Severity,
    /// The levels, lowest first. None: these alerts do not climb.
    pub levels: Vec<Level>,
    /// How often all levels are gone through again.
    #[serde(default)]
    pub repeat: u8,
}

/// Args of `policy.delete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeletePolicy {
    /// Its name.
    pub policy: String,
}

/// A JSON document as it was written. Nothing here reads it: what is in it was checked before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document(pub String);

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<&RawValue>(&self.0).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Box::<RawValue>::deserialize(deserializer)?.get().to_owned()))
    }
}

/// Args of `rule.put`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PutRule {
    /// Its id.
    pub rule: String,
    /// The version that the caller saw; 0 when there was none.
    #[serde(default)]
    pub expected: Option<u64>,
    /// The rule.
    pub document: Document,
}

/// Args of `rule.delete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteRule {
    /// Its id.
    pub rule: String,
    /// The version that the caller saw.
    #[serde(default)]
    pub expected: Option<u64>,
}

/// A part of a command that breaks a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{part} {problem}")]
pub struct OutOfBounds {
    /// Which part.
    pub part: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
}

type Check = Result<(), OutOfBounds>;

impl Op {
    /// Its name on the log.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Noop => "noop",
            Self::Tick => "tick",
            Self::Cancel(_) => "cancel",
            Self::Upgrade(_) => "upgrade",
            Self::Transition(_) => "alert.transition",
            Self::Acknowledge(_) => "alert.acknowledge",
            Self::Unacknowledge(_) => "alert.unacknowledge",
            Self::Assign(_) => "alert.assign",
            Self::Escalate(_) => "alert.escalate",
            Self::Deescalate(_) => "alert.deescalate",
            Self::Resolve(_) => "alert.resolve",
            Self::Reopen(_) => "alert.reopen",
            Self::Note(_) => "alert.note",
            Self::Feedback(_) => "alert.feedback",
            Self::PutSilence(_) => "silence.put",
            Self::EndSilence(_) => "silence.end",
            Self::PutPolicy(_) => "policy.put",
            Self::DeletePolicy(_) => "policy.delete",
            Self::PutRule(_) => "rule.put",
            Self::DeleteRule(_) => "rule.delete",
        }
    }

    /// The alert it is about.
    #[must_use]
    pub fn alert(&self) -> Option<Uuid> {
        match self {
            Self::Transition(transition) => Some(transition.alert),
            Self::Acknowledge(args)
            | Self::Unacknowledge(args)
            | Self::Resolve(args)
            | Self::Reopen(args) => Some(args.alert),
            Self::Assign(args) => Some(args.alert),
            Self::Escalate(args) | Self::Deescalate(args) => Some(args.alert),
            Self::Note(args) => Some(args.alert),
            Self::Feedback(args) => Some(args.alert),
            _ => None,
        }
    }

    /// Whether every part is within its bounds.
    ///
    /// # Errors
    /// Names the first that is not.
    pub fn check(&self) -> Check {
        match self {
            Self::Noop | Self::Tick | Self::Cancel(_) | Self::Upgrade(_) | Self::Feedback(_) => Ok(()),
            Self::EndSilence(_) => Ok(()),
            Self::Transition(transition) => transition.check(),
            Self::Acknowledge(args)
            | Self::Unacknowledge(args)
            | Self::Resolve(args)
            | Self::Reopen(args) => text("note", args.note.as_deref()),
            Self::Assign(args) => {
                text("note", args.note.as_deref())?;
                args.to.as_deref().map_or(Ok(()), |to| name("to", to))
            }
            Self::Escalate(args) | Self::Deescalate(args) => text("note", args.note.as_deref()),
            Self::Note(args) => required("text", &args.text),
            Self::PutSilence(args) => {
                if args.matcher.is_empty() {
                    return out_of_bounds("matcher", "names nothing: a silence of every alert is refused");
                }
                matcher(&args.matcher)?;
                required("reason", &args.reason)
            }
            Self::PutPolicy(args) => args.check(),
            Self::DeletePolicy(args) => name("policy", &args.policy),
            Self::PutRule(args) => {
                name("rule", &args.rule)?;
                if args.document.0.len() > MAX_DOCUMENT_BYTES {
                    return out_of_bounds("document", "is longer than 64 KiB");
                }
                Ok(())
            }
            Self::DeleteRule(args) => name("rule", &args.rule),
        }
    }
}

impl Transition {
    fn check(&self) -> Check {
        name("rule", &self.rule)?;
        for (part, value) in [
            ("account_id", &self.account_id),
            ("conversation_id", &self.conversation_id),
            ("metric", &self.metric),
            ("cause", &self.cause),
        ] {
            value.as_deref().map_or(Ok(()), |value| name(part, value))?;
        }
        text("explanation", Some(&self.explanation))?;
        text("runbook", self.runbook.as_deref())?;
        labels(&self.labels)?;
        let finite = |value: Option<f64>| value.is_none_or(f64::is_finite);
        if !finite(self.value) || !finite(self.threshold) {
            return out_of_bounds("value or threshold", "is no number");
        }
        if self.reason.is_some() != (self.kind == TransitionKind::Resolved) {
            return out_of_bounds("reason", "is there exactly when kind is resolved");
        }
        Ok(())
    }
}

impl PutPolicy {
    fn check(&self) -> Check {
        name("policy", &self.policy)?;
        matcher(&self.matcher)?;
        if self.levels.len() > MAX_LEVELS || self.levels.iter().any(|level| level.notify.len() > MAX_LEVELS) {
            return out_of_bounds("levels", "are more than 16, or one tells more than 16");
        }
        for level in &self.levels {
            if !(1_000..=MAX_SILENCE_MS).contains(&level.after_ms) {
                return out_of_bounds("levels.after_ms", "is not between a second and a year");
            }
            level.notify.iter().try_for_each(|who| name("levels.notify", who))?;
        }
        Ok(())
    }
}

fn out_of_bounds(part: &'static str, problem: &'static str) -> Check {
    Err(OutOfBounds { part, problem })
}

pub(crate) fn name(part: &'static str, value: &str) -> Check {
    if value.is_empty() || value.chars().count() > MAX_NAME_CHARS || value.chars().any(char::is_control) {
        return out_of_bounds(part, "must have 1 to 256 characters, none of them a control character");
    }
    Ok(())
}

fn text(part: &'static str, value: Option<&str>) -> Check {
    if value.is_some_and(|value| value.len() > MAX_TEXT_BYTES) {
        return out_of_bounds(part, "is longer than 4,096 bytes");
    }
    Ok(())
}

fn required(part: &'static str, value: &str) -> Check {
    if value.trim().is_empty() {
        return out_of_bounds(part, "is empty");
    }
    text(part, Some(value))
}

fn labels(labels: &BTreeMap<String, String>) -> Check {
    if labels.len() > MAX_LABELS {
        return out_of_bounds("labels", "are more than 32");
    }
    for (label, value) in labels {
        name("labels", label)?;
        if value.chars().count() > MAX_NAME_CHARS {
            return out_of_bounds("labels", "have a value longer than 256 characters");
        }
    }
    Ok(())
}

fn matcher(matcher: &Matcher) -> Check {
    for (part, value) in [
        ("matcher.rule", &matcher.rule),
        ("matcher.metric", &matcher.metric),
        ("matcher.account_id", &matcher.account_id),
        ("matcher.conversation_id", &matcher.conversation_id),
    ] {
        value.as_deref().map_or(Ok(()), |value| name(part, value))?;
    }
    labels(&matcher.labels)
}
