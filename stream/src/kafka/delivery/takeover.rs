//! What the group gives to this member and takes from it.

use std::time::Duration;

use rdkafka::consumer::Consumer as _;
use rdkafka::topic_partition_list::TopicPartitionList;

use super::{Assigned, Delivery, Waiting, offset};
use crate::kafka::admin::native;
use crate::kafka::batch::{self, Message, RecordQueue};
use crate::kafka::context::GroupEvent;
use crate::kafka::failure::failure;
use crate::kafka::topic_ids::TopicIds;
use crate::port::{Assignment, Begin, Committed, Result, Sink, TopicId, TopicPartition, Unpositioned};

/// A partition to be begun.
struct Beginning {
    partition: TopicPartition,
    topic_id: Option<TopicId>,
    committed: Option<Committed>,
    next: u64,
}

impl Delivery {
    /// Acts on what the group decided. Returns whether anything happened.
    pub(in crate::kafka) fn serve_events(
        &mut self,
        queue: &RecordQueue,
        sink: &mut dyn Sink,
    ) -> Result<bool> {
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
    pub(in crate::kafka) fn begin_answered(
        &mut self,
        queue: &RecordQueue,
        sink: &mut dyn Sink,
    ) -> Result<bool> {
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
        let partitions: Vec<TopicPartition> =
            beginnings.iter().map(|beginning| beginning.partition.clone()).collect();
        // Nothing of this assignment has been taken from the queue yet. Asked before anything is changed: without an answer
        // the position of an assignment before this one could be taken for this one's, and records be passed over.
        let before = batch::taken_to(consumer, partitions.iter())
            .map_err(|error| failure("ask how far partitions were read before", error))?;
        consumer.incremental_assign(&starts).map_err(|error| failure(doing(), error))?;

        let epoch = self.next_epoch;
        self.next_epoch += 1;
        self.member.open_epoch(&partitions, epoch);
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
}
