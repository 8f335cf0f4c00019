//! Floats of a CSV that are written as such. ClickHouse writes 5.0 as `5` and 2^64 as `18446744073709552000`: readers that
//! guess a column's type take it for one of integers, and then for one of texts or an error where a number does not fit. Here
//! they get a `.0`. Pure: bytes in, bytes out.

/// Adds the `.0` as the bytes of a CSV pass, however they are cut into pieces.
#[derive(Debug)]
pub(super) struct CsvFloats {
    /// Which columns are of floats.
    is_float: Vec<bool>,
    is_header: bool,
    column: usize,
    in_quotes: bool,
    /// Whether the field so far is a sign and digits, and whether it has digits.
    is_whole: bool,
    has_digits: bool,
}

impl CsvFloats {
    /// For a CSV with names in its first row and these columns of floats, counted from 0.
    pub(super) fn new(float_columns: &[usize]) -> Self {
        let columns = float_columns.iter().max().map_or(0, |last| last + 1);
        Self {
            is_float: (0..columns).map(|column| float_columns.contains(&column)).collect(),
            is_header: true,
            column: 0,
            in_quotes: false,
            is_whole: true,
            has_digits: false,
        }
    }

    /// The next piece of the file, as it is to be passed on.
    pub(super) fn pass(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut passed = Vec::with_capacity(piece.len() + piece.len() / 16);
        for &byte in piece {
            match byte {
                // A quote within quotes is doubled, which leaves them twice.
                b'"' => {
                    self.in_quotes = !self.in_quotes;
                    self.is_whole = false;
                }
                b',' | b'\n' | b'\r' if !self.in_quotes => self.end_field(byte, &mut passed),
                b'0'..=b'9' => self.has_digits = true,
                b'-' => {}
                _ => self.is_whole = false,
            }
            passed.push(byte);
        }
        passed
    }

    fn end_field(&mut self, end: u8, passed: &mut Vec<u8>) {
        let is_float = self.is_float.get(self.column).is_some_and(|is_float| *is_float);
        if is_float && !self.is_header && self.is_whole && self.has_digits {
            passed.extend(b".0");
        }
        self.is_whole = true;
        self.has_digits = false;
        match end {
            b',' => self.column += 1,
            b'\n' => {
                self.column = 0;
                self.is_header = false;
            }
            // Before a line feed.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn passed(float_columns: &[usize], text: &str) -> String {
        String::from_utf8(CsvFloats::new(float_columns).pass(text.as_bytes())).unwrap()
    }

    #[test]
    fn whole_floats_are_written_as_floats_and_nothing_else_is_touched() {
        let before = "\"5\",value,count\n\"5\",5,5\n\"1,\n2\",-18446744073709552000,7\n\"a\"\"1\",1e21,1\n\"\",,0\n,0.5,9\r\n6,-0,1\n";
        let after = "\"5\",value,count\n\"5\",5.0,5\n\"1,\n2\",-18446744073709552000.0,7\n\"a\"\"1\",1e21,1\n\"\",,0\n,0.5,9\r\n6,-0.0,1\n";
        assert_eq!(passed(&[1], before), after);
        assert_eq!(passed(&[], before), before);
        assert_eq!(passed(&[0, 2], "1,2,3\n4,5,6\n"), "1,2,3\n4.0,5,6.0\n");
    }

    proptest! {
        /// However it comes, and whatever the texts hold.
        #[test]
        fn pieces_make_what_the_whole_does(
            rows in prop::collection::vec(("[a-z\",\n0-9]{0,6}", prop::num::f64::NORMAL, any::<u64>()), 0..20),
            cut in 1_usize..9,
        ) {
            let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
            let line = |(text, value, count): &(String, f64, u64), point: &str| {
                let value = value.trunc().abs().min(1e15);
                format!("{},{value}{point},{count}\n", quoted(text))
            };
            let file = |point: &str| {
                let rows: String = rows.iter().map(|row| line(row, point)).collect();
                format!("\"text\",\"value\",\"count\"\n{rows}")
            };
            let mut floats = CsvFloats::new(&[1]);
            let pieces: Vec<u8> = file("").as_bytes().chunks(cut).flat_map(|piece| floats.pass(piece)).collect();
            prop_assert_eq!(String::from_utf8(pieces).unwrap(), file(".0"));
        }
    }
}
