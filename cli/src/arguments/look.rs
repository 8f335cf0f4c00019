//! Commands that look: `doctor`, `tail`, `drilldown`, `dead-letters`, `completions`.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand, ValueEnum};
use kelly_schemas::Stream;

use super::parse::{Place, Since, finite, metric_name, place, since};

/// The store of a command that looks into it, if it is not the one in the data directory.
#[derive(Debug, Args)]
pub struct StorePlace {
    /// The store: embedded:DIR or http://user@host:port/database
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
}

/// `kelly doctor`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kelly doctor                                      the `kelly up` of ./kelly-data
  kelly doctor --data /var/lib/kelly
  KELLY_LOG=kafka://broker:9092 KELLY_STORE=http://kelly@clickhouse:8123/kelly kelly doctor
  kelly doctor --json | jq '.findings[] | select(.status != \"ok\")'

It looks at the configuration, the running Kelly, the log (topics, retention, lag of each partition),
the store (version, schema, rights, tables, parts, merges, disk and how long it lasts, dead letters),
and the clocks, and changes nothing. It is made for when things are down.

Exit codes: 0 all is well, 4 something wants attention, 5 something is broken.")]
pub struct Doctor {
    /// The log: embedded:DIR or kafka://host:port[,host:port]
    #[arg(long, value_name = "URL")]
    pub log: Option<String>,
    /// Which store.
    #[command(flatten)]
    pub place: StorePlace,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// `kelly tail`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kelly tail                                       every metric as it becomes visible
  kelly tail --metric ai_confidence --max 0.5      low confidence only
  kelly tail --since 5m --account acme             the last five minutes first, then live
  kelly tail activity --severity high --severity critical
  kelly tail --json | jq .value                    one JSON object a line

It shows what becomes visible in the store: each row once, none left out, also rows that come late.
A topic that was deleted and made anew is reported on stderr and followed on; only a row of it that comes late
(its own time is before the old topic's last) and is merged with old ones at once is left out.
Columns: time (UTC), name, value, account, conversation. It ends with Ctrl-C, with exit code 0, and
when a store that is away comes back it goes on where it was.")]
pub struct Tail {
    /// What to follow
    #[arg(value_enum, default_value_t = TailWhat::Metrics)]
    pub what: TailWhat,
    /// Metric; may be given several times
    #[arg(long = "metric", value_name = "NAME", value_parser = metric_name(), hide_possible_values = true)]
    pub metrics: Vec<String>,
    /// Values from this on
    #[arg(long, value_name = "VALUE", allow_negative_numbers = true, value_parser = finite)]
    pub min: Option<f64>,
    /// Values up to this
    #[arg(long, value_name = "VALUE", allow_negative_numbers = true, value_parser = finite)]
    pub max: Option<f64>,
    /// Account
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub account: Option<String>,
    /// Conversation
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub conversation: Option<String>,
    /// Type of event; may be given several times
    #[arg(long = "event-type", value_name = "NAME")]
    pub event_types: Vec<String>,
    /// Severity of event; may be given several times
    #[arg(long = "severity", value_name = "LEVEL", value_parser = ["low", "medium", "high", "critical"])]
    pub severities: Vec<String>,
    /// Begin with what happened since: 30s, 5m, 2h, 7d or a time; now when left out
    #[arg(long, value_name = "AGE", value_parser = since)]
    pub since: Option<Since>,
    /// End after so many rows
    #[arg(short = 'n', long, value_name = "ROWS", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
    /// Which store.
    #[command(flatten)]
    pub place: StorePlace,
}

/// What `kelly tail` follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TailWhat {
    /// Metrics.
    Metrics,
    /// Activity events.
    Activity,
}

/// `kelly drilldown`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kelly drilldown ai_confidence                                  by account, the last 24 hours
  kelly drilldown response_time --timeframe 30d --order-by p95 --top 20
  kelly drilldown ai_confidence --account acme --timeframe 7d     by conversation
  kelly drilldown messages --timeframe 30d -o messages.csv       a row an account
  kelly drilldown messages --timeframe 30d -o messages.parquet   the same rows; also .arrow (IPC stream), .jsonl
  kelly drilldown messages --timeframe 30d -o messages.json      the whole answer, series too

COURSE is the group's series from its own least to its own greatest value, a dot where there is no
sample; CHANGE is against as much time before. It asks a running Kelly over HTTP.")]
pub struct Drilldown {
    /// Metric, e.g. ai_confidence
    #[arg(value_parser = metric_name(), hide_possible_values = true)]
    pub metric: String,
    /// Length of time that ends now
    #[arg(long, value_name = "LENGTH", default_value = "24h", value_parser = ["1h", "6h", "24h", "7d", "30d"])]
    pub timeframe: String,
    /// What a line is [default: account; with --account conversation]
    #[arg(long, value_enum)]
    pub by: Option<By>,
    /// Groups at most
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub top: u32,
    /// Only the conversations of this account
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub account: Option<String>,
    /// By what groups are ranked [default: the metric's own aggregate]
    #[arg(long, value_name = "FIGURE", value_parser = ["count", "sum", "mean", "min", "max", "last", "p50", "p95", "p99"])]
    pub order_by: Option<String>,
    /// Smallest (asc) or greatest (desc) first [default: the worst first]
    #[arg(long, value_name = "ORDER", value_parser = ["asc", "desc"])]
    pub order: Option<String>,
    /// Write to a file instead: what it is, its name says, .csv, .jsonl, .parquet, .arrow or .json
    #[arg(short = 'o', long, value_name = "FILE", conflicts_with = "json")]
    pub output: Option<PathBuf>,
    /// What the file is, whatever its name says
    #[arg(long, value_enum, requires = "output")]
    pub format: Option<FileFormat>,
    /// Print the answer as one JSON document
    #[arg(long)]
    pub json: bool,
}

/// What a file of `kelly drilldown` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FileFormat {
    /// CSV, a row a group
    Csv,
    /// The whole answer, series too
    Json,
    /// An object a line, a line a group
    Jsonl,
    /// Apache Parquet, a row a group
    Parquet,
    /// Apache Arrow IPC stream, a row a group
    Arrow,
}

impl FileFormat {
    /// As the server knows it.
    pub fn parameter(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Jsonl => "jsonl",
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
        }
    }
}

/// What a line of `kelly drilldown` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// An account.
    Account,
    /// A conversation.
    Conversation,
}

/// `kelly dead-letters`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kelly dead-letters list                             the newest twenty
  kelly dead-letters list --by-reason --since 7d      how many of which kind
  kelly dead-letters show kelly.metrics/3/1042        why, and its bytes
  kelly dead-letters replay --reason too_far_in_future         what would be sent again; nothing is
  kelly dead-letters replay --reason too_far_in_future --yes   send it

A dead letter is a row of the log that could not be taken, with the reason and the row's own bytes.
Its neighbours in the same message were taken. Replay sends the bytes through the record endpoint of
a running Kelly, which checks them as any others; a letter that was replayed is marked in the store
and left out the next time.")]
pub struct DeadLetters {
    /// What to do.
    #[command(subcommand)]
    pub what: DeadLettersWhat,
}

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub enum DeadLettersWhat {
    /// Which there are, newest first
    List(ListLetters),
    /// One of them with its reason and its bytes
    Show(ShowLetter),
    /// Send them again, once what was wrong is fixed
    Replay(ReplayLetters),
}

/// Which dead letters.
#[derive(Debug, Args)]
pub struct WhichLetters {
    /// Topic, e.g. kelly.metrics
    #[arg(long, value_name = "NAME")]
    pub topic: Option<Stream>,
    /// Reason code; may be given several times
    #[arg(long = "reason", value_name = "CODE")]
    pub reasons: Vec<String>,
    /// Put on the log since: 30s, 5m, 2h, 7d or a time
    #[arg(long, value_name = "AGE", value_parser = since)]
    pub since: Option<Since>,
}

/// `kelly dead-letters list`.
#[derive(Debug, Args)]
pub struct ListLetters {
    /// Which letters.
    #[command(flatten)]
    pub which: WhichLetters,
    /// Count them by topic and reason instead
    #[arg(long)]
    pub by_reason: bool,
    /// Rows at most
    #[arg(short = 'n', long, value_name = "ROWS", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
    /// Which store.
    #[command(flatten)]
    pub place: StorePlace,
}

/// `kelly dead-letters show`.
#[derive(Debug, Args)]
pub struct ShowLetter {
    /// Which: topic/partition/offset[/row], as `list` shows it
    #[arg(value_name = "PLACE", value_parser = place)]
    pub letter: Place,
    /// Show the bytes as hexadecimal numbers even if they are text
    #[arg(long)]
    pub hex: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
    /// Which store.
    #[command(flatten)]
    pub place: StorePlace,
}

/// `kelly dead-letters replay`.
#[derive(Debug, Args)]
#[command(after_help = "\
Without --yes nothing is sent: each letter is decoded as it would be now, and what would happen is
shown. Letters are left out, and reported, when they were replayed before (or somebody began to), when
conversation content was cut out of them, when they are longer than what is kept, when the log had
removed them unread, and when they are still wrong.

A row without a time of its own counts for the time of its replay, and is reported.

At most --limit letters are taken at a time; that more remain is reported. Replays at the same time send no
letter twice, except over several store nodes, which learn of it from one another a moment later, and with
--again.

Exit codes: 0 all were sent (or would be), 3 some were left out.")]
pub struct ReplayLetters {
    /// Which: topic/partition/offset[/row], as `list` shows it; instead of filters
    #[arg(value_name = "PLACE", value_parser = place, conflicts_with_all = ["topic", "reasons", "since", "all"])]
    pub letters: Vec<Place>,
    /// Which letters.
    #[command(flatten)]
    pub which: WhichLetters,
    /// All that are kept, --limit at a time
    #[arg(long)]
    pub all: bool,
    /// Send them
    #[arg(long)]
    pub yes: bool,
    /// Also those that were replayed before: their metrics then count again
    #[arg(long)]
    pub again: bool,
    /// Letters at most, oldest first; what can only be left out comes last
    #[arg(short = 'n', long, value_name = "ROWS", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
    /// Which store.
    #[command(flatten)]
    pub place: StorePlace,
}

/// `kelly completions`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kelly completions bash > ~/.local/share/bash-completion/completions/kelly
  kelly completions zsh > \"${fpath[1]}/_kelly\"
  kelly completions fish > ~/.config/fish/completions/kelly.fish")]
pub struct Completions {
    /// Which shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// The shells there are completions for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// bash
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
}
