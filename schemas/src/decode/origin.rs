//! Where a message comes from.

use crate::limits::Limits;

/// Where a message lies in its topic. Every default and every bound on time follows from it and never from the
/// clock, so that reading it again gives the very same rows.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'o> {
    /// Partition.
    pub partition: u32,
    /// Offset.
    pub offset: u64,
    /// The log's time of the record, ms since the epoch. Over HTTP, where there is no record yet: now.
    pub log_time_ms: i64,
    /// What is allowed.
    pub limits: &'o Limits,
}
