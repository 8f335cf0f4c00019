//! The time range of a question: a named timeframe that ends now, or two instants.

use std::ops::RangeInclusive;
use std::str::FromStr;

use chrono::{DateTime, FixedOffset, Utc};

use crate::error::QueryError;

pub use crate::timeframe::Timeframe;

impl FromStr for Timeframe {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|timeframe| timeframe.name() == text).ok_or_else(|| {
            QueryError::bad(
                "timeframe",
                "is none of 1h, 6h, 24h, 7d, 30d; for another range give `from` and `to`",
            )
        })
    }
}

/// The range of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RangeRequest {
    /// A timeframe that ends now.
    Last(Timeframe),
    /// From one instant (included) to another (excluded).
    Between {
        /// First instant.
        from: DateTime<Utc>,
        /// End; `None` is now.
        to: Option<DateTime<Utc>>,
    },
}

impl Default for RangeRequest {
    fn default() -> Self {
        Self::Last(Timeframe::default())
    }
}

/// The last instant the store can hold, in milliseconds since 1970.
pub const LATEST_MILLISECONDS: f64 = kelly_schemas::limits::LATEST_MS as f64;
/// Numbers that are not taken for milliseconds: as seconds they are a time of this and the next decades, as
/// milliseconds one of the first weeks of 1970.
pub const AMBIGUOUS_MILLISECONDS: RangeInclusive<f64> = 1e9..=u32::MAX as f64;

/// An instant as RFC 3339 or as a number of milliseconds since 1970, the same two forms producers may use. What is
/// finer than a millisecond, which is how the store keeps time, is cut off.
///
/// # Errors
/// What is wrong with the text and what is right, to follow a parameter's name.
pub fn parse_instant(text: &str) -> Result<DateTime<Utc>, String> {
    let milliseconds = match parse_rfc3339(text) {
        Some(instant) => Some(instant.timestamp_millis()),
        None => match json_number(text) {
            Some(number) => whole_milliseconds(text, number)?,
            None => None,
        },
    };
    milliseconds.and_then(DateTime::from_timestamp_millis).ok_or_else(|| {
        "is neither RFC 3339 (2026-03-01T12:00:00Z; write + as %2B in a URL) nor milliseconds since 1970"
            .to_owned()
    })
}

/// The library takes a space for the T; in a URL that is more likely a `+` that was not escaped.
fn parse_rfc3339(text: &str) -> Option<DateTime<FixedOffset>> {
    let instant = DateTime::parse_from_rfc3339(text).ok()?;
    (!text.contains(' ')).then_some(instant)
}

/// A number as JSON writes it; Rust would also take `inf`, `+1` and `.5`. The value is Rust's, which is the nearest one: the
/// library's may be its neighbour.
fn json_number(text: &str) -> Option<f64> {
    let is_bare = !text.contains(char::is_whitespace);
    serde_json::from_str::<f64>(text).ok().filter(|_| is_bare)?;
    text.parse().ok()
}

/// The milliseconds a number stands for, unless it is a time of this and the next decades in another unit; none
/// where the store holds nothing.
fn whole_milliseconds(text: &str, number: f64) -> Result<Option<i64>, String> {
    let units = [("seconds", 1.0), ("microseconds", 1e6), ("nanoseconds", 1e9)];
    match units.into_iter().find(|(_, per_second)| AMBIGUOUS_MILLISECONDS.contains(&(number / per_second))) {
        None => Ok((0.0..=LATEST_MILLISECONDS).contains(&number).then_some(number.floor() as i64)),
        Some((unit, _)) => {
            Err(format!("is {text}; the number seems to be in {unit}, send milliseconds since 1970"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_of_two_forms() {
        let noon = DateTime::parse_from_rfc3339("2026-03-01T12:00:00Z").unwrap().to_utc();
        for text in [
            "2026-03-01T12:00:00Z",
            "2026-03-01T13:00:00+01:00",
            "2026-03-01T12:00:00.000999999Z",
            "1772366400000",
            "1772366400000.75",
            "1.7723664e12",
        ] {
            assert_eq!(parse_instant(text), Ok(noon), "{text}");
        }
        for text in ["0", "999999999", "4294967296", "4294967295999"] {
            assert!(parse_instant(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "yesterday",
            "2026-03-01 12:00:00Z",
            "2026-03-01T12:00:00",
            "99999999999999999999",
            "-1",
            "4294967296000",
            "inf",
            "NaN",
            "+5",
            ".5",
            "5.",
            " 5",
            "0x5",
        ] {
            assert!(parse_instant(text).unwrap_err().contains("is neither"), "{text:?}");
        }
    }

    #[test]
    fn a_number_of_another_unit_is_named_as_such() {
        for (text, unit) in [
            ("1772366400", "seconds"),
            ("1772366400.5", "seconds"),
            ("1772366400000000", "microseconds"),
            ("1772366400000000000", "nanoseconds"),
        ] {
            let reason = parse_instant(text).unwrap_err();
            assert!(reason.contains(&format!("seems to be in {unit}")), "{reason}");
        }
    }
}
