//! One running pipeline: the reading thread, the writers, and the way to end them.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use kelly_schemas::{INGEST_GROUP, Limits, Stream};
use kelly_stream::{ConsumerSpec, Log, LogError, Start};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};

use crate::batch::{RawRetention, Rules};
use crate::bounds::BatchBounds;
use crate::moment::Moment;
use crate::reader::{Lanes, ReadError, ReadingThread};
use crate::stats::{IngestCounts, IngestStats};
use crate::tables::Tables;
use crate::unpositioned::Searches;
use crate::writer::WriteContext;

/// How a pipeline reads and writes.
#[derive(Debug, Clone)]
pub struct IngestConfig {
    /// Consumer group: instances of one group share the partitions.
    pub group: String,
    /// Streams to read.
    pub streams: Vec<Stream>,
    /// When batches are closed.
    pub bounds: BatchBounds,
    /// What a row may be.
    pub limits: Limits,
    /// How long the store keeps raw metrics.
    pub raw_retention: RawRetention,
    /// Blocks being inserted at once, over all partitions: more than cores, for an insert waits for the disk.
    pub concurrent_inserts: usize,
    /// How long a shutdown waits for batches under way; what is left is finished at the next start.
    pub drain_within: Duration,
}

impl IngestConfig {
    /// Every stream that is kept in the store, under the group every instance uses.
    pub fn new(rules: Rules) -> Self {
        let Rules { limits, raw_retention_ms } = rules;
        Self {
            group: INGEST_GROUP.to_owned(),
            streams: Stream::ALL.to_vec(),
            bounds: BatchBounds::default(),
            limits,
            raw_retention: RawRetention::new(raw_retention_ms),
            concurrent_inserts: 4,
            drain_within: Duration::from_secs(30),
        }
    }
}

/// Why a pipeline could not be started, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The log gave no consumer.
    #[error("cannot read the log as group {group}")]
    Consumer {
        /// The group.
        group: String,
        /// Why.
        #[source]
        source: LogError,
    },
    /// The operating system gave no thread.
    #[error("cannot start the reading thread")]
    Thread(#[source] std::io::Error),
    /// Reading ended.
    #[error("ingest stopped")]
    Read(#[source] ReadError),
    /// The reading thread panicked: a defect of this program.
    #[error("the reading thread ended unexpectedly")]
    Panicked,
}

/// A running pipeline. Dropping it asks it to stop and does not wait.
pub struct Pipeline {
    /// Dropped to stop the reader.
    stop: SyncSender<()>,
    stats: Arc<IngestStats>,
    ended: watch::Receiver<bool>,
    thread: std::thread::JoinHandle<Result<(), ReadError>>,
    log: Arc<dyn Log>,
    config: IngestConfig,
}

impl Pipeline {
    /// Joins the group and starts. Must be called on a Tokio runtime with more than one thread: the
    /// writers run on it.
    pub fn start(
        log: Arc<dyn Log>,
        tables: Arc<dyn Tables>,
        config: IngestConfig,
    ) -> Result<Self, IngestError> {
        let consumer = log
            .consumer(ConsumerSpec {
                group: config.group.clone(),
                topics: config.streams.iter().map(|stream| stream.topic().into()).collect(),
                start: Start::Earliest,
            })
            .map_err(|source| IngestError::Consumer { group: config.group.clone(), source })?;
        let stats = Arc::new(IngestStats::default());
        let context = Arc::new(WriteContext {
            tables,
            committer: consumer.committer(),
            stats: Arc::clone(&stats),
            inserting: Semaphore::new(config.concurrent_inserts.max(1)),
            clock: Box::new(Moment::now),
        });
        let (stop, stopped) = sync_channel(0);
        let reader = ReadingThread {
            consumer,
            lanes: Lanes {
                context,
                log: Arc::clone(&log),
                group: config.group.clone(),
                runtime: Handle::current(),
                limits: config.limits,
                raw_retention: config.raw_retention.clone(),
                bounds: config.bounds,
                lanes: Vec::new(),
                last: 0,
                searches: Searches::default(),
                leaving: Vec::new(),
                refused: None,
            },
            stop: stopped,
            drain_within: config.drain_within,
        };
        let (on_end, ended) = watch::channel(false);
        let thread = std::thread::Builder::new()
            .name("ingest".to_owned())
            .spawn(move || {
                // Dropped when the thread ends in whatever way, which the receiver sees.
                let _on_end = on_end;
                reader.run()
            })
            .map_err(IngestError::Thread)?;
        Ok(Self { stop, stats, ended, thread, log, config })
    }

    /// What it has done so far.
    pub fn counts(&self) -> IngestCounts {
        self.stats.counts()
    }

    /// A handle for the counters that outlives a borrow of the pipeline.
    pub fn stats(&self) -> Arc<IngestStats> {
        Arc::clone(&self.stats)
    }

    /// Returns when the pipeline has ended by itself; [`shutdown`](Self::shutdown) then says why.
    pub async fn ended(&self) {
        let mut ended = self.ended.clone();
        // The value never changes: the error says that the thread let go of its end.
        let _ = ended.wait_for(|has_ended| *has_ended).await;
    }

    /// Records that are on the log and not yet confirmed, over all partitions of all streams.
    pub async fn lag(&self) -> Result<u64, LogError> {
        lag(&*self.log, &self.config.group, &self.config.streams).await
    }

    /// Stops reading, writes what was read, commits, leaves the group.
    pub async fn shutdown(self) -> Result<IngestCounts, IngestError> {
        let Self { stop, stats, thread, .. } = self;
        drop(stop);
        match tokio::task::spawn_blocking(move || thread.join()).await {
            Ok(Ok(Ok(()))) => Ok(stats.counts()),
            Ok(Ok(Err(fault))) => Err(IngestError::Read(fault)),
            Ok(Err(_)) | Err(_) => Err(IngestError::Panicked),
        }
    }
}

/// How far a group is on one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionPosition {
    /// What is on it.
    pub stream: Stream,
    /// Partition.
    pub partition: u32,
    /// First offset that is still there.
    pub low: u64,
    /// Offset after the last record.
    pub high: u64,
    /// The next offset the group will read; `None` when it has no position.
    pub committed: Option<u64>,
}

impl PartitionPosition {
    /// Records that are there and not confirmed.
    #[must_use]
    pub fn behind(&self) -> u64 {
        self.high.saturating_sub(self.committed.unwrap_or(self.low).max(self.low))
    }
}

/// How far the group is on every partition of these streams.
pub async fn positions(
    log: &dyn Log,
    group: &str,
    streams: &[Stream],
) -> Result<Vec<PartitionPosition>, LogError> {
    let mut positions = Vec::new();
    for stream in streams.iter().copied() {
        let topic = stream.topic();
        let committed = log.committed(group, topic).await?;
        for (partition, ends) in log.ends(topic).await?.into_iter().enumerate() {
            positions.push(PartitionPosition {
                stream,
                partition: partition as u32,
                low: ends.low,
                high: ends.high,
                committed: committed
                    .get(partition)
                    .and_then(Option::as_ref)
                    .map(|committed| committed.offset),
            });
        }
    }
    Ok(positions)
}

/// Records of these streams that the group has not confirmed.
pub async fn lag(log: &dyn Log, group: &str, streams: &[Stream]) -> Result<u64, LogError> {
    Ok(positions(log, group, streams).await?.iter().map(PartitionPosition::behind).sum())
}
