//! Rows on their way to another engine: many a message, each with the place where it first stood.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use kelly_alerts::Place as RowPlace;
use kelly_schemas::Metric;
use kelly_stream::NewRecord;
use serde::{Deserialize, Serialize};

/// The content type of these messages.
pub(crate) const CONTENT_TYPE: &str = "application/vnd.kelly.evaluator-rows";

/// The form of a message, its first byte.
const FORM: u8 = 1;

/// A message is closed when its rows reach this.
const MESSAGE_BYTES: usize = 256 * 1024;

/// A row as it is written.
#[derive(Debug, Serialize, Deserialize)]
struct Written<'a> {
    partition: u32,
    offset: i64,
    row: u32,
    timestamp_ms: i64,
    value: f64,
    metric_name: &'a str,
    metric_type: &'a str,
    account_id: &'a str,
    conversation_id: &'a str,
    user_id: &'a str,
    metadata: &'a str,
}

/// Gathers rows by the partition they go to.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    open: BTreeMap<u32, Vec<u8>>,
    full: Vec<(u32, Vec<u8>)>,
}

impl Rows {
    /// Adds a row that first stood there.
    pub(crate) fn push(&mut self, to: u32, place: RowPlace, metric: &Metric<'_>) {
        let written = Written {
            partition: place.partition,
            offset: place.offset,
            row: place.row,
            timestamp_ms: metric.timestamp_ms,
            value: metric.value,
            metric_name: &metric.metric_name,
            metric_type: &metric.metric_type,
            account_id: &metric.account_id,
            conversation_id: &metric.conversation_id,
            user_id: &metric.user_id,
            metadata: &metric.metadata,
        };
        let open = std::mem::take(self.open.entry(to).or_insert_with(|| vec![FORM]));
        let bytes = postcard::to_extend(&written, open);
        let bytes = bytes.unwrap_or_else(|error| unreachable!("a row can always be written: {error}"));
        if bytes.len() >= MESSAGE_BYTES {
            self.full.push((to, bytes));
            self.open.remove(&to);
        } else {
            self.open.insert(to, bytes);
        }
    }

    /// What was gathered, as records of this topic, in their order.
    pub(crate) fn take(&mut self, topic: &Arc<str>) -> Vec<NewRecord> {
        let open = std::mem::take(&mut self.open);
        let full = std::mem::take(&mut self.full);
        full.into_iter()
            .chain(open)
            .map(|(partition, bytes)| NewRecord {
                topic: topic.clone(),
                partition: Some(partition),
                key: None,
                payload: Bytes::from(bytes),
                content_type: Some(CONTENT_TYPE.into()),
            })
            .collect()
    }
}

/// Hands over the rows of a message of [`ROWS_TOPIC`](crate::ROWS_TOPIC) in their order, with the places where they first stood;
/// `false` when the rest of it, or all of it, is none.
pub fn read(payload: &[u8], sink: &mut dyn FnMut(RowPlace, &Metric<'_>)) -> bool {
    let Some((&FORM, mut rest)) = payload.split_first() else { return false };
    while !rest.is_empty() {
        let Ok((row, after)) = postcard::take_from_bytes::<Written<'_>>(rest) else { return false };
        rest = after;
        let metric = Metric {
            metric_name: Cow::Borrowed(row.metric_name),
            metric_type: Cow::Borrowed(row.metric_type),
            value: row.value,
            timestamp_ms: row.timestamp_ms,
            account_id: Cow::Borrowed(row.account_id),
            conversation_id: Cow::Borrowed(row.conversation_id),
            user_id: Cow::Borrowed(row.user_id),
            metadata: Cow::Borrowed(row.metadata),
        };
        sink(RowPlace { partition: row.partition, offset: row.offset, row: row.row }, &metric);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_by_partition_and_in_their_order() {
        let mut rows = Rows::default();
        let mut expected: BTreeMap<u32, Vec<(RowPlace, String, f64)>> = BTreeMap::new();
        for number in 0..9_000_u32 {
            let place = RowPlace { partition: number % 3, offset: i64::from(number), row: number % 7 };
            let mut metric = kelly_alerts::builtin::raised_row(5);
            metric.value = f64::from(number);
            metric.metadata = format!("{{\"n\":\"{}\"}}", "x".repeat(50)).into();
            metric.account_id = format!("a-{number}").into();
            rows.push(number % 2, place, &metric);
            expected.entry(number % 2).or_default().push((
                place,
                metric.account_id.to_string(),
                metric.value,
            ));
        }
        let records = rows.take(&"t".into());
        assert!(records.len() > 2, "messages are bounded");
        let mut found: BTreeMap<u32, Vec<(RowPlace, String, f64)>> = BTreeMap::new();
        for record in &records {
            let rows = found.entry(record.partition.unwrap()).or_default();
            assert!(read(&record.payload, &mut |place, metric| {
                rows.push((place, metric.account_id.to_string(), metric.value));
            }));
        }
        assert_eq!(found, expected);
        assert!(rows.take(&"t".into()).is_empty());
    }

    #[test]
    fn what_is_no_message_is_told() {
        for bytes in [&b""[..], b"\x02", b"\x01\xff\xff\xff"] {
            assert!(!read(bytes, &mut |_, _| panic!("no row")));
        }
    }
}
