//! Series: points of one metric over a window, the window as a whole, and the window before it.

use clickhouse::Row;
use clickhouse::query::Query;
use serde::Deserialize;

use super::accounts::AccountFilter;
use crate::client::Store;
use crate::error::{Result, StoreError};

/// The table that answers, and whose samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeriesSource<'a> {
    /// Minutes of the metric; window edges are whole minutes.
    Minute,
    /// Hours of the metric; window edges are whole hours.
    Hour,
    /// Samples of some accounts together.
    AccountRaw {
        /// The accounts; where there is none, no sample.
        accounts: &'a [&'a str],
    },
    /// Hours of some accounts together; window edges are whole hours. Percentiles come from their days, where the edges are
    /// whole days.
    AccountHour {
        /// The accounts; where there is none, no sample.
        accounts: &'a [&'a str],
    },
    /// Samples of one conversation.
    ConversationRaw {
        /// The conversation.
        conversation: &'a str,
        /// Only those of these accounts.
        accounts: AccountFilter<'a>,
    },
    /// Days of one conversation, without percentiles; window edges are whole days.
    ConversationDay {
        /// The conversation.
        conversation: &'a str,
        /// Only those of these accounts.
        accounts: AccountFilter<'a>,
    },
}

/// How the samples of an interval become its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregate {
    /// Their mean.
    Mean,
    /// Their sum.
    Sum,
    /// The newest; of several in one millisecond the greatest.
    Last,
    /// The greatest.
    Max,
}

/// What is asked. Times are milliseconds since 1970; windows include their start and exclude their end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeriesQuestion<'a> {
    /// Which table, whose samples.
    pub source: SeriesSource<'a>,
    /// The metric.
    pub metric: &'a str,
    /// Start of the window compared with; it ends where the window starts.
    pub previous_from_ms: i64,
    /// Start of the window.
    pub from_ms: i64,
    /// End of the window.
    pub to_ms: i64,
    /// End of the window's part that is compared; between its start and its end.
    pub compared_to_ms: i64,
    /// Length of a point; points begin at multiples of it.
    pub step_seconds: u32,
    /// What `value` is.
    pub aggregate: Aggregate,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Series {
    /// Points that have samples, oldest first.
    pub points: Vec<SeriesInterval>,
    /// All samples of the window together; `None` when it has none.
    pub window: Option<SeriesInterval>,
    /// All samples of the window before; `None` when it has none. It has no percentiles.
    pub previous: Option<SeriesInterval>,
    /// The window's part that is compared; `None` when it has no samples.
    pub compared: Option<Compared>,
    /// Change of the compared part's value against the window before, in percent of the latter's magnitude; `None`
    /// when one is missing or the latter is 0.
    pub percentage_change: Option<f64>,
}

/// The part of a window that is compared with the window before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Compared {
    /// Samples.
    pub count: u64,
    /// The samples under the question's aggregate.
    pub value: f64,
}

/// An interval that has samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SeriesInterval {
    /// Start of a point, cut at the window's start; 0 for a whole window.
    pub start_ms: i64,
    /// Samples.
    pub count: u64,
    /// The samples under the question's aggregate.
    pub value: f64,
    /// Smallest sample.
    pub min: f64,
    /// Greatest sample.
    pub max: f64,
    /// Median, 95th and 99th percentile: the value at rank ceil(q * n); `None` where the source has none.
    pub percentiles: Option<[f64; 3]>,
    /// Time of the newest sample.
    pub newest_ms: i64,
}

impl Store {
    /// Answers a series. Of the kept states of minutes and hours the rows are read as they are and merged here; samples and
    /// a conversation's days are merged by the store.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn series(&self, question: &SeriesQuestion<'_>) -> Result<Series> {
        if let Some(view) = question.source.states_view() {
            return self.series_of_states(view, question).await;
        }
        let query = question.parameters(self.view(question.source.finished_view()).await?);
        let rows: Vec<IntervalRow> = self.ask("read a metric's series", query.fetch_all()).await?;
        collect(rows)
    }
}

impl SeriesSource<'_> {
    /// The view that answers finished: windows, points and percentiles.
    pub(super) fn finished_view(&self) -> &'static str {
        match self {
            Self::Minute => "metric_series_minute",
            Self::Hour => "metric_series_hour",
            Self::AccountRaw { .. } => "account_series_raw",
            Self::AccountHour { .. } => "account_series_hour",
            Self::ConversationRaw { .. } => "conversation_series_raw",
            Self::ConversationDay { .. } => "conversation_series_day",
        }
    }

    /// The view that gives the kept states to merge here, where that is the faster way.
    fn states_view(&self) -> Option<&'static str> {
        match self {
            Self::Minute => Some("metric_states_minute"),
            Self::Hour => Some("metric_states_hour"),
            Self::AccountHour { .. } => Some("account_states_hour"),
            Self::AccountRaw { .. } | Self::ConversationRaw { .. } | Self::ConversationDay { .. } => None,
        }
    }
}

impl SeriesQuestion<'_> {
    /// The parameters of a finished view.
    pub(super) fn parameters(&self, query: Query) -> Query {
        let (conversation, accounts) = match self.source {
            SeriesSource::Minute | SeriesSource::Hour => (None, AccountFilter::Any),
            SeriesSource::AccountRaw { accounts } | SeriesSource::AccountHour { accounts } => {
                (None, AccountFilter::Only(accounts))
            }
            SeriesSource::ConversationRaw { conversation, accounts }
            | SeriesSource::ConversationDay { conversation, accounts } => (Some(conversation), accounts),
        };
        let query = query
            .param("metric", self.metric)
            .param("accounts", accounts.parameter())
            .param("aggregate", self.aggregate.name())
            .param("step_s", self.step_seconds)
            .param("previous_from_ms", self.previous_from_ms)
            .param("from_ms", self.from_ms)
            .param("to_ms", self.to_ms)
            .param("compared_to_ms", self.compared_to_ms);
        match conversation {
            Some(conversation) => query.param("conversation", conversation),
            None => query,
        }
    }
}

impl Aggregate {
    /// Its name in the views.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Sum => "sum",
            Self::Last => "last",
            Self::Max => "max",
        }
    }
}

#[derive(Debug, Row, Deserialize)]
struct IntervalRow {
    section: String,
    t: i64,
    count: u64,
    value: f64,
    min: f64,
    max: f64,
    p50: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
    newest: i64,
    compared_count: u64,
    compared_value: Option<f64>,
    percentage_change: Option<f64>,
}

impl IntervalRow {
    fn interval(&self) -> SeriesInterval {
        SeriesInterval {
            start_ms: self.t,
            count: self.count,
            value: self.value,
            min: self.min,
            max: self.max,
            percentiles: match (self.p50, self.p95, self.p99) {
                (Some(p50), Some(p95), Some(p99)) => Some([p50, p95, p99]),
                _ => None,
            },
            newest_ms: self.newest,
        }
    }
}

fn collect(rows: Vec<IntervalRow>) -> Result<Series> {
    let mut series = Series::default();
    for row in rows {
        let interval = row.interval();
        match row.section.as_str() {
            "point" => series.points.push(interval),
            "previous" => series.previous = Some(interval),
            "window" => {
                series.window = Some(interval);
                series.compared =
                    row.compared_value.map(|value| Compared { count: row.compared_count, value });
                series.percentage_change = row.percentage_change;
            }
            other => {
                return Err(StoreError::Unexpected {
                    action: "read a metric's series".to_owned(),
                    detail: format!("a row of section {other:?}"),
                });
            }
        }
    }
    Ok(series)
}
