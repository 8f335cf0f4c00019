//! What a member of a consumer group has been given, and how far it has been handed over.

mod takeover;

use std::sync::Arc;
use std::time::Duration;

use rdkafka::Offset;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::TopicPartitionList;

use super::admin::native;
use super::batch::{self, KeptBack, Message, MessageBatch, RecordQueue};
use super::committer::Member;
use super::failure::{failure, heals_itself};
use crate::error::LogError;
use crate::port::{Committed, ConsumerSpec, Result, Sink, Start, TopicPartition, Unpositioned, Watermarks};

/// What a member has been given, and how far it has handed it over.
pub(super) struct Delivery {
    /// Before `member`: they must go before the client they come from.
    kept_back: KeptBack,
    member: Arc<Member>,
    topics: String,
    start: Start,
    request_timeout: Duration,
    assigned: Vec<Assigned>,
    /// Handed to this member by the group, and not begun: nobody has said where. The client does not know of them.
    waiting: Vec<Waiting>,
    next_epoch: u64,
    last_index: usize,
    /// An error that came among records; the next poll reports it.
    failed: Option<LogError>,
}

struct Assigned {
    partition: TopicPartition,
    /// The next record to hand over; a smaller offset has been handed over already.
    next: u64,
    paused: bool,
    /// Begun anew, see [`Delivery::begin_anew`]: to be led to the queue until a record came.
    lead_again: bool,
    /// An offset to which the client says that it has come and which means nothing: it is of an assignment before this
    /// one, or an error came in a record's place there.
    not_reached: Option<u64>,
}

/// A partition without a position.
struct Waiting {
    at: Unpositioned,
    /// The answer: the position, or that there is none.
    answer: Option<Option<Committed>>,
}

impl Delivery {
    /// Of a member that has been given nothing yet.
    pub(super) fn new(member: Member, spec: &ConsumerSpec, request_timeout: Duration) -> Self {
        Self {
            kept_back: KeptBack::default(),
            member: Arc::new(member),
            topics: spec.topics.join(", "),
            start: spec.start,
            request_timeout,
            assigned: Vec::new(),
            waiting: Vec::new(),
            next_epoch: 1,
            last_index: 0,
            failed: None,
        }
    }

    pub(super) fn member(&self) -> &Arc<Member> {
        &self.member
    }

    /// An error that came among records; it is reported once.
    pub(super) fn take_failure(&mut self) -> Option<LogError> {
        self.failed.take()
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Keeps what found no room: `messages` without the first `seen`.
    pub(super) fn keep_back(&mut self, messages: MessageBatch<'_>, seen: usize) {
        self.kept_back.add(messages, seen);
    }

    /// Says where a partition without a position begins.
    pub(super) fn answer(&mut self, partition: &TopicPartition, position: Option<Committed>) {
        let waiting = self.waiting.iter_mut().find(|waiting| waiting.at.partition == *partition);
        if let Some(waiting) = waiting {
            waiting.answer = Some(position);
        }
    }

    /// Goes on behind offsets that hold no record for a reader of what is committed. The client takes their markers
    /// from the queue without handing them over, so what it has taken up to says that they are behind it. To be asked
    /// when the queue had nothing to hand over.
    pub(super) fn pass_over(&mut self, sink: &mut dyn Sink) -> Result<()> {
        if self.failed.is_some() || self.assigned.is_empty() {
            return Ok(());
        }
        let partitions = self.assigned.iter().map(|assigned| &assigned.partition);
        let taken_to = batch::taken_to(&self.member.consumer, partitions)
            .map_err(|error| failure("ask how far partitions are read", error))?;
        for (assigned, taken_to) in self.assigned.iter_mut().zip(taken_to) {
            let Some(taken_to) = taken_to else {
                assigned.not_reached = None;
                continue;
            };
            let is_new = taken_to > assigned.next && assigned.not_reached != Some(taken_to);
            // What is taken and kept back is not handed over; of a paused partition the client drops what it took.
            if is_new && !assigned.paused && !self.kept_back.has_of(&assigned.partition) {
                assigned.next = taken_to;
                sink.passed(&assigned.partition, taken_to);
            }
        }
        Ok(())
    }

    fn ends(&self, partition: &TopicPartition) -> Result<Watermarks> {
        let client = self.member.consumer.client();
        batch::ends_of(client, &partition.topic, native(partition.partition), self.request_timeout)
            .map(|(low, high)| Watermarks { low, high })
            .map_err(|error| {
                failure(format!("ask for the ends of {}/{}", partition.topic, partition.partition), error)
            })
    }

    /// Hands over what found no room before, and says whether anything is left that waits for room. What is kept back
    /// of a paused partition waits for its end: librdkafka goes on behind it then.
    pub(super) fn deliver_kept_back(&mut self, max_records: usize, sink: &mut dyn Sink) -> (usize, bool) {
        let mut handed_over = 0;
        let mut is_full = false;
        let mut kept_back = std::mem::take(&mut self.kept_back);
        kept_back.retain(|message| {
            let index = self.index_of(message.topic(), message.partition());
            if index.is_some_and(|index| self.assigned[index].paused) {
                return true;
            }
            // Once full it stays so, whatever the sink says: no record may overtake one of its partition.
            is_full |= handed_over >= max_records || !sink.has_room();
            if !is_full {
                handed_over += usize::from(self.deliver_or_note(message, sink));
            }
            is_full
        });
        self.kept_back = kept_back;
        (handed_over, is_full)
    }

    /// [`deliver`](Self::deliver) where an error of one partition must not swallow the records behind it.
    pub(super) fn deliver_or_note(&mut self, message: Message<'_>, sink: &mut dyn Sink) -> bool {
        self.deliver(message, sink).unwrap_or_else(|error| {
            self.failed.get_or_insert(error);
            false
        })
    }

    /// Hands one message over; `false` when it was not a record to hand over.
    fn deliver(&mut self, message: Message<'_>, sink: &mut dyn Sink) -> Result<bool> {
        if let Some(code) = message.error() {
            return self.handle_partition_error(message, code, sink).map(|()| false);
        }
        let Some(index) = self.index_of(message.topic(), message.partition()) else {
            // Fetched before the partition was given up: its new owner reads it.
            return Ok(false);
        };
        let assigned = &mut self.assigned[index];
        if message.offset() < assigned.next || assigned.paused {
            return Ok(false);
        }
        assigned.next = message.offset() + 1;
        assigned.lead_again = false;
        sink.record(message.record());
        Ok(true)
    }

    fn handle_partition_error(
        &mut self,
        message: Message<'_>,
        code: Code,
        sink: &mut dyn Sink,
    ) -> Result<()> {
        if code != Code::AutoOffsetReset && code != Code::OffsetOutOfRange {
            if let Some(index) = self.index_of(message.topic(), message.partition()) {
                self.assigned[index].not_reached = Some(message.offset() + 1);
            }
            return self.tolerate(KafkaError::MessageConsumption(code));
        }
        let Some(index) = self.index_of(message.topic(), message.partition()) else {
            return Ok(());
        };
        let partition = self.assigned[index].partition.clone();
        let expected = self.assigned[index].next;
        let Watermarks { low, high } = self.ends(&partition)?;
        if expected > high {
            return Err(LogError::Corrupt {
                what: format!(
                    "the group reads {}/{} at offset {expected}, but the partition ends at {high}",
                    partition.topic, partition.partition
                ),
                fix: "the topic was made anew or the broker lost records; choose a new start with \
                       kafka-consumer-groups.sh --reset-offsets while no member runs"
                    .into(),
            });
        }
        let found = expected.max(low);
        self.assigned[index].lead_again = true;
        let taken_to = self
            .begin_anew(&partition, found)
            .map_err(|error| failure(format!("go on at offset {found} of {}", partition.topic), error))?;
        self.assigned[index].not_reached = taken_to;
        if found > expected {
            self.assigned[index].next = found;
            sink.gap(&partition, expected, found);
        }
        Ok(())
    }

    /// A partition whose position was out of range is stopped for good; librdkafka cannot seek it,
    /// only begin it anew, which the group does not notice. Its old fetcher stops some time later and
    /// then takes the way to the record queue with it, so the way is laid again until records come.
    /// Returns up to where the client says that it has taken it: it forgets that when the old fetcher stops.
    fn begin_anew(&self, partition: &TopicPartition, at: u64) -> KafkaResult<Option<u64>> {
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(&partition.topic, native(partition.partition), offset(at))?;
        self.member.consumer.incremental_unassign(&list)?;
        self.member.consumer.incremental_assign(&list)?;
        Ok(batch::taken_to(&self.member.consumer, std::iter::once(partition))?.into_iter().next().flatten())
    }

    /// Errors after which librdkafka goes on by itself are only logged.
    fn tolerate(&self, error: KafkaError) -> Result<()> {
        let fatal = matches!(error, KafkaError::MessageConsumptionFatal(_));
        match error.rdkafka_error_code() {
            _ if fatal => Err(LogError::Refused {
                doing: "read records".into(),
                fix: "the group refuses this member for good: see the cause, then restart it (each \
                       instance needs a name of its own, where instances are named)"
                    .into(),
                source: Some(Box::new(error)),
            }),
            Some(code) if heals_itself(code) => {
                tracing::debug!(%error, "kafka consumer goes on");
                Ok(())
            }
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic) => {
                Err(LogError::UnknownTopic { topic: self.topics.clone() })
            }
            _ => Err(failure("read records", error)),
        }
    }

    pub(super) fn lead_again(&self, queue: &RecordQueue) {
        for assigned in self.assigned.iter().filter(|assigned| assigned.lead_again) {
            queue.lead(&self.member.consumer, &assigned.partition);
        }
    }

    pub(super) fn set_paused(&mut self, partitions: &[TopicPartition], paused: bool) -> Result<()> {
        let mut list = TopicPartitionList::new();
        for assigned in &self.assigned {
            if assigned.paused != paused && partitions.contains(&assigned.partition) {
                list.add_partition(&assigned.partition.topic, native(assigned.partition.partition));
            }
        }
        if list.count() == 0 {
            return Ok(());
        }
        let consumer = &self.member.consumer;
        let (doing, outcome) =
            if paused { ("pause", consumer.pause(&list)) } else { ("resume", consumer.resume(&list)) };
        outcome.map_err(|error| failure(format!("{doing} partitions"), error))?;
        // Only what the client has done is noted: a partition that it does not know (any more) is
        // marked in the list, and is as little to be paused as any other that is not assigned.
        for element in list.elements().iter().filter(|element| element.error().is_ok()) {
            let partition = element.partition().max(0).unsigned_abs();
            if let Some(index) = self.index_of(element.topic(), partition) {
                self.assigned[index].paused = paused;
            }
        }
        Ok(())
    }

    /// Records come in runs of one partition, so the last answer is tried first.
    fn index_of(&mut self, topic: &str, partition: u32) -> Option<usize> {
        let is = |assigned: &Assigned| {
            assigned.partition.partition == partition && &*assigned.partition.topic == topic
        };
        if !self.assigned.get(self.last_index).is_some_and(is) {
            self.last_index = self.assigned.iter().position(is)?;
        }
        Some(self.last_index)
    }
}

fn offset(offset: u64) -> Offset {
    // Kafka counts offsets in an i64.
    Offset::Offset(i64::try_from(offset).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use rdkafka::consumer::BaseConsumer;

    use super::super::config::KafkaConfig;
    use super::super::context::MemberContext;
    use super::*;

    /// The queue comes last: it must go before the client it belongs to.
    fn delivery() -> (Delivery, RecordQueue) {
        let consumer: BaseConsumer<MemberContext> = KafkaConfig::new("127.0.0.1:1")
            .consumer("g")
            .create_with_context(MemberContext::default())
            .unwrap();
        let queue = RecordQueue::new(&consumer);
        let spec = ConsumerSpec { group: "g".into(), topics: vec!["t".into()], start: Start::Earliest };
        (Delivery::new(Member::new(consumer), &spec, Duration::from_secs(1)), queue)
    }

    #[test]
    fn only_what_the_client_paused_is_noted_as_paused() {
        let (mut delivery, queue) = delivery();
        let place = |topic: &str| TopicPartition { topic: topic.into(), partition: 0 };
        let assign = |topic| Assigned {
            partition: place(topic),
            next: 0,
            paused: false,
            lead_again: false,
            not_reached: None,
        };
        delivery.assigned = vec![assign("t"), assign("lost")];
        // Leading its records makes the client know a partition; the other one is lost to it.
        queue.lead(&delivery.member.consumer, &place("t"));
        let paused = |delivery: &Delivery| -> Vec<bool> {
            delivery.assigned.iter().map(|assigned| assigned.paused).collect()
        };
        delivery.set_paused(&[place("t"), place("lost"), place("stranger")], true).unwrap();
        assert_eq!(paused(&delivery), [true, false]);
        delivery.set_paused(&[place("t"), place("lost")], false).unwrap();
        assert_eq!(paused(&delivery), [false, false]);
    }

    #[test]
    fn a_fatal_error_ends_reading_and_a_passing_one_does_not() {
        let (delivery, _queue) = delivery();
        let outcome = |error| delivery.tolerate(error);
        assert!(outcome(KafkaError::MessageConsumption(Code::NotCoordinator)).is_ok());
        let fatal = outcome(KafkaError::MessageConsumptionFatal(Code::FencedInstanceId)).unwrap_err();
        assert!(matches!(fatal, LogError::Refused { .. }) && !fatal.is_retryable(), "{fatal:?}");
    }
}
