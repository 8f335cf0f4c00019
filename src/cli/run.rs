//! Commands that run Kelly or prepare it: `up`, `ingest`, `serve`, `evaluate`, `migrate`, `config`.

#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "the doc comments here are the help texts, brackets and all"
)]

use clap::{Args, Subcommand};

/// Example of `kelly ingest`.
pub(super) const INGEST_EXAMPLES: &str = "\
Example:
  KELLY_LOG=kafka://broker:9092 KELLY_STORE=http://kelly@clickhouse:8123/kelly \\
    KELLY_STORE_PASSWORD_FILE=/run/secrets/store kelly ingest

Any number of instances share the partitions. The embedded log and store belong to one process:
with those, use `kelly up`.";

/// Example of `kelly serve`.
pub(super) const SERVE_EXAMPLES: &str = "\
Example:
  kelly serve --log kafka://broker:9092 --store http://kelly@clickhouse:8123/kelly

The embedded log and store belong to one process: with those, use `kelly up`.";

/// Example of `kelly evaluate`.
pub(super) const EVALUATE_EXAMPLES: &str = "\
Example:
  KELLY_ALERT_RULES=/etc/kelly/rules.toml kelly evaluate --log kafka://broker:9092

Any number of instances share the partitions, and take over from each other. It needs the log and no
store. The embedded log belongs to one process: with it, use `kelly up`.";

/// `kelly up`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kelly up
  kelly up --data /var/lib/kelly --listen 127.0.0.1:9000
  kelly up --demo
  kelly up --log kafka://localhost:9092

Ctrl-C drains: no more is accepted, what was accepted reaches the store, then everything ends.
A second Ctrl-C ends at once; nothing that was acknowledged is lost by it.")]
pub struct Up {
    /// Address of the HTTP interface [default: 127.0.0.1:8000]
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    #[command(flatten)]
    pub targets: Apart,
    /// Add believable traffic: thirty days at once, then live
    #[arg(long)]
    pub demo: bool,
    /// Which demo world; the same number gives the same traffic
    #[arg(long, value_name = "NUMBER", default_value_t = 1, requires = "demo")]
    pub demo_seed: u64,
}

/// Log and store of roles that run apart.
#[derive(Debug, Args)]
pub struct Apart {
    /// The log: embedded:DIR or kafka://host:port[,host:port]
    #[arg(long, value_name = "URL")]
    pub log: Option<String>,
    /// The store: embedded:DIR or http://user@host:port/database
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
}

/// `kelly serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// Address of the HTTP interface [default: 127.0.0.1:8000]
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    #[command(flatten)]
    pub targets: Apart,
}

/// `kelly evaluate`.
#[derive(Debug, Args)]
pub struct Evaluate {
    /// The log: kafka://host:port[,host:port]
    #[arg(long, value_name = "URL")]
    pub log: Option<String>,
}

/// `kelly migrate`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kelly migrate                                     the embedded store in ./kelly-data
  kelly migrate --store http://kelly@clickhouse:8123/kelly
  KELLY_STORE_CLUSTER=main kelly migrate --store …  every node of a cluster

It can be run again at any time: steps that are done are not done twice. Retention follows
MONITORING_DB_RETENTION_DAYS and MONITORING_METRICS_RETENTION_HOURS.")]
pub struct Migrate {
    /// The store: embedded:DIR or http://user@host:port/database
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
}

/// `kelly config`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kelly config                      every setting, what is in force, and where it came from
  kelly config permissions          which role may do what, and what each route needs")]
pub struct ShowConfig {
    /// Print one JSON object instead of a table
    #[arg(long, global = true)]
    pub json: bool,
    /// What to print instead of the settings
    #[command(subcommand)]
    pub what: Option<ConfigWhat>,
}

/// What `kelly config` prints besides the settings.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum ConfigWhat {
    /// Which role may do what, and what each route of the HTTP interface needs
    Permissions,
}
