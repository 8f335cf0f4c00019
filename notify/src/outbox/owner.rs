//! The thread that is a member of the group: who has the partition, sends.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kelly_schemas::error_chain;
use kelly_stream::{
    Assignment, ConsumerSpec, Log, LogError, Record, RecordSink, Sink, Start, TopicPartition,
};
use tokio::sync::watch;

use super::{Shared, TRY_AGAIN};

/// How long one poll waits; so long a stop may take, and the news that another instance sends.
const POLL_WAIT: Duration = Duration::from_millis(200);

pub(super) struct Member {
    pub(super) log: Arc<dyn Log>,
    pub(super) topic: Arc<str>,
    pub(super) group: String,
    pub(super) shared: Arc<Shared>,
    /// Not 0 while the partition is here; another number each time it comes.
    pub(super) turn: watch::Sender<u64>,
}

/// What a poll said about the partition.
#[derive(Default)]
struct Said {
    assigned: Vec<TopicPartition>,
    is_here: Option<bool>,
}

impl RecordSink for Said {
    fn gap(&mut self, _: &TopicPartition, _: u64, _: u64) {}

    // The other thread reads them.
    fn record(&mut self, _: Record<'_>) {}
}

impl Sink for Said {
    fn assigned(&mut self, assignments: Vec<Assignment>) {
        self.assigned.extend(assignments.into_iter().map(|assignment| assignment.partition));
        self.is_here = Some(true);
    }

    fn revoked(&mut self, _: &[TopicPartition]) {
        self.assigned.clear();
        self.is_here = Some(false);
    }
}

impl Member {
    pub(super) fn run(self) {
        let mut turns = 0;
        let mut is_told = false;
        while !self.shared.stop.load(Ordering::Acquire) {
            let ended = self.be_member(&mut turns);
            self.turn.send_replace(0);
            let Err(error) = ended else { return };
            if !std::mem::replace(&mut is_told, true) {
                tracing::warn!(
                    error = error_chain(&error),
                    "it cannot be learned which instance sends notifications; tried again"
                );
            }
            self.pause();
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a log that is away announces nothing that could be awaited"
    )]
    fn pause(&self) {
        std::thread::sleep(TRY_AGAIN);
    }

    fn be_member(&self, turns: &mut u64) -> Result<(), LogError> {
        let spec = ConsumerSpec {
            group: self.group.clone(),
            topics: vec![self.topic.clone()],
            start: Start::Latest,
        };
        let mut consumer = self.log.consumer(spec)?;
        while !self.shared.stop.load(Ordering::Acquire) {
            let mut said = Said::default();
            consumer.poll(POLL_WAIT, 100, &mut said)?;
            match said.is_here {
                Some(true) => {
                    // Its records come another way.
                    consumer.pause(&said.assigned)?;
                    *turns += 1;
                    self.turn.send_replace(*turns);
                }
                Some(false) => {
                    self.turn.send_replace(0);
                }
                None => {}
            }
        }
        consumer.close()
    }
}
