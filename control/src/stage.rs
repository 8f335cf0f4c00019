//! A state to try commands on, in tests.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::actor::{Actor, ActorKind};
use crate::alert::{Alert, DataReason, Severity};
use crate::command::{Command, Entry};
use crate::op::{Handle, Op, Transition, TransitionKind};
use crate::position::Position;
use crate::state::{Applied, State};
use crate::verdict::Verdict;

pub(crate) const START_MS: i64 = 1_700_000_000_000;
pub(crate) const MINUTE_MS: i64 = 60_000;

pub(crate) struct Stage {
    pub(crate) state: State,
    pub(crate) now_ms: i64,
    pub(crate) offset: u64,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self { state: State::default(), now_ms: START_MS, offset: 0 }
    }

    pub(crate) fn wait(&mut self, minutes: i64) {
        self.now_ms += minutes * MINUTE_MS;
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Applied {
        let at = Position { offset: self.offset, log_time_ms: self.now_ms };
        self.offset += 1;
        self.state.apply(&Entry::decode(bytes), at)
    }

    pub(crate) fn put(&mut self, command: &Command) -> Applied {
        self.write(&command.encode().unwrap())
    }

    pub(crate) fn act(&mut self, actor: &Actor, op: Op) -> Applied {
        self.put(&Command::new(actor.clone(), op))
    }

    pub(crate) fn verdict(&mut self, actor: &Actor, op: Op) -> Verdict {
        self.act(actor, op).verdict
    }

    pub(crate) fn report(&mut self, alert: u128, kind: TransitionKind, severity: Severity) -> Applied {
        let at_ms = self.now_ms;
        self.act(&evaluator(), Op::Transition(Box::new(transition(alert, kind, severity, at_ms))))
    }

    pub(crate) fn alert(&self, alert: u128) -> &Alert {
        self.state.alerts().book().get(&Uuid::from_u128(alert)).unwrap()
    }
}

pub(crate) fn evaluator() -> Actor {
    Actor { kind: ActorKind::Evaluator, id: "evaluator".into(), role: None }
}

pub(crate) fn transition(alert: u128, kind: TransitionKind, severity: Severity, at_ms: i64) -> Transition {
    Transition {
        alert: Uuid::from_u128(alert),
        kind,
        reason: (kind == TransitionKind::Resolved).then_some(DataReason::Recovered),
        rule: format!("rule-{}", alert % 3),
        rule_version: 1,
        account_id: Some(format!("account-{}", alert % 2)),
        conversation_id: None,
        metric: Some("response_time".into()),
        severity,
        at_ms,
        since_ms: at_ms,
        value: Some(0.1 + at_ms as f64 / 3.0),
        threshold: Some(2_000.0),
        explanation: "slow".into(),
        labels: BTreeMap::new(),
        runbook: None,
        quiet: false,
        cause: None,
    }
}

pub(crate) fn handle(alert: u128, expected: Option<u64>) -> Handle {
    Handle { alert: Uuid::from_u128(alert), expected, note: None }
}
