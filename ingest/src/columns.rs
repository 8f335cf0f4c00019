//! Arrow columns in the forms the tables take.

use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, StringBuilder};
use arrow_array::{
    ArrayRef, Float64Array, Int16Array, MapArray, StructArray, TimestampMillisecondArray,
    TimestampSecondArray, UInt16Array, UInt32Array, UInt64Array,
};
use arrow_buffer::{OffsetBuffer, ScalarBuffer};
use kelly_sql::tables;

use crate::dictionary::Dictionary;
use crate::rollup::Summary;

/// Milliseconds since the epoch, UTC.
pub fn milliseconds(values: Vec<i64>) -> ArrayRef {
    Arc::new(TimestampMillisecondArray::from(values).with_timezone("UTC"))
}

/// Minutes since the epoch as seconds, UTC.
pub fn minutes(values: impl Iterator<Item = u32>) -> ArrayRef {
    let seconds: Vec<i64> = values.map(|minute| i64::from(minute) * 60).collect();
    Arc::new(TimestampSecondArray::from(seconds).with_timezone("UTC"))
}

/// Dictionary numbers as a dictionary column.
pub fn numbers(dictionary: &Dictionary, rows: impl Iterator<Item = u32>) -> ArrayRef {
    Arc::new(dictionary.column(rows.map(|number| number as i32).collect()))
}

/// Dictionary numbers as plain text.
pub fn texts(dictionary: &Dictionary, rows: impl Iterator<Item = u32>) -> ArrayRef {
    let mut builder = StringBuilder::new();
    rows.for_each(|number| builder.append_value(dictionary.get(number)));
    Arc::new(builder.finish())
}

/// A partition's number as the tables keep it. Kafka numbers partitions with an i32, but a topic of
/// 65,536 partitions is none of ours.
pub fn log_partition(partition: u32) -> u16 {
    u16::try_from(partition).unwrap_or(u16::MAX)
}

/// Where each row came from: partition, offset and row, in the tables' order.
#[derive(Debug, Default)]
pub struct Origins {
    offsets: Vec<u64>,
    rows: Vec<u32>,
}

impl Origins {
    /// The next row's origin.
    pub fn push(&mut self, offset: u64, row: u32) {
        self.offsets.push(offset);
        self.rows.push(row);
    }

    /// The three columns.
    pub fn columns(self, partition: u32) -> [ArrayRef; 3] {
        [
            Arc::new(UInt16Array::from_value(log_partition(partition), self.offsets.len())),
            Arc::new(UInt64Array::from(self.offsets)),
            Arc::new(UInt32Array::from(self.rows)),
        ]
    }
}

/// The five columns every tier has.
#[derive(Debug, Default)]
pub struct Summaries {
    count: Vec<u64>,
    sum: Vec<f64>,
    min: Vec<f64>,
    max: Vec<f64>,
    last_at: Vec<i64>,
    last: Vec<f64>,
}

impl Summaries {
    /// The next group's.
    pub fn push(&mut self, summary: &Summary) {
        self.count.push(summary.count);
        self.sum.push(summary.sum);
        self.min.push(summary.min);
        self.max.push(summary.max);
        self.last_at.push(summary.last.0);
        self.last.push(summary.last.1);
    }

    /// count, sum, min, max, last.
    pub fn columns(self) -> [ArrayRef; 5] {
        let last = StructArray::new(
            tables::last_fields(),
            vec![milliseconds(self.last_at), Arc::new(Float64Array::from(self.last))],
            None,
        );
        [
            Arc::new(UInt64Array::from(self.count)),
            Arc::new(Float64Array::from(self.sum)),
            Arc::new(Float64Array::from(self.min)),
            Arc::new(Float64Array::from(self.max)),
            Arc::new(last),
        ]
    }
}

/// The histogram column: one map a group.
#[derive(Debug)]
pub struct Histograms {
    ends: Vec<i32>,
    buckets: Vec<i16>,
    counts: Vec<u64>,
}

impl Default for Histograms {
    fn default() -> Self {
        Self { ends: vec![0], buckets: Vec::new(), counts: Vec::new() }
    }
}

impl Histograms {
    /// The next group's buckets.
    pub fn push(&mut self, buckets: impl Iterator<Item = (i16, u32)>) {
        for (bucket, count) in buckets {
            self.buckets.push(bucket);
            self.counts.push(u64::from(count));
        }
        self.ends.push(self.buckets.len() as i32);
    }

    /// The column.
    pub fn column(self) -> ArrayRef {
        let entries_field = tables::histogram_entries();
        let arrow_schema::DataType::Struct(fields) = entries_field.data_type().clone() else {
            unreachable!("a map's entries are a struct")
        };
        let entries = StructArray::new(
            fields,
            vec![Arc::new(Int16Array::from(self.buckets)), Arc::new(UInt64Array::from(self.counts))],
            None,
        );
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.ends));
        Arc::new(MapArray::new(entries_field, offsets, entries, None, false))
    }
}

/// Builders whose bytes are copied in as the rows come.
pub fn finish_text(mut builder: StringBuilder) -> ArrayRef {
    Arc::new(builder.finish())
}

/// The same for bytes.
pub fn finish_bytes(mut builder: BinaryBuilder) -> ArrayRef {
    Arc::new(builder.finish())
}
