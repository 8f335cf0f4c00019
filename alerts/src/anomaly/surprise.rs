//! How much a value surprises, and why.

use chrono::{DateTime, Datelike, Timelike};
use serde::{Deserialize, Serialize};

use crate::number::number;

/// How much a value surprises.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Surprise {
    /// The score: from about 0 for what is usual; each unit is about a factor of e less often.
    pub score: f64,
    /// The value that was expected.
    pub expected: f64,
    /// By which habit of the series.
    pub habit: Habit,
    /// What surprises most.
    pub aspect: Aspect,
}

/// Which habit of a series says what to expect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Habit {
    /// What it was of late.
    Level,
    /// What it is at this time of day.
    Day,
    /// What it is at this hour of the week.
    Week,
}

/// What surprises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Aspect {
    /// The value itself.
    Value,
    /// That it has been off for some values.
    Recently,
    /// That it has been off for long.
    ForLong,
    /// That its level is another.
    Level,
    /// That it varies more, or less.
    Variation,
    /// That it jumped.
    Jump,
}

impl Surprise {
    /// Whether a value is more than expected.
    #[must_use]
    pub fn is_above(&self, value: f64) -> bool {
        value > self.expected
    }

    /// As words after the value: `3.1x the usual Tuesday 14:00 (410); surprise 9.2`.
    #[must_use]
    pub fn explain(&self, value: f64, at_ms: i64) -> String {
        let time = DateTime::from_timestamp_millis(at_ms).unwrap_or_default();
        let usual = match self.habit {
            Habit::Level => "usual value of late".to_owned(),
            Habit::Day => format!("usual {:02}:{:02} UTC", time.hour(), time.minute() / 15 * 15),
            Habit::Week => format!("usual {} {:02}:00 UTC", weekday(time.weekday()), time.hour()),
        };
        let ratio = value / self.expected;
        let against = if self.expected.abs() > f64::EPSILON && ratio > 0.0 && !(0.9..1.1).contains(&ratio) {
            format!("{}x the {usual} ({})", number_short(ratio), number(self.expected))
        } else {
            let side = if self.is_above(value) { "above" } else { "below" };
            format!(
                "{} {side} the {usual} ({})",
                number((value - self.expected).abs()),
                number(self.expected)
            )
        };
        let because = match self.aspect {
            Aspect::Value => "",
            Aspect::Recently => ", off for some values",
            Aspect::ForLong => ", off for long",
            Aspect::Level => ", on another level",
            Aspect::Variation => ", varying otherwise than usual",
            Aspect::Jump => ", after a jump",
        };
        format!("{against}{because}; surprise {:.1}", self.score)
    }
}

/// Two digits that count.
fn number_short(value: f64) -> String {
    if value >= 10.0 {
        format!("{value:.0}")
    } else if value >= 0.1 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

fn weekday(day: chrono::Weekday) -> &'static str {
    match day {
        chrono::Weekday::Mon => "Monday",
        chrono::Weekday::Tue => "Tuesday",
        chrono::Weekday::Wed => "Wednesday",
        chrono::Weekday::Thu => "Thursday",
        chrono::Weekday::Fri => "Friday",
        chrono::Weekday::Sat => "Saturday",
        chrono::Weekday::Sun => "Sunday",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_score_is_explained_against_what_is_usual() {
        // 2026-12-01 is a Tuesday.
        let at_ms = 1_796_133_600_000;
        let surprise = Surprise { score: 9.24, expected: 400.0, habit: Habit::Week, aspect: Aspect::Value };
        assert_eq!(surprise.explain(1240.0, at_ms), "3.1x the usual Tuesday 14:00 UTC (400); surprise 9.2");
        let day = Surprise { habit: Habit::Day, aspect: Aspect::Level, ..surprise };
        assert_eq!(
            day.explain(404.0, at_ms),
            "4 above the usual 14:00 UTC (400), on another level; surprise 9.2"
        );
        let level = Surprise { habit: Habit::Level, expected: -2.0, ..surprise };
        assert_eq!(level.explain(3.0, at_ms), "5 above the usual value of late (-2); surprise 9.2");
    }
}
