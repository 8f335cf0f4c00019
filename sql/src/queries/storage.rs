//! What the store holds: rows, bytes, refused messages, and how new its newest rows are.

use clickhouse::Row;
use serde::Deserialize;

use crate::client::Store;
use crate::error::Result;

/// One table on the disk of the server asked.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
pub struct TableStorage {
    /// Its name.
    pub table: String,
    /// Its rows.
    pub rows: u64,
    /// Its bytes, projections and indices included.
    pub bytes_on_disk: u64,
    /// Its active parts.
    pub parts: u64,
}

/// Messages that were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Row, Deserialize)]
pub struct DeadLetterCounts {
    /// All that are kept.
    pub total: u64,
    /// Those since the instant asked for.
    pub recent: u64,
    /// When the newest came, in milliseconds since 1970.
    pub newest: Option<i64>,
}

/// When the newest rows happened, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Row, Deserialize)]
pub struct NewestRows {
    /// The newest metric.
    pub metric: Option<i64>,
    /// The newest event.
    pub event: Option<i64>,
}

impl Store {
    /// What each table holds; one without a row is left out.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn storage(&self) -> Result<Vec<TableStorage>> {
        let query = self.view("storage").await?;
        self.ask("measure its tables", query.fetch_all()).await
    }

    /// How many messages were refused, in all and since `since_ms`.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn dead_letter_counts(&self, since_ms: i64) -> Result<DeadLetterCounts> {
        let query = self.view("dead_letter_counts").await?.param("since_ms", since_ms);
        self.ask("count dead letters", query.fetch_one()).await
    }

    /// When the newest metric and event since `since_ms` happened.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn newest_rows(&self, since_ms: i64) -> Result<NewestRows> {
        let query = self.view("newest_rows").await?.param("since_ms", since_ms);
        self.ask("look for its newest rows", query.fetch_one()).await
    }
}
