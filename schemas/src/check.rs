//! What a column may hold. Every way into Kelly asks here, so that JSON and other forms agree.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

use crate::decode::Origin;
use crate::fault::{Fault, TimeFault};
use crate::limits::{self, VALUE_MAGNITUDE};

/// A name: not empty, not too long, of letters, digits and `_ . : / -`.
pub fn name(field: &'static str, text: &str, limit: usize) -> Result<(), Fault> {
    if text.is_empty() {
        return Err(Fault::EmptyField { field });
    }
    if !text.bytes().all(is_name_byte) {
        let wrong =
            text.chars().zip(1..).find(|(character, _)| !u8::try_from(*character).is_ok_and(is_name_byte));
        if let Some((character, position)) = wrong {
            return Err(Fault::InvalidName { field, character, position });
        }
    }
    length(field, text, limit)
}

/// A name that may be absent: "" is.
pub fn optional_name(field: &'static str, text: &str, limit: usize) -> Result<(), Fault> {
    if text.is_empty() { Ok(()) } else { name(field, text, limit) }
}

/// An id or a label: not too long and without control characters. "" is absent.
pub fn label(field: &'static str, text: &str, limit: usize) -> Result<(), Fault> {
    no_control_characters(field, text, |_| false)?;
    length(field, text, limit)
}

/// A text of several lines: as [`label`], with tabs and line ends.
pub fn lines(field: &'static str, text: &str, limit: usize) -> Result<(), Fault> {
    no_control_characters(field, text, |character| matches!(character, '\t' | '\n' | '\r'))?;
    length(field, text, limit)
}

/// A metric's value: finite and of a magnitude the histogram has a bucket for.
pub fn value(value: f64) -> Result<f64, Fault> {
    if value.abs() <= VALUE_MAGNITUDE { Ok(value) } else { Err(Fault::ValueOutOfRange) }
}

/// A time as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GivenTime {
    /// The field it came from.
    pub field: &'static str,
    /// Milliseconds since the epoch.
    pub epoch_ms: i64,
    /// Written as a number, whose unit may be mistaken.
    pub numeric: bool,
}

/// A time within the bounds around the log's time of its record.
pub fn time(given: GivenTime, origin: &Origin<'_>) -> Result<i64, Fault> {
    let GivenTime { field, epoch_ms, numeric } = given;
    let earliest = origin.log_time_ms.saturating_sub(origin.limits.max_age_ms).max(0);
    let latest = origin.log_time_ms.saturating_add(origin.limits.max_future_ms).min(limits::LATEST_MS);
    let fits =
        |converted: Option<i64>| converted.is_some_and(|converted| (earliest..=latest).contains(&converted));
    let fault = |bound_ms, seems| TimeFault { field, found_ms: epoch_ms, bound_ms, seems };
    if epoch_ms < earliest {
        let seems = (numeric && fits(epoch_ms.checked_mul(1000))).then_some("in seconds");
        return Err(Fault::TooOld(fault(earliest, seems)));
    }
    if epoch_ms > latest {
        let seems = if !numeric {
            None
        } else if fits(Some(epoch_ms / 1000)) {
            Some("in microseconds")
        } else if fits(Some(epoch_ms / 1_000_000)) {
            Some("in nanoseconds")
        } else {
            None
        };
        return Err(Fault::TooFarInFuture(fault(latest, seems)));
    }
    Ok(epoch_ms)
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'/' | b'-')
}

fn no_control_characters(field: &'static str, text: &str, allowed: fn(char) -> bool) -> Result<(), Fault> {
    // Almost every text is printable ASCII; the characters are looked at only where it is not.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Ok(());
    }
    let wrong = text.chars().zip(1..).find(|(character, _)| character.is_control() && !allowed(*character));
    match wrong {
        Some((character, position)) => Err(Fault::ControlCharacter { field, character, position }),
        None => Ok(()),
    }
}

fn length(field: &'static str, text: &str, limit: usize) -> Result<(), Fault> {
    // No text has more characters than bytes.
    if text.len() <= limit {
        return Ok(());
    }
    let characters = text.chars().count();
    if characters > limit { Err(Fault::TooLong { field, characters, limit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;

    const LOG_TIME_MS: i64 = 1_726_068_645_000;

    fn check_time(epoch_ms: i64, numeric: bool) -> Result<i64, Fault> {
        let limits = Limits::default();
        let origin = Origin { partition: 0, offset: 0, log_time_ms: LOG_TIME_MS, limits: &limits };
        time(GivenTime { field: "timestamp", epoch_ms, numeric }, &origin)
    }

    fn hint(fault: Result<i64, Fault>) -> Option<&'static str> {
        match fault {
            Err(Fault::TooOld(time) | Fault::TooFarInFuture(time)) => time.seems,
            other => panic!("no fault of time: {other:?}"),
        }
    }

    #[test]
    fn names_and_labels() {
        assert_eq!(name("metric_name", "a.B:c/d-e_9", 100), Ok(()));
        assert_eq!(name("metric_name", "", 100), Err(Fault::EmptyField { field: "metric_name" }));
        let wrong = Fault::InvalidName { field: "metric_name", character: 'ö', position: 2 };
        assert_eq!(name("metric_name", "löwe", 100), Err(wrong));
        assert_eq!(name("f", &"n".repeat(100), 100), Ok(()));
        let long = Fault::TooLong { field: "f", characters: 101, limit: 100 };
        assert_eq!(name("f", &"n".repeat(101), 100), Err(long));
        assert_eq!(label("f", &"ö".repeat(50), 50), Ok(()), "characters count, not bytes");
        assert_eq!(label("f", "", 50), Ok(()));
        let control = Fault::ControlCharacter { field: "f", character: '\n', position: 3 };
        assert_eq!(label("f", "ä \n", 50), Err(control));
        assert_eq!(lines("f", "a\tb\r\nc", 50), Ok(()));
        assert_eq!(lines("f", "a\0", 50).map_err(|fault| fault.code()), Err("control_character"));
    }

    #[test]
    fn values() {
        for accepted in [0.0, -0.0, 1e130, -1e130, 5e-324] {
            assert_eq!(value(accepted), Ok(accepted));
        }
        for refused in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.1e130] {
            assert_eq!(value(refused), Err(Fault::ValueOutOfRange));
        }
    }

    #[test]
    fn bounds_of_time_are_inclusive() {
        let limits = Limits::default();
        let (earliest, latest) = (LOG_TIME_MS - limits.max_age_ms, LOG_TIME_MS + limits.max_future_ms);
        assert_eq!(check_time(earliest, true), Ok(earliest));
        assert_eq!(check_time(latest, true), Ok(latest));
        assert_eq!(check_time(earliest - 1, true).map_err(|fault| fault.code()), Err("too_old"));
        assert_eq!(check_time(latest + 1, true).map_err(|fault| fault.code()), Err("too_far_in_future"));
    }

    #[test]
    fn a_wrong_unit_is_recognised_in_numbers_only() {
        assert_eq!(hint(check_time(LOG_TIME_MS / 1000, true)), Some("in seconds"));
        assert_eq!(hint(check_time(LOG_TIME_MS * 1000, true)), Some("in microseconds"));
        assert_eq!(hint(check_time(LOG_TIME_MS * 1_000_000, true)), Some("in nanoseconds"));
        assert_eq!(hint(check_time(LOG_TIME_MS / 1000, false)), None);
        assert_eq!(hint(check_time(-1, true)), None);
        assert_eq!(hint(check_time(i64::MIN, true)), None);
        assert_eq!(hint(check_time(i64::MAX, true)), None);
        assert_eq!(hint(check_time(32_503_680_000_000, false)), None, "the year 3000");
    }

    #[test]
    fn no_retention_reaches_before_the_epoch_or_past_the_store() {
        let limits = Limits { max_age_ms: i64::MAX, max_future_ms: i64::MAX, ..Limits::default() };
        let origin = Origin { partition: 0, offset: 0, log_time_ms: LOG_TIME_MS, limits: &limits };
        let given = |epoch_ms| GivenTime { field: "timestamp", epoch_ms, numeric: false };
        assert_eq!(time(given(0), &origin), Ok(0));
        assert_eq!(time(given(-1), &origin).map_err(|fault| fault.code()), Err("too_old"));
        let late = time(given(limits::LATEST_MS + 1), &origin);
        assert_eq!(late.map_err(|fault| fault.code()), Err("too_far_in_future"));
    }
}
