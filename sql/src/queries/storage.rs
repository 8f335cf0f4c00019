//! What the store holds and by how much it grows: rows, bytes, refused messages, and how new its newest rows are.

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

/// What a day adds to one table, on the disk of the server asked.
#[derive(Debug, Clone, PartialEq, Row, Deserialize)]
pub struct TableGrowth {
    /// Its name.
    pub table: String,
    /// Whole days the figures are the mean of; fewer than asked for while the table is younger.
    pub days: u32,
    /// Rows a day; `None` while there is no whole day.
    pub rows_a_day: Option<f64>,
    /// Bytes a day as they lie on the disk now, projections and indices included; `None` as above.
    pub bytes_a_day: Option<f64>,
}

const DAY_MS: i64 = 86_400_000;

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

    /// What each table grew by a day, over at most `days` whole days (UTC) before the day of `now_ms`. By when rows
    /// happened, not when they came: what is late counts for its own day. A table without a row is left out. Times its
    /// retention in days, this is what a table comes to take.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn storage_growth(&self, now_ms: i64, days: u32) -> Result<Vec<TableGrowth>> {
        let until_ms = now_ms.div_euclid(DAY_MS) * DAY_MS;
        let from_ms = until_ms - i64::from(days) * DAY_MS;
        let query = self.view("storage_growth").await?.param("from_ms", from_ms).param("until_ms", until_ms);
        self.ask("measure the growth of its tables", query.fetch_all()).await
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
