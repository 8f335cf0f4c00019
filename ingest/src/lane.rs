//! One partition on the reading side: the batch being built, the batches waiting for the writer.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use kelly_schemas::Stream;
use kelly_stream::{Assignment, Record, SetTo, TopicPartition};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::batch::{BatchBuilder, MAX_BATCH_BYTES, Rules};
use crate::bounds::BatchBounds;
use crate::journal::{Horizon, Journal, JournalError};
use crate::shape::Nonce;
use crate::writer::{BATCHES_WAITING, QueuedBatch, WriteContext, WriteError, Writer};

/// A paused partition is resumed when this many batches fit its writer's channel again: a gap
/// between the two bounds keeps it from being paused and resumed with every batch.
const RESUME_WITH_ROOM: usize = BATCHES_WAITING - 1;

/// A batch of so many rows is closed as soon as its partition has been silent for [`SILENCE`]: what
/// was read of a backlog's end need not wait for its age. Smaller ones do wait, for every batch has
/// its price.
const WORTH_A_BATCH_ROWS: usize = 50_000;

/// Longer than a fetch takes, so that a backlog that is still coming is not mistaken for its end.
const SILENCE: Duration = Duration::from_millis(100);

/// One partition.
pub(crate) struct Lane {
    stream: Stream,
    pub partition: TopicPartition,
    pub paused: bool,
    nonce: Nonce,
    builder: Option<BatchBuilder>,
    opened: Instant,
    /// Whether records came since the last turn, and if not, since when none did.
    fed: bool,
    silent_since: Option<Instant>,
    /// Where the next batch begins; unknown until the first record when the group has no position.
    position: Option<u64>,
    /// The range that was declared and is under way: it must be closed at this end and nowhere
    /// else, under the configuration of its declaration.
    declared: Option<(u64, Horizon)>,
    /// Offsets that retention removed, until the next record dates them.
    gap: Option<(u64, u64)>,
    /// Closed batches the writer has no room for yet. While there is one the partition is paused,
    /// so no more come than one poll hands over.
    waiting: VecDeque<QueuedBatch>,
    to_writer: mpsc::Sender<QueuedBatch>,
    /// `None` once its end has been seen.
    writer: Option<JoinHandle<Result<(), WriteError>>>,
    abandon: CancellationToken,
}

/// What is left of a lane in a drain.
pub(crate) struct Closing {
    pub partition: TopicPartition,
    pub writer: Option<JoinHandle<Result<(), WriteError>>>,
    pub abandon: CancellationToken,
    /// Hands over what waited, then lets the writer end.
    pub rest: (mpsc::Sender<QueuedBatch>, VecDeque<QueuedBatch>),
}

impl Lane {
    /// Takes a partition up where its committed position and journal say.
    pub(crate) fn open(
        stream: Stream,
        assignment: Assignment,
        context: &Arc<WriteContext>,
        runtime: &Handle,
        how_to_set_position: &dyn Fn(SetTo) -> String,
    ) -> Result<Self, JournalError> {
        let journal = match &assignment.committed {
            Some(committed) => Journal::parse(&committed.metadata)?,
            None => None,
        };
        if journal.as_ref().and_then(|entry| entry.nonce().is_of(assignment.topic_id)) == Some(false) {
            return Err(JournalError::OtherTopic { help: how_to_set_position(SetTo::Earliest) });
        }
        let position = assignment.committed.as_ref().map(|committed| committed.offset);
        let declared = match journal {
            Some(Journal::Declared { end, horizon, .. }) => Some((end, horizon)),
            Some(Journal::Idle { .. }) | None => None,
        };
        tracing::info!(
            topic = &*assignment.partition.topic,
            partition = assignment.partition.partition,
            position,
            replay_to = declared.map(|(end, _)| end),
            "partition assigned"
        );
        let doubtful_to = journal.as_ref().and_then(Journal::doubtful_to);
        let nonce = match journal {
            // Between two ranges it may change, and one that names its topic is known again when positions expire.
            Some(Journal::Idle { nonce, .. }) if nonce.names_its_topic() || assignment.topic_id.is_none() => {
                nonce
            }
            Some(Journal::Declared { nonce, .. }) => nonce,
            Some(Journal::Idle { .. }) | None => Nonce::fresh(assignment.topic_id),
        };
        let (to_writer, batches) = mpsc::channel(BATCHES_WAITING);
        let abandon = CancellationToken::new();
        let writer = Writer {
            context: Arc::clone(context),
            partition: assignment.partition.clone(),
            epoch: assignment.epoch,
            nonce,
            declared: declared.map(|(end, _)| end),
            doubtful_to,
            confirmed_at: (context.clock)(),
            abandon: abandon.clone(),
        };
        Ok(Self {
            stream,
            partition: assignment.partition,
            paused: false,
            nonce,
            builder: None,
            opened: Instant::now(),
            fed: false,
            silent_since: None,
            position,
            declared,
            gap: None,
            waiting: VecDeque::new(),
            to_writer,
            writer: Some(runtime.spawn(writer.run(batches))),
            abandon,
        })
    }

    /// Adds a record, and closes the batch where it is full or where its declared end is.
    pub(crate) fn push(
        &mut self,
        record: &Record<'_>,
        rules: Rules,
        bounds: &BatchBounds,
        context: &WriteContext,
    ) {
        if let Some((end, _)) = self.declared
            && record.offset >= end
        {
            // The end of the declared range is no longer there: it is closed with what is left of it.
            let gap = self.gap.take();
            let builder = self.builder(record.offset, rules);
            if let Some((expected, found)) = gap {
                builder.note_gap(expected, found, record.timestamp_ms);
            }
            self.close(context);
        }
        let gap = self.gap.take();
        let first = gap.map_or(record.offset, |(expected, _)| expected);
        let builder = self.builder(first, rules);
        if let Some((expected, found)) = gap {
            builder.note_gap(expected, found, record.timestamp_ms);
        }
        builder.push(record);
        let (next, size) = (builder.next_offset(), builder.size());
        let full = match self.declared {
            Some((end, _)) => next >= end,
            None => {
                (size.rows + size.dead_letters).max(size.records) >= bounds.max_rows
                    || size.bytes >= bounds.max_bytes.min(MAX_BATCH_BYTES)
            }
        };
        self.fed = true;
        if full {
            self.close(context);
        }
    }

    /// Notes that retention removed `[expected, found)`.
    pub(crate) fn note_gap(&mut self, expected: u64, found: u64) {
        let first = self.gap.map_or(expected, |(first, _)| first);
        self.gap = Some((first, found));
    }

    /// Notes that everything before `next` has been handed over: the offsets from the last record to there hold none. The
    /// open batch ends there. Where none is open one without records is, so that the position follows, and no more often
    /// than batches are closed.
    pub(crate) fn passed(&mut self, next: u64, rules: Rules, context: &WriteContext) {
        // The next record dates what retention removed, so the batch of that record begins with it.
        if self.gap.is_some() {
            return;
        }
        match self.declared {
            // The rest of the range holds no record.
            Some((end, _)) if next >= end => {
                self.builder(end, rules);
                self.close(context);
            }
            Some(_) => return,
            None => {}
        }
        if self.position.is_none_or(|position| position < next) {
            self.builder(next, rules).pass_to(next);
        }
    }

    /// Closes the batch when its time has come, or when it is worth it and nothing more comes for now.
    /// A range under replay is closed at its declared end, never by time.
    pub(crate) fn close_if_due(&mut self, now: Instant, max_age: Duration, context: &WriteContext) {
        if std::mem::take(&mut self.fed) || self.paused {
            self.silent_since = None;
        } else {
            self.silent_since.get_or_insert(now);
        }
        if self.next_due(now, max_age) == Some(Duration::ZERO) {
            self.close(context);
        }
    }

    /// How long the reader may wait for records before this lane needs it; `None` is as long as it likes.
    pub(crate) fn next_due(&self, now: Instant, max_age: Duration) -> Option<Duration> {
        let builder = self.builder.as_ref().filter(|_| self.declared.is_none())?;
        let old = self.opened + max_age;
        let done = self
            .silent_since
            .filter(|_| builder.size().rows >= WORTH_A_BATCH_ROWS)
            .map_or(old, |since| old.min(since + SILENCE));
        Some(done.saturating_duration_since(now))
    }

    /// Whether a batch waits for room at the writer.
    pub(crate) fn is_blocked(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Hands over what waits, and says whether the partition ought to be paused now.
    pub(crate) fn regulate(&mut self) -> bool {
        while let Some(charged) = self.waiting.pop_front() {
            if let Err(
                mpsc::error::TrySendError::Full(charged) | mpsc::error::TrySendError::Closed(charged),
            ) = self.to_writer.try_send(charged)
            {
                self.waiting.push_front(charged);
                return true;
            }
        }
        self.paused && self.to_writer.capacity() < RESUME_WITH_ROOM
    }

    /// Why the writer ended by itself, if it did so for anything but the end of the assignment.
    pub(crate) fn failure(&mut self, runtime: &Handle) -> Option<Result<WriteError, tokio::task::JoinError>> {
        let writer = self.writer.take_if(|writer| writer.is_finished())?;
        match runtime.block_on(writer) {
            Ok(Ok(())) => None,
            Ok(Err(fault)) => Some(Ok(fault)),
            Err(fault) => Some(Err(fault)),
        }
    }

    /// Gives the partition up: what is not confirmed is for its next owner.
    pub(crate) fn abandon(self) -> Option<JoinHandle<Result<(), WriteError>>> {
        self.abandon.cancel();
        self.writer
    }

    /// Closes what is open and takes the lane apart for a drain.
    pub(crate) fn finish(mut self, close_open_batch: bool, context: &WriteContext) -> Closing {
        if close_open_batch && self.declared.is_none() && self.builder.is_some() {
            self.close(context);
        }
        Closing {
            partition: self.partition,
            writer: self.writer,
            abandon: self.abandon,
            rest: (self.to_writer, self.waiting),
        }
    }

    fn builder(&mut self, first_offset: u64, rules: Rules) -> &mut BatchBuilder {
        if self.builder.is_none() {
            self.opened = Instant::now();
        }
        let rules = self.declared.map_or(rules, |(_, horizon)| rules.under(horizon));
        let start = *self.position.get_or_insert(first_offset);
        self.builder
            .get_or_insert_with(|| BatchBuilder::new(self.stream, self.partition.partition, start, rules))
    }

    fn close(&mut self, context: &WriteContext) {
        let Some(builder) = self.builder.take() else { return };
        let batch = builder.close(self.declared.take().map(|(end, _)| end), self.nonce);
        self.position = Some(batch.range.end);
        let charge = context.stats.charge(batch.size);
        self.waiting.push_back(QueuedBatch { batch, charge });
    }
}
