//! One row on its way from a file to Kelly: its own JSON, and where its time stands in it.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use kelly_schemas::{Limits, decode};

use crate::client::RowKind;

/// Where a row is in its file, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Of a text: the line where it begins.
    Line(u64),
    /// Of a table.
    Row(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(number) => write!(out, "line {number}"),
            Self::Row(number) => write!(out, "row {number}"),
        }
    }
}

/// A row that is left out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct BadRow {
    /// Where it is.
    pub place: Place,
    /// What kind of fault it is: the decoder's code, or [`UNREADABLE`].
    pub code: Cow<'static, str>,
    /// What is wrong and what would be right.
    pub what: String,
}

/// The code of what cannot be read as a row.
pub const UNREADABLE: &str = "unreadable";

impl BadRow {
    /// A row that cannot be read.
    pub fn unreadable(place: Place, what: impl Into<String>) -> Self {
        Self { place, code: UNREADABLE.into(), what: what.into() }
    }
}

/// One row of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Where it is in its file.
    pub place: Place,
    /// What it is.
    pub kind: RowKind,
    /// Its time, ms since the epoch, if it has one that can be read.
    pub at_ms: Option<i64>,
    pub(super) json: Vec<u8>,
    /// Where the value of its time stands in the JSON.
    pub(super) time: Option<Range<usize>>,
}

impl Row {
    /// The row's JSON with this time. Nothing else of it is touched.
    pub fn json(&self, at_ms: Option<i64>) -> Cow<'_, [u8]> {
        match (&self.time, at_ms) {
            (Some(time), Some(at_ms)) if self.at_ms != Some(at_ms) => {
                let mut moved = Vec::with_capacity(self.json.len() + 8);
                moved.extend_from_slice(&self.json[..time.start]);
                moved.extend_from_slice(at_ms.to_string().as_bytes());
                moved.extend_from_slice(&self.json[time.end..]);
                Cow::Owned(moved)
            }
            _ => Cow::Borrowed(&self.json),
        }
    }

    /// What the decoder would say to this JSON of the row at this instant, and the key it goes under.
    pub fn check(&self, json: &[u8], now_ms: i64, limits: &Limits) -> Result<String, BadRow> {
        let row = decode::RawRow { index: 0, line: None, bytes: json };
        let origin = decode::Origin { partition: 0, offset: 0, log_time_ms: now_ms, limits };
        let key = match self.kind {
            RowKind::Metrics => decode::metric(&row, &origin).map(|metric| metric.partition_key().to_owned()),
            RowKind::Activity => {
                decode::activity(&row, &origin).map(|activity| activity.partition_key().to_owned())
            }
        };
        key.map_err(|reject| BadRow {
            place: self.place,
            code: reject.fault.code().into(),
            what: reject.fault.to_string(),
        })
    }
}

/// A row that is being made of the cells of a table.
#[derive(Debug)]
pub(super) struct Draft {
    json: Vec<u8>,
    time: Option<Range<usize>>,
    at_ms: Option<i64>,
}

impl Draft {
    pub(super) fn new() -> Self {
        Self { json: vec![b'{'], time: None, at_ms: None }
    }

    /// A field of this name with a value that is JSON already.
    pub(super) fn raw(&mut self, name: &str, value: &str) {
        if self.json.len() > 1 {
            self.json.push(b',');
        }
        self.json.extend_from_slice(serde_json::Value::from(name).to_string().as_bytes());
        self.json.push(b':');
        self.json.extend_from_slice(value.as_bytes());
    }

    pub(super) fn text(&mut self, name: &str, text: &str) {
        self.raw(name, &serde_json::Value::from(text).to_string());
    }

    /// A number as the shortest text that reads as the same number.
    pub(super) fn number(&mut self, name: &str, number: f64) {
        self.raw(name, &serde_json::Value::from(number).to_string());
    }

    pub(super) fn time(&mut self, name: &str, at_ms: i64) {
        let value = at_ms.to_string();
        self.raw(name, &value);
        self.time = Some(self.json.len() - value.len()..self.json.len());
        self.at_ms = Some(at_ms);
    }

    pub(super) fn finish(mut self, place: Place, kind: RowKind) -> Row {
        self.json.push(b'}');
        Row { place, kind, at_ms: self.at_ms, json: self.json, time: self.time }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_time_is_moved() {
        let mut draft = Draft::new();
        draft.text("metric_name", "a\"b");
        draft.time("timestamp", 17);
        draft.number("value", 0.1);
        let row = draft.finish(Place::Line(1), RowKind::Metrics);
        assert_eq!(row.json(Some(17)), br#"{"metric_name":"a\"b","timestamp":17,"value":0.1}"#.as_slice());
        assert_eq!(
            row.json(Some(-200)),
            br#"{"metric_name":"a\"b","timestamp":-200,"value":0.1}"#.as_slice()
        );
    }
}
