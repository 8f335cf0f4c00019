//! Callbacks of librdkafka's clients: logs into `tracing`, rebalances into a queue.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;

use crate::port::TopicPartition;

/// A client that only logs.
pub(super) struct LoggingContext;

impl ClientContext for LoggingContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka client error");
    }
}

impl ConsumerContext for LoggingContext {}

/// What the group coordinator decided about this member.
#[derive(Debug)]
pub(super) enum GroupEvent {
    /// Partitions are to be taken over.
    Assign(Vec<TopicPartition>),
    /// Partitions are to be given up.
    Revoke(Vec<TopicPartition>),
}

/// A group member. A rebalance waits in `events` until the consumer's poll acts on it: the group
/// cannot go on before that, so at most a few ever wait.
#[derive(Default)]
pub(super) struct MemberContext {
    events: Mutex<VecDeque<GroupEvent>>,
    /// Nobody polls any more: give everything up at once, as leaving the group requires.
    closing: AtomicBool,
}

impl MemberContext {
    pub(super) fn next_event(&self) -> Option<GroupEvent> {
        self.lock().pop_front()
    }

    /// Puts an event back that could not be acted upon yet.
    pub(super) fn put_back(&self, event: GroupEvent) {
        self.lock().push_front(event);
    }

    pub(super) fn has_events(&self) -> bool {
        !self.lock().is_empty()
    }

    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<GroupEvent>> {
        // The queue is whole after every statement, so a panic elsewhere does not spoil it.
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for MemberContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka consumer error");
    }
}

impl ConsumerContext for MemberContext {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let assigning = code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::SeqCst) {
            let outcome = match (assigning, consumer.rebalance_protocol()) {
                (false, RebalanceProtocol::Cooperative) => consumer.incremental_unassign(list),
                _ => consumer.unassign(),
            };
            if let Err(error) = outcome {
                tracing::debug!(%error, "giving up partitions while leaving the group");
            }
            return;
        }
        let partitions = partitions_of(list);
        self.lock().push_back(if assigning {
            GroupEvent::Assign(partitions)
        } else {
            GroupEvent::Revoke(partitions)
        });
    }
}

/// Names and numbers of a native list; negative numbers stand for no partition and are left out.
pub(super) fn partitions_of(list: &TopicPartitionList) -> Vec<TopicPartition> {
    list.elements()
        .iter()
        .filter_map(|element| {
            let partition = u32::try_from(element.partition()).ok()?;
            Some(TopicPartition { topic: Arc::from(element.topic()), partition })
        })
        .collect()
}

fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(facility, "librdkafka: {message}");
        }
        // Connection failures come as errors and repeat with every attempt.
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning if facility != "CONFWARN" => {
            tracing::warn!(facility, "librdkafka: {message}");
        }
        _ => tracing::debug!(facility, "librdkafka: {message}"),
    }
}
