//! What the pipeline has done since it started, readable at any time.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::batch::Size;
use crate::sizes::{SizeCounts, Sizes};

/// Classes of the rows of a batch, up to what closes one by default and beyond.
const BATCH_ROWS: [u64; 8] = [10, 100, 1_000, 10_000, 50_000, 100_000, 250_000, 1_000_000];
/// Classes of the bytes of a batch.
const BATCH_BYTES: [u64; 8] = [1 << 10, 16 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 48 << 20, 256 << 20];

/// Counters of one pipeline.
#[derive(Debug)]
pub struct IngestStats {
    records: AtomicU64,
    rows: AtomicU64,
    dead_letters: AtomicU64,
    batches: AtomicU64,
    retries: AtomicU64,
    lost: AtomicU64,
    buffered_bytes: AtomicU64,
    partitions: AtomicU64,
    last_written_ms: AtomicI64,
    /// What went wrong last, while it has not gone right since: reading, writing.
    errors: Mutex<[Option<String>; 2]>,
    batch_rows: Sizes,
    batch_bytes: Sizes,
}

impl Default for IngestStats {
    fn default() -> Self {
        Self {
            records: AtomicU64::default(),
            rows: AtomicU64::default(),
            dead_letters: AtomicU64::default(),
            batches: AtomicU64::default(),
            retries: AtomicU64::default(),
            lost: AtomicU64::default(),
            buffered_bytes: AtomicU64::default(),
            partitions: AtomicU64::default(),
            last_written_ms: AtomicI64::default(),
            errors: Mutex::default(),
            batch_rows: Sizes::new(&BATCH_ROWS),
            batch_bytes: Sizes::new(&BATCH_BYTES),
        }
    }
}

/// Which half of the pipeline speaks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Half {
    Reading,
    Writing,
}

/// A batch's share in the buffered bytes, given back when the batch is gone, however it goes.
#[derive(Debug)]
pub struct Charge {
    stats: Arc<IngestStats>,
    bytes: u64,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.stats.buffered_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The counters at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IngestCounts {
    /// Messages written.
    pub records: u64,
    /// Rows written: metrics and events.
    pub rows: u64,
    /// Rows and messages refused and kept as dead letters.
    pub dead_letters: u64,
    /// Batches confirmed.
    pub batches: u64,
    /// Inserts and commits that had to be tried again.
    pub retries: u64,
    /// Offsets the log's retention removed before they were read.
    pub lost: u64,
    /// Bytes of batches that are closed and not yet written.
    pub buffered_bytes: u64,
    /// Partitions this instance reads.
    pub partitions: u64,
    /// When the last batch was confirmed, ms since the epoch; `None` before the first.
    pub last_written_ms: Option<i64>,
    /// The last thing that went wrong, while it has not gone right since.
    pub last_error: Option<String>,
}

impl IngestStats {
    /// The counters now.
    pub fn counts(&self) -> IngestCounts {
        let last_written_ms = self.last_written_ms.load(Ordering::Relaxed);
        IngestCounts {
            records: self.records.load(Ordering::Relaxed),
            rows: self.rows.load(Ordering::Relaxed),
            dead_letters: self.dead_letters.load(Ordering::Relaxed),
            batches: self.batches.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
            buffered_bytes: self.buffered_bytes(),
            partitions: self.partitions.load(Ordering::Relaxed),
            last_written_ms: (last_written_ms > 0).then_some(last_written_ms),
            last_error: self.errors().iter().flatten().next().cloned(),
        }
    }

    /// The rows and the bytes of the batches that were confirmed.
    pub fn batch_sizes(&self) -> [SizeCounts; 2] {
        [&self.batch_rows, &self.batch_bytes].map(Sizes::counts)
    }

    pub(crate) fn charge(self: &Arc<Self>, size: Size) -> Charge {
        let bytes = size.bytes as u64;
        self.buffered_bytes.fetch_add(bytes, Ordering::Relaxed);
        Charge { stats: Arc::clone(self), bytes }
    }

    pub(crate) fn buffered_bytes(&self) -> u64 {
        self.buffered_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn written(&self, size: Size, now_ms: i64) {
        self.records.fetch_add(size.records as u64, Ordering::Relaxed);
        self.rows.fetch_add(size.rows as u64, Ordering::Relaxed);
        self.dead_letters.fetch_add(size.dead_letters as u64, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.batch_rows.add(size.rows as u64);
        self.batch_bytes.add(size.bytes as u64);
        self.last_written_ms.store(now_ms, Ordering::Relaxed);
        self.recovered(Half::Writing);
    }

    pub(crate) fn failed(&self, half: Half, what: &str) {
        self.retries.fetch_add(1, Ordering::Relaxed);
        self.errors()[half as usize] = Some(what.to_owned());
    }

    pub(crate) fn recovered(&self, half: Half) {
        self.errors()[half as usize] = None;
    }

    pub(crate) fn lost(&self, offsets: u64) {
        self.lost.fetch_add(offsets, Ordering::Relaxed);
    }

    pub(crate) fn reads(&self, partitions: usize) {
        self.partitions.store(partitions as u64, Ordering::Relaxed);
    }

    fn errors(&self) -> std::sync::MutexGuard<'_, [Option<String>; 2]> {
        self.errors.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
