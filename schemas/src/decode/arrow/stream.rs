//! The frames of an IPC stream. Arrow's own reader trusts the lengths and offsets that a message states about
//! itself: it reserves memory by them and panics where one lies outside. So each is checked here first.

use std::collections::HashMap;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_buffer::Buffer;
use arrow_ipc::reader::{read_dictionary, read_record_batch};
use arrow_ipc::{Message, MessageHeader};
use arrow_schema::{DataType, Schema, SchemaRef};
use flatbuffers::VerifierOptions;

use super::columns::MAX_WRITTEN_OUT_BYTES;
use super::refusal::{Refusal, invalid};
use super::schema;
use crate::fault::Fault;
use crate::limits::Limits;

/// Record batches and dictionaries a message may have, each: work that is done once a batch stays small beside its rows.
pub(super) const MAX_BATCHES: usize = 256;
/// Buffers of one batch: a few a column, and more only for the pieces of views.
const MAX_BUFFERS: usize = 4_096;
/// Bytes of one message's metadata, also when what it shares is counted as often as it is referred to.
const MAX_METADATA_BYTES: usize = 1 << 20;
/// Bytes of a view: four of length, and the text or where it lies.
const VIEW_BYTES: usize = 16;
/// Marks a frame; streams older than Arrow 0.15 have none.
const CONTINUATION: u32 = u32::MAX;

/// How the other form of Arrow's IPC begins.
const FILE_MAGIC: &[u8] = b"ARROW1";

/// What a stream holds.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) batches: Vec<RecordBatch>,
    /// Name and type of its columns, for people.
    pub(super) columns: Vec<(String, String)>,
}

/// Reads all of a stream.
pub(super) fn read(payload: &[u8], limits: &Limits) -> Result<Stream, Refusal> {
    if payload.len() > limits.max_arrow_message_bytes {
        let limit = limits.max_arrow_message_bytes;
        return Err(Fault::MessageTooLarge { bytes: payload.len(), limit }.into());
    }
    begins_well(payload)?;
    // Copied once, so that the arrays can lie in it aligned.
    let mut frames = Frames::new(Buffer::from(payload));
    let Some(first) = frames.next()? else {
        return Err(invalid("it has no schema").into());
    };
    let message = first.message()?;
    let Some(given) = message.header_as_schema() else {
        return Err(invalid("it does not begin with a schema").into());
    };
    let columns = schema::shown_columns(&given);
    let mut reader = BatchReader {
        schema: schema::admit(given)?,
        dictionaries: HashMap::new(),
        dictionaries_read: 0,
        batches_read: 0,
        batches: Vec::new(),
        rows: 0,
        max_rows: limits.max_arrow_rows,
    };
    let read = reader.read(&mut frames);
    match read {
        Ok(()) => Ok(Stream { batches: reader.batches, columns }),
        Err(fault) => Err(Refusal { fault, columns }),
    }
}

/// Tells apart what is often taken for a stream.
pub(super) fn begins_well(payload: &[u8]) -> Result<(), Fault> {
    if matches!(payload.trim_ascii_start().first(), Some(b'{' | b'[')) {
        return Err(invalid("it seems to be JSON, whose content type is application/json"));
    }
    if payload.starts_with(FILE_MAGIC) {
        return Err(invalid("it is an Arrow file (also named Feather), which has a footer"));
    }
    Ok(())
}

/// The frames of a stream, one after the other.
#[derive(Debug)]
pub(super) struct Frames {
    rest: Buffer,
}

/// One message of a stream.
pub(super) struct Frame {
    metadata: Buffer,
    body: Buffer,
}

impl Frames {
    pub(super) fn new(stream: Buffer) -> Self {
        Self { rest: stream }
    }

    /// Bytes not taken yet.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    /// The next frame; `None` at the end of the stream.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, Fault> {
        let Some(mut length) = self.take_u32()? else { return Ok(None) };
        if length == CONTINUATION {
            length = self.take_u32()?.ok_or_else(broken_off)?;
        }
        if length == 0 {
            return if self.rest.is_empty() { Ok(None) } else { Err(invalid("bytes follow its end")) };
        }
        let metadata = self.take(length as usize)?;
        let body_bytes = verified(&metadata)?.bodyLength();
        let body = self.take(usize::try_from(body_bytes).map_err(|_| invalid("a length is negative"))?)?;
        Ok(Some(Frame { metadata, body }))
    }

    /// `None` where nothing is left at all: a stream may end without a mark.
    fn take_u32(&mut self) -> Result<Option<u32>, Fault> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let bytes = self.take(size_of::<u32>())?;
        let bytes = bytes.as_slice().try_into().map_err(|_| broken_off())?;
        Ok(Some(u32::from_le_bytes(bytes)))
    }

    fn take(&mut self, bytes: usize) -> Result<Buffer, Fault> {
        if bytes > self.rest.len() {
            return Err(broken_off());
        }
        let taken = self.rest.slice_with_length(0, bytes);
        self.rest.advance(bytes);
        Ok(taken)
    }
}

impl Frame {
    pub(super) fn message(&self) -> Result<Message<'_>, Fault> {
        verified(&self.metadata)
    }
}

fn broken_off() -> Fault {
    invalid("it breaks off; was it cut to a size?")
}

fn verified(metadata: &[u8]) -> Result<Message<'_>, Fault> {
    let options = VerifierOptions {
        max_depth: 32,
        max_tables: 8_192,
        max_apparent_size: MAX_METADATA_BYTES,
        ignore_missing_null_terminator: true,
    };
    arrow_ipc::root_as_message_with_opts(&options, metadata)
        .map_err(|_| invalid("the description of a part of it is broken or too large"))
}

struct BatchReader {
    schema: SchemaRef,
    dictionaries: HashMap<i64, ArrayRef>,
    dictionaries_read: usize,
    batches_read: usize,
    /// Those that have rows.
    batches: Vec<RecordBatch>,
    rows: usize,
    max_rows: usize,
}

impl BatchReader {
    fn read(&mut self, frames: &mut Frames) -> Result<(), Fault> {
        while let Some(frame) = frames.next()? {
            let message = frame.message()?;
            match message.header_type() {
                MessageHeader::RecordBatch => self.record_batch(&frame, &message)?,
                MessageHeader::DictionaryBatch => self.dictionary(&frame, &message)?,
                MessageHeader::Schema => return Err(invalid("it has a second schema; one stream a message")),
                _ => return Err(invalid("it holds something other than record batches")),
            }
        }
        Ok(())
    }

    fn record_batch(&mut self, frame: &Frame, message: &Message<'_>) -> Result<(), Fault> {
        let batch = message.header_as_record_batch().ok_or_else(|| invalid("a record batch is empty"))?;
        self.batches_read += 1;
        if self.batches_read > MAX_BATCHES {
            return Err(invalid(format!("it has more than {MAX_BATCHES} record batches")));
        }
        let rows = usize::try_from(batch.length()).map_err(|_| invalid("a length is negative"))?;
        self.rows = self.rows.saturating_add(rows);
        if self.rows > self.max_rows {
            return Err(Fault::TooManyRows { limit: self.max_rows });
        }
        let types: Vec<&DataType> = self.schema.fields().iter().map(|field| field.data_type()).collect();
        verify_extents(&batch, &types, &frame.body)?;
        if rows == 0 {
            return Ok(());
        }
        let (schema, version) = (SchemaRef::clone(&self.schema), message.version());
        let read = read_record_batch(&frame.body, batch, schema, &self.dictionaries, None, &version)
            .map_err(|error| unreadable("a record batch", &error))?;
        self.batches.push(read);
        Ok(())
    }

    fn dictionary(&mut self, frame: &Frame, message: &Message<'_>) -> Result<(), Fault> {
        let dictionary =
            message.header_as_dictionary_batch().ok_or_else(|| invalid("a dictionary is empty"))?;
        if dictionary.isDelta() {
            return Err(invalid("it has a delta dictionary; send whole dictionaries"));
        }
        self.dictionaries_read += 1;
        if self.dictionaries_read > MAX_BATCHES {
            return Err(invalid(format!("it has more than {MAX_BATCHES} dictionaries")));
        }
        let values = dictionary.data().ok_or_else(|| invalid("a dictionary is empty"))?;
        let count = usize::try_from(values.length()).map_err(|_| invalid("a length is negative"))?;
        if count > self.max_rows {
            return Err(Fault::DictionaryTooLarge { values: count, limit: self.max_rows });
        }
        let value_type = value_type(&self.schema, dictionary.id())
            .ok_or_else(|| invalid("a dictionary belongs to no column"))?;
        verify_extents(&values, &[value_type], &frame.body)?;
        let schema = SchemaRef::clone(&self.schema);
        read_dictionary(&frame.body, dictionary, &schema, &mut self.dictionaries, &message.version())
            .map_err(|error| unreadable("a dictionary", &error))
    }
}

/// The type of the values of the dictionary with this number.
fn value_type(schema: &Schema, id: i64) -> Option<&DataType> {
    schema.fields().iter().find_map(|field| match field.data_type() {
        #[expect(deprecated, reason = "the successor exists for writers only")]
        DataType::Dictionary(_, values) if field.dict_id() == Some(id) => Some(&**values),
        _ => None,
    })
}

/// Arrow's own words about an array it read: places, lengths and types, never a value. Types can be long.
fn unreadable(part: &str, error: &arrow_schema::ArrowError) -> Fault {
    const SHOWN_CHARACTERS: usize = 120;
    let shown: String = error.to_string().chars().take(SHOWN_CHARACTERS).collect();
    invalid(format!("{part} is not valid: {shown}"))
}

/// Refuses a batch that states a length or an offset outside of itself.
fn verify_extents(batch: &arrow_ipc::RecordBatch<'_>, types: &[&DataType], body: &[u8]) -> Result<(), Fault> {
    if batch.compression().is_some() {
        return Err(invalid(
            "its buffers are compressed; leave that to the log (compression.type of the producer)",
        ));
    }
    let (Some(nodes), Some(buffers)) = (batch.nodes(), batch.buffers()) else {
        return Err(invalid("a batch has no columns"));
    };
    let same_length = |node: &arrow_ipc::FieldNode| {
        node.length() == batch.length() && (0..=node.length()).contains(&node.null_count())
    };
    // No buffer is longer than its body, and no column has more rows than bits.
    let possible = usize::try_from(batch.length()).is_ok_and(|rows| rows <= body.len().saturating_mul(8));
    if !possible || nodes.len() != types.len() || !nodes.iter().all(same_length) {
        return Err(invalid("the columns of a batch do not have its rows"));
    }
    if buffers.len() > MAX_BUFFERS {
        return Err(invalid(format!("a batch has more than {MAX_BUFFERS} buffers")));
    }
    let mut buffers = buffers.iter();
    let mut pieces = batch.variadicBufferCounts().into_iter().flatten();
    let mut viewed = 0_usize;
    for data_type in types {
        // The bits of validity, then what a type has.
        let widths: &[usize] = match data_type {
            DataType::Utf8 => &[1, 4, 1],
            DataType::LargeUtf8 => &[1, 8, 1],
            DataType::Utf8View => &[1, VIEW_BYTES],
            DataType::Dictionary(key, _) => &[1, key.primitive_width().unwrap_or(1)],
            DataType::Null => &[],
            other => &[1, other.primitive_width().unwrap_or(1)],
        };
        for (width, buffer) in widths.iter().zip(buffers.by_ref()) {
            let bytes = extent(buffer, body)?;
            if bytes.len() % width != 0 {
                return Err(invalid("a buffer ends within a value"));
            }
            if *width == VIEW_BYTES {
                viewed = viewed.saturating_add(viewed_bytes(bytes));
            }
        }
        if **data_type == DataType::Utf8View {
            let count = pieces.next().and_then(|count| usize::try_from(count).ok());
            let count = count.filter(|count| *count <= buffers.len());
            let count = count.ok_or_else(|| invalid("a column lacks some of its buffers"))?;
            buffers.by_ref().take(count).try_for_each(|buffer| extent(buffer, body).map(drop))?;
        }
    }
    if buffers.next().is_some() {
        return Err(invalid("a batch has buffers that belong to no column"));
    }
    // Views may show the same bytes any number of times, and each is looked through.
    if viewed > MAX_WRITTEN_OUT_BYTES {
        return Err(Fault::TextsTooLarge { bytes: viewed, limit: MAX_WRITTEN_OUT_BYTES });
    }
    Ok(())
}

/// The bytes of a buffer, if it lies within its body.
fn extent<'b>(buffer: &arrow_ipc::Buffer, body: &'b [u8]) -> Result<&'b [u8], Fault> {
    let bounds = usize::try_from(buffer.offset()).ok().zip(usize::try_from(buffer.length()).ok());
    bounds
        .and_then(|(start, length)| body.get(start..start.checked_add(length)?))
        .ok_or_else(|| invalid("a buffer lies outside of its batch"))
}

/// Bytes of all texts that views show.
fn viewed_bytes(views: &[u8]) -> usize {
    let lengths = views.chunks_exact(VIEW_BYTES).filter_map(|view| view.first_chunk());
    lengths.map(|bytes| u32::from_le_bytes(*bytes) as usize).fold(0, usize::saturating_add)
}
