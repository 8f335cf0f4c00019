//! `kelly drilldown`: one metric by account or by conversation, as a table with sparklines or into a file.

mod sparkline;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use chrono::{DateTime, Utc};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::Deserialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::cli::{self, By};
use crate::client::Client;
use crate::config::{Config, Usage};
use crate::output::{self, Paint, Tone, printable};
use crate::roles::{INTERRUPTED, grouped};
use sparkline::{Point, Together, Window, sparkline};

/// Blocks of a sparkline at most.
const SPARKLINE_WIDTH: usize = 30;

/// What the table shows of an answer; a file has all of it.
#[derive(Debug, Deserialize)]
struct Answer {
    metric_name: String,
    group_by: String,
    group_count: u64,
    groups: Vec<Group>,
    remainder: Option<Remainder>,
    definition: Definition,
    window: Span,
    resolution: Resolution,
    percentile_error_bound: Option<f64>,
    notes: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Definition {
    aggregate: String,
    unit: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Span {
    from: DateTime<Utc>,
    to: DateTime<Utc>,
}

#[derive(Debug, Deserialize)]
struct Resolution {
    seconds: i64,
    label: String,
}

#[derive(Debug, Deserialize)]
struct Remainder {
    groups: u64,
    count: u64,
}

#[derive(Debug, Deserialize)]
struct Group {
    id: String,
    rank: u64,
    value: f64,
    count: u64,
    sum: f64,
    mean: f64,
    min: f64,
    max: f64,
    percentiles: Percentiles,
    #[serde(default)]
    comparison: Option<Change>,
    series: Vec<SeriesPoint>,
}

#[derive(Debug, Default, Deserialize)]
struct Percentiles {
    p50: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Change {
    previous: Option<f64>,
    percentage_change: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct SeriesPoint {
    timestamp: DateTime<Utc>,
    value: f64,
    count: u64,
}

/// Asks, and tells or writes.
pub async fn run(
    arguments: &cli::Drilldown,
    config: &Config,
    bars: MultiProgress,
    stop: CancellationToken,
) -> anyhow::Result<u8> {
    let file = arguments.output.as_deref().map(|path| form(path).map(|form| (path, form))).transpose()?;
    let client = Client::new(&arguments.server.url(config.listen))?;
    let style = ProgressStyle::with_template("{spinner} asking for {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = bars.add(ProgressBar::new_spinner().with_style(style).with_message(arguments.metric.clone()));
    bar.enable_steady_tick(Duration::from_millis(100));
    let path = ["api", "v1", "kelly", "monitoring", "metrics", "detailed", &arguments.metric];
    let question = question(arguments)?;
    let asked = tokio::select! {
        asked = client.ask(&path, &question) => Some(asked),
        () = stop.cancelled() => None,
    };
    bar.finish_and_clear();
    let Some(asked) = asked else { return Ok(INTERRUPTED) };
    let document = asked?;
    if let Some((path, form)) = file {
        write_file(path, form, &document)?;
        return Ok(0);
    }
    if arguments.json {
        output::json(&document)?;
        return Ok(0);
    }
    output::line(told(&understood(&document)?, Paint::stdout()))?;
    Ok(0)
}

fn question(arguments: &cli::Drilldown) -> Result<Vec<(&'static str, String)>, Usage> {
    let by = match (arguments.by, &arguments.account) {
        (Some(By::Account), Some(account)) => {
            return Err(Usage(format!(
                "by account there is one line of the account {account}: leave --account out, or ask --by \
                 conversation for what it is made of"
            )));
        }
        (Some(By::Account), None) | (None, None) => "account",
        (Some(By::Conversation), _) | (None, Some(_)) => "conversation",
    };
    let mut question = vec![
        ("timeframe", arguments.timeframe.clone()),
        ("group_by", by.to_owned()),
        ("top", arguments.top.to_string()),
        ("compare", "previous".to_owned()),
    ];
    let optional =
        [("account_id", &arguments.account), ("order_by", &arguments.order_by), ("order", &arguments.order)];
    question.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
    Ok(question)
}

fn understood(document: &Value) -> anyhow::Result<Answer> {
    Answer::deserialize(document).context(
        "the answer is not one this version understands; use the `kelly` of the version that answers, or --json",
    )
}

/// What a file is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Csv,
    Json,
}

fn form(path: &Path) -> Result<Form, Usage> {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("csv") => Ok(Form::Csv),
        Some("json") => Ok(Form::Json),
        _ => Err(Usage(format!(
            "what {} shall be, its name does not say: let it end in .csv or .json (samples and series as \
             Parquet or Arrow come over HTTP, see /api/docs/)",
            path.display()
        ))),
    }
}

/// Writes beside the file and then moves it there, so that nobody sees half of one.
fn write_file(path: &Path, form: Form, document: &Value) -> anyhow::Result<()> {
    let shown = path.display();
    let answer = understood(document)?;
    let (Some(name), parent) = (path.file_name(), path.parent().unwrap_or(Path::new(""))) else {
        bail!("{shown} names no file");
    };
    let temporary = parent.join(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    let write = || -> anyhow::Result<()> {
        let mut out = BufWriter::new(File::create(&temporary)?);
        match form {
            Form::Json => serde_json::to_writer_pretty(&mut out, document)?,
            Form::Csv => csv(&answer, &mut out)?,
        }
        out.write_all(if form == Form::Json { b"\n" } else { b"" })?;
        out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
        std::fs::rename(&temporary, path)?;
        Ok(())
    };
    if let Err(error) = write() {
        // The failure to write is what is told.
        let _ = std::fs::remove_file(&temporary);
        return Err(error).with_context(|| format!("writing {shown}"));
    }
    output::line(format!("{shown}: {} groups of {}", answer.groups.len(), grouped(answer.group_count)))
}

/// A line a group. The series are in the JSON form only.
fn csv(answer: &Answer, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(
        out,
        "metric_name,from,to,group_by,rank,id,value,count,sum,mean,min,max,p50,p95,p99,previous_value,percentage_change"
    )?;
    for group in &answer.groups {
        let optional = |number: Option<f64>| number.map_or_else(String::new, |number| number.to_string());
        let change = group.comparison.as_ref();
        let fields = [
            quoted(&answer.metric_name),
            answer.window.from.to_rfc3339(),
            answer.window.to.to_rfc3339(),
            answer.group_by.clone(),
            group.rank.to_string(),
            quoted(&group.id),
            group.value.to_string(),
            group.count.to_string(),
            group.sum.to_string(),
            group.mean.to_string(),
            group.min.to_string(),
            group.max.to_string(),
            optional(group.percentiles.p50),
            optional(group.percentiles.p95),
            optional(group.percentiles.p99),
            optional(change.and_then(|change| change.previous)),
            optional(change.and_then(|change| change.percentage_change)),
        ];
        writeln!(out, "{}", fields.join(","))?;
    }
    Ok(())
}

/// A text as a CSV field. One that a spreadsheet would take for a formula is made a text.
fn quoted(text: &str) -> String {
    // Some pass over blanks before they look.
    let is_formula = text.starts_with(['\t', '\r']) || text.trim_start().starts_with(['=', '+', '-', '@']);
    let text = if is_formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

/// The table and what stands around it.
fn told(answer: &Answer, paint: Paint) -> String {
    let unit = answer.definition.unit.as_deref().filter(|unit| !unit.is_empty());
    let mut lines = vec![format!(
        "{}{} by {}, {} to {}, a point is {}",
        printable(&answer.metric_name),
        unit.map_or_else(String::new, |unit| format!(" ({unit})")),
        answer.group_by,
        answer.window.from.format("%Y-%m-%d %H:%M"),
        answer.window.to.format("%Y-%m-%d %H:%M UTC"),
        answer.resolution.label,
    )];
    lines.push(String::new());
    if answer.groups.is_empty() {
        lines.push("no samples in this time".to_owned());
    } else {
        lines.push(table(answer, paint));
    }
    if let Some(rest) = &answer.remainder {
        lines.push(String::new());
        lines.push(format!(
            "{} more with {} samples; --top shows more of them",
            grouped(rest.groups),
            grouped(rest.count)
        ));
    }
    if let Some(bound) = answer.percentile_error_bound.filter(|bound| *bound > 0.0) {
        lines.push(format!("percentiles are within {} % of the value at their rank", bound * 100.0));
    }
    lines.extend(answer.notes.iter().map(|note| printable(note)));
    lines.join("\n")
}

fn table(answer: &Answer, paint: Paint) -> String {
    let together = match answer.definition.aggregate.as_str() {
        "sum" => Together::Sum,
        "max" => Together::Max,
        "last" => Together::Last,
        _ => Together::Mean,
    };
    let window = Window {
        from_ms: answer.window.from.timestamp_millis(),
        to_ms: answer.window.to.timestamp_millis(),
        step_ms: answer.resolution.seconds * 1_000,
    };
    let rows = answer.groups.iter().map(|group| {
        let points: Vec<Point> = group
            .series
            .iter()
            .map(|point| Point {
                at_ms: point.timestamp.timestamp_millis(),
                value: point.value,
                count: point.count,
            })
            .collect();
        let percentile = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), figure);
        let change = group.comparison.as_ref().and_then(|change| change.percentage_change);
        [
            group.rank.to_string(),
            printable(&group.id),
            grouped(group.count),
            figure(group.value),
            figure(group.mean),
            percentile(group.percentiles.p50),
            percentile(group.percentiles.p95),
            percentile(group.percentiles.p99),
            change.map_or_else(|| "-".to_owned(), |percent| format!("{percent:+.1} %")),
            sparkline(&points, window, together, SPARKLINE_WIDTH),
        ]
    });
    let group = answer.group_by.to_uppercase();
    let value = answer.definition.aggregate.to_uppercase();
    let header = ["", &group, "COUNT", &value, "MEAN", "P50", "P95", "P99", "CHANGE", "COURSE"];
    let text = output::table(header, rows);
    match text.split_once('\n') {
        Some((header, rows)) => format!("{}\n{rows}", paint.tint(Tone::Faint, header)),
        None => text,
    }
}

/// A figure with four digits that count, without zeros at its end.
fn figure(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-4..1e15).contains(&magnitude) {
        return format!("{value:.3e}");
    }
    if magnitude >= 1_000.0 {
        let whole = grouped(magnitude.round() as u64);
        return if value < 0.0 { format!("-{whole}") } else { whole };
    }
    let before = if magnitude < 1.0 { 0 } else { magnitude.log10() as usize };
    let text = format!("{value:.*}", 3 - before.min(3));
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer() -> Value {
        let group = |rank: u64, id: &str, change: Value| {
            json!({
                "id": id, "rank": rank, "value": 0.5, "count": 1_200, "sum": 600.0, "mean": 0.5, "min": 0.1, "max": 0.9,
                "last": 0.4, "share_of_count": 0.5,
                "percentiles": {"p50": 0.51, "p95": 0.8, "p99": null},
                "comparison": change,
                "series": [
                    {"timestamp": "2026-01-01T00:00:00Z", "value": 0.1, "count": 1, "min": 0.1, "max": 0.1, "partial": false},
                    {"timestamp": "2026-01-01T18:00:00Z", "value": 0.9, "count": 1, "min": 0.1, "max": 0.1, "partial": false},
                ],
            })
        };
        json!({
            "metric_name": "ai_confidence", "group_by": "account", "order_by": "mean", "order": "asc", "top": 2,
            "group_count": 5,
            "groups": [
                group(1, "acme", json!({"previous": 0.4, "percentage_change": 25.04, "current": 0.5})),
                group(2, "=1+1,\"x\"\u{1b}", Value::Null),
            ],
            "remainder": {"groups": 3, "count": 40},
            "definition": {"aggregate": "mean", "unit": "ratio"},
            "window": {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"},
            "resolution": {"seconds": 21_600, "label": "6h"},
            "percentile_error_bound": 0.01,
            "notes": ["Something is missing."],
        })
    }

    #[test]
    fn groups_are_a_table_with_a_line_each() {
        let told = told(&understood(&answer()).unwrap(), Paint::Plain);
        let expected = "\
ai_confidence (ratio) by account, 2026-01-01 00:00 to 2026-01-02 00:00 UTC, a point is 6h

   ACCOUNT    COUNT  MEAN  MEAN  P50   P95  P99  CHANGE   COURSE
1  acme       1,200  0.5   0.5   0.51  0.8  -    +25.0 %  ▁··█
2  =1+1,\"x\"\u{fffd}  1,200  0.5   0.5   0.51  0.8  -    -        ▁··█

3 more with 40 samples; --top shows more of them
percentiles are within 1 % of the value at their rank
Something is missing.";
        assert_eq!(told, expected);
    }

    #[test]
    fn a_csv_file_has_a_line_a_group() {
        let mut text = Vec::new();
        csv(&understood(&answer()).unwrap(), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0].split(',').count(), lines[1].split(',').count());
        assert!(lines[1].starts_with("ai_confidence,2026-01-01T00:00:00+00:00,"), "{text}");
        assert!(lines[1].ends_with(",0.51,0.8,,0.4,25.04"), "{text}");
        assert!(lines[2].contains("\"'=1+1,\"\"x\"\""), "no spreadsheet computes it: {text}");
    }

    #[test]
    fn no_spreadsheet_computes_a_text() {
        for text in ["=1", "+1", "-1", "@x", "\t=1", "\rx", " =1", "  +1", "\u{a0}@x"] {
            assert!(quoted(text).trim_start_matches('"').starts_with('\''), "{text:?}: {}", quoted(text));
        }
        for text in ["a=1", "", " a", "1"] {
            assert_eq!(quoted(text), text);
        }
    }

    #[test]
    fn a_files_name_says_what_it_is() {
        assert_eq!(form(Path::new("a/b.csv")).unwrap(), Form::Csv);
        assert_eq!(form(Path::new("b.json")).unwrap(), Form::Json);
        for wrong in ["b", "b.xls", ".csv", "csv"] {
            assert!(form(Path::new(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn figures_have_the_digits_that_count() {
        for (value, expected) in [
            (0.0, "0"),
            (0.85, "0.85"),
            (0.123_456, "0.123"),
            (1.5, "1.5"),
            (12.345, "12.35"),
            (123.456, "123.5"),
            (-123.456, "-123.5"),
            (1_234.5, "1,235"),
            (-1_234_567.0, "-1,234,567"),
            (0.000_01, "1.000e-5"),
            (1e20, "1.000e20"),
            (100.0, "100"),
        ] {
            assert_eq!(figure(value), expected);
        }
    }
}
