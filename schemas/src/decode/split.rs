//! Bodies of HTTP: cutting them into rows, and decoding such a row.

use serde_json::value::RawValue;

use super::message::{is_array, readable, row_texts, without_byte_order_mark};
use super::origin::Origin;
use super::row::{self, Draft, Place};
use crate::fault::{Fault, Reject};
use crate::limits::Limits;

/// How the rows of an HTTP body are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One JSON object, or an array of them.
    Json,
    /// One JSON object a line; empty lines are skipped.
    Ndjson,
}

/// One row of a body, not decoded yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawRow<'a> {
    /// Its place among the rows, from zero.
    pub index: u32,
    /// Its line in the body, from one, where a row is a line.
    pub line: Option<u32>,
    /// Its bytes, without the white space around.
    pub bytes: &'a [u8],
}

/// Cuts a body into its rows. Fails when the rows cannot be separated, are none or too many; a bad row
/// shows when it is decoded. The body's size is the caller's to bound, before it is read.
pub fn split_rows<'a>(body: &'a [u8], form: Form, limits: &Limits) -> Result<Vec<RawRow<'a>>, Fault> {
    let body = without_byte_order_mark(body);
    if body.trim_ascii().is_empty() {
        return Err(Fault::EmptyMessage);
    }
    match form {
        Form::Ndjson => split_lines(body, limits.max_rows),
        Form::Json => split_json(body, limits.max_rows),
    }
}

/// Decodes one row of a body; an array is refused.
pub(super) fn decode_row<'a, D: Draft<'a>>(
    raw: &RawRow<'a>,
    origin: &Origin<'_>,
) -> Result<D::Row, Reject<'a>> {
    readable(raw.bytes, origin.limits)
        .and_then(|text| row::decode::<D>(text, Place { origin, row: raw.index }))
        .map_err(|fault| match fault {
            Fault::MessageTooLarge { bytes, limit } => Fault::RowTooLarge { bytes, limit },
            other => other,
        })
        .map_err(|fault| Reject::new(fault, raw.bytes))
}

/// Without the white space of JSON around; a form feed is none, and to the parser it is a fault.
fn trimmed(bytes: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let start = bytes.iter().position(|byte| !is_space(byte)).unwrap_or(bytes.len());
    let (_, rest) = bytes.split_at(start);
    let end = rest.iter().rposition(|byte| !is_space(byte)).map_or(0, |last| last + 1);
    rest.split_at(end).0
}

fn split_lines(body: &[u8], max_rows: usize) -> Result<Vec<RawRow<'_>>, Fault> {
    let lines = body.split(|byte| *byte == b'\n').zip(1_u32..).map(|(bytes, line)| (trimmed(bytes), line));
    let rows: Vec<_> = lines
        .filter(|(bytes, _)| !bytes.is_empty())
        .zip(0..)
        .take(max_rows.saturating_add(1))
        .map(|((bytes, line), index)| RawRow { index, line: Some(line), bytes })
        .collect();
    if rows.len() > max_rows { Err(Fault::TooManyRows { limit: max_rows }) } else { Ok(rows) }
}

fn split_json(body: &[u8], max_rows: usize) -> Result<Vec<RawRow<'_>>, Fault> {
    let text = std::str::from_utf8(body).map_err(|error| Fault::InvalidUtf8 { at: error.valid_up_to() })?;
    if !is_array(text) {
        return Ok(vec![RawRow { index: 0, line: None, bytes: trimmed(body) }]);
    }
    let texts = row_texts(text, max_rows)?;
    let rows = texts.into_iter().map(RawValue::get).zip(0..);
    Ok(rows.map(|(text, index)| RawRow { index, line: None, bytes: text.as_bytes() }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(body: &str, form: Form) -> Result<Vec<(Option<u32>, &str)>, &'static str> {
        let limits = Limits { max_rows: 3, ..Limits::default() };
        let rows = split_rows(body.as_bytes(), form, &limits).map_err(|fault| fault.code())?;
        for (row, place) in rows.iter().zip(0..) {
            assert_eq!(row.index, place);
        }
        Ok(rows
            .into_iter()
            .map(|row| (row.line, std::str::from_utf8(row.bytes).expect("UTF-8 as given")))
            .collect())
    }

    #[test]
    fn json_bodies() {
        assert_eq!(split(" {\"a\":1}\n", Form::Json), Ok(vec![(None, "{\"a\":1}")]));
        assert_eq!(
            split("[ {\"a\":1} , 2,[3] ]", Form::Json),
            Ok(vec![(None, "{\"a\":1}"), (None, "2"), (None, "[3]")])
        );
        assert_eq!(split("1\u{c}", Form::Json), Ok(vec![(None, "1\u{c}")]), "no white space of JSON");
        assert_eq!(split("[]", Form::Json), Ok(vec![]));
        assert_eq!(split("{broken", Form::Json), Ok(vec![(None, "{broken")]), "found out when it is decoded");
        assert_eq!(split("[1,2,3,4]", Form::Json), Err("too_many_rows"));
        assert_eq!(split("[1,2", Form::Json), Err("invalid_json"));
        assert_eq!(split("[1] 2", Form::Json), Err("invalid_json"));
        assert_eq!(split(" \n", Form::Json), Err("empty_message"));
        assert_eq!(
            split_rows(b"[\"\xff\"]", Form::Json, &Limits::default()),
            Err(Fault::InvalidUtf8 { at: 2 })
        );
    }

    #[test]
    fn a_byte_order_mark_in_front_is_skipped() {
        assert_eq!(split("\u{feff}{\"a\":1}", Form::Json), Ok(vec![(None, "{\"a\":1}")]));
        assert_eq!(split("\u{feff}[1]", Form::Json), Ok(vec![(None, "1")]));
        assert_eq!(split("\u{feff}1\n2", Form::Ndjson), Ok(vec![(Some(1), "1"), (Some(2), "2")]));
        assert_eq!(split("\u{feff}", Form::Json), Err("empty_message"));
    }

    fn fault_of(row: RawRow<'_>, limits: &Limits) -> Fault {
        let origin = Origin { partition: 0, offset: 0, log_time_ms: 0, limits };
        crate::decode::metric(&row, &origin).expect_err("is refused").fault
    }

    #[test]
    fn a_broken_line_names_its_column_and_no_line_of_its_own() {
        let row = RawRow { index: 6, line: Some(7), bytes: b"{\"metric_name\": x}" };
        let reason = fault_of(row, &Limits::default()).to_string();
        assert!(reason.contains("at column 17") && !reason.contains("line"), "{reason}");
    }

    #[test]
    fn a_row_beyond_the_limit_is_reported_as_a_row() {
        let limits = Limits { max_message_bytes: 10, ..Limits::default() };
        let row = RawRow { index: 0, line: None, bytes: b"{\"value\":12}" };
        assert_eq!(fault_of(row, &limits), Fault::RowTooLarge { bytes: 12, limit: 10 });
    }

    #[test]
    fn lines_keep_their_numbers() {
        assert_eq!(split("1\r\n\n  \n2", Form::Ndjson), Ok(vec![(Some(1), "1"), (Some(4), "2")]));
        assert_eq!(
            split("1\n2\n3\n", Form::Ndjson),
            Ok(vec![(Some(1), "1"), (Some(2), "2"), (Some(3), "3")])
        );
        assert_eq!(split("1\n2\n3\n4", Form::Ndjson), Err("too_many_rows"));
        assert_eq!(split("\n\n", Form::Ndjson), Err("empty_message"));
    }
}
