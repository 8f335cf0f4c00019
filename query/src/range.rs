//! The time range of a question: a named timeframe that ends now, or two instants.

use std::str::FromStr;

use chrono::{DateTime, Utc};

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

impl RangeRequest {
    /// Reads the three parameters a request may carry. Nothing at all is the default timeframe; `timeframe`
    /// beside `from` or `to` is a contradiction and refused, as is `to` alone.
    ///
    /// # Errors
    /// [`QueryError::BadParameter`] naming the parameter.
    pub fn parse(timeframe: Option<&str>, from: Option<&str>, to: Option<&str>) -> Result<Self, QueryError> {
        match (timeframe, from, to) {
            (Some(name), None, None) => name.parse().map(Self::Last),
            (None, None, None) => Ok(Self::Last(Timeframe::default())),
            (Some(_), _, _) => {
                Err(QueryError::bad("timeframe", "contradicts `from` and `to`; give the one or the others"))
            }
            (None, None, Some(_)) => Err(QueryError::bad("from", "is missing; `to` needs it")),
            (None, Some(from), to) => Ok(Self::Between {
                from: instant("from", from)?,
                to: to.map(|to| instant("to", to)).transpose()?,
            }),
        }
    }
}

impl Default for RangeRequest {
    fn default() -> Self {
        Self::Last(Timeframe::default())
    }
}

/// An instant as RFC 3339 or as milliseconds since 1970, the same two forms producers may use. What is finer than a
/// millisecond, which is how the store keeps time, is cut off.
fn instant(parameter: &'static str, text: &str) -> Result<DateTime<Utc>, QueryError> {
    let milliseconds = match DateTime::parse_from_rfc3339(text) {
        Ok(instant) => Some(instant.timestamp_millis()),
        Err(_) => match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Some(whole_milliseconds(parameter, text, number)?),
            _ => None,
        },
    };
    milliseconds.and_then(DateTime::from_timestamp_millis).ok_or_else(|| {
        QueryError::bad(
            parameter,
            "is neither RFC 3339 (2026-03-01T12:00:00Z; write + as %2B in a URL) nor milliseconds since 1970",
        )
    })
}

/// The milliseconds a number stands for, unless it is a time of this and the next decades in another unit.
fn whole_milliseconds(parameter: &'static str, text: &str, number: f64) -> Result<i64, QueryError> {
    const SECONDS: std::ops::RangeInclusive<f64> = 1e9..=u32::MAX as f64;
    let units = [("seconds", 1.0), ("microseconds", 1e6), ("nanoseconds", 1e9)];
    match units.into_iter().find(|(_, per_second)| SECONDS.contains(&(number / per_second))) {
        None => Ok(number.floor() as i64),
        Some((unit, _)) => Err(QueryError::bad(
            parameter,
            format!("is {text}; the number seems to be in {unit}, send milliseconds since 1970"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_make_a_range_or_name_the_one_at_fault() {
        let noon = DateTime::parse_from_rfc3339("2026-03-01T12:00:00Z").unwrap().to_utc();
        let accepted = [
            ((None, None, None), RangeRequest::Last(Timeframe::OneHour)),
            ((Some("30d"), None, None), RangeRequest::Last(Timeframe::ThirtyDays)),
            ((None, Some("2026-03-01T13:00:00+01:00"), None), RangeRequest::Between { from: noon, to: None }),
            (
                (None, Some("1772366400000"), Some("2026-03-01T12:00:00Z")),
                RangeRequest::Between { from: noon, to: Some(noon) },
            ),
            (
                (None, Some("1772366400000.75"), Some("2026-03-01T12:00:00.000999999Z")),
                RangeRequest::Between { from: noon, to: Some(noon) },
            ),
        ];
        for ((timeframe, from, to), expected) in accepted {
            assert_eq!(RangeRequest::parse(timeframe, from, to).unwrap(), expected);
        }
        let refused = [
            ((Some("2h"), None, None), "timeframe"),
            ((Some(""), None, None), "timeframe"),
            ((Some("1h"), Some("0"), None), "timeframe"),
            ((None, None, Some("0")), "from"),
            ((None, Some("yesterday"), None), "from"),
            ((None, Some("0"), Some("99999999999999999999")), "to"),
        ];
        for ((timeframe, from, to), parameter) in refused {
            let error = RangeRequest::parse(timeframe, from, to).unwrap_err();
            assert_eq!(error.parameter(), Some(parameter), "{error}");
            assert_eq!(error.code(), "bad_parameter");
        }
    }

    #[test]
    fn a_number_of_another_unit_is_told_so() {
        for (text, unit) in [
            ("1772366400", "seconds"),
            ("1772366400.5", "seconds"),
            ("1772366400000000", "microseconds"),
            ("1772366400000000000", "nanoseconds"),
        ] {
            let error = RangeRequest::parse(None, Some(text), None).unwrap_err();
            assert_eq!((error.code(), error.parameter()), ("bad_parameter", Some("from")));
            assert!(error.to_string().contains(&format!("seems to be in {unit}")), "{error}");
        }
        assert!(RangeRequest::parse(None, Some("NaN"), None).is_err());
        assert!(RangeRequest::parse(None, Some("-inf"), None).is_err());
    }
}
