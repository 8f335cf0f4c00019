//! A place on the control log.

use serde::{Deserialize, Serialize};

/// Where a record lies, and when the log took it. The topic has one partition, so the offset is the order of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// Offset.
    pub offset: u64,
    /// The log's time, ms since the epoch.
    pub log_time_ms: i64,
}
