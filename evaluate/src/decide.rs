//! Has the control log decide about one change of an alert, whatever happens on the way.

use async_trait::async_trait;
use kelly_alerts::Transition;
use kelly_control::{Command, Outcome, Recorded, Refusal, Replica, SubmitError, Verdict, written};
use kelly_schemas::error_chain;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::stats::{EvaluatorStats, add};

/// What decides. A port of its own, so that a test can make it fail.
#[async_trait]
pub trait ControlLog: Send + Sync {
    /// As [`Replica::submit`].
    async fn submit(&self, command: &Command) -> Result<Outcome, SubmitError>;
}

#[async_trait]
impl ControlLog for Replica {
    async fn submit(&self, command: &Command) -> Result<Outcome, SubmitError> {
        Replica::submit(self, command).await
    }
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decided {
    /// The log decided, now or before.
    Done(Recorded),
    /// As many alerts are open as can be: it has to be put again later.
    PutOff,
    /// It is refused for good.
    Dropped,
    /// The lane was given up meanwhile.
    GivenUp,
}

/// A change that is to be decided, and how often its id was taken back.
#[derive(Debug, Clone)]
pub(crate) struct Undecided {
    pub(crate) transition: Transition,
    pub(crate) attempt: u32,
}

/// Has it decided. Ends only with a decision, or when the lane is given up: what is behind it must not become durable before.
pub(crate) async fn decide(
    control: &dyn ControlLog,
    undecided: &mut Undecided,
    stats: &EvaluatorStats,
    given_up: &CancellationToken,
) -> Decided {
    let mut backoff = Backoff::default();
    loop {
        let command = written(&undecided.transition, undecided.attempt);
        let answer = tokio::select! {
            answer = control.submit(&command) => answer,
            () = given_up.cancelled() => return Decided::GivenUp,
        };
        let reason = match answer {
            Ok(Outcome::Decided(recorded)) => match &recorded.verdict {
                // Its id is used up.
                Verdict::Cancelled { .. } => {
                    undecided.attempt += 1;
                    continue;
                }
                Verdict::Refused(Refusal::TooManyAlerts) => {
                    undecided.attempt += 1;
                    return Decided::PutOff;
                }
                // Somebody wrote other words under its id: what was decided about those holds.
                Verdict::Applied { .. }
                | Verdict::Unchanged(_)
                | Verdict::Duplicate { .. }
                | Verdict::Conflict(_)
                | Verdict::Refused(Refusal::IdReused) => {
                    stats.recovered();
                    add(&stats.transitions, 1);
                    return Decided::Done(recorded);
                }
                Verdict::Refused(refusal) => {
                    tracing::warn!(
                        alert = %undecided.transition.alert,
                        rule = undecided.transition.rule,
                        refusal = refusal.code(),
                        "the control log refused a change of an alert"
                    );
                    add(&stats.dropped, 1);
                    return Decided::Dropped;
                }
            },
            // It may be on the log. Under the same id it counts once, so it is put again.
            Ok(Outcome::Unknown { .. }) => {
                add(&stats.unknown, 1);
                "the control log did not say in time what it decided".to_owned()
            }
            Err(SubmitError::Invalid(error)) => {
                tracing::error!(
                    alert = %undecided.transition.alert,
                    rule = undecided.transition.rule,
                    error = error_chain(&error),
                    "a change of an alert cannot be written"
                );
                add(&stats.dropped, 1);
                return Decided::Dropped;
            }
            Err(error) => error_chain(&error),
        };
        stats.failed(&reason);
        if !backoff.wait(given_up).await {
            return Decided::GivenUp;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, VecDeque};
    use std::sync::Mutex;

    use kelly_alerts::{Cause, Change, Entity, Level};
    use kelly_control::{Position, Unchanged};
    use kelly_stream::LogError;
    use uuid::Uuid;

    use super::*;

    /// Answers one after the other, and the ids that it was asked about.
    struct Script {
        answers: Mutex<VecDeque<Result<Outcome, SubmitError>>>,
        asked: Mutex<Vec<Uuid>>,
    }

    #[async_trait]
    impl ControlLog for Script {
        async fn submit(&self, command: &Command) -> Result<Outcome, SubmitError> {
            command.encode().unwrap();
            self.asked.lock().unwrap().push(command.id);
            let answer = self.answers.lock().unwrap().pop_front();
            match answer {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        }
    }

    fn raised() -> Transition {
        Transition {
            alert: Uuid::from_u128(7),
            change: Change::Raised,
            level: Level::Warning,
            cause: Cause::Condition,
            rule: "r".to_owned(),
            rule_version: 1,
            entity: Entity::global(),
            account_id: String::new(),
            metric: "m".to_owned(),
            at_ms: 5,
            since_ms: 5,
            value: Some(1.0),
            threshold: Some(0.5),
            score: None,
            explanation: "m is 1".to_owned(),
            labels: BTreeMap::new(),
            runbook: None,
            quiet: false,
            place: None,
        }
    }

    fn recorded(verdict: Verdict) -> Recorded {
        Recorded { at: Position { offset: 9, log_time_ms: 6 }, verdict }
    }

    fn decided(verdict: Verdict) -> Result<Outcome, SubmitError> {
        Ok(Outcome::Decided(recorded(verdict)))
    }

    async fn after(answers: Vec<Result<Outcome, SubmitError>>) -> (Decided, Vec<Uuid>, EvaluatorStats) {
        let control = Script { answers: Mutex::new(answers.into()), asked: Mutex::default() };
        let (stats, given_up) = (EvaluatorStats::default(), CancellationToken::new());
        let mut undecided = Undecided { transition: raised(), attempt: 0 };
        let decided = decide(&control, &mut undecided, &stats, &given_up).await;
        (decided, control.asked.into_inner().unwrap(), stats)
    }

    /// Nobody knows, too many wait, the log is full: the same command again, until it is decided.
    #[tokio::test]
    async fn what_is_not_decided_is_put_again_under_its_id() {
        let applied = Verdict::Applied { version: 9 };
        let (decided, asked, stats) = after(vec![
            Ok(Outcome::Unknown { id: Uuid::nil() }),
            Err(SubmitError::Busy),
            Err(SubmitError::NotSent(LogError::Full { what: "a disk".into() })),
            Err(SubmitError::Stopped("a test".into())),
            decided(applied.clone()),
        ])
        .await;
        assert_eq!(decided, Decided::Done(recorded(applied)));
        assert_eq!(asked, [written(&raised(), 0).id; 5]);
        let counts = stats.counts();
        assert_eq!((counts.unknown, counts.retries, counts.transitions), (1, 4, 1));
        assert_eq!(counts.last_error, None, "it went right since");
    }

    /// An id that the log took back is used up: the change gets another one, and counts once by its alert.
    #[tokio::test]
    async fn what_was_taken_back_is_put_under_another_id() {
        let (decided, asked, _) = after(vec![
            decided(Verdict::Cancelled { at: 3 }),
            Ok(Outcome::Unknown { id: Uuid::nil() }),
            decided(Verdict::Cancelled { at: 4 }),
            decided(Verdict::Unchanged(Unchanged::AlreadyRaised)),
        ])
        .await;
        assert!(matches!(decided, Decided::Done(_)));
        let id = |attempt| written(&raised(), attempt).id;
        assert_eq!(asked, [id(0), id(1), id(1), id(2)]);
    }

    #[tokio::test]
    async fn what_is_refused_is_put_off_or_dropped() {
        let refused = |refusal| vec![decided(Verdict::Refused(refusal))];
        assert_eq!(after(refused(Refusal::TooManyAlerts)).await.0, Decided::PutOff);
        let (decided, _, stats) = after(refused(Refusal::TooOld)).await;
        assert_eq!((decided, stats.counts().dropped), (Decided::Dropped, 1));
        let (decided, ..) = after(refused(Refusal::IdReused)).await;
        assert!(matches!(decided, Decided::Done(_)), "somebody had it decided in other words");
    }

    #[tokio::test]
    async fn a_lane_that_is_given_up_waits_for_nothing() {
        let control = Script { answers: Mutex::default(), asked: Mutex::default() };
        let (stats, given_up) = (EvaluatorStats::default(), CancellationToken::new());
        let mut undecided = Undecided { transition: raised(), attempt: 0 };
        let deciding = decide(&control, &mut undecided, &stats, &given_up);
        let (decided, ()) = tokio::join!(deciding, async { given_up.cancel() });
        assert_eq!(decided, Decided::GivenUp);
    }
}
