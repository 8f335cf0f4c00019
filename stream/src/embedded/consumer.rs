//! A member of a consumer group on the embedded log.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::cursor::PartitionCursor;
use super::group::MemberId;
use super::groups::LockedGroup;
use super::open_log::OpenLog;
use super::queue::{Committing, Job};
use super::wake::Waker;
use crate::bounds;
use crate::error::LogError;
use crate::port::{
    Assignment, Begin, Commit, Committed, Committer, Consumer, ConsumerSpec, Result, Sink, TopicPartition,
    Unpositioned,
};

/// How often a member shows its group that it is alive and looks for those that are not.
const LIFE_INTERVAL: Duration = Duration::from_secs(1);

/// Reads what its group gives it.
pub(super) struct EmbeddedConsumer {
    log: Arc<OpenLog>,
    group: Arc<LockedGroup>,
    waker: Arc<Waker>,
    spec: ConsumerSpec,
    member: MemberId,
    seen_changes: Option<u64>,
    last_sign_of_life: Instant,
    assigned: Vec<Assigned>,
    /// Given to this member and not begun: nobody has said where.
    waiting: Vec<Waiting>,
    /// Where the next poll begins, so that a busy partition does not starve the others.
    turn: usize,
}

struct Assigned {
    cursor: PartitionCursor,
    paused: bool,
}

/// A partition without a position.
struct Waiting {
    at: Unpositioned,
    epoch: u64,
    /// The answer: the position, or that there is none.
    answer: Option<Option<Committed>>,
}

impl EmbeddedConsumer {
    pub(super) fn open(log: Arc<OpenLog>, spec: ConsumerSpec) -> Result<Self> {
        bounds::verify_group(&spec.group)?;
        let group = log.groups.get(&spec.group);
        let waker = log.wakers.add();
        let member = join(&log, &group, &spec)?;
        Ok(Self {
            log,
            group,
            waker,
            spec,
            member,
            seen_changes: None,
            last_sign_of_life: Instant::now(),
            assigned: Vec::new(),
            waiting: Vec::new(),
            turn: 0,
        })
    }

    /// Follows the group. Returns whether anything happened.
    fn follow_group(&mut self, sink: &mut dyn Sink) -> Result<bool> {
        let changes = self.group.changes();
        let now = Instant::now();
        let sign_of_life = now.saturating_duration_since(self.last_sign_of_life) >= LIFE_INTERVAL;
        if self.seen_changes == Some(changes) && !sign_of_life {
            return Ok(false);
        }
        let mut happened = false;
        let mut group = self.group.lock();
        group.polled(self.member, now);
        self.last_sign_of_life = now;
        let mut others_concerned = group.put_out_silent(now, self.log.config.max_poll_interval);
        if !group.has(self.member) {
            // Put out for its silence: everything is lost, and it begins anew.
            drop(group);
            let waiting = self.waiting.drain(..).map(|waiting| waiting.at.partition);
            let lost: Vec<TopicPartition> =
                self.assigned.drain(..).map(|assigned| assigned.cursor.partition).chain(waiting).collect();
            if !lost.is_empty() {
                sink.revoked(&lost);
            }
            self.member = join(&self.log, &self.group, &self.spec)?;
            return Ok(true);
        }
        let change = group.reconcile(self.member);
        drop(group);
        self.seen_changes = Some(changes);
        if !change.revoked.is_empty() {
            self.assigned.retain(|assigned| !change.revoked.contains(&assigned.cursor.partition));
            self.waiting.retain(|waiting| !change.revoked.contains(&waiting.at.partition));
            sink.revoked(&change.revoked);
            others_concerned = true;
            happened = true;
        }
        if !change.assigned.is_empty() {
            self.take_over(change.assigned, sink)?;
            happened = true;
        }
        if others_concerned {
            self.group.changed();
            self.log.wakers.wake();
        }
        Ok(happened)
    }

    fn take_over(&mut self, partitions: Vec<(TopicPartition, u64)>, sink: &mut dyn Sink) -> Result<()> {
        let (mut beginnings, mut waiting) = (Vec::new(), Vec::new());
        let read = || -> Result<()> {
            let store = self.log.store()?;
            for (partition, epoch) in partitions {
                let topic = store.topic(&partition.topic)?;
                let ends = topic.partition(partition.partition)?.watermarks();
                let topic_id = topic.id();
                let committed = store.position(&self.spec.group, &partition)?;
                let next = match &committed {
                    Some(committed) => committed.offset,
                    None => {
                        let at = Unpositioned { partition: partition.clone(), topic_id, ends };
                        match sink.without_position(&at) {
                            Begin::AtStart => self.spec.start.between(ends),
                            Begin::Later => {
                                waiting.push(Waiting { at, epoch, answer: None });
                                continue;
                            }
                        }
                    }
                };
                beginnings.push((next, Assignment { partition, topic_id, committed, epoch }));
            }
            Ok(())
        };
        if let Err(error) = read() {
            // Nothing was reported of them but the question where some begin: its answer is not needed any more. Leave, so
            // that the next poll joins and takes them anew.
            let asked: Vec<TopicPartition> =
                waiting.into_iter().map(|waiting| waiting.at.partition).collect();
            if !asked.is_empty() {
                sink.revoked(&asked);
            }
            self.group.lock().leave(self.member);
            self.group.changed();
            return Err(error);
        }
        self.waiting.extend(waiting);
        self.assign(beginnings, sink);
        Ok(())
    }

    /// Begins the partitions without a position of which it has been said meanwhile where.
    fn begin_answered(&mut self, sink: &mut dyn Sink) -> bool {
        let start = self.spec.start;
        let mut beginnings = Vec::new();
        self.waiting.retain_mut(|waiting| {
            let Some(committed) = waiting.answer.take() else { return true };
            let Waiting { at: Unpositioned { partition, topic_id, ends }, epoch, .. } = waiting;
            let next = committed.as_ref().map_or(start.between(*ends), |committed| committed.offset);
            let (partition, topic_id, epoch) = (partition.clone(), *topic_id, *epoch);
            beginnings.push((next, Assignment { partition, topic_id, committed, epoch }));
            false
        });
        let any = !beginnings.is_empty();
        self.assign(beginnings, sink);
        any
    }

    fn assign(&mut self, beginnings: Vec<(u64, Assignment)>, sink: &mut dyn Sink) {
        if beginnings.is_empty() {
            return;
        }
        self.assigned.extend(beginnings.iter().map(|(next, assignment)| Assigned {
            cursor: PartitionCursor::new(assignment.partition.clone(), *next),
            paused: false,
        }));
        sink.assigned(beginnings.into_iter().map(|(_, assignment)| assignment).collect());
    }

    /// Hands over what is there. Returns the number of records, and whether a gap was met.
    fn read(&mut self, max_records: usize, sink: &mut dyn Sink) -> Result<(usize, bool)> {
        let store = self.log.store()?;
        let mut handed_over = 0;
        let mut gaps = false;
        for step in 0..self.assigned.len() {
            if !sink.has_room() {
                break;
            }
            let index = (self.turn + step) % self.assigned.len();
            let assigned = &mut self.assigned[index];
            if assigned.paused {
                continue;
            }
            let (records, gap) = assigned.cursor.read(&store, max_records - handed_over, sink)?;
            handed_over += records;
            gaps |= gap;
            if handed_over >= max_records || !sink.has_room() {
                // This one may have more: the next poll begins behind it.
                self.turn = index + 1;
                break;
            }
        }
        Ok((handed_over, gaps))
    }
}

impl Consumer for EmbeddedConsumer {
    fn poll(&mut self, max_wait: Duration, max_records: usize, sink: &mut dyn Sink) -> Result<usize> {
        let deadline = Instant::now() + max_wait;
        loop {
            let calls = self.waker.calls();
            if self.log.is_closed() {
                return Err(LogError::Closed);
            }
            let mut happened = self.follow_group(sink)?;
            happened |= self.begin_answered(sink);
            let (handed_over, gaps) = self.read(max_records, sink)?;
            if handed_over > 0 || happened || gaps || !sink.has_room() {
                return Ok(handed_over);
            }
            // Signs of life go on through a long wait.
            let wake_at = deadline.min(self.last_sign_of_life + LIFE_INTERVAL);
            if !self.waker.wait(calls, wake_at) && Instant::now() >= deadline {
                return Ok(0);
            }
        }
    }

    fn begin(&mut self, partition: &TopicPartition, position: Option<Committed>) {
        let waiting = self.waiting.iter_mut().find(|waiting| waiting.at.partition == *partition);
        if let Some(waiting) = waiting {
            waiting.answer = Some(position);
        }
    }

    fn committer(&self) -> Arc<dyn Committer> {
        Arc::new(EmbeddedCommitter { log: self.log.clone(), group: self.group.clone() })
    }

    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.set_paused(partitions, true);
        Ok(())
    }

    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.set_paused(partitions, false);
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        drop(self);
        Ok(())
    }
}

impl EmbeddedConsumer {
    fn set_paused(&mut self, partitions: &[TopicPartition], paused: bool) {
        for assigned in &mut self.assigned {
            if partitions.contains(&assigned.cursor.partition) {
                assigned.paused = paused;
            }
        }
    }
}

impl Drop for EmbeddedConsumer {
    fn drop(&mut self) {
        self.group.lock().leave(self.member);
        self.group.changed();
        self.log.wakers.wake();
    }
}

fn join(log: &OpenLog, group: &LockedGroup, spec: &ConsumerSpec) -> Result<MemberId> {
    let store = log.store()?;
    let mut partitions = Vec::new();
    for name in &spec.topics {
        let topic = store.topic(name)?;
        let all = (0..topic.count()).map(|partition| TopicPartition { topic: topic.name.clone(), partition });
        partitions.extend(all);
    }
    let member = group.lock().join(spec.topics.clone(), &partitions, Instant::now());
    group.changed();
    log.wakers.wake();
    Ok(member)
}

/// Commits from any thread; the epochs say whose.
struct EmbeddedCommitter {
    log: Arc<OpenLog>,
    group: Arc<LockedGroup>,
}

impl Committer for EmbeddedCommitter {
    fn commit(&self, commits: &[Commit]) -> Result<()> {
        if commits.is_empty() {
            return Ok(());
        }
        commits.iter().try_for_each(bounds::verify_commit)?;
        let (reply, answer) = mpsc::sync_channel(1);
        self.log.queue.push(Job::Commit(Committing {
            group: self.group.clone(),
            commits: commits.to_vec(),
            reply,
        }))?;
        answer.recv().unwrap_or(Err(LogError::Closed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::EmbeddedConfig;
    use crate::port::{Record, RecordSink, Retention, Start, TopicSpec};

    /// What was asked and what was taken back.
    #[derive(Default)]
    struct Asked {
        asked: Vec<TopicPartition>,
        revoked: Vec<TopicPartition>,
    }

    impl Sink for Asked {
        fn without_position(&mut self, at: &Unpositioned) -> Begin {
            self.asked.push(at.partition.clone());
            Begin::Later
        }
        fn assigned(&mut self, _: Vec<Assignment>) {}
        fn revoked(&mut self, partitions: &[TopicPartition]) {
            self.revoked.extend_from_slice(partitions);
        }
    }

    impl RecordSink for Asked {
        fn gap(&mut self, _: &TopicPartition, _: u64, _: u64) {}
        fn record(&mut self, _: Record<'_>) {}
    }

    #[test]
    fn who_was_asked_where_to_begin_learns_that_a_takeover_failed() {
        let directory = tempfile::tempdir().unwrap();
        let log = Arc::new(OpenLog::open(EmbeddedConfig::new(directory.path().join("log"))).unwrap());
        let topic = TopicSpec { name: "t".into(), partitions: 1, retention: Retention::default() };
        log.store().unwrap().ensure_topic(&topic).unwrap();
        let spec = ConsumerSpec { group: "g".into(), topics: vec!["t".into()], start: Start::Earliest };
        let mut consumer = EmbeddedConsumer::open(log, spec).unwrap();
        let (there, not_there) = ("t", "of no such topic");
        let given = [there, not_there].map(|topic| (TopicPartition { topic: topic.into(), partition: 0 }, 1));
        let mut sink = Asked::default();
        consumer.take_over(given.to_vec(), &mut sink).unwrap_err();
        assert_eq!(sink.asked.len(), 1);
        assert_eq!(sink.revoked, sink.asked);
    }
}
