//! What one process does: everything (`up`), or one role of several (`ingest`, `serve`, `migrate`).
//! A role opens what it stands on, runs until it is told to stop, and lets go in the reverse order.

mod apart;
mod directory;
mod http;
mod monitor;
mod open;
mod pace;
mod ports;
mod progress;
mod shutdown;
mod status;
mod up;

use std::sync::Arc;

use anyhow::Context;
use indicatif::MultiProgress;
use kelly_ingest::Pipeline;
use kelly_sql::Store;
use kelly_stream::Log;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use apart::{ingest, migrate, serve};
pub use directory::owner;
pub use monitor::room;
pub use open::{check_thresholds, kafka_config, limits, store_config};
pub use shutdown::listen;
pub use up::up;

use crate::config::{Config, Loaded};
use monitor::{Machine, Sources};
use progress::Progress;

/// What every role is given.
pub struct Base {
    /// The configuration.
    pub loaded: Loaded,
    /// Where bars and the status line are drawn.
    pub bars: MultiProgress,
    /// Told when to stop.
    pub stop: CancellationToken,
}

/// Ingest of this process, and the view on it.
struct Ingest {
    pipeline: Pipeline,
    progress: Arc<Progress>,
}

impl Ingest {
    fn start(config: &Config, log: &Arc<dyn Log>, store: &Store) -> anyhow::Result<Self> {
        let settings = open::ingest_config(config);
        let pipeline = Pipeline::start(log.clone(), Arc::new(store.clone()), settings.clone())
            .context("starting ingest")?;
        let progress = Arc::new(Progress::new(pipeline.stats(), log.clone(), &settings));
        Ok(Self { pipeline, progress })
    }

    /// Returns when it ended by itself; [`drain`](Self::drain) then says why.
    async fn ended(&self) {
        self.pipeline.ended().await;
        self.progress.note_end();
    }

    /// Writes what was read, commits, leaves the group.
    async fn drain(self) -> anyhow::Result<()> {
        let counts = self.pipeline.shutdown().await.context("ingest failed")?;
        tracing::info!(rows = counts.rows, batches = counts.batches, "ingest has drained");
        Ok(())
    }
}

/// Tasks beside the main parts: self-monitoring, the demo, the status line.
struct Beside {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Beside {
    fn new() -> Self {
        Self { tasks: TaskTracker::new(), stop: CancellationToken::new() }
    }

    fn monitor(&self, config: &Config, machine: Machine, sources: Sources) {
        if config.monitoring.enabled {
            let interval = config.monitoring.interval;
            self.tasks.spawn(monitor::run(sources, interval, machine, self.stop.clone()));
        }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Opens the log of a role that runs apart: the embedded one belongs to `kelly up`.
fn needs_shared(role: &str, config: &Config) -> anyhow::Result<()> {
    use crate::config::{LogTarget, StoreTarget};
    let missing = match (&config.log, &config.store) {
        (LogTarget::Embedded(_), _) => "KELLY_LOG=kafka://host:port (or --log)",
        (_, StoreTarget::Embedded(_)) => "KELLY_STORE=http://user@host:port/database (or --store)",
        _ => return Ok(()),
    };
    Err(kelly_cli::Usage(format!(
        "`kelly {role}` runs apart from the other roles, and the embedded log and store belong to one \
         process: name a shared one with {missing}, or run everything with `kelly up`"
    ))
    .into())
}
