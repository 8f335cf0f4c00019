//! History for alert rules: metrics in the order in which they were heard, and what rollups have where samples are gone.

use clickhouse::query::{Query, RowCursor};
use clickhouse::{Row, RowOwned, RowRead};
use serde::Deserialize;

use super::accounts::AccountFilter;
use crate::client::Store;
use crate::error::{Result, StoreError};

/// How long the store works on one reading of history.
const HISTORY_SECONDS: u64 = 60;

/// Part of a question's memory that sorting may take; beyond it rows are sorted on the disk.
const SORT_SHARE: u64 = 4;

/// Which history. Times are milliseconds since 1970, of the rows themselves; the start is included, the end is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleHistory<'a> {
    /// Of these metrics.
    pub metrics: &'a [&'a str],
    /// Only of these accounts.
    pub accounts: AccountFilter<'a>,
    /// Only of these conversations; of any where there is none. Rollups know no conversations.
    pub conversations: &'a [&'a str],
    /// Whether metadata is needed.
    pub with_metadata: bool,
    /// Start.
    pub from_ms: i64,
    /// End.
    pub to_ms: i64,
}

/// A metric as a rule heard it.
#[derive(Debug, Clone, PartialEq, Row, Deserialize)]
pub struct RuleRow {
    /// The log's time of its message.
    pub log_time_ms: i64,
    /// Partition of the log.
    pub log_partition: u16,
    /// Offset of its message.
    pub log_offset: u64,
    /// Its number in the message.
    pub log_row: u32,
    /// Name.
    pub metric_name: String,
    /// Kind.
    pub metric_type: String,
    /// Value.
    pub value: f64,
    /// When it was measured.
    pub at_ms: i64,
    /// Account, or "".
    pub account_id: String,
    /// Conversation, or "".
    pub conversation_id: String,
    /// User, or "".
    pub user_id: String,
    /// A JSON object as text; "" where it was not asked for.
    pub metadata: String,
}

/// What the samples of a metric came to in a minute, or of an account in an hour.
#[derive(Debug, Clone, PartialEq, Row, Deserialize)]
pub struct RuleBucket {
    /// When it begins.
    pub at_ms: i64,
    /// Name.
    pub metric_name: String,
    /// Account; "" in minutes, and for samples without one.
    pub account_id: String,
    /// How many samples.
    pub samples: u64,
    /// Their sum.
    pub total: f64,
    /// The least.
    pub least: f64,
    /// The largest.
    pub largest: f64,
    /// The newest.
    pub newest: f64,
}

/// How coarse rollups are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RuleRollup {
    /// A minute of all accounts together.
    Minute,
    /// An hour of an account.
    AccountHour,
}

impl RuleRollup {
    const fn view(self) -> &'static str {
        match self {
            Self::Minute => "rule_minutes",
            Self::AccountHour => "rule_account_hours",
        }
    }
}

/// What the samples of a metric were about, over some days.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
pub struct RuleSubjects {
    /// Name.
    pub metric_name: String,
    /// Samples.
    pub samples: u64,
    /// Those without a conversation.
    pub of_no_conversation: u64,
    /// Those without a conversation and an account.
    pub of_nothing: u64,
}

/// Rows on their way. Reading slowly holds the store back; dropping this ends the question.
pub struct RuleRows<T> {
    store: Store,
    cursor: RowCursor<T>,
}

impl<T: RowOwned + RowRead> RuleRows<T> {
    /// The next rows, so many at most; none at the end.
    ///
    /// # Errors
    /// When the store does not go on.
    pub async fn next(&mut self, most: usize) -> Result<Vec<T>> {
        let Self { store, cursor } = self;
        let next = async {
            let mut rows = Vec::with_capacity(most);
            while rows.len() < most
                && let Some(row) =
                    cursor.next().await.map_err(|error| StoreError::query("read history for rules", error))?
            {
                rows.push(row);
            }
            Ok(rows)
        };
        store.while_it_responds("read history for rules", next).await
    }
}

impl Store {
    /// How many rows a history has.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn rule_rows_count(&self, history: &RuleHistory<'_>) -> Result<u64> {
        self.count_of_history("rule_rows", history).await
    }

    /// The rows of a history, by the log's time of their messages.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn rule_rows(&self, history: &RuleHistory<'_>) -> Result<RuleRows<RuleRow>> {
        self.rows_of_history("rule_rows", history).await
    }

    /// How many rows its rollups have.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn rule_buckets_count(&self, rollup: RuleRollup, history: &RuleHistory<'_>) -> Result<u64> {
        self.count_of_history(rollup.view(), history).await
    }

    /// Rollups of a history, oldest first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn rule_buckets(
        &self,
        rollup: RuleRollup,
        history: &RuleHistory<'_>,
    ) -> Result<RuleRows<RuleBucket>> {
        self.rows_of_history(rollup.view(), history).await
    }

    /// What the samples of its metrics were about; metrics without samples are left out.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn rule_subjects(&self, history: &RuleHistory<'_>) -> Result<Vec<RuleSubjects>> {
        let query = history.parameters(self.view("rule_subjects").await?);
        self.ask("look what the samples of metrics are about", query.fetch_all()).await
    }

    async fn count_of_history(&self, view: &'static str, history: &RuleHistory<'_>) -> Result<u64> {
        let text = format!("SELECT count() FROM ({})", self.view_text(view).await?);
        let query = history.parameters(self.bounded(self.client().query_raw(&text)));
        self.ask("count the history for rules", query.fetch_one()).await
    }

    async fn rows_of_history<T: RowOwned + RowRead>(
        &self,
        view: &'static str,
        history: &RuleHistory<'_>,
    ) -> Result<RuleRows<T>> {
        let memory_bytes = self.question_bounds().memory_bytes;
        let query = history
            .parameters(self.view_unchecked(view).await?)
            .with_setting("max_execution_time", HISTORY_SECONDS.to_string())
            .with_setting("max_bytes_before_external_sort", (memory_bytes / SORT_SHARE).to_string());
        let cursor = query.fetch().map_err(|error| StoreError::query("read history for rules", error))?;
        Ok(RuleRows { store: self.clone(), cursor })
    }
}

impl RuleHistory<'_> {
    fn parameters(&self, query: Query) -> Query {
        query
            .param("metrics", self.metrics)
            .param("accounts", self.accounts.parameter())
            .param("conversations", self.conversations)
            .param("with_metadata", u8::from(self.with_metadata))
            .param("from_ms", self.from_ms)
            .param("to_ms", self.to_ms)
    }
}
