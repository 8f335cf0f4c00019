//! From a file's lines to rows. Pure: lines in, rows or faults out, each with its line number.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use kelly_schemas::{Limits, decode};
use serde_json::{Map, Value};

use crate::client::RowKind;

/// What a file is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A header, then comma-separated values.
    Csv,
    /// One JSON object a line.
    Ndjson,
    /// One JSON object, an array of them, or one after the other.
    Json,
}

/// What rows get that do not say it themselves.
#[derive(Debug, Clone, Default)]
pub struct Defaults {
    /// Metric name.
    pub metric: Option<String>,
    /// Account.
    pub account: Option<String>,
}

/// One row of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Line in its file, from 1.
    pub line: u64,
    /// What it is.
    pub kind: RowKind,
    /// Its time, ms since the epoch, if it has one.
    pub at_ms: Option<i64>,
    /// The row as a producer would send it, its time left out.
    fields: Map<String, Value>,
}

/// A line that is no row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct BadLine {
    /// Line in its file, from 1.
    pub line: u64,
    /// What kind of fault it is: the decoder's code, or [`UNREADABLE`].
    pub code: Cow<'static, str>,
    /// What is wrong and what would be right.
    pub what: String,
}

/// The code of a line that is no row at all.
pub const UNREADABLE: &str = "unreadable";

impl Row {
    /// The row's JSON with this time; `None` leaves it out, so that the log's time holds.
    pub fn json(&self, at_ms: Option<i64>) -> Vec<u8> {
        let field = match self.kind {
            RowKind::Metrics => "timestamp",
            RowKind::Activity => "created_at",
        };
        let mut fields = self.fields.clone();
        if let Some(at_ms) = at_ms {
            fields.insert(field.to_owned(), at_ms.into());
        }
        serde_json::to_vec(&fields).expect("a JSON object has a JSON form")
    }

    /// What the decoder would say to this JSON of the row at this instant, and the key it goes under.
    pub fn check(&self, json: &[u8], now_ms: i64, limits: &Limits) -> Result<String, BadLine> {
        let row = decode::RawRow { index: 0, line: None, bytes: json };
        let origin = decode::Origin { partition: 0, offset: 0, log_time_ms: now_ms, limits };
        let key = match self.kind {
            RowKind::Metrics => decode::metric(&row, &origin).map(|metric| metric.partition_key().to_owned()),
            RowKind::Activity => {
                decode::activity(&row, &origin).map(|activity| activity.partition_key().to_owned())
            }
        };
        key.map_err(|reject| BadLine {
            line: self.line,
            code: reject.fault.code().into(),
            what: reject.fault.to_string(),
        })
    }
}

/// Reads lines of one file, one after the other.
#[derive(Debug)]
pub struct Reader {
    format: Format,
    defaults: Defaults,
    header: Option<Vec<Column>>,
    line: u64,
}

/// A column of a CSV file.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Column {
    Timestamp,
    Value,
    Text(&'static str),
    Metadata,
    /// One of the file's own: the decoder puts a field it does not know into the metadata.
    Other(String),
    /// Without a name; what stands there is left out.
    Nameless,
}

const TEXT_COLUMNS: [&str; 5] = ["metric_name", "metric_type", "account_id", "conversation_id", "user_id"];

impl Reader {
    /// A reader at the beginning of a file.
    pub fn new(format: Format, defaults: Defaults) -> Self {
        Self { format, defaults, header: None, line: 0 }
    }

    /// The next line: a row, nothing (blank lines, the header), or what is wrong with it.
    pub fn line(&mut self, bytes: &[u8]) -> Result<Option<Row>, BadLine> {
        self.line += 1;
        let bytes = match self.line {
            1 => bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes),
            _ => bytes,
        };
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Err(self.bad("not UTF-8"));
        };
        let text = text.trim_end_matches(['\r', '\n']);
        if text.trim().is_empty() {
            return Ok(None);
        }
        match self.format {
            Format::Csv => self.csv(text),
            Format::Ndjson | Format::Json => self.ndjson(text).map(Some),
        }
    }

    /// An object that begins on this line, of a file that does not keep them to one line each.
    pub fn element(&mut self, line: u64, bytes: &[u8]) -> Result<Option<Row>, BadLine> {
        self.line = line - 1;
        self.line(bytes)
    }

    /// Whether going on makes no sense: a CSV file whose header could not be read.
    pub fn is_stuck(&self) -> bool {
        self.format == Format::Csv && self.line > 0 && self.header.is_none()
    }

    /// What is wrong with the line read last.
    pub fn bad(&self, what: impl Into<String>) -> BadLine {
        BadLine { line: self.line, code: UNREADABLE.into(), what: what.into() }
    }

    fn csv(&mut self, text: &str) -> Result<Option<Row>, BadLine> {
        let cells = cells(text).map_err(|what| self.bad(what))?;
        let Some(header) = &self.header else {
            let header = header(&cells).map_err(|what| self.bad(what))?;
            self.header = Some(header);
            return Ok(None);
        };
        if cells.len() != header.len() {
            let (found, wanted) = (cells.len(), header.len());
            return Err(self.bad(format!("{found} values where the header has {wanted} columns")));
        }
        let mut fields = Map::new();
        let mut at_ms = None;
        for (column, cell) in header.iter().zip(cells) {
            let cell = cell.trim();
            match column {
                Column::Timestamp if cell.is_empty() => {}
                Column::Timestamp => {
                    at_ms = Some(time(cell).ok_or_else(|| self.bad(NO_TIME))?);
                }
                Column::Value => {
                    let number = cell.parse::<f64>().ok().and_then(serde_json::Number::from_f64);
                    let number = number.ok_or_else(|| self.bad("`value` is no finite number"))?;
                    fields.insert("value".to_owned(), number.into());
                }
                Column::Text(_) if cell.is_empty() => {}
                Column::Text(name) => {
                    fields.insert((*name).to_owned(), cell.into());
                }
                Column::Metadata | Column::Other(_) if cell.is_empty() => {}
                Column::Metadata => {
                    let object: Map<String, Value> = serde_json::from_str(cell).map_err(|error| {
                        self.bad(format!("`metadata` is no JSON object: {}", without_line(&error)))
                    })?;
                    fields.insert("metadata".to_owned(), object.into());
                }
                Column::Other(name) => {
                    fields.insert(name.clone(), cell.into());
                }
                Column::Nameless => {}
            }
        }
        Ok(Some(self.row(RowKind::Metrics, fields, at_ms)))
    }

    fn ndjson(&self, text: &str) -> Result<Row, BadLine> {
        let mut fields: Map<String, Value> = serde_json::from_str(text)
            .map_err(|error| self.bad(format!("not a JSON object: {}", without_line(&error))))?;
        let (kind, field) = match fields.contains_key("event_type") {
            true => (RowKind::Activity, "created_at"),
            false => (RowKind::Metrics, "timestamp"),
        };
        let at_ms = match fields.remove(field) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(time(&text).ok_or_else(|| self.bad(NO_TIME))?),
            Some(Value::Number(number)) => Some(
                number
                    .as_i64()
                    .or_else(|| number.as_f64().map(|ms| ms as i64))
                    .ok_or_else(|| self.bad(NO_TIME))?,
            ),
            Some(_) => return Err(self.bad(format!("{field} is neither text nor a number"))),
        };
        Ok(self.row(kind, fields, at_ms))
    }

    fn row(&self, kind: RowKind, mut fields: Map<String, Value>, at_ms: Option<i64>) -> Row {
        let mut fill = |name: &str, value: &Option<String>| {
            if let Some(value) = value
                && !fields.contains_key(name)
            {
                fields.insert(name.to_owned(), value.as_str().into());
            }
        };
        if kind == RowKind::Metrics {
            fill("metric_name", &self.defaults.metric);
        }
        fill("account_id", &self.defaults.account);
        Row { line: self.line, kind, at_ms, fields }
    }
}

fn header(cells: &[String]) -> Result<Vec<Column>, String> {
    let mut columns = Vec::with_capacity(cells.len());
    for cell in cells {
        let name = cell.trim().to_ascii_lowercase();
        let column = match name.as_str() {
            "timestamp" => Column::Timestamp,
            "value" => Column::Value,
            "metadata" => Column::Metadata,
            "" => Column::Nameless,
            other => match TEXT_COLUMNS.into_iter().find(|known| *known == other) {
                Some(known) => Column::Text(known),
                None => Column::Other(cell.trim().to_owned()),
            },
        };
        if column != Column::Nameless && columns.contains(&column) {
            return Err(format!("the column {name} is there twice"));
        }
        columns.push(column);
    }
    match columns.contains(&Column::Value) {
        true => Ok(columns),
        false => Err(format!(
            "the first line names no column `value`; it may name timestamp, value, {}, metadata, and \
             others that go to the metadata",
            TEXT_COLUMNS.join(", ")
        )),
    }
}

/// The cells of a line (RFC 4180; a quoted cell may not span lines).
fn cells(text: &str) -> Result<Vec<String>, String> {
    let mut cells = Vec::new();
    let mut rest = text;
    loop {
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut cell = String::new();
            let mut after = quoted;
            loop {
                let Some((before, behind)) = after.split_once('"') else {
                    return Err("a quoted value has no end on its line".to_owned());
                };
                cell.push_str(before);
                match behind.strip_prefix('"') {
                    Some(behind) => {
                        cell.push('"');
                        after = behind;
                    }
                    None => {
                        rest = behind;
                        break;
                    }
                }
            }
            cells.push(cell);
            match rest.strip_prefix(',') {
                Some(next) => rest = next,
                None if rest.is_empty() => return Ok(cells),
                None => return Err("a quoted value is followed by more than a comma".to_owned()),
            }
        } else {
            match rest.split_once(',') {
                Some((cell, next)) => {
                    cells.push(cell.to_owned());
                    rest = next;
                }
                None => {
                    cells.push(rest.to_owned());
                    return Ok(cells);
                }
            }
        }
    }
}

/// A time as files write it: RFC 3339, epoch milliseconds, or a date with or without a time of day
/// and no zone, which is UTC.
pub fn time(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(ms) = text.parse::<i64>() {
        return Some(ms);
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp_millis());
    }
    ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
        .or_else(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0))
        .map(|time| time.and_utc().timestamp_millis())
}

/// What stands there instead is not told, as no value is: in a line that is one column off it is any text.
const NO_TIME: &str =
    "the time is none: write 2026-01-31T12:00:00Z, 2026-01-31 12:00:00 (UTC) or epoch milliseconds";

/// serde_json counts lines of its own, and there is only one here; and it repeats a value of the wrong kind.
fn without_line(error: &serde_json::Error) -> String {
    if error.is_data() {
        return format!("another kind of value (column {})", error.column());
    }
    let told = error.to_string();
    let at = told.find(" at line ").unwrap_or(told.len());
    format!("{} (column {})", &told[..at], error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: Format, defaults: &Defaults, text: &str) -> (Vec<Row>, Vec<String>) {
        let mut reader = Reader::new(format, defaults.clone());
        let (mut rows, mut bad) = (Vec::new(), Vec::new());
        for line in text.split('\n') {
            match reader.line(line.as_bytes()) {
                Ok(row) => rows.extend(row),
                Err(line) => bad.push(line.to_string()),
            }
        }
        (rows, bad)
    }

    fn json(row: &Row) -> String {
        String::from_utf8(row.json(row.at_ms)).unwrap()
    }

    #[test]
    fn a_series_of_the_numenta_benchmark_is_read() {
        let defaults = Defaults { metric: Some("taxi".into()), account: Some("nyc".into()) };
        let text = "timestamp,value\n2014-07-01 00:00:00,10844\r\n\n2014-07-01 00:30:00,8127.5\n";
        let (rows, bad) = read(Format::Csv, &defaults, text);
        assert_eq!(bad, Vec::<String>::new());
        assert_eq!(rows.len(), 2);
        assert_eq!((rows[0].line, rows[1].line), (2, 4));
        assert_eq!(rows[0].at_ms, Some(1_404_172_800_000));
        assert_eq!(
            json(&rows[1]),
            r#"{"account_id":"nyc","metric_name":"taxi","timestamp":1404174600000,"value":8127.5}"#
        );
    }

    #[test]
    fn columns_are_found_by_name_and_quotes_are_understood() {
        let text = "\u{feff}Value,timestamp,account_id\n1,2026-01-01,\"a, \"\"b\"\"\"\n2,2026-01-01T00:00:00+01:00,\n";
        let (rows, bad) = read(Format::Csv, &Defaults::default(), text);
        assert_eq!(bad, Vec::<String>::new());
        assert_eq!(rows[0].fields["account_id"], "a, \"b\"");
        assert!(!rows[1].fields.contains_key("account_id"));
        assert_eq!(rows[0].at_ms.unwrap() - rows[1].at_ms.unwrap(), 3_600_000);
    }

    #[test]
    fn bad_lines_are_told_with_their_numbers_and_the_others_pass() {
        let text =
            "timestamp,value\nnever,1\n2026-01-01,much\n2026-01-01,NaN\n2026-01-01\n\"x,1\n2026-01-01,5";
        let (rows, bad) = read(Format::Csv, &Defaults::default(), text);
        assert_eq!(rows.len(), 1);
        let begins: Vec<&str> = bad.iter().map(|told| &told[..7]).collect();
        assert_eq!(begins, ["line 2:", "line 3:", "line 4:", "line 5:", "line 6:"]);
    }

    #[test]
    fn other_columns_go_along_under_their_names() {
        let text = ",Region,value,metadata\n0,eu,1,\"{\"\"a\"\":2}\"\n1,,2,\n2,eu,3,{\n";
        let (rows, bad) = read(Format::Csv, &Defaults { metric: Some("m".into()), account: None }, text);
        assert_eq!(json(&rows[0]), r#"{"Region":"eu","metadata":{"a":2},"metric_name":"m","value":1.0}"#);
        assert_eq!(json(&rows[1]), r#"{"metric_name":"m","value":2.0}"#);
        assert!(bad.len() == 1 && bad[0].starts_with("line 4: `metadata` is no JSON object"), "{bad:?}");
        let limits = Limits::with_retention_days(90);
        rows[0].check(&rows[0].json(None), 0, &limits).expect("the decoder takes it");
    }

    #[test]
    fn a_header_that_is_none_says_so() {
        let mut reader = Reader::new(Format::Csv, Defaults::default());
        let told = reader.line(b"2014-07-01 00:00:00,10844").unwrap_err().to_string();
        assert!(told.starts_with("line 1: the first line names no column `value`"), "{told}");
        assert!(reader.is_stuck());
    }

    #[test]
    fn no_value_is_told() {
        let sung = "the canary sang";
        let lines = [
            format!("\"{sung}\""),
            format!("{{\"value\":\"{sung}\",\"timestamp\":\"{sung}\"}}"),
            format!("[\"{sung}\"]"),
            format!("{{\"value\":\"{sung}\" \"{sung}\"}}"),
        ];
        let (rows, bad) = read(Format::Ndjson, &Defaults::default(), &lines.join("\n"));
        assert_eq!((rows.len(), bad.len()), (0, lines.len()));
        let columns = "timestamp,value,metadata\n";
        let text =
            format!("{columns}{sung},1,\n0,{sung},\n0,1,\"\"\"{sung}\"\"\"\n0,1,{sung}\n\"{sung}\"x,1\n");
        let (rows, more) = read(Format::Csv, &Defaults { metric: Some("m".into()), account: None }, &text);
        assert_eq!((rows.len(), more.len()), (0, 5));
        assert!(bad.iter().chain(&more).all(|told| !told.contains("canary")), "{bad:?} {more:?}");
    }

    #[test]
    fn json_lines_are_metrics_or_events() {
        let defaults = Defaults { metric: Some("m".into()), account: Some("a".into()) };
        let text = concat!(
            "{\"metric_name\":\"x\",\"value\":1,\"timestamp\":\"2026-01-01T00:00:00Z\"}\n",
            "{\"event_type\":\"e\",\"title\":\"t\",\"created_at\":5,\"account_id\":\"own\"}\n",
            "{\"value\":2}\n",
            "[1]\n",
            "{\"value\":2,\n",
            "{\"value\":2,\"timestamp\":{}}",
        );
        let (rows, bad) = read(Format::Ndjson, &defaults, text);
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[0].kind, RowKind::Metrics);
        assert_eq!(rows[0].fields["metric_name"], "x");
        assert_eq!((rows[1].kind, rows[1].at_ms), (RowKind::Activity, Some(5)));
        assert_eq!(json(&rows[1]), r#"{"account_id":"own","created_at":5,"event_type":"e","title":"t"}"#);
        assert_eq!(json(&rows[2]), r#"{"account_id":"a","metric_name":"m","value":2}"#);
        assert_eq!(bad.len(), 3);
        assert!(bad[0].starts_with("line 4: not a JSON object"), "{bad:?}");
        assert!(!bad[1].contains("line 1"), "{bad:?}");
    }

    #[test]
    fn times() {
        for (text, expected) in [
            ("1970-01-01T00:00:01Z", Some(1_000)),
            ("1970-01-01T01:00:01.500+01:00", Some(1_500)),
            ("1970-01-01 00:00:01", Some(1_000)),
            ("1970-01-01 00:00:01.250", Some(1_250)),
            ("1970-01-01T00:00:01", Some(1_000)),
            ("1970-01-02 00:01", Some(86_460_000)),
            ("1970-01-02", Some(86_400_000)),
            ("1234", Some(1_234)),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(time(text), expected, "{text:?}");
        }
    }
}
