//! The figures of the overview.

use clickhouse::Row;
use serde::Deserialize;

use crate::client::Store;
use crate::error::Result;

/// A metric since an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricSince {
    /// The metric.
    pub metric: String,
    /// The instant, in milliseconds since 1970; samples of its whole minute count.
    pub since_ms: i64,
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
        let starts: Vec<i64> =
            questions.iter().map(|question| question.since_ms.div_euclid(60_000) * 60_000).collect();
        let query = self
            .view("overview_figures")
            .await?
            .param("metrics", metrics)
            .param("first_ms", starts.iter().min())
            .param("starts_ms", starts);
        let rows: Vec<MetricRow> = self.ask("read the overview's figures", query.fetch_all()).await?;
        for row in rows {
            if let Some(answer) = one_based(&mut answers, row.figure) {
                *answer = Some(FigureRow { count: row.count, sum: row.sum, last: row.last });
            }
        }
        Ok(answers)
    }

    /// Different conversations with a sample or an event since each of the instants (milliseconds since 1970), in their
    /// order; `None` where there are none.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn conversations_since(&self, starts_ms: &[i64]) -> Result<Vec<Option<u64>>> {
        let mut answers = vec![None; starts_ms.len()];
        if starts_ms.is_empty() {
            return Ok(answers);
        }
        let query = self
            .view("conversations_seen")
            .await?
            .param("first_ms", starts_ms.iter().min())
            .param("starts_ms", starts_ms);
        let rows: Vec<ConversationsRow> = self.ask("count conversations", query.fetch_all()).await?;
        for row in rows {
            if let Some(answer) = one_based(&mut answers, row.figure) {
                *answer = Some(row.conversations);
            }
        }
        Ok(answers)
    }
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

#[derive(Debug, Row, Deserialize)]
struct ConversationsRow {
    figure: u32,
    conversations: u64,
}
