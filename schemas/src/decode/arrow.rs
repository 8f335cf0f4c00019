//! Arrow messages: an IPC stream of thousands of metrics, a column each.
//!
//! The values obey the very rules of JSON rows. What differs is where they are looked at: where rows share the texts of
//! a dictionary, each text is checked once a record batch, and a row costs look-ups and no allocation.
//!
//! | column | types | |
//! |---|---|---|
//! | `metric_name` | text | required |
//! | `value` | Float64, Float32, any integer | required |
//! | `timestamp` (or `created_at`) | Timestamp of any unit with a time zone, Int64 of epoch milliseconds, text in RFC 3339 | |
//! | `metric_type`, `account_id`, `conversation_id`, `user_id` | text | |
//! | `metadata` | text: one JSON object | |
//!
//! An optional column may also be of the type Null: some producers write one that says nothing so.
//!
//! Text is Utf8, LargeUtf8, Utf8View, or a dictionary of Utf8 or LargeUtf8 with any integer as key. Null is
//! absent, and "" where the column may be absent. Any other column refuses the message by name: a column is
//! a decision of its producer's program, not of a row, and is corrected there. A bad row is refused alone.
//!
//! A message is hostile until shown otherwise: [`stream`] looks at every length and offset before the Arrow
//! library may, and the work on a record batch is bounded by its rows and by the bytes that are there.

mod columns;
mod cut;
mod refusal;
mod rows;
mod schema;
mod stream;

use std::fmt::Write;

use arrow_array::RecordBatch;

use self::refusal::Refusal;
use super::metadata::shown;
use crate::fault::{Fault, Reject};
use crate::limits::Limits;

pub use columns::MAX_WRITTEN_OUT_BYTES;
pub use cut::{ArrowCutter, ArrowPiece};
pub use rows::{ArrowMetric, ArrowText, DistinctTexts, MetricColumns, Rendering};

/// The `content-type` of an Arrow message.
pub const ARROW_STREAM: &str = "application/vnd.apache.arrow.stream";

/// Bytes a row takes in a batch besides its texts: its numbers, the places of its texts, where it lay on the log.
pub const ROW_BYTES: usize = 80;

/// An Arrow message that can be read. Its rows are still to be checked.
#[derive(Debug)]
pub struct ArrowMessage {
    batches: Vec<RecordBatch>,
    rows: usize,
    written_out: usize,
}

impl ArrowMessage {
    /// Reads a message of [`Stream::Metrics`](crate::Stream::Metrics): its structure, its schema and the validity of its
    /// arrays. What is wrong with any of these is wrong with the whole message.
    pub fn read(payload: &[u8], limits: &Limits) -> Result<Self, Reject<'static>> {
        let refuse =
            |refusal: Refusal| Reject::rendered(refusal.fault, describe(payload.len(), &refusal.columns));
        let stream = stream::read(payload, limits).map_err(refuse)?;
        let rows = stream.batches.iter().map(RecordBatch::num_rows).sum();
        let written_out =
            stream.batches.iter().map(columns::written_out_bytes).fold(0, usize::saturating_add);
        if written_out > MAX_WRITTEN_OUT_BYTES {
            let fault = Fault::TextsTooLarge { bytes: written_out, limit: MAX_WRITTEN_OUT_BYTES };
            return Err(refuse(Refusal { fault, columns: stream.columns }));
        }
        Ok(Self { batches: stream.batches, rows, written_out })
    }

    /// Rows of all its record batches.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// What its rows take in a batch, never less: the texts that are kept in full for every row, at most
    /// [`MAX_WRITTEN_OUT_BYTES`], and [`ROW_BYTES`] for the rest of a row. Names, types and accounts are kept once a
    /// batch and do not count.
    #[must_use]
    pub fn written_out_bytes(&self) -> usize {
        self.written_out + self.rows * ROW_BYTES
    }

    /// Its record batches in order. A row's number goes on from one to the next.
    pub fn batches(&self) -> impl Iterator<Item = MetricColumns<'_>> {
        self.batches.iter().scan(0, |first_row, batch| {
            let columns = MetricColumns::new(batch, *first_row);
            *first_row += batch.num_rows() as u32;
            Some(columns)
        })
    }
}

/// What a dead letter keeps of a message that is refused whole: its size and its columns, nothing of its rows. The log
/// still has the message.
fn describe(bytes: usize, columns: &[(String, String)]) -> Vec<u8> {
    let mut text = format!("{{\"content_type\":\"{ARROW_STREAM}\",\"bytes\":{bytes},\"columns\":{{");
    for (position, (name, kind)) in columns.iter().enumerate() {
        let comma = if position == 0 { "" } else { "," };
        let (name, kind) = (serde_json::Value::from(shown(name)), serde_json::Value::from(kind.as_str()));
        // Writing to a String cannot fail.
        let _ = write!(text, "{comma}{name}:{kind}");
    }
    text.push_str("}}");
    text.into_bytes()
}
