//! From bytes to rows: JSON messages of the log and bodies of HTTP.
//!
//! A message is one JSON object or an array of objects, each a row. A plain row allocates nothing: its
//! strings borrow from the message. A bad row of an array is refused alone; a message that is no JSON
//! at all is refused as a whole, as row 0.
//!
//! | given | becomes |
//! |---|---|
//! | a field of the spec's columns | that column; twice is a fault |
//! | an unknown field (a metric's `id` too) | a field of the metadata; one already there under the same name wins |
//! | `null`, or "" where the column may be absent | absent |
//! | a name of [`CONTENT_FIELDS`], at any depth | a fault: conversation content is never stored |

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub(crate) mod metadata;
pub(crate) mod redact;

use crate::fault::{Fault, Reject};
use crate::limits::Limits;
use crate::{Activity, Metric};

pub use redact::CONTENT_FIELDS;

/// Where a message lies on the log. Every default and every bound on time follows from it and never from the
/// clock, so that reading it again gives the very same rows.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'o> {
    /// Topic.
    pub topic: &'o str,
    /// Partition.
    pub partition: u32,
    /// Offset.
    pub offset: u64,
    /// The log's time of the record, ms since the epoch. Over HTTP, where there is no record yet: now.
    pub log_time_ms: i64,
    /// What is allowed.
    pub limits: &'o Limits,
}

/// Decodes a message of [`METRICS`](crate::topics::METRICS) and hands `sink` each row with its number, in order.
pub fn metrics<'a>(
    payload: &'a [u8],
    origin: &Origin<'_>,
    sink: &mut impl FnMut(u32, Result<Metric<'a>, Reject<'a>>),
) {
    let _ = (payload, origin, sink);
}

/// Decodes a message of [`ACTIVITY`](crate::topics::ACTIVITY) and hands `sink` each row with its number, in order.
pub fn activities<'a>(
    payload: &'a [u8],
    origin: &Origin<'_>,
    sink: &mut impl FnMut(u32, Result<Activity<'a>, Reject<'a>>),
) {
    let _ = (payload, origin, sink);
}

/// Decodes one row that [`split_rows`] found: one object, no array.
pub fn metric<'a>(row: &RawRow<'a>, origin: &Origin<'_>) -> Result<Metric<'a>, Reject<'a>> {
    let _ = origin;
    Err(Reject::new(Fault::EmptyMessage, row.bytes))
}

/// Decodes one row that [`split_rows`] found: one object, no array.
pub fn activity<'a>(row: &RawRow<'a>, origin: &Origin<'_>) -> Result<Activity<'a>, Reject<'a>> {
    let _ = origin;
    Err(Reject::new(Fault::EmptyMessage, row.bytes))
}

/// How the rows of an HTTP body are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One JSON object, or an array of them.
    Json,
    /// One JSON object a line; empty lines are skipped.
    Ndjson,
}

/// One row of a body, not decoded yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawRow<'a> {
    /// Its place among the rows, from zero.
    pub index: u32,
    /// Its line in the body, from one, where a row is a line.
    pub line: Option<u32>,
    /// Its bytes, without the white space around.
    pub bytes: &'a [u8],
}

/// Cuts a body into its rows. Fails when the rows cannot be told apart, or are too many; a bad row shows
/// when it is decoded.
pub fn split_rows<'a>(body: &'a [u8], form: Form, limits: &Limits) -> Result<Vec<RawRow<'a>>, Fault> {
    let _ = (body, form, limits);
    Ok(Vec::new())
}
