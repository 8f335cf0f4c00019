//! A member of a Kafka consumer group.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};

use super::batch::RecordQueue;
use super::committer::{KafkaCommitter, Member};
use super::config::KafkaConfig;
use super::context::MemberContext;
use super::delivery::Delivery;
use super::failure::failure;
use crate::port::{Committed, Committer, Consumer, ConsumerSpec, Result, Sink, TopicPartition};

/// While waiting for records, how often the group's events are looked at.
const EVENT_INTERVAL: Duration = Duration::from_millis(50);

/// Most records taken from librdkafka at once: bounds what a poll holds of its buffers.
const MAX_BATCH: usize = 16_384;

/// One member: the thread that owns it polls, its committer may be used anywhere.
pub(super) struct KafkaConsumer {
    /// Before `delivery`: the queue must go before the client it belongs to.
    queue: RecordQueue,
    delivery: Delivery,
}

impl KafkaConsumer {
    pub(super) fn open(config: &KafkaConfig, spec: ConsumerSpec) -> Result<Self> {
        let doing = || format!("join the consumer group {}", spec.group);
        let consumer: BaseConsumer<MemberContext> = config
            .consumer(&spec.group)
            .create_with_context(MemberContext::default())
            .map_err(|error| config.not_created(doing(), error))?;
        let topics: Vec<&str> = spec.topics.iter().map(|topic| &**topic).collect();
        consumer.subscribe(&topics).map_err(|error| failure(doing(), error))?;
        Ok(Self {
            queue: RecordQueue::new(&consumer),
            delivery: Delivery::new(Member::new(consumer), &spec, config.request_timeout),
        })
    }

    fn fetch(&mut self, mut wait: Duration, max_records: usize, sink: &mut dyn Sink) -> Result<usize> {
        let (mut handed_over, is_full) = self.delivery.deliver_kept_back(max_records, sink);
        if is_full {
            return Ok(handed_over);
        }
        if handed_over > 0 {
            wait = Duration::ZERO;
        }
        while handed_over < max_records && sink.has_room() {
            let limit = (max_records - handed_over).min(MAX_BATCH);
            let messages = self.queue.take(wait, limit);
            let taken = messages.len();
            let mut seen = 0;
            for message in messages.iter() {
                if !sink.has_room() {
                    break;
                }
                seen += 1;
                handed_over += usize::from(self.delivery.deliver_or_note(message, sink));
            }
            if seen < taken {
                self.delivery.keep_back(messages, seen);
                break;
            }
            if taken < limit || self.delivery.has_failed() {
                break;
            }
            wait = Duration::ZERO;
        }
        Ok(handed_over)
    }
}

impl Consumer for KafkaConsumer {
    fn poll(&mut self, max_wait: Duration, max_records: usize, sink: &mut dyn Sink) -> Result<usize> {
        let deadline = Instant::now() + max_wait;
        loop {
            if let Some(error) = self.delivery.take_failure() {
                return Err(error);
            }
            let mut happened = self.delivery.serve_events(&self.queue, sink)?;
            happened |= self.delivery.begin_answered(&self.queue, sink)?;
            self.delivery.lead_again(&self.queue);
            let left = deadline.saturating_duration_since(Instant::now());
            let wait = if happened { Duration::ZERO } else { left.min(EVENT_INTERVAL) };
            let handed_over = self.fetch(wait, max_records, sink)?;
            if handed_over == 0 && sink.has_room() {
                self.delivery.pass_over(sink)?;
            }
            if handed_over > 0 || happened || left.is_zero() || !sink.has_room() {
                return Ok(handed_over);
            }
        }
    }

    fn begin(&mut self, partition: &TopicPartition, position: Option<Committed>) {
        self.delivery.answer(partition, position);
    }

    fn committer(&self) -> Arc<dyn Committer> {
        KafkaCommitter::of(self.delivery.member())
    }

    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.delivery.set_paused(partitions, true)
    }

    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.delivery.set_paused(partitions, false)
    }

    fn close(self: Box<Self>) -> Result<()> {
        // Dropping leaves the group and waits for it.
        drop(self);
        Ok(())
    }
}

impl Drop for KafkaConsumer {
    fn drop(&mut self) {
        // Waits for commits under way, and lets the client give everything up when it is dropped.
        self.delivery.member().end_all_epochs();
    }
}
