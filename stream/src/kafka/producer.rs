//! Appending: records go to librdkafka's queue, the answer comes when the last is acknowledged.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{
    BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer,
};
use tokio::sync::oneshot;

use super::batch;
use super::config::KafkaConfig;
use super::context::LoggingContext;
use super::failure::failure;
use crate::bounds::{self, MAX_RECORD_BYTES};
use crate::error::LogError;
use crate::port::{NewRecord, Position, Result};

/// What a record costs in the queue besides its key and payload.
const RECORD_OVERHEAD_BYTES: usize = 128;

/// The header both logs keep.
const CONTENT_TYPE: &str = "content-type";

type Native = ThreadedProducer<DeliveryContext>;

/// The appending side of the log.
pub(super) struct Producer {
    config: Arc<KafkaConfig>,
    bounds: Arc<Bounds>,
    current: RwLock<Current>,
}

/// The client that sends.
enum Current {
    /// Nothing was appended yet. A client's thread costs most of a percent of a core even when it has nothing to do, and
    /// an instance that only reads has no use for one.
    Unused,
    /// Replaced when librdkafka calls it fatally broken.
    Open(Arc<Native>),
    Closed,
}

impl Producer {
    pub(super) fn new(config: Arc<KafkaConfig>) -> Result<Self> {
        // Wrong properties, and such as go ill together, are refused now and not by the first append.
        let _made: BaseProducer = config
            .producer()
            .create()
            .map_err(|error| config.not_created("create a Kafka producer", error))?;
        let bounds = Arc::new(Bounds {
            limit: Load { records: config.queue_records, bytes: config.queue_bytes },
            waiting: Mutex::default(),
        });
        Ok(Self { config, bounds, current: RwLock::new(Current::Unused) })
    }

    /// Takes all records or none, and answers when the last of them is acknowledged.
    pub(super) async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Position>> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let load = load_of(&records)?;
        let reservation = Bounds::reserve(&self.bounds, load)?;
        let native = self.native()?;
        let (reply, answer) = oneshot::channel();
        let pending = Arc::new(Pending {
            state: Mutex::new(PendingState {
                positions: vec![Position { partition: 0, offset: 0 }; records.len()],
                left: records.len(),
                failure: None,
                may_be_there: false,
                reply: Some(reply),
            }),
            _reservation: reservation,
        });
        enqueue(&native, &records, &pending);
        drop(pending);

        let failed = match answer.await {
            Ok(Ok(positions)) => return Ok(positions),
            Ok(Err(failed)) => failed,
            // Every ticket answers when it is dropped, so this is a producer torn down half-way.
            Err(_) => Failed { error: KafkaError::Canceled, may_be_there: true },
        };
        if native.client().fatal_error().is_some() {
            self.replace(&native).await;
        }
        if failed.error.rdkafka_error_code() == Some(Code::TopicAuthorizationFailed)
            && let Some(first) = records.first()
        {
            self.ask_anew(native, first.topic.clone()).await;
        }
        Err(explain(failed, &records))
    }

    /// A topic that was refused once is refused by librdkafka itself until it hears of the topic
    /// again, which by itself takes minutes: so that a right granted since counts, it asks now.
    async fn ask_anew(&self, native: Arc<Native>, topic: Arc<str>) {
        let timeout = self.config.request_timeout;
        let asked = tokio::task::spawn_blocking(move || {
            native.client().fetch_metadata(Some(&topic), timeout).map(drop)
        });
        if let Ok(Err(error)) = asked.await {
            tracing::debug!(%error, "asking for a refused topic");
        }
    }

    /// Waits until everything taken is answered, then lets go. Blocks.
    pub(super) fn close(&self) -> Result<()> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let Current::Open(native) = std::mem::replace(&mut *current, Current::Closed) else { return Ok(()) };
        drop(current);
        // Every record is answered within the delivery time-out; the rest is for its report.
        native
            .flush(self.config.delivery_timeout + Duration::from_secs(1))
            .map_err(|error| failure("wait for the last records to be acknowledged", error))
    }

    fn native(&self) -> Result<Arc<Native>> {
        match &*self.current.read().unwrap_or_else(PoisonError::into_inner) {
            Current::Open(native) => return Ok(native.clone()),
            Current::Closed => return Err(LogError::Closed),
            Current::Unused => {}
        }
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        match &*current {
            Current::Open(native) => Ok(native.clone()),
            Current::Closed => Err(LogError::Closed),
            Current::Unused => {
                let native = create(&self.config)?;
                *current = Current::Open(native.clone());
                Ok(native)
            }
        }
    }

    /// A fatal error (an idempotent producer that lost its place) ends a producer for good; a new
    /// one starts afresh. What was in flight has been answered as unknown.
    async fn replace(&self, broken: &Arc<Native>) {
        let fresh = match create(&self.config) {
            Ok(fresh) => fresh,
            Err(error) => {
                tracing::error!(%error, "could not replace the broken Kafka producer; the next append tries again");
                return;
            }
        };
        let old = {
            let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
            match &mut *current {
                Current::Open(now) if Arc::ptr_eq(now, broken) => std::mem::replace(now, fresh),
                // Closed, or another append replaced it first.
                _ => fresh,
            }
        };
        tracing::warn!("replaced the Kafka producer after a fatal error");
        // Dropping joins its thread, which must not hold up the runtime.
        tokio::task::spawn_blocking(move || drop(old));
    }
}

fn create(config: &KafkaConfig) -> Result<Arc<Native>> {
    config
        .producer()
        .create_with_context(DeliveryContext)
        .map(Arc::new)
        .map_err(|error| config.not_created("create a Kafka producer", error))
}

fn load_of(records: &[NewRecord]) -> Result<Load> {
    let mut bytes = 0;
    for record in records {
        bounds::verify_record(record)?;
        bytes += bounds::size_of(record) + RECORD_OVERHEAD_BYTES;
    }
    Ok(Load { records: records.len(), bytes })
}

fn enqueue(native: &Native, records: &[NewRecord], pending: &Arc<Pending>) {
    for (index, record) in records.iter().enumerate() {
        let ticket = Box::new(Ticket { pending: pending.clone(), index, answered: false });
        let mut native_record = BaseRecord::<[u8], [u8], Box<Ticket>>::with_opaque_to(&record.topic, ticket);
        // To compaction an empty payload is a value, and none is the end of its key. Who reads cannot tell them apart.
        if !record.payload.is_empty() {
            native_record = native_record.payload(&record.payload[..]);
        }
        if let Some(key) = &record.key {
            native_record = native_record.key(&key[..]);
        }
        if let Some(partition) = record.partition {
            // Kafka counts partitions in an i32; a larger number does not exist and is answered so.
            native_record = native_record.partition(i32::try_from(partition).unwrap_or(i32::MAX));
        }
        if let Some(content_type) = &record.content_type {
            native_record = native_record.headers(
                OwnedHeaders::new_with_capacity(1)
                    .insert(Header { key: CONTENT_TYPE, value: Some(content_type.as_bytes()) }),
            );
        }
        if let Err((error, refused)) = native.send(native_record) {
            let not_sent = || Failed { error: error.clone(), may_be_there: false };
            refused.delivery_opaque.answer(Err(not_sent()));
            // What follows is not sent: an order with a hole in it would be worse than an end.
            for later in index + 1..records.len() {
                Ticket { pending: pending.clone(), index: later, answered: false }.answer(Err(not_sent()));
            }
            return;
        }
    }
}

/// Why an append failed.
#[derive(Debug)]
struct Failed {
    error: KafkaError,
    /// Whether the record, or another one of the append, is on the log or may be.
    may_be_there: bool,
}

fn explain(failed: Failed, records: &[NewRecord]) -> LogError {
    let Failed { error, may_be_there } = failed;
    let topic = records.first().map_or("", |record| &record.topic);
    let doing = format!("append {} records to {topic}", records.len());
    if may_be_there {
        return LogError::Unknown { doing, source: Some(Box::new(error)) };
    }
    match error.rdkafka_error_code() {
        Some(Code::QueueFull) => LogError::Full { what: "the queue towards Kafka".into() },
        Some(Code::UnknownTopic | Code::UnknownTopicOrPartition) => {
            LogError::UnknownTopic { topic: topic.into() }
        }
        Some(Code::UnknownPartition) => LogError::UnknownPartition {
            topic: topic.into(),
            partition: records.iter().find_map(|record| record.partition).unwrap_or_default(),
        },
        Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge) => {
            LogError::TooLarge {
                what: format!("a record for {topic}, by the topic's own max.message.bytes,"),
                bytes: records.iter().map(|record| record.payload.len()).max().unwrap_or_default(),
                limit: MAX_RECORD_BYTES,
            }
        }
        Some(
            Code::InvalidRecord
            | Code::InvalidTimestamp
            | Code::InvalidRequiredAcks
            | Code::UnsupportedForMessageFormat,
        ) => LogError::Refused {
            doing,
            fix: "the broker does not take these records, see the cause".into(),
            source: Some(Box::new(error)),
        },
        _ => failure(doing, error),
    }
}

/// What waits, or may wait.
#[derive(Debug, Clone, Copy, Default)]
struct Load {
    records: usize,
    bytes: usize,
}

/// The queue's bound: an append beyond it is refused whole.
struct Bounds {
    limit: Load,
    waiting: Mutex<Load>,
}

impl Bounds {
    fn reserve(bounds: &Arc<Self>, load: Load) -> Result<Reservation> {
        for (what, asked, limit) in [
            ("an append (in bytes)", load.bytes, bounds.limit.bytes),
            ("an append (in records)", load.records, bounds.limit.records),
        ] {
            if asked > limit {
                return Err(LogError::TooLarge { what: what.into(), bytes: asked, limit });
            }
        }
        let mut waiting = bounds.lock();
        if waiting.records + load.records > bounds.limit.records
            || waiting.bytes + load.bytes > bounds.limit.bytes
        {
            return Err(LogError::Full {
                what: format!(
                    "{} records ({} bytes) wait for Kafka's acknowledgement",
                    waiting.records, waiting.bytes
                ),
            });
        }
        waiting.records += load.records;
        waiting.bytes += load.bytes;
        Ok(Reservation { bounds: bounds.clone(), load })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Load> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Reservation {
    bounds: Arc<Bounds>,
    load: Load,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut waiting = self.bounds.lock();
        waiting.records -= self.load.records;
        waiting.bytes -= self.load.bytes;
    }
}

/// One append under way; its reservation ends with the last of its tickets.
struct Pending {
    state: Mutex<PendingState>,
    _reservation: Reservation,
}

struct PendingState {
    positions: Vec<Position>,
    left: usize,
    failure: Option<KafkaError>,
    /// See [`Failed`].
    may_be_there: bool,
    reply: Option<oneshot::Sender<Result<Vec<Position>, Failed>>>,
}

/// One record under way.
pub(super) struct Ticket {
    pending: Arc<Pending>,
    index: usize,
    answered: bool,
}

impl Ticket {
    fn answer(mut self, outcome: Result<Position, Failed>) {
        self.settle(outcome);
    }

    fn settle(&mut self, outcome: Result<Position, Failed>) {
        self.answered = true;
        let mut state = self.pending.state.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(position) => {
                state.positions[self.index] = position;
                state.may_be_there = true;
            }
            Err(failed) => {
                state.may_be_there |= failed.may_be_there;
                state.failure.get_or_insert(failed.error);
            }
        }
        state.left -= 1;
        if state.left == 0
            && let Some(reply) = state.reply.take()
        {
            let answer = match state.failure.take() {
                None => Ok(std::mem::take(&mut state.positions)),
                Some(error) => Err(Failed { error, may_be_there: state.may_be_there }),
            };
            // The caller may have given up waiting; there is nobody else to tell.
            let _ = reply.send(answer);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.answered {
            self.settle(Err(Failed { error: KafkaError::Canceled, may_be_there: true }));
        }
    }
}

/// Receives librdkafka's delivery reports.
pub(super) struct DeliveryContext;

impl ClientContext for DeliveryContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        LoggingContext.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        LoggingContext.error(error, reason);
    }
}

impl ProducerContext for DeliveryContext {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, report: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        ticket.answer(match report {
            Ok(message) => match (u32::try_from(message.partition()), u64::try_from(message.offset())) {
                (Ok(partition), Ok(offset)) => Ok(Position { partition, offset }),
                // Acknowledged, but with no offset (an idempotent retry the broker had already).
                _ => Err(Failed { error: KafkaError::MessageProduction(Code::NoOffset), may_be_there: true }),
            },
            Err((error, message)) => {
                Err(Failed { error: error.clone(), may_be_there: batch::may_be_on_the_log(message) })
            }
        });
    }
}
