//! Decisions as a part of a role: what follows the control log, and what writes it into the store.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use kelly_control::{
    FileSnapshots, Projector, ProjectorConfig, Replica, ReplicaConfig, ReplicaError, Snapshots, TOPIC,
};
use kelly_schemas::error_chain;
use kelly_sql::Store;
use kelly_stream::{Log, LogError};

use super::parts::Part;
use crate::config::{Config, LogTarget};

/// Pause before brokers that do not answer are asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// The directory of snapshots.
const SNAPSHOTS: &str = "decisions";

/// Follows the control log; everything that was decided before is known once this returns. Its stop takes a snapshot.
pub async fn start(config: &Config, log: &Arc<dyn Log>) -> anyhow::Result<(Arc<Replica>, Part)> {
    let snapshots = snapshots(config);
    let replica = patiently(config, async || {
        let config = ReplicaConfig::new(snapshots.clone());
        Ok(Replica::start(log.clone(), config).await?)
    });
    let replica = Box::pin(replica).await.context("following the control log")?;
    let stopped = replica.clone();
    let part = Part::new("decisions", "a snapshot of what was decided", move || async move {
        stopped.stop().await;
        Ok(())
    });
    Ok((replica, part))
}

/// Writes down in the store what is decided. Its stop writes what has been read.
pub async fn keep(config: &Config, log: &Arc<dyn Log>, store: &Store) -> anyhow::Result<((), Part)> {
    patiently(config, async || log.ensure_kept_topic(TOPIC).await.map_err(NotStarted::Log))
        .await
        .context("preparing the control log")?;
    let projector = Projector::start(ProjectorConfig {
        log: log.clone(),
        topic: TOPIC.into(),
        snapshots: snapshots(config),
        store: store.clone(),
    })
    .context("starting to write decisions into the store")?;
    let part = Part::new("decisions in the store", "the store to take what was read", move || async move {
        let stopping = tokio::task::spawn_blocking(move || projector.stop());
        stopping.await.context("writing decisions into the store ended with a defect")
    });
    Ok(((), part))
}

/// Those of the embedded log are beside its records: who deletes the log to begin with an empty one deletes both. Those of Apache
/// Kafka are in the data directory.
fn snapshots(config: &Config) -> Arc<dyn Snapshots> {
    let directory = match &config.log {
        LogTarget::Embedded(directory) => directory,
        LogTarget::Kafka(_) => {
            let data = &config.general.data;
            if let Err(error) = std::fs::create_dir_all(data) {
                tracing::warn!(%error, directory = %data.display(), "no snapshot of what is decided can be kept there");
            }
            data
        }
    };
    Arc::new(FileSnapshots::new(directory.join(SNAPSHOTS)))
}

/// Why something that needs the log did not start.
#[derive(Debug, thiserror::Error)]
enum NotStarted {
    #[error(transparent)]
    Log(LogError),
    #[error(transparent)]
    Other(ReplicaError),
}

impl From<ReplicaError> for NotStarted {
    fn from(error: ReplicaError) -> Self {
        match error {
            ReplicaError::Log(error) => Self::Log(error),
            other => Self::Other(other),
        }
    }
}

/// Does it, and waits for brokers that do not answer; that is logged once. The embedded log is there or it is not.
async fn patiently<T>(
    config: &Config,
    start: impl AsyncFn() -> Result<T, NotStarted>,
) -> Result<T, NotStarted> {
    let mut is_logged = false;
    loop {
        match start().await {
            Err(NotStarted::Log(error))
                if error.is_retryable() && matches!(config.log, LogTarget::Kafka(_)) =>
            {
                if !std::mem::replace(&mut is_logged, true) {
                    let error = error_chain(&error);
                    tracing::warn!(log = %config.log, error, "waiting for the control log; Ctrl-C stops");
                }
                tokio::time::sleep(ASK_AGAIN).await;
            }
            outcome => return outcome,
        }
    }
}
