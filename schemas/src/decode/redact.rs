//! Conversation content: which fields would carry it, and how refused bytes are kept without it.

use super::json_text::{Token, tokens};
use super::value::unescaped;

/// Names of fields that would carry what was said. They are refused at any depth, in any letter case and
/// with or without `_` and `-`: `messageText` is `message_text`.
pub const CONTENT_FIELDS: [&str; 12] = [
    "content",
    "text",
    "body",
    "message",
    "message_text",
    "message_body",
    "prompt",
    "completion",
    "transcript",
    "utterance",
    "reply",
    "response_text",
];

/// Longest name of a field that redaction keeps; anything longer is no name.
const KEPT_NAME_BYTES: usize = 100;

/// The refused name that this one is, if it is one.
#[must_use]
pub fn content_field(name: &str) -> Option<&'static str> {
    // No refused name begins otherwise; most fields leave here.
    let may_be = matches!(
        name.as_bytes().first().map(u8::to_ascii_lowercase),
        Some(b'b' | b'c' | b'm' | b'p' | b'r' | b't' | b'u' | b'_' | b'-')
    );
    if !may_be {
        return None;
    }
    let letters = |text: &'static str| text.bytes().filter(|byte| *byte != b'_');
    CONTENT_FIELDS.into_iter().find(|refused| {
        name.bytes()
            .filter(|byte| !matches!(byte, b'_' | b'-'))
            .map(|byte| byte.to_ascii_lowercase())
            .eq(letters(refused))
    })
}

/// Whether the bytes, JSON or not, name a field of content: as a key, as a bare word before `:` or `=`, or
/// anywhere in a string that holds JSON itself. When in doubt, yes: the price is a dead letter
/// without its strings. The names stay when bytes are redacted, so of JSON that was it is still yes.
#[must_use]
pub fn names_content(bytes: &[u8]) -> bool {
    let in_json = tokens(bytes).any(|token| match token {
        Token::Text { body, key: true } => unescaped(body).is_some_and(|name| content_field(&name).is_some()),
        Token::Text { body, key: false } => {
            body.windows(2).any(|pair| pair == br#"\""#) && words(body).any(|word| is_content_word(word.text))
        }
        Token::Other(run) => words(run).any(|word| word.is_assigned() && is_content_word(word.text)),
        Token::Open(_) | Token::Close(_) => false,
    });
    // Where a quote is missing, all behind it seems to be inside out.
    in_json || words(bytes).any(|word| word.quoted && word.is_assigned() && is_content_word(word.text))
}

/// The bytes with the number of its characters in place of each string, and question marks in place of whatever
/// JSON does not know: the shape stays, the words go. Names of fields, numbers and literals stay. A name is one by its
/// place and by its letters: where quotes are missing or too many, what was said can stand before a colon.
#[must_use]
pub fn redacted(bytes: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(bytes.len());
    let mut may_be_named = false;
    for token in tokens(bytes) {
        match token {
            Token::Text { body, key: true } => match unescaped(body).filter(|name| is_plain_name(name)) {
                Some(name) if may_be_named => {
                    kept.push(b'"');
                    kept.extend_from_slice(name.as_bytes());
                    kept.push(b'"');
                }
                _ => kept.extend_from_slice(format!("\"{} characters\"", characters(body)).as_bytes()),
            },
            Token::Text { body, key: false } => {
                kept.extend_from_slice(characters(body).to_string().as_bytes())
            }
            Token::Open(byte) | Token::Close(byte) => kept.push(byte),
            Token::Other(run) => redact_run(run, &mut kept),
        }
        may_be_named = match token {
            Token::Open(byte) => byte == b'{',
            Token::Other(run) => match run.trim_ascii().last() {
                Some(last) => *last == b',',
                None => may_be_named,
            },
            Token::Text { .. } | Token::Close(_) => false,
        };
    }
    kept
}

/// Whether a key may stay: not too long, and without a space or a letter of another script.
pub(super) fn is_plain_name(key: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:/$@".contains(&byte);
    key.len() <= KEPT_NAME_BYTES && key.bytes().all(is_plain)
}

fn redact_run(run: &[u8], kept: &mut Vec<u8>) {
    for piece in run.chunk_by(|one, other| is_word_byte(*one) == is_word_byte(*other)) {
        let is_word = piece.first().copied().is_some_and(is_word_byte);
        if !is_word || matches!(piece, b"true" | b"false" | b"null") || is_number(piece) {
            kept.extend_from_slice(piece);
        } else {
            kept.extend(std::iter::repeat_n(b'?', characters(piece)));
        }
    }
}

/// Digits, with a minus or the `e` of an exponent among them; plus and point are not part of a word.
fn is_number(word: &[u8]) -> bool {
    let unsigned = word.strip_prefix(b"-").unwrap_or(word);
    unsigned.first().is_some_and(u8::is_ascii_digit)
        && unsigned.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'e' | b'E' | b'-'))
}

/// A run of letters, and what stands around it.
struct Word<'a> {
    text: &'a [u8],
    /// Whether a quote stands on either side.
    quoted: bool,
    /// The first byte after it that is neither white space, of which a vertical tab is one here, nor a quote.
    next: Option<u8>,
}

impl Word<'_> {
    fn is_assigned(&self) -> bool {
        matches!(self.next, Some(b':' | b'='))
    }
}

/// The words of the bytes.
fn words(bytes: &[u8]) -> impl Iterator<Item = Word<'_>> {
    let is_quote = |byte: &u8| matches!(byte, b'\'' | b'"');
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let start = rest.iter().position(|byte| is_word_byte(*byte))?;
        let (before, from_word) = rest.split_at(start);
        let end = from_word.iter().position(|byte| !is_word_byte(*byte)).unwrap_or(from_word.len());
        let (text, after) = from_word.split_at(end);
        rest = after;
        let quoted = before.last().is_some_and(is_quote) && after.first().is_some_and(is_quote);
        let is_space = |byte: &u8| byte.is_ascii_whitespace() || byte.is_ascii_control();
        let next = after.iter().find(|byte| !is_space(byte) && !is_quote(byte));
        Some(Word { text, quoted, next: next.copied() })
    })
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') || !byte.is_ascii()
}

fn is_content_word(word: &[u8]) -> bool {
    std::str::from_utf8(word).is_ok_and(|word| content_field(word).is_some())
}

/// Characters of UTF-8, and for other bytes something close: whatever is no continuation byte.
fn characters(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| (**byte & 0b1100_0000) != 0b1000_0000).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted_text(text: &str) -> String {
        String::from_utf8(redacted(text.as_bytes())).expect("redaction of UTF-8 is UTF-8")
    }

    #[test]
    fn names_are_recognised_in_every_spelling() {
        for name in
            ["text", "TEXT", "Text", "messageText", "message-text", "Message_Text", "responseText", "reply"]
        {
            assert!(content_field(name).is_some(), "{name} is content");
        }
        for name in [
            "texts",
            "message_id",
            "messages",
            "context",
            "",
            "_",
            "content_type",
            "replying",
            "prompt_tokens",
        ] {
            assert_eq!(content_field(name), None, "{name} is no content");
        }
        assert_eq!(content_field("MessageBody"), Some("message_body"));
    }

    #[test]
    fn every_refused_name_passes_the_first_letter() {
        for name in CONTENT_FIELDS {
            assert_eq!(content_field(name), Some(name));
        }
    }

    #[test]
    fn content_is_found_wherever_it_is_named() {
        for bytes in [
            r#"{"text":"hi"}"#,
            r#"{"a":{"te\u0078t":"hi"}}"#,
            r#"{"a":{"text":"hi"#,
            r#"{text: hi}"#,
            "{'text': 'hi'}",
            "text=hi",
            r#""{\"text\":\"hi\"}""#,
            "{\"text\"\u{b}:hi}",
            r#"{"a":"one quote is missing, "text":"hi"}"#,
        ] {
            assert!(names_content(bytes.as_bytes()), "{bytes}");
        }
        for bytes in [r#"{"metric_name":"text"}"#, r#"{"title":"a message: came"}"#, "nothing here", ""] {
            assert!(!names_content(bytes.as_bytes()), "{bytes}");
        }
    }

    #[test]
    fn the_shape_stays_and_the_words_go() {
        let cases = [
            (
                r#"{"text": "hello", "n": -1.5e3, "m": 2E-7, "ok": true}"#,
                r#"{"text": 5, "n": -1.5e3, "m": 2E-7, "ok": true}"#,
            ),
            (r#"[{"a":["b",null]}]"#, r#"[{"a":[1,null]}]"#),
            (r#"{"text":"unfinished bus"#, r#"{"text":14"#),
            (r#"{"te\u0078t":"hello"}"#, r#"{"text":5}"#),
            ("text: hello you", "????: ????? ???"),
            (r#"{"text":"größe"}"#, r#"{"text":5}"#),
            ("{'text': 'größe'}", "{'????': '?????'}"),
        ];
        for (given, expected) in cases {
            assert_eq!(redacted_text(given), expected);
        }
        for said in [r#"{"n":"said it": 1}"#, r#"{"n":5,"said it":1}"#, r#"["said":1]"#, r#""said":1"#] {
            assert!(!redacted_text(said).contains("said"), "{said}");
        }
        let long_key = format!(r#"{{"{}":1}}"#, "k".repeat(101));
        assert_eq!(redacted_text(&long_key), r#"{"101 characters":1}"#);
    }
}
