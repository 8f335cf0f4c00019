//! What the columns of a table are: of a CSV file's header, of an Arrow or Parquet schema. Pure.

use kelly_schemas::check;
use kelly_schemas::decode::{is_other_time_name, names_content};

use super::{Hint, Options, kind_of};
use crate::Usage;
use crate::client::RowKind;

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Column {
    /// When it happened.
    Time,
    /// A metric's value.
    Value,
    /// A text the contract knows by this name.
    Text(&'static str),
    /// A JSON object.
    Metadata,
    /// One of the file's own: the decoder puts a field it does not know into the metadata.
    Other(String),
    /// Left out: it has no name, or Kelly derives it.
    Skipped,
}

/// The columns of a table, and what its rows are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// Metrics or events.
    pub kind: RowKind,
    /// In the order of the table.
    pub columns: Vec<Column>,
    /// Their names, for messages.
    pub names: Vec<String>,
    /// Whether Kelly wrote it: texts are then taken to the letter.
    pub is_export: bool,
    /// The metric of rows where no column names it.
    pub metric: Option<String>,
}

const METRIC_TEXTS: [&str; 5] = ["metric_name", "metric_type", "account_id", "conversation_id", "user_id"];
const EVENT_TEXTS: [&str; 9] = [
    "id",
    "event_type",
    "title",
    "description",
    "severity",
    "category",
    "account_id",
    "conversation_id",
    "user_id",
];

/// The columns of Kelly's export of samples, in their order.
pub const SAMPLES_EXPORT: [&str; 8] = [
    "timestamp",
    "metric_name",
    "metric_type",
    "value",
    "account_id",
    "conversation_id",
    "user_id",
    "metadata",
];
/// The columns of Kelly's export of events, in their order.
pub const EVENTS_EXPORT: [&str; 12] = [
    "id",
    "created_at",
    "event_type",
    "title",
    "description",
    "account_id",
    "conversation_id",
    "user_id",
    "severity",
    "category",
    "is_vip",
    "metadata",
];
/// A column of the events' export that Kelly derives anew.
pub const DERIVED: &str = "is_vip";

/// What a column that looks like the time says for itself in the first row.
pub type FirstCell<'c> = &'c dyn Fn(usize) -> bool;

impl Columns {
    /// Finds out what each column is. `is_time` says of a column whether its first cell is surely a time. What is
    /// missing or in doubt is asked for, with the flag that answers.
    pub fn new(names: &[String], options: &Options, is_time: FirstCell<'_>) -> Result<Self, Usage> {
        let is_export = names == SAMPLES_EXPORT || names == EVENTS_EXPORT;
        let known = |name: &str| names.iter().any(|found| found.trim().eq_ignore_ascii_case(name));
        let kind = kind_of(known)?;
        let flags = &options.columns;
        for (flag, named) in [
            ("--time-column", &flags.time),
            ("--value-column", &flags.value),
            ("--metric-column", &flags.metric),
        ] {
            if let Some(named) =
                named.as_ref().filter(|named| !names.iter().any(|found| found.trim() == **named))
            {
                return Err(Usage(format!(
                    "{flag} {named}: there is no such column; there are {}",
                    list(names)
                )));
            }
        }
        let mut columns: Vec<Column> = Vec::with_capacity(names.len());
        for name in names {
            let column = match name.trim() {
                name if flags.time.as_deref() == Some(name) => Column::Time,
                name if flags.value.as_deref() == Some(name) => Column::Value,
                name if flags.metric.as_deref() == Some(name) => Column::Text("metric_name"),
                "" => Column::Skipped,
                DERIVED if is_export => Column::Skipped,
                name => column(name, kind),
            };
            if column != Column::Skipped && columns.contains(&column) {
                return Err(Usage(match column {
                    Column::Time => "the time is there twice, and `timestamp` and `created_at` are two names of it: leave a column out".to_owned(),
                    _ => format!("the column {} is there twice", name.trim()),
                }));
            }
            if matches!(column, Column::Other(_))
                && names_content(format!("{{{}:0}}", quoted(name)).as_bytes())
            {
                return Err(Usage(format!(
                    "the column {} would carry conversation content, which Kelly never stores: leave it out",
                    name.trim()
                )));
            }
            columns.push(column);
        }
        let mut columns = Self { kind, columns, names: names.to_vec(), is_export, metric: None };
        columns.ask_for_value()?;
        columns.ask_for_time(options, is_time)?;
        columns.name_metric(options)?;
        Ok(columns)
    }

    /// The name of a column, for messages.
    pub fn name(&self, at: usize) -> &str {
        self.names.get(at).map_or("", |name| name.trim())
    }

    /// The name of the time's column.
    pub fn time_field(&self) -> &'static str {
        match self.kind {
            RowKind::Metrics => "timestamp",
            RowKind::Activity => "created_at",
        }
    }

    fn ask_for_value(&self) -> Result<(), Usage> {
        if self.kind == RowKind::Activity || self.columns.contains(&Column::Value) {
            return Ok(());
        }
        Err(Usage(format!(
            "it names no column `value` in its header: say which holds it with --value-column; there are {}",
            list(&self.names)
        )))
    }

    fn ask_for_time(&self, options: &Options, is_time: FirstCell<'_>) -> Result<(), Usage> {
        if self.columns.contains(&Column::Time) || options.without_time {
            return Ok(());
        }
        let is_other = |at: &usize| matches!(self.columns[*at], Column::Other(_));
        let by_name = |at: &usize| is_other_time_name(self.names[*at].trim());
        let mut others = (0..self.columns.len()).filter(is_other);
        let found = others.clone().find(by_name).or_else(|| others.find(|at| is_time(*at)));
        match found {
            None => Ok(()),
            Some(at) => Err(Usage(format!(
                "it has no column `{}`, and {name:?} looks like one: say --time-column {name:?}, or --without-time \
                 if the rows are to count for now",
                self.time_field(),
                name = self.name(at),
            ))),
        }
    }

    /// Without a column the metric is what was said, else the file's name, if that can be a metric's.
    fn name_metric(&mut self, options: &Options) -> Result<(), Usage> {
        if self.kind == RowKind::Activity {
            return Ok(());
        }
        if let Some(said) = &options.metric {
            self.metric = Some(said.clone());
        } else if !self.columns.contains(&Column::Text("metric_name")) {
            let stem = options.file_stem.as_deref().unwrap_or_default();
            let limit = kelly_schemas::limits::METRIC_NAME_CHARACTERS;
            if check::name("metric_name", stem, limit).is_err() {
                return Err(Usage(format!(
                    "no column names the metric, and the file's name ({stem:?}) cannot be one: say --metric NAME, or \
                     --metric-column if a column holds it"
                )));
            }
            self.metric = Some(stem.to_owned());
        }
        Ok(())
    }
}

fn column(name: &str, kind: RowKind) -> Column {
    let lower = name.to_ascii_lowercase();
    let texts: &[&'static str] = match kind {
        RowKind::Metrics => &METRIC_TEXTS,
        RowKind::Activity => &EVENT_TEXTS,
    };
    match lower.as_str() {
        "timestamp" | "created_at" => Column::Time,
        "value" if kind == RowKind::Metrics => Column::Value,
        "metadata" => Column::Metadata,
        other => match texts.iter().find(|known| **known == other) {
            Some(known) => Column::Text(known),
            None => Column::Other(name.to_owned()),
        },
    }
}

/// The names for people.
pub fn list(names: &[String]) -> String {
    const LISTED: usize = 20;
    let shown: Vec<String> = names.iter().take(LISTED).map(|name| Hint::name(name.trim())).collect();
    let more = if names.len() > LISTED { " …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

fn quoted(name: &str) -> String {
    serde_json::Value::from(name.trim()).to_string()
}
