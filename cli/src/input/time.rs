//! Times as files write them. What is ambiguous is not guessed: the flag that settles it is named. Pure.

use chrono::format::{Fixed, Item, ParseErrorKind, Parsed, StrftimeItems};
use chrono::{DateTime, NaiveDate, NaiveTime};
use clap::ValueEnum;

/// The unit of times written as numbers since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TimeUnit {
    /// Seconds.
    #[value(name = "s")]
    Seconds,
    /// Milliseconds.
    #[value(name = "ms")]
    Milliseconds,
    /// Microseconds.
    #[value(name = "us")]
    Microseconds,
    /// Nanoseconds.
    #[value(name = "ns")]
    Nanoseconds,
}

/// How the times of a file are written, as far as a person said so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TimeOptions {
    /// The unit of numbers; milliseconds when it is not given, if they can be.
    pub unit: Option<TimeUnit>,
    /// The form of texts, in the letters of strftime.
    pub format: Option<String>,
    /// Whether times are moved or paced by: a unit that is not certain is then not taken for milliseconds.
    pub is_moved: bool,
}

/// A time that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeProblem {
    /// It needs a flag; what is wrong, and the flag.
    Ask(String),
    /// It is no time.
    NotATime,
}

impl TimeUnit {
    const ALL: [Self; 4] = [Self::Seconds, Self::Milliseconds, Self::Microseconds, Self::Nanoseconds];

    /// As `--time-unit` takes it.
    fn flag(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::Milliseconds => "ms",
            Self::Microseconds => "us",
            Self::Nanoseconds => "ns",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Milliseconds => "milliseconds",
            Self::Microseconds => "microseconds",
            Self::Nanoseconds => "nanoseconds",
        }
    }

    fn in_a_second(self) -> f64 {
        match self {
            Self::Seconds => 1.0,
            Self::Milliseconds => 1e3,
            Self::Microseconds => 1e6,
            Self::Nanoseconds => 1e9,
        }
    }

    /// Whether the number lies between 1973 and 2106 in this unit. No number does in two units.
    fn is_plausible(self, number: f64) -> bool {
        const EARLIEST_SECONDS: f64 = 1e8;
        const LATEST_SECONDS: f64 = 4_294_967_296.0;
        let seconds = number / self.in_a_second();
        (EARLIEST_SECONDS..LATEST_SECONDS).contains(&seconds)
    }

    /// Milliseconds of so many; what is finer is cut off.
    pub fn to_ms(self, number: Number) -> i64 {
        match (self, number) {
            (Self::Seconds, Number::Whole(number)) => number.saturating_mul(1_000),
            (Self::Seconds, Number::Fraction(number)) => (number * 1e3).floor() as i64,
            (Self::Milliseconds, Number::Whole(number)) => number,
            (Self::Milliseconds, Number::Fraction(number)) => number.floor() as i64,
            (Self::Microseconds, Number::Whole(number)) => number.div_euclid(1_000),
            (Self::Microseconds, Number::Fraction(number)) => (number / 1e3).floor() as i64,
            (Self::Nanoseconds, Number::Whole(number)) => number.div_euclid(1_000_000),
            (Self::Nanoseconds, Number::Fraction(number)) => (number / 1e6).floor() as i64,
        }
    }
}

/// A number as it was written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// Without a fraction.
    Whole(i64),
    /// With one, or beyond 64 bits.
    Fraction(f64),
}

impl Number {
    /// Reads `1796011778`, `1796011778.5` and `1.796e9`.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(whole) = text.parse() {
            return Some(Self::Whole(whole));
        }
        let looks_like_one = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
        let number: f64 = text.parse().ok().filter(|_| looks_like_one)?;
        if number.is_finite() && number.fract() == 0.0 && number.abs() < 9e15 {
            return Some(Self::Whole(number as i64));
        }
        Some(Self::Fraction(number))
    }

    fn as_f64(self) -> f64 {
        match self {
            Self::Whole(number) => number as f64,
            Self::Fraction(number) => number,
        }
    }
}

impl TimeOptions {
    /// Milliseconds since 1970 of a number.
    pub fn number(&self, number: Number) -> Result<i64, TimeProblem> {
        let unit = self.unit.unwrap_or(TimeUnit::Milliseconds);
        let plain = number.as_f64();
        if unit.is_plausible(plain) {
            return Ok(unit.to_ms(number));
        }
        if let Some(other) = TimeUnit::ALL.into_iter().find(|other| other.is_plausible(plain)) {
            let (is, flag) = (other.name(), other.flag());
            return Err(TimeProblem::Ask(match self.unit {
                None => format!("would be a time in {is}: say --time-unit {flag}"),
                Some(said) => format!(
                    "is no time of today in {}, and would be one in {is}: say --time-unit {flag}",
                    said.name()
                ),
            }));
        }
        if self.unit.is_none() && self.is_moved {
            return Err(TimeProblem::Ask(
                "is a number since 1970 in no unit that is certain: say --time-unit s, ms, us or ns"
                    .to_owned(),
            ));
        }
        Ok(unit.to_ms(number))
    }

    /// Milliseconds since 1970 of a text. One without a zone is UTC.
    pub fn text(&self, text: &str) -> Result<i64, TimeProblem> {
        let text = text.trim();
        if let Some(format) = &self.format {
            return by_format(text, format).map_err(TimeProblem::Ask);
        }
        if let Some(number) = Number::parse(text) {
            return self.number(number);
        }
        if let Some(ms) = timestamp(text) {
            return Ok(ms);
        }
        if is_day_and_month(text) {
            return Err(TimeProblem::Ask(
                "may have the day or the month first: say --time-format, such as '%d/%m/%Y %H:%M:%S' or \
                 '%m/%d/%Y %H:%M:%S'"
                    .to_owned(),
            ));
        }
        Err(TimeProblem::NotATime)
    }
}

/// Whether a value of a column or field that is nobody's may be the row's time: it is surely one, or a number that would be
/// one in some unit.
pub fn looks_like_time(text: &str) -> bool {
    let may_be_one = |number: Number| TimeUnit::ALL.iter().any(|unit| unit.is_plausible(number.as_f64()));
    Number::parse(text.trim()).is_some_and(may_be_one) || is_timestamp(text)
}

/// Whether a text is surely a time, and no number.
pub fn is_timestamp(text: &str) -> bool {
    Number::parse(text.trim()).is_none()
        && (timestamp(text.trim()).is_some() || is_day_and_month(text.trim()))
}

/// Reads a time as `--time-format` says. What the format leaves open is not filled in, but for the time of day of a date
/// and the minutes of an hour. The problem continues a sentence that begins with the text.
fn by_format(text: &str, format: &str) -> Result<i64, String> {
    // The names of zones are no offsets: several have the same.
    if StrftimeItems::new(format).any(|item| item == Item::Fixed(Fixed::TimezoneName)) {
        return Err(format!(
            "has the name of a zone (%Z in --time-format {format:?}), which says no offset from UTC: give %z instead, \
             or write the name into the format if it is UTC"
        ));
    }
    let other = || format!("is not written as --time-format {format:?} says");
    let mut parsed = Parsed::new();
    chrono::format::parse(&mut parsed, text, StrftimeItems::new(format)).map_err(|_| other())?;
    if parsed.timestamp().is_none() {
        fill_time_of_day(&mut parsed).map_err(|open| format!("says {open} (--time-format {format:?})"))?;
    }
    let offset_seconds = parsed.offset().unwrap_or(0);
    match parsed.to_naive_datetime_with_offset(offset_seconds) {
        Ok(time) => Ok(time.and_utc().timestamp_millis() - i64::from(offset_seconds) * 1_000),
        Err(error) if error.kind() == ParseErrorKind::NotEnough => Err(format!(
            "does not say of which year, month and day it is (--time-format {format:?}): give a format with all of them"
        )),
        Err(_) => Err(other()),
    }
}

/// Completes the time of day where it can be completed in one way; else says what is said and what is open.
fn fill_time_of_day(parsed: &mut Parsed) -> Result<(), &'static str> {
    let has_finer = parsed.second().is_some() || parsed.nanosecond().is_some();
    match (parsed.hour_div_12(), parsed.hour_mod_12(), parsed.minute()) {
        (Some(_), Some(_), Some(_)) => return Ok(()),
        (Some(_), Some(_), None) if !has_finer => {}
        (None, None, None) if !has_finer => parsed.set_hour(0).map_err(|_| "no hour")?,
        (Some(_), Some(_), None) => return Err("an hour and seconds and no minute"),
        (None, Some(_), _) => return Err("an hour and not which half of the day: add %p, or take %H"),
        (Some(_), None, _) => return Err("a half of the day and no hour"),
        (None, None, _) => return Err("minutes or seconds and no hour"),
    }
    parsed.set_minute(0).map_err(|_| "no minute")
}

/// A date, then maybe a time of day, then maybe an offset from UTC. Years stand first, or last behind dots.
fn timestamp(text: &str) -> Option<i64> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text).or_else(|_| DateTime::parse_from_rfc2822(text)) {
        return Some(time.timestamp_millis());
    }
    let (text, offset_minutes) = split_offset(text)?;
    let (date, rest) = split_date(text)?;
    let time = match rest.strip_prefix(['T', 't', ' ']) {
        Some(time) => time_of_day(time.trim())?,
        None if rest.is_empty() => NaiveTime::MIN,
        None => return None,
    };
    Some(date.and_time(time).and_utc().timestamp_millis() - offset_minutes * 60_000)
}

fn split_date(text: &str) -> Option<(NaiveDate, &str)> {
    let end = text.find(['T', 't', ' ']).unwrap_or(text.len());
    let (date, rest) = text.split_at_checked(end)?;
    let separator = date.chars().find(|character| !character.is_ascii_digit())?;
    let parts: Vec<&str> = date.split(separator).collect();
    let [first, second, third] = parts[..] else { return None };
    let number = |text: &str| {
        let is_short = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u32>().ok().filter(|_| is_short)
    };
    let (year, month, day) = match (separator, first.len(), third.len()) {
        ('-' | '/' | '.', 4, 1 | 2) => (number(first)?, number(second)?, number(third)?),
        // Behind dots the day stands first everywhere.
        ('.', 1 | 2, 4) => (number(third)?, number(second)?, number(first)?),
        _ => return None,
    };
    Some((NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?, rest))
}

fn time_of_day(text: &str) -> Option<NaiveTime> {
    // Some write the fraction behind a comma.
    let text = text.replacen(',', ".", 1);
    ["%H:%M:%S%.f", "%H:%M", "%I:%M:%S%.f %p", "%I:%M %p", "%I:%M:%S %p"]
        .iter()
        .find_map(|form| NaiveTime::parse_from_str(&text, form).ok())
}

/// The text before an offset from UTC, and the offset in minutes; without one it is UTC.
fn split_offset(text: &str) -> Option<(&str, i64)> {
    for zone in ["UTC", "GMT", "Z", "z"] {
        if let Some(before) = text.strip_suffix(zone) {
            return before
                .ends_with(|c: char| c.is_ascii_digit() || c == ' ')
                .then(|| (before.trim_end(), 0));
        }
    }
    // The signs of a date come before the time of day.
    let Some(colon) = text.find(':') else { return Some((text, 0)) };
    let Some(sign) = text[colon..].find(['+', '-']).map(|at| colon + at) else { return Some((text, 0)) };
    let (before, offset) = text.split_at(sign);
    let digits: String = offset[1..].chars().filter(|character| *character != ':').collect();
    let is_right = matches!(digits.len(), 2 | 4) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: i64 = digits.parse().ok().filter(|_| is_right)?;
    let (hours, minutes) = if digits.len() == 2 { (number, 0) } else { (number / 100, number % 100) };
    if hours > 23 || minutes > 59 {
        return None;
    }
    let minutes = hours * 60 + minutes;
    Some((before.trim_end(), if offset.starts_with('-') { -minutes } else { minutes }))
}

/// Whether it begins with two numbers of which either may be the month, as in 01/02/2026.
fn is_day_and_month(text: &str) -> bool {
    let date = text.split([' ', 'T']).next().unwrap_or_default();
    ['/', '-'].into_iter().any(|separator| {
        let parts: Vec<&str> = date.split(separator).collect();
        let is_number = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        parts.len() == 3
            && parts.iter().all(is_number)
            && parts[0].len() <= 2
            && parts[1].len() <= 2
            && matches!(parts[2].len(), 2 | 4)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<i64> {
        TimeOptions::default().text(text).ok()
    }

    #[test]
    fn times_that_can_be_read_in_one_way_only() {
        let noon = 1_262_347_200_000; // 2010-01-01T12:00:00Z
        for text in [
            "2010-01-01T12:00:00Z",
            "2010-01-01T13:00:00+01:00",
            "2010-01-01T13:00:00+0100",
            "2010-01-01 13:00:00 +0100",
            "2010-01-01 07:00:00-05",
            "2010-01-01 12:00:00",
            "2010-01-01 12:00",
            "2010-01-01T12:00:00",
            "2010-01-01 12:00:00 UTC",
            "2010-01-01 12:00:00UTC",
            "2010-01-01 12:00:00 GMT",
            "2010-01-01 12:00:00 Z",
            "2010-01-01 12:00:00+0000",
            "2010-01-01 12:00:00.000 +0000",
            "2010-01-01 12:00:00,000",
            "2010/01/01 12:00:00",
            "2010/1/1 12:00",
            "2010.01.01 12:00:00",
            "01.01.2010 12:00:00",
            "2010-01-01 12:00:00 PM",
            "2010-01-01 12:00 PM",
            "Fri, 01 Jan 2010 12:00:00 +0000",
            "1262347200000",
            "1262347200000.0",
            "1262347200000.75",
            "1.2623472e12",
            " 2010-01-01 12:00:00 ",
        ] {
            assert_eq!(read(text), Some(noon), "{text:?}");
        }
        for (text, expected) in [
            ("1970-01-02", 86_400_000),
            ("1970/01/02", 86_400_000),
            ("02.01.1970", 86_400_000),
            ("1970-01-02 UTC", 86_400_000),
            ("1970-01-01 00:00:01.250", 1_250),
            ("1969-12-31T23:59:59.999Z", -1),
            ("1234", 1_234),
        ] {
            assert_eq!(read(text), Some(expected), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "yesterday",
            "2010-13-01",
            "2010-02-30",
            "12:00:00",
            "2010-01-01 25:00",
            "2010-01-01 12:00:00 CET",
            "2010-01-01 12:00:00+99:00",
            "2010-01-01x",
            "1e",
            "0x10",
            "inf",
            "NaN",
            "2010-01",
            "2010-01-01 12:00:00 +01x0",
            "T",
            " ",
            "Z",
            "UTC",
            "-",
            "1/2",
            "+01:00",
        ] {
            assert_eq!(TimeOptions::default().text(text), Err(TimeProblem::NotATime), "{text:?}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_names_the_flag() {
        for text in ["01/02/2010", "01/02/2010 10:00", "13/02/2010", "1/2/10", "01-02-2010"] {
            match TimeOptions::default().text(text) {
                Err(TimeProblem::Ask(what)) => assert!(what.contains("--time-format"), "{what}"),
                other => panic!("{text}: {other:?}"),
            }
        }
        let options = TimeOptions { format: Some("%d/%m/%Y %H:%M".into()), ..TimeOptions::default() };
        assert_eq!(options.text("02/01/1970 00:00"), Ok(86_400_000));
        assert!(matches!(options.text("1970-01-02"), Err(TimeProblem::Ask(_))));
        let options = TimeOptions { format: Some("%d/%m/%Y".into()), ..TimeOptions::default() };
        assert_eq!(options.text("02/01/1970"), Ok(86_400_000));
        let options = TimeOptions { format: Some("%d/%m/%Y %H:%M %z".into()), ..TimeOptions::default() };
        assert_eq!(options.text("02/01/1970 01:00 +0100"), Ok(86_400_000));
    }

    #[test]
    fn a_format_that_leaves_the_time_open_is_no_midnight() {
        let read = |text: &str, format: &str| {
            TimeOptions { format: Some(format.into()), ..TimeOptions::default() }.text(text)
        };
        let day = 1_767_225_600_000; // 2026-01-01T00:00:00Z
        let hour = 3_600_000;
        for (text, format, expected) in [
            ("2026-01-01 10", "%Y-%m-%d %H", day + 10 * hour),
            ("2026-01-01 10 PM", "%Y-%m-%d %I %p", day + 22 * hour),
            ("01/01/2026 12:30 AM", "%m/%d/%Y %I:%M %p", day + hour / 2),
            ("2026-01-01", "%Y-%m-%d", day),
            ("2026-01-01 +0100", "%Y-%m-%d %z", day - hour),
            ("2026-01-01 10 -0200", "%Y-%m-%d %H %z", day + 12 * hour),
            ("2026-001", "%Y-%j", day),
            ("1767225600", "%s", day),
            ("1767225600 GMT", "%s GMT", day),
            ("2026-01-01 10:00:00 UTC", "%Y-%m-%d %H:%M:%S UTC", day + 10 * hour),
        ] {
            assert_eq!(read(text, format), Ok(expected), "{text:?} as {format:?}");
        }
        for (text, format, words) in [
            ("01/01/2026 10:30", "%m/%d/%Y %I:%M", "which half of the day"),
            ("2026-01-01 10 30", "%Y-%m-%d %H %S", "no minute"),
            ("2026-01-01 30", "%Y-%m-%d %M", "no hour"),
            ("2026-01-01 PM", "%Y-%m-%d %p", "no hour"),
            ("01-01 10:00", "%m-%d %H:%M", "which year, month and day"),
            ("10:00", "%H:%M", "which year, month and day"),
            ("2026-01-01 10:00:00 CET", "%Y-%m-%d %H:%M:%S %Z", "give %z"),
            ("2026-02-30", "%Y-%m-%d", "is not written as"),
            ("2026-01-01 10:00", "%Y-%m-%d", "is not written as"),
            ("2026-01-01", "%Q", "is not written as"),
        ] {
            match read(text, format) {
                Err(TimeProblem::Ask(what)) => {
                    assert!(what.contains(words), "{text:?} as {format:?}: {what}")
                }
                other => panic!("{text:?} as {format:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_looks_like_a_time_is_a_time_or_a_number_of_seconds_since_1970_in_a_usual_unit() {
        for text in
            ["2026-01-01", "1/2/2026", "1796011778", "1796011778.5", "1796011778000", "1796011778000000"]
        {
            assert!(looks_like_time(text), "{text}");
        }
        for text in ["", "7", "-1796011778", "0.5", "12345678901", "eu-1", "491711234567890123456"] {
            assert!(!looks_like_time(text), "{text}");
        }
    }

    #[test]
    fn the_unit_of_a_number_is_never_guessed() {
        let cases: [(f64, &str); 3] =
            [(1.796_011_778e9, "s"), (1.796_011_778e15, "us"), (1.796_011_778e18, "ns")];
        for (number, flag) in cases {
            let whole = Number::Whole(number as i64);
            let Err(TimeProblem::Ask(what)) = TimeOptions::default().number(whole) else {
                panic!("{number}")
            };
            assert!(what.ends_with(&format!("--time-unit {flag}")), "{what}");
            let unit = TimeUnit::from_str(flag, true).unwrap();
            let said = TimeOptions { unit: Some(unit), ..TimeOptions::default() };
            assert_eq!(said.number(whole), Ok(1_796_011_778_000));
            let wrong = said.number(Number::Whole(1_796_011_778_000));
            assert!(matches!(wrong, Err(TimeProblem::Ask(what)) if what.ends_with("--time-unit ms")));
        }
        let moved = TimeOptions { is_moved: true, ..TimeOptions::default() };
        assert!(matches!(moved.number(Number::Whole(7)), Err(TimeProblem::Ask(_))));
        assert_eq!(TimeOptions::default().number(Number::Whole(7)), Ok(7), "too old, as the server will say");
        let said = TimeOptions { unit: Some(TimeUnit::Seconds), is_moved: true, ..TimeOptions::default() };
        assert_eq!(said.number(Number::Whole(7)), Ok(7_000));
        assert_eq!(said.number(Number::Fraction(1_796_011_778.25)), Ok(1_796_011_778_250));
    }
}
