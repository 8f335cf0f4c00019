//! One batch: the records of one range of offsets of one partition, and the blocks they become.
//!
//! Which rows a range becomes depends on the records and the [`Rules`] alone, never on a clock:
//! whoever replays the range builds the same blocks.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use kelly_schemas::decode::{self, ARROW_STREAM, ArrowMessage, Origin};
use kelly_schemas::{Limits, Stream};
use kelly_sql::evidence;
use kelly_stream::Record;

use crate::activity_blocks::ActivityBlocks;
use crate::arrow_rows;
use crate::block::Block;
use crate::dead_letters::{DeadLetters, Letter};
use crate::journal::Horizon;
use crate::metric_blocks::{MetricBlocks, MetricOrigin};
use crate::rollup_block::Mark;
use crate::shape::{Nonce, Range};

/// Bytes at which a batch is closed whatever is configured: the texts of a column are numbered in 31 bits, and one more
/// message, which is never cut, must still fit.
pub(crate) const MAX_BATCH_BYTES: usize = 1 << 30;

/// How long raw metrics are kept, as the batches to come are to know it: another role may change it. Clones share it.
#[derive(Debug, Clone)]
pub struct RawRetention(Arc<AtomicI64>);

impl RawRetention {
    /// So many milliseconds, until it is set again.
    pub fn new(milliseconds: i64) -> Self {
        Self(Arc::new(AtomicI64::new(milliseconds)))
    }

    /// From now on so many milliseconds. A batch that is open stays as it was begun.
    pub fn set(&self, milliseconds: i64) {
        self.0.store(milliseconds, Ordering::Relaxed);
    }

    /// As it was set last, ms.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What decides over rows besides the records themselves.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Bounds of messages and times.
    pub limits: Limits,
    /// How long raw metrics are kept, ms; older ones go to the rollups alone.
    pub raw_retention_ms: i64,
}

impl Rules {
    /// The part of the rules that follows the configuration.
    pub fn horizon(&self) -> Horizon {
        Horizon { max_age_ms: self.limits.max_age_ms, raw_retention_ms: self.raw_retention_ms }
    }

    /// The same rules under another configuration.
    pub fn under(self, horizon: Horizon) -> Self {
        let limits = Limits { max_age_ms: horizon.max_age_ms, ..self.limits };
        Self { limits, raw_retention_ms: horizon.raw_retention_ms }
    }
}

/// A closed batch.
#[derive(Debug)]
pub struct Batch {
    /// The offsets it covers.
    pub range: Range,
    /// Blocks that have rows, dead letters first.
    pub blocks: Vec<Block>,
    /// Records, rows and refusals in it.
    pub size: Size,
    /// The configuration under which its rows were made.
    pub horizon: Horizon,
}

/// How much is in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Size {
    /// Messages.
    pub records: usize,
    /// Bytes of their payloads, of Arrow messages what their rows take where that is more, and of what is kept of the
    /// refused ones.
    pub bytes: usize,
    /// Rows taken.
    pub rows: usize,
    /// Rows or messages refused.
    pub dead_letters: usize,
}

enum Rows {
    Metrics(Box<MetricBlocks>),
    Activity(Box<ActivityBlocks>),
}

/// Accumulates the records of a range.
pub struct BatchBuilder {
    stream: Stream,
    partition: u32,
    rules: Rules,
    rows: Rows,
    dead_letters: DeadLetters,
    size: Size,
    start: u64,
    /// Offset after the last record seen.
    next: u64,
}

impl BatchBuilder {
    /// An empty batch of a stream's partition that begins at `start`.
    pub fn new(stream: Stream, partition: u32, start: u64, rules: Rules) -> Self {
        let rows = match stream {
            Stream::Metrics => Rows::Metrics(Box::default()),
            Stream::Activity => Rows::Activity(Box::default()),
        };
        let dead_letters = DeadLetters::default();
        Self { stream, partition, rules, rows, dead_letters, size: Size::default(), start, next: start }
    }

    /// Decodes a record into the batch. Nothing in it can fail: what is wrong becomes a dead letter.
    pub fn push(&mut self, record: &Record<'_>) {
        self.size.records += 1;
        self.size.bytes += record.payload.len();
        self.next = record.offset + 1;
        let content_type = record.content_type.unwrap_or_default();
        let form = form(content_type);
        let origin = Origin {
            partition: record.partition,
            offset: record.offset,
            log_time_ms: record.timestamp_ms,
            limits: &self.rules.limits,
        };
        let dead_letters = &mut self.dead_letters;
        match (&mut self.rows, form) {
            (Rows::Metrics(blocks), Some(Form::Arrow)) => {
                let message = match ArrowMessage::read(record.payload, origin.limits) {
                    Ok(message) => message,
                    Err(reject) => {
                        dead_letters.reject(&reject, record.offset, 0, record.timestamp_ms, content_type);
                        return;
                    }
                };
                // A small message may hold many rows: where they take more than it, they are what is counted.
                self.size.bytes += message.written_out_bytes().saturating_sub(record.payload.len());
                let oldest_raw = record.timestamp_ms.saturating_sub(self.rules.raw_retention_ms);
                arrow_rows::push(&message, &origin, oldest_raw, blocks, &mut |row, reject| {
                    dead_letters.reject(reject, record.offset, row, record.timestamp_ms, ROW_OF_ARROW);
                });
            }
            (Rows::Metrics(blocks), Some(Form::Json)) => {
                let oldest_raw = record.timestamp_ms.saturating_sub(self.rules.raw_retention_ms);
                decode::metrics(record.payload, &origin, &mut |row, result| match result {
                    Ok(metric) => {
                        let (offset, log_time_ms) = (record.offset, record.timestamp_ms);
                        let from = MetricOrigin { offset, row, log_time_ms };
                        blocks.push(&metric, from, metric.timestamp_ms >= oldest_raw);
                    }
                    Err(reject) => {
                        dead_letters.reject(&reject, record.offset, row, record.timestamp_ms, content_type);
                    }
                });
            }
            (Rows::Activity(blocks), Some(Form::Json)) => {
                decode::activities(record.payload, &origin, &mut |row, result| match result {
                    Ok(event) => blocks.push(&event, record.offset, row),
                    Err(reject) => {
                        dead_letters.reject(&reject, record.offset, row, record.timestamp_ms, content_type);
                    }
                })
            }
            (Rows::Activity(_), Some(Form::Arrow)) => dead_letters.push(Letter {
                reason: "events are taken as JSON only; send them so",
                ..unsupported(record, content_type, &decode::redacted(record.payload))
            }),
            (_, None) => dead_letters.push(Letter {
                reason: "the content-type header is neither application/json nor \
                         application/vnd.apache.arrow.stream (metrics only); send one of these, or JSON without the header",
                ..unsupported(record, content_type, &decode::redacted(record.payload))
            }),
        }
    }

    /// Notes that retention removed `[expected, found)` before it was read; `log_time_ms` is that of
    /// the next record, so that a replay dates the letter alike.
    pub fn note_gap(&mut self, expected: u64, found: u64, log_time_ms: i64) {
        self.dead_letters.push(Letter {
            offset: expected,
            row: 0,
            log_time_ms,
            content_type: "",
            code: "lost_to_retention",
            reason: &format!(
                "the log removed offsets {expected} to {} before they were read; keep the log longer or ingest sooner",
                found.saturating_sub(1)
            ),
            bytes: b"",
        });
        self.next = self.next.max(found);
    }

    /// Notes that everything before `next` has come: the offsets from the last record to there hold none.
    pub fn pass_to(&mut self, next: u64) {
        self.next = self.next.max(next);
    }

    /// How much came.
    pub fn size(&self) -> Size {
        let rows = match &self.rows {
            Rows::Metrics(blocks) => blocks.rows(),
            Rows::Activity(blocks) => blocks.rows(),
        };
        let bytes = self.size.bytes + self.dead_letters.bytes();
        Size { rows, bytes, dead_letters: self.dead_letters.rows(), ..self.size }
    }

    /// Offset after the last record.
    pub fn next_offset(&self) -> u64 {
        self.next
    }

    /// Closes at the last record, or at the end that was declared for it, in a generation of the partition.
    pub fn close(self, declared_end: Option<u64>, generation: Nonce) -> Batch {
        let size = self.size();
        let range = Range { start: self.start, end: declared_end.unwrap_or(self.next) };
        let (topic, partition) = (self.stream.topic(), self.partition);
        let mut blocks = Vec::new();
        if size.dead_letters > 0 {
            blocks.push(self.dead_letters.finish(topic, partition));
        }
        blocks.extend(match self.rows {
            Rows::Metrics(rows) => {
                let name = evidence::marker_name(topic, partition, generation);
                rows.finish(partition, &Mark { name, range }).into()
            }
            Rows::Activity(rows) => rows.finish(partition),
        });
        blocks.retain(|block| block.rows.num_rows() > 0);
        Batch { range, blocks, size, horizon: self.rules.horizon() }
    }
}

/// How a message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Arrow,
}

/// The form a content type names; JSON where there is none.
fn form(content_type: &str) -> Option<Form> {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if essence.is_empty() || essence.eq_ignore_ascii_case("application/json") {
        Some(Form::Json)
    } else if essence.eq_ignore_ascii_case(ARROW_STREAM) {
        Some(Form::Arrow)
    } else {
        None
    }
}

/// The content type of a dead letter whose bytes are a row of an Arrow message, written as JSON: in that form it can be
/// corrected and sent again.
const ROW_OF_ARROW: &str = "application/json; from=arrow";

/// The letter of a message whose type is not taken, but for its reason. Nothing says what its bytes are, so they come
/// redacted.
fn unsupported<'a>(record: &Record<'_>, content_type: &'a str, redacted: &'a [u8]) -> Letter<'a> {
    Letter {
        offset: record.offset,
        row: 0,
        log_time_ms: record.timestamp_ms,
        content_type,
        code: "unsupported_content_type",
        reason: "",
        bytes: redacted,
    }
}
