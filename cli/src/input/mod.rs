//! The one reader of files and of standard input: CSV, JSON, Arrow and Parquet, compressed or not, become rows as a
//! producer would send them. It is strict: what can be read in two ways is asked for, with the flag that answers; rows of
//! JSON keep their own bytes; every row is checked by the server's own decoder before it is sent.
//!
//! Memory is bounded: a row of text has at most [`LONGEST_ROW`] bytes, of Arrow one record batch (256 MiB) is held, of
//! Parquet some thousand rows and the pages they lie in. Only Parquet that is compressed as a whole, or comes through a pipe,
//! is held whole, up to [`LARGEST_HELD`] bytes, because its end must be read first.

mod columns;
mod csv;
mod elements;
mod foreign;
mod ipc;
mod json;
mod number;
mod open;
mod records;
mod row;
mod table;
mod text;
mod time;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use anyhow::{Context, bail};
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use bytes::Bytes;
use kelly_schemas::{check, limits};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use tokio::sync::mpsc;

use crate::Usage;
use crate::client::RowKind;
use csv::CsvRows;
use ipc::IpcReader;
use open::{Input, Opened, Progress, STDIN};
use table::{Batches, TableRows};
use text::TextRows;

pub use number::Decimal;
pub use open::Format;
pub use row::{BadRow, Place, Row};
pub use time::{TimeOptions, TimeUnit};

/// Bytes of a row of text at most: what one row may have on the log. A longer one is a bad row, not memory; in CSV, where its end
/// is not certain, it ends the reading.
pub const LONGEST_ROW: usize = 1 << 20;

/// Bytes of a file that must be in memory whole.
const LARGEST_HELD: u64 = 256 << 20;

/// Rows of Parquet that are read at once.
const PARQUET_ROWS: usize = 8_192;

/// Rows read ahead of their sending; beyond it the reading waits.
const READ_AHEAD: usize = 4_096;

/// What to write where a text is no time.
const NO_TIME: &str =
    "write 2026-01-31T12:00:00Z, 2026-01-31 12:00:00 (UTC) or epoch milliseconds, or say --time-format";

/// How files are to be read.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Metric name of rows that name none.
    pub metric: Option<String>,
    /// Account of rows that name none.
    pub account: Option<String>,
    /// What a file is, whatever its name says.
    pub format: Option<Format>,
    /// Columns and fields under other names.
    pub columns: ColumnNames,
    /// How times are written.
    pub time: TimeOptions,
    /// Whether rows without a time are meant so, though a column looks like one. What is called like a time is left out.
    pub without_time: bool,
    /// What separates the cells of CSV.
    pub delimiter: Option<u8>,
    /// What stands before the fraction of a number.
    pub decimal: Option<Decimal>,
    /// The file's name, without what it is: the metric's where nothing else names it. What is no file has none.
    pub file_stem: Option<String>,
}

/// Columns and fields under other names than the contract's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ColumnNames {
    /// The time's.
    pub time: Option<String>,
    /// The value's.
    pub value: Option<String>,
    /// The metric name's.
    pub metric: Option<String>,
}

impl ColumnNames {
    /// Those that were given.
    fn all(&self) -> impl Iterator<Item = &String> {
        [&self.time, &self.value, &self.metric].into_iter().flatten()
    }
}

impl Options {
    /// Whether rows are read in any way but as they are: such files are not sent as they are either.
    pub fn changes_rows(&self) -> bool {
        let Self { metric, account, columns, time, without_time, decimal, .. } = self;
        metric.is_some()
            || account.is_some()
            || *columns != ColumnNames::default()
            || *time != TimeOptions::default()
            || *without_time
            || decimal.is_some()
    }
}

/// What a file yields.
#[derive(Debug, PartialEq)]
pub enum Found {
    /// A row.
    Row(Row),
    /// A row that is left out.
    Bad(BadRow),
}

/// What may be said of a file's contents on a terminal: names and values that are no sentences, of anything else how long it is.
struct Hint;

impl Hint {
    const SHOWN_CHARACTERS: usize = 40;

    /// A name of a column.
    fn name(name: &str) -> String {
        let is_plain = |character: char| character.is_alphanumeric() || "_.:/@- ()[]%".contains(character);
        let words = name.split_whitespace().count();
        if name.chars().count() <= Self::SHOWN_CHARACTERS && name.chars().all(is_plain) && words <= 4 {
            name.to_owned()
        } else {
            format!("({} characters)", name.chars().count())
        }
    }

    /// A number or a time as it was written.
    fn value(value: &str) -> String {
        const MOST_LETTERS: usize = 6;
        let letters = value.chars().filter(|character| character.is_alphabetic()).count();
        let has_digits = value.chars().any(|character| character.is_ascii_digit());
        let is_short = value.chars().count() <= Self::SHOWN_CHARACTERS;
        if is_short && has_digits && letters <= MOST_LETTERS && !value.chars().any(char::is_control) {
            format!("{value:?}")
        } else {
            format!("a text of {} characters", value.chars().count())
        }
    }
}

/// Metrics or events, by the names of the fields. What is named as the value makes metrics of them.
fn kind_of(has: impl Fn(&str) -> bool, columns: &ColumnNames) -> Result<RowKind, Usage> {
    if !has("event_type") || columns.value.as_deref().is_some_and(&has) {
        return Ok(RowKind::Metrics);
    }
    match (has("title"), has("metric_name") && has("value"), has("value")) {
        (true, true, _) => Err(Usage(
            "its rows may be metrics (metric_name, value) or events (event_type, title): leave the fields of one out"
                .to_owned(),
        )),
        (false, _, true) => Ok(RowKind::Metrics),
        _ => Ok(RowKind::Activity),
    }
}

/// A file to read, or standard input.
#[derive(Debug, Clone)]
pub struct Source {
    path: PathBuf,
    /// Then it is opened once, when its rows are sent, and not looked at before.
    is_read_once: bool,
    options: Options,
    progress: Progress,
}

impl Source {
    /// The file at this path. That it can be read, and what is in doubt about its first row, is settled before anything of
    /// any file is sent; of what can be read only once, before anything of it is.
    pub fn new(path: &Path, options: &Options) -> anyhow::Result<Self> {
        let limit = limits::METRIC_NAME_CHARACTERS;
        if let Some(metric) = &options.metric {
            check::name("metric_name", metric, limit).map_err(|fault| Usage(format!("--metric: {fault}")))?;
        }
        if let Some(account) = &options.account {
            check::label("account_id", account, limits::ACCOUNT_ID_CHARACTERS)
                .map_err(|fault| Usage(format!("--account: {fault}")))?;
        }
        let is_read_once = open::is_read_once(path);
        // The name of a pipe says nothing about what comes through it.
        let file_stem = if is_read_once { None } else { open::stem(path) };
        let options = Options { file_stem, ..options.clone() };
        let source = Self { path: path.to_owned(), is_read_once, options, progress: Progress::default() };
        if !is_read_once {
            source.open()?.next()?;
            source.progress.store(0, Ordering::Relaxed);
        }
        Ok(source)
    }

    /// Whether it can be read only once, as standard input and pipes can.
    pub fn is_read_once(&self) -> bool {
        self.is_read_once
    }

    /// Its name, for messages.
    pub fn name(&self) -> String {
        let is_stdin = self.path.as_os_str() == STDIN;
        if is_stdin { "standard input".to_owned() } else { self.path.display().to_string() }
    }

    /// Its size, where that is known.
    pub fn bytes(&self) -> Option<u64> {
        if self.is_read_once { None } else { std::fs::metadata(&self.path).ok().map(|meta| meta.len()) }
    }

    /// Bytes that were read of it since it was opened.
    pub fn bytes_read(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }

    /// Whether it is an Arrow stream of metrics that can be sent as it is: nothing is compressed, no column is unknown.
    pub fn is_sendable_arrow(&self) -> anyhow::Result<bool> {
        let reading = || format!("reading {}", self.name());
        if self.is_read_once
            || self.options.changes_rows()
            || self.bytes().is_none_or(|bytes| bytes > LARGEST_HELD)
        {
            return Ok(false);
        }
        let Opened { input, is_compressed, begins } =
            open::open(&self.path, &Progress::default()).with_context(reading)?;
        let format = open::format(&self.path, &begins, self.options.format)?;
        if format != Format::Arrow || is_compressed || begins.starts_with(ipc::FILE_MAGIC) {
            return Ok(false);
        }
        let Ok(mut reader) = IpcReader::new(input) else { return Ok(true) };
        let is_known = |name: &str| columns::SAMPLES_EXPORT.contains(&name) || name == "created_at";
        if !reader.schema().fields().iter().all(|field| is_known(field.name())) {
            return Ok(false);
        }
        // A stream that breaks off is described by those who cut it.
        let _ = reader.next();
        Ok(!reader.is_compressed())
    }

    /// Reads it on a thread of its own, so that waiting for standard input stops nobody.
    pub fn stream(&self) -> anyhow::Result<Stream> {
        self.progress.store(0, Ordering::Relaxed);
        let source = self.clone();
        let (rows, receiver) = mpsc::channel(READ_AHEAD);
        let thread = std::thread::Builder::new()
            .name("read".to_owned())
            .spawn(move || {
                let mut reader = match source.open() {
                    Ok(reader) => reader,
                    Err(error) => {
                        // Nobody is left to hear of it when the receiver is gone.
                        let _ = rows.blocking_send(Err(error));
                        return;
                    }
                };
                while let Some(found) = reader.next().transpose() {
                    let is_last = found.is_err();
                    if rows.blocking_send(found).is_err() || is_last {
                        return;
                    }
                }
            })
            .context("starting the reading thread")?;
        Ok(Stream { receiver, thread: Some(thread), name: self.name() })
    }

    /// Opens it at its beginning.
    pub fn open(&self) -> anyhow::Result<Rows> {
        let opened =
            open::open(&self.path, &self.progress).with_context(|| format!("opening {}", self.name()))?;
        let rows = self.rows(opened).map_err(|error| self.with_name(error))?;
        Ok(Rows { rows, source: self.clone() })
    }

    fn rows(&self, opened: Opened) -> anyhow::Result<Kind> {
        let Opened { mut input, is_compressed, begins } = opened;
        let format = open::format(&self.path, &begins, self.options.format)?;
        if begins.is_empty() {
            return Ok(Kind::Empty);
        }
        Ok(match format {
            Format::Csv => {
                CsvRows::new(input, &self.options)?.map_or(Kind::Empty, |rows| Kind::Csv(Box::new(rows)))
            }
            Format::Ndjson => Kind::Text(Box::new(TextRows::new(input, &self.options, false))),
            Format::Json => Kind::Text(Box::new(TextRows::new(input, &self.options, true))),
            Format::Arrow => {
                let reader = IpcReader::new(input)?;
                Kind::Table(Box::new(TableRows::new(Box::new(reader), &self.options)?))
            }
            Format::Parquet => {
                let reader = if is_compressed || self.is_read_once {
                    let mut bytes = Vec::new();
                    if (&mut input).take(LARGEST_HELD + 1).read_to_end(&mut bytes)? as u64 > LARGEST_HELD {
                        bail!(
                            "Parquet that is compressed as a whole, or comes through a pipe, is held in memory, and it has \
                             more than {} MiB: put it into a file as it is",
                            LARGEST_HELD >> 20
                        );
                    }
                    let builder = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes))?;
                    ParquetRows::new(builder, self)?
                } else {
                    let file = std::fs::File::open(&self.path)?;
                    ParquetRows::new(ParquetRecordBatchReaderBuilder::try_new(file)?, self)?
                };
                Kind::Table(Box::new(TableRows::new(Box::new(reader), &self.options)?))
            }
        })
    }

    /// Wrong usage stays wrong usage, and says of which file.
    fn with_name(&self, error: anyhow::Error) -> anyhow::Error {
        match error.downcast::<Usage>() {
            Ok(Usage(what)) if what.starts_with(&self.name()) => Usage(what).into(),
            Ok(Usage(what)) => Usage(format!("{}: {what}", self.name())).into(),
            Err(error) => error.context(format!("reading {}", self.name())),
        }
    }
}

/// The rows of an open file.
pub struct Rows {
    rows: Kind,
    source: Source,
}

enum Kind {
    Csv(Box<CsvRows<Input>>),
    Text(Box<TextRows>),
    Table(Box<TableRows>),
    Empty,
}

impl Rows {
    /// The next row or bad row; `None` at the end.
    pub fn next(&mut self) -> anyhow::Result<Option<Found>> {
        let next = match &mut self.rows {
            Kind::Csv(rows) => rows.next(),
            Kind::Text(rows) => rows.next(),
            Kind::Table(rows) => rows.next(),
            Kind::Empty => Ok(None),
        };
        next.map_err(|error| self.source.with_name(error))
    }
}

/// The rows of a file on their way from the thread that reads it.
pub struct Stream {
    receiver: mpsc::Receiver<anyhow::Result<Found>>,
    thread: Option<JoinHandle<()>>,
    name: String,
}

impl Stream {
    /// The next row, if it is there already.
    pub fn try_next(&mut self) -> Option<anyhow::Result<Found>> {
        self.receiver.try_recv().ok()
    }

    /// The next row; `None` at the end. A thread that died is no end.
    pub async fn next(&mut self) -> anyhow::Result<Option<Found>> {
        match self.receiver.recv().await {
            Some(found) => found.map(Some),
            None => match self.thread.take().map(JoinHandle::join) {
                Some(Err(_)) => bail!("reading {} broke off: the file cannot be understood", self.name),
                _ => Ok(None),
            },
        }
    }
}

impl<R: Read> Batches for IpcReader<R> {
    fn schema(&self) -> SchemaRef {
        Arc::clone(IpcReader::schema(self))
    }

    fn next_batch(&mut self) -> anyhow::Result<Option<RecordBatch>> {
        self.next()
    }
}

struct ParquetRows {
    schema: SchemaRef,
    reader: ParquetRecordBatchReader,
    rows: u64,
    rows_read: u64,
    bytes: u64,
    progress: Progress,
}

impl ParquetRows {
    fn new<R: parquet::file::reader::ChunkReader + 'static>(
        builder: ParquetRecordBatchReaderBuilder<R>,
        source: &Source,
    ) -> anyhow::Result<Self> {
        let schema = Arc::clone(builder.schema());
        ipc::flat(&schema)?;
        Ok(Self {
            schema,
            rows: u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or_default(),
            rows_read: 0,
            bytes: source.bytes().unwrap_or_default(),
            progress: source.progress.clone(),
            reader: builder.with_batch_size(PARQUET_ROWS).build()?,
        })
    }
}

impl Batches for ParquetRows {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn next_batch(&mut self) -> anyhow::Result<Option<RecordBatch>> {
        let batch = self.reader.next().transpose()?;
        // Its end is read first, so bytes say nothing: as much of it is read as of its rows.
        self.rows_read += batch.as_ref().map_or(0, RecordBatch::num_rows) as u64;
        let part = self.rows_read as f64 / self.rows.max(1) as f64;
        self.progress.store((self.bytes as f64 * part.min(1.0)) as u64, Ordering::Relaxed);
        Ok(batch)
    }
}

#[cfg(test)]
mod tests;
