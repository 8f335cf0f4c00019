//! The figures of the overview.

use clickhouse::Row;
use kelly_schemas::limits::LATEST_MS;
use serde::Deserialize;

use super::accounts::AccountFilter;
use crate::client::Store;
use crate::error::Result;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// A metric since an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricSince {
    /// The metric.
    pub metric: String,
    /// The instant, in milliseconds since 1970; samples of its whole minute count.
    pub since_ms: i64,
}

/// A metric of some accounts since an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountMetricSince {
    /// The metric.
    pub metric: String,
    /// The instant, in milliseconds since 1970.
    pub since_ms: i64,
    /// What is counted.
    pub counted_from: CountedFrom,
}

/// From which rows a figure is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountedFrom {
    /// Samples, from the whole minute of the instant on.
    Samples,
    /// Hours, from the whole hour of the instant on.
    Hours,
}

/// What is known of a metric since an instant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FigureRow {
    /// Samples.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The newest.
    pub last: f64,
}

impl Store {
    /// One answer a question, in their order; `None` where there is no sample.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn metrics_since(&self, questions: &[MetricSince]) -> Result<Vec<Option<FigureRow>>> {
        let mut answers = vec![None; questions.len()];
        if questions.is_empty() {
            return Ok(answers);
        }
        let metrics: Vec<&str> = questions.iter().map(|question| question.metric.as_str()).collect();
        let starts: Vec<i64> = questions.iter().map(|question| whole(question.since_ms, MINUTE_MS)).collect();
        let query = self
            .view("overview_figures")
            .await?
            .param("metrics", metrics)
            .param("first_ms", starts.iter().min())
            .param("starts_ms", starts);
        let rows: Vec<MetricRow> = self.ask("read the overview's figures", query.fetch_all()).await?;
        rows.into_iter().for_each(|row| row.put_into(&mut answers));
        Ok(answers)
    }

    /// The same of some accounts together.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn account_metrics_since(
        &self,
        questions: &[AccountMetricSince],
        accounts: &[&str],
    ) -> Result<Vec<Option<FigureRow>>> {
        let mut answers = vec![None; questions.len()];
        if questions.is_empty() {
            return Ok(answers);
        }
        let metrics: Vec<&str> = questions.iter().map(|question| question.metric.as_str()).collect();
        let starts: Vec<i64> = questions.iter().map(AccountMetricSince::start_ms).collect();
        let of_samples: Vec<u8> = questions
            .iter()
            .map(|question| u8::from(question.counted_from == CountedFrom::Samples))
            .collect();
        let earliest = |counted_from| {
            let starts = questions.iter().filter(|question| question.counted_from == counted_from);
            starts.map(AccountMetricSince::start_ms).min().unwrap_or(LATEST_MS)
        };
        let query = self
            .view("account_overview_figures")
            .await?
            .param("metrics", metrics)
            .param("starts_ms", starts)
            .param("of_samples", of_samples)
            .param("first_sample_ms", earliest(CountedFrom::Samples))
            .param("first_hour_ms", earliest(CountedFrom::Hours))
            .param("accounts", AccountFilter::Only(accounts).parameter());
        let rows: Vec<MetricRow> =
            self.ask("read the overview's figures of accounts", query.fetch_all()).await?;
        rows.into_iter().for_each(|row| row.put_into(&mut answers));
        Ok(answers)
    }

    /// Different conversations of these accounts with a sample or an event since each of the instants (milliseconds since
    /// 1970), in their order; `None` where there are none.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn conversations_since(
        &self,
        starts_ms: &[i64],
        accounts: AccountFilter<'_>,
    ) -> Result<Vec<Option<u64>>> {
        let mut answers = vec![None; starts_ms.len()];
        if starts_ms.is_empty() {
            return Ok(answers);
        }
        let query = self
            .view("conversations_seen")
            .await?
            .param("first_ms", starts_ms.iter().min())
            .param("starts_ms", starts_ms)
            .param("accounts", accounts.parameter());
        let rows: Vec<ConversationsRow> = self.ask("count conversations", query.fetch_all()).await?;
        for row in rows {
            if let Some(answer) = one_based(&mut answers, row.figure) {
                *answer = Some(row.conversations);
            }
        }
        Ok(answers)
    }
}

impl AccountMetricSince {
    fn start_ms(&self) -> i64 {
        match self.counted_from {
            CountedFrom::Samples => whole(self.since_ms, MINUTE_MS),
            CountedFrom::Hours => whole(self.since_ms, HOUR_MS),
        }
    }
}

/// The start of the interval of this length that an instant lies in.
fn whole(instant_ms: i64, length_ms: i64) -> i64 {
    instant_ms.div_euclid(length_ms) * length_ms
}

/// The views number figures as ClickHouse numbers the elements of an array: from one.
fn one_based<T>(answers: &mut [T], figure: u32) -> Option<&mut T> {
    answers.get_mut((figure as usize).checked_sub(1)?)
}

#[derive(Debug, Row, Deserialize)]
struct MetricRow {
    figure: u32,
    count: u64,
    sum: f64,
    last: f64,
}

impl MetricRow {
    fn put_into(self, answers: &mut [Option<FigureRow>]) {
        if let Some(answer) = one_based(answers, self.figure) {
            *answer = Some(FigureRow { count: self.count, sum: self.sum, last: self.last });
        }
    }
}

#[derive(Debug, Row, Deserialize)]
struct ConversationsRow {
    figure: u32,
    conversations: u64,
}
