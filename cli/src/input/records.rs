//! The records of a CSV text. The `csv` crate parses; what it would take too kindly is refused here: a quote that is
//! not closed, text behind a closing one, a record without end.

use std::io::{self, BufRead, Chain, Cursor, Read};

use csv::{ByteRecord, ReaderBuilder};

use super::LONGEST_ROW;
use super::foreign;
use super::row::{BadRow, Place};

/// Bytes of the CSV reader's buffer; it reads ahead as much.
const BUFFER: usize = 1 << 16;

/// What stands above the rows: the line with the names, and how many lines of comments before it.
pub struct Top {
    /// The line with the columns' names, as it is.
    pub header: Vec<u8>,
    /// Comments and empty lines above it.
    pub lines_before: u64,
    /// Whether InfluxDB's annotations are among them.
    pub is_annotated: bool,
}

impl Top {
    /// Passes over comments and empty lines. `None` where nothing else comes.
    pub fn read(input: &mut impl BufRead) -> io::Result<Option<Self>> {
        let (mut lines_before, mut is_annotated) = (0, false);
        loop {
            let mut line = Vec::new();
            let read = input.take(LONGEST_ROW as u64 + 1).read_until(b'\n', &mut line)?;
            if read == 0 {
                return Ok(None);
            }
            if read > LONGEST_ROW {
                return Err(io::Error::other(TooLong));
            }
            if lines_before == 0 && line.starts_with(b"\xef\xbb\xbf") {
                line.drain(..3);
            }
            let text = line.trim_ascii();
            let is_annotation = foreign::is_influx_annotation(&String::from_utf8_lossy(text));
            is_annotated |= is_annotation;
            if !text.is_empty() && !text.starts_with(b"#") && !is_annotation {
                return Ok(Some(Self { header: line, lines_before, is_annotated }));
            }
            lines_before += 1;
        }
    }
}

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Syntax {
    /// What separates cells.
    pub delimiter: u8,
    /// Whether a line that begins with `#` where a record may begin is a comment: it is passed over, with all its quotes.
    pub has_comments: bool,
}

/// A record and where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its line, from 1.
    pub line: u64,
    /// Whether it begins with a `#` outside of quotes.
    pub begins_with_hash: bool,
    /// Its cells.
    pub cells: Vec<String>,
}

/// Reads one record after the other.
pub struct Records<R> {
    reader: csv::Reader<Tee<Chain<Cursor<Vec<u8>>, R>>>,
    record: ByteRecord,
    syntax: Syntax,
    lines_before: u64,
}

const COMMENT: u8 = b'#';

impl<R: Read> Records<R> {
    /// The records of what follows the top.
    pub fn new(top: Top, input: R, syntax: Syntax) -> Self {
        let Top { header, lines_before, .. } = top;
        let Syntax { delimiter, has_comments } = syntax;
        let input = Cursor::new(header).chain(input);
        let input = Tee { input, has_comments, kept: Vec::new(), start: 0, record: 0 };
        let reader = ReaderBuilder::new()
            .delimiter(delimiter)
            .comment(has_comments.then_some(COMMENT))
            .has_headers(false)
            .flexible(true)
            .buffer_capacity(BUFFER)
            .from_reader(input);
        Self { reader, record: ByteRecord::new(), syntax, lines_before }
    }

    /// The next record, or what is wrong with it; `None` at the end.
    pub fn next(&mut self) -> io::Result<Option<Result<Record, BadRow>>> {
        let start = self.reader.position().byte();
        let is_read =
            self.reader.read_byte_record(&mut self.record).map_err(|error| match error.into_kind() {
                csv::ErrorKind::Io(error) => error,
                other => io::Error::other(format!("{other:?}")),
            })?;
        if !is_read {
            return Ok(None);
        }
        let (end, next_line) = (self.reader.position().byte(), self.reader.position().line());
        let bytes = self.reader.get_mut().take(start, end);
        // What the reader passed over belongs to what follows it.
        let bytes = &bytes[passed_over(bytes, self.syntax.has_comments)..];
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        let line = self.lines_before + next_line - lines;
        let place = Place::Line(line);
        let begins_with_hash = bytes.first() == Some(&COMMENT);
        if begins_with_hash && self.syntax.has_comments {
            // A comment that the file ends in, which the reader takes for an empty record.
            return Ok(None);
        }
        if let Some(fault) = quoting_fault(bytes, self.syntax.delimiter) {
            return Ok(Some(Err(BadRow::unreadable(place, fault))));
        }
        let cells: Result<Vec<String>, _> =
            self.record.iter().map(|cell| std::str::from_utf8(cell).map(str::to_owned)).collect();
        Ok(Some(match cells {
            Ok(cells) => Ok(Record { line, begins_with_hash, cells }),
            Err(_) => Err(BadRow::unreadable(place, "not UTF-8")),
        }))
    }
}

/// How many bytes stand before a record: empty lines, and comments where there are any, of which the last may break off.
fn passed_over(bytes: &[u8], has_comments: bool) -> usize {
    let mut at = 0;
    loop {
        match bytes.get(at) {
            Some(b'\r' | b'\n') => at += 1,
            Some(&COMMENT) if has_comments => {
                let end = bytes[at..].iter().position(|byte| *byte == b'\n');
                let Some(length) = end else { return at };
                at += length;
            }
            _ => return at,
        }
    }
}

/// Passes bytes on and keeps those of the record at hand, so that its quotes can be looked at. A record that does not end
/// is an error and not memory.
struct Tee<R> {
    input: R,
    has_comments: bool,
    kept: Vec<u8>,
    /// Where in the stream what is kept begins.
    start: u64,
    /// Where the record at hand begins, with what stands before it.
    record: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("a row has more than {} MiB: is a quote missing in it?", LONGEST_ROW >> 20)]
struct TooLong;

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.kept.len() > LONGEST_ROW + BUFFER {
            self.let_go_of_comments();
        }
        if self.kept.len() > LONGEST_ROW + BUFFER {
            return Err(io::Error::other(TooLong));
        }
        let read = self.input.read(buffer)?;
        self.kept.extend_from_slice(&buffer[..read]);
        Ok(read)
    }
}

impl<R> Tee<R> {
    /// The bytes of the stream between these places, without comments that were let go. What lies before them is let go when
    /// it is as much as the buffer.
    fn take(&mut self, start: u64, end: u64) -> &[u8] {
        self.record = end;
        if self.place(start) >= BUFFER {
            self.let_go(self.place(start));
        }
        let (start, end) = (self.place(start), self.place(end));
        self.kept.get(start..end).unwrap_or_default()
    }

    /// However many comments stand before a record, they are no part of it.
    fn let_go_of_comments(&mut self) {
        let begins = self.place(self.record);
        let record = self.kept.get(begins..).unwrap_or_default();
        self.let_go(begins + passed_over(record, self.has_comments));
        self.record = self.start;
    }

    fn let_go(&mut self, bytes: usize) {
        let bytes = bytes.min(self.kept.len());
        self.kept.drain(..bytes);
        self.start += bytes as u64;
    }

    /// Where a place in the stream lies in what is kept.
    fn place(&self, at: u64) -> usize {
        usize::try_from(at.saturating_sub(self.start)).unwrap_or(usize::MAX)
    }
}

/// What is wrong with the quotes of a record.
fn quoting_fault(record: &[u8], delimiter: u8) -> Option<&'static str> {
    #[derive(Clone, Copy, PartialEq)]
    enum In {
        Start,
        Plain,
        Quoted,
        Closed,
    }
    let mut state = In::Start;
    for byte in record {
        state = match (state, *byte) {
            (In::Start, b'"') | (In::Closed, b'"') => In::Quoted,
            (In::Quoted, b'"') => In::Closed,
            (In::Quoted, _) => In::Quoted,
            (_, byte) if byte == delimiter => In::Start,
            (_, b'\r' | b'\n') => In::Start,
            (In::Closed, _) => {
                return Some("text follows a closing quote; a quote within a cell is written twice");
            }
            (In::Start | In::Plain, _) => In::Plain,
        };
    }
    (state == In::Quoted).then_some("a quote that begins in it is not closed; what follows it belongs to it")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Syntax = Syntax { delimiter: b',', has_comments: false };

    fn records(text: &str) -> Vec<Result<(u64, Vec<String>), String>> {
        records_with(text, PLAIN)
    }

    fn records_with(text: &str, syntax: Syntax) -> Vec<Result<(u64, Vec<String>), String>> {
        let mut input = text.as_bytes();
        let Some(top) = Top::read(&mut input).unwrap() else { return Vec::new() };
        let mut records = Records::new(top, input, syntax);
        let mut found = Vec::new();
        while let Some(next) = records.next().unwrap() {
            found.push(next.map(|record| (record.line, record.cells)).map_err(|bad| bad.to_string()));
        }
        found
    }

    fn cells(line: u64, cells: &[&str]) -> Result<(u64, Vec<String>), String> {
        Ok((line, cells.iter().map(|cell| (*cell).to_owned()).collect()))
    }

    #[test]
    fn a_quoted_cell_may_have_several_lines() {
        let found = records("a,b\r\n1,\"x\ny \"\"z\"\"\"\r\n\r\n\n2,w\n");
        assert_eq!(found, [cells(1, &["a", "b"]), cells(2, &["1", "x\ny \"z\""]), cells(6, &["2", "w"])]);
    }

    #[test]
    fn comments_and_a_byte_order_mark_stand_above() {
        let found = records("\u{feff}# made by hand\n\n#group,false\na\n1\n");
        assert_eq!(found, [cells(4, &["a"]), cells(5, &["1"])]);
        assert_eq!(records("\u{feff}a\n"), [cells(1, &["a"])]);
        assert!(records("# nothing\n\n").is_empty());
    }

    #[test]
    fn a_comment_is_a_line_with_all_its_quotes() {
        let text = "a,b\n# one,\"\n1,2\n\n#\r\n\"# 3\",\"4\n# 5\"\n#6,7\n8,9\n# the end, \"";
        let found = records_with(text, Syntax { has_comments: true, ..PLAIN });
        assert_eq!(
            found,
            [
                cells(1, &["a", "b"]),
                cells(3, &["1", "2"]),
                cells(6, &["# 3", "4\n# 5"]),
                cells(9, &["8", "9"])
            ]
        );
        let found = records_with("a,b\n#6,7\n", PLAIN);
        assert_eq!(found[1], cells(2, &["#6", "7"]));
    }

    #[test]
    fn comments_are_no_memory() {
        let comments = "# a row that was taken out\n".repeat(100_000);
        let found = records_with(
            &format!("a,b\n{comments}1,2\n{comments}3,4\n"),
            Syntax { has_comments: true, ..PLAIN },
        );
        assert_eq!(found, [cells(1, &["a", "b"]), cells(100_002, &["1", "2"]), cells(200_003, &["3", "4"])]);
        let long = format!("a,b\n# {}\n1,2\n", "x".repeat(3 * LONGEST_ROW));
        let mut input = long.as_bytes();
        let top = Top::read(&mut input).unwrap().unwrap();
        let mut records = Records::new(top, input, Syntax { has_comments: true, ..PLAIN });
        assert!(records.next().unwrap().is_some() && records.next().is_err(), "one comment of 3 MiB");
    }

    #[test]
    fn quotes_that_do_not_fit_are_refused() {
        let found = records("a,b\n\"x\"1,2\n5\" pipe,3\n1,\"open\n2,3\n");
        assert_eq!(found.len(), 4);
        assert!(
            found[1].as_ref().unwrap_err().starts_with("line 2: text follows a closing quote"),
            "{found:?}"
        );
        assert_eq!(found[2], cells(3, &["5\" pipe", "3"]));
        assert!(found[3].as_ref().unwrap_err().starts_with("line 4: a quote"), "{found:?}");
    }

    #[test]
    fn a_record_without_end_is_an_error_and_not_memory() {
        let endless = Cursor::new(b"a\n1\n\"".to_vec()).chain(io::repeat(b'x'));
        let mut input = io::BufReader::new(endless);
        let top = Top::read(&mut input).unwrap().unwrap();
        let mut records = Records::new(top, input, PLAIN);
        assert!(records.next().unwrap().is_some() && records.next().unwrap().is_some());
        let message = records.next().unwrap_err().to_string();
        assert!(message.contains("a row has more than 1 MiB"), "{message}");
    }

    #[test]
    fn many_records_are_kept_apart() {
        let text: String = (0..200_000).map(|n| format!("{n},\"a \"\"{n}\"\"\"\n")).collect();
        let found = records(&text);
        assert_eq!(found.len(), 200_000);
        assert_eq!(found[199_999], cells(200_000, &["199999", "a \"199999\""]));
    }
}
