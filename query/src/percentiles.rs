//! The percentiles of an answer.

use serde::Serialize;
use utoipa::ToSchema;

/// Percentiles of all samples of a window.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, ToSchema)]
pub struct Percentiles {
    /// Median.
    pub p50: Option<f64>,
    /// 95th percentile.
    pub p95: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
}

impl Percentiles {
    pub(crate) fn of(found: Option<[f64; 3]>) -> Self {
        found.map_or_else(Self::default, |[p50, p95, p99]| Self {
            p50: Some(p50),
            p95: Some(p95),
            p99: Some(p99),
        })
    }
}
