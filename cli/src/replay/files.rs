//! Files as lines: which format, how long, and one row after the other with bounded memory.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::Context;
use tokio::sync::mpsc;

use super::elements::{Byte, Elements};
use super::read::{BadLine, Defaults, Format, Reader, Row};
use crate::Usage;

/// Bytes of a line at most: what one row may have on the log. A longer one is a bad line, not memory.
const LONGEST_LINE: usize = 1 << 20;

/// Rows read ahead of their sending; beyond it the reading waits.
const READ_AHEAD: usize = 4_096;

/// Name of standard input.
const STDIN: &str = "-";

/// A file to replay.
#[derive(Debug, Clone)]
pub struct Source {
    path: PathBuf,
    format: Format,
    defaults: Defaults,
}

/// What a source yields.
#[derive(Debug)]
pub enum Found {
    /// A row, and how many bytes were read for it.
    Row(Row, u64),
    /// A bad line, and how many bytes were read for it.
    Bad(BadLine, u64),
}

impl Source {
    /// The file at this path. `metric` and `account` are for rows that name none.
    pub fn new(path: &Path, metric: Option<&str>, account: Option<&str>) -> anyhow::Result<Self> {
        let ending = path.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase);
        let format = match ending.as_deref() {
            Some("csv") => Format::Csv,
            Some("ndjson" | "jsonl" | "txt") => Format::Ndjson,
            Some("json") => Format::Json,
            _ if path.as_os_str() == STDIN => Format::Ndjson,
            _ => {
                return Err(Usage(format!(
                    "{}: the name says not what it is: .csv, .json, .arrow, or .ndjson (.jsonl, .txt) \
                     with an object a line; rename the file, or send NDJSON through standard input as `-`",
                    path.display()
                ))
                .into());
            }
        };
        if path.as_os_str() != STDIN {
            // Every file is there before the first row of the first one is sent.
            File::open(path).with_context(|| format!("opening {}", path.display()))?;
        }
        let stem = path.file_stem().and_then(OsStr::to_str).map(str::to_owned);
        let named_by_file = if format == Format::Csv { stem } else { None };
        let source = Self {
            path: path.to_owned(),
            format,
            defaults: Defaults {
                metric: metric.map(str::to_owned).or(named_by_file),
                account: account.map(str::to_owned),
            },
        };
        if format == Format::Csv && path.is_file() {
            // A header that cannot be used is told before the first row of the first file is sent.
            source.open()?.next()?;
        }
        Ok(source)
    }

    /// Whether it can be read only once.
    pub fn is_stdin(&self) -> bool {
        self.path.as_os_str() == STDIN
    }

    /// Its name, for messages.
    pub fn name(&self) -> String {
        if self.is_stdin() { "standard input".to_owned() } else { self.path.display().to_string() }
    }

    /// Its size, where that is known.
    pub fn bytes(&self) -> Option<u64> {
        if self.is_stdin() { None } else { std::fs::metadata(&self.path).ok().map(|meta| meta.len()) }
    }

    /// Reads it on a thread of its own, so that waiting for standard input stops nobody. The thread
    /// ends with the source, or when the receiver is gone and the next line was read.
    pub fn stream(&self) -> anyhow::Result<mpsc::Receiver<anyhow::Result<Found>>> {
        let mut lines = self.open()?;
        let (rows, receiver) = mpsc::channel(READ_AHEAD);
        std::thread::Builder::new()
            .name("read".to_owned())
            .spawn(move || {
                while let Some(found) = lines.next().transpose() {
                    let is_last = found.is_err();
                    if rows.blocking_send(found).is_err() || is_last {
                        return;
                    }
                }
            })
            .context("starting the reading thread")?;
        Ok(receiver)
    }

    /// Opens it at its beginning.
    pub fn open(&self) -> anyhow::Result<Lines> {
        let input: Box<dyn Read + Send> = if self.is_stdin() {
            Box::new(io::stdin())
        } else {
            let file = File::open(&self.path).with_context(|| format!("opening {}", self.name()))?;
            Box::new(file)
        };
        Ok(Lines {
            name: self.name(),
            input: BufReader::with_capacity(1 << 16, input),
            reader: Reader::new(self.format, self.defaults.clone()),
            elements: (self.format == Format::Json).then(Elements::default),
            line: 1,
            buffer: Vec::new(),
            ended: false,
        })
    }
}

/// The rows of an open source.
pub struct Lines {
    name: String,
    input: BufReader<Box<dyn Read + Send>>,
    reader: Reader,
    /// Of a file whose objects are not kept to a line each, and the line reached in it.
    elements: Option<Elements>,
    line: u64,
    buffer: Vec<u8>,
    ended: bool,
}

impl Lines {
    /// The next row or bad line; blank lines and headers are passed over.
    pub fn next(&mut self) -> anyhow::Result<Option<Found>> {
        if self.elements.is_some() {
            return self.next_element().with_context(|| format!("reading {}", self.name));
        }
        let mut bytes = 0;
        while !self.ended {
            let read = self.read_line().with_context(|| format!("reading {}", self.name))?;
            if read == 0 {
                break;
            }
            bytes += read;
            match self.reader.line(&self.buffer) {
                Ok(None) => {}
                Ok(Some(row)) => return Ok(Some(Found::Row(row, bytes))),
                Err(bad) if self.reader.is_stuck() => {
                    self.ended = true;
                    let BadLine { what, .. } = bad;
                    return Err(Usage(format!(
                        "the header of {} cannot be used: {what}; nothing of it was read",
                        self.name
                    ))
                    .into());
                }
                Err(bad) => {
                    return Ok(Some(Found::Bad(bad, bytes)));
                }
            }
        }
        Ok(None)
    }

    /// The next object, wherever it begins and ends. Of one that is too long, [`LONGEST_LINE`] and one
    /// byte are kept, as of a line.
    fn next_element(&mut self) -> io::Result<Option<Found>> {
        let Some(elements) = &mut self.elements else { return Ok(None) };
        self.buffer.clear();
        let (mut bytes, mut begins) = (0, self.line);
        while !self.ended {
            let available = self.input.fill_buf()?;
            let Some(&byte) = available.first() else {
                self.ended = true;
                break;
            };
            self.input.consume(1);
            bytes += 1;
            let what = elements.next(byte);
            if what != Byte::Between {
                if self.buffer.is_empty() {
                    begins = self.line;
                }
                if self.buffer.len() <= LONGEST_LINE {
                    self.buffer.push(byte);
                }
            }
            self.line += u64::from(byte == b'\n');
            if what == Byte::Last {
                return Ok(found(self.reader.element(begins, &self.buffer), bytes));
            }
        }
        let is_whole = elements.is_whole();
        if !self.buffer.is_empty() {
            // What is read of it says in which way it is not whole.
            self.elements = Some(Elements::default());
            return Ok(found(self.reader.element(begins, &self.buffer), bytes));
        }
        self.elements = Some(Elements::default());
        let broken =
            || Found::Bad(self.reader.bad("the array has no end after this: is the file whole?"), bytes);
        Ok((!is_whole).then(broken))
    }

    /// Fills the buffer with the next line, at most one byte more than [`LONGEST_LINE`] of it: the
    /// decoder then says that it is too long.
    fn read_line(&mut self) -> io::Result<u64> {
        self.buffer.clear();
        let room = LONGEST_LINE as u64 + 1;
        let mut read = (&mut self.input).take(room).read_until(b'\n', &mut self.buffer)? as u64;
        if read == room && !self.buffer.ends_with(b"\n") {
            read += self.skip_line()?;
        }
        Ok(read)
    }

    fn skip_line(&mut self) -> io::Result<u64> {
        let mut skipped = 0;
        loop {
            let available = self.input.fill_buf()?;
            let end = available.iter().position(|byte| *byte == b'\n');
            let length = end.map_or(available.len(), |end| end + 1);
            skipped += length as u64;
            let is_last = end.is_some() || available.is_empty();
            self.input.consume(length);
            if is_last {
                return Ok(skipped);
            }
        }
    }
}

fn found(read: Result<Option<Row>, BadLine>, bytes: u64) -> Option<Found> {
    match read {
        Ok(row) => row.map(|row| Found::Row(row, bytes)),
        Err(bad) => Some(Found::Bad(bad, bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8], name: &str) -> (usize, Vec<String>, u64) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        let source = Source::new(&path, None, None).unwrap();
        let mut lines = source.open().unwrap();
        let (mut rows, mut bad, mut read) = (0, Vec::new(), 0);
        while let Some(found) = lines.next().unwrap() {
            match found {
                Found::Row(_, bytes) => {
                    rows += 1;
                    read += bytes;
                }
                Found::Bad(line, bytes) => {
                    bad.push(line.to_string());
                    read += bytes;
                }
            }
        }
        (rows, bad, read)
    }

    #[test]
    fn a_file_is_read_to_its_end_with_and_without_a_last_newline() {
        assert_eq!(all(b"timestamp,value\n1,2\n3,4", "a.csv"), (2, vec![], 23));
        assert_eq!(all(b"timestamp,value\n1,2\n3,4\n", "a.csv"), (2, vec![], 24));
        assert_eq!(all(b"", "a.csv"), (0, vec![], 0));
    }

    #[test]
    fn a_line_without_end_is_one_bad_line() {
        let mut text = b"{\"value\":1}\n{\"value\":\"".to_vec();
        text.extend(vec![b'x'; 3 * LONGEST_LINE]);
        text.extend(b"\"}\n{\"value\":2}\n");
        let (rows, bad, read) = all(&text, "a.ndjson");
        assert_eq!((rows, bad.len(), read), (2, 1, text.len() as u64));
        assert!(bad[0].starts_with("line 2:"), "{bad:?}");
    }

    #[test]
    fn without_a_header_reading_stops_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.csv");
        std::fs::write(&path, "1,2\n3,4\n5,6\n").unwrap();
        let error = Source::new(&path, None, None).unwrap_err();
        let told = error.to_string();
        assert!(error.is::<Usage>(), "wrong usage: {told}");
        assert!(told.contains("a.csv cannot be used") && told.contains("nothing of it was read"), "{told}");
    }

    #[test]
    fn a_json_file_is_one_object_an_array_or_a_sequence() {
        for text in
            ["{\n \"value\": 1\n}\n", "[{\"value\":1}]", "\u{feff}[\n{\"value\":1}\n]\n", "{\"value\":1}\n"]
        {
            let (rows, bad, _) = all(text.as_bytes(), "a.json");
            assert_eq!((rows, bad), (1, vec![]), "{text:?}");
        }
        let (rows, bad, read) = all(b"[\n{\"value\":1},\n 7,\n{\"value\":2}", "a.json");
        assert_eq!((rows, bad.len(), read), (2, 2, 30));
        assert!(bad[0].starts_with("line 3: not a JSON object"), "{bad:?}");
        assert!(bad[1].starts_with("line 4: the array has no end"), "{bad:?}");
        let (rows, bad, _) = all(b"[{\"value\":1},\n{\"val", "a.json");
        assert_eq!((rows, bad.len()), (1, 1));
        assert!(bad[0].starts_with("line 2: not a JSON object"), "{bad:?}");
        assert_eq!(all(b"{\"value\":1}", "a.txt").0, 1, "a text has an object a line");
    }

    #[test]
    fn other_endings_and_absent_files_are_refused() {
        let told = format!("{:#}", Source::new(Path::new("absent.csv"), None, None).unwrap_err());
        assert!(told.starts_with("opening absent.csv"), "{told}");
        let told = Source::new(Path::new("a.parquet"), None, None).unwrap_err().to_string();
        assert!(told.contains(".csv, .json, .arrow, or .ndjson"), "{told}");
    }
}
