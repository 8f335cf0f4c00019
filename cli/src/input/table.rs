//! Rows of tables: record batches of Arrow and of Parquet, a column each.

use anyhow::Context;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Decimal128Type, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, SchemaRef, TimeUnit};
use serde_json::value::RawValue;

use super::columns::{Column, Columns};
use super::number::Numbers;
use super::row::{BadRow, Draft, Place};
use super::time::{Number, TimeProblem, looks_like_time};
use super::{Found, Hint, NO_TIME, Options};
use crate::Usage;
use crate::client::RowKind;

/// Where record batches come from.
pub trait Batches {
    /// Its columns.
    fn schema(&self) -> SchemaRef;

    /// The next one; `None` at the end.
    fn next_batch(&mut self) -> anyhow::Result<Option<RecordBatch>>;
}

/// The rows of a table.
pub struct TableRows {
    batches: Box<dyn Batches + Send>,
    columns: Columns,
    options: Options,
    numbers: Numbers,
    batch: Option<RecordBatch>,
    /// Of the batch at hand.
    next_row: usize,
    /// Before the batch at hand.
    rows_before: u64,
    /// Rows and bad rows of the batch at hand that were not handed out, the last first.
    ready: Vec<Found>,
    is_first: bool,
}

/// Rows that are made of a batch at once: their cells are found once for all of them.
const ROWS_AT_ONCE: usize = 1_024;

impl TableRows {
    /// Finds out what its columns are.
    pub fn new(mut batches: Box<dyn Batches + Send>, options: &Options) -> anyhow::Result<Self> {
        let schema = batches.schema();
        let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        let batch = next_with_rows(&mut *batches)?;
        let is_time = |at: usize| match schema.field(at).data_type() {
            DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => true,
            _ => batch.as_ref().is_some_and(|batch| {
                let cell = cells(batch.column(at));
                cell.is_some_and(|cell| {
                    let first = (0..batch.num_rows()).map(cell).find(|cell| *cell != Cell::Null);
                    first.is_some_and(|cell| cell.looks_like_time())
                })
            }),
        };
        let columns = Columns::new(&names, options, &is_time)?;
        Ok(Self {
            batches,
            columns,
            options: options.clone(),
            numbers: Numbers::new(options.decimal),
            batch,
            next_row: 0,
            rows_before: 0,
            ready: Vec::new(),
            is_first: true,
        })
    }

    /// The next row or bad row.
    pub fn next(&mut self) -> anyhow::Result<Option<Found>> {
        loop {
            if let Some(found) = self.ready.pop() {
                return Ok(Some(found));
            }
            let Some(batch) = self.batch.clone() else { return Ok(None) };
            if self.next_row >= batch.num_rows() {
                self.rows_before += batch.num_rows() as u64;
                self.next_row = 0;
                self.batch = next_with_rows(&mut *self.batches)?;
                continue;
            }
            self.read(&batch)?;
        }
    }

    fn read(&mut self, batch: &RecordBatch) -> anyhow::Result<()> {
        let mut readers = Vec::with_capacity(batch.num_columns());
        for (at, column) in self.columns.columns.iter().enumerate() {
            let array = batch.column(at);
            readers.push(match column {
                Column::Skipped => None,
                _ => Some(cells(array).with_context(|| {
                    let name = Hint::name(self.columns.name(at));
                    format!("the column {name} is {}, which is not read: leave it out", array.data_type())
                })?),
            });
        }
        let until = batch.num_rows().min(self.next_row + ROWS_AT_ONCE);
        for row in self.next_row..until {
            let place = Place::Row(self.rows_before + row as u64 + 1);
            let found = self.row(&readers, row, place)?;
            self.ready.push(found);
            self.is_first = false;
        }
        self.next_row = until;
        self.ready.reverse();
        Ok(())
    }

    fn row(&mut self, readers: &[Option<CellReader<'_>>], row: usize, place: Place) -> Result<Found, Usage> {
        let mut draft = Draft::new();
        let is_metric = self.columns.kind == RowKind::Metrics;
        let mut metric = self.columns.metric.as_deref().filter(|_| is_metric);
        let mut account = self.options.account.as_deref();
        for (at, (column, reader)) in self.columns.columns.iter().zip(readers).enumerate() {
            let Some(reader) = reader else { continue };
            let name = || Hint::name(self.columns.name(at));
            let bad =
                |what: String| Ok(Found::Bad(BadRow::unreadable(place, format!("`{}` {what}", name()))));
            match (column, reader(row)) {
                (Column::Skipped, _) => {}
                (_, Cell::NotUtf8) => return bad("is not UTF-8".to_owned()),
                (Column::Value, Cell::Null) => {
                    return bad("is empty; leave out what was not measured".to_owned());
                }
                (_, Cell::Null) => {}
                (Column::Time, cell) => {
                    let read = match &cell {
                        Cell::Time(at_ms) => Ok(*at_ms),
                        Cell::Text(text) => self.options.time.text(text),
                        Cell::Int(number) => self.options.time.number(Number::Whole(*number)),
                        Cell::Unsigned(number) => self.options.time.number(Number::Fraction(*number as f64)),
                        Cell::Float(number) => self.options.time.number(Number::Fraction(*number)),
                        Cell::Decimal(number) => Number::parse(number)
                            .map_or(Err(TimeProblem::NotATime), |number| self.options.time.number(number)),
                        Cell::Bool(_) | Cell::NotUtf8 | Cell::Null => Err(TimeProblem::NotATime),
                    };
                    match read {
                        Ok(at_ms) => draft.time(self.columns.time_field(), at_ms),
                        Err(TimeProblem::NotATime) => return bad(format!("is no time: {NO_TIME}")),
                        Err(TimeProblem::Ask(what)) if self.is_first || self.options.time.is_moved => {
                            return Err(Usage(format!("{place}: {} in `{}` {what}", cell.shown(), name())));
                        }
                        Err(TimeProblem::Ask(what)) => return bad(format!("({}) {what}", cell.shown())),
                    }
                }
                (Column::Value, cell) => {
                    let number = match &cell {
                        Cell::Float(number) => Some(*number).filter(|number| number.is_finite()),
                        Cell::Int(number) => Some(*number as f64),
                        Cell::Unsigned(number) => Some(*number as f64),
                        Cell::Decimal(number) => number.parse().ok(),
                        Cell::Text(text) => self.numbers.read(text).ok(),
                        _ => None,
                    };
                    match number {
                        Some(number) => draft.number("value", number),
                        None => return bad("is no finite number".to_owned()),
                    }
                }
                (Column::Text(known), cell) => {
                    let text = match cell {
                        Cell::Text(text) => text.to_owned(),
                        Cell::Int(number) => number.to_string(),
                        Cell::Unsigned(number) => number.to_string(),
                        Cell::Decimal(number) => number,
                        _ => return bad("is no text".to_owned()),
                    };
                    if text.is_empty() {
                        continue;
                    }
                    match *known {
                        "metric_name" => metric = None,
                        "account_id" => account = None,
                        _ => {}
                    }
                    draft.text(known, &text);
                }
                (Column::Metadata, Cell::Text("")) => {}
                (Column::Metadata, Cell::Text(text)) => match serde_json::from_str::<&RawValue>(text) {
                    Ok(raw) => draft.raw("metadata", raw.get()),
                    Err(_) => return bad("is no JSON object".to_owned()),
                },
                (Column::Metadata, _) => return bad("is no JSON object".to_owned()),
                (Column::Other(_), Cell::Text("")) => {}
                (Column::Other(field), Cell::Text(text)) => draft.text(field, text),
                (Column::Other(field), Cell::Int(number)) => draft.raw(field, &number.to_string()),
                (Column::Other(field), Cell::Unsigned(number)) => draft.raw(field, &number.to_string()),
                (Column::Other(field), Cell::Decimal(number)) => draft.raw(field, &number),
                (Column::Other(field), Cell::Float(number)) if number.is_finite() => {
                    draft.number(field, number)
                }
                (Column::Other(_), Cell::Float(_)) => {}
                (Column::Other(field), Cell::Bool(value)) => {
                    draft.raw(field, if value { "true" } else { "false" })
                }
                (Column::Other(field), Cell::Time(at_ms)) => draft.text(field, &crate::output::time(at_ms)),
            }
        }
        if let Some(metric) = metric {
            draft.text("metric_name", metric);
        }
        if let Some(account) = account {
            draft.text("account_id", account);
        }
        Ok(Found::Row(draft.finish(place, self.columns.kind)))
    }
}

fn next_with_rows(batches: &mut dyn Batches) -> anyhow::Result<Option<RecordBatch>> {
    while let Some(batch) = batches.next_batch()? {
        if batch.num_rows() > 0 {
            return Ok(Some(batch));
        }
    }
    Ok(None)
}

/// A value of a table.
#[derive(Debug, Clone, PartialEq)]
enum Cell<'b> {
    Null,
    Text(&'b str),
    NotUtf8,
    Int(i64),
    /// Beyond [`Cell::Int`].
    Unsigned(u64),
    /// A number with as many digits as it has, as JSON writes it.
    Decimal(String),
    Float(f64),
    Bool(bool),
    /// Ms since the epoch.
    Time(i64),
}

impl Cell<'_> {
    fn looks_like_time(&self) -> bool {
        match self {
            Self::Text(text) => looks_like_time(text),
            Self::Int(number) => looks_like_time(&number.to_string()),
            Self::Unsigned(number) => looks_like_time(&number.to_string()),
            Self::Decimal(number) => looks_like_time(number),
            Self::Float(number) => looks_like_time(&number.to_string()),
            Self::Time(_) => true,
            Self::Null | Self::NotUtf8 | Self::Bool(_) => false,
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Text(text) => Hint::value(text),
            Self::Int(number) => number.to_string(),
            Self::Unsigned(number) => number.to_string(),
            Self::Decimal(number) => number.clone(),
            Self::Float(number) => number.to_string(),
            _ => "it".to_owned(),
        }
    }
}

type CellReader<'b> = Box<dyn Fn(usize) -> Cell<'b> + 'b>;

/// Reads the cells of a column; `None` for a type that no field of a row has.
fn cells(array: &dyn Array) -> Option<CellReader<'_>> {
    fn numbers<'b, T: ArrowPrimitiveType>(
        array: &'b dyn Array,
        cell: impl Fn(T::Native) -> Cell<'b> + 'b,
    ) -> Option<CellReader<'b>> {
        let values = array.as_primitive_opt::<T>()?;
        Some(Box::new(move |row| cell(values.value(row))))
    }
    let read: CellReader<'_> = match array.data_type() {
        DataType::Null => Box::new(|_| Cell::Null),
        DataType::Utf8 => {
            let texts = array.as_string_opt::<i32>()?;
            Box::new(|row| Cell::Text(texts.value(row)))
        }
        DataType::LargeUtf8 => {
            let texts = array.as_string_opt::<i64>()?;
            Box::new(|row| Cell::Text(texts.value(row)))
        }
        DataType::Utf8View => {
            let texts = array.as_string_view_opt()?;
            Box::new(|row| Cell::Text(texts.value(row)))
        }
        DataType::Binary => {
            let texts = array.as_binary_opt::<i32>()?;
            Box::new(|row| utf8(texts.value(row)))
        }
        DataType::LargeBinary => {
            let texts = array.as_binary_opt::<i64>()?;
            Box::new(|row| utf8(texts.value(row)))
        }
        DataType::BinaryView => {
            let texts = array.as_binary_view_opt()?;
            Box::new(|row| utf8(texts.value(row)))
        }
        DataType::Boolean => {
            let values = array.as_boolean_opt()?;
            Box::new(|row| Cell::Bool(values.value(row)))
        }
        DataType::Int8 => numbers::<Int8Type>(array, |number| Cell::Int(number.into()))?,
        DataType::Int16 => numbers::<Int16Type>(array, |number| Cell::Int(number.into()))?,
        DataType::Int32 => numbers::<Int32Type>(array, |number| Cell::Int(number.into()))?,
        DataType::Int64 => numbers::<Int64Type>(array, Cell::Int)?,
        DataType::UInt8 => numbers::<UInt8Type>(array, |number| Cell::Int(number.into()))?,
        DataType::UInt16 => numbers::<UInt16Type>(array, |number| Cell::Int(number.into()))?,
        DataType::UInt32 => numbers::<UInt32Type>(array, |number| Cell::Int(number.into()))?,
        DataType::UInt64 => numbers::<UInt64Type>(array, |number| {
            i64::try_from(number).map_or(Cell::Unsigned(number), Cell::Int)
        })?,
        DataType::Float32 => numbers::<Float32Type>(array, |number| Cell::Float(number.into()))?,
        DataType::Float64 => numbers::<Float64Type>(array, Cell::Float)?,
        DataType::Decimal128(..) => {
            let values = array.as_primitive_opt::<Decimal128Type>()?;
            Box::new(|row| Cell::Decimal(values.value_as_string(row)))
        }
        DataType::Timestamp(TimeUnit::Second, _) => {
            numbers::<TimestampSecondType>(array, |time| Cell::Time(time.saturating_mul(1_000)))?
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            numbers::<TimestampMillisecondType>(array, Cell::Time)?
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            numbers::<TimestampMicrosecondType>(array, |time| Cell::Time(time.div_euclid(1_000)))?
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            numbers::<TimestampNanosecondType>(array, |time| Cell::Time(time.div_euclid(1_000_000)))?
        }
        DataType::Date32 => numbers::<Date32Type>(array, |days| Cell::Time(i64::from(days) * 86_400_000))?,
        DataType::Date64 => numbers::<Date64Type>(array, Cell::Time)?,
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary_opt()?;
            let values = dictionary.values();
            if values.is_empty() {
                return Some(Box::new(|_| Cell::Null));
            }
            let (keys, read) = (dictionary.normalized_keys(), cells(values)?);
            Box::new(move |row| read(keys[row]))
        }
        _ => return None,
    };
    if array.null_count() == 0 {
        return Some(read);
    }
    Some(Box::new(move |row| if array.is_null(row) { Cell::Null } else { read(row) }))
}

fn utf8(bytes: &[u8]) -> Cell<'_> {
    std::str::from_utf8(bytes).map_or(Cell::NotUtf8, Cell::Text)
}
