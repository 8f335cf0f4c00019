//! The figures of `GET …/monitoring/metrics`, each with its definition: what is counted, over which window.
//! All times are UTC.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The definition of one figure. The list lies in `catalogue.toml`; queries follow it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CatalogueFigure)]
pub struct OverviewFigure {
    /// Its field in the answer.
    pub field: String,
    /// The metric it is computed from; `None` counts conversations of every metric and event.
    pub metric: Option<String>,
    /// What is computed.
    pub statistic: Statistic,
    /// Over which rows.
    pub window: Window,
    /// Unit of the figure, "" for a bare number.
    pub unit: String,
    /// Its meaning, for people.
    pub meaning: String,
}

/// What is computed of the rows in the window. Without a row it is null: nothing recorded is not zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = CatalogueStatistic)]
pub enum Statistic {
    /// Sum of the values.
    Sum,
    /// Mean of the values.
    Mean,
    /// The value of the latest row.
    Last,
    /// Number of different conversations.
    DistinctConversations,
}

/// The rows that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = CatalogueWindow)]
pub enum Window {
    /// Since 00:00 UTC.
    Today,
    /// The last so many seconds.
    Seconds(u32),
}
