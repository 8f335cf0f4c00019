//! What Kelly knows about one metric.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = CatalogueKind)]
pub enum Kind {
    /// A level that goes up and down; each row is a reading.
    Gauge,
    /// Things that happened; each row is how many more.
    Counter,
}

impl Kind {
    /// As it is written in `metric_type`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
        }
    }
}

/// How the rows of a step of time become one point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = CatalogueAggregate)]
pub enum Aggregate {
    /// Mean of the values.
    Mean,
    /// Sum of the values.
    Sum,
    /// The latest value.
    Last,
    /// The largest value.
    Max,
}

/// The direction in which a metric gets worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = CatalogueBad)]
pub enum Bad {
    /// More is worse.
    Up,
    /// Less is worse.
    Down,
    /// Neither is.
    Neither,
}

/// What Kelly knows about one metric.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CatalogueMetric)]
pub struct Definition {
    /// Name.
    pub name: String,
    /// Unit of the values, "" for a bare number.
    pub unit: String,
    /// How it behaves.
    pub kind: Kind,
    /// How rows become a point.
    pub aggregate: Aggregate,
    /// Which direction is worse.
    pub bad: Bad,
    /// From here on it is worth a look, in the direction of [`bad`](Self::bad).
    #[serde(default)]
    pub warning: Option<f64>,
    /// From here on it needs somebody.
    #[serde(default)]
    pub critical: Option<f64>,
    /// What it measures, for people.
    pub description: String,
}

impl Definition {
    /// Whether a value has reached a threshold in the bad direction; never where neither direction is bad.
    #[must_use]
    pub fn reaches(&self, threshold: f64, value: f64) -> bool {
        match self.bad {
            Bad::Up => value >= threshold,
            Bad::Down => value <= threshold,
            Bad::Neither => false,
        }
    }
}
