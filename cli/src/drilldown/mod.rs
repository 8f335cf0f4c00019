//! `kelly drilldown`: one metric by account or by conversation, as a table with sparklines or into a file.

mod file;
mod sparkline;

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, Utc};
use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};
use serde::Deserialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::arguments::{self, By, FileFormat};
use crate::client::{Client, Downloaded};
use crate::output::{self, Paint, Tone, grouped, printable};
use crate::{INTERRUPTED, Settings, Usage};
use file::NewFile;
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
    freshness: Freshness,
    percentile_error_bound: Option<f64>,
    #[serde(default)]
    percentile_least_magnitude: Option<f64>,
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
struct Freshness {
    computed_at: DateTime<Utc>,
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
    mean: f64,
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
    percentage_change: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct SeriesPoint {
    timestamp: DateTime<Utc>,
    value: f64,
    count: u64,
}

/// What is asked, and where.
struct Asked<'a> {
    client: Client,
    path: [&'a str; 6],
    question: Vec<(&'static str, String)>,
}

/// Asks, and prints or writes.
pub async fn run(
    arguments: &arguments::Drilldown,
    settings: &Settings,
    bars: MultiProgress,
    stop: CancellationToken,
) -> anyhow::Result<u8> {
    let output = arguments.output.as_deref();
    let file = output.map(|path| file::form(path, arguments.format).map(|form| (path, form))).transpose()?;
    let asked = Asked {
        client: settings.client()?,
        path: ["api", "v1", "kelly", "monitoring", "metrics", "detailed"],
        question: question(arguments)?,
    };
    let style = ProgressStyle::with_template("{spinner} asking for {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = bars.add(ProgressBar::new_spinner().with_style(style).with_message(arguments.metric.clone()));
    bar.enable_steady_tick(Duration::from_millis(100));
    let message = tokio::select! {
        message = asked.answer(arguments, file) => Some(message),
        () = stop.cancelled() => None,
    };
    bar.finish_and_clear();
    let Some(message) = message else { return Ok(INTERRUPTED) };
    output::line(message?)?;
    Ok(0)
}

impl Asked<'_> {
    /// What the command says in the end; a file is written before.
    async fn answer(
        self,
        arguments: &arguments::Drilldown,
        file: Option<(&Path, FileFormat)>,
    ) -> anyhow::Result<String> {
        let Self { client, path, mut question } = self;
        let path = [&path[..], &[arguments.metric.as_str()]].concat();
        match file {
            Some((place, FileFormat::Json)) => {
                let document = client.ask(&path, &question).await?;
                let answer = understood(&document)?;
                let mut file = NewFile::next_to(place)?;
                serde_json::to_writer_pretty(&mut file, &document)
                    .map_err(std::io::Error::from)
                    .and_then(|()| file.write_all(b"\n"))
                    .with_context(|| format!("writing {}", place.display()))?;
                file.finish()?;
                let (shown, all) = (grouped(answer.groups.len() as u64), grouped(answer.group_count));
                let written = format!("{}: {shown} groups of {all}", place.display());
                let notes = answer.notes.iter().map(|note| printable(note));
                Ok(std::iter::once(written).chain(notes).collect::<Vec<_>>().join("\n"))
            }
            Some((place, format)) => {
                question.push(("format", format.parameter().to_owned()));
                let mut file = NewFile::next_to(place)?;
                let Downloaded { bytes, kept_from } = client.download(&path, &question, &mut file).await?;
                file.finish()?;
                Ok(written(place, bytes, kept_from.as_deref()))
            }
            None => {
                let document = client.ask(&path, &question).await?;
                if arguments.json {
                    return Ok(format!("{document:#}"));
                }
                Ok(report(&understood(&document)?, Paint::stdout()))
            }
        }
    }
}

fn question(arguments: &arguments::Drilldown) -> Result<Vec<(&'static str, String)>, Usage> {
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

/// What is said of a file that was written.
fn written(place: &Path, bytes: u64, kept_from: Option<&str>) -> String {
    let written = format!("{}: {}", place.display(), HumanBytes(bytes));
    match kept_from {
        Some(since) => format!(
            "{written}\nthe range begins before {}, since when everything is kept: earlier rows may be missing",
            printable(since)
        ),
        None => written,
    }
}

/// How alike the names of two metrics must be, 1 being the same, that one is asked whether the other was meant.
const ALIKE: f64 = 0.8;

/// That there is nothing, and which metric of the catalogue was meant if the name is near one's.
fn no_samples(metric: &str) -> String {
    let known = kelly_schemas::Catalogue::builtin().definitions().map(|definition| &*definition.name);
    let likeness = |name: &str| strsim::normalized_damerau_levenshtein(metric, name);
    let near = known.filter(|name| *name != metric && likeness(name) >= ALIKE);
    match near.max_by(|one, other| likeness(one).total_cmp(&likeness(other))) {
        Some(name) => format!("no samples in this time; did you mean {name}?"),
        None => "no samples in this time".to_owned(),
    }
}

/// The table and what stands around it.
fn report(answer: &Answer, paint: Paint) -> String {
    let unit = answer.definition.unit.as_deref().filter(|unit| !unit.is_empty());
    let mut lines = vec![format!(
        "{}{} by {}, {} to {}{}, a point is {}",
        printable(&answer.metric_name),
        unit.map_or_else(String::new, |unit| format!(" ({unit})")),
        answer.group_by,
        answer.window.from.format("%Y-%m-%d %H:%M"),
        answer.window.to.format("%Y-%m-%d %H:%M UTC"),
        if answer.window.to > answer.freshness.computed_at { " (not over yet)" } else { "" },
        answer.resolution.label,
    )];
    lines.push(String::new());
    if answer.groups.is_empty() {
        lines.push(no_samples(&answer.metric_name));
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
        let least = answer.percentile_least_magnitude.filter(|least| *least > 0.0);
        let from = least.map_or_else(String::new, |least| format!(", from magnitudes of {least:e} on"));
        lines.push(format!("percentiles are within {} % of the value at their rank{from}", bound * 100.0));
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
    let text = if value == "MEAN" {
        // Then the two are one.
        let header = ["", &group, "COUNT", "MEAN", "P50", "P95", "P99", "CHANGE", "COURSE"];
        let once = rows.map(|[rank, id, count, _, mean, p50, p95, p99, change, course]| {
            [rank, id, count, mean, p50, p95, p99, change, course]
        });
        output::table(header, once)
    } else {
        let header = ["", &group, "COUNT", &value, "MEAN", "P50", "P95", "P99", "CHANGE", "COURSE"];
        output::table(header, rows)
    };
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
            "freshness": {"newest_sample": null, "age_seconds": null, "computed_at": "2026-01-01T20:00:00Z"},
            "percentile_error_bound": 0.01,
            "percentile_least_magnitude": 1e-130,
            "notes": ["Something is missing."],
        })
    }

    #[test]
    fn groups_are_a_table_with_a_line_each() {
        let message = report(&understood(&answer()).unwrap(), Paint::Plain);
        let expected = "\
ai_confidence (ratio) by account, 2026-01-01 00:00 to 2026-01-02 00:00 UTC (not over yet), a point is 6h

   ACCOUNT    COUNT  MEAN  P50   P95  P99  CHANGE   COURSE
1  acme       1,200  0.5   0.51  0.8  -    +25.0 %  ▁··█
2  =1+1,\"x\"\u{fffd}  1,200  0.5   0.51  0.8  -    -        ▁··█

3 more with 40 samples; --top shows more of them
percentiles are within 1 % of the value at their rank, from magnitudes of 1e-130 on
Something is missing.";
        assert_eq!(message, expected);
    }

    #[test]
    fn another_aggregate_stands_before_the_mean_and_a_window_that_is_over_is_no_news() {
        let mut answer = answer();
        answer["definition"]["aggregate"] = "sum".into();
        answer["freshness"]["computed_at"] = "2026-01-02T00:00:00Z".into();
        let message = report(&understood(&answer).unwrap(), Paint::Plain);
        assert!(message.contains("   ACCOUNT    COUNT  SUM  MEAN  P50"), "{message}");
        assert!(message.contains("2026-01-02 00:00 UTC, a point is 6h"), "{message}");
    }

    #[test]
    fn a_file_that_begins_later_than_was_asked_for_says_so() {
        let place = Path::new("a.csv");
        assert_eq!(written(place, 2_048, None), "a.csv: 2.00 KiB");
        assert_eq!(
            written(place, 2_048, Some("2026-01-01T00:00:00.000Z")),
            "a.csv: 2.00 KiB\nthe range begins before 2026-01-01T00:00:00.000Z, since when everything is kept: earlier rows may \
             be missing"
        );
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

    #[test]
    fn a_name_that_is_nearly_one_of_the_catalogue_is_asked_about() {
        assert_eq!(no_samples("ai_confidance"), "no samples in this time; did you mean ai_confidence?");
        for other in ["ai_confidence", "taxi_rides"] {
            assert_eq!(no_samples(other), "no samples in this time", "{other}");
        }
    }
}
