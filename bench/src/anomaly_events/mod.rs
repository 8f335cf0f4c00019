//! `anomaly-events`: anomaly rules on real service telemetry with labelled events, beside a constant threshold and river's
//! HalfSpaceTrees. An event counts once, however many values it has, and so does an alert.

mod count;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;
use comfy_table::Table;
use kelly_alerts::anomaly::{Baseline, WARNING};
use serde_json::{Value, json};

use crate::Report;
use crate::series::{self, Data, Series};
use count::{Counts, count};

/// The peer.
const SCRIPT: &str = include_str!("half_space_trees.py");

/// The part of a series that no detector is scored on: each learns there.
const LEARNING: f64 = 0.15;

const NOTE: &str = "Every detector has one set of constants for all series; Kelly's were chosen on nab and on these series together. \
    Kelly's score has one threshold, its usual one. The constant threshold is the highest and lowest value of the series' first part, widened by the part that finds most, and HalfSpaceTrees has \
    the threshold that finds most: both were chosen with the labels, Kelly's was not.";

#[derive(Args, Default)]
pub struct Options {
    #[command(flatten)]
    data: Data,
    /// Leave river's HalfSpaceTrees out
    #[arg(long)]
    no_peer: bool,
}

/// What a detector says of each series, by value.
struct Contender {
    name: &'static str,
    scores: Vec<Vec<f64>>,
    threshold: f64,
    rows_per_s: Option<f64>,
}

pub async fn run(options: &Options) -> Result<Report> {
    let directory = options.data.folder("cloud-monitoring")?;
    let all = read(&directory)?;
    let rows: usize = all.iter().map(|series| series.values.len()).sum();
    let mut contenders = vec![ours(&all), constant(&all)];
    if !options.no_peer {
        contenders.push(half_space_trees(&all)?);
    }
    let mut table = Table::new();
    table.set_header([
        "detector",
        "threshold",
        "found",
        "recall",
        "precision",
        "F1",
        "median delay (values)",
        "values/s",
    ]);
    let mut cases = Vec::new();
    for contender in &contenders {
        let counts = of(&all, contender, contender.threshold);
        let [recall, precision, f1] = [counts.recall(), counts.precision(), counts.f1()];
        table.add_row([
            contender.name.to_owned(),
            format!("{:.2}", contender.threshold),
            format!("{} of {}", counts.found, counts.events),
            format!("{recall:.2}"),
            format!("{precision:.2}"),
            format!("{f1:.2}"),
            counts.median_delay().map_or_else(|| "-".to_owned(), |delay| delay.to_string()),
            contender.rows_per_s.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.0}")),
        ]);
        cases.push(case(contender, &counts));
    }
    Ok(Report {
        table,
        json: json!({"bench": "anomaly-events", "series": all.len(), "rows": rows, "note": NOTE, "cases": cases}),
        failed: false,
    })
}

fn case(contender: &Contender, counts: &Counts) -> Value {
    let rounded = |value: f64| (value * 1_000.0).round() / 1_000.0;
    json!({
        "detector": contender.name, "threshold": contender.threshold, "events": counts.events, "found": counts.found,
        "alerts": counts.alerts, "right_alerts": counts.right, "recall": rounded(counts.recall()),
        "precision": rounded(counts.precision()), "f1": rounded(counts.f1()), "median_delay_values": counts.median_delay(),
        "rows_per_s": contender.rows_per_s.map(f64::round),
    })
}

fn of(all: &[Series], contender: &Contender, threshold: f64) -> Counts {
    let mut counts = Counts::default();
    for (series, scores) in all.iter().zip(&contender.scores) {
        let first = (series.values.len() as f64 * LEARNING) as usize;
        count(&mut counts, &series.labels[first..], &scores[first..], threshold);
    }
    counts
}

/// The threshold with the best F1: what somebody would find who has the labels.
fn with_best_threshold(all: &[Series], mut contender: Contender) -> Contender {
    let mut values: Vec<f64> =
        contender.scores.iter().flatten().copied().filter(|score| score.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    let tried = 200.min(values.len());
    // Mostly among the highest, where thresholds are.
    let candidates = (1..=tried).map(|number| {
        let part = 1.0 - (number as f64 / tried as f64).powi(3);
        values[((values.len() - 1) as f64 * part) as usize]
    });
    let best = candidates
        .map(|threshold| (of(all, &contender, threshold).f1(), threshold))
        .max_by(|one, other| one.0.total_cmp(&other.0));
    contender.threshold = best.map_or(f64::INFINITY, |(_, threshold)| threshold);
    contender
}

fn ours(all: &[Series]) -> Contender {
    let begun = Instant::now();
    let scores: Vec<Vec<f64>> = all
        .iter()
        .map(|series| {
            let mut baseline = Baseline::default();
            let rows = series.times_ms.iter().zip(&series.values);
            rows.map(|(at_ms, value)| baseline.observe(*at_ms, *value).map_or(0.0, |found| found.score))
                .collect()
        })
        .collect();
    let rows: usize = scores.iter().map(Vec::len).sum();
    let rate = rows as f64 / begun.elapsed().as_secs_f64();
    Contender { name: "Kelly", scores, threshold: WARNING, rows_per_s: Some(rate) }
}

/// How far a value is outside of the range of the first part of its series, in ranges.
fn constant(all: &[Series]) -> Contender {
    let scores = all
        .iter()
        .map(|series| {
            let first = &series.values[..(series.values.len() as f64 * LEARNING) as usize];
            let least = first.iter().copied().fold(f64::INFINITY, f64::min);
            let most = first.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let range = (most - least).max(1e-9);
            series.values.iter().map(|value| ((value - most).max(least - value)) / range).collect()
        })
        .collect();
    with_best_threshold(
        all,
        Contender { name: "constant threshold", scores, threshold: 0.0, rows_per_s: None },
    )
}

fn half_space_trees(all: &[Series]) -> Result<Contender> {
    let python = program()?;
    let begun = Instant::now();
    let mut child = Command::new(&python)
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {}", python.display()))?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    let lines: Vec<String> = all.iter().map(|series| json!(series.values).to_string()).collect();
    let writer = std::thread::spawn(move || lines.iter().try_for_each(|line| writeln!(stdin, "{line}")));
    let output = child.wait_with_output().context("waiting for HalfSpaceTrees")?;
    if !output.status.success() {
        bail!("HalfSpaceTrees failed ({}); `make bench` sets up what it needs", output.status);
    }
    writer
        .join()
        .map_err(|_| anyhow::anyhow!("handing over the series failed"))?
        .context("handing over the series")?;
    let text = String::from_utf8(output.stdout).context("reading the scores")?;
    let scores: Vec<Vec<f64>> =
        text.lines().map(serde_json::from_str).collect::<Result<_, _>>().context("reading the scores")?;
    anyhow::ensure!(
        scores.len() == all.len(),
        "HalfSpaceTrees scored {} of {} series",
        scores.len(),
        all.len()
    );
    let rows: usize = scores.iter().map(Vec::len).sum();
    let rate = rows as f64 / begun.elapsed().as_secs_f64();
    let contender = Contender { name: "HalfSpaceTrees", scores, threshold: 0.0, rows_per_s: Some(rate) };
    Ok(with_best_threshold(all, contender))
}

/// The Python with the packages of requirements.txt.
fn program() -> Result<PathBuf> {
    let python = crate::peers::python_program()?;
    let knows_it = Command::new(&python).args(["-c", "import river"]).stderr(Stdio::null()).status();
    match knows_it {
        Ok(status) if status.success() => Ok(python),
        _ => bail!(
            "{} has no river; `make bench` sets it up, or leave it out with --no-peer",
            python.display()
        ),
    }
}

fn read(directory: &Path) -> Result<Vec<Series>> {
    let list = |directory: &Path| -> Result<Vec<PathBuf>> {
        let entries =
            std::fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))?;
        let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        paths.sort();
        Ok(paths)
    };
    let mut all = Vec::new();
    for folder in list(directory)?.into_iter().filter(|path| path.is_dir()) {
        for file in list(&folder)? {
            let name = file.strip_prefix(directory).unwrap_or(&file).display().to_string();
            all.push(series::read(&file, &name)?);
        }
    }
    anyhow::ensure!(!all.is_empty(), "there is no series below {}", directory.display());
    Ok(all)
}
