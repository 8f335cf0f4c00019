//! What a producer added to an event, handed out as it was stored.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// A JSON object as its stored text: read again it might come out otherwise, keys sorted, long numbers rounded.
#[derive(Debug, Clone)]
pub struct Metadata(Box<RawValue>);

impl Metadata {
    /// Of a stored text. Ingest accepts nothing but JSON objects; should a row hold something else, it is shown as a
    /// JSON string.
    #[must_use]
    pub fn of_text(text: String) -> Self {
        RawValue::from_string(text.clone())
            .or_else(|_| serde_json::value::to_raw_value(&text))
            .map_or_else(|_| Self(RawValue::NULL.to_owned()), Self)
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        self.0.get()
    }
}

impl PartialEq for Metadata {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Serialize for Metadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_comes_out_as_it_was_stored() {
        let cases = [
            (
                r#"{"z":1.10,"a":12345678901234567890123,"e":1e400,"z":2}"#,
                r#"{"z":1.10,"a":12345678901234567890123,"e":1e400,"z":2}"#,
            ),
            ("{}", "{}"),
            ("no \"JSON\"", r#""no \"JSON\"""#),
        ];
        for (stored, shown) in cases {
            let metadata = Metadata::of_text(stored.to_owned());
            assert_eq!(metadata.text(), shown);
            assert_eq!(serde_json::to_string(&Some(metadata)).unwrap(), shown);
        }
    }
}
