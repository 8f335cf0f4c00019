//! The log of one machine: a store in a directory, for one process.
//!
//! ```text
//! append ─► queue (bounded) ─┐                      ┌─► wake consumers
//! commit ────────────────────┴─► writer: batch, fsync, answer
//! retention ─► low marks ─► tables below them are dropped; compaction ─► frames of the newest records of each key
//! ```
//! Invariants:
//! - what was answered is on the disk, in files that are still there: one writer thread, one sync and one look at the
//!   directory before the answers;
//! - a consumer sees only what is durable;
//! - an assignment's end and a commit exclude each other (the group's lock is held over the write);
//! - offsets have no holes except where retention, compaction, or damage the open reports, took records away.
//!
//! Deliberately absent: replication, a network protocol, several processes on one directory.

mod compaction;
mod config;
mod consumer;
mod cursor;
mod damage;
mod failures;
mod files;
mod frame;
mod group;
mod groups;
mod journal;
mod keys;
mod open_log;
mod queue;
mod reader;
mod retention;
mod store;
mod wake;
mod writer;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use async_trait::async_trait;
use tokio::sync::oneshot;

pub use config::{Clock, EmbeddedConfig, MIN_FREE_BYTES};

use crate::bounds;
use crate::error::LogError;
use crate::partitioner::partition_of;
use crate::port::{
    Committed, Consumer, ConsumerSpec, Log, LogKind, NewRecord, Position, Reader, ReaderSpec, Result,
    Retention, SetTo, TopicId, TopicPartition, TopicSpec, Watermarks,
};
use open_log::OpenLog;
use queue::{Append, Job};

/// The log in a directory of this machine.
pub struct EmbeddedLog {
    log: Arc<OpenLog>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl EmbeddedLog {
    /// Opens the directory, or makes it. [`LogError::Locked`] when another process has it.
    pub fn open(config: EmbeddedConfig) -> Result<Self> {
        let log = Arc::new(OpenLog::open(config)?);
        let embedded = Self { log, threads: Arc::default() };
        embedded.spawn("kelly-log-writer", writer::run)?;
        embedded.spawn("kelly-log-retention", retention::run)?;
        Ok(embedded)
    }

    /// Applies retention now instead of at the next interval. Blocks.
    pub fn enforce_retention(&self) -> Result<()> {
        let store = self.log.store()?;
        retention::enforce(&store, (self.log.config.clock)())
    }

    /// Compacts what is to be compacted now, whether or not it is worth it. Blocks.
    pub fn compact(&self) -> Result<()> {
        let store = self.log.store()?;
        compaction::run(&store, (self.log.config.clock)(), compaction::When::Always)
    }

    fn spawn(&self, name: &str, work: fn(&OpenLog)) -> Result<()> {
        let log = self.log.clone();
        let thread =
            thread::Builder::new().name(name.into()).spawn(move || work(&log)).map_err(|source| {
                LogError::Unavailable {
                    doing: format!("start the thread {name}"),
                    fix: "raise the limit on threads".into(),
                    source: Some(Box::new(source)),
                }
            })?;
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(())
    }

    /// The store's calls block: they get a thread of their own.
    async fn blocking<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&OpenLog) -> Result<T> + Send + 'static,
    {
        let log = self.log.clone();
        run_blocking(move || work(&log)).await
    }

    /// Gives every record its partition.
    fn place(&self, records: &mut [NewRecord]) -> Result<()> {
        let store = self.log.store()?;
        let mut last: Option<(Arc<store::Topic>, u32)> = None;
        for record in records {
            bounds::verify_record(record)?;
            // Records of one append mostly go to one topic; those without a key stay together.
            let (topic, keyless) = match &last {
                Some((topic, keyless)) if topic.name == record.topic => (topic.clone(), *keyless),
                _ => {
                    let topic = store.topic(&record.topic)?;
                    let keyless = topic.next_keyless();
                    last = Some((topic.clone(), keyless));
                    (topic, keyless)
                }
            };
            let partition = match (record.partition, &record.key) {
                (Some(partition), _) => partition,
                (None, Some(key)) => partition_of(key, topic.count()),
                (None, None) => keyless,
            };
            topic.partition(partition)?;
            record.partition = Some(partition);
        }
        Ok(())
    }
}

#[async_trait]
impl Log for EmbeddedLog {
    async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<()> {
        let topics = topics.to_vec();
        self.blocking(move |log| {
            let store = log.store()?;
            topics.iter().try_for_each(|topic| store.ensure_topic(topic))
        })
        .await
    }

    async fn ensure_kept_topic(&self, topic: &str) -> Result<()> {
        let spec = TopicSpec { name: topic.to_owned(), partitions: 1, retention: Retention::default() };
        self.blocking(move |log| {
            let store = log.store()?;
            if let Ok(topic) = store.topic(&spec.name) {
                bounds::verify_single(&spec.name, topic.count())?;
            }
            store.ensure_topic(&spec)
        })
        .await
    }

    async fn ensure_compacted_topic(&self, topic: &str, partitions: u32) -> Result<()> {
        let spec = TopicSpec { name: topic.to_owned(), partitions, retention: Retention::default() };
        self.blocking(move |log| log.store()?.ensure_compacted_topic(&spec)).await
    }

    async fn partitions(&self, topic: &str) -> Result<u32> {
        Ok(self.log.store()?.topic(topic)?.count())
    }

    async fn append(&self, mut records: Vec<NewRecord>) -> Result<Vec<Position>> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        self.place(&mut records)?;
        let (reply, answer) = oneshot::channel();
        self.log.queue.push(Job::Append(Append { records, reply }))?;
        answer.await.unwrap_or_else(|_| {
            Err(LogError::Unknown { doing: "append records to the embedded log".into(), source: None })
        })
    }

    async fn watermarks(&self, partition: &TopicPartition) -> Result<Watermarks> {
        Ok(self.log.store()?.topic(&partition.topic)?.partition(partition.partition)?.watermarks())
    }

    async fn ends(&self, topic: &str) -> Result<Vec<Watermarks>> {
        let topic = self.log.store()?.topic(topic)?;
        Ok(topic.partitions.iter().map(|partition| partition.watermarks()).collect())
    }

    async fn committed(&self, group: &str, topic: &str) -> Result<Vec<Option<Committed>>> {
        let (group, topic) = (group.to_owned(), topic.to_owned());
        self.blocking(move |log| {
            let store = log.store()?;
            let topic = store.topic(&topic)?;
            (0..topic.count())
                .map(|partition| {
                    store.position(&group, &TopicPartition { topic: topic.name.clone(), partition })
                })
                .collect()
        })
        .await
    }

    fn consumer(&self, spec: ConsumerSpec) -> Result<Box<dyn Consumer>> {
        Ok(Box::new(consumer::EmbeddedConsumer::open(self.log.clone(), spec)?))
    }

    async fn topic_id(&self, topic: &str) -> Result<Option<TopicId>> {
        Ok(self.log.store()?.topic(topic)?.id())
    }

    fn reader(&self, spec: ReaderSpec) -> Result<Box<dyn Reader>> {
        Ok(Box::new(reader::EmbeddedReader::open(self.log.clone(), spec)?))
    }

    async fn check(&self) -> Result<()> {
        // A network mount that hangs must not hold up a thread that others need.
        self.blocking(|log| {
            log.store().map(drop)?;
            log.files.verify()?;
            log.refuse_when_disk_is_full()
        })
        .await
    }

    async fn close(&self) -> Result<()> {
        let (log, threads) = (self.log.clone(), self.threads.clone());
        run_blocking(move || close(&log, &threads)).await
    }

    fn kind(&self) -> LogKind {
        LogKind::Embedded
    }

    fn describe(&self) -> String {
        format!("{} at {}", self.kind(), self.log.config.dir.display())
    }

    fn how_to_set_position(&self, _: &str, _: &TopicPartition, _: SetTo) -> String {
        format!(
            "an embedded log keeps its positions with its records: restore {dir} from a backup as old as the store's, or \
             move it away to begin a new log beside what the store has",
            dir = self.log.config.dir.display()
        )
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        if let Err(error) = close(&self.log, &self.threads) {
            tracing::error!(%error, "closing the embedded log failed");
        }
    }
}

/// Writes what is in the queue, ends the threads and lets go of the directory. An error when its files were deleted: what
/// was written is not there at the next start.
fn close(log: &OpenLog, threads: &Mutex<Vec<JoinHandle<()>>>) -> Result<()> {
    log.begin_closing();
    let threads = std::mem::take(&mut *threads.lock().unwrap_or_else(PoisonError::into_inner));
    if threads.is_empty() {
        // It was closed before.
        return Ok(());
    }
    let mut panicked = false;
    for thread in threads {
        panicked |= thread.join().is_err();
    }
    let found = log.files.verify();
    log.let_go();
    if panicked {
        return Err(LogError::Unavailable {
            doing: "write everything before closing".into(),
            fix: "a thread of the embedded log panicked, see the process's log; what was answered is durable"
                .into(),
            source: None,
        });
    }
    found
}

async fn run_blocking<T, F>(work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    tokio::task::spawn_blocking(work).await.map_err(|source| LogError::Unavailable {
        doing: "use the embedded log".into(),
        fix: "the process is shutting down or the call panicked, see its log".into(),
        source: Some(Box::new(source)),
    })?
}
