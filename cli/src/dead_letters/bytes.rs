//! The bytes of a dead letter, for people: text where they are text, a dump where not.

use std::fmt::Write;

use kelly_schemas::decode::names_content;
use kelly_sql::queries::DeadLetter;

/// The code of a row that carried conversation content.
const CONVERSATION_CONTENT: &str = "conversation_content";

/// Bytes as somebody can read them.
#[derive(Debug, PartialEq, Eq)]
pub enum Shown {
    /// They are text; line breaks and tabs stay, nothing else speaks to the terminal.
    Text(String),
    /// Sixteen a line: place, numbers, characters.
    Hexadecimal(String),
}

impl Shown {
    /// Text if they are UTF-8 without control characters, and nobody wants numbers.
    pub fn of(bytes: &[u8], hex: bool) -> Self {
        let is_quiet = |character: char| !character.is_control() || matches!(character, '\n' | '\t');
        // A carriage return before a line break is a line break; alone it would overwrite a line.
        match std::str::from_utf8(bytes).map(|text| text.replace("\r\n", "\n")) {
            Ok(text) if !hex && text.chars().all(is_quiet) => Self::Text(text),
            _ => Self::Hexadecimal(dump(bytes)),
        }
    }
}

/// Bytes of a line of a dump.
const LINE: usize = 16;

fn dump(bytes: &[u8]) -> String {
    let lines: Vec<String> = bytes
        .chunks(LINE)
        .enumerate()
        .map(|(index, line)| {
            let mut numbers = String::with_capacity(3 * LINE + 1);
            for (place, byte) in line.iter().enumerate() {
                let gap = if place == LINE / 2 { " " } else { "" };
                // Writing to a string does not fail.
                let _ = write!(numbers, "{gap}{byte:02x} ");
            }
            let characters: String = line
                .iter()
                .map(|byte| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' })
                .collect();
            format!("{:08x}  {numbers:<49}|{characters}|", index * LINE)
        })
        .collect();
    lines.join("\n")
}

/// Two hexadecimal digits a byte.
pub fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether strings were cut out of the bytes before they were stored. When in doubt, yes.
pub fn is_redacted(letter: &DeadLetter) -> bool {
    letter.reason_code == CONVERSATION_CONTENT || names_content(&letter.bytes)
}

/// Whether the letter was longer than what is kept of one.
pub fn is_cut(letter: &DeadLetter) -> bool {
    letter.size >= kelly_ingest::MAX_KEPT_BYTES as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_text_and_everything_else_is_dumped() {
        assert_eq!(
            Shown::of("{\"a\":\t\"é\"}\r\n".as_bytes(), false),
            Shown::Text("{\"a\":\t\"é\"}\n".into())
        );
        for bytes in [&b"\x1b[2J"[..], b"a\rb", b"\xff", b"\0"] {
            assert!(matches!(Shown::of(bytes, false), Shown::Hexadecimal(_)), "{bytes:?}");
        }
        assert!(matches!(Shown::of(b"text", true), Shown::Hexadecimal(_)));
    }

    #[test]
    fn a_dump_has_place_numbers_and_characters() {
        let dump = dump(b"0123456789abcdef\xff\n");
        let expected = "\
00000000  30 31 32 33 34 35 36 37  38 39 61 62 63 64 65 66 |0123456789abcdef|
00000010  ff 0a                                            |..|";
        assert_eq!(dump, expected);
    }

    #[test]
    fn what_was_redacted_is_seen() {
        let of = |code: &str, bytes: &[u8]| is_redacted(&super::super::tests::letter(code, bytes));
        assert!(of("conversation_content", b"{}"));
        let kept = kelly_schemas::decode::redacted(br#"{"value":"x","metadata":{"messageText":"secret"}}"#);
        assert!(of("wrong_type", &kept));
        assert!(!of("wrong_type", br#"{"value":"x"}"#));
    }
}
