//! `kelly rules backtest`: what rules would have done, beside those in force.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use kelly_alerts::rule::Span;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::arguments::BacktestRules;
use crate::client::Refused;
use crate::output::{self, Paint, Tone, grouped, printable};
use crate::rules::{REFUSED, read};
use crate::{INTERRUPTED, Settings, Usage};

const PATH: &str = "api/v1/kelly/alerts/rules/preview";

/// What the table shows of an answer.
#[derive(Debug, Deserialize)]
struct Answer {
    window: Window,
    history: History,
    rules: Vec<Rule>,
    notes: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Window {
    from: DateTime<Utc>,
    to: DateTime<Utc>,
}

#[derive(Debug, Deserialize)]
struct History {
    samples: u64,
    rollups: u64,
}

#[derive(Debug, Deserialize)]
struct Rule {
    rule: String,
    version: u32,
    judged: Vec<Part>,
    not_judged: Option<String>,
    outcome: Outcome,
    beside: Option<Beside>,
    alerts: Vec<Alert>,
    more_alerts: u64,
    late_rows: u64,
    unwatched_rows: u64,
    suggestion: Option<Suggestion>,
}

#[derive(Debug, Deserialize)]
struct Part {
    from: DateTime<Utc>,
    tier: String,
    means: String,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct Outcome {
    alerts: u64,
    worsened: u64,
    still_firing: u64,
    notifications: u64,
    firing_seconds: f64,
    longest_seconds: f64,
}

#[derive(Debug, Deserialize)]
struct Beside {
    version: u32,
    outcome: Outcome,
}

#[derive(Debug, Deserialize)]
struct Alert {
    severity: String,
    account_id: Option<String>,
    conversation_id: Option<String>,
    raised_at: DateTime<Utc>,
    resolved_at: Option<DateTime<Utc>>,
    seconds: f64,
    explanation: String,
}

#[derive(Debug, Deserialize)]
struct Suggestion {
    budget: String,
    threshold: Option<f64>,
    alerts: Option<u64>,
    allowed: Option<u64>,
    problem: Option<String>,
}

/// Asks, and prints.
pub async fn run(
    arguments: &BacktestRules,
    settings: &Settings,
    bars: MultiProgress,
    stop: CancellationToken,
) -> anyhow::Result<u8> {
    let question = question(arguments, Utc::now())?;
    let client = settings.client()?;
    let style = ProgressStyle::with_template("{spinner} going over what was recorded ({elapsed})")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = bars.add(ProgressBar::new_spinner().with_style(style));
    bar.enable_steady_tick(Duration::from_millis(100));
    let answer = tokio::select! {
        answer = client.post_json(PATH, &question) => Some(answer),
        // The server ends its work when the connection is closed.
        () = stop.cancelled() => None,
    };
    bar.finish_and_clear();
    let document = match answer {
        None => return Ok(INTERRUPTED),
        Some(Err(error)) => {
            let is_of_rules =
                error.downcast_ref::<Refused>().is_some_and(|refused| refused.code == "rule_refused");
            if !is_of_rules {
                return Err(error);
            }
            bars.suspend(|| eprintln!("kelly: {error:#}"));
            return Ok(REFUSED);
        }
        Some(Ok(document)) => document,
    };
    if arguments.json {
        output::json(&document)?;
        return Ok(0);
    }
    let answer = Answer::deserialize(&document).context(
        "the answer is not one this version understands; use the `kelly` of the version that answers, or --json",
    )?;
    output::line(report(&answer, arguments, Paint::stdout()))?;
    Ok(0)
}

fn question(arguments: &BacktestRules, now: DateTime<Utc>) -> anyhow::Result<Value> {
    let from = DateTime::from_timestamp_millis(arguments.last.ms(now))
        .filter(|from| *from < now)
        .ok_or_else(|| Usage("--last must begin before now".to_owned()))?;
    let mut question = json!({
        "rules": documents(&arguments.file)?,
        "only": arguments.rules,
        "from": from.to_rfc3339_opts(SecondsFormat::Millis, true),
    });
    if arguments.alone {
        question["beside"] = json!("nothing");
    }
    if let Some(file) = &arguments.against {
        question["against"] = documents(file)?;
    }
    if let Some(budget) = &arguments.suggest {
        question["budget"] = json!(budget.to_string());
    }
    Ok(question)
}

fn documents(file: &Path) -> anyhow::Result<Value> {
    let rules = read(file)?;
    if rules.is_empty() {
        return Err(Usage(format!("{} has no rule", file.display())).into());
    }
    serde_json::to_value(rules).context("writing the rules down as JSON")
}

fn report(answer: &Answer, arguments: &BacktestRules, paint: Paint) -> String {
    let Answer { window, history, rules, notes } = answer;
    let mut lines = vec![
        format!(
            "{} to {}: {} samples{}",
            window.from.format("%Y-%m-%d %H:%M"),
            window.to.format("%Y-%m-%d %H:%M UTC"),
            grouped(history.samples),
            if history.rollups > 0 {
                format!(", {} rollups before them", grouped(history.rollups))
            } else {
                String::new()
            },
        ),
        String::new(),
    ];
    let beside = if arguments.against.is_some() { "  against" } else { "  in force" };
    let rows = rules.iter().flat_map(|rule| {
        let own = row(&rule.rule, rule.version, &rule.outcome);
        std::iter::once(own).chain(rule.beside.iter().map(|other| row(beside, other.version, &other.outcome)))
    });
    let header =
        ["RULE", "VERSION", "ALERTS", "WORSENED", "NOTIFICATIONS", "FIRING", "LONGEST", "STILL FIRING"];
    lines.push(faint_header(&output::table(header, rows), paint));
    for rule in rules {
        lines.extend(about(rule, arguments, paint));
    }
    lines.push(String::new());
    lines.extend(notes.iter().map(|note| printable(note)));
    lines.join("\n")
}

fn row(name: &str, version: u32, outcome: &Outcome) -> [String; 8] {
    [
        printable(name),
        version.to_string(),
        grouped(outcome.alerts),
        grouped(outcome.worsened),
        grouped(outcome.notifications),
        span(outcome.firing_seconds),
        span(outcome.longest_seconds),
        grouped(outcome.still_firing),
    ]
}

/// What is said of one rule below the table.
fn about(rule: &Rule, arguments: &BacktestRules, paint: Paint) -> Vec<String> {
    let mut lines = vec![String::new(), printable(&rule.rule)];
    if let Some(suggestion) = &rule.suggestion {
        lines.push(format!("  {}", suggested(suggestion)));
    }
    if rule.judged.len() > 1 || rule.not_judged.is_some() {
        lines.extend(rule.judged.iter().map(|part| {
            format!(
                "  from {} by {}: {}",
                part.from.format("%Y-%m-%d %H:%M"),
                printable(&part.tier),
                printable(&part.means)
            )
        }));
    }
    if let Some(why) = &rule.not_judged {
        let why = format!("  not judged before: {}", printable(why));
        lines.push(paint.tint(Tone::Warning, why));
    }
    for (rows, what) in [
        (rule.late_rows, "rows came too late to count; `late` says how long they may take"),
        (rule.unwatched_rows, "rows were not judged: it watches as many entities as `max_entities` allows"),
    ] {
        if rows > 0 {
            lines.push(format!("  {} {what}", grouped(rows)));
        }
    }
    let shown = rule.alerts.iter().take(usize::from(arguments.alerts));
    let rows: Vec<[String; 5]> = shown
        .map(|alert| {
            [
                format!("  {}", alert.raised_at.format("%Y-%m-%d %H:%M:%S")),
                if alert.resolved_at.is_some() {
                    span(alert.seconds)
                } else {
                    format!("{}, still", span(alert.seconds))
                },
                printable(&alert.severity),
                printable(alert.conversation_id.as_deref().or(alert.account_id.as_deref()).unwrap_or("-")),
                printable(&alert.explanation),
            ]
        })
        .collect();
    let count = rows.len() as u64;
    if count > 0 {
        lines.push(faint_header(
            &output::table(["  RAISED (UTC)", "FOR", "SEVERITY", "ABOUT", ""], rows),
            paint,
        ));
    }
    let more = rule.alerts.len() as u64 + rule.more_alerts - count;
    if more > 0 && arguments.alerts > 0 {
        lines.push(format!("  {} more", grouped(more)));
    }
    if lines.len() > 2 { lines } else { Vec::new() }
}

fn suggested(suggestion: &Suggestion) -> String {
    let Suggestion { budget, threshold, alerts, allowed, problem } = suggestion;
    match (threshold, problem) {
        (Some(threshold), _) => format!(
            "for {}: a threshold of {threshold} in place of its levels, which would have raised {} ({} allowed)",
            printable(budget),
            grouped(alerts.unwrap_or_default()),
            grouped(allowed.unwrap_or_default()),
        ),
        (None, problem) => {
            format!(
                "for {}: no threshold; {}",
                printable(budget),
                printable(problem.as_deref().unwrap_or("nobody said why"))
            )
        }
    }
}

fn faint_header(table: &str, paint: Paint) -> String {
    match table.split_once('\n') {
        Some((header, rows)) => format!("{}\n{rows}", paint.tint(Tone::Faint, header)),
        None => table.to_owned(),
    }
}

/// A span of time to the second, to the millisecond below one.
fn span(seconds: f64) -> String {
    let length = TimeDelta::milliseconds((seconds * 1_000.0) as i64);
    let ms = length.num_milliseconds();
    Span::from_ms(if ms < 1_000 { ms } else { ms / 1_000 * 1_000 }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::tests::parsed;

    fn arguments(words: &[&str]) -> BacktestRules {
        parsed(words).unwrap()
    }

    #[test]
    fn arguments_become_a_question() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("rules.toml");
        std::fs::write(&file, "[[rule]]\nid = 'a'\nmetric = 'm'\nwindow = '5m'\naggregation = 'avg'\nwarning = 1\ncritical = 2\n").unwrap();
        let path = file.to_str().unwrap();
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let asked =
            question(&arguments(&[path, "--last", "2d", "--rule", "a", "--suggest", "2/7d", "--alone"]), now)
                .unwrap();
        assert_eq!(asked["rules"][0]["window"], "5m");
        assert_eq!((&asked["only"], &asked["budget"]), (&json!(["a"]), &json!("2/week")));
        assert_eq!(
            (&asked["beside"], &asked["from"]),
            (&json!("nothing"), &json!("2027-01-13T08:00:00.000Z"))
        );
        let asked = question(&arguments(&[path, "--against", path]), now).unwrap();
        assert_eq!((&asked["against"], &asked["beside"]), (&asked["rules"], &Value::Null));
        std::fs::write(&file, "").unwrap();
        assert!(question(&arguments(&[path]), now).unwrap_err().is::<Usage>());
        for wrong in [
            &["f", "--suggest", "few"][..],
            &["f", "--last", "soon"],
            &["f", "--alone", "--against", "g"],
            &[],
        ] {
            assert!(parsed::<BacktestRules>(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_answer_is_a_table_with_what_must_be_known_below() {
        let document: Value =
            serde_json::from_str(include_str!("../../api/src/openapi/examples/rule_preview.json")).unwrap();
        let answer = Answer::deserialize(&document).unwrap();
        let text = report(&answer, &arguments(&["f"]), Paint::Plain);
        for line in [
            "2026-03-01 12:00 to 2026-03-08 12:00 UTC: 21,600 samples, 5,760 rollups before them",
            "busy_hosts  2        3       1         7              44m     25m      0",
            "  in force  1        11      1         23             1h25m   26m      0",
            "  for 2/week: a threshold of 87.1 in place of its levels, which would have raised 2 (2 allowed)",
            "  from 2026-03-05 12:00 by raw: the samples themselves, as they were heard",
            "  2 more",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(
            text.contains("  2026-03-02 08:14:59  25m  warning   -      mean over 5m of system_load"),
            "{text}"
        );
        let against = report(&answer, &arguments(&["f", "--against", "g", "--alerts", "0"]), Paint::Plain);
        assert!(against.contains("\n  against ") && !against.contains("RAISED"), "{against}");
    }
}
