//! The evaluator's topics.

use kelly_schemas::Stream;
use kelly_stream::{Log, LogError, Retention, TopicSpec};

/// The consumer group of evaluators.
pub const GROUP: &str = "kelly-evaluator";

/// What engines remember, compacted.
pub const STATE_TOPIC: &str = "kelly.evaluator-state";

/// Rows for rules that count rows of several partitions together. Partition 0 has those that are counted all together, the others those
/// of an account, by its name.
pub const ROWS_TOPIC: &str = "kelly.evaluator-rows";

/// Partitions that the topic of rows has at least: one for everything, one for accounts.
const FEWEST_ROWS_PARTITIONS: u32 = 2;

/// Creates or verifies the evaluator's topics. `kelly.metrics` is there. `retention` is how long rows are kept for an evaluator that
/// is away.
pub async fn ensure_topics(log: &dyn Log, retention: Retention) -> Result<(), LogError> {
    let metrics = log.partitions(Stream::Metrics.topic()).await?;
    // One that is there stays as it is: its keys would come to lie elsewhere.
    let state = existing(log, STATE_TOPIC).await?.unwrap_or(metrics);
    log.ensure_compacted_topic(STATE_TOPIC, state).await?;
    let rows = existing(log, ROWS_TOPIC).await?.unwrap_or(metrics + 1).max(FEWEST_ROWS_PARTITIONS);
    let rows = TopicSpec { name: ROWS_TOPIC.to_owned(), partitions: rows, retention };
    log.ensure_topics(&[rows]).await
}

async fn existing(log: &dyn Log, topic: &str) -> Result<Option<u32>, LogError> {
    match log.partitions(topic).await {
        Ok(partitions) => Ok(Some(partitions)),
        Err(LogError::UnknownTopic { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
