//! The thread that reads the outbox's topic.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use kelly_schemas::error_chain;
use kelly_stream::{Log, LogError, ReaderSpec, Record, RecordSink, TopicPartition};

use super::record::Fold;
use super::{Shared, TRY_AGAIN};

/// How long one poll waits for a record; so long a stop may take.
const POLL_WAIT: Duration = Duration::from_millis(200);

/// Records of one poll.
const RECORDS_A_POLL: usize = 500;

pub(super) struct Following {
    pub(super) log: Arc<dyn Log>,
    pub(super) topic: Arc<str>,
    pub(super) shared: Arc<Shared>,
    pub(super) runtime: tokio::runtime::Handle,
}

#[derive(Default)]
struct Records(Vec<(u64, i64, Vec<u8>)>);

impl RecordSink for Records {
    // What retention removed lies before a checkpoint, or nobody wrote one for as long as records are kept.
    fn gap(&mut self, _: &TopicPartition, _: u64, _: u64) {}

    fn record(&mut self, record: Record<'_>) {
        self.0.push((record.offset, record.timestamp_ms, record.payload.to_vec()));
    }
}

impl Following {
    pub(super) fn run(self) {
        let mut is_told = false;
        while !self.is_stopped() {
            let Err(error) = self.follow() else { return };
            if !std::mem::replace(&mut is_told, true) {
                tracing::warn!(
                    error = error_chain(&error),
                    "the outbox of notifications cannot be read; tried again"
                );
            }
            self.pause();
        }
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

    fn follow(&self) -> Result<(), LogError> {
        let mut next = self.shared.read(|fold| fold.next);
        let partition = TopicPartition { topic: self.topic.clone(), partition: 0 };
        let ends = self.runtime.block_on(self.log.watermarks(&partition))?;
        if ends.high < next || ends.low > next {
            if ends.high < next {
                tracing::error!(
                    topic = &*self.topic,
                    "the outbox of notifications was made anew; it is read from its beginning"
                );
            }
            next = ends.low;
            *self.shared.fold.write().unwrap_or_else(PoisonError::into_inner) = Fold::begin_at(next);
        }
        let mut reader = self.log.reader(ReaderSpec { topic: self.topic.clone(), offsets: vec![next] })?;
        while !self.is_stopped() {
            let mut records = Records::default();
            reader.poll(POLL_WAIT, RECORDS_A_POLL, &mut records)?;
            if records.0.is_empty() {
                continue;
            }
            let next = {
                let mut fold = self.shared.fold.write().unwrap_or_else(PoisonError::into_inner);
                for (offset, log_time_ms, payload) in records.0 {
                    if let Err(error) = fold.apply(offset, log_time_ms, &payload) {
                        tracing::error!(offset, %error, "a record of the outbox of notifications is passed over");
                    }
                }
                fold.next
            };
            self.shared.progress.send_replace(next);
        }
        Ok(())
    }
}
