//! Messages as a producer makes them, and what is read of them.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{Field, Schema};
use kelly_schemas::decode::{ArrowMessage, Origin, Rendering};
use kelly_schemas::{Fault, Limits, Metric};

/// 2024-09-11T15:30:50Z.
pub(crate) const LOG_TIME_MS: i64 = 1_726_068_650_000;
/// Five seconds before.
pub(crate) const TIME_MS: i64 = 1_726_068_645_000;

/// A row of values, or its fault's code and what is kept of it.
pub(crate) type Outcome = Result<Metric<'static>, (String, String)>;

pub(crate) fn origin(limits: &Limits) -> Origin<'_> {
    Origin { partition: 0, offset: 7, log_time_ms: LOG_TIME_MS, limits }
}

pub(crate) fn owned(metric: &Metric<'_>) -> Metric<'static> {
    let own = |text: &str| text.to_owned().into();
    Metric {
        metric_name: own(&metric.metric_name),
        metric_type: own(&metric.metric_type),
        value: metric.value,
        timestamp_ms: metric.timestamp_ms,
        account_id: own(&metric.account_id),
        conversation_id: own(&metric.conversation_id),
        user_id: own(&metric.user_id),
        metadata: own(&metric.metadata),
    }
}

pub(crate) fn read_with(payload: &[u8], limits: &Limits) -> Result<Vec<Outcome>, Fault> {
    let message = ArrowMessage::read(payload, limits).map_err(|reject| reject.fault)?;
    let mut rows = Vec::new();
    let mut rendering = Rendering::of_a_message();
    for columns in message.batches() {
        columns.rows(&origin(limits), &mut rendering, &mut |number, row| {
            assert_eq!(number as usize, rows.len(), "rows come in order");
            rows.push(row.map(|row| owned(&row.to_metric())).map_err(|reject| {
                let kept = String::from_utf8(reject.kept_bytes().into_owned()).expect("a rendering is text");
                (reject.fault.code().to_owned(), kept)
            }));
        });
    }
    assert_eq!(rows.len(), message.rows());
    Ok(rows)
}

pub(crate) fn read(payload: &[u8]) -> Result<Vec<Outcome>, Fault> {
    read_with(payload, &Limits::default())
}

pub(crate) fn good(payload: &[u8]) -> Vec<Metric<'static>> {
    read(payload).expect("can be read").into_iter().map(|row| row.expect("is good")).collect()
}

pub(crate) fn stream(batches: &[RecordBatch]) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batches[0].schema()).expect("a stream");
    batches.iter().for_each(|batch| writer.write(batch).expect("is written"));
    writer.into_inner().expect("ends")
}

pub(crate) fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("a batch")
}

/// One row with its name and its value, and other columns.
pub(crate) fn with(mut others: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    others.push(("metric_name", texts(&[Some("m")])));
    others.push(("value", Arc::new(Float64Array::from(vec![1.5]))));
    stream(&[batch(others)])
}

pub(crate) fn texts(texts: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(texts.to_vec()))
}
