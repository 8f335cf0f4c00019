//! Which metrics there are at all.

use std::collections::HashSet;

use clickhouse::Row;
use serde::Deserialize;

use super::accounts::AccountFilter;
use crate::client::Store;
use crate::error::Result;

impl Store {
    /// Those of the metrics of which these accounts have samples at all in what is kept.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn metrics_seen(
        &self,
        metrics: &[&str],
        accounts: AccountFilter<'_>,
    ) -> Result<HashSet<String>> {
        if metrics.is_empty() {
            return Ok(HashSet::new());
        }
        let query = self
            .view("metrics_seen")
            .await?
            .param("metrics", metrics)
            .param("accounts", accounts.parameter());
        let rows: Vec<SeenRow> = self.ask("look for metrics", query.fetch_all()).await?;
        Ok(rows.into_iter().map(|row| row.metric).collect())
    }
}

#[derive(Debug, Row, Deserialize)]
struct SeenRow {
    metric: String,
}
