//! JSON text as tokens, from bytes that need not be JSON: the one scanner for metadata, which is known to
//! be valid, and for redaction, which must cope with anything.

/// A piece of JSON text. The pieces in order make up the whole text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A string: what stands between its quotes, escapes and all. The last one may lack its closing quote.
    Text {
        /// Without the quotes.
        body: &'a [u8],
        /// Whether a colon follows, which makes it the name of a field.
        key: bool,
    },
    /// `{` or `[`.
    Open(u8),
    /// `}` or `]`.
    Close(u8),
    /// A run of anything else: numbers, literals, commas, colons, white space.
    Other(&'a [u8]),
}

/// Cuts the bytes into tokens.
pub(super) fn tokens(bytes: &[u8]) -> Tokens<'_> {
    Tokens { rest: bytes }
}

/// See [`tokens`].
#[derive(Debug, Clone)]
pub(super) struct Tokens<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let (token, rest) = match self.rest {
            [] => return None,
            [b'"', tail @ ..] => {
                let (body, rest) = split_string(tail);
                let key = rest.trim_ascii_start().first() == Some(&b':');
                (Token::Text { body, key }, rest)
            }
            [byte @ (b'{' | b'['), rest @ ..] => (Token::Open(*byte), rest),
            [byte @ (b'}' | b']'), rest @ ..] => (Token::Close(*byte), rest),
            other => {
                let end = other
                    .iter()
                    .position(|byte| matches!(byte, b'"' | b'{' | b'[' | b'}' | b']'))
                    .unwrap_or(other.len());
                let (run, rest) = other.split_at(end);
                (Token::Other(run), rest)
            }
        };
        self.rest = rest;
        Some(token)
    }
}

/// Splits what follows an opening quote into the string and what follows its closing quote.
fn split_string(tail: &[u8]) -> (&[u8], &[u8]) {
    let mut escaped = false;
    let end = tail.iter().position(|byte| {
        let closes = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        closes
    });
    match end.and_then(|end| tail.split_at_checked(end)) {
        Some((body, [_quote, rest @ ..])) => (body, rest),
        _ => (tail, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(body: &str, key: bool) -> Token<'_> {
        Token::Text { body: body.as_bytes(), key }
    }

    #[test]
    fn keys_values_and_the_rest_are_distinguished() {
        let found: Vec<_> = tokens(br#"{"a" : ["b\"]", 1.5e3],"c":null"#).collect();
        assert_eq!(
            found,
            [
                Token::Open(b'{'),
                text("a", true),
                Token::Other(b" : "),
                Token::Open(b'['),
                text(r#"b\"]"#, false),
                Token::Other(b", 1.5e3"),
                Token::Close(b']'),
                Token::Other(b","),
                text("c", true),
                Token::Other(b":null"),
            ]
        );
    }

    #[test]
    fn an_unclosed_string_takes_the_rest() {
        assert_eq!(tokens(br#""ab\"c"#).collect::<Vec<_>>(), [text(r#"ab\"c"#, false)]);
        assert_eq!(tokens(br#""ab\"#).collect::<Vec<_>>(), [text(r"ab\", false)]);
    }

    proptest! {
        #[test]
        fn the_tokens_make_up_the_whole_text(bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'"'), Just(b'\\'), Just(b'{')], 0..64)) {
            let mut rebuilt = Vec::new();
            for token in tokens(&bytes) {
                match token {
                    Token::Text { body, .. } => {
                        rebuilt.push(b'"');
                        rebuilt.extend_from_slice(body);
                        rebuilt.push(b'"');
                    }
                    Token::Open(byte) | Token::Close(byte) => rebuilt.push(byte),
                    Token::Other(run) => rebuilt.extend_from_slice(run),
                }
            }
            // An unclosed last string gained its quote.
            prop_assert!(rebuilt == bytes || rebuilt.strip_suffix(b"\"") == Some(bytes.as_slice()));
        }
    }
}
