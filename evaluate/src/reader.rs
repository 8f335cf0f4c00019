//! The reading thread: polls the log and gives each record to the judge of its partition. A partition whose courier is behind, or
//! whose states are still being read, is paused, and the polling goes on: the group never takes a slow log for a dead member.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use kelly_alerts::{Change, Transition};
use kelly_schemas::error_chain;
use kelly_stream::{Assignment, Consumer, LogError, Record, RecordSink, Sink, TopicPartition};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use crate::context::Context;
use crate::ends::{Ends, Newest};
use crate::lane::Lane;
use crate::place::Place;
use crate::rules::InForce;
use crate::stats::add;

/// Records handed over by one poll at most: between polls alerts go to their couriers and a stop is noticed.
const RECORDS_A_POLL: usize = 256;
/// Longest wait in a poll: how soon a stop and a silence are noticed.
const LONGEST_POLL: Duration = Duration::from_millis(100);
/// Wait in a poll while something waits for its courier or its states.
const SHORT_POLL: Duration = Duration::from_millis(5);
/// Waits after a failed poll: the first, doubled up to the longest.
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LONGEST_RETRY: Duration = Duration::from_secs(5);
/// News of other engines taken in one turn.
const NEWS_A_TURN: usize = 256;

/// Why reading ended before it was stopped.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The log refused for good.
    #[error("reading the log for alerts failed for good")]
    Log(#[source] LogError),
}

/// Everything the reading thread owns.
pub(crate) struct ReadingThread {
    pub(crate) consumer: Box<dyn Consumer>,
    pub(crate) lanes: Lanes,
    pub(crate) news: mpsc::Receiver<Transition>,
    pub(crate) ends: Newest,
    /// Nothing is ever sent: its other end is dropped to stop the reader.
    pub(crate) stop: Receiver<()>,
    pub(crate) drain_within: Duration,
}

/// The partitions this instance judges.
pub(crate) struct Lanes {
    pub(crate) context: Arc<Context>,
    pub(crate) runtime: Handle,
    pub(crate) rules: watch::Receiver<Arc<InForce>>,
    pub(crate) lanes: Vec<Lane>,
    /// The lane of the last record: records come in runs of one partition.
    pub(crate) last: usize,
    /// Alerts that fire elsewhere, for lanes that begin.
    pub(crate) elsewhere: HashMap<Uuid, Transition>,
}

impl ReadingThread {
    /// Reads until it is stopped, then hands over, stores and commits what was read, and leaves the group.
    pub(crate) fn run(mut self) -> Result<(), ReadError> {
        let outcome = self.read();
        self.lanes.drain(self.drain_within);
        if let Err(fault) = self.consumer.close() {
            tracing::warn!(
                reason = error_chain(&fault),
                "leaving the consumer group failed; it will notice by itself"
            );
        }
        outcome
    }

    fn read(&mut self) -> Result<(), ReadError> {
        let mut retry = FIRST_RETRY;
        while self.stop.try_recv() != Err(TryRecvError::Disconnected) {
            self.lanes.hear(&mut self.news);
            self.lanes.follow_rules();
            match self.consumer.poll(self.lanes.next_wait(), RECORDS_A_POLL, &mut self.lanes) {
                Ok(_) => {
                    if retry > FIRST_RETRY {
                        self.lanes.context.stats.recovered();
                    }
                    retry = FIRST_RETRY;
                }
                Err(fault) if fault.is_retryable() => {
                    let reason = error_chain(&fault);
                    tracing::warn!(reason, "reading the log for alerts failed, trying again");
                    self.lanes.context.stats.failed(&reason);
                    if self.stop.recv_timeout(retry) == Err(RecvTimeoutError::Disconnected) {
                        break;
                    }
                    retry = (retry * 2).min(LONGEST_RETRY);
                }
                Err(fault) => return Err(ReadError::Log(fault)),
            }
            let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let (pause, resume) = self.lanes.turn(Instant::now(), &ends);
            self.steer(true, &pause)?;
            self.steer(false, &resume)?;
        }
        Ok(())
    }

    /// Pauses or resumes. What cannot be steered now, for a rebalance has just taken it, is steered again in the next turn if it
    /// is still here.
    fn steer(&mut self, pause: bool, partitions: &[TopicPartition]) -> Result<(), ReadError> {
        if partitions.is_empty() {
            return Ok(());
        }
        let steered = if pause { self.consumer.pause(partitions) } else { self.consumer.resume(partitions) };
        match steered {
            Ok(()) => Ok(()),
            Err(fault) if fault.is_retryable() => {
                for lane in self.lanes.lanes.iter_mut().filter(|lane| partitions.contains(&lane.partition)) {
                    lane.paused = !pause;
                }
                Ok(())
            }
            Err(fault) => Err(ReadError::Log(fault)),
        }
    }
}

impl Sink for Lanes {
    fn assigned(&mut self, assignments: Vec<Assignment>) {
        for assignment in assignments {
            self.give_up(&assignment.partition);
            let Some(place) = Place::of(&assignment.partition) else { continue };
            let rules = self.rules.borrow().clone();
            self.lanes.push(Lane::open(place, assignment, &self.context, rules, &self.runtime));
        }
    }

    fn revoked(&mut self, partitions: &[TopicPartition]) {
        partitions.iter().for_each(|partition| self.give_up(partition));
    }
}

impl RecordSink for Lanes {
    fn gap(&mut self, partition: &TopicPartition, expected: u64, found: u64) {
        tracing::error!(
            topic = &*partition.topic,
            partition = partition.partition,
            expected,
            found,
            "the log's retention removed records before they were judged"
        );
        add(&self.context.stats.lost, found.saturating_sub(expected));
        self.passed(partition, found);
    }

    fn passed(&mut self, partition: &TopicPartition, next: u64) {
        if let Some(at) = self.find(&partition.topic, partition.partition) {
            self.lanes[at].passed(next);
        }
    }

    fn record(&mut self, record: Record<'_>) {
        if let Some(at) = self.find(record.topic, record.partition) {
            self.lanes[at].record(&record);
        }
    }

    /// A lane that cannot take its records ends the poll until it is paused; nothing is lost.
    fn has_room(&self) -> bool {
        self.lanes.iter().all(|lane| lane.paused || (lane.is_ready() && lane.has_room()))
    }
}

impl Lanes {
    fn find(&mut self, topic: &str, partition: u32) -> Option<usize> {
        let is_it = |lane: &Lane| lane.partition.partition == partition && &*lane.partition.topic == topic;
        if !self.lanes.get(self.last).is_some_and(is_it) {
            self.last = self.lanes.iter().position(is_it)?;
        }
        Some(self.last)
    }

    fn give_up(&mut self, partition: &TopicPartition) {
        if let Some(at) = self.find(&partition.topic, partition.partition) {
            self.lanes.swap_remove(at).give_up(&self.context);
        }
    }

    fn hear(&mut self, news: &mut mpsc::Receiver<Transition>) {
        for _ in 0..NEWS_A_TURN {
            let Ok(transition) = news.try_recv() else { return };
            self.lanes.iter_mut().for_each(|lane| lane.hear(&transition));
            match transition.change {
                Change::Resolved(_) => drop(self.elsewhere.remove(&transition.alert)),
                _ => drop(self.elsewhere.insert(transition.alert, transition)),
            }
        }
    }

    fn follow_rules(&mut self) {
        if !self.rules.has_changed().unwrap_or(false) {
            return;
        }
        let rules = self.rules.borrow_and_update().clone();
        self.context.stats.note_rules(rules.rules.len(), rules.problems.len());
        self.lanes.iter_mut().for_each(|lane| lane.set_rules(&rules));
    }

    fn next_wait(&self) -> Duration {
        if self.lanes.iter().any(Lane::is_busy) { SHORT_POLL } else { LONGEST_POLL }
    }

    /// Says which partitions to pause and which to resume.
    fn turn(&mut self, now: Instant, ends: &Ends) -> (Vec<TopicPartition>, Vec<TopicPartition>) {
        let (mut pause, mut resume) = (Vec::new(), Vec::new());
        let mut behind = 0;
        for lane in &mut self.lanes {
            if lane.look(&self.runtime, &self.context) {
                // It was made with the rules of its beginning, and has heard nothing.
                let rules = self.rules.borrow().clone();
                lane.set_rules(&rules);
                self.elsewhere.values().for_each(|transition| lane.hear(transition));
            }
            lane.turn(now, ends, &self.context);
            behind += lane.behind(ends);
            let pauses = !lane.is_ready() || !lane.has_room();
            if pauses != lane.paused {
                lane.paused = pauses;
                let list = if pauses { &mut pause } else { &mut resume };
                list.push(lane.partition.clone());
            }
        }
        self.context.stats.behind.store(behind, Ordering::Relaxed);
        (pause, resume)
    }

    /// Gives the couriers what is left and waits for them, until the time is up.
    fn drain(&mut self, within: Duration) {
        let (now, context) = (Instant::now(), self.context.clone());
        let closing: Vec<_> = self.lanes.drain(..).map(|lane| lane.finish(now, &context)).collect();
        self.runtime.block_on(async {
            let deadline = tokio::time::Instant::now() + within;
            for closing in closing {
                let (partition, given_up) = (closing.partition.clone(), closing.given_up.clone());
                if tokio::time::timeout_at(deadline, closing.finish()).await.is_err() {
                    tracing::warn!(
                        topic = &*partition.topic,
                        partition = partition.partition,
                        "the log did not take everything in time; the next start judges the rest again"
                    );
                }
                given_up.cancel();
            }
        });
    }
}
