//! A reader of a whole topic on Kafka, in no group: its client is given its partitions and never joins.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::TopicPartitionList;

use super::admin::native;
use super::batch::{self, Message};
use super::config::KafkaConfig;
use super::context::LoggingContext;
use super::failure::{failure, heals_itself};
use crate::error::LogError;
use crate::port::{Reader, ReaderSpec, RecordSink, Result, TopicPartition};

/// Reads partitions from given offsets on.
pub(super) struct KafkaReader {
    client: BaseConsumer<LoggingContext>,
    topic: Arc<str>,
    /// The next offset to hand over, by partition.
    next: Vec<u64>,
    /// Where the client said it was when an error came in a record's place, by partition: that counts the error as a record.
    misleading: Vec<Option<u64>>,
    request_timeout: Duration,
}

impl KafkaReader {
    pub(super) fn open(config: &KafkaConfig, spec: ReaderSpec) -> Result<Self> {
        let client: BaseConsumer<LoggingContext> = config
            .reader()
            .create_with_context(LoggingContext)
            .map_err(|error| config.not_created(format!("read {}", spec.topic), error))?;
        let reader = Self {
            client,
            topic: spec.topic,
            misleading: vec![None; spec.offsets.len()],
            next: spec.offsets,
            request_timeout: config.request_timeout,
        };
        reader.assign()?;
        Ok(reader)
    }

    fn doing(&self) -> String {
        format!("read {}", self.topic)
    }

    fn partition(&self, number: u32) -> TopicPartition {
        TopicPartition { topic: self.topic.clone(), partition: number }
    }

    /// Has the client read from `next` on; what it has fetched before is dropped.
    fn assign(&self) -> Result<()> {
        let mut list = TopicPartitionList::with_capacity(self.next.len());
        for (next, number) in self.next.iter().zip(0..) {
            // Kafka counts offsets in an i64.
            let offset = Offset::Offset(i64::try_from(*next).unwrap_or(i64::MAX));
            list.add_partition_offset(&self.topic, native(number), offset)
                .map_err(|error| failure(self.doing(), error))?;
        }
        self.client.assign(&list).map_err(|error| failure(self.doing(), error))
    }

    /// An offset is not there any more, of which partition is not said: goes on where each has its next record.
    /// Returns whether a gap was met.
    fn begin_anew(&mut self, sink: &mut dyn RecordSink) -> Result<bool> {
        let mut gaps = false;
        for number in 0..self.next.len() as u32 {
            let partition = self.partition(number);
            let (low, high) =
                batch::ends_of(self.client.client(), &self.topic, native(number), self.request_timeout)
                    .map_err(|error| failure(self.doing(), error))?;
            let Some(next) = self.next.get_mut(number as usize) else { continue };
            if *next > high {
                return Err(LogError::ends_before(&partition, *next, high));
            }
            if *next < low {
                sink.gap(&partition, *next, low);
                *next = low;
                gaps = true;
            }
        }
        self.assign()?;
        Ok(gaps)
    }

    /// Goes on behind offsets that hold no record for a reader of what is committed: the client takes the markers of
    /// transactions from its queue without handing them over. To be asked when it had nothing to hand over.
    fn pass_over(&mut self, sink: &mut dyn RecordSink) -> Result<()> {
        let taken_to = self.taken_to()?;
        for (number, taken_to) in (0..).zip(taken_to) {
            let index = number as usize;
            let (Some(next), Some(taken_to)) = (self.next.get_mut(index), taken_to) else { continue };
            if taken_to > *next && self.misleading.get(index).copied().flatten() != Some(taken_to) {
                *next = taken_to;
                sink.passed(&self.partition(number), taken_to);
            }
        }
        Ok(())
    }

    /// Up to where the client has taken each partition from its queue, as it says.
    fn taken_to(&self) -> Result<Vec<Option<u64>>> {
        let partitions: Vec<TopicPartition> =
            (0..self.next.len() as u32).map(|number| self.partition(number)).collect();
        batch::taken_to(&self.client, partitions.iter())
            .map_err(|error| failure("ask how far partitions are read", error))
    }

    /// What an error means that came in a record's place. Returns whether a gap was met.
    fn meet(&mut self, error: KafkaError, sink: &mut dyn RecordSink) -> Result<bool> {
        self.misleading = self.taken_to()?;
        match error.rdkafka_error_code() {
            Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => self.begin_anew(sink),
            Some(code) if heals_itself(code) => {
                tracing::debug!(%error, "kafka reader goes on");
                Ok(false)
            }
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition) => {
                Err(LogError::UnknownTopic { topic: self.topic.to_string() })
            }
            _ => Err(failure(self.doing(), error)),
        }
    }
}

impl Reader for KafkaReader {
    fn poll(&mut self, max_wait: Duration, max_records: usize, sink: &mut dyn RecordSink) -> Result<usize> {
        let deadline = Instant::now() + max_wait;
        let mut handed_over = 0;
        let mut is_at_end = false;
        while handed_over < max_records && sink.has_room() {
            let wait = match handed_over {
                0 => deadline.saturating_duration_since(Instant::now()),
                _ => Duration::ZERO,
            };
            let error = match self.client.poll(wait) {
                None if handed_over > 0 || Instant::now() >= deadline => {
                    is_at_end = true;
                    break;
                }
                None => continue,
                Some(Ok(message)) => {
                    let record = Message::of(&message).record();
                    let Some(next) = self.next.get_mut(record.partition as usize) else { continue };
                    // What is left of a fetch before the client was assigned anew is behind it.
                    if record.offset >= *next {
                        *next = record.offset + 1;
                        sink.record(record);
                        handed_over += 1;
                    }
                    continue;
                }
                Some(Err(error)) => error,
            };
            if self.meet(error, sink)? {
                break;
            }
        }
        if is_at_end {
            self.pass_over(sink)?;
        }
        Ok(handed_over)
    }
}
