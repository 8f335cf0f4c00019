//! The length of the points of a series: what suits a range, or what was asked for. Pure.

use chrono::TimeDelta;

use crate::error::QueryError;
use crate::limits::{MAX_ASKED_POINTS, TooLarge};
use crate::tier::Tier;
use crate::tier::{DAY, HOUR, MINUTE, counting_unit};
use crate::window::Resolution;

/// Points of a series, not counting the cut ones at its ends; beyond, steps become longer.
pub(crate) const MAX_POINTS: i64 = 180;
/// An account's range longer than this has points of a day, which have percentiles of their own.
const ACCOUNT_HOURS_LIMIT: TimeDelta = TimeDelta::days(7);
/// The lengths a step may have. Each divides the next ones, or a day, so that steps begin at whole units.
const STEPS: [u32; 11] = [1, 5, 15, 60, 300, 900, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY];

/// The step that suits a range: so many points at most, and none shorter than the tier has.
pub(crate) fn step(tier: Tier, length: TimeDelta, most_points: i64) -> u32 {
    let least = match tier {
        Tier::AccountHour if length > ACCOUNT_HOURS_LIMIT => DAY,
        tier => finest_step(tier),
    };
    shortest_step(least, length, most_points)
}

/// The shortest step that is not shorter than `least` and makes so many points at most.
fn shortest_step(least: u32, length: TimeDelta, most_points: i64) -> u32 {
    STEPS
        .into_iter()
        .filter(|step| *step >= least)
        .find(|step| length.num_milliseconds() <= i64::from(*step) * 1_000 * most_points)
        .unwrap_or(DAY)
}

/// Below it the tier has no points.
fn finest_step(tier: Tier) -> u32 {
    match tier {
        Tier::Raw => 1,
        tier => counting_unit(tier),
    }
}

/// A step that was asked for, if the tier has it and it does not make too many points.
pub(crate) fn step_asked(step_seconds: u32, tier: Tier, length: TimeDelta) -> Result<u32, QueryError> {
    let finest = finest_step(tier);
    if step_seconds < finest {
        return Err(QueryError::bad(
            "step",
            format!(
                "is {}, and this range is kept by the {} only; ask with step={} or longer, or without `step`",
                label(step_seconds),
                if finest == DAY {
                    "day"
                } else if finest == HOUR {
                    "hour"
                } else {
                    "minute"
                },
                label(finest)
            ),
        ));
    }
    let points =
        (length.num_milliseconds() + i64::from(step_seconds) * 1_000 - 1) / (i64::from(step_seconds) * 1_000);
    if points > MAX_ASKED_POINTS {
        let allowed = label(shortest_step(finest, length, MAX_ASKED_POINTS));
        let hours = i64::from(step_seconds) * MAX_ASKED_POINTS / i64::from(HOUR);
        return Err(TooLarge::of_points(points.unsigned_abs(), &allowed, hours).into());
    }
    Ok(step_seconds)
}

/// The length of a step that a person wrote, e.g. `5m`, in seconds.
///
/// # Errors
/// [`QueryError::BadParameter`] naming the steps there are.
pub fn parse_step(text: &str) -> Result<u32, QueryError> {
    STEPS.into_iter().find(|step| label(*step) == text).ok_or_else(|| {
        let names = step_names().collect::<Vec<_>>().join(", ");
        QueryError::bad("step", format!("is none of {names}"))
    })
}

/// The lengths a step may have, as people write them, shortest first.
pub fn step_names() -> impl Iterator<Item = String> {
    STEPS.into_iter().map(label)
}

fn label(step_seconds: u32) -> String {
    Resolution::of_seconds(step_seconds).label
}

impl Resolution {
    /// A resolution of so many seconds, labelled in the largest unit that divides it.
    pub(crate) fn of_seconds(seconds: u32) -> Self {
        let (count, unit) = match seconds {
            whole if whole % DAY == 0 => (whole / DAY, 'd'),
            whole if whole % HOUR == 0 => (whole / HOUR, 'h'),
            whole if whole % MINUTE == 0 => (whole / MINUTE, 'm'),
            other => (other, 's'),
        };
        Self { seconds, label: format!("{count}{unit}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolutions_are_labelled_as_people_write_them() {
        for (seconds, label) in
            [(1, "1s"), (15, "15s"), (60, "1m"), (900, "15m"), (3_600, "1h"), (21_600, "6h"), (86_400, "1d")]
        {
            assert_eq!(Resolution::of_seconds(seconds).label, label);
        }
    }

    #[test]
    fn a_step_is_one_of_those_there_are() {
        for step in STEPS {
            assert_eq!(parse_step(&label(step)).unwrap(), step);
        }
        for text in ["2m", "60", "1 m", "", "1M", "7d"] {
            assert_eq!(parse_step(text).unwrap_err().parameter(), Some("step"), "{text}");
        }
        insta::assert_snapshot!(parse_step("2m").unwrap_err());
    }

    #[test]
    fn a_step_that_is_too_fine_is_refused_with_the_finest_there_is() {
        let cases = [
            (60, Tier::Minute, TimeDelta::hours(24), Ok(60)),
            (DAY, Tier::Minute, TimeDelta::hours(1), Ok(DAY)),
            (300, Tier::Minute, TimeDelta::days(5), Ok(300)),
            (60, Tier::Minute, TimeDelta::days(7), Err("query_too_large")),
            (1, Tier::Raw, TimeDelta::hours(1), Err("query_too_large")),
            (1, Tier::Minute, TimeDelta::hours(1), Err("bad_parameter")),
            (900, Tier::AccountHour, TimeDelta::days(2), Err("bad_parameter")),
            (HOUR, Tier::ConversationDay, TimeDelta::days(5), Err("bad_parameter")),
        ];
        let mut refusals = Vec::new();
        for (step, tier, length, expected) in cases {
            let found = step_asked(step, tier, length);
            refusals.extend(found.as_ref().err().map(ToString::to_string));
            assert_eq!(found.map_err(|error| error.code()), expected, "{step} {tier:?}");
        }
        insta::assert_snapshot!(refusals.join("\n"));
    }
}
