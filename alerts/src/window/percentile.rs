//! Percentiles of a window, within a per cent: a histogram a pane, with the buckets of the rollups.

use std::collections::VecDeque;

use kelly_schemas::histogram;
use serde::{Deserialize, Serialize};

use super::first_pane;
use crate::rule::WindowShape;

/// Buckets of one window at most. Values that differ more than these can tell are counted in buckets twice as wide, as often
/// as it takes: their percentiles are then within two, four, … per cent.
pub const MOST_BUCKETS: usize = 512;

/// The rows of a window, for percentiles.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Percentiles {
    panes: VecDeque<Pane>,
    /// All panes together.
    all: Vec<Bucket>,
    count: u64,
    /// How often buckets were made twice as wide.
    wider: u8,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Pane {
    index: i64,
    buckets: Vec<Bucket>,
}

/// A bucket's key and how many values it has.
type Bucket = (i16, u32);

impl Percentiles {
    /// Adds a row.
    pub fn add(&mut self, shape: &WindowShape, at_ms: i64, value: f64) {
        let index = at_ms.div_euclid(shape.pane_ms);
        let key = histogram::bucket(value) >> self.wider;
        let place = match self.panes.binary_search_by_key(&index, |pane| pane.index) {
            Ok(place) => place,
            Err(place) => {
                self.panes.insert(place, Pane { index, buckets: Vec::new() });
                place
            }
        };
        count(&mut self.panes[place].buckets, (key, 1));
        count(&mut self.all, (key, 1));
        self.count += 1;
        while self.all.len() > MOST_BUCKETS {
            self.wider += 1;
            widen(&mut self.all);
            self.panes.iter_mut().for_each(|pane| widen(&mut pane.buckets));
        }
    }

    /// Drops the panes that are out of the window at a time.
    pub fn expire(&mut self, shape: &WindowShape, at_ms: i64) {
        let first = first_pane(shape, at_ms);
        while self.panes.front().is_some_and(|oldest| oldest.index < first) {
            let Some(pane) = self.panes.pop_front() else { break };
            for (key, gone) in pane.buckets {
                if let Ok(place) = self.all.binary_search_by_key(&key, |bucket| bucket.0) {
                    self.all[place].1 = self.all[place].1.saturating_sub(gone);
                    self.count = self.count.saturating_sub(u64::from(gone));
                }
            }
            self.all.retain(|bucket| bucket.1 > 0);
        }
        if self.panes.is_empty() {
            self.wider = 0;
        }
    }

    /// How many rows there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The value that a part of all values do not exceed; `None` without rows.
    #[must_use]
    pub fn value(&self, part: f64) -> Option<f64> {
        let rank = ((self.count as f64 * part).ceil() as u64).clamp(1, self.count.max(1));
        // From above: large percentiles are near the end.
        let mut above = 0;
        let (key, _) = self.all.iter().rev().find(|bucket| {
            above += u64::from(bucket.1);
            self.count.saturating_sub(above) < rank
        })?;
        let middle = (i32::from(*key) << self.wider) + ((1 << self.wider) - 1) / 2;
        Some(histogram::value(i16::try_from(middle).unwrap_or(i16::MAX)))
    }

    /// When the oldest pane leaves the window.
    #[must_use]
    pub fn next_expiry_ms(&self, shape: &WindowShape) -> Option<i64> {
        self.panes.front().map(|oldest| (oldest.index + shape.panes) * shape.pane_ms)
    }
}

fn count(buckets: &mut Vec<Bucket>, (key, more): Bucket) {
    match buckets.binary_search_by_key(&key, |bucket| bucket.0) {
        Ok(place) => buckets[place].1 = buckets[place].1.saturating_add(more),
        Err(place) => buckets.insert(place, (key, more)),
    }
}

fn widen(buckets: &mut Vec<Bucket>) {
    let mut wide: Vec<Bucket> = Vec::with_capacity(buckets.len() / 2 + 1);
    for &(key, more) in &*buckets {
        match wide.last_mut() {
            Some(last) if last.0 == key >> 1 => last.1 = last.1.saturating_add(more),
            _ => wide.push((key >> 1, more)),
        }
    }
    *buckets = wide;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::Aggregation;

    const SHAPE: WindowShape =
        WindowShape { aggregation: Aggregation::P95, pane_ms: 10, panes: 10, settled: false };

    fn is_near(found: Option<f64>, exact: f64, part: f64) {
        let found = found.expect("there are rows");
        assert!((found - exact).abs() <= exact.abs() * part, "{found} is not within {part} of {exact}");
    }

    #[test]
    fn percentiles_are_within_a_per_cent() {
        let mut window = Percentiles::default();
        for value in 1..=100 {
            window.add(&SHAPE, i64::from(value), f64::from(value));
        }
        is_near(window.value(0.5), 50.0, 0.0101);
        is_near(window.value(0.95), 95.0, 0.0101);
        is_near(window.value(0.99), 99.0, 0.0101);
    }

    #[test]
    fn what_left_the_window_no_longer_counts() {
        let mut window = Percentiles::default();
        window.add(&SHAPE, 5, 1000.0);
        window.add(&SHAPE, 105, 1.0);
        window.expire(&SHAPE, 105);
        assert_eq!(window.count(), 1);
        is_near(window.value(0.99), 1.0, 0.0101);
        window.expire(&SHAPE, 1_000);
        assert_eq!((window.count(), window.value(0.5), window.next_expiry_ms(&SHAPE)), (0, None, None));
    }

    #[test]
    fn many_different_values_make_wider_buckets_and_no_more_of_them() {
        let mut window = Percentiles::default();
        let values: Vec<f64> = (-1_500..1_500)
            .map(|power: i32| 1.05_f64.powi(power.abs()) * f64::from(power.signum()))
            .collect();
        for value in &values {
            window.add(&SHAPE, 0, *value);
        }
        assert!(window.all.len() <= MOST_BUCKETS && window.wider > 0);
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        is_near(window.value(0.95), sorted[(sorted.len() as f64 * 0.95) as usize - 1], 0.2);
        is_near(window.value(0.05), sorted[(sorted.len() as f64 * 0.05) as usize - 1], 0.2);
        window.expire(&SHAPE, 1_000);
        assert_eq!(window, Percentiles::default(), "nothing is left of them");
    }
}
