//! Rows of JSON texts, a line each or wherever they begin and end, with bounded memory.

use std::io::{self, BufRead, Read};

use super::elements::{Byte, Elements};
use super::open::Input;
use super::row::{BadRow, Place};
use super::{Found, LONGEST_ROW, Options, json};
use crate::Usage;

/// The rows of a JSON text.
pub struct TextRows {
    input: Input,
    options: Options,
    /// Of a file whose objects are not kept to a line each.
    elements: Option<Elements>,
    /// The line that was reached.
    line: u64,
    buffer: Vec<u8>,
    is_first: bool,
    ended: bool,
}

impl TextRows {
    /// One object a line, or, if `has_elements`, an object, an array of them, or one after the other.
    pub fn new(input: Input, options: &Options, has_elements: bool) -> Self {
        Self {
            input,
            options: options.clone(),
            elements: has_elements.then(Elements::default),
            line: 1,
            buffer: Vec::new(),
            is_first: true,
            ended: false,
        }
    }

    /// The next row or bad row; blank lines are passed over.
    pub fn next(&mut self) -> anyhow::Result<Option<Found>> {
        loop {
            let (place, is_broken) = if self.elements.is_some() {
                match self.next_element()? {
                    Some(element) => element,
                    None => return Ok(None),
                }
            } else {
                match self.next_line()? {
                    Some(place) => (place, false),
                    None => return Ok(None),
                }
            };
            if is_broken {
                return Ok(Some(Found::Bad(BadRow::unreadable(
                    place,
                    "the array has no end after this: is the file whole?",
                ))));
            }
            if let Some(found) = self.found(place)? {
                return Ok(Some(found));
            }
        }
    }

    fn found(&mut self, place: Place) -> Result<Option<Found>, Usage> {
        let bytes = kelly_schemas::decode::without_byte_order_mark(&self.buffer);
        if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
            return Err(Usage("it is UTF-16: save it as UTF-8".to_owned()));
        }
        if bytes.trim_ascii().is_empty() {
            return Ok(None);
        }
        if bytes.len() > LONGEST_ROW {
            let what = format!("more than {} MiB, which no row may have", LONGEST_ROW >> 20);
            return Ok(Some(Found::Bad(BadRow::unreadable(place, what))));
        }
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Ok(Some(Found::Bad(BadRow::unreadable(place, "not UTF-8"))));
        };
        let found =
            json::row(text.trim_matches([' ', '\t', '\r', '\n']), place, &self.options, self.is_first)?;
        self.is_first = false;
        Ok(Some(found))
    }

    /// The next object, wherever it begins and ends, and whether the text ends within an array. Of one that is too long,
    /// [`LONGEST_ROW`] and one byte are kept, as of a line.
    fn next_element(&mut self) -> io::Result<Option<(Place, bool)>> {
        let Some(elements) = &mut self.elements else { return Ok(None) };
        self.buffer.clear();
        let mut begins = self.line;
        while !self.ended {
            let available = self.input.fill_buf()?;
            let Some(&byte) = available.first() else {
                self.ended = true;
                break;
            };
            self.input.consume(1);
            let what = elements.next(byte);
            if what != Byte::Between {
                if self.buffer.is_empty() {
                    begins = self.line;
                }
                if self.buffer.len() <= LONGEST_ROW {
                    self.buffer.push(byte);
                }
            }
            self.line += u64::from(byte == b'\n');
            if what == Byte::Last {
                return Ok(Some((Place::Line(begins), false)));
            }
        }
        let is_whole = elements.is_whole();
        // What is read says in which way it is not whole; after it nothing comes.
        self.elements = Some(Elements::default());
        if !self.buffer.is_empty() {
            return Ok(Some((Place::Line(begins), false)));
        }
        Ok((!is_whole).then_some((Place::Line(self.line), true)))
    }

    /// Fills the buffer with the next line, at most one byte more than [`LONGEST_ROW`] of it.
    fn next_line(&mut self) -> io::Result<Option<Place>> {
        self.buffer.clear();
        let room = LONGEST_ROW as u64 + 1;
        let read = (&mut self.input).take(room).read_until(b'\n', &mut self.buffer)? as u64;
        if read == 0 {
            return Ok(None);
        }
        if read == room && !self.buffer.ends_with(b"\n") {
            self.skip_line()?;
        }
        let place = Place::Line(self.line);
        self.line += 1;
        Ok(Some(place))
    }

    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let available = self.input.fill_buf()?;
            let end = available.iter().position(|byte| *byte == b'\n');
            let length = end.map_or(available.len(), |end| end + 1);
            let is_last = end.is_some() || available.is_empty();
            self.input.consume(length);
            if is_last {
                return Ok(());
            }
        }
    }
}
