//! The columns of a record batch in the few forms a walk over its rows needs.

use std::borrow::Cow;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowDictionaryKeyType, ArrowPrimitiveType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{
    Array, DictionaryArray, LargeStringArray, PrimitiveArray, RecordBatch, StringArray, StringViewArray,
};
use arrow_buffer::{ArrowNativeType, NullBuffer};
use arrow_schema::{DataType, TimeUnit};

/// In place of a dictionary's key where a row has no text.
const NO_KEY: u32 = u32::MAX;

/// Bytes the texts of a message may have when they are written out row by row, as the store keeps them. Shared
/// texts make a small message of it; without the bound one could fill the memory of its reader.
pub const MAX_WRITTEN_OUT_BYTES: usize = 32 << 20;

/// Texts in any of Arrow's forms.
#[derive(Debug, Clone, Copy)]
pub(super) enum Texts<'b> {
    Utf8(&'b StringArray),
    LargeUtf8(&'b LargeStringArray),
    Utf8View(&'b StringViewArray),
}

impl<'b> Texts<'b> {
    fn of(array: &'b dyn Array) -> Option<Self> {
        Some(match array.data_type() {
            DataType::Utf8 => Self::Utf8(array.as_string_opt()?),
            DataType::LargeUtf8 => Self::LargeUtf8(array.as_string_opt()?),
            DataType::Utf8View => Self::Utf8View(array.as_string_view_opt()?),
            _ => return None,
        })
    }

    /// The text at a place below [`len`](Self::len).
    pub(super) fn get(self, at: u32) -> &'b str {
        let at = at as usize;
        match self {
            Self::Utf8(texts) => texts.value(at),
            Self::LargeUtf8(texts) => texts.value(at),
            Self::Utf8View(texts) => texts.value(at),
        }
    }

    fn is_null(self, at: usize) -> bool {
        match self {
            Self::Utf8(texts) => texts.is_null(at),
            Self::LargeUtf8(texts) => texts.is_null(at),
            Self::Utf8View(texts) => texts.is_null(at),
        }
    }

    fn len(self) -> usize {
        match self {
            Self::Utf8(texts) => texts.len(),
            Self::LargeUtf8(texts) => texts.len(),
            Self::Utf8View(texts) => texts.len(),
        }
    }
}

/// A column of texts.
#[derive(Debug)]
pub(super) enum TextColumn<'b> {
    /// There is none: every row is without it.
    Absent,
    /// Each row's number among the distinct texts.
    Keyed { keys: Vec<u32>, texts: Texts<'b> },
    /// Each row's own text.
    Plain(Texts<'b>),
}

impl<'b> TextColumn<'b> {
    pub(super) fn new(batch: &'b RecordBatch, name: &str) -> Self {
        let Some(column) = batch.column_by_name(name) else { return Self::Absent };
        if let Some(texts) = Texts::of(column) {
            return Self::Plain(texts);
        }
        let DataType::Dictionary(key, _) = column.data_type() else { return Self::Absent };
        let keyed = match **key {
            DataType::Int8 => Self::keyed::<Int8Type>(column),
            DataType::Int16 => Self::keyed::<Int16Type>(column),
            DataType::Int32 => Self::keyed::<Int32Type>(column),
            DataType::Int64 => Self::keyed::<Int64Type>(column),
            DataType::UInt8 => Self::keyed::<UInt8Type>(column),
            DataType::UInt16 => Self::keyed::<UInt16Type>(column),
            DataType::UInt32 => Self::keyed::<UInt32Type>(column),
            DataType::UInt64 => Self::keyed::<UInt64Type>(column),
            _ => None,
        };
        keyed.unwrap_or(Self::Absent)
    }

    fn keyed<K: ArrowDictionaryKeyType>(column: &'b dyn Array) -> Option<Self> {
        let column: &DictionaryArray<K> = column.as_dictionary_opt()?;
        let texts = Texts::of(column.values())?;
        // A key beyond the texts is refused when the message is read, and a message has no more than 2^32 texts.
        let mut keys: Vec<u32> = column.keys().values().iter().map(|key| key.as_usize() as u32).collect();
        if let Some(nulls) = column.nulls() {
            clear(&mut keys, nulls);
        }
        if texts_have_nulls(texts) {
            let absent = |key: u32| key != NO_KEY && texts.is_null(key as usize);
            keys.iter_mut().filter(|key| absent(**key)).for_each(|key| *key = NO_KEY);
        }
        Some(Self::Keyed { keys, texts })
    }

    /// Where the text of a row lies among the texts; `None` when the row has none.
    pub(super) fn place(&self, row: usize) -> Option<u32> {
        match self {
            Self::Absent => None,
            Self::Keyed { keys, .. } => keys.get(row).copied().filter(|key| *key != NO_KEY),
            Self::Plain(texts) => (!texts.is_null(row)).then_some(row as u32),
        }
    }

    /// The text at such a place.
    pub(super) fn text(&self, place: u32) -> &'b str {
        match self {
            Self::Absent => "",
            Self::Keyed { texts, .. } | Self::Plain(texts) => texts.get(place),
        }
    }

    /// How many distinct texts there are, where they are numbered and rows share them. Where there are more of them
    /// than rows, a table of them would cost more than it saves, and a small batch with a large dictionary very much.
    pub(super) fn distinct(&self) -> Option<usize> {
        match self {
            Self::Keyed { keys, texts } => (texts.len() <= keys.len()).then(|| texts.len()),
            Self::Absent | Self::Plain(_) => None,
        }
    }

    fn written_out_bytes(&self, rows: usize) -> usize {
        match self {
            Self::Absent => 0,
            Self::Plain(texts) => plain_bytes(*texts),
            Self::Keyed { keys, texts } => {
                // Almost always short: only what may be too much is added up.
                if let Some(distinct) = self.distinct() {
                    let longest = (0..distinct as u32).map(|at| texts.get(at).len()).max();
                    let at_most = longest.unwrap_or_default().saturating_mul(rows);
                    if at_most <= MAX_WRITTEN_OUT_BYTES / 4 {
                        return at_most;
                    }
                }
                let present = keys.iter().filter(|key| **key != NO_KEY);
                present.map(|key| texts.get(*key).len()).fold(0, usize::saturating_add)
            }
        }
    }
}

fn texts_have_nulls(texts: Texts<'_>) -> bool {
    match texts {
        Texts::Utf8(texts) => texts.null_count() > 0,
        Texts::LargeUtf8(texts) => texts.null_count() > 0,
        Texts::Utf8View(texts) => texts.null_count() > 0,
    }
}

fn plain_bytes(texts: Texts<'_>) -> usize {
    match texts {
        Texts::Utf8(texts) => texts.value_data().len(),
        Texts::LargeUtf8(texts) => texts.value_data().len(),
        Texts::Utf8View(texts) => {
            texts.lengths().map(|length| length as usize).fold(0, usize::saturating_add)
        }
    }
}

fn clear(keys: &mut [u32], nulls: &NullBuffer) {
    for (key, is_valid) in keys.iter_mut().zip(nulls.iter()) {
        if !is_valid {
            *key = NO_KEY;
        }
    }
}

/// Bytes of the texts the store keeps in full for every row.
pub(super) fn written_out_bytes(batch: &RecordBatch) -> usize {
    ["conversation_id", "user_id", "metadata"]
        .into_iter()
        .map(|name| TextColumn::new(batch, name).written_out_bytes(batch.num_rows()))
        .fold(0, usize::saturating_add)
}

/// The column `value`.
#[derive(Debug)]
pub(super) struct ValueColumn<'b> {
    values: Cow<'b, [f64]>,
    nulls: Option<&'b NullBuffer>,
}

impl<'b> ValueColumn<'b> {
    pub(super) fn new(batch: &'b RecordBatch) -> Self {
        let Some(column) = batch.column_by_name("value") else {
            return Self { values: Cow::Borrowed(&[]), nulls: None };
        };
        let values = match column.data_type() {
            DataType::Float64 => {
                let values = column.as_primitive_opt::<Float64Type>().map(PrimitiveArray::values);
                Cow::Borrowed(values.map(|values| &**values).unwrap_or_default())
            }
            DataType::Float32 => floats::<Float32Type>(column, f64::from),
            DataType::Int8 => floats::<Int8Type>(column, f64::from),
            DataType::Int16 => floats::<Int16Type>(column, f64::from),
            DataType::Int32 => floats::<Int32Type>(column, f64::from),
            // Rounded to the nearest, as a number of so many digits in JSON is.
            DataType::Int64 => floats::<Int64Type>(column, |value| value as f64),
            DataType::UInt8 => floats::<UInt8Type>(column, f64::from),
            DataType::UInt16 => floats::<UInt16Type>(column, f64::from),
            DataType::UInt32 => floats::<UInt32Type>(column, f64::from),
            DataType::UInt64 => floats::<UInt64Type>(column, |value| value as f64),
            _ => Cow::Borrowed(&[][..]),
        };
        Self { values, nulls: column.nulls() }
    }

    /// The value of a row; `None` for null.
    pub(super) fn get(&self, row: usize) -> Option<f64> {
        let is_null = self.nulls.is_some_and(|nulls| nulls.is_null(row));
        if is_null { None } else { self.values.get(row).copied() }
    }
}

fn floats<T: ArrowPrimitiveType>(column: &dyn Array, convert: fn(T::Native) -> f64) -> Cow<'_, [f64]> {
    let values =
        column.as_primitive_opt::<T>().map(|array| array.values().iter().copied().map(convert).collect());
    Cow::Owned(values.unwrap_or_default())
}

/// The column `timestamp` and the name it came under.
#[derive(Debug)]
pub(super) struct TimeColumn<'b> {
    pub(super) name: &'static str,
    pub(super) times: Times<'b>,
}

/// Times as they came.
#[derive(Debug)]
pub(super) enum Times<'b> {
    /// In milliseconds since the epoch.
    Numbers { times: Cow<'b, [i64]>, nulls: Option<&'b NullBuffer>, unit_is_stated: bool },
    /// In RFC 3339.
    Texts(TextColumn<'b>),
}

impl<'b> TimeColumn<'b> {
    pub(super) fn new(batch: &'b RecordBatch) -> Self {
        let given = ["timestamp", "created_at"]
            .into_iter()
            .find_map(|name| batch.column_by_name(name).map(|column| (name, column)));
        let Some((name, column)) = given else {
            return Self { name: "timestamp", times: Times::Texts(TextColumn::Absent) };
        };
        let (times, unit_is_stated) = match column.data_type() {
            DataType::Timestamp(unit, _) => (timestamps(column, *unit), true),
            DataType::Int64 => (numbers::<Int64Type>(column), false),
            _ => return Self { name, times: Times::Texts(TextColumn::new(batch, name)) },
        };
        Self { name, times: Times::Numbers { times, nulls: column.nulls(), unit_is_stated } }
    }
}

/// What is finer than a millisecond is cut off, also before 1970; what is beyond all bounds stays there.
fn timestamps(column: &dyn Array, unit: TimeUnit) -> Cow<'_, [i64]> {
    let converted = |times: Cow<'_, [i64]>, convert: fn(i64) -> i64| {
        Cow::Owned(times.iter().copied().map(convert).collect())
    };
    match unit {
        TimeUnit::Millisecond => numbers::<TimestampMillisecondType>(column),
        TimeUnit::Second => {
            converted(numbers::<TimestampSecondType>(column), |time| time.saturating_mul(1_000))
        }
        TimeUnit::Microsecond => {
            converted(numbers::<TimestampMicrosecondType>(column), |time| time.div_euclid(1_000))
        }
        TimeUnit::Nanosecond => {
            converted(numbers::<TimestampNanosecondType>(column), |time| time.div_euclid(1_000_000))
        }
    }
}

fn numbers<T: ArrowPrimitiveType<Native = i64>>(column: &dyn Array) -> Cow<'_, [i64]> {
    Cow::Borrowed(column.as_primitive_opt::<T>().map(|array| &**array.values()).unwrap_or_default())
}
