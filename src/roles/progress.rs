//! How far ingest is: what health, self-monitoring and the status line read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kelly_ingest::{IngestConfig, IngestCounts, IngestStats, PartitionPosition, SizeCounts};
use kelly_schemas::Stream;
use kelly_stream::{Log, LogError};

/// A view on a pipeline that outlives it.
pub struct Progress {
    stats: Arc<IngestStats>,
    log: Arc<dyn Log>,
    group: String,
    streams: Vec<Stream>,
    ended: AtomicBool,
}

impl Progress {
    /// The view on a pipeline with these counters.
    pub fn new(stats: Arc<IngestStats>, log: Arc<dyn Log>, config: &IngestConfig) -> Self {
        Self {
            stats,
            log,
            group: config.group.clone(),
            streams: config.streams.clone(),
            ended: AtomicBool::new(false),
        }
    }

    /// What was done since the start.
    pub fn counts(&self) -> IngestCounts {
        self.stats.counts()
    }

    /// The rows and the bytes of the batches that were confirmed.
    pub fn batch_sizes(&self) -> [SizeCounts; 2] {
        self.stats.batch_sizes()
    }

    /// Records on the log that are not confirmed yet.
    pub async fn lag(&self) -> Result<u64, LogError> {
        kelly_ingest::lag(&*self.log, &self.group, &self.streams).await
    }

    /// How far ingest is on every partition.
    pub async fn positions(&self) -> Result<Vec<PartitionPosition>, LogError> {
        kelly_ingest::positions(&*self.log, &self.group, &self.streams).await
    }

    /// Notes that the pipeline ended by itself.
    pub fn note_end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Whether it did.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}
