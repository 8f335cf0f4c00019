//! The thread that applies the log.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use kelly_schemas::error_chain;
use kelly_stream::{Log, LogError, Reader, ReaderSpec, Record, RecordSink, TopicPartition};
use tokio::runtime::Handle;

use super::error::ReplicaError;
use super::{Health, Shared};
use crate::command::VERSION;
use crate::decision::Decision;
use crate::position::Position;
use crate::snapshot::Snapshot;
use crate::snapshots::Snapshots;
use crate::state::State;

/// How long one poll waits for a record; so long a stop may take.
const POLL_WAIT: Duration = Duration::from_millis(250);

/// Records of one poll: bounds how long the state is not to be read.
const RECORDS_A_POLL: usize = 500;

/// Bytes of one poll; a record more may come.
const BYTES_A_POLL: usize = 4 << 20;

/// How often it is asked whether the topic is still the same.
const CHECK_TOPIC: Duration = Duration::from_secs(5);

/// Pause after the log has failed.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// Records between two snapshots: so many are read anew at most after a kill.
const SNAPSHOT_EVERY: u64 = 10_000;

/// A log, and what of it was applied.
pub(crate) struct Source {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) topic: Arc<str>,
    pub(crate) snapshots: Arc<dyn Snapshots>,
}

impl Source {
    /// The topic's id, after looking whether everything is there that goes on from this state.
    pub(crate) async fn verify(
        &self,
        next_offset: u64,
        known: Option<u64>,
    ) -> Result<Option<u64>, ReplicaError> {
        let id = self.log.topic_id(&self.topic).await?.map(|id| id.0);
        if let (Some(id), Some(known)) = (id, known)
            && id != known
        {
            return Err(ReplicaError::OtherTopic {
                topic: self.topic.to_string(),
                snapshots: self.snapshots.describe(),
            });
        }
        let partition = TopicPartition { topic: self.topic.clone(), partition: 0 };
        let ends = self.log.watermarks(&partition).await?;
        if ends.high < next_offset {
            return Err(self.went_back(ends.high, next_offset));
        }
        if ends.low > next_offset {
            return Err(self.removed(next_offset, ends.low));
        }
        Ok(id)
    }

    fn went_back(&self, end: u64, applied: u64) -> ReplicaError {
        ReplicaError::WentBack {
            topic: self.topic.to_string(),
            end,
            applied,
            snapshots: self.snapshots.describe(),
        }
    }

    fn removed(&self, expected: u64, found: u64) -> ReplicaError {
        ReplicaError::Removed { topic: self.topic.to_string(), expected, found }
    }

    pub(crate) fn reader(&self, next_offset: u64) -> Result<Box<dyn Reader>, ReplicaError> {
        Ok(self.log.reader(ReaderSpec { topic: self.topic.clone(), offsets: vec![next_offset] })?)
    }

    /// The next records. Waits for the first of them for a moment.
    pub(crate) fn poll(
        &self,
        reader: &mut dyn Reader,
        next_offset: u64,
    ) -> Result<Vec<(Position, Vec<u8>)>, ReplicaError> {
        let mut records = Records::default();
        let outcome = reader.poll(POLL_WAIT, RECORDS_A_POLL, &mut records);
        if let Some((expected, found)) = records.gap {
            return Err(self.removed(expected, found));
        }
        if let Err(LogError::Corrupt { .. }) = &outcome {
            // A reader says so when the end lies before the offset to read.
            return Err(self.went_back(next_offset.saturating_sub(1), next_offset));
        }
        outcome?;
        Ok(records.records)
    }
}

#[derive(Default)]
struct Records {
    records: Vec<(Position, Vec<u8>)>,
    bytes: usize,
    gap: Option<(u64, u64)>,
}

impl RecordSink for Records {
    fn gap(&mut self, _: &TopicPartition, expected: u64, found: u64) {
        self.gap.get_or_insert((expected, found));
    }

    fn record(&mut self, record: Record<'_>) {
        self.bytes += record.payload.len();
        let at = Position { offset: record.offset, log_time_ms: record.timestamp_ms };
        self.records.push((at, record.payload.to_vec()));
    }

    fn has_room(&self) -> bool {
        self.gap.is_none() && self.bytes < BYTES_A_POLL
    }
}

pub(super) struct Following {
    pub(super) source: Source,
    pub(super) shared: Arc<Shared>,
    pub(super) runtime: Handle,
    pub(super) topic_id: Option<u64>,
    /// The next offset of the newest snapshot.
    pub(super) snapshot_at: u64,
}

impl Following {
    /// Applies until it is stopped, or until something is wrong that does not pass.
    pub(super) fn run(mut self) {
        let mut is_told = false;
        while !self.is_stopped() {
            let Err(error) = self.follow() else { continue };
            if self.is_stopped() {
                break;
            }
            let words = error_chain(&error);
            if !error.is_passing() {
                tracing::error!(error = words, "the control log is not followed any more");
                self.shared.set_health(Health::Stopped(words));
                return;
            }
            if !std::mem::replace(&mut is_told, true) {
                tracing::warn!(error = words, "the control log is waited for");
            }
            self.shared.set_health(Health::Trouble(words));
            self.pause();
        }
        if self.shared.keep_at_end.load(Ordering::Relaxed) {
            self.keep(1);
        }
        self.shared.set_health(Health::Stopped("it was told to stop".into()));
    }

    fn is_stopped(&self) -> bool {
        self.shared.stop.load(Ordering::Acquire)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a log that is away announces nothing that could be awaited"
    )]
    fn pause(&self) {
        std::thread::sleep(TRY_AGAIN);
    }

    fn next_offset(&self) -> u64 {
        self.shared.read(State::next_offset)
    }

    fn follow(&mut self) -> Result<(), ReplicaError> {
        let mut next = self.next_offset();
        self.refuse_newer(next)?;
        self.topic_id = self.runtime.block_on(self.source.verify(next, self.topic_id))?.or(self.topic_id);
        let mut reader = self.source.reader(next)?;
        let mut check_at = Instant::now() + CHECK_TOPIC;
        self.shared.set_health(Health::Following);
        while !self.is_stopped() {
            let records = self.source.poll(&mut *reader, next)?;
            if !records.is_empty() {
                self.apply(&records)?;
                next = self.next_offset();
                self.keep(SNAPSHOT_EVERY);
            }
            if Instant::now() >= check_at {
                self.runtime.block_on(self.source.verify(next, self.topic_id))?;
                check_at = Instant::now() + CHECK_TOPIC;
            }
        }
        Ok(())
    }

    fn apply(&self, records: &[(Position, Vec<u8>)]) -> Result<(), ReplicaError> {
        let mut decisions = Vec::with_capacity(records.len());
        let next = {
            let mut state = self.shared.state.write().unwrap_or_else(PoisonError::into_inner);
            for (at, payload) in records {
                if at.offset < state.next_offset() {
                    continue;
                }
                decisions.push(Arc::new(Decision::make(&mut state, *at, payload)));
                if state.version() > VERSION {
                    break;
                }
            }
            state.next_offset()
        };
        {
            for decision in &decisions {
                self.shared.verdicts[decision.verdict.place()].fetch_add(1, Ordering::Relaxed);
            }
            let mut ring = self.shared.ring.lock().unwrap_or_else(PoisonError::into_inner);
            decisions.into_iter().for_each(|decision| ring.push(decision));
        }
        self.shared.progress(next);
        self.refuse_newer(next)
    }

    /// Commands that this program does not know count: it cannot judge what follows.
    fn refuse_newer(&self, next: u64) -> Result<(), ReplicaError> {
        match self.shared.read(State::version) {
            version if version > VERSION => {
                Err(ReplicaError::TooOld { version, offset: next.saturating_sub(1) })
            }
            _ => Ok(()),
        }
    }

    /// Takes a snapshot when at least so many records came since the last one. A failure costs time at the next start, nothing
    /// else.
    fn keep(&mut self, every: u64) {
        let next = self.next_offset();
        if next < self.snapshot_at.saturating_add(every) {
            return;
        }
        let bytes = self.shared.read(|state| Snapshot::bytes_of(self.topic_id, state));
        self.snapshot_at = next;
        if let Err(error) = self.source.snapshots.write(next, &bytes) {
            let place = self.source.snapshots.describe();
            tracing::warn!(%error, place, "a snapshot of the control log's state was not written");
        }
    }
}
