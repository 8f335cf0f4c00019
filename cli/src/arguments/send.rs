//! Commands that send rows: `record` and `replay`.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};

use super::parse::{delimiter, finite, metric_name, name_and_value, positive};
use crate::input::{ColumnNames, Decimal, Format, Options, TimeOptions, TimeUnit};

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
    /// Rows from standard input: one JSON object a line, unless --format says otherwise
    Stdin(RecordStdin),
    /// Files: CSV, NDJSON, JSON, Arrow or Parquet
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
}

/// `kelly record stdin`.
#[derive(Debug, Args)]
pub struct RecordStdin {
    /// How it is read.
    #[command(flatten)]
    pub reading: Reading,
}

/// `kelly record file`.
#[derive(Debug, Args)]
pub struct RecordFile {
    /// CSV, NDJSON, JSON, Arrow or Parquet files, as for `kelly replay`
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// How they are read.
    #[command(flatten)]
    pub reading: Reading,
}

/// How files are read.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Reading")]
pub struct Reading {
    /// Metric name of rows that name none; of tables the file's name without its ending when left out
    #[arg(long, value_name = "NAME", value_parser = metric_name(), hide_possible_values = true)]
    pub metric: Option<String>,
    /// Account of rows that name none
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub account: Option<String>,
    /// Column or field with the time [default: timestamp or created_at]
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub time_column: Option<String>,
    /// Column or field with the value [default: value]
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub value_column: Option<String>,
    /// Column or field with the metric's name [default: metric_name]
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub metric_column: Option<String>,
    /// Unit of times that are numbers since 1970 [default: ms]
    #[arg(long, value_enum, value_name = "UNIT")]
    pub time_unit: Option<TimeUnit>,
    /// How times are written, in the letters of strftime, e.g. '%d/%m/%Y %H:%M:%S'; UTC unless it has %z
    #[arg(long, value_name = "FORMAT", value_parser = NonEmptyStringValueParser::new())]
    pub time_format: Option<String>,
    /// The rows count for now, though a column or field looks like their time; one that is called so is left out
    #[arg(long, conflicts_with_all = ["time_column", "time_unit", "time_format"])]
    pub without_time: bool,
    /// What a file is, whatever its name says
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// What separates the cells of CSV: a character or `tab` [default: what the header shows]
    #[arg(long, value_name = "CHARACTER", value_parser = delimiter)]
    pub delimiter: Option<u8>,
    /// What stands before the fraction of numbers in CSV [default: what they show, where that is certain]
    #[arg(long, value_enum)]
    pub decimal: Option<Decimal>,
}

impl Reading {
    /// As the reader takes it.
    pub(crate) fn options(&self, moves_times: bool) -> Options {
        Options {
            metric: self.metric.clone(),
            account: self.account.clone(),
            format: self.format,
            columns: ColumnNames {
                time: self.time_column.clone(),
                value: self.value_column.clone(),
                metric: self.metric_column.clone(),
            },
            time: TimeOptions {
                unit: self.time_unit,
                format: self.time_format.clone(),
                is_moved: moves_times,
            },
            without_time: self.without_time,
            delimiter: self.delimiter,
            decimal: self.decimal,
            file_stem: None,
        }
    }
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
  kelly replay day.arrow kelly-activity.parquet          tables, Kelly's own exports too
  kelly replay cpu.csv.gz --time-column when --time-unit s --value-column load

What a file is, its name says, or --format: .csv and .tsv begin with a header; value is needed, timestamp,
metric_name, metric_type, account_id, conversation_id, user_id and metadata (a JSON object) may stand next to
it, and other columns go to the metadata under their names; with event_type and title its rows are events.
.ndjson, .jsonl and .txt have a metric or an event a line, .json has one object, an array of them, or one after
the other; .arrow and .parquet are tables with the same columns. Each may be compressed (.gz, .zst). What Kelly
exported goes in as it came out. Timestamps without a zone are UTC.

Nothing is guessed: a time under another name, a number that may be seconds, a date that may have the month
first stop it with the flag that says which. Bad rows are left out and the first ten of each kind shown with
their places; the exit code is then 3.

An Arrow stream of metrics with the columns of docs/arrow.md and nothing compressed in it is sent as it is and
checked before: one bad row refuses all of it, before anything of any file is sent; the exit code is then 1.")]
pub struct Replay {
    /// CSV (timestamp,value), NDJSON, JSON, Arrow or Parquet files; `-` is NDJSON from standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// How they are read.
    #[command(flatten)]
    pub reading: Reading,
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
    #[arg(long, value_name = "URL")]
    pub log: Option<String>,
}
