//! Texts in the bodies of these routes: bounded as what the control log takes.

use kelly_control::op::{MAX_LEVELS, MAX_NAME_CHARS};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

/// Longest note or reason, in characters: four bytes each still fit what the control log takes.
const MAX_CHARACTERS: usize = 1_024;

/// Words of a person: not blank, 1,024 characters at most.
#[derive(Debug, Clone, PartialEq, Eq, ToSchema)]
#[schema(value_type = String, min_length = 1, max_length = 1024, pattern = "[^\\s\\u0085\\ufeff\\u001c-\\u001f]", example = "on it")]
pub(crate) struct Words(pub(crate) String);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // What is blank to the pattern is blank here.
        let is_blank = |character: char| {
            character.is_whitespace() || matches!(character, '\u{feff}' | '\u{1c}'..='\u{1f}')
        };
        if text.chars().all(is_blank) || text.chars().count() > MAX_CHARACTERS {
            return Err(D::Error::custom("a text is blank or too long"));
        }
        Ok(Self(text))
    }
}

/// The name of somebody or something: 1 to 256 characters, no control characters.
#[derive(Debug, Clone, PartialEq, Eq, ToSchema)]
#[schema(value_type = String, min_length = 1, max_length = 256, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$", example = "ada")]
pub(crate) struct NameText(pub(crate) String);

impl<'de> Deserialize<'de> for NameText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let count = text.chars().count();
        if count == 0 || count > MAX_NAME_CHARS || text.chars().any(char::is_control) {
            return Err(D::Error::custom("a name is empty, too long, or has control characters"));
        }
        Ok(Self(text))
    }
}

/// A version that a caller saw. No larger than programs can tell apart that count in doubles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(value_type = u64, maximum = 9007199254740991_i64, example = 17)]
pub(crate) struct Version(pub(crate) u64);

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        whole(deserializer, (1 << 53) - 1).map(Self)
    }
}

/// A level that an alert can climb to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(value_type = u8, maximum = 16)]
pub(crate) struct AlertLevel(pub(crate) u8);

impl<'de> Deserialize<'de> for AlertLevel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let level = whole(deserializer, MAX_LEVELS as u64)?;
        u8::try_from(level).map(Self).map_err(D::Error::custom)
    }
}

/// A whole number from 0 to `most`, however it is written: to JSON 7 and 7.0 are the same.
pub(super) fn whole<'de, D: Deserializer<'de>>(deserializer: D, most: u64) -> Result<u64, D::Error> {
    let number = serde_json::Number::deserialize(deserializer)?;
    let whole = number.as_u64().or_else(|| {
        // Up to 2^53 every whole number is one of these exactly.
        let number =
            number.as_f64().filter(|number| number.fract() == 0.0 && (0.0..=9e15).contains(number))?;
        Some(number as u64)
    });
    whole
        .filter(|whole| *whole <= most)
        .ok_or_else(|| D::Error::custom("a number is not whole, or too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_held_to_their_bounds() {
        let words = |text: &str| serde_json::from_value::<Words>(text.into()).is_ok();
        assert!(words("on it") && words("界") && words(&"界".repeat(1_024)));
        assert!(!words("") && !words(" \u{85}\u{feff}\u{1f}\n") && !words(&"界".repeat(1_025)));
        let number = |number: u64| serde_json::from_value::<Version>(number.into()).is_ok();
        assert!(serde_json::from_str::<Version>("20985548.0").is_ok_and(|version| version.0 == 20_985_548));
        assert!(
            serde_json::from_str::<Version>("1.5").is_err()
                && serde_json::from_str::<Version>("-1.0").is_err()
        );
        assert!(number(0) && number((1 << 53) - 1) && !number(1 << 53));
        let level = |level: u64| serde_json::from_value::<AlertLevel>(level.into()).is_ok();
        assert!(level(0) && level(16) && !level(17));
        let name = |text: &str| serde_json::from_value::<NameText>(text.into()).is_ok();
        assert!(name("ada") && name(&"界".repeat(256)));
        assert!(!name("") && !name("a\u{7}") && !name(&"界".repeat(257)));
    }
}
