//! Commands that send rows: `record` and `replay`.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};

use super::Server;
use super::parse::{finite, metric_name, name_and_value, positive};

/// `kelly record`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kelly record metric response_time 145.2 --account acme --conversation conv456
  kelly record event user_interaction \"User started conversation\" --severity low
  kelly record event escalation \"Asked for a person\" --category vip --meta queue=gold
  some-program | kelly record stdin           one JSON object a line, metrics or events
  kelly record file day.arrow                 as `kelly replay` does, as it is and at once

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
    /// Files: Arrow streams, NDJSON, JSON or CSV
    File(RecordFile),
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
    #[arg(value_parser = metric_name(), hide_possible_values = true)]
    pub name: String,
    /// Value, a finite number
    #[arg(allow_negative_numbers = true, value_parser = finite)]
    pub value: f64,
    /// Kept with the row. How a metric is added up is the catalogue's to say, by its name; a name
    /// that is not in it is averaged as a gauge, whatever stands here
    #[arg(long = "type", value_name = "TYPE", value_parser = ["gauge", "counter"])]
    pub metric_type: Option<String>,
    /// What it is about.
    #[command(flatten)]
    pub about: About,
    /// Which Kelly.
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
    /// What it is about.
    #[command(flatten)]
    pub about: About,
    /// Which Kelly.
    #[command(flatten)]
    pub server: Server,
}

/// `kelly record stdin`.
#[derive(Debug, Args)]
pub struct RecordStdin {
    /// Which Kelly.
    #[command(flatten)]
    pub server: Server,
}

/// `kelly record file`.
#[derive(Debug, Args)]
pub struct RecordFile {
    /// Arrow streams (.arrow), NDJSON, JSON or CSV files, as for `kelly replay`
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Which Kelly.
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
  kelly replay day.arrow                                 an Arrow stream of metrics

What a file is, its name says. .csv begins with a header; value is needed, timestamp, metric_name,
metric_type, account_id, conversation_id, user_id and metadata (a JSON object) may stand beside it,
and other columns go to the metadata under their names. .ndjson, .jsonl and .txt have a metric or
an event a line, .json has one object, an array of them, or one after the other. Timestamps without
a zone are UTC. Bad lines are left out and the first ten of each kind told with their numbers; the
exit code is then 3.

.arrow and .arrows are Arrow IPC streams of metrics, a column each (docs/arrow.md). Such a file is sent
as it is and checked before: one bad row refuses all of it, before anything of any file is sent; the exit
code is then 1.")]
pub struct Replay {
    /// CSV (timestamp,value), NDJSON, JSON or Arrow files; `-` is NDJSON from standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Metric name of rows that name none; the file's name without its ending when left out
    #[arg(long, value_name = "NAME", value_parser = metric_name(), hide_possible_values = true)]
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
    /// Which Kelly.
    #[command(flatten)]
    pub server: Server,
}
