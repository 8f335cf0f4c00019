//! What a batch cannot take, with its reason and its bytes, as a block of its own.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{BinaryBuilder, StringBuilder};
use kelly_schemas::Reject;
use kelly_sql::Table;

use crate::block::Block;
use crate::columns::{self, Origins};
use crate::dictionary::Dictionary;

/// Bytes of a bad message that are kept: what Kafka takes as a message by default. The log itself
/// has the rest for as long as it keeps it.
pub const MAX_KEPT_BYTES: usize = 1 << 20;

/// Bytes of a content-type header that are kept.
const MAX_CONTENT_TYPE_BYTES: usize = 200;

/// Bytes a letter takes besides its texts: its numbers and the places of its texts.
const LETTER_BYTES: usize = 48;

/// Why and where.
#[derive(Debug, Clone, Copy)]
pub struct Letter<'a> {
    /// Offset of the message.
    pub offset: u64,
    /// Row in the message.
    pub row: u32,
    /// Log time of the message, ms.
    pub log_time_ms: i64,
    /// The message's content type as it was sent, empty for none.
    pub content_type: &'a str,
    /// Stable name of the reason.
    pub code: &'a str,
    /// The reason for people.
    pub reason: &'a str,
    /// What is kept of the bytes.
    pub bytes: &'a [u8],
}

/// Accumulates dead letters.
#[derive(Default)]
pub struct DeadLetters {
    log_times: Vec<i64>,
    codes: (Dictionary, Vec<i32>),
    reasons: StringBuilder,
    content_types: (Dictionary, Vec<i32>),
    bytes: BinaryBuilder,
    origins: Origins,
    size: usize,
}

impl DeadLetters {
    /// Adds one.
    pub fn push(&mut self, letter: Letter<'_>) {
        let kept = &letter.bytes[..letter.bytes.len().min(MAX_KEPT_BYTES)];
        self.log_times.push(letter.log_time_ms);
        let code = self.codes.0.intern(letter.code);
        self.codes.1.push(code as i32);
        self.reasons.append_value(letter.reason);
        let content_type = self.content_types.0.intern(start_of(letter.content_type, MAX_CONTENT_TYPE_BYTES));
        self.content_types.1.push(content_type as i32);
        self.bytes.append_value(kept);
        self.origins.push(letter.offset, letter.row);
        self.size += LETTER_BYTES + letter.reason.len() + kept.len();
    }

    /// Adds a refused row. Conversation content is cut out of what is kept.
    pub fn reject(
        &mut self,
        reject: &Reject<'_>,
        offset: u64,
        row: u32,
        log_time_ms: i64,
        content_type: &str,
    ) {
        self.push(Letter {
            offset,
            row,
            log_time_ms,
            content_type,
            code: reject.fault.code(),
            reason: &reject.fault.to_string(),
            bytes: &reject.kept_bytes(),
        });
    }

    /// Letters added.
    pub fn rows(&self) -> usize {
        self.log_times.len()
    }

    /// Bytes they take.
    pub fn bytes(&self) -> usize {
        self.size
    }

    /// The block.
    pub fn finish(self, topic: &str, partition: u32) -> Block {
        let mut topics = Dictionary::default();
        topics.intern(topic);
        let rows = self.log_times.len();
        let mut all: Vec<ArrayRef> = vec![Arc::new(topics.column(vec![0; rows]))];
        all.extend(self.origins.columns(partition));
        all.extend([
            columns::milliseconds(self.log_times),
            Arc::new(self.codes.0.column(self.codes.1)) as ArrayRef,
            columns::finish_text(self.reasons),
            Arc::new(self.content_types.0.column(self.content_types.1)),
            columns::finish_bytes(self.bytes),
        ]);
        Block::new(Table::DeadLetters, all)
    }
}

/// The beginning of a text, cut between characters.
fn start_of(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}
