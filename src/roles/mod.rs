//! What one process does: everything (`up`), or one role of several (`ingest`, `serve`, `evaluate`, `migrate`).
//! A role is a list of parts (`parts`), started in order and stopped in the reverse order; what a part is made
//! of stands in the file of its name.

mod apart;
mod control;
mod directory;
mod door;
mod evaluate;
mod health;
mod http;
mod ingest;
mod ingest_rates;
mod live;
mod looks;
mod monitor;
mod notify;
mod open;
mod own_metrics;
mod parts;
mod progress;
mod record;
mod retention;
mod rules;
mod shutdown;
mod since;
mod status;
mod traces;
mod up;

use std::sync::Arc;

use indicatif::MultiProgress;
use tokio_util::sync::CancellationToken;

pub use apart::{evaluate, ingest, migrate, serve};
pub use directory::{noted_address, owner};
pub use door::{on_this_machine, remarks};
pub use open::{check_thresholds, kafka_config, limits, store_config};
pub use parts::Part;
pub use shutdown::listen;
pub use up::up;

use crate::config::{Config, Loaded};
use crate::telemetry::Levels;

/// What a process is given before it takes a role.
pub struct Process {
    /// The configuration.
    pub loaded: Loaded,
    /// Where bars and the status line are drawn.
    pub bars: MultiProgress,
    /// Cancelled when the process is to stop.
    pub stop: CancellationToken,
    /// How much is logged.
    pub log_levels: Arc<Levels>,
}

/// Refuses a role that runs apart over a log or store that belongs to one process.
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

/// Refuses a role that runs apart over a log that belongs to one process.
fn needs_shared_log(role: &str, config: &Config) -> anyhow::Result<()> {
    use crate::config::LogTarget;
    match &config.log {
        LogTarget::Kafka(_) => Ok(()),
        LogTarget::Embedded(_) => Err(kelly_cli::Usage(format!(
            "`kelly {role}` runs apart from the other roles, and the embedded log belongs to one process: name a shared one \
             with KELLY_LOG=kafka://host:port (or --log), or run everything with `kelly up`"
        ))
        .into()),
    }
}
