//! The reading thread: polls the log, decodes records into batches, closes them by rows, bytes or
//! time, and hands them to the partitions' writers. When a writer is behind, the partition is
//! paused and the polling goes on, so that the group never takes a slow store for a dead member.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kelly_stream::{Assignment, Consumer, LogError, Record, Sink, TopicPartition};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::batch::{Batch, BatchBuilder, Rules};
use crate::journal::{Journal, JournalError};
use crate::shape::Nonce;
use crate::writer::{BATCHES_WAITING, Shared, Writer, chain};

/// Records handed over by one poll at most; a batch may exceed its bounds by this much.
const RECORDS_A_POLL: usize = 10_000;
/// Longest wait in a poll: how soon a stop is noticed.
const LONGEST_POLL: Duration = Duration::from_millis(100);
/// Wait in a poll while a batch waits for room at its writer.
const POLL_WHILE_BLOCKED: Duration = Duration::from_millis(5);

/// When a batch is closed: by whichever comes first.
#[derive(Debug, Clone, Copy)]
pub struct BatchBounds {
    /// Rows.
    pub max_rows: usize,
    /// Payload bytes.
    pub max_bytes: usize,
    /// Time since its first record: the greatest part of the way from produced to queryable.
    pub max_age: Duration,
    /// Payload bytes of all batches that are closed and not yet written; at the bound every
    /// partition is paused.
    pub max_buffered_bytes: usize,
}

impl Default for BatchBounds {
    fn default() -> Self {
        Self {
            max_rows: 100_000,
            max_bytes: 16 << 20,
            max_age: Duration::from_secs(1),
            max_buffered_bytes: 256 << 20,
        }
    }
}

/// Why reading ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The log refused for good.
    #[error("reading the log failed for good")]
    Log(#[source] LogError),
    /// A committed position says something that must not be ignored.
    #[error("the position of {partition} cannot be taken up")]
    Journal {
        /// `topic/partition`.
        partition: String,
        /// What it says.
        #[source]
        source: JournalError,
    },
}

/// Everything the reading thread owns.
pub(crate) struct Reader {
    pub consumer: Box<dyn Consumer>,
    pub lanes: Lanes,
    pub stop: Arc<AtomicBool>,
    pub drain_within: Duration,
}

impl Reader {
    /// Reads until told to stop, then drains: closes what is open, waits for the writers, leaves
    /// the group.
    pub(crate) fn run(mut self) -> Result<(), ReadError> {
        let outcome = self.read();
        if outcome.is_ok() {
            self.lanes.close_open_batches();
        }
        self.lanes.drain(self.drain_within);
        if let Err(fault) = self.consumer.close() {
            tracing::warn!(reason = chain(&fault), "leaving the consumer group failed; it will notice by itself");
        }
        outcome
    }

    fn read(&mut self) -> Result<(), ReadError> {
        while !self.stop.load(Ordering::Relaxed) {
            let wait = self.lanes.next_wait(Instant::now());
            match self.consumer.poll(wait, RECORDS_A_POLL, &mut self.lanes) {
                Ok(_) => {}
                Err(fault) if fault.is_retryable() => {
                    let reason = chain(&fault);
                    tracing::warn!(reason, "reading the log failed, trying again");
                    self.lanes.shared.stats.failed(&reason);
                }
                Err(fault) => return Err(ReadError::Log(fault)),
            }
            if let Some(fault) = self.lanes.refused.take() {
                return Err(fault);
            }
            self.lanes.close_due(Instant::now());
            let flow = self.lanes.regulate();
            if !flow.pause.is_empty() {
                self.consumer.pause(&flow.pause).map_err(ReadError::Log)?;
            }
            if !flow.resume.is_empty() {
                self.consumer.resume(&flow.resume).map_err(ReadError::Log)?;
            }
        }
        Ok(())
    }
}

/// The partitions this instance holds.
pub(crate) struct Lanes {
    pub shared: Arc<Shared>,
    pub runtime: Handle,
    pub rules: Rules,
    pub bounds: BatchBounds,
    pub lanes: HashMap<TopicPartition, Lane>,
    /// Writers of partitions that were taken away, until they have ended.
    pub leaving: Vec<JoinHandle<()>>,
    /// Set by an assignment that must not be taken up.
    pub refused: Option<ReadError>,
}

/// One partition on the reading side.
pub(crate) struct Lane {
    partition: TopicPartition,
    builder: Option<BatchBuilder>,
    opened: Instant,
    /// Where the next batch begins; unknown until the first record when the group has no position.
    position: Option<u64>,
    /// The end that was declared for the range under way: it must be closed there and nowhere else.
    declared_end: Option<u64>,
    /// A closed batch the writer has no room for yet.
    waiting: Option<Batch>,
    paused: bool,
    to_writer: mpsc::Sender<Batch>,
    writer: JoinHandle<()>,
    abandon: CancellationToken,
}

/// Partitions to stop and to start again.
#[derive(Default)]
pub(crate) struct Flow {
    pause: Vec<TopicPartition>,
    resume: Vec<TopicPartition>,
}

impl Sink for Lanes {
    fn assigned(&mut self, assignments: Vec<Assignment>) {
        for assignment in assignments {
            let partition = assignment.partition.clone();
            match self.open(assignment) {
                Ok(lane) => {
                    if let Some(old) = self.lanes.insert(partition, lane) {
                        self.leaving.push(old.abandon(&self.shared));
                    }
                }
                Err(source) => {
                    let partition = format!("{}/{}", partition.topic, partition.partition);
                    self.refused = Some(ReadError::Journal { partition, source });
                }
            }
        }
        self.shared.stats.reads(self.lanes.len());
    }

    fn revoked(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            if let Some(lane) = self.lanes.remove(partition) {
                self.leaving.push(lane.abandon(&self.shared));
            }
        }
        self.leaving.retain(|writer| !writer.is_finished());
        self.shared.stats.reads(self.lanes.len());
    }

    fn gap(&mut self, partition: &TopicPartition, expected: u64, found: u64) {
        tracing::error!(
            topic = &*partition.topic,
            partition = partition.partition,
            expected,
            found,
            "the log's retention removed records before they were read"
        );
        self.shared.stats.lost(found.saturating_sub(expected));
        let (rules, bounds) = (self.rules, self.bounds);
        if let Some(lane) = self.lanes.get_mut(partition) {
            let now_ms = chrono::Utc::now().timestamp_millis();
            lane.builder(expected, rules).note_gap(expected, found, now_ms);
            lane.close_if_full(&bounds, &self.shared);
        }
    }

    fn record(&mut self, record: Record<'_>) {
        let (rules, bounds) = (self.rules, self.bounds);
        let Some(lane) = self.lane(record.topic, record.partition) else {
            // A record of a partition that was refused: the reader is about to stop.
            return;
        };
        lane.push(&record, rules);
        let shared = Arc::clone(&self.shared);
        if let Some(lane) = self.lane(record.topic, record.partition) {
            lane.close_if_full(&bounds, &shared);
        }
    }
}

impl Lanes {
    fn open(&mut self, assignment: Assignment) -> Result<Lane, JournalError> {
        let journal = match &assignment.committed {
            Some(committed) => Journal::parse(&committed.metadata)?,
            None => None,
        };
        let position = assignment.committed.as_ref().map(|committed| committed.offset);
        let declared_end = match journal {
            Some(Journal::Declared { end, .. }) => Some(end),
            Some(Journal::Idle { .. }) | None => None,
        };
        let nonce = journal.map_or_else(Nonce::random, |entry| entry.nonce());
        tracing::info!(
            topic = &*assignment.partition.topic,
            partition = assignment.partition.partition,
            position,
            replay_to = declared_end,
            "partition assigned"
        );
        let (to_writer, batches) = mpsc::channel(BATCHES_WAITING);
        let abandon = CancellationToken::new();
        let writer = Writer {
            shared: Arc::clone(&self.shared),
            partition: assignment.partition.clone(),
            epoch: assignment.epoch,
            nonce,
            declared: declared_end,
            abandon: abandon.clone(),
        };
        Ok(Lane {
            partition: assignment.partition,
            builder: None,
            opened: Instant::now(),
            position,
            declared_end,
            waiting: None,
            paused: false,
            to_writer,
            writer: self.runtime.spawn(writer.run(batches)),
            abandon,
        })
    }

    fn lane(&mut self, topic: &str, partition: u32) -> Option<&mut Lane> {
        // Few partitions: a scan compares two integers a step and needs no key to be built.
        self.lanes
            .values_mut()
            .find(|lane| lane.partition.partition == partition && &*lane.partition.topic == topic)
    }

    /// How long the next poll may wait.
    fn next_wait(&self, now: Instant) -> Duration {
        self.lanes
            .values()
            .map(|lane| match (&lane.waiting, &lane.builder) {
                (Some(_), _) => POLL_WHILE_BLOCKED,
                (None, Some(_)) => (lane.opened + self.bounds.max_age).saturating_duration_since(now),
                (None, None) => LONGEST_POLL,
            })
            .min()
            .unwrap_or(LONGEST_POLL)
            .min(LONGEST_POLL)
    }

    fn close_due(&mut self, now: Instant) {
        let shared = Arc::clone(&self.shared);
        for lane in self.lanes.values_mut() {
            // A range under replay is closed at its declared end, never by time.
            let due = lane.builder.is_some()
                && lane.declared_end.is_none()
                && now.duration_since(lane.opened) >= self.bounds.max_age;
            if due && lane.waiting.is_none() {
                lane.close(&shared);
            }
        }
    }

    /// Hands over what waits, and says whom to pause and whom to resume.
    fn regulate(&mut self) -> Flow {
        let over_budget = self.shared.stats.buffered_bytes() > self.bounds.max_buffered_bytes as u64;
        let mut flow = Flow::default();
        for lane in self.lanes.values_mut() {
            lane.hand_over();
            let pause = lane.waiting.is_some() || over_budget;
            if pause != lane.paused {
                lane.paused = pause;
                let list = if pause { &mut flow.pause } else { &mut flow.resume };
                list.push(lane.partition.clone());
            }
        }
        flow
    }

    /// The first part of a drain: what was read becomes its last batch.
    fn close_open_batches(&mut self) {
        let shared = Arc::clone(&self.shared);
        for lane in self.lanes.values_mut() {
            if lane.declared_end.is_none() && lane.builder.is_some() && lane.waiting.is_none() {
                lane.close(&shared);
            }
        }
    }

    /// The second: the writers get what is left and end.
    fn drain(&mut self, within: Duration) {
        let lanes: Vec<Lane> = self.lanes.drain().map(|(_, lane)| lane).collect();
        let leaving = std::mem::take(&mut self.leaving);
        self.runtime.block_on(async {
            let deadline = tokio::time::Instant::now() + within;
            let mut writers = Vec::new();
            for lane in lanes {
                let Lane { waiting, to_writer, writer, abandon, partition, .. } = lane;
                writers.push((partition, abandon, writer));
                if let Some(batch) = waiting {
                    let size = batch.size;
                    let sent = tokio::time::timeout_at(deadline, to_writer.send(batch)).await;
                    if !matches!(sent, Ok(Ok(()))) {
                        self.shared.stats.released(size);
                    }
                }
            }
            for (partition, abandon, mut writer) in writers {
                if tokio::time::timeout_at(deadline, &mut writer).await.is_err() {
                    tracing::warn!(
                        topic = &*partition.topic,
                        partition = partition.partition,
                        "not drained in time; the range under way is finished at the next start"
                    );
                    abandon.cancel();
                    let _ = writer.await;
                }
            }
            for writer in leaving {
                let _ = writer.await;
            }
        });
    }
}

impl Lane {
    fn builder(&mut self, first_offset: u64, rules: Rules) -> &mut BatchBuilder {
        if self.builder.is_none() {
            self.opened = Instant::now();
        }
        let start = *self.position.get_or_insert(first_offset);
        self.builder.get_or_insert_with(|| BatchBuilder::new(self.partition.clone(), start, rules))
    }

    fn push(&mut self, record: &Record<'_>, rules: Rules) {
        self.builder(record.offset, rules).push(record);
    }

    fn close_if_full(&mut self, bounds: &BatchBounds, shared: &Shared) {
        let Some(builder) = &self.builder else { return };
        let close = match self.declared_end {
            Some(end) => builder.next_offset() >= end,
            None => {
                let size = builder.size();
                self.waiting.is_none()
                    && (size.rows.max(size.records) >= bounds.max_rows || size.bytes >= bounds.max_bytes)
            }
        };
        if close {
            self.close(shared);
        }
    }

    fn close(&mut self, shared: &Shared) {
        let Some(builder) = self.builder.take() else { return };
        let batch = builder.close(self.declared_end.take());
        self.position = Some(batch.range.end);
        shared.stats.closed(batch.size);
        self.waiting = Some(batch);
        self.hand_over();
    }

    fn hand_over(&mut self) {
        let Some(batch) = self.waiting.take() else { return };
        if let Err(mpsc::error::TrySendError::Full(batch) | mpsc::error::TrySendError::Closed(batch)) =
            self.to_writer.try_send(batch)
        {
            self.waiting = Some(batch);
        }
    }

    /// Gives the partition up: what is not confirmed is for its next owner.
    fn abandon(self, shared: &Shared) -> JoinHandle<()> {
        self.abandon.cancel();
        if let Some(batch) = &self.waiting {
            shared.stats.released(batch.size);
        }
        self.writer
    }
}
