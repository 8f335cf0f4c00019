//! The unsafe edge to librdkafka: records in batches without a copy, and commits that report each
//! partition. Nothing else in this crate touches a native pointer, but for `topic_ids`.

use std::ffi::{CStr, CString, c_void};
use std::marker::PhantomData;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::Offset;
use rdkafka::bindings as native;
use rdkafka::client::{Client, ClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{IsError, KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::{TopicPartitionList, TopicPartitionListElem};
use rdkafka::types::RDKafkaRespErr;

use crate::port::{Committed, Record, TopicPartition};

/// The header both logs keep, as librdkafka wants to be asked for it.
const CONTENT_TYPE_NAME: &CStr = c"content-type";

const NO_ERROR: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;

/// A queue of records only: the partitions of a consumer are led here, so that its own queue holds
/// nothing but group events. That is what allows consuming in batches, which cannot serve events.
pub(super) struct RecordQueue {
    queue: *mut native::rd_kafka_queue_t,
}

// SAFETY: librdkafka's queues may be used from any thread; the pointer is owned by this value alone.
unsafe impl Send for RecordQueue {}

impl RecordQueue {
    pub(super) fn new<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> Self {
        // SAFETY: the client is alive; the queue it makes is destroyed in `drop`.
        let queue = unsafe { native::rd_kafka_queue_new(consumer.client().native_ptr()) };
        Self { queue }
    }

    /// Leads the records of a partition here. To be done before the partition is assigned.
    pub(super) fn lead<C: ConsumerContext>(&self, consumer: &BaseConsumer<C>, partition: &TopicPartition) {
        let Ok(topic) = CString::new(&*partition.topic) else { return };
        // SAFETY: both queues are alive; the reference taken by `get_partition` is given back.
        unsafe {
            let own = native::rd_kafka_queue_get_partition(
                consumer.client().native_ptr(),
                topic.as_ptr(),
                super::admin::native(partition.partition),
            );
            if !own.is_null() {
                native::rd_kafka_queue_forward(own, self.queue);
                native::rd_kafka_queue_destroy(own);
            }
        }
    }

    /// Takes at most `limit` records. Waits for the first only, at most `wait`.
    pub(super) fn take(&self, wait: Duration, limit: usize) -> MessageBatch<'_> {
        let mut messages = Vec::new();
        // librdkafka waits until the whole batch is full, so the first is asked for alone.
        if self.fill(&mut messages, wait, limit.min(1)) == 1 && limit > 1 {
            self.fill(&mut messages, Duration::ZERO, limit - 1);
        }
        MessageBatch { messages, _queue: PhantomData }
    }

    fn fill(
        &self,
        messages: &mut Vec<*mut native::rd_kafka_message_t>,
        wait: Duration,
        limit: usize,
    ) -> usize {
        messages.reserve(limit);
        // Rounded up: a caller that waits for what is left of a millisecond would ask without a pause until it is over.
        let wait = i32::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX);
        // SAFETY: `reserve` made room for `limit` pointers behind the length; librdkafka writes as
        // many as it returns, each a message now owned by the batch.
        unsafe {
            let taken = native::rd_kafka_consume_batch_queue(
                self.queue,
                wait,
                messages.as_mut_ptr().add(messages.len()),
                limit,
            );
            // -1 is an error of the call itself; nothing was written then.
            let taken = usize::try_from(taken).unwrap_or(0);
            messages.set_len(messages.len() + taken);
            taken
        }
    }
}

impl Drop for RecordQueue {
    fn drop(&mut self) {
        // SAFETY: created in `new`, destroyed here only.
        unsafe { native::rd_kafka_queue_destroy(self.queue) }
    }
}

/// Records lent by librdkafka; given back when this is dropped.
pub(super) struct MessageBatch<'q> {
    messages: Vec<*mut native::rd_kafka_message_t>,
    _queue: PhantomData<&'q RecordQueue>,
}

impl MessageBatch<'_> {
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Message<'_>> {
        // SAFETY: each pointer is a live message until the batch is dropped, which `'_` outlasts not.
        self.messages.iter().map(|message| unsafe { Message::new(*message) })
    }
}

/// A record taken from the queue. To be dropped before the client it comes from.
struct Lent(*mut native::rd_kafka_message_t);

// SAFETY: librdkafka's messages may be used from any thread; the pointer is owned by this value alone.
unsafe impl Send for Lent {}

impl Drop for Lent {
    fn drop(&mut self) {
        // SAFETY: owned by this value and destroyed once.
        unsafe { native::rd_kafka_message_destroy(self.0) }
    }
}

/// Records that were taken and found no room, in their order. At most one take of each partition's, which librdkafka's
/// own queue bounds in bytes: nothing is taken before those kept back have been handed over, but for those of a paused
/// partition, of which nothing more comes. To be dropped before the client.
#[derive(Default)]
pub(super) struct KeptBack {
    messages: Vec<Lent>,
}

impl KeptBack {
    /// Adds what a batch has from a place on.
    pub(super) fn add(&mut self, mut batch: MessageBatch<'_>, from: usize) {
        self.messages.extend(batch.messages.drain(from..).map(Lent));
    }

    /// Whether any of a partition are kept.
    pub(super) fn has_of(&self, partition: &TopicPartition) -> bool {
        // SAFETY: each pointer is a live message for as long as its owner is in the list.
        self.messages
            .iter()
            .map(|message| unsafe { Message::new(message.0) })
            .any(|message| message.partition() == partition.partition && message.topic() == &*partition.topic)
    }

    /// Gives back those of which `stays` says no, in their order.
    pub(super) fn retain(&mut self, mut stays: impl FnMut(Message<'_>) -> bool) {
        // SAFETY: each pointer is a live message for as long as its owner is in the list.
        self.messages.retain(|message| stays(unsafe { Message::new(message.0) }));
    }
}

impl Drop for MessageBatch<'_> {
    fn drop(&mut self) {
        for message in &self.messages {
            // SAFETY: owned by this batch and destroyed once.
            unsafe { native::rd_kafka_message_destroy(*message) }
        }
    }
}

/// A record, or an error of a partition that came in a record's place.
#[derive(Clone, Copy)]
pub(super) struct Message<'a> {
    raw: &'a native::rd_kafka_message_t,
}

impl<'a> Message<'a> {
    /// # Safety
    /// `message` must be a live message for all of `'a`.
    unsafe fn new(message: *const native::rd_kafka_message_t) -> Self {
        // SAFETY: the caller's promise.
        Self { raw: unsafe { &*message } }
    }

    /// A message that came through the consumer's own queue.
    pub(super) fn of(message: &'a BorrowedMessage<'_>) -> Self {
        // SAFETY: the borrow keeps the message alive for `'a`.
        unsafe { Self::new(message.ptr()) }
    }

    pub(super) fn error(&self) -> Option<RDKafkaErrorCode> {
        self.raw.err.is_error().then(|| self.raw.err.into())
    }

    pub(super) fn partition(&self) -> u32 {
        self.raw.partition.max(0).unsigned_abs()
    }

    pub(super) fn offset(&self) -> u64 {
        self.raw.offset.max(0).unsigned_abs()
    }

    pub(super) fn topic(&self) -> &'a str {
        if self.raw.rkt.is_null() {
            return "";
        }
        // SAFETY: the topic handle is kept alive by the message, its name is a C string of its own.
        let name = unsafe { CStr::from_ptr(native::rd_kafka_topic_name(self.raw.rkt)) };
        // Kafka's topic names are ASCII.
        name.to_str().unwrap_or_default()
    }

    /// The record, borrowed from librdkafka's buffer.
    pub(super) fn record(&self) -> Record<'a> {
        Record {
            topic: self.topic(),
            partition: self.partition(),
            offset: self.offset(),
            timestamp_ms: self.timestamp_ms(),
            key: self.bytes(self.raw.key, self.raw.key_len),
            payload: self.bytes(self.raw.payload, self.raw.len).unwrap_or_default(),
            content_type: self.content_type(),
        }
    }

    fn timestamp_ms(&self) -> i64 {
        // SAFETY: the message is alive; no type is asked for.
        unsafe { native::rd_kafka_message_timestamp(self.raw, ptr::null_mut()) }
    }

    fn content_type(&self) -> Option<&'a str> {
        let mut headers = ptr::null_mut();
        let mut value: *const c_void = ptr::null();
        let mut length = 0;
        // SAFETY: out-pointers are live locals; the headers stay the message's own.
        let found = unsafe {
            native::rd_kafka_message_headers(self.raw, &mut headers) == NO_ERROR
                && native::rd_kafka_header_get_last(
                    headers,
                    CONTENT_TYPE_NAME.as_ptr(),
                    &mut value,
                    &mut length,
                ) == NO_ERROR
        };
        if !found {
            return None;
        }
        std::str::from_utf8(self.bytes(value.cast_mut(), length)?).ok()
    }

    fn bytes(&self, start: *mut c_void, length: usize) -> Option<&'a [u8]> {
        // SAFETY: librdkafka's pointer and length describe memory of the message, alive for `'a`.
        (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start.cast::<u8>(), length) })
    }
}

/// Whether a message that was not acknowledged may have been appended all the same.
pub(super) fn may_be_on_the_log(message: &BorrowedMessage<'_>) -> bool {
    // SAFETY: the borrow keeps the message alive for the call.
    let status = unsafe { native::rd_kafka_message_status(message.ptr()) };
    status != native::rd_kafka_msg_status_t::RD_KAFKA_MSG_STATUS_NOT_PERSISTED
}

/// Positions in a list that `committed_offsets` filled; a partition without one has `None`.
pub(super) fn committed_of(
    list: &TopicPartitionList,
) -> KafkaResult<Vec<(TopicPartition, Option<Committed>)>> {
    let elements = list.elements();
    let mut all = Vec::with_capacity(elements.len());
    for (index, element) in elements.iter().enumerate() {
        element.error()?;
        // SAFETY: the list holds `elements.len()` entries, its memory is not changed meanwhile.
        // Read here and not by the crate's own accessor, which panics on text that is not UTF-8.
        let metadata = unsafe {
            let entry = &*(*list.ptr()).elems.add(index);
            if entry.metadata.is_null() {
                String::new()
            } else {
                let bytes = std::slice::from_raw_parts(entry.metadata.cast::<u8>(), entry.metadata_size);
                String::from_utf8_lossy(bytes).into_owned()
            }
        };
        let committed = match element.offset() {
            Offset::Offset(offset) if offset >= 0 => {
                Some(Committed { offset: offset.unsigned_abs(), metadata })
            }
            _ => None,
        };
        let partition = TopicPartition {
            topic: Arc::from(element.topic()),
            partition: element.partition().max(0).unsigned_abs(),
        };
        all.push((partition, committed));
    }
    Ok(all)
}

/// The offsets of the ends that the list names (as offsets), in its order.
pub(super) fn offsets_at<C: ClientContext>(
    client: &Client<C>,
    list: &TopicPartitionList,
    timeout: Duration,
) -> KafkaResult<Vec<u64>> {
    let timeout = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: client and list are alive; the list is written to within the call only.
    let outcome = unsafe { native::rd_kafka_offsets_for_times(client.native_ptr(), list.ptr(), timeout) };
    if outcome.is_error() {
        return Err(KafkaError::OffsetFetch(outcome.into()));
    }
    let offset_of = |element: &TopicPartitionListElem<'_>| {
        element.error()?;
        // librdkafka leaves what nobody answered for as it was asked.
        element
            .offset()
            .to_raw()
            .and_then(|offset| u64::try_from(offset).ok())
            .ok_or(KafkaError::OffsetFetch(RDKafkaErrorCode::NoOffset))
    };
    list.elements().iter().map(offset_of).collect()
}

/// First and next offset of one partition. Two questions, because librdkafka's own for both answers
/// the end for the beginning when the first half is refused (a leader that has just moved) and the
/// second is not: a reader would skip everything.
pub(super) fn ends_of<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    partition: i32,
    timeout: Duration,
) -> KafkaResult<(u64, u64)> {
    let ask = |end| {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(topic, partition, end)?;
        let offsets = offsets_at(client, &list, timeout)?;
        offsets.first().copied().ok_or(KafkaError::OffsetFetch(RDKafkaErrorCode::NoOffset))
    };
    Ok((ask(Offset::Beginning)?, ask(Offset::End)?))
}

/// Of each partition, the offset behind the last record or marker of a transaction that was taken from the queue, in
/// their order; `None` before any was. librdkafka counts an error that came in a record's place as one.
pub(super) fn taken_to<'p, C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: impl Iterator<Item = &'p TopicPartition>,
) -> KafkaResult<Vec<Option<u64>>> {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition(&partition.topic, super::admin::native(partition.partition));
    }
    // SAFETY: client and list are alive; the list is written to within the call only.
    let outcome = unsafe { native::rd_kafka_position(consumer.client().native_ptr(), list.ptr()) };
    if outcome.is_error() {
        return Err(KafkaError::OffsetFetch(outcome.into()));
    }
    let offset_of = |element: &TopicPartitionListElem<'_>| match element.offset() {
        Offset::Offset(offset) => u64::try_from(offset).ok(),
        _ => None,
    };
    Ok(list.elements().iter().map(offset_of).collect())
}

/// Commits and waits for the coordinator's answer. Unlike `Consumer::commit` it also reports a
/// partition that was refused while others were taken.
pub(super) fn commit<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    list: &TopicPartitionList,
) -> KafkaResult<()> {
    let mut refused: RDKafkaRespErr = NO_ERROR;
    // SAFETY: without a queue the callback runs before the call returns, so the local outlives it.
    let outcome = unsafe {
        native::rd_kafka_commit_queue(
            consumer.client().native_ptr(),
            list.ptr(),
            ptr::null_mut(),
            Some(note_refusal),
            ptr::from_mut(&mut refused).cast(),
        )
    };
    let code = if outcome.is_error() { outcome } else { refused };
    if code.is_error() { Err(KafkaError::ConsumerCommit(code.into())) } else { Ok(()) }
}

unsafe extern "C" fn note_refusal(
    _client: *mut native::rd_kafka_t,
    _error: RDKafkaRespErr,
    list: *mut native::rd_kafka_topic_partition_list_t,
    refused: *mut c_void,
) {
    if list.is_null() {
        return;
    }
    // SAFETY: librdkafka lends a valid list for the call; `refused` is the local of `commit`.
    unsafe {
        let count = usize::try_from((*list).cnt).unwrap_or(0);
        for index in 0..count {
            let error = (*(*list).elems.add(index)).err;
            if error.is_error() {
                *refused.cast::<RDKafkaRespErr>() = error;
            }
        }
    }
}
