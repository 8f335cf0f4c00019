//! What lies on the disk: a fjall database with one keyspace a partition (frames by base offset)
//! and one for everything else (topics, low marks, positions of groups).
//!
//! Low marks: retention moves the mark first and removes tables later, so a record below the mark
//! is gone whether or not its bytes are. A mark also keeps what the frames alone would tell: if all
//! of them are gone, offsets go on where they were.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use fjall::config::{CompressionPolicy, FilterPolicy};
use fjall::{
    AbstractTree, CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode, UserValue,
};
use serde::{Deserialize, Serialize};

use super::config::EmbeddedConfig;
use super::failures::failure;
use super::frame::Frame;
use super::keys::{
    self, Ends, decode_ends, encode_ends, mark_key, parse_offset, parse_position, place_of, position_key,
    topic_key,
};
use super::{damage, journal};
use crate::bounds;
use crate::error::LogError;
use crate::port::{Committed, Result, Retention, TopicId, TopicPartition, TopicSpec, Watermarks};

const META: &str = "meta";
const META_MEMTABLE_BYTES: u64 = 1024 * 1024;

/// Bounds of one partition's part of the memtable memory.
const PARTITION_MEMTABLE_BYTES: std::ops::RangeInclusive<u64> = 1024 * 1024..=16 * 1024 * 1024;

/// Files the store keeps open.
const MAX_OPEN_FILES: usize = 256;

/// Threads that write tables: one can flush while the other compacts.
const WORKERS: usize = 2;

/// The open database.
pub(super) struct Store {
    database: Database,
    meta: Keyspace,
    topics: RwLock<HashMap<Arc<str>, Arc<Topic>>>,
    memtable_bytes: u64,
}

/// A topic and its partitions.
pub(super) struct Topic {
    pub(super) name: Arc<str>,
    pub(super) partitions: Vec<Partition>,
    /// Zero while it has none.
    id: AtomicU64,
    retention: Mutex<Retention>,
    /// Whether only the newest record of each key stays.
    compacted: AtomicBool,
    keyless: AtomicU32,
}

/// A partition's frames and its ends.
pub(super) struct Partition {
    pub(super) keyspace: Keyspace,
    ends: Mutex<Ends>,
    /// Bytes that had been appended when it was last compacted.
    compacted_at: AtomicU64,
}

/// A frame in the store's own buffer.
#[derive(Clone)]
pub(super) struct StoredFrame {
    pub(super) base: u64,
    bytes: UserValue,
    /// Records in it.
    pub(super) count: u64,
}

#[derive(Serialize, Deserialize)]
struct StoredTopic {
    /// Zero for one made before topics had ids; it is given one when it is ensured.
    #[serde(default)]
    id: u64,
    partitions: u32,
    retention_ms: Option<u64>,
    retention_bytes: Option<u64>,
    #[serde(default)]
    compacted: bool,
}

impl Store {
    pub(super) fn open(config: &EmbeddedConfig) -> Result<Self> {
        damage::prepare(&config.dir)?;
        journal::cut_torn_tail(&config.dir)?;
        let doing = || format!("open the log in {}", config.dir.display());
        let fail = |error| failure(&config.dir, doing(), error);
        let database = Database::builder(&config.dir)
            .cache_size(config.cache_bytes)
            .max_cached_files(Some(MAX_OPEN_FILES))
            .max_journaling_size(config.journal_bytes)
            .worker_threads(WORKERS)
            .manual_journal_persist(true)
            .open()
            .map_err(fail)?;
        let meta = database
            .keyspace(META, || KeyspaceCreateOptions::default().max_memtable_size(META_MEMTABLE_BYTES))
            .map_err(fail)?;
        let store = Self { database, meta, topics: RwLock::default(), memtable_bytes: config.memtable_bytes };
        store.load_topics().map_err(|error| match error {
            LoadError::Store(error) => fail(error),
            LoadError::Log(error) => error,
        })?;
        Ok(store)
    }

    pub(super) fn topic(&self, name: &str) -> Result<Arc<Topic>> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics.get(name).cloned().ok_or_else(|| LogError::UnknownTopic { topic: name.into() })
    }

    pub(super) fn all_topics(&self) -> Vec<Arc<Topic>> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Makes the topic or verifies it; its retention becomes the one asked for.
    pub(super) fn ensure_topic(&self, spec: &TopicSpec) -> Result<()> {
        self.ensure(spec, false)
    }

    /// Makes a topic of which the newest record of each key stays, or verifies that it is one.
    pub(super) fn ensure_compacted_topic(&self, spec: &TopicSpec) -> Result<()> {
        self.ensure(spec, true)
    }

    fn ensure(&self, spec: &TopicSpec, compacted: bool) -> Result<()> {
        bounds::verify_topic(spec)?;
        // Held throughout, so that two callers do not make it twice.
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        let existing = topics.get(spec.name.as_str());
        let partitions = existing.map_or(spec.partitions, |topic| topic.count());
        if partitions < spec.partitions {
            return Err(LogError::TopicMismatch {
                topic: spec.name.clone(),
                found: format!("{partitions} partitions"),
                wanted: format!("{} or more", spec.partitions),
                fix: format!("configure {partitions}: an embedded topic keeps the number it was made with"),
            });
        }
        if existing.is_some_and(|topic| topic.is_compacted() != compacted) {
            let words = |compacted| if compacted { "compaction" } else { "no compaction" };
            return Err(LogError::TopicMismatch {
                topic: spec.name.clone(),
                found: words(!compacted).into(),
                wanted: words(compacted).into(),
                fix: "an embedded topic stays what it was made as: begin a new log in another directory"
                    .into(),
            });
        }
        if existing.is_some_and(|topic| topic.retention() == spec.retention && topic.id().is_some()) {
            return Ok(());
        }
        let id = existing.and_then(|topic| topic.id()).unwrap_or_else(new_id);
        let fail = |error| failure(self.path(), format!("make topic {}", spec.name), error);
        let made = match existing {
            Some(_) => None,
            None => {
                Some(self.open_topic(spec.name.as_str().into(), partitions, spec.retention).map_err(fail)?)
            }
        };
        let stored = StoredTopic {
            id: id.0,
            partitions,
            retention_ms: spec.retention.time.map(|time| time.as_millis() as u64),
            retention_bytes: spec.retention.bytes,
            compacted,
        };
        let value = serde_json::to_vec(&stored).map_err(|error| LogError::Corrupt {
            what: format!("topic {} cannot be written down: {error}", spec.name),
            fix: "report this".into(),
        })?;
        let mut batch = self.batch();
        batch.insert(&self.meta, topic_key(&spec.name), value);
        batch.commit().map_err(fail)?;
        match made {
            Some(topic) => {
                topic.id.store(id.0, Ordering::Relaxed);
                topic.compacted.store(compacted, Ordering::Relaxed);
                drop(topics.insert(topic.name.clone(), Arc::new(topic)));
            }
            None => {
                if let Some(topic) = topics.get(spec.name.as_str()) {
                    topic.id.store(id.0, Ordering::Relaxed);
                    *topic.retention.lock().unwrap_or_else(PoisonError::into_inner) = spec.retention;
                }
            }
        }
        Ok(())
    }

    /// A batch that is on the disk when its commit returns.
    pub(super) fn batch(&self) -> fjall::OwnedWriteBatch {
        self.database.batch().durability(Some(PersistMode::SyncData))
    }

    pub(super) fn put_position(
        &self,
        batch: &mut fjall::OwnedWriteBatch,
        group: &str,
        partition: &TopicPartition,
        position: (u64, &str),
    ) {
        let (offset, metadata) = position;
        let mut value = offset.to_be_bytes().to_vec();
        value.extend_from_slice(metadata.as_bytes());
        batch.insert(&self.meta, position_key(group, partition), value);
    }

    pub(super) fn position(&self, group: &str, partition: &TopicPartition) -> Result<Option<Committed>> {
        let stored = self.meta.get(position_key(group, partition)).map_err(|error| {
            failure(self.path(), format!("read the position of group {group} on {}", partition.topic), error)
        })?;
        Ok(stored.and_then(|value| parse_position(&value)))
    }

    /// Moves the low mark durably, then lets go of tables that lie wholly below it.
    pub(super) fn raise_low(&self, topic: &Topic, index: u32, low: u64) -> fjall::Result<()> {
        let Some(partition) = topic.partitions.get(index as usize) else { return Ok(()) };
        let mark = Ends { low, ..partition.ends() };
        let mut batch = self.batch();
        batch.insert(&self.meta, mark_key(&topic.name, index), encode_ends(mark));
        batch.commit()?;
        partition.lock().low = low;
        // The last frame's table stays: the store tells by its sequence number which journals it
        // may remove, and an empty keyspace would hold them all for ever.
        let last = match partition.keyspace.last_key_value() {
            Some(last) => last.key().map(|key| parse_offset(&key))?,
            None => return Ok(()),
        };
        let end = low.min(last);
        partition.keyspace.tree.drop_range(..end.to_be_bytes())?;
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        self.meta.path().ancestors().nth(2).unwrap_or(self.meta.path())
    }

    fn load_topics(&self) -> Result<(), LoadError> {
        let mut committed: HashMap<(String, u32), u64> = HashMap::new();
        for entry in self.meta.prefix([keys::POSITION]) {
            let (key, value) = entry.into_inner()?;
            if let (Some((topic, partition)), Some(position)) = (place_of(&key), parse_position(&value)) {
                let highest = committed.entry((topic, partition)).or_default();
                *highest = position.offset.max(*highest);
            }
        }
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        for entry in self.meta.prefix([keys::TOPIC]) {
            let (key, value) = entry.into_inner()?;
            let name: Arc<str> = String::from_utf8_lossy(&key[1..]).into();
            let stored: StoredTopic = serde_json::from_slice(&value).map_err(|error| LogError::Corrupt {
                what: format!("what is kept of topic {name} cannot be read: {error}"),
                fix: "restore the directory from a backup".into(),
            })?;
            let retention = Retention {
                time: stored.retention_ms.map(Duration::from_millis),
                bytes: stored.retention_bytes,
            };
            let topic = self.open_topic(name.clone(), stored.partitions, retention)?;
            topic.id.store(stored.id, Ordering::Relaxed);
            topic.compacted.store(stored.compacted, Ordering::Relaxed);
            for (index, partition) in topic.partitions.iter().enumerate() {
                let mark = self.meta.get(mark_key(&name, index as u32))?;
                let mark = mark.and_then(|value| decode_ends(&value)).unwrap_or_default();
                let reached = committed.get(&(name.to_string(), index as u32)).copied().unwrap_or_default();
                partition.load(mark, reached, &name, index as u32)?;
            }
            topics.insert(name, Arc::new(topic));
        }
        Ok(())
    }

    fn open_topic(&self, name: Arc<str>, partitions: u32, retention: Retention) -> fjall::Result<Topic> {
        let memtable = (self.memtable_bytes / u64::from(partitions.max(1)))
            .clamp(*PARTITION_MEMTABLE_BYTES.start(), *PARTITION_MEMTABLE_BYTES.end());
        let options = || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(memtable)
                .data_block_compression_policy(CompressionPolicy::all(CompressionType::Lz4))
                // Frames are found by ranges, never by a point that may be missing.
                .filter_policy(FilterPolicy::disabled())
        };
        let partitions = (0..partitions)
            .map(|index| {
                let keyspace = self.database.keyspace(&format!("{name}/{index}"), options)?;
                Ok(Partition { keyspace, ends: Mutex::default(), compacted_at: AtomicU64::new(0) })
            })
            .collect::<fjall::Result<Vec<_>>>()?;
        Ok(Topic {
            name,
            partitions,
            id: AtomicU64::new(0),
            retention: Mutex::new(retention),
            compacted: AtomicBool::new(false),
            keyless: AtomicU32::new(0),
        })
    }
}

/// An id for a topic that is made now.
fn new_id() -> TopicId {
    let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
    TopicId((high ^ low).max(1))
}

impl Topic {
    pub(super) fn id(&self) -> Option<TopicId> {
        match self.id.load(Ordering::Relaxed) {
            0 => None,
            id => Some(TopicId(id)),
        }
    }

    pub(super) fn count(&self) -> u32 {
        self.partitions.len() as u32
    }

    pub(super) fn is_compacted(&self) -> bool {
        self.compacted.load(Ordering::Relaxed)
    }

    pub(super) fn retention(&self) -> Retention {
        *self.retention.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn partition(&self, index: u32) -> Result<&Partition> {
        self.partitions
            .get(index as usize)
            .ok_or_else(|| LogError::UnknownPartition { topic: self.name.to_string(), partition: index })
    }

    /// Where an append without keys goes: each to the next partition, so that frames stay large.
    pub(super) fn next_keyless(&self) -> u32 {
        self.keyless.fetch_add(1, Ordering::Relaxed) % self.count().max(1)
    }
}

impl Partition {
    pub(super) fn ends(&self) -> Ends {
        *self.lock()
    }

    pub(super) fn watermarks(&self) -> Watermarks {
        let ends = self.ends();
        Watermarks { low: ends.low, high: ends.high }
    }

    /// Shows what is now durable.
    pub(super) fn advance(&self, to: Ends) {
        let mut ends = self.lock();
        // Retention may have moved `low` meanwhile.
        *ends = Ends { low: ends.low, ..to };
    }

    /// Bytes that had been appended when it was last compacted, in this process.
    pub(super) fn compacted_at(&self) -> u64 {
        self.compacted_at.load(Ordering::Relaxed)
    }

    pub(super) fn note_compacted(&self, bytes: u64) {
        self.compacted_at.store(bytes, Ordering::Relaxed);
    }

    /// The base of the newest frame.
    pub(super) fn last_base(&self) -> Result<Option<u64>> {
        self.keyspace
            .last_key_value()
            .map(StoredFrame::read)
            .transpose()
            .map(|last| last.map(|last| last.base))
    }

    /// The frame with the greatest base at or below `offset`, if any is left.
    pub(super) fn frame_at(&self, offset: u64) -> Result<Option<StoredFrame>> {
        match self.keyspace.range(..=offset.to_be_bytes()).next_back() {
            Some(entry) => StoredFrame::read(entry).map(Some),
            None => Ok(None),
        }
    }

    /// Frames from base `from` on, below `to`.
    pub(super) fn frames(&self, from: u64, to: u64) -> impl Iterator<Item = Result<StoredFrame>> {
        self.keyspace.range(from.to_be_bytes()..to.to_be_bytes()).map(StoredFrame::read)
    }

    fn load(&self, mark: Ends, committed: u64, topic: &str, index: u32) -> Result<(), LoadError> {
        let mut ends = mark;
        if let Some(last) = self.keyspace.last_key_value() {
            let last = StoredFrame::read(last)?;
            let frame = last.frame()?;
            if last.base + last.count > ends.high {
                ends.high = last.base + last.count;
                ends.bytes = frame.bytes_after();
            }
            ends.last_time_ms = ends.last_time_ms.max(frame.time_ms());
        }
        if committed > ends.high {
            tracing::error!(
                topic,
                partition = index,
                high = ends.high,
                committed,
                "the log ends before a committed position: records were lost from the disk; offsets go on after it"
            );
            ends.high = committed;
        }
        *self.lock() = ends;
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Ends> {
        // One assignment at a time is made under it, so it is never half-done.
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StoredFrame {
    fn read(entry: fjall::Guard) -> Result<Self> {
        let (key, bytes) = entry.into_inner().map_err(|error| LogError::Unavailable {
            doing: "read records from the embedded log".into(),
            fix: "check the disk and the process's log; damaged files show there".into(),
            source: Some(Box::new(error)),
        })?;
        let mut stored = Self { base: parse_offset(&key), bytes, count: 0 };
        stored.count = stored.frame()?.count();
        Ok(stored)
    }

    /// The records, borrowed.
    pub(super) fn frame(&self) -> Result<Frame<'_>> {
        Frame::parse(&self.bytes).ok_or_else(|| LogError::Corrupt {
            what: format!("the records at offset {} cannot be read", self.base),
            fix: "restore the directory from a backup, or remove the topic".into(),
        })
    }
}

enum LoadError {
    Store(fjall::Error),
    Log(LogError),
}

impl From<fjall::Error> for LoadError {
    fn from(error: fjall::Error) -> Self {
        Self::Store(error)
    }
}

impl From<LogError> for LoadError {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}
