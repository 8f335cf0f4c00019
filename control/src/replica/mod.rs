//! This instance's copy of what the control log decided: it applies every record, and puts commands on the log.

mod error;
mod follow;
mod ring;
mod watcher;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use kelly_stream::{Log, LogError, NewRecord, TopicPartition};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use uuid::Uuid;

use crate::actor::Actor;
use crate::command::Command;
use crate::memory::Recorded;
use crate::op::{Cancel, Op};
use crate::snapshots::{self, Snapshots};
use crate::state::State;
use crate::verdict::{Refusal, Verdict};

pub use error::{ReplicaError, SubmitError};
use follow::Following;
pub(crate) use follow::Source;
use ring::{Found, Ring};
pub use ring::{RING_ALERTS, RING_DECISIONS};
pub use watcher::{Missed, WatchEnd, Watcher};

/// The topic of decisions.
pub const TOPIC: &str = "kelly.control";

/// Most commands of one instance that wait for the log: at it a further one is refused at once.
pub const MAX_IN_FLIGHT: usize = 1_000;

/// How often it is looked whether something is due.
const LOOK_FOR_DUE: Duration = Duration::from_secs(1);

/// Pause before the barrier of the start is put again.
const BARRIER_AGAIN: Duration = Duration::from_millis(200);

/// How a replica is run.
#[derive(Clone)]
pub struct ReplicaConfig {
    /// The topic.
    pub topic: Arc<str>,
    /// Where snapshots are kept.
    pub snapshots: Arc<dyn Snapshots>,
    /// How long a start may go without progress.
    pub start_within: Duration,
    /// How long a command may take until it is taken back, and how long the taking back may take.
    pub decide_within: Duration,
    /// This instance's clock, ms since the epoch. It decides nothing: it says when to ask the log for its time.
    pub clock: fn() -> i64,
}

impl ReplicaConfig {
    /// With the usual topic and times.
    #[must_use]
    pub fn new(snapshots: Arc<dyn Snapshots>) -> Self {
        Self {
            topic: TOPIC.into(),
            snapshots,
            start_within: Duration::from_secs(30),
            decide_within: Duration::from_secs(5),
            clock: system_clock,
        }
    }
}

fn system_clock() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// How following the log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It has not begun.
    Starting,
    /// It follows the log.
    Following,
    /// It does not, and tries again; why not.
    Trouble(String),
    /// It has ended: nothing is decided here until somebody does something; why.
    Stopped(String),
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The log decided.
    Decided(Recorded),
    /// Nobody knows yet: it may be on the log or come on it. Ask for it by its id later.
    Unknown {
        /// The command.
        id: Uuid,
    },
}

pub(crate) struct Shared {
    state: RwLock<State>,
    ring: Mutex<Ring>,
    /// Records that were applied, by the place of their verdict.
    verdicts: [AtomicU64; Verdict::CODES.len()],
    progress: watch::Sender<Progress>,
    stop: AtomicBool,
    /// Whether a snapshot is taken at the end.
    keep_at_end: AtomicBool,
}

#[derive(Debug, Clone)]
struct Progress {
    /// Every record before it is applied.
    next: u64,
    health: Health,
}

impl Shared {
    fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn progress(&self, next: u64) {
        self.progress.send_modify(|progress| progress.next = next);
    }

    fn set_health(&self, health: Health) {
        self.progress.send_if_modified(|progress| {
            let is_new = progress.health != health;
            progress.health = health;
            is_new
        });
    }
}

/// How writing a record ended, where not well.
enum Written {
    /// It is not on the log and will not be.
    Not(LogError),
    /// It may be.
    Perhaps,
}

/// The replica of this instance.
pub struct Replica {
    config: ReplicaConfig,
    log: Arc<dyn Log>,
    topic_id: Option<u64>,
    shared: Arc<Shared>,
    in_flight: Semaphore,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Replica {
    /// Makes sure of the topic, takes the newest snapshot, applies what came since, and returns once a record of this instance
    /// has come back: everything that was decided before the start is known then.
    ///
    /// # Errors
    /// When the topic is not as it must be, when the log has less than was applied, or when there is no progress.
    pub async fn start(log: Arc<dyn Log>, config: ReplicaConfig) -> Result<Arc<Self>, ReplicaError> {
        log.ensure_kept_topic(&config.topic).await?;
        let source =
            Source { log: log.clone(), topic: config.topic.clone(), snapshots: config.snapshots.clone() };
        let snapshots = config.snapshots.clone();
        let newest = tokio::task::spawn_blocking(move || snapshots::newest(&*snapshots, u64::MAX))
            .await
            .unwrap_or_else(|error| Err(std::io::Error::other(error)))
            .map_err(|source| ReplicaError::Snapshots { place: config.snapshots.describe(), source })?;
        let (state, known) = match newest {
            Some(snapshot) => (snapshot.state, snapshot.topic_id),
            None => (State::default(), None),
        };
        let next = state.next_offset();
        let topic_id = source.verify(next, known).await?;
        let shared = Arc::new(Shared {
            state: RwLock::new(state),
            ring: Mutex::new(Ring::new(next)),
            verdicts: Default::default(),
            progress: watch::channel(Progress { next, health: Health::Starting }).0,
            stop: AtomicBool::new(false),
            keep_at_end: AtomicBool::new(false),
        });
        let following = Following {
            source,
            shared: shared.clone(),
            runtime: Handle::current(),
            topic_id,
            snapshot_at: next,
        };
        let thread = std::thread::Builder::new()
            .name("kelly-control".into())
            .spawn(move || following.run())
            .map_err(ReplicaError::Thread)?;
        let replica = Arc::new(Self {
            config,
            log,
            topic_id,
            shared,
            in_flight: Semaphore::new(MAX_IN_FLIGHT),
            thread: Mutex::new(Some(thread)),
        });
        replica.first_barrier().await?;
        tokio::spawn(tick(Arc::downgrade(&replica)));
        Ok(replica)
    }

    /// The id of the topic, where the log gives topics ids: another one is another log.
    #[must_use]
    pub fn topic_id(&self) -> Option<u64> {
        self.topic_id
    }

    /// Looks at the state.
    pub fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        self.shared.read(read)
    }

    /// How many records came to which verdict here, since this process started.
    pub fn verdicts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let count = |place: usize| self.shared.verdicts[place].load(Ordering::Relaxed);
        Verdict::CODES.into_iter().enumerate().map(move |(place, code)| (code, count(place)))
    }

    /// How following the log goes.
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared.progress.borrow().health.clone()
    }

    /// Puts a command on the log and answers what the log decided. Never answered from what is known here before.
    ///
    /// When its fate is not known in time, it is taken back by a record behind it, and the log decides which of the two
    /// counts. When that is not known either, the outcome is unknown, and [`Replica::status`] tells it later.
    ///
    /// # Errors
    /// When nothing was sent.
    pub async fn submit(&self, command: &Command) -> Result<Outcome, SubmitError> {
        let bytes = command.encode()?;
        let _permit = self.in_flight.try_acquire().map_err(|_| SubmitError::Busy)?;
        if let Health::Stopped(why) = self.health() {
            return Err(SubmitError::Stopped(why));
        }
        let deadline = Instant::now() + self.config.decide_within;
        match self.write(bytes, deadline).await {
            Ok(offset) if self.applied(offset, deadline).await => Ok(self.outcome_at(command.id, offset)),
            Ok(_) | Err(Written::Perhaps) => Ok(self.settle(command.id).await),
            Err(Written::Not(error)) => Err(SubmitError::NotSent(error)),
        }
    }

    /// What the log has decided about a command, as far as this instance has read and the id is remembered.
    #[must_use]
    pub fn status(&self, id: &Uuid) -> Option<Recorded> {
        self.read(|state| state.outcome(id).cloned())
    }

    /// Returns once everything that was decided before the call is known here, with the offset up to which it is.
    ///
    /// # Errors
    /// When the log does not take the record or does not give it back in time.
    pub async fn barrier(&self) -> Result<u64, SubmitError> {
        let command = Command::new(Actor::system(), Op::Noop);
        match self.submit(&command).await? {
            Outcome::Decided(recorded) => Ok(recorded.at.offset),
            Outcome::Unknown { .. } => Err(SubmitError::NotSent(LogError::Unknown {
                doing: "put a barrier on the control log".into(),
                source: None,
            })),
        }
    }

    /// Follows the decisions from this offset on, or from now on.
    #[must_use]
    pub fn watch(&self, from: Option<u64>) -> Watcher {
        let progress = self.shared.progress.subscribe();
        let next = from.unwrap_or_else(|| progress.borrow().next);
        Watcher::new(self.shared.clone(), progress, next)
    }

    /// Ends following, with a snapshot. Returns when the thread has ended.
    pub async fn stop(&self) {
        self.shared.keep_at_end.store(true, Ordering::Relaxed);
        self.shared.stop.store(true, Ordering::Release);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return };
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!("following the control log ended with a defect");
        }
    }

    async fn write(&self, bytes: Vec<u8>, deadline: Instant) -> Result<u64, Written> {
        let record = NewRecord {
            topic: self.config.topic.clone(),
            partition: Some(0),
            key: None,
            payload: Bytes::from(bytes),
            content_type: None,
        };
        match tokio::time::timeout_at(deadline, self.log.append(vec![record])).await {
            Ok(Ok(positions)) => positions.first().map(|position| position.offset).ok_or(Written::Perhaps),
            Ok(Err(LogError::Unknown { .. })) | Err(_) => Err(Written::Perhaps),
            Ok(Err(error)) => Err(Written::Not(error)),
        }
    }

    /// Waits until the record there is applied here; whether it was in time.
    async fn applied(&self, offset: u64, deadline: Instant) -> bool {
        let mut progress = self.shared.progress.subscribe();
        let is_over =
            |progress: &Progress| progress.next > offset || matches!(progress.health, Health::Stopped(_));
        match tokio::time::timeout_at(deadline, progress.wait_for(is_over)).await {
            Ok(Ok(progress)) => progress.next > offset,
            _ => false,
        }
    }

    /// What was decided about the command whose record there is applied.
    fn outcome_at(&self, id: Uuid, offset: u64) -> Outcome {
        // Another command may have the id: then the record's own verdict counts, not what is remembered of the id.
        let found = self.shared.ring.lock().unwrap_or_else(PoisonError::into_inner).from(offset);
        if let Found::Decision(decision) = found
            && decision.at.offset == offset
            && decision.verdict == Verdict::Refused(Refusal::IdReused)
        {
            return Outcome::Decided(Recorded { at: decision.at, verdict: decision.verdict.clone() });
        }
        self.status(&id).map_or(Outcome::Unknown { id }, Outcome::Decided)
    }

    /// Takes a command back whose fate is not known, and answers what the log decided about it.
    async fn settle(&self, id: Uuid) -> Outcome {
        let cancel = Command::new(Actor::system(), Op::Cancel(Cancel { command: id }));
        let deadline = Instant::now() + self.config.decide_within;
        let Ok(bytes) = cancel.encode() else { return Outcome::Unknown { id } };
        match self.write(bytes, deadline).await {
            Ok(offset) if self.applied(offset, deadline).await => {
                self.status(&id).map_or(Outcome::Unknown { id }, Outcome::Decided)
            }
            _ => Outcome::Unknown { id },
        }
    }

    async fn first_barrier(&self) -> Result<(), ReplicaError> {
        let within = self.config.start_within;
        let no_barrier = |fix: String| ReplicaError::NoBarrier { seconds: within.as_secs(), fix };
        let start = Instant::now();
        let offset = loop {
            let bytes = Command::new(Actor::system(), Op::Noop).encode().unwrap_or_default();
            match self.write(bytes, start + within).await {
                Ok(offset) => break offset,
                // It can be read all the same: what is on it by now is everything, as nothing more comes.
                Err(Written::Not(LogError::Full { .. })) => {
                    let partition = TopicPartition { topic: self.config.topic.clone(), partition: 0 };
                    match self.log.watermarks(&partition).await?.high.checked_sub(1) {
                        Some(last) => break last,
                        None => return Ok(()),
                    }
                }
                Err(Written::Not(error)) if !error.is_retryable() => return Err(error.into()),
                Err(Written::Not(error)) if start.elapsed() >= within => {
                    return Err(no_barrier(kelly_schemas::error_chain(&error)));
                }
                Err(Written::Perhaps) if start.elapsed() >= within => {
                    return Err(no_barrier("see whether the log takes records".into()));
                }
                Err(_) => tokio::time::sleep(BARRIER_AGAIN).await,
            }
        };
        // Reading may take long, as long as it goes on.
        let mut seen = self.shared.progress.borrow().next;
        while !self.applied(offset, Instant::now() + within).await {
            if let Health::Stopped(why) = self.health() {
                return Err(no_barrier(why));
            }
            let next = self.shared.progress.borrow().next;
            if next == seen {
                return Err(no_barrier(format!("it was read up to {next}, the record is at {offset}")));
            }
            seen = next;
        }
        Ok(())
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

/// Where no record comes, time does not pass on the log. When this instance's clock says that something is due, it writes a
/// `tick`; what is due then happens at it on every instance. Several instances may write one: a tick too many does nothing.
async fn tick(replica: std::sync::Weak<Replica>) {
    let mut looks = tokio::time::interval(LOOK_FOR_DUE);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let Some(replica) = replica.upgrade() else { return };
        match replica.health() {
            Health::Stopped(_) => return,
            Health::Following => {}
            Health::Starting | Health::Trouble(_) => continue,
        }
        let due_ms = replica.read(State::next_due_ms);
        if due_ms.is_none_or(|due_ms| due_ms > (replica.config.clock)()) {
            continue;
        }
        if let Err(error) = replica.submit(&Command::new(Actor::system(), Op::Tick)).await {
            tracing::debug!(%error, "what is due on the control log waits");
        }
    }
}
