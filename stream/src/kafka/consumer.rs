//! A member of a Kafka consumer group.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::TopicPartitionList;

use super::admin::native;
use super::batch::{self, KeptBack, Message, RecordQueue};
use super::committer::{KafkaCommitter, Member};
use super::config::KafkaConfig;
use super::context::{GroupEvent, MemberContext};
use super::failure::{failure, heals_itself};
use super::topic_ids::TopicIds;
use crate::error::LogError;
use crate::port::{
    Assignment, Begin, Committed, Committer, Consumer, ConsumerSpec, Result, Sink, Start, TopicId,
    TopicPartition, Unpositioned, Watermarks,
};

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
            delivery: Delivery {
                kept_back: KeptBack::default(),
                member: Arc::new(Member::new(consumer)),
                topics: topics.join(", "),
                start: spec.start,
                request_timeout: config.request_timeout,
                assigned: Vec::new(),
                waiting: Vec::new(),
                next_epoch: 1,
                last_index: 0,
                failed: None,
            },
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
                self.delivery.kept_back.add(messages, seen);
                break;
            }
            if taken < limit || self.delivery.failed.is_some() {
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
            if let Some(error) = self.delivery.failed.take() {
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
        let waiting = self.delivery.waiting.iter_mut().find(|waiting| waiting.at.partition == *partition);
        if let Some(waiting) = waiting {
            waiting.answer = Some(position);
        }
    }

    fn committer(&self) -> Arc<dyn Committer> {
        KafkaCommitter::of(&self.delivery.member)
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
        self.delivery.member.end_all_epochs();
    }
}

/// What a member has been given, and how far it has handed it over.
struct Delivery {
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

/// A partition to be begun.
struct Beginning {
    partition: TopicPartition,
    topic_id: Option<TopicId>,
    committed: Option<Committed>,
    next: u64,
}

impl Delivery {
    /// Acts on what the group decided. Returns whether anything happened.
    fn serve_events(&mut self, queue: &RecordQueue, sink: &mut dyn Sink) -> Result<bool> {
        let member = self.member.clone();
        let mut happened = false;
        loop {
            while let Some(event) = member.consumer.context().next_event() {
                happened = true;
                match event {
                    GroupEvent::Revoke(partitions) => self.give_up(&partitions, sink)?,
                    GroupEvent::Assign(partitions) => {
                        if let Err(error) = self.take_over(&partitions, queue, sink) {
                            member.consumer.context().put_back(GroupEvent::Assign(partitions));
                            return Err(error);
                        }
                    }
                }
            }
            match member.consumer.poll(Duration::ZERO) {
                None if !member.consumer.context().has_events() => return Ok(happened),
                None => {}
                // Records are led elsewhere; one that came here before that must not be lost.
                Some(Ok(message)) => happened |= self.deliver(Message::of(&message), sink)?,
                Some(Err(error)) => self.tolerate(error)?,
            }
        }
    }

    fn take_over(
        &mut self,
        partitions: &[TopicPartition],
        queue: &RecordQueue,
        sink: &mut dyn Sink,
    ) -> Result<()> {
        let consumer = &self.member.consumer;
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for partition in partitions {
            list.add_partition(&partition.topic, native(partition.partition));
        }
        let ids = TopicIds::ask(consumer.client(), partitions, self.request_timeout)
            .map_err(|error| failure("ask for the ids of the topics", error))?;
        let positions = if partitions.is_empty() {
            Vec::new()
        } else {
            let list = consumer
                .committed_offsets(list, self.request_timeout)
                .map_err(|error| failure("read the group's positions", error))?;
            batch::committed_of(&list).map_err(|error| failure("read the group's positions", error))?
        };
        let mut beginnings = Vec::with_capacity(positions.len());
        let mut waiting = Vec::new();
        for (partition, committed) in positions {
            let topic_id = ids.of(&partition);
            let next = match &committed {
                Some(committed) => committed.offset,
                None => {
                    let ends = self.ends(&partition)?;
                    let at = Unpositioned { partition: partition.clone(), topic_id, ends };
                    match sink.without_position(&at) {
                        Begin::AtStart => self.start.between(ends),
                        Begin::Later => {
                            waiting.push(Waiting { at, answer: None });
                            continue;
                        }
                    }
                }
            };
            beginnings.push(Beginning { partition, topic_id, committed, next });
        }
        // Also when there are none: the group waits for the answer to what it has assigned.
        self.assign(beginnings, queue, sink)?;
        self.waiting.extend(waiting);
        Ok(())
    }

    /// Begins the partitions without a position of which it has been said meanwhile where.
    fn begin_answered(&mut self, queue: &RecordQueue, sink: &mut dyn Sink) -> Result<bool> {
        let start = self.start;
        let beginning = |waiting: &Waiting| {
            let committed = waiting.answer.clone()?;
            let Unpositioned { partition, topic_id, ends } = waiting.at.clone();
            let next = committed.as_ref().map_or(start.between(ends), |committed| committed.offset);
            Some(Beginning { partition, topic_id, committed, next })
        };
        let beginnings: Vec<Beginning> = self.waiting.iter().filter_map(beginning).collect();
        if beginnings.is_empty() {
            return Ok(false);
        }
        self.assign(beginnings, queue, sink)?;
        self.waiting.retain(|waiting| waiting.answer.is_none());
        Ok(true)
    }

    /// Has the client read these partitions, and says that they are here.
    fn assign(&mut self, beginnings: Vec<Beginning>, queue: &RecordQueue, sink: &mut dyn Sink) -> Result<()> {
        let consumer = &self.member.consumer;
        let doing = || "take over partitions".to_owned();
        let mut starts = TopicPartitionList::with_capacity(beginnings.len());
        for Beginning { partition, next, .. } in &beginnings {
            starts
                .add_partition_offset(&partition.topic, native(partition.partition), offset(*next))
                .map_err(|error| failure(doing(), error))?;
        }
        for Beginning { partition, .. } in &beginnings {
            queue.lead(consumer, partition);
        }
        consumer.incremental_assign(&starts).map_err(|error| failure(doing(), error))?;

        let epoch = self.next_epoch;
        self.next_epoch += 1;
        let partitions: Vec<TopicPartition> =
            beginnings.iter().map(|beginning| beginning.partition.clone()).collect();
        self.member.open_epoch(&partitions, epoch);
        // Nothing of this assignment has been taken from the queue yet.
        let before = batch::taken_to(consumer, partitions.iter()).unwrap_or_default();
        let mut assignments = Vec::with_capacity(beginnings.len());
        for (index, Beginning { partition, topic_id, committed, next }) in beginnings.into_iter().enumerate()
        {
            self.assigned.push(Assigned {
                partition: partition.clone(),
                next,
                paused: false,
                lead_again: false,
                not_reached: before.get(index).copied().flatten(),
            });
            assignments.push(Assignment { partition, topic_id, committed, epoch });
        }
        if !assignments.is_empty() {
            sink.assigned(assignments);
        }
        Ok(())
    }

    /// Goes on behind offsets that hold no record for a reader of what is committed. The client takes their markers
    /// from the queue without handing them over, so what it has taken up to says that they are behind it. To be asked
    /// when the queue had nothing to hand over.
    fn pass_over(&mut self, sink: &mut dyn Sink) -> Result<()> {
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

    fn give_up(&mut self, partitions: &[TopicPartition], sink: &mut dyn Sink) -> Result<()> {
        self.member.end_epochs(partitions);
        // librdkafka keeps an application's pause over unassign and assign: a partition given up
        // while paused would come back silent.
        let mut paused = TopicPartitionList::new();
        for assigned in self.assigned.iter().filter(|assigned| assigned.paused) {
            if partitions.contains(&assigned.partition) {
                paused.add_partition(&assigned.partition.topic, native(assigned.partition.partition));
            }
        }
        if paused.count() > 0 {
            self.member
                .consumer
                .resume(&paused)
                .map_err(|error| failure("resume partitions before they are given up", error))?;
        }
        self.assigned.retain(|assigned| !partitions.contains(&assigned.partition));
        // Should one come back, it is read from its position again: these would lie ahead of that.
        self.kept_back.retain(|message| {
            !partitions.iter().any(|partition| {
                partition.partition == message.partition() && &*partition.topic == message.topic()
            })
        });
        sink.revoked(partitions);
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        // The client knows nothing of one that was not begun.
        let is_begun = |partition: &&TopicPartition| {
            !self.waiting.iter().any(|waiting| waiting.at.partition == **partition)
        };
        for partition in partitions.iter().filter(is_begun) {
            list.add_partition(&partition.topic, native(partition.partition));
        }
        // Only now may the group hand them to another member.
        self.member
            .consumer
            .incremental_unassign(&list)
            .map_err(|error| failure("give up partitions", error))?;
        self.waiting.retain(|waiting| !partitions.contains(&waiting.at.partition));
        Ok(())
    }

    /// Hands over what found no room before, and says whether anything is left that waits for room. What is kept back
    /// of a paused partition waits for its end: librdkafka goes on behind it then.
    fn deliver_kept_back(&mut self, max_records: usize, sink: &mut dyn Sink) -> (usize, bool) {
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
    fn deliver_or_note(&mut self, message: Message<'_>, sink: &mut dyn Sink) -> bool {
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

    fn lead_again(&self, queue: &RecordQueue) {
        for assigned in self.assigned.iter().filter(|assigned| assigned.lead_again) {
            queue.lead(&self.member.consumer, &assigned.partition);
        }
    }

    fn set_paused(&mut self, partitions: &[TopicPartition], paused: bool) -> Result<()> {
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
    use super::*;

    #[test]
    fn only_what_the_client_paused_is_noted_as_paused() {
        let config = KafkaConfig::new("127.0.0.1:1");
        let topics = vec!["t".into()];
        let spec = ConsumerSpec { group: "g".into(), topics, start: Start::Earliest };
        let mut consumer = KafkaConsumer::open(&config, spec).unwrap();
        let place = |topic: &str| TopicPartition { topic: topic.into(), partition: 0 };
        let assign = |topic| Assigned {
            partition: place(topic),
            next: 0,
            paused: false,
            lead_again: false,
            not_reached: None,
        };
        consumer.delivery.assigned = vec![assign("t"), assign("lost")];
        // Leading its records makes the client know a partition; the other one is lost to it.
        consumer.queue.lead(&consumer.delivery.member.consumer, &place("t"));
        let paused = |consumer: &KafkaConsumer| -> Vec<bool> {
            consumer.delivery.assigned.iter().map(|assigned| assigned.paused).collect()
        };
        consumer.pause(&[place("t"), place("lost"), place("stranger")]).unwrap();
        assert_eq!(paused(&consumer), [true, false]);
        consumer.resume(&[place("t"), place("lost")]).unwrap();
        assert_eq!(paused(&consumer), [false, false]);
    }

    #[test]
    fn a_fatal_error_ends_reading_and_a_passing_one_does_not() {
        let config = KafkaConfig::new("127.0.0.1:1");
        let spec = ConsumerSpec { group: "g".into(), topics: vec!["t".into()], start: Start::Earliest };
        let consumer = KafkaConsumer::open(&config, spec).unwrap();
        let outcome = |error| consumer.delivery.tolerate(error);
        assert!(outcome(KafkaError::MessageConsumption(Code::NotCoordinator)).is_ok());
        let fatal = outcome(KafkaError::MessageConsumptionFatal(Code::FencedInstanceId)).unwrap_err();
        assert!(matches!(fatal, LogError::Refused { .. }) && !fatal.is_retryable(), "{fatal:?}");
    }
}
