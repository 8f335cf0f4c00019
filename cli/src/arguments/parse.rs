//! What a value of the command line may be.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use clap::builder::{NonEmptyStringValueParser, PossibleValue, TypedValueParser};
use clap::{Arg, Command};
use kelly_schemas::Catalogue;
use kelly_sql::queries::LetterPlace;

/// `NAME=VALUE`.
pub(super) fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

/// A finite number.
pub(super) fn finite(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        Ok(_) => Err("not a finite number; record nothing for a value that is not known".to_owned()),
        Err(_) => Err("not a number".to_owned()),
    }
}

/// What separates the cells of CSV.
pub(super) fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"tab" | b"\\t" => Ok(b'\t'),
        [b'"' | b'\n' | b'\r'] => Err("a quote or a line's end cannot separate cells".to_owned()),
        [byte] if byte.is_ascii() => Ok(*byte),
        _ => Err("write one character, or tab".to_owned()),
    }
}

/// A number above zero.
pub(super) fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err("must be a number above zero".to_owned()),
    }
}

/// A moment, written as an age (`5m`) or as a time (RFC 3339).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// So long ago.
    Ago(Duration),
    /// Then.
    At(DateTime<Utc>),
}

impl Since {
    /// The moment in milliseconds since 1970, at this time.
    pub fn ms(self, now: DateTime<Utc>) -> i64 {
        match self {
            Self::Ago(age) => {
                let age = TimeDelta::from_std(age).unwrap_or(TimeDelta::MAX);
                now.checked_sub_signed(age).map_or(0, |then| then.timestamp_millis())
            }
            Self::At(then) => then.timestamp_millis(),
        }
    }
}

/// An age or a time.
pub(super) fn since(text: &str) -> Result<Since, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(Since::At(time.to_utc()));
    }
    let wanted = "write an age such as 30s, 5m, 2h or 7d, or a time such as 2026-01-31T12:00:00Z";
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        _ => return Err(wanted.to_owned()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wanted.to_owned())?;
    number.checked_mul(unit).map(|seconds| Since::Ago(Duration::from_secs(seconds))).ok_or(wanted.to_owned())
}

/// A length of time such as `2h`.
pub(super) fn length(text: &str) -> Result<Duration, String> {
    match since(text) {
        Ok(Since::Ago(length)) if !length.is_zero() => Ok(length),
        _ => Err("write a time such as 30m, 2h or 7d".to_owned()),
    }
}

/// Where a dead letter lay: its row may be left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: u16,
    /// Offset.
    pub offset: u64,
    /// Row of the message; all of its dead letters when left out.
    pub row: Option<u32>,
}

/// A place as [`place_text`] writes it.
pub(super) fn place(text: &str) -> Result<Place, String> {
    let wanted =
        || "write topic/partition/offset or topic/partition/offset/row, as `list` shows it".to_owned();
    let mut parts = text.split('/');
    let mut next = || parts.next();
    let (topic, partition, offset, row) = (next(), next(), next(), next());
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok());
    let row = match row {
        None => None,
        Some(row) => Some(row.parse().map_err(|_| wanted())?),
    };
    let (Some(topic), Some(partition), Some(offset), None) =
        (topic.filter(|topic| !topic.is_empty()), number(partition), number(offset), next())
    else {
        return Err(wanted());
    };
    let partition = u16::try_from(partition).map_err(|_| wanted())?;
    Ok(Place { topic: topic.to_owned(), partition, offset, row })
}

/// A place for people, as [`Place`] is read.
pub fn place_text(place: &LetterPlace) -> String {
    format!("{}/{}/{}/{}", place.topic, place.partition, place.offset, place.row)
}

/// The name of a metric: any will do, and those of the catalogue are offered to whoever completes a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct MetricName;

/// A parser of metric names.
pub(super) fn metric_name() -> MetricName {
    MetricName
}

impl TypedValueParser for MetricName {
    type Value = String;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<String, clap::Error> {
        NonEmptyStringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let names = Catalogue::builtin().definitions().map(|metric| PossibleValue::new(&*metric.name));
        Some(Box::new(names))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_times_are_moments() {
        let now = DateTime::parse_from_rfc3339("2026-01-31T12:00:00Z").unwrap().to_utc();
        for (text, expected) in [
            ("30s", "2026-01-31T11:59:30Z"),
            ("5m", "2026-01-31T11:55:00Z"),
            ("2h", "2026-01-31T10:00:00Z"),
            ("7d", "2026-01-24T12:00:00Z"),
            ("2025-12-31T23:00:00+01:00", "2025-12-31T22:00:00Z"),
        ] {
            let expected = DateTime::parse_from_rfc3339(expected).unwrap().timestamp_millis();
            assert_eq!(since(text).unwrap().ms(now), expected, "{text}");
        }
        for wrong in ["", "5", "m", "-5m", "5 m", "yesterday", "99999999999999999999d", "5é"] {
            assert!(since(wrong).is_err(), "{wrong}");
        }
        assert_eq!(since("99999999999d").unwrap().ms(now), 0, "before all time");
    }

    #[test]
    fn places_are_read_as_they_are_written() {
        let read = place("kelly.metrics/3/1042/7").unwrap();
        let row = read.row.unwrap();
        let written = LetterPlace { topic: read.topic, partition: read.partition, offset: read.offset, row };
        assert_eq!(place_text(&written), "kelly.metrics/3/1042/7");
        assert_eq!(place("t/0/1").unwrap().row, None);
        for wrong in ["", "t", "t/0", "/0/1", "t/0/1/", "t/0/1/2/3", "t/-1/0", "t/70000/0", "t/0/x"] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
    }
}
