//! Takes up the states of a lane, and lets nobody before it write any more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kelly_alerts::StateKey;
use kelly_schemas::error_chain;
use kelly_stream::{Log, LogError, ReaderSpec, Record, RecordSink, TopicPartition};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::stats::EvaluatorStats;
use crate::stored::{Pen, Writer, key_of};

/// How long one poll waits, which is how soon a lane that is given up is noticed.
const POLL_WAIT: Duration = Duration::from_millis(200);

/// Records of one poll.
const RECORDS_A_POLL: usize = 1_000;

/// Reading that does not go on for so long begins anew.
const NO_PROGRESS: Duration = Duration::from_secs(60);

/// States of a lane as they are stored.
pub(crate) type States = Vec<(StateKey, Vec<u8>)>;

/// Everything that is stored of a lane; `None` when it was given up meanwhile. Tries until it succeeds.
pub(crate) async fn states(
    log: &Arc<dyn Log>,
    pen: &Pen,
    stats: &EvaluatorStats,
    given_up: &CancellationToken,
) -> Option<States> {
    let mut backoff = Backoff::default();
    loop {
        let error = match try_states(log, pen, given_up).await {
            Ok(states) => return states,
            Err(error) => error_chain(&error),
        };
        tracing::warn!(
            topic = &*pen.topic,
            partition = pen.partition,
            error,
            "alert states are not read yet"
        );
        stats.failed(&error);
        if !backoff.wait(given_up).await {
            return None;
        }
    }
}

async fn try_states(
    log: &Arc<dyn Log>,
    pen: &Pen,
    given_up: &CancellationToken,
) -> Result<Option<States>, LogError> {
    // First: what another one writes behind it does not count, here and at every later start.
    log.append(vec![pen.fence()]).await?;
    let ends = log.ends(&pen.topic).await?;
    let own = pen.partition as usize;
    // A reader reads the first partitions; the others are read from their ends, which is nothing.
    let offsets = ends.iter().take(own + 1).enumerate();
    let offsets = offsets.map(|(index, ends)| if index == own { ends.low } else { ends.high }).collect();
    let spec = ReaderSpec { topic: pen.topic.clone(), offsets };
    let (log, pen, given_up) = (log.clone(), pen.clone(), given_up.clone());
    let reading = tokio::task::spawn_blocking(move || read(&*log, spec, &pen, &given_up));
    reading.await.unwrap_or_else(|error| {
        Err(LogError::Unavailable {
            doing: "read alert states".into(),
            fix: "see the process's log".into(),
            source: Some(Box::new(error)),
        })
    })
}

fn read(
    log: &dyn Log,
    spec: ReaderSpec,
    pen: &Pen,
    given_up: &CancellationToken,
) -> Result<Option<States>, LogError> {
    let mut reader = log.reader(spec)?;
    let mut found = Found { pen, states: BTreeMap::new(), writer: None, is_at_fence: false };
    let mut progress = Instant::now();
    while !found.is_at_fence {
        if given_up.is_cancelled() {
            return Ok(None);
        }
        if reader.poll(POLL_WAIT, RECORDS_A_POLL, &mut found)? > 0 {
            progress = Instant::now();
        } else if progress.elapsed() > NO_PROGRESS {
            return Err(LogError::Unavailable {
                doing: format!("read alert states up to their end in {}", pen.topic),
                fix: "see whether the log answers; it is tried again".into(),
                source: None,
            });
        }
    }
    let readable = found.states.into_iter().filter_map(|(key, state)| match StateKey::from_bytes(&key) {
        Ok(key) => Some((key, state)),
        Err(fault) => {
            tracing::error!(%fault, topic = &*pen.topic, partition = pen.partition, "an alert state is skipped");
            None
        }
    });
    Ok(Some(readable.collect()))
}

/// What was read so far.
struct Found<'a> {
    pen: &'a Pen,
    states: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Whose records count; before the first fence everybody's.
    writer: Option<Writer>,
    is_at_fence: bool,
}

impl RecordSink for Found<'_> {
    fn gap(&mut self, _: &TopicPartition, _: u64, _: u64) {}

    fn record(&mut self, record: Record<'_>) {
        if record.partition != self.pen.partition || self.is_at_fence {
            return;
        }
        let Some(key) = record.key.and_then(|key| key_of(key, self.pen.place)) else { return };
        if key.is_empty() {
            self.is_at_fence = self.pen.writer.wrote(record.content_type);
            self.writer = Writer::of(record.content_type);
        } else if self.writer.as_ref().is_none_or(|writer| writer.wrote(record.content_type)) {
            match record.payload {
                [] => drop(self.states.remove(key)),
                state => drop(self.states.insert(key.to_vec(), state.to_vec())),
            }
        }
    }

    fn has_room(&self) -> bool {
        !self.is_at_fence
    }
}
