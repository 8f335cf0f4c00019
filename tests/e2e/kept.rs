//! Retention that is raised, and roles that are configured otherwise: answers say what the store keeps.

use chrono::{SecondsFormat, TimeDelta, Utc};
use kelly_harness::{Engine, KafkaBroker};
use serde_json::{Value, json};

use crate::first_minutes::until;
use crate::kelly_process::{Kelly, Start, run};
use crate::tools::BASE;

fn environment<'a>(hours: &'a str, days: &'a str) -> [(&'static str, &'a str); 3] {
    [
        ("KELLY_MONITORING_ENABLED", "false"),
        ("MONITORING_METRICS_RETENTION_HOURS", hours),
        ("MONITORING_DB_RETENTION_DAYS", days),
    ]
}

/// `count` samples of one account, the newest just now and each `apart` before the one after it.
fn samples(metric: &str, count: i32, apart: TimeDelta, value: impl Fn(i32) -> f64) -> Value {
    let now = Utc::now();
    let rows = (0..count).map(|index| {
        json!({
            "metric_name": metric, "value": value(index), "account_id": "acme", "conversation_id": format!("c{}", index % 3),
            "timestamp": (now - apart * index).to_rfc3339_opts(SecondsFormat::Millis, true),
        })
    });
    rows.collect()
}

async fn record(kelly: &Kelly, rows: &Value) {
    let (status, answer) = kelly.post(&format!("{BASE}/metrics/record"), rows).await.expect("an answer");
    assert_eq!(status, 202, "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn samples_recorded_under_an_hours_retention_are_all_counted_under_a_longer_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = format!("{BASE}/metrics/detailed/raised?timeframe=24h&account_id=acme");
    let short = environment("1", "90");
    let kelly = Kelly::start(Start { arguments: &["up"], environment: &short, data: directory.path() }).await;
    // Those of more than an hour ago are counted in rollups only.
    record(&kelly, &samples("raised", 60, TimeDelta::minutes(6), |_| 1.0)).await;
    until(&kelly, &path, |answer| answer["sample_count"] == 60).await;
    let raw: u64 = kelly.sql("SELECT count() FROM system_metrics").await.parse().expect("a count");
    assert!((9..=11).contains(&raw), "an hour of them is kept: {raw}");
    assert_eq!(kelly.terminate(), Some(0));

    let long = environment("72", "90");
    let kelly = Kelly::start(Start { arguments: &["up"], environment: &long, data: directory.path() }).await;
    for question in [path.clone(), format!("{BASE}/metrics/detailed/raised?timeframe=6h&account_id=acme")] {
        let answer = kelly.get(&question).await;
        assert!(answer["sample_count"].as_u64() >= Some(59), "{question}: {answer}");
        assert_ne!(answer["tier"], "raw", "{question}: {answer}");
        assert_eq!(answer["window_kept"], "whole", "{question}: {answer}");
        let note = answer["notes"][0].as_str().expect("a note");
        assert!(note.contains("were kept for a shorter time"), "{question}: {note}");
    }
    let groups = kelly.get(&format!("{BASE}/metrics/detailed/raised?timeframe=24h&group_by=account")).await;
    assert_eq!(groups["groups"][0]["count"], 60, "{groups}");
    // What comes from now on is kept for as long as it is configured.
    record(&kelly, &samples("late", 20, TimeDelta::hours(3), |_| 1.0)).await;
    until(&kelly, &format!("{BASE}/metrics/detailed/late?timeframe=7d&account_id=acme"), |answer| {
        answer["sample_count"] == 20
    })
    .await;
    assert_eq!(kelly.sql("SELECT count() FROM system_metrics WHERE metric_name = 'late'").await, "20");
    assert_eq!(kelly.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_week_is_not_compared_with_one_that_was_deleted() {
    let directory = tempfile::tempdir().expect("a directory");
    let short = environment("1", "8");
    let kelly = Kelly::start(Start { arguments: &["up"], environment: &short, data: directory.path() }).await;
    // Of the week before the last one, a day is left, and it is the smallest of all.
    record(&kelly, &samples("week", 63, TimeDelta::hours(3), |index| if index > 56 { 1.0 } else { 8.0 }))
        .await;
    let path = format!("{BASE}/metrics/detailed/week?timeframe=7d&compare=previous");
    until(&kelly, &path, |answer| answer["sample_count"].as_u64() >= Some(56)).await;
    assert_eq!(kelly.terminate(), Some(0));

    let long = environment("1", "90");
    let kelly = Kelly::start(Start { arguments: &["up"], environment: &long, data: directory.path() }).await;
    for account in ["", "&account_id=acme"] {
        let answer = kelly.get(&format!("{path}{account}")).await;
        assert_ne!(answer["comparison"]["previous_kept"], "whole", "{answer}");
        assert_eq!(answer["comparison"]["percentage_change"], Value::Null, "{answer}");
        assert!(answer["comparison"]["note"].is_string(), "{answer}");
        assert_eq!(answer["trend_analysis"]["is_concerning"], false, "{answer}");
        assert_eq!(answer["trend_analysis"]["insufficient_data"], true, "{answer}");
        let answer = kelly.get(&format!("{BASE}/metrics/detailed/week?timeframe=30d{account}")).await;
        assert_eq!(answer["window_kept"], "partly", "{answer}");
        assert!(answer["notes"][0].as_str().is_some_and(|note| note.contains("may be missing")), "{answer}");
    }
    assert_eq!(kelly.terminate(), Some(0));
}

/// `serve` and `ingest` follow what `migrate` made of the store, and say that they are configured otherwise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_that_are_configured_otherwise_follow_the_store() {
    let broker = KafkaBroker::start().expect("a Kafka broker");
    let engine = Engine::start().expect("an engine");
    let directory = tempfile::tempdir().expect("a directory");
    let store = engine.store_config();
    let log_url = format!("kafka://{}", broker.bootstrap());
    let store_url = format!("http://{}@{}/kelly_kept", store.user, store.url.trim_start_matches("http://"));
    let role = |hours: &'static str| {
        let shared = [
            ("KELLY_LOG", log_url.as_str()),
            ("KELLY_STORE", store_url.as_str()),
            ("KELLY_STORE_PASSWORD", store.password.as_str()),
        ];
        [&environment(hours, "90")[..], &shared[..]].concat()
    };
    let (code, _, stderr) = run(&["migrate"], &role("1"), directory.path());
    assert_eq!(code, Some(0), "{stderr}");
    let otherwise = role("72");
    let start = |role| Start { arguments: role, environment: &otherwise, data: directory.path() };
    let serve = Kelly::start(start(&["serve"])).await;
    let _ingest = Kelly::spawn(start(&["ingest"]));
    record(&serve, &samples("apart", 60, TimeDelta::minutes(6), |_| 1.0)).await;
    let path = format!("{BASE}/metrics/detailed/apart?timeframe=24h&account_id=acme");
    let answer = until(&serve, &path, |answer| answer["sample_count"] == 60).await;
    assert_ne!(answer["tier"], "raw", "{answer}");
    let part = serve.part("store").await.expect("the store's health");
    assert_eq!(part["status"], "degraded", "{part}");
    let summary = part["summary"].as_str().expect("a summary");
    assert!(summary.contains("MONITORING_METRICS_RETENTION_HOURS is 72 here"), "{summary}");
    // Raised by another role while they run: what comes then is kept.
    let (code, _, stderr) = run(&["migrate"], &otherwise, directory.path());
    assert_eq!(code, Some(0), "{stderr}");
    let raw = "SELECT count() FROM kelly_kept.system_metrics WHERE metric_name = 'later' AND timestamp < now() - INTERVAL 2 HOUR";
    let begun = std::time::Instant::now();
    loop {
        record(&serve, &samples("later", 10, TimeDelta::hours(3), |_| 1.0)).await;
        let found = kelly_harness::query(store, "default", raw).await.expect("a count");
        if found.trim() != "0" {
            break;
        }
        assert!(
            begun.elapsed() < crate::kelly_process::PATIENCE,
            "ingest never learnt of the longer retention"
        );
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    let path = format!("{BASE}/health");
    until(&serve, &path, |health| {
        let store =
            health["parts"].as_array().and_then(|parts| parts.iter().find(|part| part["name"] == "store"));
        store.is_some_and(|store| store["status"] == "healthy")
    })
    .await;
}
