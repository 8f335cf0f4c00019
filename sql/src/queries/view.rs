//! Asking a view by its own text.
//!
//! `SELECT … FROM view(parameter = …)` makes ClickHouse analyse the view's text twice, which for these views takes longer
//! than reading the rows. The text of a parameterised view is a query with the same parameters, so it is read once
//! from the database, where it stands as the migration put it, and sent as it is.

use std::collections::HashMap;

use clickhouse::Row;
use clickhouse::query::Query;
use serde::Deserialize;
use tokio::sync::OnceCell;

use crate::client::Store;
use crate::error::Result;
use crate::migrate::SchemaError;

/// View -> the SELECT it stands for.
pub(crate) type ViewTexts = OnceCell<HashMap<String, String>>;

impl Store {
    /// The question a view answers, its parameters still to be given.
    pub(super) async fn view(&self, name: &'static str) -> Result<Query> {
        Ok(self.bounded(self.client().query_raw(self.view_text(name).await?)))
    }

    /// The same, for rows that are read without the types the server tells: the library does not know every type, and
    /// checking takes as long as reading where rows hold histograms. Types follow from the view, which is ours.
    pub(super) async fn view_unchecked(&self, name: &'static str) -> Result<Query> {
        let client = self.client().clone().with_validation(false);
        Ok(self.bounded(client.query_raw(self.view_text(name).await?)))
    }

    /// The same within what one question may take.
    pub(super) fn bounded(&self, query: Query) -> Query {
        let bounds = self.question_bounds();
        query
            .with_setting("max_memory_usage", bounds.memory_bytes.to_string())
            .with_setting("max_execution_time", bounds.seconds.to_string())
    }

    pub(super) async fn view_text(&self, name: &'static str) -> Result<&str> {
        let texts = self.views.get_or_try_init(|| self.read_views(name)).await?;
        texts.get(name).map(String::as_str).ok_or_else(|| self.lacks(name))
    }

    /// Reads all views, of which there must be `name`: a database that is not migrated yet is asked again later.
    async fn read_views(&self, name: &'static str) -> Result<HashMap<String, String>> {
        let query = self
            .client()
            .query_raw("SELECT name, as_select FROM system.tables WHERE database = {database:String} AND engine = 'View'")
            .param("database", &self.config().database);
        let rows: Vec<ViewRow> = self.ask("read its views", query.fetch_all()).await?;
        let texts: HashMap<String, String> = rows.into_iter().map(|row| (row.name, row.as_select)).collect();
        if texts.contains_key(name) { Ok(texts) } else { Err(self.lacks(name)) }
    }

    fn lacks(&self, name: &'static str) -> crate::StoreError {
        SchemaError::View { database: self.config().database.clone(), name }.into()
    }
}

#[derive(Debug, Row, Deserialize)]
struct ViewRow {
    name: String,
    as_select: String,
}
