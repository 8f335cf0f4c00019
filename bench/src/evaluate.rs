//! `evaluate`: how many metrics a second one core judges with twenty rules, and how much memory a series takes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use comfy_table::Table;
use kelly_alerts::rule::parse_toml;
use kelly_alerts::{Engine, Record, RuleSet, Sink, Transition};
use kelly_schemas::Metric;
use serde_json::{Value, json};

use crate::Report;

/// Metrics a second and core.
const RATE_TARGET: f64 = 300_000.0;
/// Bytes of a hundred thousand series.
const MEMORY_TARGET: f64 = 500e6;

#[derive(Args)]
pub struct Options {
    /// Metrics to judge
    #[arg(long, default_value_t = 3_000_000)]
    rows: u64,
    /// Series whose memory is measured
    #[arg(long, default_value_t = 100_000)]
    series: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { rows: 3_000_000, series: 100_000 }
    }
}

/// Ten metrics, two rules each: newest values, means, sums, percentiles, changes, service levels, anomalies, silence.
const RULES: [&str; 20] = [
    "metric = 'm0'\ndirection = 'above'\nwarning = 95\ncritical = 99\nhysteresis = 5",
    "metric = 'm0'\naggregation = 'avg'\nwindow = '5m'\ndirection = 'above'\nwarning = 70\nfor = '1m'\nkeep_firing_for = '2m'",
    "metric = 'm1'\naggregation = 'max'\nwindow = '1m'\ndirection = 'above'\nwarning = 99",
    "metric = 'm1'\naggregation = 'p95'\nwindow = '5m'\ndirection = 'above'\nwarning = 97",
    "metric = 'm2'\naggregation = 'sum'\nwindow = '1m'\ndirection = 'above'\nwarning = 5000",
    "metric = 'm2'\naggregation = 'count'\nwindow = '5m'\ndirection = 'above'\nwarning = 1000",
    "metric = 'm3'\nkind = 'change'\nwindow = '1m'\nover = '10m'\nchange = 'percent'\ndirection = 'above'\nwarning = 90",
    "metric = 'm3'\naggregation = 'min'\nwindow = '1m'\ndirection = 'below'\nwarning = 1",
    "metric = 'm4'\nkind = 'burn_rate'\nslo = { objective = 0.99, bad_above = 98 }",
    "metric = 'm4'\naggregation = 'avg'\nwindow = '10m'\ndirection = 'above'\nwarning = 60\nmin_samples = 10",
    "metric = 'm5'\nkind = 'anomaly'",
    "metric = 'm5'\ndirection = 'below'\nwarning = 1\nno_data = { policy = 'alert', for = '10m' }",
    "metric = 'm6'\nkind = 'no_data'\nscope = 'account'\nfor = '5m'",
    "metric = 'm6'\naggregation = 'p99'\nwindow = '1m'\ndirection = 'above'\nwarning = 99",
    "metric = 'm7'\nscope = 'global'\naggregation = 'avg'\nwindow = '1m'\ndirection = 'above'\nwarning = 60",
    "metric = 'm7'\nscope = 'global'\naggregation = 'rate'\nwindow = '1m'\ndirection = 'below'\nwarning = 1",
    "metric = 'm8'\naggregation = 'avg'\nwindow = '1m'\ndirection = 'above'\nwarning = 80\nmute_for = '10m'",
    "metric = 'm8'\nfilter = { account_id = ['account-1', 'account-2'] }\ndirection = 'above'\nwarning = 90",
    "metric = 'm9'\naggregation = 'avg'\nwindow = '5m'\ndirection = 'above'\nwarning = 75\nhysteresis = 5",
    "metric = 'm9'\naggregation = 'last'\nwindow = '1m'\ndirection = 'above'\nwarning = 95",
];

pub async fn run(options: &Options) -> Result<Report> {
    let mut table = Table::new();
    table.set_header(["case", "metrics/s a core", "evaluations/s", "bytes a series", "alerts"]);
    let mut cases = Vec::new();
    let mut memory = BTreeMap::new();
    let mut kept = Vec::new();
    for (name, rule) in [
        ("mean over five minutes", RULES[1]),
        ("95th percentile over five minutes", RULES[3]),
        ("anomaly", RULES[10]),
    ] {
        let (bytes, engine) = bytes_a_series(set(&[rule])?, options.series)?;
        // What one frees the next would take without the process growing.
        kept.push(engine);
        table.add_row([name.to_owned(), String::new(), String::new(), format!("{bytes:.0}"), String::new()]);
        memory.insert(name, bytes.round());
    }
    for (name, rules, many_metrics) in
        [("twenty rules", set(&RULES)?, true), ("twenty rules on each metric", twenty_on_one()?, false)]
    {
        let case = rate(rules, options.rows, many_metrics)?;
        table.add_row([
            name.to_owned(),
            format!("{:.0}", case.rows_per_s),
            format!("{:.0}", case.evaluations_per_s),
            String::new(),
            case.alerts.to_string(),
        ]);
        cases.push(json!({"case": name, "rows_per_s": case.rows_per_s.round(), "evaluations_per_s": case.evaluations_per_s.round(), "alerts": case.alerts}));
    }
    let rate = cases[0]["rows_per_s"].as_f64().unwrap_or_default();
    let largest = memory.values().copied().fold(0.0, f64::max);
    let json: Value = json!({
        "bench": "evaluate", "rules": RULES.len(), "rows": options.rows, "rows_per_s_a_core": rate, "target_rows_per_s": RATE_TARGET,
        "series": options.series, "bytes_per_series": memory, "bytes_of_all_series": largest * f64::from(options.series),
        "target_bytes": MEMORY_TARGET, "cases": cases,
    });
    let misses = rate < RATE_TARGET || largest * 100_000.0 > MEMORY_TARGET;
    Ok(Report { table, json, failed: misses })
}

struct Rate {
    rows_per_s: f64,
    evaluations_per_s: f64,
    alerts: u64,
}

#[derive(Default)]
struct Count(u64);

impl Sink for Count {
    fn transition(&mut self, _: Transition) {
        self.0 += 1;
    }
}

/// Counted in processor time of this thread: what else runs on the machine does not count.
fn rate(rules: RuleSet, rows: u64, many_metrics: bool) -> Result<Rate> {
    let mut engine = Engine::new(rules);
    let mut sink = Count::default();
    let mut chance = Chance(11);
    let mut metrics: Vec<Metric<'static>> = (0..20_000_u32)
        .map(|number| {
            let account = format!("account-{}", number / 10 % 200);
            metric(
                if many_metrics { number % 10 } else { 0 },
                &account,
                &format!("conversation-{}", number / 10),
            )
        })
        .collect();
    let begun = processor_time()?;
    for number in 0..rows {
        let metric = &mut metrics[chance.below(20_000) as usize];
        // Ten thousand a second.
        let log_time_ms = BEGIN_MS + (number / 10) as i64;
        metric.value = f64::from(chance.below(1_000)) / 10.0;
        metric.timestamp_ms = log_time_ms - i64::from(chance.below(500));
        engine.record(&Record { place: None, log_time_ms, metric }, &mut sink);
    }
    let seconds = (processor_time()? - begun).as_secs_f64();
    let evaluations = engine.statistics().evaluations as f64;
    Ok(Rate { rows_per_s: rows as f64 / seconds, evaluations_per_s: evaluations / seconds, alerts: sink.0 })
}

/// How much the process grows by a series, when each has had an hour of values, one every half minute.
fn bytes_a_series(rules: RuleSet, series: u32) -> Result<(f64, Engine)> {
    let mut engine = Engine::new(rules.clone());
    let mut sink = Count::default();
    let before = resident_bytes()?;
    let mut chance = Chance(5);
    let name = rules.rules().first().and_then(|rule| rule.rule.metric.clone()).unwrap_or_default();
    for minute in 0..120_i64 {
        for number in 0..series {
            let log_time_ms = BEGIN_MS + minute * 30_000 + i64::from(number) * 30_000 / i64::from(series);
            let conversation = format!("conversation-{number}");
            let metric = Metric {
                metric_name: Cow::Borrowed(&name),
                conversation_id: Cow::Owned(conversation),
                value: f64::from(chance.below(1_000)) / 10.0,
                timestamp_ms: log_time_ms,
                ..metric(0, "account-1", "")
            };
            engine.record(&Record { place: None, log_time_ms, metric: &metric }, &mut sink);
        }
    }
    let grown = resident_bytes()?.saturating_sub(before);
    anyhow::ensure!(engine.statistics().states >= series as usize, "not every series has its state");
    Ok((grown as f64 / f64::from(series), engine))
}

fn set(rules: &[&str]) -> Result<RuleSet> {
    let text: String =
        rules.iter().zip(0..).map(|(rule, number)| format!("[[rule]]\nid = 'r{number}'\n{rule}\n")).collect();
    let file = parse_toml(&text).context("reading the rules of the benchmark")?;
    RuleSet::new(&file.rules).map_err(|faults| anyhow::anyhow!("the rules of the benchmark: {faults:?}"))
}

/// Twenty thresholds on one metric: every row is judged twenty times.
fn twenty_on_one() -> Result<RuleSet> {
    let rules: Vec<String> = (0..20)
        .map(|number| {
            format!(
                "metric = 'm0'\naggregation = 'avg'\nwindow = '5m'\ndirection = 'above'\nwarning = {}",
                60 + number
            )
        })
        .collect();
    set(&rules.iter().map(String::as_str).collect::<Vec<_>>())
}

/// 2026-11-30, UTC.
const BEGIN_MS: i64 = 1_795_996_800_000;

fn metric(number: u32, account: &str, conversation: &str) -> Metric<'static> {
    Metric {
        metric_name: Cow::Owned(format!("m{number}")),
        metric_type: Cow::Borrowed("gauge"),
        value: 0.0,
        timestamp_ms: 0,
        account_id: Cow::Owned(account.to_owned()),
        conversation_id: Cow::Owned(conversation.to_owned()),
        user_id: Cow::Borrowed(""),
        metadata: Cow::Borrowed(""),
    }
}

/// Numbers that look like chance and are the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % u64::from(bound)) as u32
    }
}

/// Of this thread.
fn processor_time() -> Result<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock writes into a timespec of ours.
    let outcome = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    anyhow::ensure!(outcome == 0, "reading the processor time: {}", std::io::Error::last_os_error());
    Ok(Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default()))
}

fn resident_bytes() -> Result<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").context("reading /proc/self/statm")?;
    let pages: u64 = statm
        .split_whitespace()
        .nth(1)
        .context("no resident pages")?
        .parse()
        .context("no number of pages")?;
    // SAFETY: sysconf reads a constant of the system.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.max(1) as u64;
    Ok(pages * page)
}
