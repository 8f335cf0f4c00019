//! Counting on the way: what did not fit into a caller's budget, and what was recorded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use kelly_api::RowKind;
use kelly_api::rates::{Budget, CountUse, Use, Verdict};

use super::catalogue::{LIMITS_REFUSED, RECORDED_BYTES, RECORDED_ROWS};
use super::exposition::Gathered;

/// Passes uses on, and counts those that did not fit.
pub struct RefusedUses {
    counts: Arc<dyn CountUse>,
    refused: [AtomicU64; Budget::ALL.len()],
}

impl RefusedUses {
    /// Of what this counts.
    pub fn of(counts: Arc<dyn CountUse>) -> Self {
        Self { counts, refused: Default::default() }
    }

    /// Adds what was counted.
    pub fn gather(&self, into: &mut Gathered) {
        for (budget, refused) in Budget::ALL.into_iter().zip(&self.refused) {
            into.count(&LIMITS_REFUSED, [budget.name().into()], refused.load(Ordering::Relaxed));
        }
    }
}

#[async_trait]
impl CountUse for RefusedUses {
    async fn take(&self, wanted: Use<'_>) -> Verdict {
        let verdict = self.counts.take(wanted).await;
        if !verdict.fits {
            self.refused[wanted.budget as usize].fetch_add(1, Ordering::Relaxed);
        }
        verdict
    }
}

/// What was recorded over HTTP.
#[derive(Debug, Default)]
pub struct Recorded {
    metrics: Amount,
    activity: Amount,
}

#[derive(Debug, Default)]
struct Amount {
    rows: AtomicU64,
    bytes: AtomicU64,
}

impl Recorded {
    /// So many rows of a body of so many bytes are durable.
    pub fn note(&self, kind: RowKind, rows: u64, bytes: usize) {
        let amount = match kind {
            RowKind::Metrics => &self.metrics,
            RowKind::Activity => &self.activity,
        };
        amount.rows.fetch_add(rows, Ordering::Relaxed);
        amount.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Adds what was counted.
    pub fn gather(&self, into: &mut Gathered) {
        for (kind, amount) in [("metrics", &self.metrics), ("activity", &self.activity)] {
            into.count(&RECORDED_ROWS, [kind.into()], amount.rows.load(Ordering::Relaxed));
            into.count(&RECORDED_BYTES, [kind.into()], amount.bytes.load(Ordering::Relaxed));
        }
    }
}
