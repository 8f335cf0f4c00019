//! Tables of Arrow and of Parquet.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, Decimal128Array, Float64Array, Int64Array, StringArray, TimestampMillisecondArray, UInt64Array,
};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};

use super::*;

pub(super) fn table() -> RecordBatch {
    let columns: [(&str, ArrayRef); 4] = [
        ("timestamp", Arc::new(TimestampMillisecondArray::from(vec![Some(17), None]).with_timezone("UTC"))),
        ("metric_name", Arc::new(StringArray::from(vec!["a", "b"]))),
        ("value", Arc::new(Float64Array::from(vec![0.1, 1e130]))),
        ("shard", Arc::new(Int64Array::from(vec![None, Some(7)]))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

pub(super) const TABLE_ROWS: [&str; 2] =
    [r#"{"timestamp":17,"metric_name":"a","value":0.1}"#, r#"{"metric_name":"b","value":1e+130,"shard":7}"#];

pub(super) fn arrow_stream(batch: &RecordBatch, compression: Option<CompressionType>) -> Vec<u8> {
    let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batch.schema(), options).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}

#[test]
fn tables_of_arrow_and_parquet_are_read() {
    let batch = table();
    let mut file = FileWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    file.write(&batch).unwrap();
    let file = file.into_inner().unwrap();
    let mut parquet = parquet::arrow::ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    parquet.write(&batch).unwrap();
    let parquet = parquet.into_inner().unwrap();
    for (name, bytes) in [
        ("a.arrow", arrow_stream(&batch, None)),
        ("a.arrow", arrow_stream(&batch, Some(CompressionType::LZ4_FRAME))),
        ("a.arrows", arrow_stream(&batch, Some(CompressionType::ZSTD))),
        ("a.feather", file),
        ("a.parquet.zst", zstd::encode_all(&parquet[..], 1).unwrap()),
        ("a.parquet", parquet),
    ] {
        let (rows, bad) = read_with(name, &bytes, &Options::default()).unwrap();
        assert_eq!((rows, bad), (TABLE_ROWS.map(str::to_owned).to_vec(), vec![]), "{name}");
    }
}

#[test]
fn a_stream_that_lies_about_itself_is_refused() {
    let good = arrow_stream(&table(), Some(CompressionType::LZ4_FRAME));
    for cut in [1, 8, 40, good.len() / 2, good.len() - 20] {
        assert!(read_with("a.arrow", &good[..cut], &Options::default()).is_err(), "cut at {cut}");
    }
    // Whatever byte is changed, it is read or refused, and nothing is reserved that is not there.
    for at in 0..good.len() {
        let mut changed = good.clone();
        changed[at] ^= 0xff;
        let _ = read_with("a.arrow", &changed, &Options::default());
    }
}

#[test]
fn only_a_plain_stream_of_known_columns_is_sent_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let batch = table();
    let known = batch.project(&[0, 1, 2]).unwrap();
    let path = directory.path().join("a.arrow");
    let is_sendable = |bytes: Vec<u8>, options: &Options| {
        std::fs::write(&path, bytes).unwrap();
        Source::new(&path, options).unwrap().is_sendable_arrow().unwrap()
    };
    assert!(is_sendable(arrow_stream(&known, None), &Options::default()));
    assert!(!is_sendable(arrow_stream(&known, Some(CompressionType::ZSTD)), &Options::default()));
    assert!(!is_sendable(arrow_stream(&batch, None), &Options::default()), "a column is unknown");
    let options = Options { account: Some("a".into()), ..Options::default() };
    assert!(!is_sendable(arrow_stream(&known, None), &options));
}

#[test]
fn long_numbers_keep_their_digits() {
    let decimals = |numbers: Vec<i128>| {
        Arc::new(Decimal128Array::from(numbers).with_precision_and_scale(38, 2).unwrap())
    };
    let columns: [(&str, ArrayRef); 6] = [
        ("timestamp", Arc::new(UInt64Array::from(vec![17, 18]))),
        ("value", decimals(vec![-5, 12_345])),
        ("metric_name", Arc::new(StringArray::from(vec!["m", "m"]))),
        ("account_id", Arc::new(UInt64Array::from(vec![u64::MAX, 7]))),
        ("hash", Arc::new(UInt64Array::from(vec![17_293_822_569_102_704_641, 1]))),
        ("price", decimals(vec![12_345_678_901_234_567_890_123_456_789_012_345, -1])),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let (rows, bad) = read_with("a.arrow", &arrow_stream(&batch, None), &Options::default()).unwrap();
    assert_eq!((rows.len(), bad.len()), (2, 0), "{bad:?}");
    assert_eq!(
        rows[0],
        r#"{"timestamp":17,"value":-0.05,"metric_name":"m","account_id":"18446744073709551615","hash":17293822569102704641,"price":123456789012345678901234567890123.45}"#
    );
}
