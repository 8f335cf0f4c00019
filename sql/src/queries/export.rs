//! Exports: the store itself writes a format, and its bytes are passed on as they come.

use bytes::Bytes;
use clickhouse::query::{BytesCursor, Query};

use super::accounts::AccountFilter;
use super::csv_floats::CsvFloats;
use super::export_groups::GroupsExport;
use super::series::SeriesQuestion;
use crate::client::{QUERY_DEADLINE, Store};
use crate::error::{Result, StoreError};

/// Rows of one export. A question with more is refused; rows that come after they were counted end it with an error.
pub const MAX_EXPORT_ROWS: u64 = 2_000_000;

/// How long the store works on one export, waiting for a slow reader included.
const EXPORT_SECONDS: u64 = 300;

/// Part of a question's memory that sorting may take; beyond it rows are sorted on the disk.
const SORT_SHARE: u64 = 4;

/// Rows of a Parquet row group: what the store holds of one in memory.
const ROW_GROUP_ROWS: u64 = 65_536;

/// In which form rows leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExportFormat {
    /// CSV with names in the first row. A text that a spreadsheet would run as a formula has an apostrophe before it. A float has
    /// a point or an exponent, so that who guesses the type of its column does not take it for one of integers.
    Csv,
    /// Apache Parquet.
    Parquet,
    /// Apache Arrow IPC stream.
    Arrow,
    /// One JSON object a line.
    JsonLines,
}

/// What is exported. Times are milliseconds since 1970; windows include their start and exclude their end.
#[derive(Debug, Clone, Copy)]
pub enum Export<'a> {
    /// The points of a series.
    Series(SeriesQuestion<'a>),
    /// Groups that were ranked.
    Groups(GroupsExport<'a>),
    /// The samples of one metric.
    Samples(SamplesExport<'a>),
    /// Events.
    Activity(ActivityExport<'a>),
}

/// Samples of one metric, as they were recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SamplesExport<'a> {
    /// The metric.
    pub metric: &'a str,
    /// Only of these accounts.
    pub accounts: AccountFilter<'a>,
    /// Only of this conversation.
    pub conversation: Option<&'a str>,
    /// Start.
    pub from_ms: i64,
    /// End.
    pub to_ms: i64,
}

/// Events, each once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActivityExport<'a> {
    /// Only of this severity.
    pub severity: Option<&'a str>,
    /// Only of this type.
    pub event_type: Option<&'a str>,
    /// Only of these accounts.
    pub accounts: AccountFilter<'a>,
    /// Start.
    pub from_ms: i64,
    /// End.
    pub to_ms: i64,
}

/// The bytes of an export on their way. Reading slowly holds the store back; dropping this ends the question.
pub struct ExportBytes {
    store: Store,
    cursor: BytesCursor,
    /// Of CSV.
    floats: Option<CsvFloats>,
}

impl ExportBytes {
    /// The next bytes; `None` at the end. After an error nothing more comes, and what came is not whole.
    ///
    /// # Errors
    /// When the store does not go on.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        let action = "export rows";
        // A store that is alive sends something now and then; one that died with its connection open sends nothing.
        let Self { store, cursor, floats } = self;
        let next = async { cursor.next().await.map_err(|error| StoreError::query(action, error)) };
        match tokio::time::timeout(QUERY_DEADLINE, store.while_it_responds(action, next)).await {
            Ok(next) => Ok(next?.map(|piece| match floats {
                Some(floats) => floats.pass(&piece).into(),
                None => piece,
            })),
            Err(_) => Err(StoreError::TimedOut { action: action.to_owned() }),
        }
    }
}

impl Store {
    /// How many rows an export has.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn export_rows(&self, export: &Export<'_>) -> Result<u64> {
        let text = format!("SELECT count() FROM ({})", export.text(self, ExportFormat::JsonLines).await?);
        let query = export.parameters(self.bounded(self.client().query_raw(&text)));
        self.ask("count the rows of an export", query.fetch_one()).await
    }

    /// Begins an export, within the memory of any question ([`crate::QuestionBounds`]). The store sorts all rows before it writes
    /// the first, what does not fit into memory on its disk.
    ///
    /// # Errors
    /// When the store does not answer, or the memory does not do.
    pub async fn export(&self, export: &Export<'_>, format: ExportFormat) -> Result<ExportBytes> {
        let text = export.text(self, format).await?;
        let memory_bytes = self.question_bounds().memory_bytes;
        let settings = [
            ("max_memory_usage", memory_bytes),
            ("max_bytes_before_external_sort", memory_bytes / SORT_SHARE),
            ("max_execution_time", EXPORT_SECONDS),
            ("max_result_rows", MAX_EXPORT_ROWS),
            // Rows are written in the order of the question and never gathered for several threads.
            ("output_format_parallel_formatting", 0),
            ("output_format_parquet_row_group_size", ROW_GROUP_ROWS),
            ("output_format_json_quote_64bit_integers", 0),
        ];
        let mut query = export
            .parameters(self.client().query_raw(&text))
            .with_setting("result_overflow_mode", "throw")
            .with_setting("date_time_output_format", "iso")
            // Nothing, as spreadsheets and data frames have it, not the \N of databases.
            .with_setting("format_csv_null_representation", "");
        for (name, value) in settings {
            query = query.with_setting(name, value.to_string());
        }
        let cursor =
            query.fetch_bytes(format.name()).map_err(|error| StoreError::query("export rows", error))?;
        let floats = (format == ExportFormat::Csv).then(|| CsvFloats::new(&export.float_columns()));
        Ok(ExportBytes { store: self.clone(), cursor, floats })
    }
}

impl ExportFormat {
    /// ClickHouse's name of it.
    fn name(self) -> &'static str {
        match self {
            Self::Csv => "CSVWithNames",
            Self::Parquet => "Parquet",
            Self::Arrow => "ArrowStream",
            Self::JsonLines => "JSONEachRow",
        }
    }
}

impl Export<'_> {
    /// The places of the columns of floats.
    fn float_columns(&self) -> Vec<usize> {
        match self {
            // timestamp, value, count, min, max, p50, p95, p99
            Self::Series(_) => vec![1, 3, 4, 5, 6, 7],
            Self::Groups(_) => GroupsExport::float_columns(),
            // timestamp, metric_name, metric_type, value, …
            Self::Samples(_) => vec![3],
            Self::Activity(_) => Vec::new(),
        }
    }

    async fn text(&self, store: &Store, format: ExportFormat) -> Result<String> {
        let texts: &[&str] = match self {
            Self::Series(_) => &[],
            Self::Groups(_) => &["metric_name", "id"],
            Self::Samples(_) => {
                &["metric_name", "metric_type", "account_id", "conversation_id", "user_id", "metadata"]
            }
            Self::Activity(_) => &[
                "event_type",
                "title",
                "description",
                "account_id",
                "conversation_id",
                "user_id",
                "severity",
                "category",
                "metadata",
            ],
        };
        let text = match self {
            Self::Series(question) => format!(
                "SELECT t AS timestamp, value, count, min, max, p50, p95, p99 FROM ({}) WHERE section = 'point' ORDER BY timestamp",
                store.view_text(question.source.finished_view()).await?
            ),
            Self::Groups(groups) => groups.text()?,
            Self::Samples(_) => store.view_text("samples").await?.to_owned(),
            Self::Activity(_) => store.view_text("activity").await?.to_owned(),
        };
        if format != ExportFormat::Csv || texts.is_empty() {
            return Ok(text);
        }
        // Spreadsheets run what begins with one of these, after blanks too. What has an apostrophe before it already gets
        // another, so that taking one away gives every text back.
        let guarded: Vec<String> = texts
            .iter()
            .map(|name| {
                format!(
                    r"if(match({name}, '^\'*\\s*[=+\\-@\\t\\r]'), concat('\'', {name}), {name}) AS {name}"
                )
            })
            .collect();
        Ok(format!("SELECT * REPLACE({}) FROM ({text})", guarded.join(", ")))
    }

    fn parameters(&self, query: Query) -> Query {
        match self {
            Self::Series(question) => question.parameters(query),
            Self::Groups(groups) => query
                .param("metric", groups.metric)
                .param("group_by", groups.group_by)
                .param("from_ms", groups.from_ms)
                .param("to_ms", groups.to_ms),
            Self::Samples(samples) => query
                .param("metric", samples.metric)
                .param("accounts", samples.accounts.parameter())
                .param("conversation", samples.conversation.unwrap_or_default())
                .param("from_ms", samples.from_ms)
                .param("to_ms", samples.to_ms),
            Self::Activity(events) => query
                .param("severity", events.severity.unwrap_or_default())
                .param("event_type", events.event_type.unwrap_or_default())
                .param("accounts", events.accounts.parameter())
                .param("from_ms", events.from_ms)
                .param("to_ms", events.to_ms),
        }
    }
}
