//! Which generation of a topic this is: the id brokers give a topic when it is made. librdkafka tells it to those who ask for
//! topics' descriptions, which the `rdkafka` crate does not.

use std::ffi::{CStr, CString};
use std::time::Duration;

use rdkafka::bindings as native;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::{IsError, KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::metadata::{MetadataPartition, MetadataTopic};

use crate::port::{TopicId, TopicPartition};

/// How much longer than the request itself its answer is waited for.
const ANSWER_GRACE: Duration = Duration::from_secs(1);

/// Something of librdkafka's that is this value's alone.
struct Owned<T> {
    raw: *mut T,
    free: unsafe extern "C" fn(*mut T),
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if !self.raw.is_null() {
            // SAFETY: owned by this value and freed once, by the function that belongs to it.
            unsafe { (self.free)(self.raw) }
        }
    }
}

/// The ids of topics by name; none of a broker that gives none.
pub(super) struct TopicIds(Vec<(String, TopicId)>);

impl TopicIds {
    /// Asks for those of the partitions' topics. Blocks.
    pub(super) fn ask<C: ClientContext>(
        client: &Client<C>,
        partitions: &[TopicPartition],
        timeout: Duration,
    ) -> KafkaResult<Self> {
        let mut topics: Vec<&str> = partitions.iter().map(|partition| &*partition.topic).collect();
        topics.sort_unstable();
        topics.dedup();
        match topics.first() {
            Some(first) => {
                describe(client, &topics, broker_that_answers(client, first, timeout)?, timeout).map(Self)
            }
            None => Ok(Self(Vec::new())),
        }
    }

    pub(super) fn of(&self, partition: &TopicPartition) -> Option<TopicId> {
        self.0.iter().find(|(topic, _)| **topic == *partition.topic).map(|(_, id)| *id)
    }
}

fn describe<C: ClientContext>(
    client: &Client<C>,
    topics: &[&str],
    broker: i32,
    timeout: Duration,
) -> KafkaResult<Vec<(String, TopicId)>> {
    let names: Vec<CString> = topics.iter().filter_map(|topic| CString::new(*topic).ok()).collect();
    let mut pointers: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
    let milliseconds = |wait: Duration| i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the client is alive. Names, collection and options outlive the request's call, which copies them; the queue
    // outlives the event taken from it, and the event what is read of it.
    unsafe {
        let client = client.native_ptr();
        let queue = Owned { raw: native::rd_kafka_queue_new(client), free: native::rd_kafka_queue_destroy };
        let topics = Owned {
            raw: native::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len()),
            free: native::rd_kafka_TopicCollection_destroy,
        };
        let operation = native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let options = Owned {
            raw: native::rd_kafka_AdminOptions_new(client, operation),
            free: native::rd_kafka_AdminOptions_destroy,
        };
        native::rd_kafka_AdminOptions_set_request_timeout(
            options.raw,
            milliseconds(timeout),
            std::ptr::null_mut(),
            0,
        );
        native::rd_kafka_AdminOptions_set_broker(options.raw, broker, std::ptr::null_mut(), 0);
        native::rd_kafka_DescribeTopics(client, topics.raw, options.raw, queue.raw);
        let event = Owned {
            raw: native::rd_kafka_queue_poll(queue.raw, milliseconds(timeout + ANSWER_GRACE)),
            free: native::rd_kafka_event_destroy,
        };
        if event.raw.is_null() {
            return Err(KafkaError::AdminOp(Code::OperationTimedOut));
        }
        read(event.raw)
    }
}

/// A broker to ask, one that is there: left to itself, librdkafka would ask the controller alone. It is the one that has
/// just answered, for a leader may be missing or about to be. That has no number where the client knows it by the address
/// it was given alone; then it is a leader.
fn broker_that_answers<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    timeout: Duration,
) -> KafkaResult<i32> {
    let metadata = client.fetch_metadata(Some(topic), timeout)?;
    let leaders = metadata.topics().iter().flat_map(MetadataTopic::partitions).map(MetadataPartition::leader);
    std::iter::once(metadata.orig_broker_id())
        .chain(leaders)
        .find(|broker| *broker >= 0)
        .ok_or(KafkaError::MetadataFetch(Code::LeaderNotAvailable))
}

/// # Safety
/// `event` must be a live event.
unsafe fn read(event: *mut native::rd_kafka_event_t) -> KafkaResult<Vec<(String, TopicId)>> {
    // SAFETY: the caller's promise; descriptions, names and ids belong to the event, and so live as long.
    unsafe {
        let code = native::rd_kafka_event_error(event);
        if code.is_error() {
            return match code.into() {
                Code::UnsupportedFeature | Code::UnsupportedVersion => Ok(Vec::new()),
                code => Err(KafkaError::AdminOp(code)),
            };
        }
        let mut count = 0;
        let described = native::rd_kafka_DescribeTopics_result_topics(
            native::rd_kafka_event_DescribeTopics_result(event),
            &mut count,
        );
        let mut ids = Vec::with_capacity(count);
        for index in 0..count {
            let topic = *described.add(index);
            match native::rd_kafka_error_code(native::rd_kafka_TopicDescription_error(topic)).into() {
                Code::NoError => {}
                // One that was just made may not be known to every broker: that is an error, and asked again.
                code => return Err(KafkaError::AdminOp(code)),
            }
            let id = native::rd_kafka_TopicDescription_topic_id(topic);
            let high = native::rd_kafka_Uuid_most_significant_bits(id);
            let low = native::rd_kafka_Uuid_least_significant_bits(id);
            if (high, low) != (0, 0) {
                let name = CStr::from_ptr(native::rd_kafka_TopicDescription_name(topic));
                ids.push((name.to_string_lossy().into_owned(), TopicId((high ^ low).cast_unsigned())));
            }
        }
        Ok(ids)
    }
}
