//! The command line: what can be typed, and the help that says so.

#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "the doc comments here are the help texts, brackets and all"
)]

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Parser, Subcommand};

use crate::config::{FromFlags, Key};

const EXAMPLES: &str = "\
Examples:
  kelly up                          everything on this machine, data in ./kelly-data
  kelly up --demo                   the same with thirty days of believable traffic
  kelly record metric ai_confidence 0.85 --account acme
  kelly replay series.csv --metric response_time --shift-to-now
  kelly config                      what is in force, and where each value came from

Settings come from a TOML file (--config, KELLY_CONFIG or ./kelly.toml), environment variables
over it, and flags over both. RUST_LOG says how much is logged, e.g. RUST_LOG=kelly=debug.

Exit codes:
  0  done
  1  failed while running, or the one row of `kelly record` was refused
  2  wrong usage or wrong configuration; nothing was started
  3  some lines of `kelly replay` or `kelly record stdin` were refused, the rest was recorded
  130  interrupted before the work was done";

/// Real-time monitoring, alerting and human intervention for AI conversations.
#[derive(Debug, Parser)]
#[command(name = "kelly", version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    /// Configuration file
    #[arg(long, global = true, value_name = "FILE", help_heading = "Configuration")]
    pub config: Option<PathBuf>,
    /// How diagnostics are written to stderr: text or json
    #[arg(long, global = true, value_name = "FORM", help_heading = "Configuration")]
    pub logging: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything in one process: log, store, ingest and the HTTP interface
    Up(Up),
    /// Move records from the log to the store, exactly once
    #[command(after_help = INGEST_EXAMPLES)]
    Ingest(Apart),
    /// Answer questions over HTTP and accept metrics and events
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(Serve),
    /// Bring the store's tables to what this version needs
    Migrate(Migrate),
    /// Print what is in force and where each value came from, secrets hidden
    Config(ShowConfig),
    /// Send a metric or an event to a running Kelly
    Record(Record),
    /// Send a file of metrics or events, at its own pace or as fast as possible
    Replay(Replay),
    /// The embedded store's own process; started by `kelly up`
    #[command(hide = true, disable_help_flag = true)]
    Engine {
        /// Handed to the engine as they are.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

const INGEST_EXAMPLES: &str = "\
Example:
  KELLY_LOG=kafka://broker:9092 KELLY_STORE=http://kelly@clickhouse:8123/kelly \\
    KELLY_STORE_PASSWORD_FILE=/run/secrets/store kelly ingest

Any number of instances share the partitions. The embedded log and store belong to one process:
with those, use `kelly up`.";

const SERVE_EXAMPLES: &str = "\
Example:
  kelly serve --log kafka://broker:9092 --store http://kelly@clickhouse:8123/kelly

The embedded log and store belong to one process: with those, use `kelly up`.";

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
    /// Directory of everything Kelly keeps [default: ./kelly-data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<String>,
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
    /// Directory of the embedded store [default: ./kelly-data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<String>,
    /// The store: embedded:DIR or http://user@host:port/database
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
}

/// `kelly config`.
#[derive(Debug, Args)]
pub struct ShowConfig {
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Where a running Kelly is.
#[derive(Debug, Args)]
pub struct Server {
    /// A running Kelly [default: http:// and the configured listen address]
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
}

impl Server {
    /// Where it is: what was typed, else where the configuration has a Kelly listen.
    pub fn url(&self, listen: SocketAddr) -> String {
        self.server.clone().unwrap_or_else(|| format!("http://{listen}"))
    }
}

/// `kelly record`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kelly record metric response_time 145.2 --account acme --conversation conv456
  kelly record event user_interaction \"User started conversation\" --severity low
  kelly record event escalation \"Asked for a person\" --category vip --meta queue=gold
  some-program | kelly record stdin           one JSON object a line, metrics or events

It answers when the log has the row durably. Conversation text does not belong in Kelly: rows
with fields such as text, body or content are refused.")]
pub struct Record {
    /// What to record.
    #[command(subcommand)]
    pub what: RecordWhat,
}

/// What to record.
#[derive(Debug, Subcommand)]
pub enum RecordWhat {
    /// One metric
    Metric(RecordMetric),
    /// One activity event
    Event(RecordEvent),
    /// One JSON object a line from standard input
    Stdin(RecordStdin),
}

/// Fields that metrics and events share.
#[derive(Debug, Args)]
pub struct About {
    /// Account it belongs to
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub account: Option<String>,
    /// Conversation it belongs to
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub conversation: Option<String>,
    /// User it belongs to
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub user: Option<String>,
    /// When it happened, RFC 3339 or epoch milliseconds; now when left out
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// Metadata; may be given several times, each name once
    #[arg(long = "meta", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub metadata: Vec<(String, String)>,
}

/// `kelly record metric`.
#[derive(Debug, Args)]
pub struct RecordMetric {
    /// Name, e.g. ai_confidence
    pub name: String,
    /// Value, a finite number
    #[arg(allow_negative_numbers = true, value_parser = finite)]
    pub value: f64,
    /// Kept with the row. How a metric is added up is the catalogue's to say, by its name; a name
    /// that is not in it is averaged as a gauge, whatever stands here
    #[arg(long = "type", value_name = "TYPE", value_parser = ["gauge", "counter"])]
    pub metric_type: Option<String>,
    #[command(flatten)]
    pub about: About,
    #[command(flatten)]
    pub server: Server,
}

/// `kelly record event`.
#[derive(Debug, Args)]
pub struct RecordEvent {
    /// Kind, e.g. user_interaction
    pub event_type: String,
    /// One line for people
    pub title: String,
    /// More for people
    #[arg(long, value_name = "WORDS")]
    pub description: Option<String>,
    /// low, medium, high or critical
    #[arg(long, value_name = "LEVEL")]
    pub severity: Option<String>,
    /// Category [default: general]
    #[arg(long, value_name = "NAME")]
    pub category: Option<String>,
    #[command(flatten)]
    pub about: About,
    #[command(flatten)]
    pub server: Server,
}

/// `kelly record stdin`.
#[derive(Debug, Args)]
pub struct RecordStdin {
    #[command(flatten)]
    pub server: Server,
}

/// `kelly replay`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kelly replay nyc_taxi.csv --metric taxi_rides --shift-to-now
  kelly replay a.csv b.csv --metric response_time --account acme --rate 5000
  kelly replay day.ndjson --shift-to-now --speed 60      an hour in a minute
  kelly replay day.ndjson --check                        say what is wrong, change nothing
  kelly replay day.ndjson --log kafka://localhost:9092   to the log itself, not over HTTP

What a file is, its name says. .csv begins with a header; value is needed, timestamp, metric_name,
metric_type, account_id, conversation_id, user_id and metadata (a JSON object) may stand beside it,
and other columns go to the metadata under their names. .ndjson, .jsonl and .txt have a metric or
an event a line, .json has one object, an array of them, or one after the other. Timestamps without
a zone are UTC. Bad lines are left out and the first ten of each kind told with their numbers; the
exit code is then 3.")]
pub struct Replay {
    /// CSV (timestamp,value), NDJSON or JSON files; `-` is NDJSON from standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Metric name of rows that name none; the file's name without its ending when left out
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub metric: Option<String>,
    /// Account of rows that name none
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub account: Option<String>,
    /// Rows a second; as fast as possible when left out
    #[arg(long, value_name = "ROWS", conflicts_with = "speed", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
    /// The rows' own pace, this many times as fast
    #[arg(long, value_name = "FACTOR", value_parser = positive)]
    pub speed: Option<f64>,
    /// Move all timestamps so that the last is now; with --speed, a row happens when it is sent
    #[arg(long)]
    pub shift_to_now: bool,
    /// Read and check everything, send nothing
    #[arg(long)]
    pub check: bool,
    /// Send to this log instead of a running Kelly: kafka://host:port[,host:port]
    #[arg(long, value_name = "URL", conflicts_with = "server")]
    pub log: Option<String>,
    #[command(flatten)]
    pub server: Server,
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

fn finite(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        Ok(_) => Err("not a finite number; record nothing for a value that is not known".to_owned()),
        Err(_) => Err("not a number".to_owned()),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("must be a number above zero".to_owned()),
    }
}

impl Cli {
    /// What the flags say about the configuration.
    pub fn settings(&self) -> FromFlags {
        let mut values = Vec::new();
        let mut add = |key: Key, flag: &'static str, value: &Option<String>| {
            if let Some(value) = value {
                values.push((key, flag, value.clone()));
            }
        };
        add(Key::Logging, "--logging", &self.logging);
        match &self.command {
            Command::Up(up) => {
                add(Key::Data, "--data", &up.data);
                add(Key::Listen, "--listen", &up.listen);
                add(Key::Log, "--log", &up.targets.log);
                add(Key::Store, "--store", &up.targets.store);
            }
            Command::Ingest(apart) => {
                add(Key::Log, "--log", &apart.log);
                add(Key::Store, "--store", &apart.store);
            }
            Command::Serve(serve) => {
                add(Key::Listen, "--listen", &serve.listen);
                add(Key::Log, "--log", &serve.targets.log);
                add(Key::Store, "--store", &serve.targets.store);
            }
            Command::Migrate(migrate) => {
                add(Key::Data, "--data", &migrate.data);
                add(Key::Store, "--store", &migrate.store);
            }
            Command::Replay(replay) => add(Key::Log, "--log", &replay.log),
            Command::Config(_) | Command::Record(_) | Command::Engine { .. } => {}
        }
        FromFlags { file: self.config.clone(), values }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_become_settings() {
        let cli = Cli::parse_from(["kelly", "up", "--data", "/d", "--log", "kafka://a:1"]);
        let settings = cli.settings();
        let found: Vec<(&str, &str)> =
            settings.values.iter().map(|(_, flag, value)| (*flag, value.as_str())).collect();
        assert_eq!(found, [("--data", "/d"), ("--log", "kafka://a:1")]);
    }

    #[test]
    fn the_server_is_where_kelly_is_configured_to_listen() {
        let listen = SocketAddr::from(([127, 0, 0, 1], 9_000));
        assert_eq!(Server { server: None }.url(listen), "http://127.0.0.1:9000");
        assert_eq!(Server { server: Some("http://k/x".into()) }.url(listen), "http://k/x");
    }

    #[test]
    fn the_engine_gets_its_arguments_untouched() {
        let cli = Cli::parse_from(["kelly", "engine", "--path", "x", "--help"]);
        let Command::Engine { arguments } = cli.command else { panic!("another command") };
        assert_eq!(arguments, ["--path", "x", "--help"]);
    }

    #[test]
    fn wrong_usage_is_refused() {
        for wrong in [
            &["kelly", "replay"][..],
            &["kelly", "replay", "f", "--rate", "0"],
            &["kelly", "replay", "f", "--rate", "5", "--speed", "2"],
            &["kelly", "replay", "f", "--speed", "0"],
            &["kelly", "record", "metric", "m", "much"],
            &["kelly", "record", "metric", "m", "1", "--meta", "x"],
            &["kelly", "record", "metric", "m", "inf"],
            &["kelly", "record", "metric", "m", "NaN"],
            &["kelly", "record", "metric", "m", "1", "--type", "histogram"],
            &["kelly", "record", "metric", "m", "1", "--account", ""],
            &["kelly", "replay", "f", "--account", ""],
            &["kelly", "up", "--demo-seed", "2"],
        ] {
            assert!(Cli::try_parse_from(wrong).is_err(), "{wrong:?}");
        }
        assert!(Cli::try_parse_from(["kelly", "record", "metric", "m", "-1.5"]).is_ok());
    }
}
