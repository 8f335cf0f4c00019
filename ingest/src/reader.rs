//! The reading thread: polls the log, decodes records into batches, closes them by rows, bytes or
//! time, and hands them to the partitions' writers. When a writer is behind, the partition is
//! paused and the polling goes on, so that the group never takes a slow store for a dead member.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use kelly_schemas::{Limits, Stream, UnknownTopic, error_chain};
use kelly_stream::{
    Assignment, Begin, Consumer, Log, LogError, Record, RecordSink, Sink, TopicPartition, Unpositioned,
};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::batch::{RawRetention, Rules};
use crate::bounds::BatchBounds;
use crate::journal::JournalError;
use crate::lane::{Closing, Lane};
use crate::resume::ResumeError;
use crate::stats::Half;
use crate::unpositioned::{Search, Searches};
use crate::writer::{WriteContext, WriteError};

/// Records handed over by one poll at most: between polls batches are closed by age, partitions paused and a stop
/// noticed, and an Arrow message takes as long as thousands of rows. What they may take of memory is not bounded
/// here but by [`Sink::has_room`].
const RECORDS_A_POLL: usize = 256;
/// Longest wait in a poll: how soon a stop is noticed.
const LONGEST_POLL: Duration = Duration::from_millis(100);
/// Wait in a poll while a batch waits for room at its writer, or a partition for its position.
const SHORT_POLL: Duration = Duration::from_millis(5);
/// Waits after a failed poll: the first, doubled up to the longest.
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LONGEST_RETRY: Duration = Duration::from_secs(5);

/// Why reading ended before it was stopped.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The log refused for good.
    #[error("reading the log failed for good")]
    Log(#[source] LogError),
    /// A partition of no stream of ours was handed over.
    #[error("a partition was assigned that ingest does not read")]
    Topic(#[source] UnknownTopic),
    /// A committed position says something that must not be ignored.
    #[error("the position of {partition} cannot be taken up")]
    Journal {
        /// `topic/partition`.
        partition: String,
        /// What it says.
        #[source]
        source: JournalError,
    },
    /// There is no position, and what the store has does not tell where to go on.
    #[error("the group has no position on {partition}, and where to begin is not known")]
    NoPosition {
        /// `topic/partition`.
        partition: String,
        /// Why, and how to set one.
        #[source]
        source: ResumeError,
    },
    /// A partition cannot be written.
    #[error("{partition} cannot be written")]
    Write {
        /// `topic/partition`.
        partition: String,
        /// Why.
        #[source]
        source: WriteError,
    },
    /// A partition's writer panicked: a defect of this program.
    #[error("the writer of {partition} ended unexpectedly")]
    WriterPanicked {
        /// `topic/partition`.
        partition: String,
        /// How.
        #[source]
        source: tokio::task::JoinError,
    },
}

/// Everything the reading thread owns.
pub(crate) struct ReadingThread {
    pub consumer: Box<dyn Consumer>,
    pub lanes: Lanes,
    /// Nothing is ever sent: its other end is dropped to stop the reader.
    pub stop: Receiver<()>,
    pub drain_within: Duration,
}

impl ReadingThread {
    /// Reads until it is stopped, then drains: closes what is open, waits for the writers, leaves
    /// the group.
    pub(crate) fn run(mut self) -> Result<(), ReadError> {
        let outcome = self.read();
        self.lanes.drain(self.drain_within, outcome.is_ok());
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
            let wait = self.lanes.next_wait(Instant::now());
            match self.consumer.poll(wait, RECORDS_A_POLL, &mut self.lanes) {
                Ok(_) => {
                    if retry > FIRST_RETRY {
                        self.lanes.context.stats.recovered(Half::Reading);
                    }
                    retry = FIRST_RETRY;
                }
                Err(fault) if fault.is_retryable() => {
                    let reason = error_chain(&fault);
                    tracing::warn!(reason, "reading the log failed, trying again");
                    self.lanes.context.stats.failed(Half::Reading, &reason);
                    if self.stop.recv_timeout(retry) == Err(RecvTimeoutError::Disconnected) {
                        break;
                    }
                    retry = (retry * 2).min(LONGEST_RETRY);
                }
                Err(fault) => return Err(ReadError::Log(fault)),
            }
            if let Some(fault) = self.lanes.refused.take() {
                return Err(fault);
            }
            for (partition, outcome) in self.lanes.searches.ended(&self.lanes.runtime) {
                let position = outcome
                    .map_err(|source| ReadError::NoPosition { partition: name(&partition), source })?;
                self.consumer.begin(&partition, position);
            }
            let flow = self.lanes.turn(Instant::now())?;
            for (pause, partitions) in [(true, flow.pause), (false, flow.resume)] {
                self.steer(pause, &partitions)?;
            }
        }
        Ok(())
    }

    /// Pauses or resumes. What cannot be steered now, for a rebalance has just taken it, is steered
    /// again in the next turn if it is still here.
    fn steer(&mut self, pause: bool, partitions: &[TopicPartition]) -> Result<(), ReadError> {
        if partitions.is_empty() {
            return Ok(());
        }
        let steered = if pause { self.consumer.pause(partitions) } else { self.consumer.resume(partitions) };
        match steered {
            Ok(()) => Ok(()),
            Err(fault) if fault.is_retryable() => {
                tracing::debug!(pause, reason = error_chain(&fault), "not steered, trying again");
                self.lanes.not_steered(pause, partitions);
                Ok(())
            }
            Err(fault) => Err(ReadError::Log(fault)),
        }
    }
}

/// The partitions this instance holds.
pub(crate) struct Lanes {
    pub context: Arc<WriteContext>,
    /// The log, for what is said to people.
    pub log: Arc<dyn Log>,
    /// The consumer group, likewise.
    pub group: String,
    pub runtime: Handle,
    pub limits: Limits,
    pub raw_retention: RawRetention,
    pub bounds: BatchBounds,
    pub lanes: Vec<Lane>,
    /// The lane of the last record: records come in runs of one partition.
    pub last: usize,
    /// Partitions without a position, until it is known where to begin.
    pub searches: Searches,
    /// Writers of partitions that were taken away, until they have ended.
    pub leaving: Vec<JoinHandle<Result<(), WriteError>>>,
    /// Set by an assignment that must not be taken up.
    pub refused: Option<ReadError>,
}

/// Partitions to stop and to start again.
#[derive(Default)]
struct Flow {
    pause: Vec<TopicPartition>,
    resume: Vec<TopicPartition>,
}

impl Sink for Lanes {
    fn without_position(&mut self, at: &Unpositioned) -> Begin {
        match Stream::of_topic(&at.partition.topic) {
            Ok(stream) => {
                let search = Search {
                    tables: Arc::clone(&self.context.tables),
                    stats: Arc::clone(&self.context.stats),
                    stream,
                    at: at.clone(),
                    horizon: self.rules().horizon(),
                    log: Arc::clone(&self.log),
                    group: self.group.clone(),
                };
                self.searches.begin(search, &self.runtime);
            }
            Err(fault) => self.refused = Some(ReadError::Topic(fault)),
        }
        Begin::Later
    }

    fn assigned(&mut self, assignments: Vec<Assignment>) {
        for assignment in assignments {
            self.give_up(&assignment.partition);
            let partition = name(&assignment.partition);
            let (log, group) = (Arc::clone(&self.log), self.group.clone());
            let place = assignment.partition.clone();
            let how_to_set_position = move |to| log.how_to_set_position(&group, &place, to);
            let lane =
                Stream::of_topic(&assignment.partition.topic).map_err(ReadError::Topic).and_then(|stream| {
                    Lane::open(stream, assignment, &self.context, &self.runtime, &how_to_set_position)
                        .map_err(|source| ReadError::Journal { partition, source })
                });
            match lane {
                Ok(lane) => self.lanes.push(lane),
                Err(fault) => self.refused = Some(fault),
            }
        }
        self.context.stats.reads(self.lanes.len());
    }

    fn revoked(&mut self, partitions: &[TopicPartition]) {
        partitions.iter().for_each(|partition| self.give_up(partition));
        self.leaving.retain(|writer| !writer.is_finished());
        self.context.stats.reads(self.lanes.len());
    }
}

impl RecordSink for Lanes {
    fn gap(&mut self, partition: &TopicPartition, expected: u64, found: u64) {
        tracing::error!(
            partition = name(partition),
            expected,
            found,
            "the log's retention removed records before they were read"
        );
        self.context.stats.lost(found.saturating_sub(expected));
        if let Some(at) = self.find(&partition.topic, partition.partition) {
            self.lanes[at].note_gap(expected, found);
        }
    }

    fn passed(&mut self, partition: &TopicPartition, next: u64) {
        if let Some(at) = self.find(&partition.topic, partition.partition) {
            let rules = self.rules();
            self.lanes[at].passed(next, rules, &self.context);
        }
    }

    fn record(&mut self, record: Record<'_>) {
        // Without a lane it is of a partition that was refused: the reader is about to stop.
        if let Some(at) = self.find(record.topic, record.partition) {
            let rules = self.rules();
            self.lanes[at].push(&record, rules, &self.bounds, &self.context);
        }
    }

    /// Once every partition is paused nothing comes, and the poll may wait as long as it was asked to.
    fn has_room(&self) -> bool {
        !self.bounds.are_reached_by(self.context.stats.buffered_bytes())
            || self.lanes.iter().all(|lane| lane.paused)
    }
}

impl Lanes {
    /// Those of a batch that is begun now.
    fn rules(&self) -> Rules {
        Rules { limits: self.limits, raw_retention_ms: self.raw_retention.get() }
    }

    fn find(&mut self, topic: &str, partition: u32) -> Option<usize> {
        let is_it = |lane: &Lane| lane.partition.partition == partition && &*lane.partition.topic == topic;
        if !self.lanes.get(self.last).is_some_and(is_it) {
            self.last = self.lanes.iter().position(is_it)?;
        }
        Some(self.last)
    }

    fn give_up(&mut self, partition: &TopicPartition) {
        self.searches.end(partition);
        if let Some(at) = self.find(&partition.topic, partition.partition) {
            self.leaving.extend(self.lanes.swap_remove(at).abandon());
        }
    }

    /// The partitions are still as they were before they were to be paused or resumed.
    fn not_steered(&mut self, pause: bool, partitions: &[TopicPartition]) {
        for lane in self.lanes.iter_mut().filter(|lane| partitions.contains(&lane.partition)) {
            lane.paused = !pause;
        }
    }

    /// How long the next poll may wait.
    fn next_wait(&self, now: Instant) -> Duration {
        if !self.searches.is_empty() {
            return SHORT_POLL;
        }
        let due = self.lanes.iter().filter_map(|lane| {
            if lane.is_blocked() { Some(SHORT_POLL) } else { lane.next_due(now, self.bounds.max_age) }
        });
        due.min().unwrap_or(LONGEST_POLL).min(LONGEST_POLL)
    }

    /// Closes what is due, hands over what waits, and says which partitions to pause and which to resume.
    fn turn(&mut self, now: Instant) -> Result<Flow, ReadError> {
        let mut flow = Flow::default();
        for lane in &mut self.lanes {
            lane.close_if_due(now, self.bounds.max_age, &self.context);
            let behind = lane.regulate();
            let over_budget = self.bounds.are_reached_by(self.context.stats.buffered_bytes());
            let pause = behind || over_budget;
            if pause != lane.paused {
                lane.paused = pause;
                let list = if pause { &mut flow.pause } else { &mut flow.resume };
                list.push(lane.partition.clone());
            }
            if behind && let Some(failure) = lane.failure(&self.runtime) {
                let partition = name(&lane.partition);
                return Err(match failure {
                    Ok(source) => ReadError::Write { partition, source },
                    Err(source) => ReadError::WriterPanicked { partition, source },
                });
            }
        }
        Ok(flow)
    }

    /// Gives the writers what is left and waits for them, until the time is up.
    fn drain(&mut self, within: Duration, close_open_batches: bool) {
        self.searches = Searches::default();
        let context = Arc::clone(&self.context);
        let closing: Vec<Closing> =
            self.lanes.drain(..).map(|lane| lane.finish(close_open_batches, &context)).collect();
        let leaving = std::mem::take(&mut self.leaving);
        self.runtime.block_on(async {
            let deadline = tokio::time::Instant::now() + within;
            let feeders: Vec<_> = closing
                .into_iter()
                .map(|Closing { partition, writer, abandon, rest: (to_writer, waiting) }| {
                    let feeder = tokio::spawn(async move {
                        for charged in waiting {
                            // The writer is gone: what is left is for the next start.
                            if to_writer.send(charged).await.is_err() {
                                break;
                            }
                        }
                    });
                    (partition, writer, abandon, feeder)
                })
                .collect();
            for (partition, writer, abandon, feeder) in feeders {
                let Some(mut writer) = writer else { continue };
                match tokio::time::timeout_at(deadline, &mut writer).await {
                    Ok(Ok(Ok(()))) => {}
                    Ok(Ok(Err(fault))) => {
                        tracing::error!(
                            partition = name(&partition),
                            reason = error_chain(&fault),
                            "not drained"
                        );
                    }
                    Ok(Err(fault)) => tracing::error!(partition = name(&partition), %fault, "not drained"),
                    Err(_) => {
                        tracing::warn!(
                            partition = name(&partition),
                            "not drained in time; the range under way is finished at the next start"
                        );
                        abandon.cancel();
                        let _ = writer.await;
                    }
                }
                feeder.abort();
            }
            for writer in leaving {
                let _ = writer.await;
            }
        });
    }
}

fn name(partition: &TopicPartition) -> String {
    format!("{}/{}", partition.topic, partition.partition)
}
