//! A control log in memory: what a real one has, the same function judges. The replica itself is in `control`'s tests, and in
//! `replica.rs` here.

use std::sync::Mutex;

use async_trait::async_trait;
use kelly_api::Decisions;
use kelly_control::alert::{DataReason, Severity};
use kelly_control::op::{Document, PutRule, PutSilence, SetLevel, Transition, TransitionKind};
use kelly_control::{
    Actor, ActorKind, Command, Decision, Matcher, Op, Outcome, Position, Recorded, State, SubmitError,
};
use uuid::Uuid;

use crate::support::now;

/// The id in the document's examples.
pub(crate) const EXAMPLE_ID: Uuid = Uuid::from_u128(0x0198_f3c2_a4b7_7e21_b0c3_d9a1_f2e4_c6d8);

/// What becomes of the next commands.
pub(crate) type Fate = fn(&Command) -> Result<Outcome, SubmitError>;

/// The log, and what it says by now.
pub(crate) struct FakeDecisions {
    log: Mutex<(State, u64)>,
    fate: Mutex<Option<Fate>>,
}

impl FakeDecisions {
    /// One in which what the document's examples name is there, of the account `own`.
    pub(crate) fn with_examples() -> Self {
        let log = Self { log: Mutex::default(), fate: Mutex::default() };
        log.put(&Command::new(Actor::system(), Op::Noop));
        let raised = Command { id: EXAMPLE_ID, ..raise(EXAMPLE_ID, "own") };
        log.put(&raised);
        let person = |op| Command::new(Actor::person("eve"), op);
        let up = SetLevel { alert: EXAMPLE_ID, expected: None, level: Some(8), note: None };
        log.put(&person(Op::Escalate(up)));
        let matcher =
            Matcher { account_id: Some("own".into()), rule: Some("r".into()), ..Matcher::default() };
        let ends_ms = now().timestamp_millis() + 3_600_000;
        let silence = PutSilence { silence: EXAMPLE_ID, matcher, ends_ms, reason: "a test".into() };
        log.put(&person(Op::PutSilence(silence)));
        let document =
            Document("{\"id\":\"slow_answers\",\"metric\":\"response_time\",\"warning\":2000.0}".into());
        log.put(&person(Op::PutRule(PutRule { rule: "slow_answers".into(), expected: None, document })));
        log
    }

    /// What becomes of the commands that come, instead of what the log says.
    pub(crate) fn set_fate(&self, fate: Option<Fate>) {
        *self.fate.lock().unwrap() = fate;
    }

    /// Puts a command on the log.
    pub(crate) fn put(&self, command: &Command) -> Recorded {
        let bytes = command.encode().unwrap();
        let mut log = self.log.lock().unwrap();
        let (state, next) = &mut *log;
        let at = Position { offset: *next, log_time_ms: now().timestamp_millis() + *next as i64 };
        *next += 1;
        let decision = Decision::make(state, at, &bytes);
        match decision.verdict {
            kelly_control::Verdict::Duplicate { .. } => state.outcome(&command.id).unwrap().clone(),
            verdict => Recorded { at, verdict },
        }
    }

    pub(crate) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.log.lock().unwrap().0)
    }
}

#[async_trait]
impl Decisions for FakeDecisions {
    fn look(&self, look: &mut dyn FnMut(&State)) {
        look(&self.log.lock().unwrap().0);
    }

    async fn submit(&self, command: &Command) -> Result<Outcome, SubmitError> {
        command.encode()?;
        let fate = *self.fate.lock().unwrap();
        match fate {
            Some(fate) => fate(command),
            None => Ok(Outcome::Decided(self.put(command))),
        }
    }
}

/// A raise, as the evaluator writes it.
pub(crate) fn raise(alert: Uuid, account: &str) -> Command {
    Command::new(evaluator(), Op::Transition(Box::new(transition(alert, account, TransitionKind::Raised))))
}

/// The end of what it raised.
pub(crate) fn recover(alert: Uuid, account: &str) -> Command {
    let resolved = Transition {
        reason: Some(DataReason::Recovered),
        at_ms: now().timestamp_millis() + 60_000,
        value: Some(900.0),
        ..transition(alert, account, TransitionKind::Resolved)
    };
    Command::new(evaluator(), Op::Transition(Box::new(resolved)))
}

fn evaluator() -> Actor {
    Actor { kind: ActorKind::Evaluator, id: "evaluator".into(), role: None }
}

fn transition(alert: Uuid, account: &str, kind: TransitionKind) -> Transition {
    Transition {
        alert,
        kind,
        reason: None,
        rule: "high_response_time".into(),
        rule_version: 1,
        account_id: (!account.is_empty()).then(|| account.to_owned()),
        conversation_id: Some(format!("{account}-c")),
        metric: Some("response_time".into()),
        severity: Severity::Critical,
        at_ms: now().timestamp_millis(),
        since_ms: now().timestamp_millis() - 60_000,
        value: Some(5_200.0),
        threshold: Some(5_000.0),
        explanation: format!("{account}-e: response_time is 5200, above 5000"),
        labels: [("team".to_owned(), format!("{account}-t"))].into(),
        runbook: Some("https://wiki.example/slow".into()),
        quiet: false,
        cause: None,
    }
}
