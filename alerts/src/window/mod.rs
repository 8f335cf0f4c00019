//! The rows of a window of event time, kept as a few panes: adding a row and asking for the window's value take the same
//! time however many rows there were.
//!
//! Time is cut into panes of one length, counted from the epoch. The window at a time is the pane of that time and those
//! before it, [`WindowShape::panes`] in all. So it moves by a pane, and is between one pane less and its whole length.

mod percentile;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::mutation::{Mutation, mutated};
use crate::rule::{Aggregation, WindowShape};

pub use percentile::Percentiles;

/// The rows of a window, of any aggregation but percentiles.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Window {
    /// Panes that have rows, oldest first.
    panes: VecDeque<Pane>,
    /// What all panes but the newest come to. Follows from the panes.
    #[serde(skip)]
    older: Option<Total>,
}

/// What is stored follows from the panes alone.
impl PartialEq for Window {
    fn eq(&self, other: &Self) -> bool {
        self.panes == other.panes
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Pane {
    index: i64,
    total: Total,
}

/// What rows come to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Total {
    /// How many.
    pub count: u64,
    /// Their sum, least, largest or newest, whichever the aggregation needs.
    pub value: f64,
    /// When the newest was, where that counts.
    newest_ms: i64,
}

impl Total {
    const NOTHING: Self = Self { count: 0, value: 0.0, newest_ms: i64::MIN };

    fn add(&mut self, aggregation: Aggregation, other: Self) {
        if other.count == 0 {
            return;
        }
        self.value = match aggregation {
            _ if self.count == 0 => other.value,
            Aggregation::Min => self.value.min(other.value),
            Aggregation::Max => self.value.max(other.value),
            Aggregation::Last if other.newest_ms < self.newest_ms => self.value,
            Aggregation::Last => other.value,
            _ => self.value + other.value,
        };
        self.count += other.count;
        self.newest_ms = self.newest_ms.max(other.newest_ms);
    }

    /// The value of an aggregation; `None` where rows are needed and there are none.
    #[must_use]
    pub fn value_of(&self, aggregation: Aggregation, seconds: f64) -> Option<f64> {
        match aggregation {
            Aggregation::Count => Some(self.count as f64),
            Aggregation::Sum => Some(if self.count == 0 { 0.0 } else { self.value }),
            Aggregation::Rate => Some(if self.count == 0 { 0.0 } else { self.value / seconds }),
            _ if self.count == 0 => None,
            Aggregation::Avg => Some(self.value / self.count as f64),
            _ => Some(self.value),
        }
    }
}

impl Window {
    /// Adds a row. What is no longer in any window of this and later times must be dropped by [`expire`](Self::expire) first.
    pub fn add(&mut self, shape: &WindowShape, at_ms: i64, value: f64) {
        let index = at_ms.div_euclid(shape.pane_ms);
        let row = Total {
            count: 1,
            value,
            newest_ms: if shape.aggregation == Aggregation::Last { at_ms } else { 0 },
        };
        match self.panes.back_mut() {
            Some(newest) if newest.index == index => newest.total.add(shape.aggregation, row),
            Some(newest) if newest.index > index => {
                self.older = None;
                match self.panes.binary_search_by_key(&index, |pane| pane.index) {
                    Ok(place) => self.panes[place].total.add(shape.aggregation, row),
                    Err(place) => self.panes.insert(place, Pane { index, total: row }),
                }
            }
            _ => {
                self.older = None;
                self.panes.push_back(Pane { index, total: row });
            }
        }
    }

    /// Drops the panes that are out of the window at a time, and keeps `more` panes before it.
    pub fn expire(&mut self, shape: &WindowShape, at_ms: i64, more: i64) {
        let first = first_pane(shape, at_ms) - more;
        while self.panes.front().is_some_and(|oldest| oldest.index < first) {
            self.panes.pop_front();
            self.older = None;
        }
    }

    /// What the panes that are kept come to: those of the window, when it was expired at its time and nothing later was added.
    pub fn total(&mut self, aggregation: Aggregation) -> Total {
        let Some(newest) = self.panes.back() else { return Total::NOTHING };
        let mut total = *self.older.get_or_insert_with(|| {
            self.panes.iter().take(self.panes.len() - 1).fold(Total::NOTHING, |mut total, pane| {
                total.add(aggregation, pane.total);
                total
            })
        });
        total.add(aggregation, newest.total);
        total
    }

    /// What the window that ended `older` panes before the one of a time comes to.
    #[must_use]
    pub fn total_of(&self, shape: &WindowShape, at_ms: i64, older: i64) -> Total {
        let last = at_ms.div_euclid(shape.pane_ms) - older;
        let first = last - shape.panes + 1;
        self.panes.iter().filter(|pane| (first..=last).contains(&pane.index)).fold(
            Total::NOTHING,
            |mut total, pane| {
                total.add(shape.aggregation, pane.total);
                total
            },
        )
    }

    /// When the oldest pane leaves the window.
    #[must_use]
    pub fn next_expiry_ms(&self, shape: &WindowShape) -> Option<i64> {
        self.panes.front().map(|oldest| (oldest.index + shape.panes) * shape.pane_ms)
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.panes.is_empty()
    }
}

/// The oldest pane of the window at a time.
fn first_pane(shape: &WindowShape, at_ms: i64) -> i64 {
    let longer = i64::from(mutated(Mutation::WindowLength));
    at_ms.div_euclid(shape.pane_ms) - shape.panes + 1 - longer
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: WindowShape =
        WindowShape { aggregation: Aggregation::Avg, pane_ms: 10, panes: 3, settled: false };

    fn value(aggregation: Aggregation, rows: &[(i64, f64)], at_ms: i64) -> Option<f64> {
        let shape = WindowShape { aggregation, ..SHAPE };
        let mut window = Window::default();
        for (row_ms, value) in rows {
            window.add(&shape, *row_ms, *value);
        }
        window.expire(&shape, at_ms, 0);
        assert_eq!(window.total(aggregation), window.total_of(&shape, at_ms, 0), "kept and asked for");
        window.total(aggregation).value_of(aggregation, 0.03)
    }

    #[test]
    fn each_aggregation() {
        let rows = [(0, 9.0), (15, 4.0), (12, 1.0), (31, 7.0), (31, 6.0)];
        for (aggregation, expected) in [
            (Aggregation::Avg, 4.5),
            (Aggregation::Min, 1.0),
            (Aggregation::Max, 7.0),
            (Aggregation::Sum, 18.0),
            (Aggregation::Count, 4.0),
            (Aggregation::Last, 6.0),
            (Aggregation::Rate, 600.0),
        ] {
            assert_eq!(value(aggregation, &rows, 35), Some(expected), "{aggregation:?}");
        }
    }

    #[test]
    fn an_empty_window_has_no_mean_and_a_sum_of_nothing() {
        assert_eq!(value(Aggregation::Avg, &[(0, 1.0)], 30), None);
        assert_eq!(value(Aggregation::Last, &[(0, 1.0)], 30), None);
        assert_eq!(value(Aggregation::Sum, &[(0, 1.0)], 30), Some(0.0));
        assert_eq!(value(Aggregation::Count, &[(0, 1.0)], 29), Some(1.0));
    }

    #[test]
    fn a_late_row_is_in_its_own_pane() {
        let mut window = Window::default();
        for row_ms in [25, 5, 15, 5] {
            window.add(&SHAPE, row_ms, 1.0);
        }
        assert_eq!(window.total(Aggregation::Sum).count, 4);
        assert_eq!(window.next_expiry_ms(&SHAPE), Some(30));
        window.expire(&SHAPE, 30, 0);
        assert_eq!(window.total(Aggregation::Sum).count, 2);
        assert_eq!(window.total_of(&SHAPE, 30, 1).count, 2);
    }
}
