//! Where the objects of a JSON text begin and end: one object, an array of them, or one after the
//! other, on as many lines as they like. Pure, one byte after the other; it holds none of them.

/// What a byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Byte {
    /// It stands between elements.
    Between,
    /// It belongs to an element.
    Inside,
    /// It is an element's last.
    Last,
}

/// The state between two bytes.
#[derive(Debug, Default)]
pub struct Elements {
    /// Open braces and brackets of the element.
    depth: u32,
    in_string: bool,
    escaped: bool,
    /// Something that does not belong there; it goes on to the line's end.
    in_stray: bool,
    array: Array,
}

/// Where in the array around the elements the text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Array {
    /// There is none, or it has ended.
    #[default]
    None,
    /// Behind its bracket.
    Open,
    /// Behind an element.
    Element,
    /// Behind a comma.
    Comma,
    /// Behind something that does not belong there: what may follow is not known.
    Stray,
}

impl Elements {
    /// Takes the next byte.
    pub fn next(&mut self, byte: u8) -> Byte {
        if self.in_stray {
            self.in_stray = byte != b'\n';
            if self.in_stray {
                return Byte::Inside;
            }
            if self.array != Array::None {
                self.array = Array::Stray;
            }
            return Byte::Last;
        }
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return Byte::Inside;
        }
        match (byte, self.array) {
            (b'{' | b'[', _) if self.depth > 0 => self.depth += 1,
            (b'}' | b']', _) if self.depth > 0 => {
                self.depth -= 1;
                if self.depth > 0 {
                    return Byte::Inside;
                }
                if self.array != Array::None {
                    self.array = Array::Element;
                }
                return Byte::Last;
            }
            (b'"', _) if self.depth > 0 => self.in_string = true,
            _ if self.depth > 0 => {}
            (b'[', Array::None) => {
                self.array = Array::Open;
                return Byte::Between;
            }
            (b']', Array::Open | Array::Element | Array::Stray) => {
                self.array = Array::None;
                return Byte::Between;
            }
            (b',', Array::Element | Array::Stray) => {
                self.array = Array::Comma;
                return Byte::Between;
            }
            (b'{', Array::None | Array::Open | Array::Comma | Array::Stray)
            | (b'[', Array::Open | Array::Comma | Array::Stray) => self.depth += 1,
            // A byte order mark, if the file begins with one.
            (b' ' | b'\t' | b'\r' | b'\n' | 0xef | 0xbb | 0xbf, _) => return Byte::Between,
            _ => self.in_stray = true,
        }
        Byte::Inside
    }

    /// Whether the text may end here.
    pub fn is_whole(&self) -> bool {
        self.depth == 0 && self.array == Array::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> (Vec<String>, bool) {
        let (mut elements, mut found, mut open) = (Elements::default(), Vec::new(), Vec::new());
        for byte in text.bytes() {
            match elements.next(byte) {
                Byte::Between => {}
                Byte::Inside => open.push(byte),
                Byte::Last => {
                    open.push(byte);
                    found.push(String::from_utf8(std::mem::take(&mut open)).unwrap());
                }
            }
        }
        (found, elements.is_whole())
    }

    #[test]
    fn objects_are_found_however_they_are_written() {
        for (text, expected) in [
            ("{\"a\":1}", vec!["{\"a\":1}"]),
            ("{\"a\":1}\n{\"b\":[{}]}\n", vec!["{\"a\":1}", "{\"b\":[{}]}"]),
            ("\u{feff}[{\"a\":\n1},\n {} ]\n", vec!["{\"a\":\n1}", "{}"]),
            ("[{\"a\":\"}\\\"]\"},[1]]", vec!["{\"a\":\"}\\\"]\"}", "[1]"]),
            ("[]", vec![]),
            ("7, 8\n{}", vec!["7, 8\n", "{}"]),
            ("[7,\n{},\n[]]", vec!["7,\n", "{}", "[]"]),
        ] {
            assert_eq!(split(text), (expected.into_iter().map(str::to_owned).collect(), true), "{text:?}");
        }
    }

    #[test]
    fn commas_stand_between_elements_and_nowhere_else() {
        for (text, expected) in [
            ("[{}{}\n]", vec!["{}", "{}\n"]),
            ("[{},,\n{}]", vec!["{}", ",\n", "{}"]),
            ("[,\n{}]", vec![",\n", "{}"]),
            ("[{},]\n]", vec!["{}", "]\n"]),
        ] {
            assert_eq!(split(text), (expected.into_iter().map(str::to_owned).collect(), true), "{text:?}");
        }
    }

    #[test]
    fn a_text_that_breaks_off_is_not_whole() {
        for text in ["[{},", "{\"a\":", "[{\"a\":1}"] {
            assert!(!split(text).1, "{text:?}");
        }
    }
}
