//! Dead letters: pages of them, their reasons, and which were put on the log again.

use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, DictionaryArray, RecordBatch, StringArray, TimestampMillisecondArray, UInt16Array, UInt32Array,
    UInt64Array,
};
use clickhouse::Row;
use serde::Deserialize;

use crate::client::Store;
use crate::error::{Result, StoreError};
use crate::tables::Table;

/// Where a dead letter lay on the log. Its row is the place in the message's array, or 0.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LetterPlace {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: u16,
    /// Offset.
    pub offset: u64,
    /// Row of the message.
    pub row: u32,
}

/// Which dead letters; all that are set must match.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LetterFilter {
    /// Topic.
    pub topic: Option<String>,
    /// Reason codes; empty for all.
    pub codes: Vec<String>,
    /// Log time from which on, in milliseconds since 1970.
    pub since_ms: i64,
    /// Partition.
    pub partition: Option<u16>,
    /// Offset.
    pub offset: Option<u64>,
    /// Row of the message.
    pub row: Option<u32>,
}

/// Whether a dead letter was put on the log again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayState {
    /// It was not.
    Never,
    /// Somebody began to and did not finish: it may be on the log.
    Started {
        /// When, in milliseconds since 1970.
        at_ms: i64,
    },
    /// It was.
    Replayed {
        /// When, in milliseconds since 1970.
        at_ms: i64,
    },
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where it lay.
    pub place: LetterPlace,
    /// When the log took it, in milliseconds since 1970.
    pub log_time_ms: i64,
    /// Stable name of the reason.
    pub reason_code: String,
    /// The reason for people.
    pub reason: String,
    /// Content type it was sent with; empty for none.
    pub content_type: String,
    /// Bytes that are kept of it.
    pub size: u64,
    /// The first of them, as many as were asked for.
    pub bytes: Vec<u8>,
    /// Whether it was put on the log again.
    pub replay: ReplayState,
    /// The runs that began to and did not say how that ended.
    pub open_runs: Vec<String>,
}

/// A mark on a dead letter: who sets it, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplayMark<'r> {
    /// The run of a replay; no other has its name.
    pub run: &'r str,
    /// Now, in milliseconds since 1970.
    pub at_ms: i64,
}

/// Dead letters of one topic and reason.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
pub struct LetterReason {
    /// Topic.
    pub topic: String,
    /// Stable name of the reason.
    pub reason_code: String,
    /// How many.
    pub count: u64,
    /// When the log took the oldest, in milliseconds since 1970.
    pub oldest: i64,
    /// When the log took the newest, in milliseconds since 1970.
    pub newest: i64,
    /// The reason of the newest for people.
    pub newest_reason: String,
}

impl Store {
    /// The newest `max_rows` dead letters that match, each with its first `max_bytes` bytes.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn dead_letters(
        &self,
        filter: &LetterFilter,
        max_rows: u32,
        max_bytes: u32,
    ) -> Result<Vec<DeadLetter>> {
        let query = self
            .view("dead_letter_page")
            .await?
            .param("topic", filter.topic.as_deref().unwrap_or_default())
            .param("codes", &filter.codes)
            .param("since_ms", filter.since_ms)
            .param("log_partition", filter.partition.map_or(-1, i64::from))
            .param("log_offset", filter.offset.map_or(-1, |offset| i64::try_from(offset).unwrap_or(i64::MAX)))
            .param("log_row", filter.row.map_or(-1, i64::from))
            .param("max_bytes", max_bytes)
            .param("max_rows", max_rows);
        let rows: Vec<LetterRow> = self.ask("read dead letters", query.fetch_all()).await?;
        rows.into_iter().map(LetterRow::letter).collect()
    }

    /// At most `max_rows` dead letters that match and were not put on the log again, or `again` all that match, without
    /// their bytes: those never tried first, oldest first, and those that can only be left out last. Of the filter only
    /// topic, codes and time count.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn dead_letters_to_replay(
        &self,
        filter: &LetterFilter,
        again: bool,
        max_rows: u32,
    ) -> Result<Vec<DeadLetter>> {
        let query = self
            .view("dead_letters_to_replay")
            .await?
            .param("topic", filter.topic.as_deref().unwrap_or_default())
            .param("codes", &filter.codes)
            .param("since_ms", filter.since_ms)
            .param("again", u8::from(again))
            .param("max_rows", max_rows);
        let rows: Vec<LetterRow> = self.ask("read the dead letters to replay", query.fetch_all()).await?;
        rows.into_iter().map(LetterRow::letter).collect()
    }

    /// How many dead letters there are of each topic and reason since the filter's time, most first. Of the filter
    /// only topic, codes and time count.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn dead_letter_reasons(&self, filter: &LetterFilter) -> Result<Vec<LetterReason>> {
        let query = self
            .view("dead_letter_reasons")
            .await?
            .param("topic", filter.topic.as_deref().unwrap_or_default())
            .param("codes", &filter.codes)
            .param("since_ms", filter.since_ms);
        self.ask("count dead letters by their reason", query.fetch_all()).await
    }

    /// Notes that somebody is about to put the letter on the log again. To be called before anything is sent.
    ///
    /// # Errors
    /// When it is not certain that it was noted.
    pub async fn note_replay_started(&self, letter: &DeadLetter, mark: ReplayMark<'_>) -> Result<()> {
        self.note_replay(letter, "started", mark).await
    }

    /// Notes that the log has the letter again.
    ///
    /// # Errors
    /// When it is not certain that it was noted.
    pub async fn note_replayed(&self, letter: &DeadLetter, mark: ReplayMark<'_>) -> Result<()> {
        self.note_replay(letter, "replayed", mark).await
    }

    /// Notes that this run did not put the letter on the log again after all.
    ///
    /// # Errors
    /// When it is not certain that it was noted.
    pub async fn note_replay_refused(&self, letter: &DeadLetter, mark: ReplayMark<'_>) -> Result<()> {
        self.note_replay(letter, "refused", mark).await
    }

    /// One row under a token of all that is in it: sent again after a time-out it is there once.
    async fn note_replay(&self, letter: &DeadLetter, state: &str, mark: ReplayMark<'_>) -> Result<()> {
        let LetterPlace { topic, partition, offset, row } = &letter.place;
        let ReplayMark { run, at_ms } = mark;
        let text = |value: &str| -> ArrayRef { Arc::new(DictionaryArray::<Int32Type>::from_iter([value])) };
        let time = |ms: i64| -> ArrayRef {
            Arc::new(TimestampMillisecondArray::from(vec![ms]).with_timezone("UTC"))
        };
        let table = Table::DeadLetterReplays;
        let columns: Vec<ArrayRef> = vec![
            text(topic),
            Arc::new(UInt16Array::from(vec![*partition])),
            Arc::new(UInt64Array::from(vec![*offset])),
            Arc::new(UInt32Array::from(vec![*row])),
            time(letter.log_time_ms),
            Arc::new(StringArray::from_iter_values([run])),
            text(state),
            time(at_ms),
        ];
        let batch = RecordBatch::try_new(table.arrow_schema(), columns)
            .map_err(|error| StoreError::WrongBatch { table: table.name(), detail: error.to_string() })?;
        let token =
            format!("{topic}:{partition}:{offset}:{row}:{}:{run}:{state}:{at_ms}", letter.log_time_ms);
        self.insert(table, &batch, &token).await
    }
}

#[derive(Debug, Row, Deserialize)]
struct LetterRow {
    topic: String,
    log_partition: u16,
    log_offset: u64,
    log_row: u32,
    log_time: i64,
    reason_code: String,
    reason: String,
    content_type: String,
    size: u64,
    hex_bytes: String,
    replay_state: String,
    replay_at: i64,
    open_runs: Vec<String>,
}

impl LetterRow {
    fn letter(self) -> Result<DeadLetter> {
        let bytes = from_hex(&self.hex_bytes).ok_or_else(|| StoreError::Unexpected {
            action: "read dead letters".to_owned(),
            detail: "the bytes of one are not hexadecimal".to_owned(),
        })?;
        let replay = match self.replay_state.as_str() {
            "" => ReplayState::Never,
            "replayed" => ReplayState::Replayed { at_ms: self.replay_at },
            _ => ReplayState::Started { at_ms: self.replay_at },
        };
        Ok(DeadLetter {
            place: LetterPlace {
                topic: self.topic,
                partition: self.log_partition,
                offset: self.log_offset,
                row: self.log_row,
            },
            log_time_ms: self.log_time,
            reason_code: self.reason_code,
            reason: self.reason,
            content_type: self.content_type,
            size: self.size,
            bytes,
            replay,
            open_runs: self.open_runs,
        })
    }
}

/// The bytes of a text of two hexadecimal digits each: any bytes pass a column of text that way.
fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_is_read_back() {
        assert_eq!(from_hex("00FFa1").unwrap(), [0, 0xff, 0xa1]);
        assert_eq!(from_hex("").unwrap(), Vec::<u8>::new());
        assert_eq!(from_hex("0"), None);
        assert_eq!(from_hex("0g"), None);
    }
}
