//! Metrics as an Arrow message: what Kelly itself puts on the log for rows that came as Arrow, and what a
//! producer in Rust may use. The reader's side is [`decode::ArrowMessage`](crate::decode::ArrowMessage).

use std::sync::Arc;

use arrow_array::builder::{
    Float64Builder, StringBuilder, StringDictionaryBuilder, TimestampMillisecondBuilder,
};
use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema, TimeUnit};

/// A metric on its way; what it does not say is absent.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct NewMetric<'a> {
    /// What is measured.
    pub metric_name: &'a str,
    /// How it behaves.
    pub metric_type: Option<&'a str>,
    /// The number.
    pub value: f64,
    /// When, ms since the epoch.
    pub timestamp_ms: Option<i64>,
    /// The account it is about.
    pub account_id: Option<&'a str>,
    /// The conversation it is about.
    pub conversation_id: Option<&'a str>,
    /// The user it is about.
    pub user_id: Option<&'a str>,
    /// The text of one JSON object.
    pub metadata: Option<&'a str>,
}

/// Gathers metrics into one Arrow message: one record batch, each distinct text once.
pub struct ArrowEncoder {
    metric_name: Texts,
    metric_type: Texts,
    value: Float64Builder,
    timestamp: TimestampMillisecondBuilder,
    account_id: Texts,
    conversation_id: Texts,
    user_id: Texts,
    metadata: StringBuilder,
    rows: usize,
    bytes: usize,
}

/// A column of texts, each distinct one once.
#[derive(Default)]
struct Texts {
    column: StringDictionaryBuilder<Int32Type>,
    distinct: usize,
}

impl Texts {
    /// Appends a text and says how many bytes it adds to the message besides its key.
    fn push(&mut self, text: Option<&str>) -> usize {
        const OFFSET_BYTES: usize = 4;
        let Some(text) = text else {
            self.column.append_null();
            return 0;
        };
        let key = self.column.append(text).expect("memory ends long before 2^31 distinct texts");
        if (key as usize) < self.distinct {
            return 0;
        }
        self.distinct += 1;
        text.len() + OFFSET_BYTES
    }
}

impl Default for ArrowEncoder {
    fn default() -> Self {
        Self {
            metric_name: Texts::default(),
            metric_type: Texts::default(),
            value: Float64Builder::new(),
            timestamp: TimestampMillisecondBuilder::new().with_data_type(milliseconds()),
            account_id: Texts::default(),
            conversation_id: Texts::default(),
            user_id: Texts::default(),
            metadata: StringBuilder::new(),
            rows: 0,
            bytes: FRAMES_BYTES,
        }
    }
}

/// The schema, the heads of the batches and the padding of their buffers, generously.
const FRAMES_BYTES: usize = 16 << 10;

impl ArrowEncoder {
    /// Adds a metric.
    pub fn push(&mut self, metric: &NewMetric<'_>) {
        /// Value, time, five keys, the end of the metadata, and a bit of validity each.
        const NUMBERS_OF_A_ROW: usize = 8 + 8 + 5 * 4 + 4 + 1;
        self.rows += 1;
        self.bytes += NUMBERS_OF_A_ROW + metric.metadata.map_or(0, str::len);
        self.bytes += self.metric_name.push(Some(metric.metric_name))
            + self.metric_type.push(metric.metric_type)
            + self.account_id.push(metric.account_id)
            + self.conversation_id.push(metric.conversation_id)
            + self.user_id.push(metric.user_id);
        self.value.append_value(metric.value);
        self.timestamp.append_option(metric.timestamp_ms);
        self.metadata.append_option(metric.metadata);
    }

    /// Metrics added.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// What the message will have at most.
    #[must_use]
    pub fn bytes_at_most(&self) -> usize {
        self.bytes
    }

    /// The message.
    ///
    /// # Errors
    /// When Arrow cannot write the columns, which no message within the limits makes it.
    pub fn finish(mut self) -> Result<Vec<u8>, ArrowError> {
        let columns: [(&str, ArrayRef, bool); 8] = [
            ("metric_name", Arc::new(self.metric_name.column.finish()), false),
            ("metric_type", Arc::new(self.metric_type.column.finish()), true),
            ("value", Arc::new(self.value.finish()), false),
            ("timestamp", Arc::new(self.timestamp.finish()), true),
            ("account_id", Arc::new(self.account_id.column.finish()), true),
            ("conversation_id", Arc::new(self.conversation_id.column.finish()), true),
            ("user_id", Arc::new(self.user_id.column.finish()), true),
            ("metadata", Arc::new(self.metadata.finish()), true),
        ];
        let field = |(name, column, nullable): &(&str, ArrayRef, bool)| {
            Field::new(*name, column.data_type().clone(), *nullable)
        };
        let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
        let columns = columns.into_iter().map(|(_, column, _)| column).collect();
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns)?;
        let mut writer = StreamWriter::try_new(Vec::with_capacity(self.bytes), &schema)?;
        writer.write(&batch)?;
        writer.into_inner()
    }
}

fn milliseconds() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}
