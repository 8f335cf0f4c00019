//! Batches for any table, made from a row's number alone.

use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BinaryArray, DictionaryArray, FixedSizeBinaryArray, Float64Array, Int8Array, Int16Array,
    MapArray, RecordBatch, StringArray, StructArray, TimestampMillisecondArray, TimestampSecondArray,
    UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Fields, TimeUnit};
use kelly_sql::{MigrationParams, Table};

/// 2024-05-06 07:08:09 UTC, a Monday, in milliseconds.
pub const BASE_MS: i64 = 1_714_979_289_000;

/// Retention under which rows of 2024 stay, and which does not carry a `DateTime` past its end in 2106.
pub fn long_retention() -> MigrationParams {
    MigrationParams {
        metrics_retention_hours: 50 * 365 * 24,
        retention_days: 50 * 365,
        audit_retention_days: 50 * 365,
        cluster: None,
    }
}

/// `rows` rows, the first at `start_ms` and each `step_ms` after the one before.
pub fn batch(table: Table, rows: usize, start_ms: i64, step_ms: i64) -> RecordBatch {
    let schema = table.arrow_schema();
    let times: Vec<i64> = (0..rows as i64).map(|row| start_ms + row * step_ms).collect();
    let columns =
        schema.fields().iter().map(|field| column(field.name(), field.data_type(), &times)).collect();
    RecordBatch::try_new(schema, columns).unwrap()
}

fn column(name: &str, data_type: &DataType, times: &[i64]) -> ArrayRef {
    let rows = times.len();
    match data_type {
        DataType::Dictionary(..) => {
            let keys = (0..rows).map(|row| (row % 3) as i32).collect::<Vec<_>>();
            let values = StringArray::from_iter_values((0..3).map(|number| format!("{name}-{number}")));
            Arc::new(DictionaryArray::<Int32Type>::try_new(keys.into(), Arc::new(values)).unwrap())
        }
        DataType::Utf8 => Arc::new(StringArray::from_iter_values(
            (0..rows).map(|row| format!("{name} {} – é", row % 1_000)),
        )),
        DataType::Binary => {
            Arc::new(BinaryArray::from_iter_values((0..rows).map(|row| [0xff, 0, row as u8])))
        }
        DataType::FixedSizeBinary(16) => {
            let ids =
                (0..rows).map(|row| (0x0190_a1b2_c3d4_7e5f_8a9b_0000_0000_0000 + row as u128).to_be_bytes());
            Arc::new(FixedSizeBinaryArray::try_from_iter(ids).unwrap())
        }
        DataType::Float64 => Arc::new(Float64Array::from_iter_values((0..rows).map(|row| row as f64 / 4.0))),
        DataType::UInt8 => Arc::new(UInt8Array::from_iter_values((0..rows).map(|row| (row % 2) as u8))),
        DataType::UInt16 => Arc::new(UInt16Array::from_iter_values((0..rows).map(|row| (row % 7) as u16))),
        DataType::UInt32 => Arc::new(UInt32Array::from_iter_values((0..rows).map(|row| row as u32))),
        DataType::UInt64 => Arc::new(UInt64Array::from_iter_values((0..rows).map(|row| row as u64 + 1))),
        // A tier of the rollups.
        DataType::Int8 => Arc::new(Int8Array::from_iter_values((0..rows).map(|row| (row % 6) as i8 + 1))),
        DataType::Int16 => Arc::new(Int16Array::from_iter_values((0..rows).map(|row| row as i16 - 1))),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            Arc::new(TimestampMillisecondArray::from(times.to_vec()).with_timezone("UTC"))
        }
        DataType::Timestamp(TimeUnit::Second, _) => {
            let days = times.iter().map(|time| time / 1_000);
            Arc::new(TimestampSecondArray::from_iter_values(days).with_timezone("UTC"))
        }
        DataType::Struct(fields) => Arc::new(structure(fields, times)),
        DataType::Map(entries, _) => {
            let DataType::Struct(fields) = entries.data_type() else { panic!("a map of {entries:?}") };
            // One entry a row.
            let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(1, rows));
            Arc::new(MapArray::new(Arc::clone(entries), offsets, structure(fields, times), None, false))
        }
        other => panic!("no sample for {other:?}"),
    }
}

fn structure(fields: &Fields, times: &[i64]) -> StructArray {
    let columns = fields.iter().map(|field| column(field.name(), field.data_type(), times)).collect();
    StructArray::new(fields.clone(), columns, None)
}
