//! Writes every record of the control log with its verdict into the store, for audits and for questions about the past.
//!
//! It follows the log by itself, with a state of its own, so that a store that is away holds nobody up, and from where the
//! store ends, so that nothing is missing: from a snapshot of before, or from the beginning. Every instance may do it, without a
//! leader: a row follows from the log alone, so what two wrote is equal, and the tables keep one of equal rows. Each looks
//! again how far the store is before it writes, so that mostly one of them does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kelly_schemas::error_chain;
use kelly_sql::evidence::week_of;
use kelly_sql::queries::{AlertRow, DecisionRow};
use kelly_sql::{Store, StoreError};
use kelly_stream::Log;
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::actor::{Actor, ActorKind, By};
use crate::alert::{Alert, DataReason};
use crate::change::Change;
use crate::decision::Decision;
use crate::replica::{ReplicaError, Source};
use crate::snapshots::{self, Snapshots};
use crate::state::State;
use crate::verdict::{Conflict, Verdict};

/// Rows that wait to be written: at it they are, and reading waits.
const MAX_ROWS: usize = 5_000;

/// Bytes of records in them: as above.
const MAX_BYTES: usize = 8 << 20;

/// How long the first row waits for more, and up to as much again, by chance: mostly another instance has written it then.
const WAIT_FOR_MORE: Duration = Duration::from_millis(500);

/// Pause after log or store have failed.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// The life of a log that gives its topics no ids.
const NO_ID: u64 = 0;

/// What is written, and where to.
pub struct ProjectorConfig {
    /// The log.
    pub log: Arc<dyn Log>,
    /// The topic.
    pub topic: Arc<str>,
    /// Where snapshots are, to begin from.
    pub snapshots: Arc<dyn Snapshots>,
    /// The store.
    pub store: Store,
}

/// The thread that writes.
#[derive(Debug)]
pub struct Projector {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Projector {
    /// Begins to write.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(config: ProjectorConfig) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let source = Source { log: config.log, topic: config.topic, snapshots: config.snapshots };
        let chance = Uuid::new_v4().as_u128() % WAIT_FOR_MORE.as_millis();
        let writing = Writing {
            source,
            store: config.store,
            runtime: Handle::current(),
            stop: stop.clone(),
            wait: WAIT_FOR_MORE + Duration::from_millis(u64::try_from(chance).unwrap_or_default()),
        };
        let thread =
            std::thread::Builder::new().name("kelly-control-store".into()).spawn(move || writing.run())?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Writes what has been read, and ends. Blocks until the thread has ended.
    pub fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("writing down the control log ended with a defect");
        }
    }
}

impl Drop for Projector {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[derive(Debug, thiserror::Error)]
enum ProjectorError {
    #[error("could not read the control log to write it down")]
    Log(#[from] ReplicaError),
    #[error("could not write down the control log")]
    Store(#[from] StoreError),
}

struct Writing {
    source: Source,
    store: Store,
    runtime: Handle,
    stop: Arc<AtomicBool>,
    wait: Duration,
}

/// Rows that wait to be written.
#[derive(Default)]
struct Waiting {
    rows: Vec<(DecisionRow, Vec<AlertRow>)>,
    bytes: usize,
    since: Option<Instant>,
}

impl Writing {
    fn run(&self) {
        let mut told = None;
        while !self.is_stopped() {
            let Err(error) = self.follow() else { continue };
            let words = error_chain(&error);
            // Each reason once, however often it comes again.
            if told.as_ref() != Some(&words) {
                tracing::warn!(error = words, "decisions are written down later; nothing is lost");
                told = Some(words);
            }
            self.pause();
        }
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a store that is away announces nothing that could be awaited"
    )]
    fn pause(&self) {
        std::thread::sleep(TRY_AGAIN);
    }

    fn follow(&self) -> Result<(), ProjectorError> {
        let topic_id = self.runtime.block_on(self.source.log.topic_id(&self.source.topic));
        let topic_id = topic_id.map_err(ReplicaError::from)?.map(|id| id.0);
        let life = format!("{:016x}", topic_id.unwrap_or(NO_ID));
        let end = self.runtime.block_on(self.store.decisions_end(&life))?.unwrap_or(0);
        let newest = snapshots::newest(&*self.source.snapshots, end)
            .map_err(|source| ReplicaError::Snapshots { place: self.source.snapshots.describe(), source })?;
        let mut state = match newest {
            Some(snapshot) if snapshot.topic_id == topic_id => snapshot.state,
            _ => State::default(),
        };
        self.runtime.block_on(self.source.verify(state.next_offset(), topic_id))?;
        let mut reader = self.source.reader(state.next_offset())?;
        let mut waiting = Waiting::default();
        while !self.is_stopped() {
            for (at, payload) in self.source.poll(&mut *reader, state.next_offset())? {
                let decision = Decision::make(&mut state, at, &payload);
                if at.offset >= end {
                    waiting.add(&decision, &payload);
                }
            }
            if waiting.is_due(self.wait) {
                self.write(&life, &mut waiting)?;
            }
        }
        self.write(&life, &mut waiting)
    }

    fn write(&self, life: &str, waiting: &mut Waiting) -> Result<(), ProjectorError> {
        let rows = std::mem::take(waiting).rows;
        let Some(last) = rows.last().map(|(row, _)| row.offset) else { return Ok(()) };
        let end = self.runtime.block_on(self.store.decisions_end(life))?.unwrap_or(0);
        if end > last {
            return Ok(());
        }
        let left: Vec<_> = rows.into_iter().skip_while(|(row, _)| row.offset < end).collect();
        for week in left.chunk_by(|(one, _), (other, _)| week(one) == week(other)) {
            let decisions: Vec<DecisionRow> = week.iter().map(|(row, _)| row.clone()).collect();
            let alerts: Vec<AlertRow> = week.iter().flat_map(|(_, alerts)| alerts.clone()).collect();
            self.runtime.block_on(self.store.write_decisions(life, &decisions, &alerts))?;
        }
        Ok(())
    }
}

fn week(row: &DecisionRow) -> i64 {
    week_of(row.log_time_ms.div_euclid(1_000))
}

impl Waiting {
    fn add(&mut self, decision: &Decision, payload: &[u8]) {
        let alerts = decision.alerts.iter().map(|alert| alert_row(decision, alert)).collect();
        self.rows.push((decision_row(decision, payload), alerts));
        self.bytes += payload.len();
        self.since.get_or_insert_with(Instant::now);
    }

    fn is_due(&self, wait: Duration) -> bool {
        self.rows.len() >= MAX_ROWS
            || self.bytes >= MAX_BYTES
            || self.since.is_some_and(|since| since.elapsed() >= wait)
    }
}

fn decision_row(decision: &Decision, payload: &[u8]) -> DecisionRow {
    let command = decision.command();
    let actor = command.map(|command| &command.actor);
    DecisionRow {
        offset: decision.at.offset,
        log_time_ms: decision.at.log_time_ms,
        command_id: decision.entry.id().unwrap_or_default().into_bytes(),
        actor_kind: actor.map_or("", |actor| actor.kind.code()).to_owned(),
        actor_id: actor.map(|actor| actor.id.clone()).unwrap_or_default(),
        actor_role: actor.and_then(|actor| actor.role.clone()).unwrap_or_default(),
        op: command.map_or("", |command| command.op.name()).to_owned(),
        alert_id: command.and_then(|command| command.op.alert()).unwrap_or_default().into_bytes(),
        verdict: decision.verdict.code().to_owned(),
        reason: decision.verdict.reason().to_owned(),
        detail: detail(&decision.verdict),
        changes: json(&decision.changes),
        payload: command.map(|_| String::from_utf8_lossy(payload).into_owned()).unwrap_or_default(),
        payload_hash: decision.entry.digest,
        chain: decision.chain,
    }
}

fn alert_row(decision: &Decision, alert: &Alert) -> AlertRow {
    let steps = decision.changes.iter().filter_map(|change| match change {
        Change::Alert { alert: id, step } if *id == alert.id => Some(step.code()),
        _ => None,
    });
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let who = |by: Option<&By>| by.map(|by| name(&by.actor)).unwrap_or_default();
    let resolution = alert.resolution.as_ref();
    AlertRow {
        offset: decision.at.offset,
        log_time_ms: decision.at.log_time_ms,
        alert_id: alert.id.into_bytes(),
        steps: steps.collect::<Vec<_>>().join(","),
        status: alert.status.code().to_owned(),
        severity: alert.severity.code().to_owned(),
        worst_severity: alert.worst.code().to_owned(),
        rule: alert.rule.clone(),
        rule_version: alert.rule_version,
        account_id: text(&alert.account_id),
        conversation_id: text(&alert.conversation_id),
        metric_name: text(&alert.metric),
        raised_ms: alert.raised_ms,
        value: alert.value,
        threshold: alert.threshold,
        explanation: alert.explanation.clone(),
        labels: json(&alert.labels),
        acknowledged_by: who(alert.acknowledged.as_ref()),
        acknowledged_ms: alert.acknowledged.as_ref().map(|by| by.at_ms),
        owner: alert.owner.as_ref().map(|owner| owner.to.clone()).unwrap_or_default(),
        level: alert.climb.level,
        resolved_by: who(resolution.map(|resolution| &resolution.by)),
        resolved_ms: resolution.map(|resolution| resolution.by.at_ms),
        resolved_reason: resolution
            .and_then(|resolution| resolution.reason)
            .map_or("", DataReason::code)
            .to_owned(),
        resolved_value: resolution.and_then(|resolution| resolution.value),
        resolved_note: resolution.and_then(|resolution| resolution.note.clone()).unwrap_or_default(),
        incident: alert.incident,
        version: alert.version(),
    }
}

/// A person by his id alone, everybody else with what he is.
fn name(actor: &Actor) -> String {
    match actor.kind {
        ActorKind::Person => actor.id.clone(),
        other => format!("{}:{}", other.code(), actor.id),
    }
}

fn detail(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Applied { version } => serde_json::json!({ "version": version }),
        Verdict::Conflict(Conflict { by, since_ms, version, .. }) => {
            serde_json::json!({ "by": name(by), "since_ms": since_ms, "version": version })
        }
        Verdict::Cancelled { at } => serde_json::json!({ "at": at }),
        Verdict::Duplicate { first } => serde_json::json!({ "first": first }),
        Verdict::Unchanged(_) | Verdict::Refused(_) => serde_json::json!({}),
    }
    .to_string()
}

fn json(value: &impl serde::Serialize) -> String {
    // Of these types writing to memory does not fail.
    serde_json::to_string(value).unwrap_or_default()
}
