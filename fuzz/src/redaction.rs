//! Conversation content: found by name, and gone from what is kept.

use kelly_schemas::decode::{self, CONTENT_FIELDS};
use serde_json::Value;

/// Any bytes, redacted.
pub fn redaction(input: &[u8]) {
    let kept = decode::redacted(input);
    assert_eq!(kept, decode::redacted(input));
    check_kept(&kept);
    if let Ok(value) = serde_json::from_slice::<Value>(input) {
        let kept: Value = serde_json::from_slice(&kept)
            .unwrap_or_else(|error| panic!("{value} became {:?}: {error}", String::from_utf8_lossy(&kept)));
        assert!(strings_of(&kept).values.is_empty(), "{kept}");
    }
}

/// Redacted bytes hold names of fields, literals and numbers, and no word beside them.
pub(crate) fn check_kept(kept: &[u8]) {
    let text = std::str::from_utf8(kept).unwrap_or_else(|error| panic!("{kept:?}: {error}"));
    assert!(text.is_ascii(), "{text:?}");
    // Every other piece stands between quotes.
    for (place, piece) in text.split('"').enumerate() {
        let is_quoted = place % 2 == 1;
        if is_quoted {
            let is_name = piece.len() <= 100
                && piece.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:/$@".contains(&byte));
            let is_count = piece
                .strip_suffix(" characters")
                .is_some_and(|count| count.bytes().all(|byte| byte.is_ascii_digit()));
            assert!(is_name || is_count, "{piece:?} stays in {text:?}");
        } else {
            for word in piece.split(|character: char| !character.is_ascii_alphanumeric()) {
                // The number that stands for a string may touch a literal.
                let rest = ["true", "false", "null"]
                    .iter()
                    .fold(word.to_owned(), |rest, known| rest.replace(known, ""));
                let is_number = rest.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'e' | b'E'));
                assert!(is_number, "{word:?} stays in {text:?}");
            }
        }
    }
    assert_eq!(text.matches('"').count() % 2, 0, "{text:?}");
}

/// Whether a name is one of content: written here once more, and otherwise, than in the decoder.
pub(crate) fn is_content(name: &str) -> bool {
    let plain = |name: &str| name.to_ascii_lowercase().replace(['_', '-'], "");
    CONTENT_FIELDS.iter().any(|field| plain(field) == plain(name))
}

/// Whether the bytes say `"text":` or the like in so many letters, or are JSON with such a field.
pub(crate) fn names_a_field_of_content(bytes: &[u8]) -> bool {
    if let Ok(value) = serde_json::from_slice(bytes) {
        return strings_of(&value).names.iter().any(|name| is_content(name));
    }
    let text = String::from_utf8_lossy(bytes);
    let is_space = |character: char| character.is_ascii_whitespace() || character.is_ascii_control();
    let pieces: Vec<&str> = text.split('"').collect();
    pieces
        .windows(2)
        .skip(1)
        .any(|pair| matches!(pair, [name, after] if is_content(name) && after.trim_start_matches(is_space).starts_with(':')))
}

/// The strings of a value.
#[derive(Default)]
pub(crate) struct Strings {
    /// Names of fields.
    pub(crate) names: Vec<String>,
    /// All others.
    pub(crate) values: Vec<String>,
}

/// The strings of a value, at any depth.
pub(crate) fn strings_of(value: &Value) -> Strings {
    let mut found = Strings::default();
    gather(value, &mut found);
    found
}

fn gather(value: &Value, found: &mut Strings) {
    match value {
        Value::String(text) => found.values.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| gather(item, found)),
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            found.names.push(name.clone());
            gather(value, found);
        }),
        _ => {}
    }
}
