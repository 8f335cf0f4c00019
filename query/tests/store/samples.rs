//! Samples, and what they come to without any store: the oracle.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use kelly_query::detailed::{Percentiles, Window};
use kelly_schemas::histogram;
use serde_json::{Value, json};

/// One metric row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    pub(crate) metric: &'static str,
    pub(crate) account: &'static str,
    pub(crate) conversation: &'static str,
    pub(crate) at: DateTime<Utc>,
    pub(crate) value: f64,
}

/// Numbers that look random and are the same in every run.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    /// Evenly between 0 and 1.
    pub(crate) fn even(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Mostly around one, a few far above, some zero and some negative: what histograms find hard.
    pub(crate) fn skewed(&mut self) -> f64 {
        match self.even() {
            pick if pick < 0.05 => 0.0,
            pick if pick < 0.15 => -self.even() * 40.0,
            _ => (self.even() * 12.0 - 4.0).exp(),
        }
    }
}

pub(crate) fn within<'a>(samples: &'a [Sample], window: &Window) -> Vec<&'a Sample> {
    samples.iter().filter(|sample| sample.at >= window.from && sample.at < window.to).collect()
}

pub(crate) fn mean(samples: &[&Sample]) -> f64 {
    sum(samples) / samples.len() as f64
}

pub(crate) fn sum(samples: &[&Sample]) -> f64 {
    samples.iter().map(|sample| sample.value).sum()
}

/// The value at rank ceil(q * n).
pub(crate) fn percentile(samples: &[&Sample], q: f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(|sample| sample.value).collect();
    values.sort_by(f64::total_cmp);
    values[(q * values.len() as f64).ceil() as usize - 1]
}

/// Asserts that every percentile is within the relative bound of the exact one.
pub(crate) fn assert_percentiles(found: &Percentiles, samples: &[&Sample], bound: f64, what: &str) {
    for (q, found) in [(0.5, found.p50), (0.95, found.p95), (0.99, found.p99)] {
        let found = found.unwrap_or_else(|| panic!("{what}: no percentile {q}"));
        let exact = percentile(samples, q);
        let error = (found - exact).abs();
        assert!(error <= exact.abs() * bound + 1e-12, "{what}: percentile {q} is {found}, exactly {exact}");
    }
}

pub(crate) fn assert_close(found: f64, exact: f64, what: &str) {
    assert!((found - exact).abs() <= exact.abs() * 1e-9 + 1e-12, "{what} is {found}, should be {exact}");
}

/// The rows of a rollup: samples grouped by a key and the unit of time they fall in.
pub(crate) fn rolled_up<K: Ord>(
    samples: &[Sample],
    unit_seconds: i64,
    key: impl Fn(&Sample) -> K,
) -> BTreeMap<(K, i64), Vec<&Sample>> {
    let mut groups: BTreeMap<(K, i64), Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        let start = sample.at.timestamp().div_euclid(unit_seconds) * unit_seconds;
        groups.entry((key(sample), start)).or_default().push(sample);
    }
    groups
}

/// The columns every rollup state has.
pub(crate) fn state(samples: &[&Sample]) -> Value {
    let newest = samples
        .iter()
        .map(|sample| (sample.at, sample.value))
        .max_by(|one, other| one.0.cmp(&other.0).then(one.1.total_cmp(&other.1)));
    let (at, value) = newest.unwrap();
    json!({
        "count": samples.len(),
        "sum": sum(samples),
        "min": samples.iter().map(|sample| sample.value).fold(f64::INFINITY, f64::min),
        "max": samples.iter().map(|sample| sample.value).fold(f64::NEG_INFINITY, f64::max),
        "last": { "at": milliseconds(at), "value": value },
    })
}

/// The same of no samples, as the days of accounts have it.
pub(crate) fn no_state() -> Value {
    json!({
        "count": 0, "sum": 0, "min": "inf", "max": "-inf",
        "last": { "at": "1970-01-01 00:00:00.000", "value": "-inf" },
    })
}

/// Bucket -> samples.
pub(crate) fn buckets(samples: &[&Sample]) -> BTreeMap<i16, u64> {
    let mut buckets = BTreeMap::new();
    for sample in samples {
        *buckets.entry(histogram::bucket(sample.value)).or_default() += 1;
    }
    buckets
}

/// An instant as ClickHouse reads a `DateTime64(3)` from JSON.
pub(crate) fn milliseconds(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S%.3f").to_string()
}
