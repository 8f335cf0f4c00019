//! What the alert engine says, as commands; and alerts as the engine hears of them.

use std::collections::BTreeMap;

use kelly_alerts::rule::OWN_THRESHOLDS;
use kelly_alerts::{Cause, Change, End, Entity, Level, Subject, Transition as Found};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::actor::{Actor, ActorKind};
use crate::alert::{Alert, DataReason, Severity};
use crate::command::Command;
use crate::op::{MAX_LABELS, MAX_NAME_CHARS, MAX_TEXT_BYTES, Op, Transition, TransitionKind};

/// The evaluator as an author: the same on every instance, so that two of them write the same bytes for the same transition.
const EVALUATOR: &str = "evaluator";

/// The command for what the engine found. `attempt` is 0; it counts up only when the log took the command of the attempt before
/// back, for an id that was taken back is used up.
#[must_use]
pub fn written(found: &Found, attempt: u32) -> Command {
    let transition = transition(found);
    let id = match attempt {
        0 => Command::id_of_transition(&transition),
        attempt => next_id(Command::id_of_transition(&transition), attempt),
    };
    let actor = Actor { kind: ActorKind::Evaluator, id: EVALUATOR.to_owned(), role: None };
    Command { id, actor, op: Op::Transition(Box::new(transition)) }
}

/// An alert that fires, as an engine hears of it that has not raised it.
#[must_use]
pub fn heard(alert: &Alert) -> Found {
    let subject = match (&alert.conversation_id, &alert.account_id) {
        (Some(conversation), _) => Subject::Conversation(conversation.as_str().into()),
        (None, Some(account)) => Subject::Account(account.as_str().into()),
        (None, None) => Subject::Global,
    };
    let metric = alert.metric.clone().unwrap_or_default();
    let part = if alert.rule == OWN_THRESHOLDS { metric.as_str() } else { "" };
    Found {
        alert: alert.id,
        change: if alert.holds { Change::Raised } else { Change::Resolved(End::Recovered) },
        level: if alert.severity == Severity::Critical { Level::Critical } else { Level::Warning },
        cause: Cause::Condition,
        rule: alert.rule.clone(),
        rule_version: alert.rule_version,
        entity: Entity { subject, part: part.into() },
        account_id: alert.account_id.clone().unwrap_or_default(),
        at_ms: alert.data_ms,
        since_ms: alert.since_ms,
        value: alert.value,
        threshold: alert.threshold,
        score: None,
        explanation: alert.explanation.clone(),
        labels: alert.labels.clone(),
        runbook: alert.runbook.clone(),
        quiet: alert.quiet,
        place: None,
        metric,
    }
}

fn next_id(first: Uuid, attempt: u32) -> Uuid {
    let mut hasher = Sha256::new();
    hasher.update(b"transition again");
    hasher.update(first.as_bytes());
    hasher.update(attempt.to_be_bytes());
    let digest: [u8; 32] = hasher.finalize().into();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

fn transition(found: &Found) -> Transition {
    let (kind, reason) = match found.change {
        Change::Raised => (TransitionKind::Raised, None),
        Change::Worsened => (TransitionKind::Worsened, None),
        Change::Improved => (TransitionKind::Improved, None),
        Change::Resolved(end) => (TransitionKind::Resolved, Some(reason_of(end))),
    };
    let conversation_id = match &found.entity.subject {
        Subject::Conversation(id) => name_of(id),
        Subject::Account(_) | Subject::Global => None,
    };
    let account_id = match &found.entity.subject {
        Subject::Account(id) => name_of(id),
        Subject::Conversation(_) => name_of(&found.account_id),
        Subject::Global => None,
    };
    Transition {
        alert: found.alert,
        kind,
        reason,
        rule: name_of(&found.rule).unwrap_or_default(),
        rule_version: found.rule_version,
        account_id,
        conversation_id,
        metric: name_of(&found.metric),
        severity: match found.level {
            Level::Warning => Severity::Warning,
            Level::Critical => Severity::Critical,
        },
        at_ms: found.at_ms,
        since_ms: found.since_ms,
        value: found.value.filter(|value| value.is_finite()),
        threshold: found.threshold.filter(|threshold| threshold.is_finite()),
        explanation: cut(&found.explanation, MAX_TEXT_BYTES).to_owned(),
        labels: labels_of(&found.labels),
        runbook: found.runbook.clone().filter(|runbook| runbook.len() <= MAX_TEXT_BYTES),
        quiet: found.quiet,
        cause: match found.cause {
            Cause::Condition => None,
            Cause::NoData => Some("no_data".to_owned()),
            Cause::Configuration => Some("configuration".to_owned()),
        },
    }
}

fn reason_of(end: End) -> DataReason {
    match end {
        End::Recovered => DataReason::Recovered,
        End::NoData => DataReason::NoData,
        End::Vanished => DataReason::Vanished,
        End::RuleChanged => DataReason::RuleChanged,
        End::RuleRemoved => DataReason::RuleRemoved,
        End::ScheduleEnded => DataReason::ScheduleEnded,
    }
}

/// A name within the bounds of commands; none of an empty one.
fn name_of(text: &str) -> Option<String> {
    let name: String = text
        .chars()
        .take(MAX_NAME_CHARS)
        .map(|char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char })
        .collect();
    (!name.is_empty()).then_some(name)
}

/// As many labels as a command may have, the first by name.
fn labels_of(labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    labels
        .iter()
        .filter_map(|(name, value)| Some((name_of(name)?, value.chars().take(MAX_NAME_CHARS).collect())))
        .take(MAX_LABELS)
        .collect()
}

/// The beginning of a text, not within a character.
fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(change: Change) -> Found {
        Found {
            alert: Uuid::from_u128(7),
            change,
            level: Level::Critical,
            cause: Cause::NoData,
            rule: "slow".to_owned(),
            rule_version: 3,
            entity: Entity { subject: Subject::Conversation("c-1".into()), part: "".into() },
            account_id: "a-7".to_owned(),
            metric: "response_time".to_owned(),
            at_ms: 50,
            since_ms: 40,
            value: Some(f64::NAN),
            threshold: Some(2_000.0),
            score: Some(3.0),
            explanation: "ü".repeat(MAX_TEXT_BYTES),
            labels: (0..99).map(|number| (format!("l{number:02}"), "v".repeat(999))).collect(),
            runbook: None,
            quiet: true,
            place: None,
        }
    }

    fn args(command: &Command) -> &Transition {
        match &command.op {
            Op::Transition(transition) => transition,
            other => panic!("{other:?}"),
        }
    }

    /// Whatever the engine says can be written: nothing of it is lost for a bound.
    #[test]
    fn every_change_becomes_a_command_within_its_bounds() {
        let ends = [
            End::Recovered,
            End::NoData,
            End::Vanished,
            End::RuleChanged,
            End::RuleRemoved,
            End::ScheduleEnded,
        ];
        let changes = [Change::Raised, Change::Worsened, Change::Improved];
        for change in changes.into_iter().chain(ends.map(Change::Resolved)) {
            let command = written(&found(change), 0);
            command.encode().unwrap();
            let args = args(&command);
            assert_eq!(args.reason.is_some(), matches!(change, Change::Resolved(_)));
            assert_eq!(
                (args.conversation_id.as_deref(), args.account_id.as_deref()),
                (Some("c-1"), Some("a-7"))
            );
            assert_eq!((args.value, args.threshold), (None, Some(2_000.0)));
            assert_eq!((args.cause.as_deref(), args.quiet), (Some("no_data"), true));
        }
    }

    #[test]
    fn the_same_change_has_the_same_id_everywhere_and_another_one_another() {
        let raised = found(Change::Raised);
        let id = |found: &Found, attempt| written(found, attempt).id;
        assert_eq!(written(&raised, 0), written(&raised.clone(), 0));
        let others = [
            id(&found(Change::Worsened), 0),
            id(&Found { at_ms: 51, ..raised.clone() }, 0),
            id(&Found { alert: Uuid::from_u128(8), ..raised.clone() }, 0),
            id(&raised, 1),
            id(&raised, 2),
        ];
        for (index, other) in others.iter().enumerate() {
            assert!(*other != id(&raised, 0) && !others[..index].contains(other), "{index}");
        }
    }

    #[test]
    fn whom_it_is_about_comes_back() {
        for (subject, account) in [
            (Subject::Global, ""),
            (Subject::Account("a-7".into()), "a-7"),
            (Subject::Conversation("c-1".into()), "a-7"),
        ] {
            let entity = Entity { subject, part: "".into() };
            let raised =
                Found { entity: entity.clone(), account_id: account.to_owned(), ..found(Change::Raised) };
            let mut state = crate::State::default();
            let entry = crate::Entry::decode(&written(&raised, 0).encode().unwrap());
            state.apply(&entry, crate::Position { offset: 0, log_time_ms: 60 });
            let alert = state.alerts().book().get(&raised.alert).unwrap();
            let heard = heard(alert);
            assert_eq!((heard.entity, heard.rule, heard.level), (entity, raised.rule, raised.level));
            assert_eq!(heard.change, Change::Raised);
        }
    }
}
