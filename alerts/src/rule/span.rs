//! Spans of time as people write them: `90s`, `5m`, `1h30m`, `7d`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// A span of time, never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(i64);

/// A text that is no span.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no span of time; write whole numbers with units: 500ms, 90s, 5m, 1h30m, 7d")]
pub struct SpanError(String);

/// Units, largest first, and their milliseconds.
const UNITS: [(&str, i64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The longest: a hundred years, so that sums of spans and times stay far from the end of an `i64`.
const LONGEST_MS: i64 = 36_500 * 86_400_000;

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// Of milliseconds; negative ones count as none.
    #[must_use]
    pub const fn from_ms(ms: i64) -> Self {
        if ms < 0 { Self(0) } else { Self(ms) }
    }

    /// Of minutes.
    #[must_use]
    pub const fn minutes(minutes: u32) -> Self {
        Self(minutes as i64 * 60_000)
    }

    /// In milliseconds.
    #[must_use]
    pub const fn ms(self) -> i64 {
        self.0
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let refused = || SpanError(text.to_owned());
        let mut rest = text;
        let mut total: i64 = 0;
        let mut last_unit = i64::MAX;
        if rest == "0" {
            return Ok(Self::ZERO);
        }
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, after) = rest.split_at(digits);
            let letters = after.bytes().take_while(u8::is_ascii_lowercase).count();
            let (unit, after) = after.split_at(letters);
            let number: i64 = number.parse().map_err(|_| refused())?;
            let (_, ms) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or_else(refused)?;
            if ms >= last_unit {
                return Err(refused());
            }
            last_unit = ms;
            total = number.checked_mul(ms).and_then(|part| total.checked_add(part)).ok_or_else(refused)?;
            rest = after;
        }
        if text.is_empty() || total > LONGEST_MS { Err(refused()) } else { Ok(Self(total)) }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, ms) in UNITS {
            if rest >= ms {
                write!(f, "{}{unit}", rest / ms)?;
                rest %= ms;
            }
        }
        Ok(())
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_written() {
        for (text, ms) in
            [("90s", 90_000), ("1h30m", 5_400_000), ("7d", 604_800_000), ("500ms", 500), ("0", 0), ("0s", 0)]
        {
            assert_eq!(text.parse(), Ok(Span(ms)), "{text}");
        }
        for ms in [0, 1, 999, 1_000, 61_001, 5_400_000, 90_061_001] {
            assert_eq!(Span(ms).to_string().parse(), Ok(Span(ms)));
        }
        assert_eq!(Span(90_000).to_string(), "1m30s");
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for text in [
            "",
            "5",
            "m",
            "-5m",
            "5 m",
            "5m5h",
            "5m5m",
            "1.5h",
            "5M",
            "99999999999999999999d",
            "40000d",
            "5µs",
        ] {
            let error = text.parse::<Span>().expect_err(text);
            assert!(error.to_string().contains("1h30m"), "{error}");
        }
    }
}
