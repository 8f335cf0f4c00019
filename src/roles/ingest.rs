//! Ingest as a part of a role.

use std::sync::Arc;

use anyhow::Context;
use kelly_ingest::{Pipeline, RawRetention};
use kelly_sql::Store;
use kelly_stream::Log;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::open;
use super::parts::Part;
use super::progress::Progress;
use crate::config::Config;

/// What others need of ingest that runs.
pub struct Started {
    /// How far it is.
    pub progress: Arc<Progress>,
    /// What it takes the store to keep of raw rows: [`super::retention::part`] follows the store.
    pub raw_retention: RawRetention,
}

/// Starts it. Its stop writes what was read, commits and leaves the group; where it ended by itself, that says why.
pub async fn start(config: &Config, log: &Arc<dyn Log>, store: &Store) -> anyhow::Result<(Started, Part)> {
    let stored = store.retentions().await.context("reading how long the store keeps rows")?;
    let settings = open::ingest_config(config, &stored);
    let pipeline =
        Pipeline::start(log.clone(), Arc::new(store.clone()), settings.clone()).context("starting ingest")?;
    let progress = Arc::new(Progress::new(pipeline.stats(), log.clone(), &settings));
    let (stop, (ended, has_ended)) = (CancellationToken::new(), oneshot::channel::<()>());
    let running = tokio::spawn({
        let (stop, progress) = (stop.clone(), progress.clone());
        async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = pipeline.ended() => {
                    progress.note_end();
                    // Nobody waits for it any more once the role stops.
                    let _ = ended.send(());
                    stop.cancelled().await;
                }
            }
            pipeline.shutdown().await
        }
    });
    let left = progress.clone();
    let part = Part::new(
        "ingest",
        "the store to take what was read; what it does not take within 30 s waits on the log",
        move || async move {
            stop.cancel();
            let counts = running.await.context("ingest ended with a defect")?.context("ingest failed")?;
            if let Ok(left @ 1..) = left.lag().await {
                tracing::warn!(
                    records = left,
                    "the store did not take everything; the rest waits on the log"
                );
            }
            tracing::info!(rows = counts.rows, batches = counts.batches, "ingest has drained");
            Ok(())
        },
    )
    .ends_when(async move { drop(has_ended.await) });
    Ok((Started { progress, raw_retention: settings.raw_retention }, part))
}
