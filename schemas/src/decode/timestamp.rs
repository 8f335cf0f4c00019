//! Times as producers write them: RFC 3339, or milliseconds since the epoch.

use serde_json::value::RawValue;

use super::value::{kind, unescaped};
use crate::fault::{Fault, JsonKind};

/// Names under which producers send a time and which are no column of a row, in small letters and without `_`, `-` and `@`.
const OTHER_NAMES: [&str; 22] = [
    "time",
    "date",
    "datetime",
    "ts",
    "timestamp",
    "createdat",
    "created",
    "eventtime",
    "eventtimestamp",
    "epoch",
    "epochms",
    "unixtime",
    "unixtimestamp",
    "timestampms",
    "timems",
    "tsms",
    "timeunixnano",
    "occurredat",
    "recordedat",
    "measuredat",
    "observedat",
    "loggedat",
];

/// Whether a field of this name that is no column is likely to be the row's time: `ts`, `@timestamp`, `createdAt`. A row
/// that has no time under a name of the contract is refused for it: it would count for the time of its arrival.
#[must_use]
pub fn is_other_time_name(name: &str) -> bool {
    const LONGEST: usize = 24;
    if name.len() > LONGEST {
        return false;
    }
    let letters = || {
        name.bytes().filter(|byte| !matches!(byte, b'_' | b'-' | b'@')).map(|byte| byte.to_ascii_lowercase())
    };
    OTHER_NAMES.into_iter().any(|other| letters().eq(other.bytes()))
}

/// A time, and whether it was written as a number, whose unit may be mistaken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WrittenTime {
    /// Milliseconds since the epoch.
    pub(super) epoch_ms: i64,
    /// Written as a number.
    pub(super) numeric: bool,
}

/// Reads the time in a field; `None` for null.
pub(super) fn read(field: &'static str, raw: &RawValue) -> Result<Option<WrittenTime>, Fault> {
    let text = raw.get();
    match kind(raw) {
        JsonKind::Null => Ok(None),
        JsonKind::Number => Ok(Some(WrittenTime { epoch_ms: epoch_ms_of_number(text), numeric: true })),
        JsonKind::String => {
            let body = text.as_bytes().get(1..text.len() - 1).and_then(unescaped).unwrap_or_default();
            let epoch_ms =
                parse_rfc3339(&body).map_err(|reason| Fault::InvalidTimestamp { field, reason })?;
            Ok(Some(WrittenTime { epoch_ms, numeric: false }))
        }
        found => Err(Fault::WrongType { field, expected: "an RFC 3339 string or epoch milliseconds", found }),
    }
}

/// Milliseconds since the epoch of an RFC 3339 time; what is finer is cut off.
pub(super) fn parse_rfc3339(text: &str) -> Result<i64, &'static str> {
    match parse_common(text.as_bytes()) {
        Some(epoch_ms) => Ok(epoch_ms),
        None => chrono::DateTime::parse_from_rfc3339(text)
            .map(|time| time.timestamp_millis())
            .map_err(|_| reason(text)),
    }
}

/// A number beyond every bound stays beyond every bound; a fraction is cut off.
fn epoch_ms_of_number(text: &str) -> i64 {
    text.parse::<i64>()
        .unwrap_or_else(|_| text.parse::<f64>().map_or(i64::MAX, |number| number.floor() as i64))
}

fn reason(text: &str) -> &'static str {
    let is_naive = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"]
        .iter()
        .any(|format| chrono::NaiveDateTime::parse_from_str(text, format).is_ok());
    if text.is_empty() {
        "it is empty; leave the field out to take the time of arrival"
    } else if text.bytes().all(|byte| byte.is_ascii_digit()) {
        "epoch milliseconds are a number; send it without quotes"
    } else if is_naive {
        "the offset from UTC is missing; end it with Z or ±hh:mm"
    } else {
        "write RFC 3339, such as 2024-09-11T15:30:45Z, or epoch milliseconds as a number"
    }
}

/// The form almost every producer writes, `YYYY-MM-DDTHH:MM:SS[.f…](Z|±hh:mm)`, without the calendar of a library.
/// `None` says nothing against the text: leap seconds, for one, are left to the library.
fn parse_common(text: &[u8]) -> Option<i64> {
    let [
        year_1,
        year_2,
        year_3,
        year_4,
        b'-',
        month_1,
        month_2,
        b'-',
        day_1,
        day_2,
        b'T',
        hour_1,
        hour_2,
        b':',
        minute_1,
        minute_2,
        b':',
        second_1,
        second_2,
        rest @ ..,
    ] = text
    else {
        return None;
    };
    let year = two_digits(*year_1, *year_2)? * 100 + two_digits(*year_3, *year_4)?;
    let month = two_digits(*month_1, *month_2)?;
    let day = two_digits(*day_1, *day_2)?;
    let hour = two_digits(*hour_1, *hour_2)?;
    let minute = two_digits(*minute_1, *minute_2)?;
    let second = two_digits(*second_1, *second_2)?;
    let (milliseconds, zone) = split_fraction(rest)?;
    let offset_minutes = offset_minutes(zone)?;
    if !(1..=12).contains(&month) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    if day < 1 || day > days_of_month(year, month) {
        return None;
    }
    let minutes = (days_since_epoch(year, month, day) * 24 + hour) * 60 + minute - offset_minutes;
    Some((minutes * 60 + second) * 1000 + milliseconds)
}

fn digit(byte: u8) -> Option<i64> {
    byte.is_ascii_digit().then(|| i64::from(byte - b'0'))
}

fn two_digits(tens: u8, ones: u8) -> Option<i64> {
    Some(digit(tens)? * 10 + digit(ones)?)
}

/// The milliseconds of a fraction of one to nine digits, and what follows it.
fn split_fraction(rest: &[u8]) -> Option<(i64, &[u8])> {
    let [b'.', tail @ ..] = rest else {
        return Some((0, rest));
    };
    let length = tail.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(tail.len());
    if !(1..=9).contains(&length) {
        return None;
    }
    let (digits, zone) = tail.split_at_checked(length)?;
    let padded = digits.iter().copied().chain(std::iter::repeat(b'0')).take(3);
    let milliseconds = padded.fold(0, |sum, byte| sum * 10 + i64::from(byte - b'0'));
    Some((milliseconds, zone))
}

fn offset_minutes(zone: &[u8]) -> Option<i64> {
    match zone {
        b"Z" => Some(0),
        [sign @ (b'+' | b'-'), hour_1, hour_2, b':', minute_1, minute_2] => {
            let (hours, minutes) = (two_digits(*hour_1, *hour_2)?, two_digits(*minute_1, *minute_2)?);
            let offset = hours * 60 + minutes;
            (hours <= 23 && minutes <= 59).then_some(if *sign == b'-' { -offset } else { offset })
        }
        _ => None,
    }
}

fn days_of_month(year: i64, month: i64) -> i64 {
    let is_leap_year = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if is_leap_year => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar, for the years 0 to 9999. Years begin in
/// March here, so that the leap day is the last one.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use proptest::prelude::*;

    fn library(text: &str) -> Option<i64> {
        DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_millis())
    }

    #[test]
    fn common_forms() {
        let cases = [
            ("1970-01-01T00:00:00Z", 0),
            ("2024-09-11T15:30:45Z", 1_726_068_645_000),
            ("2024-09-11T15:30:45.123Z", 1_726_068_645_123),
            ("2024-09-11T15:30:45.1Z", 1_726_068_645_100),
            ("2024-09-11T15:30:45.123999999Z", 1_726_068_645_123),
            ("2024-09-11T17:30:45+02:00", 1_726_068_645_000),
            ("2024-09-11T10:00:45-05:30", 1_726_068_645_000),
            ("1969-12-31T23:59:59.999Z", -1),
            ("2024-02-29T00:00:00Z", 1_709_164_800_000),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_common(text.as_bytes()), Some(expected), "{text}");
            assert_eq!(library(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_the_fast_path_leaves_the_library_reads() {
        for text in ["2016-12-31T23:59:60Z", "2024-09-11t15:30:45z", "2024-09-11T15:30:45.0123456789012Z"] {
            assert_eq!(parse_common(text.as_bytes()), None);
            assert_eq!(parse_rfc3339(text).ok(), library(text));
            assert!(library(text).is_some(), "{text}");
        }
    }

    #[test]
    fn a_refused_time_says_how_to_write_it() {
        let cases = [
            ("", "leave the field out"),
            ("1726068645123", "without quotes"),
            ("2024-09-11T15:30:45", "end it with Z"),
            ("2024-09-11 15:30:45.5", "end it with Z"),
            ("2023-02-29T00:00:00Z", "RFC 3339"),
            ("2024-13-01T00:00:00Z", "RFC 3339"),
            ("2024-09-11T24:00:00Z", "RFC 3339"),
            ("yesterday", "RFC 3339"),
        ];
        for (text, expected) in cases {
            let reason = parse_rfc3339(text).expect_err(text);
            assert!(reason.contains(expected), "{text}: {reason}");
        }
    }

    #[test]
    fn numbers_are_milliseconds() {
        let cases = [
            ("1726068645123", 1_726_068_645_123),
            ("1726068645123.9", 1_726_068_645_123),
            ("1.726068645123e12", 1_726_068_645_123),
            ("-1", -1),
            ("99999999999999999999", i64::MAX),
            ("1e999", i64::MAX),
            ("-1e999", i64::MIN),
        ];
        for (text, expected) in cases {
            assert_eq!(epoch_ms_of_number(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_library_on_times(
            epoch_ms in -62_167_219_200_000_i64..253_402_300_799_999,
            offset_minutes in -1439_i32..=1439,
            digits in 0_usize..=3,
        ) {
            let offset = chrono::FixedOffset::east_opt(offset_minutes * 60).expect("less than a day");
            let time = DateTime::from_timestamp_millis(epoch_ms).expect("in range").with_timezone(&offset);
            let format = ["%Y-%m-%dT%H:%M:%S%:z", "%Y-%m-%dT%H:%M:%S%.3f%:z", "%Y-%m-%dT%H:%M:%S%.6f%:z", "%Y-%m-%dT%H:%M:%S%.9f%:z"][digits];
            let text = time.format(format).to_string();
            prop_assert_eq!(parse_rfc3339(&text).ok(), library(&text), "{}", text);
        }

        #[test]
        fn the_fast_path_accepts_nothing_the_library_refuses(
            text in r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{0,10})?(Z|z|[+-][0-2][0-9]:[0-6][0-9]|)",
        ) {
            if let Some(epoch_ms) = parse_common(text.as_bytes()) {
                prop_assert_eq!(Some(epoch_ms), library(&text), "{}", text);
            }
            prop_assert_eq!(parse_rfc3339(&text).ok(), library(&text), "{}", text);
        }

        #[test]
        fn every_day_of_the_calendar(month in 1_u32..=12, day in 1_u32..=31, year in 0_i32..=9999) {
            let text = format!("{year:04}-{month:02}-{day:02}T12:00:00Z");
            prop_assert_eq!(parse_common(text.as_bytes()), library(&text));
        }
    }
}
