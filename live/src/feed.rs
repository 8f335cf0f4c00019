//! Reads the activity topic as it grows and hands its events to the hub. Every instance reads all partitions by itself,
//! in no group, so each has every event; the store is not asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kelly_schemas::{Limits, Stream, error_chain};
use kelly_stream::{Log, LogError, Reader, ReaderSpec, Record, RecordSink, TopicPartition, Watermarks};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::event::{RecordEvents, events_of};
use crate::hub::{FeedState, Hub};
use crate::message::ResetReason;
use crate::ring::Beginning;
use crate::room::Feeding;

/// How long one poll waits for a record; so long a stop may take.
const POLL_WAIT: Duration = Duration::from_millis(250);

/// Records of one poll: bounds how long the first of them waits for the last.
const RECORDS_A_POLL: usize = 1_000;

/// Events of records that are decoded before they are handed over: a record may hold thousands.
const EVENTS_AT_ONCE: usize = 5_000;

/// Bytes of their payloads: the same.
const BYTES_AT_ONCE: usize = 512 << 10;

/// How often it is asked whether the topic was made anew or has more partitions.
const CHECK_TOPIC: Duration = Duration::from_secs(5);

/// Pause after the log has failed.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// Failures in a row that are told: a topic that was just made, or a leader that moves, is away for a moment.
const WORTH_TELLING: u32 = 3;

/// After following for so long, with several looks at the topic, a failure is the first of a row.
const STEADY: Duration = Duration::from_secs(30);

/// The epoch of a topic on a log that gives its topics no ids.
const NO_ID: u64 = 0;

/// What is read.
#[derive(Debug, Clone, Copy)]
pub struct FeedConfig {
    /// What a row may be: as ingest has it.
    pub limits: Limits,
    /// Records of each partition before its end that are read at the start, so that who was connected before can go on.
    pub backlog: u64,
    /// Part of the epoch beside the topic's id: what else a position is only good under. Zero where there is nothing.
    pub under: u64,
}

impl FeedConfig {
    /// With the usual backlog.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, backlog: 1_000, under: 0 }
    }
}

/// The thread that reads.
#[derive(Debug)]
pub struct Feed {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Feed {
    /// Begins to read, and returns once the hub knows the topic: connections have positions from then on. While the log
    /// does not answer it waits.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub async fn start(log: Arc<dyn Log>, hub: Arc<Hub>, config: FeedConfig) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (begun, has_begun) = oneshot::channel();
        let mut reading = Reading {
            log,
            hub,
            config,
            runtime: Handle::current(),
            stop: stop.clone(),
            topic: Stream::Activity.topic().into(),
            begun: Some(begun),
        };
        let thread =
            std::thread::Builder::new().name("kelly-live-feed".into()).spawn(move || reading.run())?;
        let feed = Self { stop, thread: Some(thread) };
        // An error means that the thread was stopped before.
        let _ = has_begun.await;
        Ok(feed)
    }

    /// Ends reading. Blocks until the thread has ended.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("reading the log for live push ended with a defect");
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Reading {
    log: Arc<dyn Log>,
    hub: Arc<Hub>,
    config: FeedConfig,
    runtime: Handle,
    stop: Arc<AtomicBool>,
    topic: Arc<str>,
    begun: Option<oneshot::Sender<()>>,
}

/// Counts failures in a row.
#[derive(Debug, Default)]
struct Failures(u32);

impl Failures {
    /// Notes one that came so long after the log began to be followed, and says whether it is to be told.
    fn note(&mut self, followed: Duration) -> bool {
        let before = if followed >= STEADY { 0 } else { self.0 };
        self.0 = before.saturating_add(1);
        self.0 == WORTH_TELLING
    }
}

/// The topic as it is.
#[derive(Debug, PartialEq, Eq)]
struct Topic {
    epoch: String,
    ends: Vec<Watermarks>,
}

impl Reading {
    fn run(&mut self) {
        let mut failures = Failures::default();
        while !self.is_stopped() {
            let began = Instant::now();
            let Err(error) = self.follow() else { continue };
            if self.is_stopped() {
                break;
            }
            let words = error_chain(&error);
            if failures.note(began.elapsed()) {
                tracing::warn!(error = words, "live push waits for the log");
            }
            self.hub.set_feed_state(FeedState::Trouble(words));
            self.pause();
        }
        self.hub.set_feed_state(FeedState::Stopped);
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a log that is away announces nothing that could be awaited"
    )]
    fn pause(&self) {
        std::thread::sleep(TRY_AGAIN);
    }

    fn look(&self) -> Result<Topic, LogError> {
        self.runtime.block_on(async {
            let id = self.log.topic_id(&self.topic).await?.map_or(NO_ID, |id| id.0);
            let ends = self.log.ends(&self.topic).await?;
            Ok(Topic { epoch: format!("{:016x}", id ^ self.config.under), ends })
        })
    }

    /// Reads until it is stopped, the log fails, or the topic is another one.
    fn follow(&mut self) -> Result<(), LogError> {
        let topic = self.look()?;
        let offsets = self.begin(&topic);
        let mut reader = self.log.reader(ReaderSpec { topic: self.topic.clone(), offsets })?;
        if let Some(begun) = self.begun.take() {
            // Nobody waits any more where the start was given up.
            let _ = begun.send(());
        }
        let mut is_news = self.hub.feed_state() != FeedState::Following;
        let mut check_at = Instant::now() + CHECK_TOPIC;
        while !self.is_stopped() {
            self.poll(&mut *reader)?;
            if std::mem::take(&mut is_news) {
                self.hub.set_feed_state(FeedState::Following);
                tracing::debug!(topic = &*self.topic, "live push follows the log");
            }
            if Instant::now() >= check_at {
                let now = self.look()?;
                if now.epoch != topic.epoch || now.ends.len() != topic.ends.len() {
                    return Ok(());
                }
                check_at = Instant::now() + CHECK_TOPIC;
            }
        }
        Ok(())
    }

    /// Where to read from: where reading stopped, if that is still there; else some records before the end, under a new
    /// life of the hub.
    fn begin(&self, topic: &Topic) -> Vec<u64> {
        let (epoch, position) = {
            let ring = self.hub.ring(Feeding::Activity);
            (ring.epoch().clone(), ring.position().to_vec())
        };
        let is_there = position
            .iter()
            .zip(&topic.ends)
            .all(|(place, ends)| (ends.low..=ends.high).contains(&place.offset));
        if *epoch == *topic.epoch && position.len() <= topic.ends.len() && is_there {
            let added: Vec<u64> = topic.ends.iter().skip(position.len()).map(|ends| ends.low).collect();
            self.hub.add_partitions(&added);
            return position.iter().map(|place| place.offset).chain(added).collect();
        }
        let why = if *epoch == *topic.epoch { ResetReason::Lost } else { ResetReason::OtherEpoch };
        let backlog = self.config.backlog;
        let beginning = |ends: &Watermarks| Beginning {
            read_from: ends.high.saturating_sub(backlog).max(ends.low),
            live_from: ends.high,
        };
        let beginnings: Vec<Beginning> = topic.ends.iter().map(beginning).collect();
        self.hub.begin_with_backlog(&topic.epoch, &beginnings, why);
        beginnings.into_iter().map(|beginning| beginning.read_from).collect()
    }

    fn poll(&self, reader: &mut dyn Reader) -> Result<(), LogError> {
        let mut sink =
            Events { limits: &self.config.limits, records: Vec::new(), events: 0, bytes: 0, gap: None };
        let outcome = reader.poll(POLL_WAIT, RECORDS_A_POLL, &mut sink);
        if let Some((partition, expected, found)) = sink.gap {
            tracing::warn!(
                partition = partition.partition,
                expected,
                found,
                "the log's retention removed events before live push read them"
            );
            // Nobody can be given what is not there: all begin anew behind it, and so does reading.
            let (epoch, mut beginnings) = {
                let ring = self.hub.ring(Feeding::Activity);
                (ring.epoch().clone(), ring.beginnings())
            };
            if let Some(beginning) = beginnings.get_mut(partition.partition as usize) {
                beginning.read_from = found;
                beginning.live_from = beginning.live_from.max(found);
            }
            self.hub.begin_with_backlog(&epoch, &beginnings, ResetReason::Lost);
            return outcome.and(Err(LogError::Corrupt {
                what: format!("records {expected} to {found} were removed before they were read"),
                fix: "give the topic more room".into(),
            }));
        }
        if !sink.records.is_empty() {
            self.hub.publish(sink.records);
        }
        outcome.map(drop)
    }
}

/// The events of a poll.
struct Events<'a> {
    limits: &'a Limits,
    records: Vec<RecordEvents>,
    events: usize,
    bytes: usize,
    gap: Option<(TopicPartition, u64, u64)>,
}

impl RecordSink for Events<'_> {
    fn gap(&mut self, partition: &TopicPartition, expected: u64, found: u64) {
        self.gap.get_or_insert_with(|| (partition.clone(), expected, found));
    }

    fn record(&mut self, record: Record<'_>) {
        let place = (record.partition, record.offset);
        let events = events_of(record.payload, place, record.timestamp_ms, self.limits);
        self.events += events.events.len();
        self.bytes += record.payload.len();
        self.records.push(events);
    }

    fn passed(&mut self, partition: &TopicPartition, next: u64) {
        // As a record without events, so that positions go behind it.
        let Some(offset) = next.checked_sub(1) else { return };
        self.records.push(RecordEvents { partition: partition.partition, offset, events: Vec::new() });
    }

    fn has_room(&self) -> bool {
        self.gap.is_none() && self.events < EVENTS_AT_ONCE && self.bytes < BYTES_AT_ONCE
    }
}

#[cfg(test)]
mod tests;
