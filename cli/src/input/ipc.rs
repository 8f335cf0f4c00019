//! Arrow IPC, streams and files, compressed or not, one record batch after the other. Arrow's own reader trusts the
//! lengths that a file states about itself, so each is looked at here before it may.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::Arc;

use anyhow::{Context, bail};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_buffer::Buffer;
use arrow_ipc::reader::{read_dictionary, read_record_batch};
use arrow_ipc::{Message, MessageHeader};
use arrow_schema::{DataType, SchemaRef};

use crate::Usage;

/// Bytes of one record batch at most, as it is and decompressed: it is in memory while its rows are read.
const LARGEST_BATCH: u64 = 256 << 20;
/// Bytes of the dictionaries of all columns at most, likewise.
const LARGEST_DICTIONARIES: usize = 256 << 20;
/// Bytes of the description of a batch at most.
const LARGEST_DESCRIPTION: u64 = 16 << 20;

/// How Arrow's file form begins; the stream within it follows.
pub const FILE_MAGIC: &[u8] = b"ARROW1\0\0";
/// Marks a frame, and how a stream begins.
pub const CONTINUATION: [u8; 4] = [0xff; 4];
/// Zeros between the two at most.
const LARGEST_PADDING: usize = 128;
/// Bytes before a compressed buffer: its length when it is decompressed, or this.
const NOT_COMPRESSED: i64 = -1;

/// The record batches of an Arrow stream or file.
pub struct IpcReader<R> {
    input: R,
    schema: SchemaRef,
    dictionaries: HashMap<i64, ArrayRef>,
    /// Bytes of all of them at most: a stream may add to them for ever.
    largest_dictionaries: usize,
    /// Whether a part that was read was compressed.
    is_compressed: bool,
}

struct Frame {
    description: Vec<u8>,
    body: Buffer,
}

impl<R: Read> IpcReader<R> {
    /// Reads the schema. Columns within columns are refused by name.
    pub fn new(mut input: R) -> anyhow::Result<Self> {
        let mut begin = [0; 4];
        input.read_exact(&mut begin).context("it is empty")?;
        if FILE_MAGIC.starts_with(&begin) {
            let mut rest = [0; 4];
            input.read_exact(&mut rest).context("it breaks off")?;
            // The stream begins at a multiple of what its writer aligns by.
            for _ in 0..LARGEST_PADDING / size_of_val(&begin) {
                input.read_exact(&mut begin).context("it breaks off")?;
                if begin != [0; 4] {
                    break;
                }
            }
        }
        let frame = frame(&mut input, begin)?.context("it has no schema")?;
        let message = message(&frame)?;
        let schema = message.header_as_schema().context("it does not begin with a schema")?;
        let schema =
            arrow_ipc::convert::try_fb_to_schema(schema).context("its schema cannot be understood")?;
        flat(&schema)?;
        Ok(Self {
            input,
            schema: Arc::new(schema),
            dictionaries: HashMap::new(),
            largest_dictionaries: LARGEST_DICTIONARIES,
            is_compressed: false,
        })
    }

    /// Its columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Whether a part that was read was compressed.
    pub fn is_compressed(&self) -> bool {
        self.is_compressed
    }

    /// The next record batch; `None` at the end.
    pub fn next(&mut self) -> anyhow::Result<Option<RecordBatch>> {
        loop {
            let mut begin = [0; 4];
            let read = read_up_to(&mut self.input, &mut begin)?;
            match read {
                0 => return Ok(None),
                4 => {}
                _ => bail!("it breaks off; was it cut to a size?"),
            }
            let Some(frame) = frame(&mut self.input, begin)? else { return Ok(None) };
            let message = message(&frame)?;
            match message.header_type() {
                MessageHeader::RecordBatch => {
                    let batch = message.header_as_record_batch().context("a record batch is empty")?;
                    let types = self.schema.fields().iter().map(|field| field.data_type());
                    self.is_compressed |= batch.compression().is_some();
                    verify(&batch, types, &frame.body)?;
                    let (schema, version) = (self.schema.clone(), message.version());
                    let batch =
                        read_record_batch(&frame.body, batch, schema, &self.dictionaries, None, &version)
                            .context("a record batch is not valid")?;
                    return Ok(Some(batch));
                }
                MessageHeader::DictionaryBatch => {
                    let batch = message.header_as_dictionary_batch().context("a dictionary is empty")?;
                    let values = batch.data().context("a dictionary is empty")?;
                    let value_type =
                        value_type(&self.schema, batch.id()).context("a dictionary belongs to no column")?;
                    self.is_compressed |= values.compression().is_some();
                    verify(&values, std::iter::once(value_type), &frame.body)?;
                    let version = message.version();
                    read_dictionary(&frame.body, batch, &self.schema, &mut self.dictionaries, &version)
                        .context("a dictionary is not valid")?;
                    let bytes: usize =
                        self.dictionaries.values().map(|values| values.get_array_memory_size()).sum();
                    if bytes > self.largest_dictionaries {
                        bail!(
                            "its dictionaries have more than {} MiB: write columns of plain values, or several files",
                            LARGEST_DICTIONARIES >> 20
                        );
                    }
                }
                _ => bail!("it holds something other than record batches"),
            }
        }
    }
}

/// Refuses columns within columns: a row's fields are plain values.
pub fn flat(schema: &arrow_schema::Schema) -> Result<(), Usage> {
    let is_nested =
        |data_type: &DataType| data_type.is_nested() || matches!(data_type, DataType::RunEndEncoded(..));
    match schema.fields().iter().find(|field| is_nested(field.data_type())) {
        None => Ok(()),
        Some(field) => Err(Usage(format!(
            "the column {} holds lists or structures, and a row has plain values: leave it out",
            super::Hint::name(field.name())
        ))),
    }
}

/// The next frame, whose first four bytes were read; `None` at the stream's end.
fn frame(input: &mut impl Read, begin: [u8; 4]) -> anyhow::Result<Option<Frame>> {
    let mut length = begin;
    if begin == CONTINUATION {
        input.read_exact(&mut length).context("it breaks off; was it cut to a size?")?;
    }
    let length = u64::from(u32::from_le_bytes(length));
    if length == 0 {
        return Ok(None);
    }
    if length > LARGEST_DESCRIPTION {
        bail!("it is no Arrow stream, or the description of a part of it is broken");
    }
    let description = exactly(input, length)?;
    let body = arrow_ipc::root_as_message(&description).ok().map(|message| message.bodyLength());
    let body = body.context("the description of a part of it is broken")?;
    let body = u64::try_from(body).ok().context("a length is negative")?;
    if body > LARGEST_BATCH {
        bail!(
            "a record batch has more than {} MiB: write smaller ones, e.g. write_table(table, max_chunksize=65536)",
            LARGEST_BATCH >> 20
        );
    }
    Ok(Some(Frame { description, body: Buffer::from(exactly(input, body)?) }))
}

fn message(frame: &Frame) -> anyhow::Result<Message<'_>> {
    arrow_ipc::root_as_message(&frame.description).ok().context("the description of a part of it is broken")
}

/// So many bytes. Memory grows with what comes, not with what was promised.
fn exactly(input: &mut impl Read, length: u64) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = input.take(length).read_to_end(&mut bytes)?;
    if (read as u64) < length {
        bail!("it breaks off; was it cut to a size?");
    }
    Ok(bytes)
}

fn read_up_to(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match input.read(&mut buffer[read..])? {
            0 => break,
            more => read += more,
        }
    }
    Ok(read)
}

/// The type of the values of the dictionary with this number.
fn value_type(schema: &arrow_schema::Schema, id: i64) -> Option<&DataType> {
    schema.fields().iter().find_map(|field| match field.data_type() {
        #[expect(deprecated, reason = "the successor exists for writers only")]
        DataType::Dictionary(_, values) if field.dict_id() == Some(id) => Some(&**values),
        _ => None,
    })
}

/// Refuses a batch that states a length or a place outside of itself, or that decompresses to more than is read.
fn verify<'t>(
    batch: &arrow_ipc::RecordBatch<'_>,
    types: impl Iterator<Item = &'t DataType>,
    body: &[u8],
) -> anyhow::Result<()> {
    let (Some(nodes), Some(buffers)) = (batch.nodes(), batch.buffers()) else {
        bail!("a batch has no columns")
    };
    let types: Vec<&DataType> = types.collect();
    let same_length = |node: &arrow_ipc::FieldNode| {
        node.length() == batch.length() && (0..=node.length()).contains(&node.null_count())
    };
    let is_possible = (0..=LARGEST_BATCH as i64 * 8).contains(&batch.length());
    if !is_possible || nodes.len() != types.len() || !nodes.iter().all(same_length) {
        bail!("the columns of a batch do not have its rows");
    }
    let mut pieces = batch.variadicBufferCounts().into_iter().flatten();
    let mut buffers = buffers.iter();
    let mut decompressed = 0_u64;
    for data_type in types {
        let mut widths = widths(data_type);
        if matches!(data_type, DataType::Utf8View | DataType::BinaryView) {
            let more = pieces.next().and_then(|count| usize::try_from(count).ok());
            let more =
                more.filter(|more| *more <= buffers.len()).context("a column lacks some of its buffers")?;
            widths.extend(std::iter::repeat_n(1, more));
        }
        for width in widths {
            let buffer = buffers.next().context("a column lacks some of its buffers")?;
            let length = length(buffer, body, batch.compression().is_some())?;
            if length % width != 0 {
                bail!("a buffer ends within a value");
            }
            decompressed = decompressed.saturating_add(length);
        }
    }
    if buffers.next().is_some() {
        bail!("a batch has buffers that belong to no column");
    }
    if decompressed > LARGEST_BATCH {
        bail!(
            "a record batch has more than {} MiB when it is decompressed: write smaller ones",
            LARGEST_BATCH >> 20
        );
    }
    Ok(())
}

/// Bytes of a value in each buffer of a type: the bits of validity, then what it has.
fn widths(data_type: &DataType) -> Vec<u64> {
    match data_type {
        DataType::Null => vec![],
        DataType::Utf8 | DataType::Binary => vec![1, 4, 1],
        DataType::LargeUtf8 | DataType::LargeBinary => vec![1, 8, 1],
        DataType::Utf8View | DataType::BinaryView => vec![1, 16],
        DataType::Dictionary(key, _) => vec![1, key.primitive_width().unwrap_or(1) as u64],
        other => vec![1, other.primitive_width().unwrap_or(1) as u64],
    }
}

/// The length of a buffer, decompressed, if it lies within its body.
fn length(buffer: &arrow_ipc::Buffer, body: &[u8], is_compressed: bool) -> anyhow::Result<u64> {
    let bounds = usize::try_from(buffer.offset()).ok().zip(usize::try_from(buffer.length()).ok());
    let bytes = bounds.and_then(|(start, length)| body.get(start..start.checked_add(length)?));
    let bytes = bytes.context("a buffer lies outside of its batch")?;
    if !is_compressed || bytes.is_empty() {
        return Ok(bytes.len() as u64);
    }
    let stated =
        bytes.first_chunk().map(|bytes| i64::from_le_bytes(*bytes)).context("a buffer is cut off")?;
    match stated {
        NOT_COMPRESSED => Ok(bytes.len() as u64 - size_of::<i64>() as u64),
        _ => u64::try_from(stated).ok().context("a length is negative"),
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::DictionaryArray;
    use arrow_array::types::Int32Type;
    use arrow_ipc::writer::StreamWriter;

    use super::*;

    #[test]
    fn dictionaries_have_a_bound_of_their_own() {
        let column: DictionaryArray<Int32Type> = ["a", "b"].into_iter().collect();
        let batch = RecordBatch::try_from_iter([("c", Arc::new(column) as ArrayRef)]).unwrap();
        let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        let stream = writer.into_inner().unwrap();
        let mut reader = IpcReader::new(&stream[..]).unwrap();
        assert_eq!(reader.next().unwrap().unwrap().num_rows(), 2);
        let mut reader = IpcReader::new(&stream[..]).unwrap();
        reader.largest_dictionaries = 1;
        let message = reader.next().unwrap_err().to_string();
        assert!(message.starts_with("its dictionaries have more than"), "{message}");
    }
}
