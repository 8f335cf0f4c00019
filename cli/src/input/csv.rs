//! Rows of CSV: a header says what the columns are, then a record is a row.

use std::io::{self, BufRead};

use serde_json::value::RawValue;

use super::columns::{Column, Columns};
use super::number::{NumberProblem, Numbers};
use super::records::{Record, Records, Syntax, Top};
use super::row::{BadRow, Draft, Place};
use super::time::{Number, TimeProblem, is_timestamp, looks_like_time};
use super::{Found, Hint, NO_TIME, Options, columns, foreign};
use crate::Usage;
use crate::client::RowKind;

/// What may separate cells, the usual one first.
const DELIMITERS: [u8; 4] = *b",;\t|";

/// The rows of a CSV text.
pub struct CsvRows<R> {
    records: Records<R>,
    columns: Columns,
    numbers: Numbers,
    options: Options,
    /// The first record is read with the header: it shows what the columns hold.
    first: Option<Result<Record, BadRow>>,
    is_first: bool,
    /// After InfluxDB's annotations a header comes again.
    wants_header: bool,
}

impl<R: BufRead> CsvRows<R> {
    /// Reads the header. `None` for a file without one, which has no rows either.
    pub fn new(mut input: R, options: &Options) -> anyhow::Result<Option<Self>> {
        let Some(top) = Top::read(&mut input)? else { return Ok(None) };
        if top.header.starts_with(b"\xff\xfe") || top.header.starts_with(b"\xfe\xff") {
            return Err(Usage("it is UTF-16: save it as UTF-8".to_owned()).into());
        }
        let delimiter = match options.delimiter {
            Some(delimiter) => delimiter,
            None => delimiter_of(&String::from_utf8_lossy(&top.header), options)?,
        };
        let is_annotated = top.is_annotated;
        let syntax = Syntax { delimiter, has_comments: has_comments(&top.header, delimiter, options) };
        let mut records = Records::new(top, input, syntax);
        let names = match records.next()? {
            None => return Ok(None),
            Some(Err(bad)) => return Err(Usage(format!("its header cannot be read: {}", bad.what)).into()),
            Some(Ok(header)) => header.cells,
        };
        if names.iter().any(|name| is_timestamp(name) || Number::parse(name.trim()).is_some()) {
            return Err(Usage(
                "its first line is data: write the names of the columns above it, such as timestamp,value"
                    .to_owned(),
            )
            .into());
        }
        let first = records.next()?;
        let is_time = |at: usize| match &first {
            Some(Ok(record)) => record.cells.get(at).is_some_and(|cell| looks_like_time(cell)),
            _ => false,
        };
        let columns = Columns::new(&names, options, &is_time);
        let columns =
            columns.map_err(|asked| if is_annotated { Usage(foreign::INFLUX.to_owned()) } else { asked })?;
        Ok(Some(Self {
            records,
            columns,
            numbers: Numbers::new(options.decimal),
            options: options.clone(),
            first,
            is_first: true,
            wants_header: false,
        }))
    }

    /// The next row or bad row.
    pub fn next(&mut self) -> anyhow::Result<Option<Found>> {
        loop {
            let record = match self.first.take() {
                Some(first) => first,
                None => match self.records.next()? {
                    None => return Ok(None),
                    Some(record) => record,
                },
            };
            let record = match record {
                Ok(record) => record,
                Err(bad) => return Ok(Some(Found::Bad(bad))),
            };
            if self.is_passed_over(&record)? {
                continue;
            }
            let found = self.row(&record)?;
            self.is_first = false;
            return Ok(Some(found));
        }
    }

    /// Blank lines, InfluxDB's annotations, and a header that stands there again, as where files were put one behind the other.
    fn is_passed_over(&mut self, record: &Record) -> Result<bool, Usage> {
        let cells = &record.cells;
        let Some(first) = cells.first() else { return Ok(true) };
        if foreign::is_influx_annotation(first.trim()) {
            self.wants_header = true;
            return Ok(true);
        }
        if *cells == self.columns.names {
            self.wants_header = false;
            return Ok(true);
        }
        if std::mem::take(&mut self.wants_header) {
            return Err(Usage(format!("another table begins on line {}: split the file there", record.line)));
        }
        Ok(cells.len() == 1 && self.columns.names.len() > 1 && first.trim().is_empty())
    }

    fn row(&mut self, record: &Record) -> Result<Found, Usage> {
        let place = Place::Line(record.line);
        let bad = |what: String| Ok(Found::Bad(BadRow::unreadable(place, what)));
        if record.begins_with_hash && matches!(self.columns.columns.first(), Some(Column::Skipped)) {
            return bad(
                "it begins with #, so it may be a comment or a row: take the # away, or the line out"
                    .to_owned(),
            );
        }
        let (found, wanted) = (record.cells.len(), self.columns.columns.len());
        if found != wanted {
            return bad(format!("{found} values where the header has {wanted} columns"));
        }
        let is_metric = self.columns.kind == RowKind::Metrics;
        let mut draft = Draft::new();
        let mut metric = self.columns.metric.as_deref().filter(|_| is_metric);
        let mut account = self.options.account.as_deref();
        for (at, (column, cell)) in self.columns.columns.iter().zip(&record.cells).enumerate() {
            let name = || Hint::name(self.columns.name(at));
            let cell = self.text(cell);
            match column {
                Column::Skipped => {}
                Column::Time => match self.options.time.text(cell) {
                    Ok(at_ms) => draft.time(self.columns.time_field(), at_ms),
                    Err(_) if cell.trim().is_empty() => {
                        return bad(format!("the time in `{}` is empty", name()));
                    }
                    Err(TimeProblem::NotATime) => {
                        return bad(format!("{} in `{}` is no time: {NO_TIME}", Hint::value(cell), name()));
                    }
                    Err(TimeProblem::Ask(what)) => {
                        let what = format!("{} in `{}` {what}", Hint::value(cell), name());
                        if self.is_first || self.options.time.is_moved {
                            return Err(Usage(format!("{place}: {what}")));
                        }
                        return bad(what);
                    }
                },
                Column::Value => match self.numbers.read(cell) {
                    Ok(number) => draft.number("value", number),
                    Err(NumberProblem::Empty) => {
                        return bad(format!("`{}` is empty; leave out what was not measured", name()));
                    }
                    Err(NumberProblem::NotANumber) => {
                        return bad(format!("{} in `{}` is no finite number", Hint::value(cell), name()));
                    }
                    Err(NumberProblem::Ambiguous) => {
                        let what = format!(
                            "{} in `{}` may have thousands or a fraction: say --decimal point or --decimal comma",
                            Hint::value(cell),
                            name()
                        );
                        if self.is_first {
                            return Err(Usage(format!("{place}: {what}")));
                        }
                        return bad(what);
                    }
                },
                Column::Text(_) | Column::Metadata | Column::Other(_) if cell.is_empty() => {}
                Column::Text(name) => {
                    match *name {
                        "metric_name" => metric = None,
                        "account_id" => account = None,
                        _ => {}
                    }
                    draft.text(name, cell);
                }
                Column::Metadata => match serde_json::from_str::<&RawValue>(cell) {
                    Ok(raw) => draft.raw("metadata", raw.get()),
                    Err(_) => return bad(format!("`{}` is no JSON object", name())),
                },
                Column::Other(name) => draft.text(name, cell),
            }
        }
        if let Some(metric) = metric {
            draft.text("metric_name", metric);
        }
        if let Some(account) = account {
            draft.text("account_id", account);
        }
        Ok(Found::Row(draft.finish(place, self.columns.kind)))
    }

    /// What a cell says.
    fn text<'c>(&self, cell: &'c str) -> &'c str {
        if self.columns.is_export { without_guard(cell) } else { cell.trim() }
    }
}

/// Whether lines that begin with `#` are comments: where the first column holds times or values. Below a name of texts such
/// a line is a row. A header of several lines is not looked into: below it they are bad rows.
fn has_comments(header: &[u8], delimiter: u8, options: &Options) -> bool {
    let line = Top { header: header.to_vec(), lines_before: 0, is_annotated: false };
    let mut records = Records::new(line, io::empty(), Syntax { delimiter, has_comments: false });
    match records.next() {
        Ok(Some(Ok(header))) => columns::begins_with_number(&header.cells, &options.columns),
        _ => false,
    }
}

/// What Kelly's export wrote: it guards a text that a spreadsheet would run as a formula by an apostrophe before it.
fn without_guard(cell: &str) -> &str {
    let Some(rest) = cell.strip_prefix('\'') else { return cell };
    let text = rest.trim_start_matches('\'');
    let formula = text.trim_start_matches([' ', '\t', '\n', '\r', '\u{c}']);
    let blanks = &text[..text.len() - formula.len()];
    let may_run = formula.starts_with(['=', '+', '-', '@']) || blanks.contains(['\t', '\r']);
    if may_run { rest } else { cell }
}

/// What separates the cells of a header. Only one candidate may; where several stand in it, the one that makes known names.
fn delimiter_of(header: &str, options: &Options) -> Result<u8, Usage> {
    let cells = |delimiter: u8| -> Vec<String> {
        let mut in_quotes = false;
        let parts = header.split(|character| {
            in_quotes ^= character == '"';
            !in_quotes && character == char::from(delimiter)
        });
        parts.map(|cell| cell.trim().trim_matches('"').to_ascii_lowercase()).collect()
    };
    let candidates: Vec<u8> =
        DELIMITERS.into_iter().filter(|delimiter| cells(*delimiter).len() > 1).collect();
    match candidates[..] {
        [] => return Ok(DELIMITERS[0]),
        [only] => return Ok(only),
        _ => {}
    }
    let value = options.columns.value.as_deref().unwrap_or("value").to_ascii_lowercase();
    let is_known = |name: &String| *name == value || name == "event_type";
    let known: Vec<u8> =
        candidates.into_iter().filter(|delimiter| cells(*delimiter).iter().any(is_known)).collect();
    match known[..] {
        [only] => Ok(only),
        _ => Err(Usage(
            "what separates its cells is not certain, more than one of , ; tab and | stands in its header: say --delimiter"
                .to_owned(),
        )),
    }
}
