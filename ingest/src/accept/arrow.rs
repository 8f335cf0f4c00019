//! Bodies of Arrow: their rows are checked and written anew, a partition at a time, in one plain form. So what
//! lies on the log is small and known to be readable, whatever form a client chose.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::ArrowError;
use bytes::Bytes;
use kelly_schemas::decode::{ARROW_STREAM, ArrowMessage, ArrowMetric, ArrowText, Rendering};
use kelly_schemas::encode::{ArrowEncoder, NewMetric};
use kelly_schemas::{Limits, Stream};
use kelly_stream::NewRecord;
use kelly_stream::partitioner::partition_of;

use super::arrival::Arrival;
use super::outcome::{AcceptError, BadRow, Checked, MAX_REPORTED};

/// Bytes at which a message is closed: what Kafka takes by default with one more row of any size, and far under what
/// is read.
const MESSAGE_BYTES: usize = 960 << 10;

/// Checks all rows and makes the records of them.
pub(super) fn check(
    body: &[u8],
    arrival: &Arrival,
    limits: &Limits,
    partitions: u32,
) -> Result<Checked, AcceptError> {
    let origin = &arrival.origin(limits);
    let message =
        ArrowMessage::read(body, origin.limits).map_err(|reject| AcceptError::Body(reject.fault))?;
    let mut messages = Messages { max_rows: origin.limits.max_arrow_rows, ..Messages::default() };
    let (mut bad, mut total) = (Vec::new(), 0);
    for columns in message.batches() {
        columns.rows(origin, &mut Rendering::none(), &mut |index, row| {
            let checked = row.map_err(|reject| reject.fault).and_then(|row| {
                arrival.check_account(row.account_id.map_or("", |account| account.as_str()))?;
                Ok(row)
            });
            match checked {
                // After the first bad row nothing is sent: the others are looked at for their faults alone.
                Ok(_) if total > 0 => {}
                Ok(row) => messages.push(partition_of(row.partition_key().as_bytes(), partitions), &row),
                Err(fault) => {
                    total += 1;
                    if bad.len() < MAX_REPORTED {
                        bad.push(BadRow { index, line: None, fault });
                    }
                }
            }
        });
    }
    if total > 0 {
        return Err(AcceptError::Rows { bad, total, rows: message.rows() });
    }
    let records = messages.finish().map_err(AcceptError::Encoding)?;
    Ok(Checked { rows: message.rows(), ids: Vec::new(), records })
}

/// Rows gathered into messages, a partition at a time.
#[derive(Default)]
struct Messages {
    max_rows: usize,
    open: BTreeMap<u32, ArrowEncoder>,
    full: Vec<(u32, ArrowEncoder)>,
}

impl Messages {
    fn push<'r>(&mut self, partition: u32, row: &ArrowMetric<'r>) {
        let text = |text: Option<ArrowText<'r>>| text.map(|text| text.as_str());
        let message = self.open.entry(partition).or_default();
        message.push(&NewMetric {
            metric_name: row.metric_name.as_str(),
            metric_type: text(row.metric_type),
            value: row.value,
            // Without one the row takes the log's time, as a JSON row does.
            timestamp_ms: row.is_time_given.then_some(row.timestamp_ms),
            account_id: text(row.account_id),
            conversation_id: text(row.conversation_id),
            user_id: text(row.user_id),
            metadata: (!row.metadata.is_empty()).then_some(row.metadata),
        });
        if message.bytes_at_most() >= MESSAGE_BYTES || message.rows() >= self.max_rows {
            self.full.push((partition, std::mem::take(message)));
        }
    }

    fn finish(self) -> Result<Vec<NewRecord>, ArrowError> {
        let topic: Arc<str> = Stream::Metrics.topic().into();
        let content_type: Arc<str> = ARROW_STREAM.into();
        let open = self.open.into_iter().filter(|(_, message)| message.rows() > 0);
        self.full
            .into_iter()
            .chain(open)
            .map(|(partition, message)| {
                Ok(NewRecord {
                    topic: Arc::clone(&topic),
                    partition: Some(partition),
                    key: None,
                    payload: Bytes::from(message.finish()?),
                    content_type: Some(Arc::clone(&content_type)),
                })
            })
            .collect()
    }
}
