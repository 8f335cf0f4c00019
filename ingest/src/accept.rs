//! Acceptance over HTTP: a body is checked whole, row by row, and only then appended to the log.
//! One bad row refuses the body; nothing is half-done. Accepted means durable on the log.

mod arrival;
mod arrow;
mod outcome;

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use kelly_schemas::decode::{self, Form, RawRow};
use kelly_schemas::{Limits, Stream, ids};
use kelly_stream::partitioner::partition_of;
use kelly_stream::{Log, LogError, NewRecord};
use serde_json::value::RawValue;
use tokio::sync::Semaphore;
use uuid::Uuid;

pub use self::arrival::{AdmitAll, AdmitRows, Arrival};
use self::outcome::Checked;
pub use self::outcome::{AcceptError, Accepted, BadRow, MAX_REPORTED};

/// Bytes of payload gathered into one message, so that a large body becomes few messages and none
/// comes near the size the log refuses.
const MESSAGE_BYTES: usize = 256 << 10;
/// Bytes that are added to a row on its way into a message: brackets, and an id where it has none.
/// A row is checked with so much less room, so that what was accepted is never refused later.
const ROOM_FOR_WRAPPING: usize = 64;
/// What a body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Metrics.
    Metrics,
    /// Activity events.
    Activity,
}

impl Kind {
    /// The stream that takes them.
    #[must_use]
    pub fn stream(self) -> Stream {
        match self {
            Self::Metrics => Stream::Metrics,
            Self::Activity => Stream::Activity,
        }
    }
}

/// Takes bodies and appends them to the log.
#[derive(Clone)]
pub struct Acceptor {
    log: Arc<dyn Log>,
    limits: Limits,
    metric_partitions: u32,
    activity_partitions: u32,
    /// Bounds the Arrow bodies being checked at once, each with its rows in memory twice. The others wait, and how many
    /// wait is for whoever takes bodies to bound.
    checking: Arc<Semaphore>,
}

impl Acceptor {
    /// Reads how many partitions the topics have; they must exist.
    pub async fn new(log: Arc<dyn Log>, limits: Limits) -> Result<Self, LogError> {
        let limits = Limits {
            max_message_bytes: limits.max_message_bytes.saturating_sub(ROOM_FOR_WRAPPING),
            ..limits
        };
        let metric_partitions = log.partitions(Stream::Metrics.topic()).await?;
        let activity_partitions = log.partitions(Stream::Activity.topic()).await?;
        let checks = thread::available_parallelism().map_or(1, NonZero::get);
        let checking = Arc::new(Semaphore::new(checks));
        Ok(Self { log, limits, metric_partitions, activity_partitions, checking })
    }

    /// Checks a body and appends it. Returns when it is durable.
    pub async fn accept(
        &self,
        kind: Kind,
        body: &[u8],
        form: Form,
        arrival: &Arrival,
    ) -> Result<Accepted, AcceptError> {
        let checked = self.check(kind, body, form, arrival)?;
        self.append(checked, &*arrival.admission).await
    }

    /// Checks a body of metrics that is an Arrow IPC stream and appends it. Returns when it is durable.
    pub async fn accept_arrow(&self, body: Bytes, arrival: Arrival) -> Result<Accepted, AcceptError> {
        // It is never closed, so there always is a permit in the end.
        let permit = Arc::clone(&self.checking).acquire_owned().await.ok();
        let (limits, partitions) = (self.limits, self.metric_partitions);
        let admission = Arc::clone(&arrival.admission);
        // Thousands of rows are read and written anew: too long for a thread that serves others meanwhile. The permit
        // goes along, for the check goes on when nobody waits for it any more.
        let checked = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            arrow::check(&body, &arrival, &limits, partitions)
        });
        self.append(checked.await.map_err(AcceptError::BrokenOff)??, &*admission).await
    }

    async fn append(&self, checked: Checked, admission: &dyn AdmitRows) -> Result<Accepted, AcceptError> {
        let admitted = admission.admit(checked.rows).await;
        admitted.map_err(|retry_after| AcceptError::OverBudget { retry_after })?;
        let accepted = Accepted { rows: checked.rows, ids: checked.ids };
        if !checked.records.is_empty() {
            self.log.append(checked.records).await.map_err(AcceptError::Log)?;
        }
        Ok(accepted)
    }

    fn check(&self, kind: Kind, body: &[u8], form: Form, arrival: &Arrival) -> Result<Checked, AcceptError> {
        let now_ms = arrival.now_ms;
        let rows = decode::split_rows(body, form, &self.limits).map_err(AcceptError::Body)?;
        let origin = arrival.origin(&self.limits);
        let partitions = match kind {
            Kind::Metrics => self.metric_partitions,
            Kind::Activity => self.activity_partitions,
        };
        let mut messages = Messages::new(kind.stream().topic());
        let (mut ids, mut bad, mut total) = (Vec::new(), Vec::new(), 0);
        for row in &rows {
            let checked = match kind {
                Kind::Metrics => {
                    decode::metric(row, &origin).map_err(|reject| reject.fault).and_then(|metric| {
                        arrival.check_account(&metric.account_id)?;
                        messages.push(partition_of(metric.partition_key().as_bytes(), partitions), row.bytes);
                        Ok(())
                    })
                }
                Kind::Activity => {
                    decode::activity(row, &origin).map_err(|reject| reject.fault).and_then(|event| {
                        arrival.check_account(&event.account_id)?;
                        let partition = partition_of(event.partition_key().as_bytes(), partitions);
                        let derived = ids::derived_event_id(now_ms, 0, 0, row.index);
                        if event.id == derived {
                            // No id of its own: it gets one here, so that the answer can name it.
                            let id = id_at(now_ms);
                            messages.push(partition, &with_id(row, id));
                            ids.push(id);
                        } else {
                            messages.push(partition, row.bytes);
                            ids.push(event.id);
                        }
                        Ok(())
                    })
                }
            };
            if let Err(fault) = checked {
                total += 1;
                if bad.len() < MAX_REPORTED {
                    bad.push(BadRow { index: row.index, line: row.line, fault });
                }
            }
        }
        if total > 0 {
            return Err(AcceptError::Rows { bad, total, rows: rows.len() });
        }
        Ok(Checked { rows: rows.len(), ids, records: messages.finish() })
    }
}

/// A UUIDv7 of the moment: an event without a time of its own takes it from there.
fn id_at(now_ms: i64) -> Uuid {
    let milliseconds = u64::try_from(now_ms).unwrap_or_default();
    let mut random = [0; 10];
    random.copy_from_slice(&Uuid::new_v4().as_bytes()[..10]);
    uuid::Builder::from_unix_timestamp_millis(milliseconds, &random).into_uuid()
}

/// The row with an id. It was decoded before, so it is an object without doubled fields.
fn with_id(row: &RawRow<'_>, id: Uuid) -> Vec<u8> {
    let parsed: Result<BTreeMap<String, &RawValue>, _> = serde_json::from_slice(row.bytes);
    let id = serde_json::value::to_raw_value(&id);
    if let (Ok(mut fields), Ok(id)) = (parsed, id) {
        fields.insert("id".to_owned(), &id);
        if let Ok(bytes) = serde_json::to_vec(&fields) {
            return bytes;
        }
    }
    row.bytes.to_vec()
}

/// Rows gathered into messages, a partition at a time.
struct Messages {
    topic: Arc<str>,
    open: BTreeMap<u32, Vec<u8>>,
    done: Vec<NewRecord>,
}

impl Messages {
    fn new(topic: &str) -> Self {
        Self { topic: topic.into(), open: BTreeMap::new(), done: Vec::new() }
    }

    fn push(&mut self, partition: u32, row: &[u8]) {
        let message = self.open.entry(partition).or_default();
        if !message.is_empty() && message.len() + row.len() > MESSAGE_BYTES {
            let full = std::mem::take(message);
            self.done.push(record(&self.topic, partition, full));
        }
        message.push(if message.is_empty() { b'[' } else { b',' });
        message.extend_from_slice(row);
    }

    fn finish(mut self) -> Vec<NewRecord> {
        for (partition, message) in std::mem::take(&mut self.open) {
            self.done.push(record(&self.topic, partition, message));
        }
        self.done
    }
}

fn record(topic: &Arc<str>, partition: u32, mut message: Vec<u8>) -> NewRecord {
    message.push(b']');
    NewRecord {
        topic: Arc::clone(topic),
        partition: Some(partition),
        key: None,
        payload: Bytes::from(message),
        content_type: None,
    }
}
