//! Asks the store where to go on in a partition of which the group has no position. Between polls: the store may take
//! any time to answer, and reading the others, a stop and a rebalance must not wait for it.

use std::sync::Arc;

use kelly_schemas::{Stream, error_chain};
use kelly_stream::{Committed, Log, SetTo, TopicPartition, Unpositioned};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::backoff::Backoff;
use crate::journal::Horizon;
use crate::resume::{self, ResumeError};
use crate::stats::{Half, IngestStats};
use crate::tables::{Tables, Unanswered};

/// What it takes to find a position.
pub(crate) struct Search {
    pub tables: Arc<dyn Tables>,
    pub stats: Arc<IngestStats>,
    pub stream: Stream,
    pub at: Unpositioned,
    pub horizon: Horizon,
    /// The log, for what is said to people.
    pub log: Arc<dyn Log>,
    /// The consumer group, likewise.
    pub group: String,
}

type Outcome = Result<Option<Committed>, ResumeError>;

enum Failure {
    /// The store did not answer: it is asked again.
    Store(Unanswered),
    /// Its answer does not say where to go on.
    Answer(ResumeError),
}

impl Search {
    /// Asks until there is an answer.
    async fn run(self) -> Outcome {
        let mut backoff = Backoff::default();
        loop {
            let reason = match self.ask().await {
                Ok(position) => {
                    self.stats.recovered(Half::Reading);
                    return Ok(position);
                }
                Err(Failure::Answer(fault)) => return Err(fault),
                Err(Failure::Store(fault)) => error_chain(&*fault),
            };
            let TopicPartition { topic, partition } = &self.at.partition;
            tracing::warn!(
                topic = &**topic,
                partition,
                reason,
                "the store does not say where to go on, asking again"
            );
            self.stats.failed(Half::Reading, &reason);
            backoff.wait().await;
        }
    }

    async fn ask(&self) -> Result<Option<Committed>, Failure> {
        let Self { tables, stream, at, horizon, log, group, .. } = self;
        let how_to_set = |to: SetTo| log.how_to_set_position(group, &at.partition, to);
        let partition = at.partition.partition;
        let generations = tables.marked_generations(*stream, partition).await.map_err(Failure::Store)?;
        let newest = resume::newest_range(&generations, at, &how_to_set).map_err(Failure::Answer)?;
        let rows_end = match resume::unmarked_from(newest.as_ref(), &generations, at) {
            Some(from) => tables.rows_end(*stream, partition, from).await.map_err(Failure::Store)?,
            None => 0,
        };
        let position = resume::position(newest, rows_end, at, *horizon);
        if let Some(position) = &position {
            tracing::warn!(
                topic = &*at.partition.topic,
                partition,
                offset = position.offset,
                journal = position.metadata,
                low = at.ends.low,
                "the group has no position: going on by what the store has"
            );
        }
        Ok(position)
    }
}

/// The searches under way. One that is dropped ends.
#[derive(Default)]
pub(crate) struct Searches(Vec<(TopicPartition, JoinHandle<Outcome>)>);

impl Searches {
    /// Begins one, in place of one for the same partition.
    pub(crate) fn begin(&mut self, search: Search, runtime: &Handle) {
        let partition = search.at.partition.clone();
        self.end(&partition);
        self.0.push((partition, runtime.spawn(search.run())));
    }

    /// Ends the one for a partition: it was taken away.
    pub(crate) fn end(&mut self, partition: &TopicPartition) {
        self.0.retain(|(searched, task)| {
            let goes_on = searched != partition;
            if !goes_on {
                task.abort();
            }
            goes_on
        });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that have ended, with what they found.
    pub(crate) fn ended(&mut self, runtime: &Handle) -> Vec<(TopicPartition, Outcome)> {
        let ended = self.0.extract_if(.., |(_, task)| task.is_finished());
        let found = ended.filter_map(|(partition, task)| match runtime.block_on(task) {
            Ok(outcome) => Some((partition, outcome)),
            Err(fault) => match fault.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is ending, and this thread is about to.
                Err(_) => None,
            },
        });
        found.collect()
    }
}

impl Drop for Searches {
    fn drop(&mut self) {
        for (_, task) in &self.0 {
            task.abort();
        }
    }
}
