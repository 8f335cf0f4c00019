//! From bytes to rows: JSON and Arrow messages of the log and bodies of HTTP.
//!
//! A message is one JSON object or an array of objects, each a row. A plain row allocates nothing: its
//! strings borrow from the message. A bad row of an array is refused alone; a message that is no JSON
//! at all is refused as a whole, as row 0.
//!
//! | given | becomes |
//! |---|---|
//! | a field of the spec's columns | that column; twice is a fault |
//! | `created_at` of a metric, `timestamp` of an event | its time, as under the other name; both are a fault |
//! | an unknown field (a metric's `id` too) | a field of the metadata; one already there under the same name is a fault |
//! | `time`, `ts`, `@timestamp`, `createdAt` … of a row without a time | a fault that says the right name |
//! | `null`, or "" where the column may be absent | absent |
//! | a name of [`CONTENT_FIELDS`], at any depth | a fault: conversation content is never stored |

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

mod arrow;
mod columns;
mod json_text;
mod message;
pub(crate) mod metadata;
mod origin;
mod parser_error;
pub(crate) mod redact;
mod row;
mod split;
mod timestamp;
mod value;

use crate::fault::Reject;
use crate::{Activity, Metric};
use columns::{ActivityDraft, MetricDraft};

pub use arrow::{
    ARROW_STREAM, ArrowCutter, ArrowMessage, ArrowMetric, ArrowPiece, ArrowText, DistinctTexts,
    MAX_WRITTEN_OUT_BYTES, MetricColumns, ROW_BYTES, Rendering,
};
pub use message::without_byte_order_mark;
pub use origin::Origin;
pub use redact::{CONTENT_FIELDS, content_field, names_content, redacted};
pub use split::{Form, RawRow, split_rows};
pub use timestamp::is_other_time_name;

/// Decodes a message of [`Stream::Metrics`](crate::Stream::Metrics) and hands `sink` each row with its number, in order.
pub fn metrics<'a>(
    payload: &'a [u8],
    origin: &Origin<'_>,
    sink: &mut impl FnMut(u32, Result<Metric<'a>, Reject<'a>>),
) {
    message::decode::<MetricDraft<'a>>(payload, origin, sink);
}

/// Decodes a message of [`Stream::Activity`](crate::Stream::Activity) and hands `sink` each row with its number, in order.
pub fn activities<'a>(
    payload: &'a [u8],
    origin: &Origin<'_>,
    sink: &mut impl FnMut(u32, Result<Activity<'a>, Reject<'a>>),
) {
    message::decode::<ActivityDraft<'a>>(payload, origin, sink);
}

/// Decodes one row that [`split_rows`] found: one object, no array.
pub fn metric<'a>(row: &RawRow<'a>, origin: &Origin<'_>) -> Result<Metric<'a>, Reject<'a>> {
    split::decode_row::<MetricDraft<'a>>(row, origin)
}

/// Decodes one row that [`split_rows`] found: one object, no array.
pub fn activity<'a>(row: &RawRow<'a>, origin: &Origin<'_>) -> Result<Activity<'a>, Reject<'a>> {
    split::decode_row::<ActivityDraft<'a>>(row, origin)
}
