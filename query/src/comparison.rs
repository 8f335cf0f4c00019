//! A window against the one before it: which windows, what is still kept of the earlier, and what changed. Pure.
//!
//! Compared are equal lengths: the part of the answer's window that is over, and that part moved back by whole steps, so that
//! the points of the one lie on those of the other.

use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use kelly_sql::queries::{Compared, Counted, Series};
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::QueryError;
use crate::percentiles::Percentiles;
use crate::plan::{self, Plan};
pub use crate::retention::Kept;
use crate::retention::{Retention, readable};
use crate::window::Window;

/// What a window is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compare {
    /// As much time directly before it.
    Previous,
}

impl FromStr for Compare {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "previous" => Ok(Self::Previous),
            _ => Err(QueryError::bad("compare", "is not previous, which is what there is to compare with")),
        }
    }
}

/// The period before, and what changed since.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Comparison {
    /// What is compared with what.
    #[serde(flatten)]
    pub windows: ComparedWindows,
    /// What changed.
    #[serde(flatten)]
    pub change: Change,
    /// Percentiles of the samples of `previous_window`; null where the tier has none, or not all of it is kept.
    pub previous_percentiles: Percentiles,
    /// The series of `previous_window`, oldest first, to lay under that of the answer. Of a window that is partly kept, what is.
    pub previous_series: Vec<PreviousPoint>,
}

/// Two windows of one length.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ComparedWindows {
    /// The part of the answer's window that is compared: its whole units that are over. Empty when none is.
    pub current_window: Window,
    /// What it is compared with: as long, and earlier by whole steps of the series.
    pub previous_window: Window,
    /// How much of `previous_window` the store still keeps.
    pub previous_kept: Kept,
    /// Why there are no figures of the previous window, for people; null when there is no such reason.
    pub note: Option<String>,
}

/// Two values and their difference. Nothing is said of a window that has no samples or is not wholly kept.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, ToSchema)]
pub struct Change {
    /// The metric's aggregate over the current window.
    pub current: Option<f64>,
    /// Samples in the current window.
    pub current_samples: u64,
    /// The same aggregate over the previous window.
    pub previous: Option<f64>,
    /// Samples in the previous window.
    pub previous_samples: u64,
    /// current - previous.
    pub absolute_change: Option<f64>,
    /// The change in percent of the previous value's size; null when that value is 0.
    pub percentage_change: Option<f64>,
}

/// One interval of the period before.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct PreviousPoint {
    /// Where it lies over the answer's own series: its own start, moved forward by the distance of the windows.
    pub timestamp: DateTime<Utc>,
    /// Its own start.
    pub previous_timestamp: DateTime<Utc>,
    /// Whether part of the interval lies outside the window.
    pub partial: bool,
    /// The samples under the metric's own aggregate.
    pub value: f64,
    /// Samples.
    pub count: u64,
}

impl ComparedWindows {
    /// The windows of a plan asked at `now`.
    pub(crate) fn of(plan: &Plan, retention: &Retention, now: DateTime<Utc>) -> Self {
        let current_window = plan.compared;
        let length_ms = (current_window.to - current_window.from).num_milliseconds();
        let step_ms = i64::from(plan.step_seconds) * 1_000;
        let distance = TimeDelta::milliseconds((length_ms + step_ms - 1).div_euclid(step_ms) * step_ms);
        // Never before 1970, where the store's times begin; nothing is kept there anyway.
        let back = |instant: DateTime<Utc>| (instant - distance).max(DateTime::UNIX_EPOCH);
        let previous_window = Window { from: back(current_window.from), to: back(current_window.to) };
        let kept_from = retention.kept_from(plan.tier, now);
        let previous_kept = Kept::of(previous_window.from, previous_window.to, kept_from);
        let note = if length_ms == 0 {
            Some("Nothing of the window is over yet, so there is nothing to compare.".to_owned())
        } else {
            note(previous_kept, &retention.describe(plan.tier, now), kept_from)
        };
        Self { current_window, previous_window, previous_kept, note }
    }

    /// Whether the two can be compared.
    pub(crate) fn are_comparable(&self) -> bool {
        self.previous_kept == Kept::Whole && self.current_window.from < self.current_window.to
    }

    /// Whether there is anything to read of the previous window.
    pub(crate) fn has_previous(&self) -> bool {
        self.previous_kept != Kept::None && self.previous_window.from < self.previous_window.to
    }

    fn distance(&self) -> TimeDelta {
        self.current_window.from - self.previous_window.from
    }
}

fn note(kept: Kept, kept_for: &str, kept_from: DateTime<Utc>) -> Option<String> {
    let since = readable(kept_from);
    match kept {
        Kept::Whole => None,
        Kept::Partly => Some(format!(
            "Of the previous window only what is later than {since} is still there for certain ({kept_for}): too little to compare with."
        )),
        Kept::None => Some(format!(
            "Nothing of the previous window, which ends before {since}, is still there for certain ({kept_for})."
        )),
    }
}

impl Comparison {
    /// What the store found of the two windows; `previous` is the series of the previous one.
    pub(crate) fn of(windows: ComparedWindows, plan: &Plan, current: &Series, previous: &Series) -> Self {
        let found = previous.window.filter(|_| windows.are_comparable());
        let counted = |window: Compared| Counted { count: window.count, value: window.value };
        let change = Change::of(
            current.compared.map(counted),
            found.map(|window| Counted { count: window.count, value: window.value }),
        );
        // Its own window, for what is cut at its ends.
        let before = Plan { window: windows.previous_window, ..*plan };
        let points = previous.points.iter().filter_map(|found| {
            let previous_timestamp = DateTime::from_timestamp_millis(found.start_ms)?;
            Some(PreviousPoint {
                timestamp: previous_timestamp + windows.distance(),
                previous_timestamp,
                partial: plan::is_partial(found.start_ms, &before, windows.previous_window.to),
                value: found.value,
                count: found.count,
            })
        });
        Self {
            previous_series: points.collect(),
            previous_percentiles: Percentiles::of(found.and_then(|window| window.percentiles)),
            change,
            windows,
        }
    }
}

impl Change {
    /// From one to the other.
    pub(crate) fn of(current: Option<Counted>, previous: Option<Counted>) -> Self {
        let difference = current.zip(previous).map(|(current, previous)| current.value - previous.value);
        Self {
            current: current.map(|counted| counted.value),
            current_samples: current.map_or(0, |counted| counted.count),
            previous: previous.map(|counted| counted.value),
            previous_samples: previous.map_or(0, |counted| counted.count),
            absolute_change: difference,
            percentage_change: difference
                .zip(previous)
                .filter(|(_, previous)| previous.value != 0.0)
                .map(|(difference, previous)| difference / previous.value.abs() * 100.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::{Asked, Scope, plan};
    use crate::range::RangeRequest;
    use crate::timeframe::Timeframe;

    fn kept() -> Retention {
        Retention::of(72, 90)
    }

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    fn windows(range: RangeRequest, scope: Scope, now: DateTime<Utc>) -> ComparedWindows {
        let asked = Asked { range, scope, step_seconds: None };
        ComparedWindows::of(&plan(&asked, &kept(), now).unwrap(), &kept(), now)
    }

    #[test]
    fn what_is_no_longer_kept_is_said() {
        let now = at("2026-03-10T12:34:56Z");
        let days = |days| RangeRequest::Between { from: now - TimeDelta::days(days), to: None };
        let old = |from, to| RangeRequest::Between {
            from: now - TimeDelta::days(from),
            to: Some(now - TimeDelta::days(to)),
        };
        let cases = [
            (RangeRequest::Last(Timeframe::ThirtyDays), Scope::Everything, Kept::Whole),
            (RangeRequest::Last(Timeframe::OneDay), Scope::Account, Kept::Whole),
            (days(46), Scope::Everything, Kept::Partly),
            (days(2), Scope::Conversation, Kept::Partly),
            (old(89, 87), Scope::Everything, Kept::Partly),
            (days(90), Scope::Everything, Kept::None),
        ];
        for (range, scope, kept) in cases {
            let windows = windows(range, scope, now);
            assert_eq!(windows.previous_kept, kept, "{range:?} {scope:?}");
            assert_eq!(windows.note.is_none(), kept == Kept::Whole, "{range:?} {scope:?}");
            assert_eq!(windows.are_comparable(), kept == Kept::Whole);
        }
        insta::assert_snapshot!(
            [days(46), days(90)].map(|range| windows(range, Scope::Everything, now).note.unwrap()).join("\n")
        );
    }

    #[test]
    fn of_what_has_only_begun_there_is_nothing_to_compare() {
        let now = at("2026-03-10T12:34:56Z");
        let range = RangeRequest::Between { from: at("2026-03-10T12:34:50Z"), to: None };
        let windows = windows(range, Scope::Everything, now);
        assert!(!windows.are_comparable() && !windows.has_previous());
        assert!(windows.note.unwrap().contains("over yet"));
    }

    #[test]
    fn a_change_needs_both_sides_and_a_percentage_something_to_be_of() {
        let counted = |value| Some(Counted { count: 7, value });
        let cases = [
            (counted(3.0), counted(2.0), Some(1.0), Some(50.0)),
            (counted(-3.0), counted(-2.0), Some(-1.0), Some(-50.0)),
            (counted(3.0), counted(0.0), Some(3.0), None),
            (counted(3.0), None, None, None),
            (None, counted(2.0), None, None),
        ];
        for (current, previous, absolute, percentage) in cases {
            let change = Change::of(current, previous);
            assert_eq!((change.absolute_change, change.percentage_change), (absolute, percentage));
            assert_eq!(change.previous_samples, previous.map_or(0, |_| 7));
        }
    }

    proptest! {
        #[test]
        fn windows_are_as_long_and_their_points_lie_on_one_another(
            now_ms in 1_600_000_000_000_i64..4_000_000_000_000,
            age_ms in 0_i64..90 * 86_400_000,
            length_ms in 1_i64..90 * 86_400_000,
            scope in prop::sample::select(vec![Scope::Everything, Scope::Account, Scope::Conversation]),
        ) {
            let now = DateTime::from_timestamp_millis(now_ms).unwrap();
            let from = now - TimeDelta::milliseconds(age_ms);
            let range = RangeRequest::Between { from, to: Some(from + TimeDelta::milliseconds(length_ms)) };
            let plan = plan(&Asked { range, scope, step_seconds: None }, &kept(), now).unwrap();
            let windows = ComparedWindows::of(&plan, &kept(), now);
            let (current, previous) = (windows.current_window, windows.previous_window);
            prop_assert_eq!(current.to - current.from, previous.to - previous.from);
            prop_assert!(previous.to <= current.from);
            let distance = (current.from - previous.from).num_milliseconds();
            let step_ms = i64::from(plan.step_seconds) * 1_000;
            prop_assert_eq!(distance % step_ms, 0);
            prop_assert!(distance < (current.to - current.from).num_milliseconds() + step_ms);
        }
    }
}
