//! Rows of JSON: their own bytes, of which only what must be said otherwise is changed. Pure.

use std::borrow::Cow;
use std::ops::Range;

use kelly_schemas::decode::is_other_time_name;
use serde_json::Value;
use serde_json::value::RawValue;

use super::columns::{self, DERIVED, EVENTS_EXPORT, SAMPLES_EXPORT};
use super::foreign;
use super::row::{BadRow, Place, Row};
use super::time::{Number, looks_like_time};
use super::{ColumnNames, Found, Hint, Options, kind_of};
use crate::Usage;
use crate::client::RowKind;

/// A field of a JSON object: its name, and where its name and its value stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// Its name with the quotes.
    pub key: Range<usize>,
    /// Its value.
    pub value: Range<usize>,
}

/// The fields of the object that is this text; `None` when it is not one whole object, which the decoder then describes.
pub fn fields(text: &str) -> Option<Vec<Field<'_>>> {
    serde_json::from_str::<&RawValue>(text).ok()?;
    let bytes = text.as_bytes();
    let after = |at: usize, wanted: u8| {
        let at = skip_space(bytes, at);
        (bytes.get(at) == Some(&wanted)).then_some(at + 1)
    };
    let mut at = after(0, b'{')?;
    let mut found = Vec::new();
    loop {
        let start = skip_space(bytes, at);
        if bytes.get(start) == Some(&b'}') {
            return Some(found);
        }
        let end = value_end(bytes, start);
        let name = name(text.get(start..end)?)?;
        let value = skip_space(bytes, after(end, b':')?);
        let value = value..value_end(bytes, value);
        at = skip_space(bytes, value.end);
        if bytes.get(at) == Some(&b',') {
            at += 1;
        }
        found.push(Field { name, key: start..end, value });
    }
}

fn skip_space(bytes: &[u8], from: usize) -> usize {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    bytes[from..].iter().position(|byte| !is_space(byte)).map_or(bytes.len(), |length| from + length)
}

/// Where the value that begins here ends. The text is known to be JSON.
fn value_end(bytes: &[u8], from: usize) -> usize {
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    for (at, byte) in bytes.iter().enumerate().skip(from) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => {
                in_string = !in_string;
                if !in_string && depth == 0 {
                    return at + 1;
                }
            }
            _ if in_string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            b',' | b'}' | b']' | b':' | b' ' | b'\t' | b'\r' | b'\n' if depth == 0 => return at,
            _ => {}
        }
    }
    bytes.len()
}

fn name(quoted: &str) -> Option<Cow<'_, str>> {
    let bare = quoted.strip_prefix('"')?.strip_suffix('"')?;
    if bare.contains('\\') {
        serde_json::from_str(quoted).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(bare))
    }
}

/// The row of a text; `is_first` of its file: then what is in doubt is asked for.
pub fn row(text: &str, place: Place, options: &Options, is_first: bool) -> Result<Found, Usage> {
    let Some(fields) = fields(text) else {
        // The decoder says what it is not.
        let row = Row { place, kind: RowKind::Metrics, at_ms: None, json: text.into(), time: None };
        return Ok(Found::Row(row));
    };
    if is_first {
        foreign::object(&fields)?;
    }
    let has = |name: &str| fields.iter().any(|field| field.name == name);
    let kind = match kind_of(has, &options.columns) {
        Err(ambiguous) if is_first => return Err(ambiguous),
        Err(Usage(what)) => return Ok(Found::Bad(BadRow::unreadable(place, what))),
        Ok(kind) => kind,
    };
    let mut edits = Edits::default();
    let mut has_metric = false;
    let mut has_account = false;
    let mut time = None;
    let flags = &options.columns;
    let time_field = match kind {
        RowKind::Metrics => "timestamp",
        RowKind::Activity => "created_at",
    };
    let is_export = is_export(&fields);
    let mut is_left_out = vec![false; fields.len()];
    for (position, field) in fields.iter().enumerate() {
        let name = Some(&*field.name);
        if flags.time.as_deref() == name {
            edits.rename(field, time_field);
            time = Some(field);
        } else if flags.value.as_deref() == name {
            edits.rename(field, "value");
        } else if flags.metric.as_deref() == name {
            edits.rename(field, "metric_name");
            has_metric = true;
        } else {
            match &*field.name {
                "timestamp" | "created_at" => time = Some(field),
                "metric_name" => has_metric = true,
                "account_id" => has_account = true,
                "metadata" if is_export => edits.metadata(text, field),
                DERIVED if is_export => is_left_out[position] = true,
                _ => {}
            }
        }
    }
    let is_own = |field: &Field<'_>| {
        !columns::is_known(&field.name, kind) && !flags.all().any(|flagged| *flagged == field.name)
    };
    if is_first {
        ask_for_flagged(&fields, flags)?;
    }
    if time.is_none() && options.without_time {
        // The decoder would refuse the row for it.
        for (field, is_left_out) in fields.iter().zip(&mut is_left_out) {
            *is_left_out |= is_own(field) && is_other_time_name(&field.name);
        }
    } else if time.is_none() && is_first {
        let mut own = fields.iter().filter(|field| is_own(field));
        let found = own.clone().find(|field| is_other_time_name(&field.name));
        if let Some(field) = found.or_else(|| own.find(|field| looks_like_time(&shown(text, field)))) {
            return Err(columns::ask_for_time(time_field, &field.name));
        }
    }
    edits.leave_out(&fields, &is_left_out);
    let at_ms = match time {
        Some(field) => edits.time(text, field, options, (place, is_first))?,
        None => None,
    };
    let mut front = String::new();
    if let (RowKind::Metrics, false, Some(metric)) = (kind, has_metric, &options.metric) {
        front.push_str(&format!("\"metric_name\":{},", Value::from(metric.as_str())));
    }
    if let (false, Some(account)) = (has_account, &options.account) {
        front.push_str(&format!("\"account_id\":{},", Value::from(account.as_str())));
    }
    if !front.is_empty() {
        let open = text.find('{').map_or(0, |at| at + 1);
        if is_left_out.iter().all(|is_left_out| *is_left_out) {
            front.pop();
        }
        edits.insert(open, front);
    }
    let (json, time) = edits.apply(text, time.map(|field| field.value.clone()));
    Ok(Found::Row(Row { place, kind, at_ms, json, time }))
}

/// What a field holds, without quotes.
fn shown(text: &str, field: &Field<'_>) -> String {
    let raw = &text[field.value.clone()];
    serde_json::from_str(raw).unwrap_or_else(|_| raw.to_owned())
}

/// Whether Kelly's own export has exactly these fields.
fn is_export(fields: &[Field<'_>]) -> bool {
    let is = |columns: &[&str]| fields.iter().map(|field| &*field.name).eq(columns.iter().copied());
    is(&EVENTS_EXPORT) || is(&SAMPLES_EXPORT)
}

/// Asks for a field that was named and is not there.
fn ask_for_flagged(fields: &[Field<'_>], flags: &ColumnNames) -> Result<(), Usage> {
    let has = |name: &str| fields.iter().any(|field| field.name == name);
    for (flag, named) in
        [("--time-column", &flags.time), ("--value-column", &flags.value), ("--metric-column", &flags.metric)]
    {
        if let Some(named) = named.as_ref().filter(|named| !has(named)) {
            let names: Vec<String> = fields.iter().map(|field| field.name.clone().into_owned()).collect();
            return Err(Usage(format!(
                "{flag} {named}: the first row has no such field; it has {}",
                columns::list(&names)
            )));
        }
    }
    Ok(())
}

/// What is changed in a text, each change in its place.
#[derive(Debug, Default)]
struct Edits {
    changes: Vec<(Range<usize>, String)>,
}

impl Edits {
    fn rename(&mut self, field: &Field<'_>, name: &str) {
        self.changes.push((field.key.clone(), format!("\"{name}\"")));
    }

    fn insert(&mut self, at: usize, text: String) {
        self.changes.push((at..at, text));
    }

    /// Takes fields out, each with the comma before it or, where none stays before it, behind it.
    fn leave_out(&mut self, fields: &[Field<'_>], is_left_out: &[bool]) {
        let mut last_end = None;
        for (position, (field, is_left_out)) in fields.iter().zip(is_left_out).enumerate() {
            let range = match (last_end, fields.get(position + 1)) {
                _ if !is_left_out => {
                    last_end = Some(field.value.end);
                    continue;
                }
                (Some(before), _) => {
                    last_end = Some(field.value.end);
                    before..field.value.end
                }
                (None, Some(next)) => field.key.start..next.key.start,
                (None, None) => field.key.start..field.value.end,
            };
            self.changes.push((range, String::new()));
        }
    }

    /// Exports have the metadata as a text: what it says is put in its place, as it stands there.
    fn metadata(&mut self, text: &str, field: &Field<'_>) {
        let Ok(Value::String(inner)) = serde_json::from_str(&text[field.value.clone()]) else { return };
        let is_object =
            inner.trim_start().starts_with('{') && serde_json::from_str::<&RawValue>(&inner).is_ok();
        if inner.is_empty() {
            self.changes.push((field.value.clone(), "null".to_owned()));
        } else if is_object {
            self.changes.push((field.value.clone(), inner));
        }
    }

    /// Reads the time, and writes it in milliseconds where the decoder would not read it as it stands.
    fn time(
        &mut self,
        text: &str,
        field: &Field<'_>,
        options: &Options,
        (place, is_first): (Place, bool),
    ) -> Result<Option<i64>, Usage> {
        let raw = &text[field.value.clone()];
        let value = serde_json::from_str::<Value>(raw).ok();
        let (read, shown) = match (&value, Number::parse(raw)) {
            (Some(Value::String(written)), _) => {
                // The decoder's own form first; it refuses numbers in quotes, which only a flag makes a time.
                let is_number = Number::parse(written).is_some();
                if is_number && options.time.unit.is_none() && options.time.format.is_none() {
                    return Ok(None);
                }
                (options.time.text(written), written.clone())
            }
            (Some(Value::Number(_)), Some(number)) => (options.time.number(number), raw.to_owned()),
            _ => return Ok(None),
        };
        match read {
            Ok(at_ms) => {
                let is_read_so = match &value {
                    Some(Value::String(written)) => {
                        chrono::DateTime::parse_from_rfc3339(written).is_ok() && options.time.format.is_none()
                    }
                    _ => options.time.unit.is_none_or(|unit| unit == super::time::TimeUnit::Milliseconds),
                };
                if !is_read_so {
                    self.changes.push((field.value.clone(), at_ms.to_string()));
                }
                Ok(Some(at_ms))
            }
            // What stops a replay before it has begun; later the decoder refuses the row.
            Err(super::time::TimeProblem::Ask(what)) if is_first || options.time.is_moved => {
                Err(Usage(format!("{place}: {} of `{}` {what}", Hint::value(&shown), field.name)))
            }
            Err(super::time::TimeProblem::Ask(_) | super::time::TimeProblem::NotATime) => Ok(None),
        }
    }

    /// The changed text, and where the range lies in it.
    fn apply(mut self, text: &str, range: Option<Range<usize>>) -> (Vec<u8>, Option<Range<usize>>) {
        self.changes.sort_by_key(|(range, _)| (range.start, range.end));
        let mut out = Vec::with_capacity(text.len() + 64);
        let mut at = 0;
        let mut moved = None;
        let mut copy = |out: &mut Vec<u8>, until: usize, at: usize| {
            if let Some(range) = range.as_ref().filter(|range| at <= range.start && range.end <= until) {
                let start = out.len() + range.start - at;
                moved = Some(start..start + range.len());
            }
            out.extend_from_slice(&text.as_bytes()[at..until]);
        };
        let mut replaced = None;
        for (change, with) in self.changes {
            copy(&mut out, change.start, at);
            if range.as_ref() == Some(&change) {
                replaced = Some(out.len()..out.len() + with.len());
            }
            out.extend_from_slice(with.as_bytes());
            at = change.end;
        }
        copy(&mut out, text.len(), at);
        (out, replaced.or(moved))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_where_they_are_said_to() {
        for text in [
            r#"{}"#,
            " { } ",
            r#"{"a":1}"#,
            "\t{ \"a\" : -1.5e+3 ,\n\"b\\\"\\u0041\":\"x\\\\\",\"c\":[1,{\"d\":\"}]\\\"\"}],\"\":null , \"e\":true}\r\n",
            r#"{"ключ":{"a":{"b":[[],{}]}},"z":"{"}"#,
        ] {
            let fields = fields(text).expect(text);
            let whole: serde_json::Map<String, Value> = serde_json::from_str(text).unwrap();
            assert_eq!(fields.len(), whole.len(), "{text}");
            for field in fields {
                let name: String = serde_json::from_str(&text[field.key.clone()]).unwrap();
                let value: Value = serde_json::from_str(&text[field.value.clone()]).unwrap();
                assert_eq!((name.as_str(), &value), (&*field.name, &whole[&name]), "{text}");
            }
        }
        for text in ["", "[]", "7", "\"a\"", "{", "{\"a\":1}}", "{\"a\":1,}", "{} {}"] {
            assert!(fields(text).is_none(), "{text}");
        }
    }

    #[test]
    fn fields_are_left_out_with_their_commas() {
        let text = r#"{"a":1 , "b":2, "c":3}"#;
        let fields = fields(text).unwrap();
        for (left_out, expected) in [
            ([false, false, false], text),
            ([true, false, false], r#"{"b":2, "c":3}"#),
            ([false, true, false], r#"{"a":1, "c":3}"#),
            ([false, true, true], r#"{"a":1}"#),
            ([true, true, false], r#"{"c":3}"#),
            ([true, false, true], r#"{"b":2}"#),
            ([true, true, true], "{}"),
        ] {
            let mut edits = Edits::default();
            edits.leave_out(&fields, &left_out);
            assert_eq!(String::from_utf8(edits.apply(text, None).0).unwrap(), expected, "{left_out:?}");
        }
    }

    #[test]
    fn changes_leave_the_rest_where_it_is() {
        let mut edits = Edits::default();
        edits.insert(1, "\"x\":0,".to_owned());
        edits.changes.push((6..8, "1000".to_owned()));
        let (json, time) = edits.apply(r#"{"at":17,"b":2}"#, Some(6..8));
        assert_eq!(json, br#"{"x":0,"at":1000,"b":2}"#);
        assert_eq!(&json[time.unwrap()], b"1000");
        let mut edits = Edits::default();
        edits.insert(1, "\"x\":0,".to_owned());
        let (json, time) = edits.apply(r#"{"at":17}"#, Some(6..8));
        assert_eq!(&json[time.unwrap()], b"17");
    }
}
