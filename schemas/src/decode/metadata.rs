//! Metadata: one JSON object of anything, kept as text. It is scanned rather than parsed, for content first of all.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::json_text::{Token, tokens};
use super::parser_error::described;
use super::redact::{content_field, is_plain_name};
use super::value::{KeySeed, kind, unescaped};
use crate::fault::{Fault, JsonKind};
use crate::limits;

/// An unknown field of a row: its name and its value's text.
pub(super) type Extra<'a> = (Cow<'a, str>, &'a RawValue);

/// What a row says besides its columns.
#[derive(Debug, Default)]
pub(super) struct Aside<'a> {
    /// The field `metadata`.
    pub(super) metadata: Option<&'a RawValue>,
    /// Fields of no known name, each once, none of them content by its name. At most [`limits::UNKNOWN_FIELDS`].
    pub(super) extras: Vec<Extra<'a>>,
}

impl<'a> Aside<'a> {
    /// The text of the metadata column, "" when there is nothing. Borrowed as long as no unknown field joins it.
    pub(super) fn into_text(self, max_bytes: usize) -> Result<Cow<'a, str>, Fault> {
        let metadata = match self.metadata.map(|raw| (kind(raw), raw.get())) {
            None | Some((JsonKind::Null, _)) => "",
            Some((JsonKind::Object, text)) => text,
            Some((found, _)) => {
                return Err(Fault::WrongType { field: "metadata", expected: "an object", found });
            }
        };
        let mut names_may_repeat = false;
        let mut is_empty = true;
        if !metadata.is_empty() {
            let scan = scan(metadata, "metadata")?;
            names_may_repeat = scan.names_may_repeat;
            is_empty = scan.is_empty;
        }
        // Content is reported however much there is.
        refuse_larger(metadata.len(), max_bytes)?;
        if is_empty && self.extras.is_empty() {
            return Ok(Cow::Borrowed(""));
        }
        if !names_may_repeat && self.extras.is_empty() {
            return Ok(Cow::Borrowed(metadata));
        }
        let own_names = names(metadata)?;
        if self.extras.is_empty() {
            return Ok(Cow::Borrowed(metadata));
        }
        let merged = merge(metadata, &own_names, &self.extras, max_bytes)?;
        refuse_larger(merged.len(), max_bytes)?;
        Ok(Cow::Owned(merged))
    }
}

/// Whether the metadata says `"vip": true`.
pub(crate) fn says_vip(metadata: &str) -> bool {
    let mut depth = 0_usize;
    let mut is_vips_value = false;
    for token in tokens(metadata.as_bytes()) {
        match token {
            Token::Open(_) => depth += 1,
            Token::Close(_) => depth = depth.saturating_sub(1),
            Token::Other(run) if is_vips_value => {
                let value = run.trim_ascii_start().strip_prefix(b":").unwrap_or_default();
                return value.trim_ascii_start().starts_with(b"true");
            }
            Token::Text { body, key: true } if depth == 1 => {
                is_vips_value = unescaped(body).is_some_and(|name| name == "vip");
            }
            Token::Text { .. } | Token::Other(_) => {}
        }
    }
    false
}

/// A name of a producer's as it may stand in a reason: by its length, unless redaction would keep it too. What was said can
/// stand where a name should, in an object made of sentences and where a quote is missing.
pub(super) fn shown(name: &str) -> String {
    if is_plain_name(name) { name.to_owned() } else { format!("({} characters)", name.chars().count()) }
}

fn refuse_larger(bytes: usize, limit: usize) -> Result<(), Fault> {
    if bytes > limit { Err(Fault::MetadataTooLarge { bytes, limit }) } else { Ok(()) }
}

struct Scan {
    /// No name at the top.
    is_empty: bool,
    /// Two names at the top hash alike: worth an exact look.
    names_may_repeat: bool,
}

/// Looks through a valid JSON value for content at any depth, for depth beyond all need and for what parsers
/// downstream would choke on. `field` is the name the value stands under.
fn scan(text: &str, field: &str) -> Result<Scan, Fault> {
    let mut depth = 0_usize;
    let mut hashes_seen = 0_u128;
    let mut found = Scan { is_empty: true, names_may_repeat: false };
    let mut doubtful = false;
    for token in tokens(text.as_bytes()) {
        match token {
            Token::Open(_) => {
                depth += 1;
                if depth > limits::METADATA_DEPTH {
                    return Err(Fault::TooDeep { field: shown(field) });
                }
            }
            Token::Close(_) => depth = depth.saturating_sub(1),
            Token::Text { body, key } => {
                doubtful |= body.windows(2).any(|pair| pair == br"\u");
                if !key {
                    continue;
                }
                let name = unescaped(body).unwrap_or_default();
                if content_field(&name).is_some() {
                    return Err(Fault::ConversationContent { field: path_to_content(text, field) });
                }
                if depth == 1 {
                    found.is_empty = false;
                    let bit = 1_u128 << (hash(name.as_bytes()) % 128);
                    found.names_may_repeat |= hashes_seen & bit != 0;
                    hashes_seen |= bit;
                }
            }
            Token::Other(run) => doubtful |= may_overflow(run),
        }
    }
    if doubtful {
        serde_json::from_str::<serde_json::Value>(text).map_err(|error| Fault::InvalidJson {
            what: format!("{} of the value", described(&error, text)),
            field: Some("metadata"),
            hint: None,
        })?;
    }
    Ok(found)
}

/// The names that lead to the first field of content, joined by dots; those within arrays without their index.
/// At most [`limits::METADATA_DEPTH`] names and one.
fn path_to_content(text: &str, field: &str) -> String {
    // One place an open bracket: the name last read there, "" in an array.
    let mut names: Vec<String> = Vec::new();
    for token in tokens(text.as_bytes()) {
        match token {
            Token::Open(_) => names.push(String::new()),
            Token::Close(_) => drop(names.pop()),
            Token::Text { body, key: true } => {
                let name = unescaped(body).unwrap_or_default();
                if let Some(innermost) = names.last_mut() {
                    *innermost = shown(&name);
                }
                if content_field(&name).is_some() {
                    break;
                }
            }
            Token::Text { .. } | Token::Other(_) => {}
        }
    }
    let below = names.into_iter().filter(|name| !name.is_empty());
    std::iter::once(shown(field)).chain(below).collect::<Vec<_>>().join(".")
}

/// Whether a number in the run may be too large for a float: it has an exponent, or very many digits.
fn may_overflow(run: &[u8]) -> bool {
    const SURELY_FINITE_DIGITS: usize = 300;
    run.len() > SURELY_FINITE_DIGITS
        || run.windows(2).any(|pair| matches!(pair, [digit, b'e' | b'E'] if digit.is_ascii_digit()))
}

/// FNV-1a: short names, no adversary, since a collision only costs an exact look.
fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The names at the top of an object's text, sorted; twice the same one is a fault.
fn names(object: &str) -> Result<Vec<Cow<'_, str>>, Fault> {
    struct Names;

    impl<'de> Visitor<'de> for Names {
        type Value = Vec<Cow<'de, str>>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut names = Vec::new();
            while let Some(name) = map.next_key_seed(KeySeed)? {
                map.next_value::<serde::de::IgnoredAny>()?;
                names.push(name);
            }
            Ok(names)
        }
    }

    if object.is_empty() {
        return Ok(Vec::new());
    }
    let mut names = serde_json::Deserializer::from_str(object).deserialize_map(Names).map_err(|error| {
        let what = format!("{} of the value", described(&error, object));
        Fault::InvalidJson { what, field: Some("metadata"), hint: None }
    })?;
    names.sort_unstable();
    let repeated = names.windows(2).find_map(|pair| match pair {
        [one, other] if one == other => Some(one),
        _ => None,
    });
    match repeated {
        Some(name) => Err(Fault::DuplicateField { field: format!("metadata.{}", shown(name)) }),
        None => Ok(names),
    }
}

/// The object's text with the unknown fields behind its own; a name in both is a fault.
fn merge(
    object: &str,
    own_names: &[Cow<'_, str>],
    extras: &[Extra<'_>],
    max_bytes: usize,
) -> Result<String, Fault> {
    let inner = object.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default().trim();
    let mut merged = String::with_capacity(object.len() + 64 * extras.len());
    merged.push('{');
    merged.push_str(inner);
    for (name, value) in extras {
        scan(value.get(), name)?;
        refuse_larger(value.get().len(), max_bytes)?;
        if own_names.binary_search(name).is_ok() {
            // Either could be the one that was meant, and only one has room.
            return Err(Fault::DuplicateField { field: format!("metadata.{}", shown(name)) });
        }
        if merged.len() > 1 {
            merged.push(',');
        }
        merged.push_str(&serde_json::Value::from(name.as_ref()).to_string());
        merged.push(':');
        merged.push_str(value.get());
    }
    merged.push('}');
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 200;

    fn text(metadata: &str, extras: &[(&str, &str)]) -> Result<String, Fault> {
        let metadata: Option<&RawValue> =
            (!metadata.is_empty()).then(|| serde_json::from_str(metadata).expect("test metadata is JSON"));
        let extras = extras
            .iter()
            .map(|(name, value)| {
                (Cow::Borrowed(*name), serde_json::from_str(value).expect("test value is JSON"))
            })
            .collect();
        Aside { metadata, extras }.into_text(LIMIT).map(Cow::into_owned)
    }

    fn code(metadata: &str, extras: &[(&str, &str)]) -> &'static str {
        text(metadata, extras).expect_err("is refused").code()
    }

    #[test]
    fn nothing_is_the_empty_string() {
        for metadata in ["", "null", "{}", "{ }"] {
            assert_eq!(text(metadata, &[]).as_deref(), Ok(""), "{metadata}");
        }
    }

    #[test]
    fn unknown_fields_join_and_a_name_in_both_is_a_fault() {
        assert_eq!(text(r#"{"a":1}"#, &[("b", "[2]")]).as_deref(), Ok(r#"{"a":1,"b":[2]}"#));
        assert_eq!(text("", &[("b", "2"), ("c\"", "null")]).as_deref(), Ok(r#"{"b":2,"c\"":null}"#));
        assert_eq!(text("{ }", &[("b", "2")]).as_deref(), Ok(r#"{"b":2}"#));
        for metadata in [r#"{"a":1}"#, r#"{"\u0061":1}"#] {
            let fault = text(metadata, &[("b", "1"), ("a", "2")]);
            assert_eq!(fault, Err(Fault::DuplicateField { field: "metadata.a".to_owned() }), "{metadata}");
        }
    }

    #[test]
    fn content_is_refused_at_any_depth_by_name() {
        let fault = text(r#"{"a":[{"b":{"Message_Text":"secret"}}]}"#, &[]).expect_err("is refused");
        assert_eq!(fault, Fault::ConversationContent { field: "metadata.a.b.Message_Text".to_owned() });
        assert!(!fault.to_string().contains("secret"));
        let fault = text(r#"{"a":{"x":[1]},"b":{"c":{"y":2},"content":1}}"#, &[]).expect_err("is refused");
        assert_eq!(fault, Fault::ConversationContent { field: "metadata.b.content".to_owned() });
        let fault = text("", &[("note", r#"{"te\u0078t":1}"#)]).expect_err("is refused");
        assert_eq!(fault, Fault::ConversationContent { field: "note.text".to_owned() });
        let large = format!(r#"{{"a":"{}","te\u0078t":"secret"}}"#, "x".repeat(LIMIT));
        assert_eq!(code(&large, &[]), "conversation_content", "before its size");
        assert_eq!(code("", &[("b", &large)]), "conversation_content", "before its size");
        assert_eq!(text(r#"{"a":"text"}"#, &[]).as_deref(), Ok(r#"{"a":"text"}"#));
    }

    #[test]
    fn faults() {
        assert_eq!(code("[1]", &[]), "wrong_type");
        assert_eq!(code("\"text\"", &[]), "wrong_type");
        assert_eq!(code(r#"{"a":1,"a":2}"#, &[]), "duplicate_field");
        assert_eq!(code(r#"{"a":1,"\u0061":2}"#, &[]), "duplicate_field");
        assert_eq!(code(&format!(r#"{{"a":"{}"}}"#, "x".repeat(LIMIT)), &[]), "metadata_too_large");
        assert_eq!(code("", &[("a", &format!("\"{}\"", "x".repeat(LIMIT)))]), "metadata_too_large");
        assert_eq!(code(&format!(r#"{{"a":{}{}}}"#, "[".repeat(16), "]".repeat(16)), &[]), "too_deep");
        assert!(text(&format!(r#"{{"a":{}{}}}"#, "[".repeat(15), "]".repeat(15)), &[]).is_ok());
        assert_eq!(code(r#"{"a":1e999}"#, &[]), "invalid_json");
        assert_eq!(code(r#"{"a":"\ud800"}"#, &[]), "invalid_json");
    }

    #[test]
    fn vip_is_a_literal_at_the_top() {
        for (metadata, expected) in [
            (r#"{"vip":true}"#, true),
            (r#"{"a":[1,{"vip":false}],"vip" : true ,"b":1}"#, true),
            (r#"{"v\u0069p":true}"#, true),
            (r#"{"vip":false}"#, false),
            (r#"{"vip":"true"}"#, false),
            (r#"{"vip":1,"b":true}"#, false),
            (r#"{"a":{"vip":true}}"#, false),
            (r#"{"a":"vip","b":true}"#, false),
            ("", false),
        ] {
            assert_eq!(says_vip(metadata), expected, "{metadata}");
        }
    }
}
