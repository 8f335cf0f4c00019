//! When batches are closed, and how much may wait.

use std::time::Duration;

/// When a batch is closed: by whichever comes first.
#[derive(Debug, Clone, Copy)]
pub struct BatchBounds {
    /// Rows, refused ones included. One message may exceed it, for it is never cut.
    pub max_rows: usize,
    /// Bytes, as [`Size`](crate::Size) counts them. One message may exceed it too.
    pub max_bytes: usize,
    /// Time since its first record: the greatest part of the way from produced to queryable.
    pub max_age: Duration,
    /// Bytes of all batches that are closed and not yet written; at the bound no record is taken any more and every
    /// partition is paused. The batch that reached it and the open batch of each partition come on top.
    pub max_buffered_bytes: usize,
}

impl BatchBounds {
    pub(crate) fn are_reached_by(&self, buffered_bytes: u64) -> bool {
        buffered_bytes > self.max_buffered_bytes as u64
    }
}

impl Default for BatchBounds {
    fn default() -> Self {
        Self {
            max_rows: 250_000,
            max_bytes: 48 << 20,
            max_age: Duration::from_millis(1_200),
            max_buffered_bytes: 256 << 20,
        }
    }
}
