//! The configuration of an embedded log, and its bounds.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::LogError;
use crate::port::Result;

const MIB: u64 = 1024 * 1024;

/// Free bytes of the disk below which the log takes nothing more, unless configured otherwise.
pub const MIN_FREE_BYTES: u64 = 256 * MIB;

/// The least the store accepts.
const MIN_JOURNAL_BYTES: u64 = 64 * MIB;

/// Gives the time in ms since the epoch; a test gives its own.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Where an embedded log lies and what it may use. [`EmbeddedConfig::new`] has the defaults.
#[derive(Clone)]
pub struct EmbeddedConfig {
    /// The directory; made when it is missing.
    pub dir: PathBuf,
    /// Bytes of appends that may wait for the writer; beyond it an append is [`LogError::Full`].
    pub queue_bytes: usize,
    /// Memory for blocks read from disk.
    pub cache_bytes: u64,
    /// Memory for what is durable in the journal but not yet sorted into tables, over all
    /// partitions. A partition's part is fixed when it is made.
    pub memtable_bytes: u64,
    /// Disk for journals, at least 64 MiB; above it partitions are written into tables.
    pub journal_bytes: u64,
    /// An append that finds less than this free on the disk is [`LogError::Full`]: the store must
    /// never meet a full disk in the middle of a write.
    pub min_free_bytes: u64,
    /// How often retention runs.
    pub retention_interval: Duration,
    /// A group member that does not poll for this long loses its partitions.
    pub max_poll_interval: Duration,
    /// The clock that gives records their log time.
    pub clock: Clock,
}

impl EmbeddedConfig {
    /// The defaults, in `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            queue_bytes: 32 * MIB as usize,
            cache_bytes: 16 * MIB,
            memtable_bytes: 64 * MIB,
            journal_bytes: 128 * MIB,
            min_free_bytes: MIN_FREE_BYTES,
            retention_interval: Duration::from_secs(60),
            max_poll_interval: Duration::from_secs(300),
            clock: Arc::new(system_time_ms),
        }
    }

    pub(super) fn verify(&self) -> Result<()> {
        if self.journal_bytes < MIN_JOURNAL_BYTES {
            return Err(LogError::Config {
                property: "journal_bytes".into(),
                reason: format!(
                    "{} is less than the {MIN_JOURNAL_BYTES} the store needs",
                    self.journal_bytes
                ),
            });
        }
        Ok(())
    }
}

impl fmt::Debug for EmbeddedConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("EmbeddedConfig").field("dir", &self.dir).finish_non_exhaustive()
    }
}

fn system_time_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}
