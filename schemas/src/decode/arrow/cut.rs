//! A stream of any length cut into messages: each has the schema, the dictionaries as they stand there, and the record
//! batches that fit.

use std::collections::BTreeMap;

use arrow_buffer::Buffer;
use arrow_ipc::MessageHeader;

use super::refusal::invalid;
use super::stream::{Frames, MAX_BATCHES, begins_well};
use crate::fault::Fault;

/// Rows of a piece, unless one record batch has more: enough that a message's own cost does not count.
const PIECE_ROWS: usize = 8_192;
/// Bytes of a piece, unless one record batch has more: what Kafka takes by default, with room for headers.
const PIECE_BYTES: usize = 960 << 10;
/// What ends a stream.
const END: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// Cuts a stream that is in memory whole. What it yields is still to be read as any message; only then is it known
/// to be good.
#[derive(Debug)]
pub struct ArrowCutter {
    stream: Buffer,
    frames: Frames,
    schema: Buffer,
    /// The last one of each number.
    dictionaries: BTreeMap<i64, Buffer>,
    /// A record batch that did not fit into the piece before.
    waiting: Option<Batch>,
    rows: usize,
    batches: usize,
    is_first: bool,
}

/// A part of a stream that is a stream of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArrowPiece {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Number of its first row in the whole stream, from 0.
    pub first_row: usize,
    /// Number of its first record batch in the whole stream, from 0.
    pub first_batch: usize,
    /// Its rows, as its record batches state them.
    pub rows: usize,
    /// Its record batches.
    pub batches: usize,
}

#[derive(Debug)]
struct Batch {
    frame: Buffer,
    rows: usize,
}

impl ArrowCutter {
    /// Begins to cut. A stream that does not begin with a schema is refused.
    ///
    /// # Errors
    /// What is wrong with the stream's beginning.
    pub fn new(stream: Vec<u8>) -> Result<Self, Fault> {
        begins_well(&stream)?;
        let stream = Buffer::from(stream);
        let mut frames = Frames::new(stream.clone());
        let Some(first) = frames.next()? else { return Err(invalid("it has no schema")) };
        if first.message()?.header_type() != MessageHeader::Schema {
            return Err(invalid("it does not begin with a schema"));
        }
        let schema = stream.slice_with_length(0, stream.len() - frames.left());
        Ok(Self {
            stream,
            frames,
            schema,
            dictionaries: BTreeMap::new(),
            waiting: None,
            rows: 0,
            batches: 0,
            is_first: true,
        })
    }

    /// The next piece; `None` at the end. The first comes also where there is no record batch, so that its schema is read.
    ///
    /// # Errors
    /// What is wrong with the stream's frames after the last piece.
    pub fn next_piece(&mut self) -> Result<Option<ArrowPiece>, Fault> {
        let mut piece = self.begun();
        let mut dictionaries = self.dictionaries.len();
        // Of the record batch that comes, wherever it goes.
        let mut ahead: Vec<u8> = Vec::new();
        let mut is_new = std::mem::take(&mut self.is_first);
        if let Some(batch) = self.waiting.take() {
            self.add(&mut piece, &batch);
            is_new = true;
        }
        loop {
            let start = self.stream.len() - self.frames.left();
            let Some(frame) = self.frames.next()? else { break };
            let length = self.stream.len() - self.frames.left() - start;
            let bytes = self.stream.slice_with_length(start, length);
            let message = frame.message()?;
            if let Some(dictionary) = message.header_as_dictionary_batch() {
                ahead.extend_from_slice(&bytes);
                dictionaries += 1;
                self.dictionaries.insert(dictionary.id(), bytes);
                continue;
            }
            let Some(batch) = message.header_as_record_batch() else {
                return Err(invalid("it holds something other than record batches"));
            };
            let rows = usize::try_from(batch.length()).map_err(|_| invalid("a length is negative"))?;
            let batch = Batch { frame: bytes, rows };
            let is_full = piece.bytes.len() + ahead.len() + batch.frame.len() > PIECE_BYTES
                || piece.rows.saturating_add(rows) > PIECE_ROWS
                || piece.batches >= MAX_BATCHES
                || dictionaries > MAX_BATCHES;
            if is_full && piece.batches > 0 {
                ahead.clear();
                self.waiting = Some(batch);
                break;
            }
            piece.bytes.append(&mut ahead);
            self.add(&mut piece, &batch);
            is_new = true;
        }
        piece.bytes.append(&mut ahead);
        piece.bytes.extend_from_slice(&END);
        Ok(is_new.then_some(piece))
    }

    fn begun(&self) -> ArrowPiece {
        let mut bytes = self.schema.to_vec();
        self.dictionaries.values().for_each(|dictionary| bytes.extend_from_slice(dictionary));
        ArrowPiece { bytes, first_row: self.rows, first_batch: self.batches, rows: 0, batches: 0 }
    }

    fn add(&mut self, piece: &mut ArrowPiece, batch: &Batch) {
        piece.bytes.extend_from_slice(&batch.frame);
        piece.rows = piece.rows.saturating_add(batch.rows);
        piece.batches += 1;
        self.rows = self.rows.saturating_add(batch.rows);
        self.batches += 1;
    }
}
