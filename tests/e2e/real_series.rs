//! Real series through Apache Kafka: what the detailed endpoint answers against exact percentiles
//! that another engine computes from the files.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kelly_harness::KafkaBroker;
use serde_json::Value;

use crate::kelly_process::{Kelly, PATIENCE, Start, run};
use crate::python;

/// Different in kind: smooth, spiky, with zeros, with negative values, counts, prices.
const SERIES: [&str; 6] = [
    "realKnownCause/nyc_taxi.csv",
    "realKnownCause/ambient_temperature_system_failure.csv",
    "realKnownCause/rogue_agent_key_hold.csv",
    "realAdExchange/exchange-2_cpc_results.csv",
    "artificialWithAnomaly/art_daily_flatmiddle.csv",
    "realTraffic/occupancy_6005.csv",
];

/// The series' files; made-up ones where the real ones are not beside the clone.
fn files(directory: &Path) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/nab");
    if root.is_dir() {
        return SERIES.iter().map(|name| root.join(name)).collect();
    }
    // Past the capture of a test's output: nobody is to believe that real series were replayed.
    let _ = writeln!(
        std::io::stderr(),
        "real_series: {} is absent, the test replays made-up series instead of real ones",
        root.display()
    );
    (0..SERIES.len())
        .map(|number| {
            let path = directory.join(format!("series_{number}.csv"));
            let rows: String = (0..4000)
                .map(|row| {
                    let time =
                        chrono::DateTime::from_timestamp(1_400_000_000 + row * 300, 0).expect("a time");
                    let value = ((row * 7919 % 1000) as f64 / 100.0).exp() - number as f64 * 50.0;
                    format!("{},{value}\n", time.format("%Y-%m-%d %H:%M:%S"))
                })
                .collect();
            std::fs::write(&path, format!("timestamp,value\n{rows}")).expect("the directory is ours");
            path
        })
        .collect()
}

fn last_timestamp_ms(file: &Path) -> i64 {
    let text = std::fs::read_to_string(file).expect("the series");
    let last = text.lines().next_back().expect("a last line").split(',').next().expect("a timestamp");
    let last = last.split('.').next().expect("seconds");
    chrono::NaiveDateTime::parse_from_str(last, "%Y-%m-%d %H:%M:%S").expect(last).and_utc().timestamp_millis()
}

fn moment_ms(value: &Value) -> i64 {
    chrono::DateTime::parse_from_rfc3339(value.as_str().expect("a time"))
        .expect("RFC 3339")
        .timestamp_millis()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn percentiles_stay_within_the_stated_bound() {
    let broker = KafkaBroker::start().expect("a Kafka broker");
    let directory = tempfile::tempdir().expect("a directory");
    let log_url = format!("kafka://{}", broker.bootstrap());
    let environment = [("KELLY_LOG", log_url.as_str()), ("KELLY_MONITORING_ENABLED", "false")];
    let kelly =
        Kelly::start(Start { arguments: &["up"], environment: &environment, data: directory.path() }).await;
    let files = files(directory.path());
    for (number, file) in files.iter().enumerate() {
        let metric = format!("series_{number}");
        let path = file.to_str().expect("a plain path");
        let arguments = ["replay", path, "--metric", &metric, "--shift-to-now", "--log", &log_url];
        let (code, summary, stderr) = run(&arguments, &[], directory.path());
        // Rows older than what is kept are refused by their time, and only those.
        let left_out = summary.split_once("left out: ").map_or("", |(_, reasons)| reasons.trim());
        let only_old = code == Some(3) && left_out.ends_with("too_old") && !left_out.contains(", ");
        assert!(code == Some(0) || only_old, "replay of {path}: {summary}{stderr}");
    }
    for (number, file) in files.iter().enumerate() {
        let metric = format!("series_{number}");
        let newest = format!(
            "SELECT toUnixTimestamp64Milli(max(last).at) FROM metric_rollups WHERE tier = 'hour' AND metric_name = '{metric}'"
        );
        until_settled(&kelly, &metric).await;
        let shift: i64 = kelly.sql(&newest).await.parse::<i64>().expect("a time") - last_timestamp_ms(file);
        for timeframe in ["24h", "7d", "30d"] {
            let answer = kelly
                .get(&format!("/api/v1/kelly/monitoring/metrics/detailed/{metric}?timeframe={timeframe}"))
                .await;
            let (from, to) = (moment_ms(&answer["window"]["from"]), moment_ms(&answer["window"]["to"]));
            let exact = python::run(
                "tests/e2e/oracle.py",
                &[
                    file.to_str().expect("a plain path"),
                    &shift.to_string(),
                    &from.to_string(),
                    &to.to_string(),
                ],
            );
            let exact: Value = serde_json::from_str(&exact).expect("the oracle's answer");
            assert_eq!(
                answer["sample_count"].as_u64(),
                exact["n"].as_str().and_then(|n| n.parse().ok()).or(exact["n"].as_u64()),
                "{metric} {timeframe}: {answer}"
            );
            let bound = answer["percentile_error_bound"].as_f64().expect("a stated bound");
            for (place, name) in ["p50", "p95", "p99"].iter().enumerate() {
                let found =
                    answer["percentile_data"][name].as_f64().unwrap_or_else(|| panic!("{name}: {answer}"));
                let wanted = exact["percentiles"][place].as_f64().expect("a number");
                // The last term is for the sum's own rounding, not for the histogram.
                let allowed = bound * wanted.abs() + 1e-9;
                assert!(
                    (found - wanted).abs() <= allowed,
                    "{metric} {timeframe} {name}: {found}, exactly {wanted}, bound {bound}"
                );
            }
        }
    }
    assert_eq!(kelly.terminate(), Some(0));
}

/// Waits until everything on the log has been written.
async fn until_settled(kelly: &Kelly, metric: &str) {
    let begun = Instant::now();
    loop {
        let health = kelly.get("/api/v1/kelly/monitoring/health").await;
        let parts = health["parts"].as_array().expect("parts");
        let lag =
            parts.iter().find(|part| part["name"] == "ingest").map(|part| part["details"]["lag"].clone());
        let found = kelly
            .sql(&format!(
                "SELECT count() FROM metric_rollups WHERE tier = 'hour' AND metric_name = '{metric}'"
            ))
            .await;
        if lag == Some(Value::from(0)) && found != "0" {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "not settled in time: {health}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
