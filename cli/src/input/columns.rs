//! What the columns of a table are: of a CSV file's header, of an Arrow or Parquet schema. Pure.

use kelly_schemas::check;
use kelly_schemas::decode::{is_other_time_name, names_content};

use super::{ColumnNames, Hint, Options, kind_of};
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

/// Whether the first cell of a column may be a time.
pub type LooksLikeTime<'c> = &'c dyn Fn(usize) -> bool;

impl Columns {
    /// Finds out what each column is. What is missing or in doubt is asked for, with the flag that answers.
    pub fn new(
        names: &[String],
        options: &Options,
        looks_like_time: LooksLikeTime<'_>,
    ) -> Result<Self, Usage> {
        let is_export = is_export(names);
        let flags = &options.columns;
        let kind = kind(names, flags)?;
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
                DERIVED if is_export => Column::Skipped,
                name => named(name, kind, flags),
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
        columns.ask_for_time(options, looks_like_time)?;
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

    fn ask_for_time(&mut self, options: &Options, looks_like_time: LooksLikeTime<'_>) -> Result<(), Usage> {
        if self.columns.contains(&Column::Time) {
            return Ok(());
        }
        let is_other = |at: &usize| matches!(self.columns[*at], Column::Other(_));
        let by_name = |at: &usize| is_other_time_name(self.names[*at].trim());
        let mut others = (0..self.columns.len()).filter(is_other);
        if options.without_time {
            // The decoder would refuse every row for it.
            let misnamed: Vec<usize> = others.filter(by_name).collect();
            misnamed.into_iter().for_each(|at| self.columns[at] = Column::Skipped);
            return Ok(());
        }
        let found = others.clone().find(by_name).or_else(|| others.find(|at| looks_like_time(*at)));
        match found {
            None => Ok(()),
            Some(at) => Err(ask_for_time(self.time_field(), self.name(at))),
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
            let limit = kelly_schemas::limits::METRIC_NAME_CHARACTERS;
            let and_name = match options.file_stem.as_deref() {
                Some(stem) if check::name("metric_name", stem, limit).is_ok() => {
                    self.metric = Some(stem.to_owned());
                    return Ok(());
                }
                Some(stem) => format!(", and the file's name ({stem:?}) cannot be one"),
                None => String::new(),
            };
            return Err(Usage(format!(
                "no column names the metric{and_name}: say --metric NAME, or --metric-column if a column holds it"
            )));
        }
        Ok(())
    }
}

/// Whether Kelly wrote it.
fn is_export(names: &[String]) -> bool {
    names == SAMPLES_EXPORT || names == EVENTS_EXPORT
}

fn kind(names: &[String], flags: &ColumnNames) -> Result<RowKind, Usage> {
    kind_of(|name| names.iter().any(|found| found.trim().eq_ignore_ascii_case(name)), flags)
}

/// Whether the first column of a header holds times or values: none of them begins with a `#`.
pub fn begins_with_number(names: &[String], flags: &ColumnNames) -> bool {
    let (Some(first), Ok(kind)) = (names.first(), kind(names, flags)) else { return false };
    match named(first.trim(), kind, flags) {
        Column::Time | Column::Value => true,
        Column::Other(name) => is_other_time_name(&name),
        _ => false,
    }
}

/// Asks for the time of rows that have none under a name of the contract, where this column or field may be it.
pub fn ask_for_time(time_field: &str, name: &str) -> Usage {
    Usage(format!(
        "it has no `{time_field}`, and {name:?} looks like one: say --time-column {name:?}, or --without-time if the \
         rows are to count for now"
    ))
}

/// Whether the contract has a field of this name for rows of this kind.
pub fn is_known(name: &str, kind: RowKind) -> bool {
    !matches!(column(name, kind), Column::Other(_))
        && !name.contains(|letter: char| letter.is_ascii_uppercase())
}

fn named(name: &str, kind: RowKind, flags: &ColumnNames) -> Column {
    let is = |flagged: &Option<String>| flagged.as_deref() == Some(name);
    if name.is_empty() {
        Column::Skipped
    } else if is(&flags.time) {
        Column::Time
    } else if is(&flags.value) {
        Column::Value
    } else if is(&flags.metric) {
        Column::Text("metric_name")
    } else {
        column(name, kind)
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
