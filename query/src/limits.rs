//! What one question may ask for at most. At a bound the question is refused before the store is asked, with the
//! nearest question that is allowed.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use crate::timeframe::Timeframe;
use crate::window::Window;

/// Groups of one answer.
pub const MAX_TOP: u32 = 100;
/// Points of one group's series, not counting the cut ones at its ends; beyond, steps become longer.
pub(crate) const MAX_GROUP_POINTS: i64 = 60;
/// Points of a series whose step was asked for: a day of minutes.
pub const MAX_ASKED_POINTS: i64 = 1_440;
/// Metrics of one question.
pub const MAX_METRICS: usize = 12;

/// A question that asks for more than one answer holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{parameter}` asks for {asked} {unit}, at most {allowed} are answered at once; {alternative}")]
pub struct TooLarge {
    /// The parameter that asks for too much.
    pub parameter: &'static str,
    /// What is counted.
    pub unit: &'static str,
    /// How many were asked for.
    pub asked: u64,
    /// How many are allowed.
    pub allowed: u64,
    /// The nearest question that is allowed, as an order to the asker.
    pub alternative: String,
}

impl TooLarge {
    pub(crate) fn of_top(asked: u32) -> Self {
        Self {
            parameter: "top",
            unit: "groups",
            asked: asked.into(),
            allowed: MAX_TOP.into(),
            alternative: format!("ask with top={MAX_TOP}: `remainder` sums up the others"),
        }
    }

    /// `allowed_step` is the shortest that does not, `allowed_hours` the longest range with the step asked for.
    pub(crate) fn of_points(asked: u64, allowed_step: &str, allowed_hours: i64) -> Self {
        let range = match allowed_hours {
            // Of steps of a second.
            0 => format!("{} minutes", MAX_ASKED_POINTS / 60),
            hours @ 1..48 => format!("{hours} hours"),
            hours => format!("{} days", hours / 24),
        };
        Self {
            parameter: "step",
            unit: "points",
            asked,
            allowed: MAX_ASKED_POINTS.unsigned_abs(),
            alternative: format!("ask with step={allowed_step}, or for at most {range}"),
        }
    }

    pub(crate) fn of_range(asked: TimeDelta, limit_days: u32, to: DateTime<Utc>) -> Self {
        let earliest = to - TimeDelta::days(limit_days.into());
        Self {
            parameter: "from",
            unit: "days",
            asked: (asked.num_milliseconds().unsigned_abs()).div_ceil(86_400_000),
            allowed: limit_days.into(),
            alternative: format!("ask with from={}", earliest.to_rfc3339_opts(SecondsFormat::Millis, true)),
        }
    }

    pub(crate) fn of_timeframe(asked: Timeframe, limit_days: u32) -> Self {
        let kept = TimeDelta::days(limit_days.into());
        let longest = Timeframe::ALL.into_iter().rfind(|timeframe| timeframe.length() <= kept);
        Self {
            parameter: "timeframe",
            unit: "days",
            asked: asked.length().num_days().unsigned_abs(),
            allowed: limit_days.into(),
            alternative: format!("ask with timeframe={}", longest.unwrap_or(Timeframe::OneHour)),
        }
    }

    pub(crate) fn of_rows(asked: u64, allowed: u64, window: Window) -> Self {
        let readable = |instant: DateTime<Utc>| instant.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        Self {
            parameter: "from",
            unit: "rows",
            asked,
            allowed,
            alternative: format!(
                "ask with from={}&to={}, or for one account",
                readable(window.from),
                readable(window.to)
            ),
        }
    }

    /// A history for rules; rows are taken to be even over the window.
    pub(crate) fn of_history(asked: u64, allowed: u64, window: Window) -> Self {
        let length_ms = (window.to - window.from).num_milliseconds() as f64;
        let hours = (length_ms * allowed as f64 / asked.max(1) as f64 / 3_600_000.0).floor() as i64;
        let range = match hours {
            0 => "minutes".to_owned(),
            hours @ 1..48 => format!("at most {hours} hours"),
            hours => format!("at most {} days", hours / 24),
        };
        Self {
            parameter: "from",
            unit: "rows",
            asked,
            allowed,
            alternative: format!(
                "ask over {range}, or for fewer rules, or choose accounts in the rules' filters"
            ),
        }
    }

    pub(crate) fn of_metrics(asked: usize) -> Self {
        Self {
            parameter: "metrics",
            unit: "metrics",
            asked: asked as u64,
            allowed: MAX_METRICS as u64,
            alternative: format!("ask for at most {MAX_METRICS}, the others in a question of their own"),
        }
    }
}
