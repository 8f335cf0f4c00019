//! What becomes of a body.

use std::time::Duration;

use arrow_schema::ArrowError;
use kelly_schemas::Fault;
use kelly_stream::{LogError, NewRecord};
use tokio::task::JoinError;
use uuid::Uuid;

/// Bad rows reported one by one; of more only their number is given.
pub const MAX_REPORTED: usize = 50;

/// A body that is on the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Rows.
    pub rows: usize,
    /// Ids of the events, in the order of the body; empty for metrics.
    pub ids: Vec<Uuid>,
}

/// A row that is not taken, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct BadRow {
    /// Its place in the body, from 0.
    pub index: u32,
    /// Its line, from 1, in NDJSON.
    pub line: Option<u32>,
    /// Why.
    pub fault: Fault,
}

/// Why nothing of a body was taken.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The body cannot be read as rows at all.
    #[error("the body cannot be read")]
    Body(#[source] Fault),
    /// Some rows are bad.
    #[error("{total} of {rows} rows are not valid")]
    Rows {
        /// The first [`MAX_REPORTED`] of them.
        bad: Vec<BadRow>,
        /// How many there are.
        total: usize,
        /// How many rows the body has.
        rows: usize,
    },
    /// The sender may not record so many rows now.
    #[error("the sender has recorded as many rows as it may for now")]
    OverBudget {
        /// When it is worth trying again.
        retry_after: Duration,
    },
    /// The good rows of an Arrow body could not be written as messages.
    #[error("the rows cannot be written as Arrow messages")]
    Encoding(#[source] ArrowError),
    /// The check of an Arrow body ended before its time: this process is stopping, or has a defect.
    #[error("checking the rows was broken off")]
    BrokenOff(#[source] JoinError),
    /// The log did not take it.
    #[error("the log did not take the rows")]
    Log(#[source] LogError),
}

/// A body whose rows are all good.
pub(super) struct Checked {
    pub(super) rows: usize,
    pub(super) ids: Vec<Uuid>,
    pub(super) records: Vec<NewRecord>,
}
