//! What is to be sent, kept on a topic of its own: one partition, read by every instance, written by the one that sends.
//!
//! Which instance that is, is said by a consumer group: its one member with the partition. That it may still think so a moment
//! after it is not so any more, does no harm to the state: see [`record`](self).

mod follow;
mod owner;
mod record;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use kelly_stream::{Log, LogError, NewRecord, Retention, TopicSpec};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::watch;

use crate::notifier::{DeadLetter, DestinationState, Key, Thread};

pub use record::Request;
use record::{Fold, Record, request_name};

/// The topic.
pub const TOPIC: &str = "kelly.notifications";

/// The consumer group whose member with the partition sends.
pub const GROUP: &str = "kelly-notify";

/// How long the topic keeps records. A checkpoint is written much more often.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Bytes the topic keeps at most; the state is a small part of them.
const KEPT_BYTES: u64 = 4 << 30;

/// Bytes of one record, about: less than any broker takes.
const RECORD_BYTES: usize = 600_000;

/// Records after which a checkpoint is written.
const CHECKPOINT_EVERY: u64 = 10_000;

/// Time after which one is written, by the log's time.
const CHECKPOINT_AFTER_MS: i64 = 24 * 3_600 * 1_000;

/// Pause after the log has failed.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// How the outbox is kept.
#[derive(Clone)]
pub struct OutboxConfig {
    /// The log.
    pub log: Arc<dyn Log>,
    /// The topic.
    pub topic: Arc<str>,
    /// The group.
    pub group: String,
    /// This instance, for people who read the log.
    pub instance: String,
}

impl OutboxConfig {
    /// With the usual names.
    #[must_use]
    pub fn new(log: Arc<dyn Log>, instance: String) -> Self {
        Self { log, topic: TOPIC.into(), group: GROUP.into(), instance }
    }
}

/// What is wrong with the outbox.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The log does not do its work.
    #[error("could not use the outbox of notifications")]
    Log(#[from] LogError),
    /// The topic has several partitions.
    #[error(
        "the topic {topic} has {partitions} partitions and must have one; remove it, Kelly makes it anew"
    )]
    Partitions {
        /// Which.
        topic: String,
        /// How many.
        partitions: u32,
    },
    /// A part of the state cannot be read.
    #[error(transparent)]
    State(#[from] crate::notifier::StateFault),
    /// The system gave no thread.
    #[error("could not start a thread for the outbox of notifications")]
    Thread(#[source] std::io::Error),
}

/// How notifications go, for who asks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overview {
    /// Destinations that were sent to, or were to be.
    pub destinations: BTreeMap<String, DestinationState>,
    /// Threads that are not over.
    pub threads: usize,
    /// Messages that wait, by destination.
    pub waiting: BTreeMap<String, usize>,
    /// Messages that were given up, by id.
    pub dead: BTreeMap<String, DeadLetter>,
}

struct Shared {
    fold: RwLock<Fold>,
    progress: watch::Sender<u64>,
    stop: AtomicBool,
}

impl Shared {
    fn read<T>(&self, read: impl FnOnce(&Fold) -> T) -> T {
        read(&self.fold.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The outbox as this instance sees it.
pub struct Outbox {
    config: OutboxConfig,
    shared: Arc<Shared>,
    turns: watch::Receiver<u64>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Outbox {
    /// Makes sure of the topic and follows it.
    ///
    /// # Errors
    /// When the topic is not as it must be.
    pub async fn start(config: OutboxConfig) -> Result<Arc<Self>, OutboxError> {
        let topic = TopicSpec {
            name: config.topic.to_string(),
            partitions: 1,
            retention: Retention { time: Some(KEPT), bytes: Some(KEPT_BYTES) },
        };
        config.log.ensure_topics(&[topic]).await?;
        let partitions = config.log.partitions(&config.topic).await?;
        if partitions != 1 {
            return Err(OutboxError::Partitions { topic: config.topic.to_string(), partitions });
        }
        let shared = Arc::new(Shared {
            fold: RwLock::default(),
            progress: watch::channel(0).0,
            stop: AtomicBool::new(false),
        });
        let (turn, turns) = watch::channel(0);
        let following = follow::Following {
            log: config.log.clone(),
            topic: config.topic.clone(),
            shared: shared.clone(),
            runtime: tokio::runtime::Handle::current(),
        };
        let member = owner::Member {
            log: config.log.clone(),
            topic: config.topic.clone(),
            group: config.group.clone(),
            shared: shared.clone(),
            turn,
        };
        let thread = |name: &str, run: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(name.to_owned()).spawn(run).map_err(OutboxError::Thread)
        };
        let threads = vec![
            thread("kelly-outbox", Box::new(move || following.run()))?,
            thread("kelly-outbox-turn", Box::new(move || member.run()))?,
        ];
        Ok(Arc::new(Self { config, shared, turns, threads: Mutex::new(threads) }))
    }

    /// Ends following. Returns when the threads have ended.
    pub async fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let join = move || threads.into_iter().all(|thread| thread.join().is_ok());
        if !tokio::task::spawn_blocking(join).await.unwrap_or(false) {
            tracing::error!("following the outbox of notifications ended with a defect");
        }
    }

    /// Asks something of the instance that sends. Returns when it is kept.
    ///
    /// # Errors
    /// When the log does not take it.
    pub async fn request(&self, request: Request) -> Result<(), LogError> {
        self.append(&Record::Request { request }).await.map(drop)
    }

    /// How notifications go, as far as this instance has read.
    #[must_use]
    pub fn overview(&self) -> Overview {
        self.shared.read(|fold| {
            let mut overview = Overview::default();
            for (name, value) in &fold.parts {
                match Key::parse(name) {
                    Some(Key::Destination(id)) => {
                        overview
                            .destinations
                            .extend(DestinationState::deserialize(value).ok().map(|state| (id, state)));
                    }
                    Some(Key::Dead(id)) => {
                        overview.dead.extend(DeadLetter::deserialize(value).ok().map(|letter| (id, letter)));
                    }
                    Some(Key::Thread(_)) => {
                        overview.threads += 1;
                        if let Ok(thread) = Thread::deserialize(value) {
                            *overview.waiting.entry(thread.destination).or_default() += thread.queue.len();
                        }
                    }
                    Some(Key::Position) | None => {}
                }
            }
            overview
        })
    }

    /// Changes with the turns of this instance: not 0 while it is its turn to send.
    pub(crate) fn turns(&self) -> watch::Receiver<u64> {
        self.turns.clone()
    }

    /// Changes whenever something was read.
    pub(crate) fn progress(&self) -> watch::Receiver<u64> {
        self.shared.progress.subscribe()
    }

    /// Takes over. Returns the number of the new owner once everything before it is read, or `None` when another one was
    /// quicker.
    pub(crate) async fn take_over(&self) -> Result<Option<u64>, LogError> {
        let number = self.append(&Record::Owner { instance: self.config.instance.clone() }).await?;
        self.until_read(number).await;
        Ok(Some(number).filter(|_| self.is_owner(number)))
    }

    /// Whether records of this owner count.
    pub(crate) fn is_owner(&self, number: u64) -> bool {
        self.shared.read(|fold| fold.owner == Some(number))
    }

    /// Everything that is kept.
    pub(crate) fn parts(&self) -> BTreeMap<String, Value> {
        self.shared.read(|fold| fold.parts.clone())
    }

    /// What is asked and not done.
    pub(crate) fn requests(&self) -> BTreeMap<u64, Request> {
        self.shared.read(|fold| fold.requests.clone())
    }

    /// Keeps changes, and that these requests are done. Returns when they are durable.
    pub(crate) async fn keep(
        &self,
        owner: u64,
        changes: Vec<(Key, Option<Value>)>,
        done: &[u64],
    ) -> Result<(), LogError> {
        let named = changes.into_iter().map(|(key, value)| (key.to_string(), value));
        let done = done.iter().map(|offset| (request_name(*offset), None));
        let mut records = Vec::new();
        let (mut set, mut bytes) = (BTreeMap::new(), 0);
        for (name, value) in named.chain(done) {
            let own = name.len() + value.as_ref().map_or(4, |value| value.to_string().len());
            if bytes > 0 && bytes + own > RECORD_BYTES {
                records.push(self.record(&Record::Changes { owner, set: std::mem::take(&mut set) }));
                bytes = 0;
            }
            bytes += own;
            set.insert(name, value);
        }
        if !set.is_empty() {
            records.push(self.record(&Record::Changes { owner, set }));
        }
        if records.is_empty() {
            return Ok(());
        }
        self.config.log.append(records).await.map(drop)
    }

    /// Writes the whole state again when there is much before it.
    pub(crate) async fn checkpoint(&self, owner: u64, now_ms: i64) -> Result<(), LogError> {
        let is_due = self.shared.read(|fold| {
            let is_old = fold.checkpoint_ms.is_none_or(|at_ms| now_ms - at_ms >= CHECKPOINT_AFTER_MS);
            fold.since_checkpoint >= CHECKPOINT_EVERY || (is_old && fold.since_checkpoint > 1)
        });
        if !is_due {
            return Ok(());
        }
        // What this owner wrote is read first, so that nothing of it is missing in the pieces.
        let end = self.append(&Record::Changes { owner, set: BTreeMap::new() }).await?;
        self.until_read(end).await;
        let pieces = self.shared.read(|fold| fold.pieces(owner, RECORD_BYTES));
        for piece in pieces {
            self.append(&piece).await?;
        }
        Ok(())
    }

    async fn until_read(&self, offset: u64) {
        let mut progress = self.progress();
        // It ends only with this outbox itself.
        let _ = progress.wait_for(|next| *next > offset || self.shared.stop.load(Ordering::Acquire)).await;
    }

    fn record(&self, record: &Record) -> NewRecord {
        NewRecord {
            topic: self.config.topic.clone(),
            partition: Some(0),
            key: None,
            // Of these types writing to memory does not fail.
            payload: Bytes::from(serde_json::to_vec(record).unwrap_or_default()),
            content_type: None,
        }
    }

    async fn append(&self, record: &Record) -> Result<u64, LogError> {
        let positions = self.config.log.append(vec![self.record(record)]).await?;
        positions.first().map(|position| position.offset).ok_or_else(|| LogError::Unknown {
            doing: "append to the outbox of notifications".into(),
            source: None,
        })
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
    }
}
