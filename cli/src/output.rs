//! The commands' own answers on stdout. A reader that went away (`kelly config | head`) is no error.

use std::io::{self, IsTerminal, Write};

use anyhow::Context;
use comfy_table::{ContentArrangement, Table, presets};

/// Prints a line.
pub fn line(text: impl AsRef<str>) -> anyhow::Result<()> {
    try_line(text).map(drop)
}

/// Prints a line; false when nobody reads any more, for those who would go on for ever.
pub fn try_line(text: impl AsRef<str>) -> anyhow::Result<bool> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{}", text.as_ref()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        outcome => outcome.context("writing to stdout").map(|()| true),
    }
}

/// Prints a JSON document for programs.
pub fn json(document: &serde_json::Value) -> anyhow::Result<()> {
    line(format!("{document:#}"))
}

/// Rows under a header, in columns, without lines around them.
pub fn table<const COLUMNS: usize>(
    header: [&str; COLUMNS],
    rows: impl IntoIterator<Item = [String; COLUMNS]>,
) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header);
    for row in rows {
        table.add_row(row);
    }
    // The table pads both sides of a cell; the left margin is not wanted.
    let lines: Vec<String> =
        table.lines().map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned()).collect();
    lines.join("\n")
}

/// Colours, where somebody sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// Escape sequences.
    Colours,
    /// Nothing but the text.
    Plain,
}

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Wants attention.
    Warning,
    /// Is wrong.
    Bad,
    /// Of little weight.
    Faint,
}

impl Paint {
    /// For stdout: colours on a terminal, unless NO_COLOR is set.
    pub fn stdout() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        if wanted && io::stdout().is_terminal() { Self::Colours } else { Self::Plain }
    }

    /// The text in its tone.
    pub fn tint(self, tone: Tone, text: impl AsRef<str>) -> String {
        let text = text.as_ref();
        let code = match tone {
            Tone::Warning => 33,
            Tone::Bad => 31,
            Tone::Faint => 2,
        };
        match self {
            Self::Colours => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            Self::Plain => text.to_owned(),
        }
    }
}

/// The text without characters that would do something to a terminal: what is stored may come from anybody.
pub fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}

/// Milliseconds since 1970 as a time for people, UTC.
pub fn time(ms: i64) -> String {
    match chrono::DateTime::from_timestamp_millis(ms) {
        Some(time) => time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        None => format!("{ms} ms after 1970"),
    }
}

/// Digits in groups of three.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_no_margins() {
        let text =
            table(["A", "LONG"], [["one".to_owned(), "1".to_owned()], ["x".to_owned(), String::new()]]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines, ["A    LONG", "one  1", "x"]);
    }

    #[test]
    fn numbers_are_grouped() {
        for (number, expected) in
            [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567"), (100_000, "100,000")]
        {
            assert_eq!(grouped(number), expected);
        }
    }

    #[test]
    fn colours_are_only_where_they_are_seen() {
        assert_eq!(Paint::Plain.tint(Tone::Bad, "x"), "x");
        assert_eq!(Paint::Colours.tint(Tone::Bad, "x"), "\u{1b}[31mx\u{1b}[0m");
    }

    #[test]
    fn nothing_stored_can_speak_to_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\nc é"), "a\u{fffd}[2Jb\u{fffd}c é");
    }
}
