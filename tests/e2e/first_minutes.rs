//! What somebody sees who starts Kelly for the first time.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::kelly_process::{Kelly, PATIENCE, Start};

const BASE: &str = "/api/v1/kelly/monitoring";

/// Asks until the answer is as wanted.
pub async fn until(kelly: &Kelly, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let answer = kelly.get(path).await;
        if wanted(&answer) {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "GET {path} never became what it should: {answer}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kelly_watches_its_own_machine() {
    let directory = tempfile::tempdir().expect("a directory");
    let environment = [("KELLY_METRICS_INTERVAL", "1")];
    let kelly =
        Kelly::start(Start { arguments: &["up"], environment: &environment, data: directory.path() }).await;
    let overview =
        until(&kelly, &format!("{BASE}/metrics"), |answer| answer["system_load"].is_number()).await;
    let load = overview["system_load"].as_f64().expect("a number");
    assert!((0.0..=100.0).contains(&load), "the host's load in percent: {load}");
    assert!(overview["ai_confidence_avg"].is_null(), "nobody measured a confidence: {overview}");
    let detailed = until(&kelly, &format!("{BASE}/metrics/detailed/system_load?timeframe=1h"), |answer| {
        answer["sample_count"].as_u64() > Some(1)
    })
    .await;
    assert!(detailed["percentile_data"]["p50"].is_number(), "{detailed}");
    until(&kelly, &format!("{BASE}/metrics/detailed/kelly.http.response_time"), |answer| {
        answer["sample_count"].as_u64() > Some(0)
    })
    .await;
    assert_eq!(kelly.get("/api/openapi.json").await["openapi"], "3.1.0");
    let pid = kelly.pid();
    assert_eq!(kelly.terminate(), Some(0), "a drain ends well");
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recorded_rows_come_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let environment = [("KELLY_MONITORING_ENABLED", "false")];
    let start = || Start { arguments: &["up"], environment: &environment, data: directory.path() };
    let kelly = Kelly::start(start()).await;

    let rows: Vec<_> = (1..=100)
        .map(|value| {
            json!({"metric_name": "ai_confidence", "value": f64::from(value) / 100.0,
                   "account_id": "acme", "conversation_id": "conv-1"})
        })
        .collect();
    let (status, answer) =
        kelly.post(&format!("{BASE}/metrics/record"), &json!(rows)).await.expect("an answer");
    assert_eq!((status, &answer["accepted"]), (202, &json!(100)), "{answer}");
    for scope in ["", "&account_id=acme", "&conversation_id=conv-1"] {
        let path = format!("{BASE}/metrics/detailed/ai_confidence?timeframe=1h{scope}");
        let answer = until(&kelly, &path, |answer| answer["sample_count"] == 100).await;
        let bound = answer["percentile_error_bound"].as_f64().expect("a stated bound");
        for (name, exact) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)] {
            let found = answer["percentile_data"][name].as_f64().expect("a percentile");
            assert!((found - exact).abs() <= exact * bound + 1e-9, "{path} {name}: {found}");
        }
        assert_eq!(answer["thresholds"], json!({"warning": 0.6, "critical": 0.4}));
        assert_eq!(answer["trend_analysis"]["insufficient_data"], true, "there is no previous hour");
    }
    let empty = kelly.get(&format!("{BASE}/metrics/detailed/never_seen?timeframe=30d")).await;
    assert_eq!((&empty["historical_data"], &empty["current_value"]), (&json!([]), &Value::Null));

    let id = "018f0e6e-0000-4000-8000-000000000001";
    let event = json!({"id": id, "event_type": "user_interaction", "title": "Twice", "severity": "high"});
    for _ in 0..2 {
        let (status, answer) =
            kelly.post(&format!("{BASE}/activity/record"), &event).await.expect("an answer");
        assert_eq!((status, &answer["ids"]), (202, &json!([id])), "{answer}");
    }
    let (_, answer) = kelly
        .post(&format!("{BASE}/activity/record"), &json!({"event_type": "user_interaction", "title": "Once"}))
        .await
        .expect("an answer");
    let feed = until(&kelly, &format!("{BASE}/activity/feed"), |feed| {
        feed["events"].as_array().is_some_and(|events| events.len() >= 2)
    })
    .await;
    let ids: Vec<&str> =
        feed["events"].as_array().expect("events").iter().filter_map(|event| event["id"].as_str()).collect();
    assert_eq!(ids.len(), 2, "one event of each: {feed}");
    assert!(ids.contains(&id) && ids.contains(&answer["ids"][0].as_str().expect("an id")), "{feed}");
    let vip = kelly.get(&format!("{BASE}/activity/vip")).await;
    assert_eq!(vip["events"].as_array().map(Vec::len), Some(1), "high severity is VIP: {vip}");

    // Nothing of it is lost by an end and a new beginning.
    assert_eq!(kelly.terminate(), Some(0));
    let kelly = Kelly::start(start()).await;
    let path = format!("{BASE}/metrics/detailed/ai_confidence?timeframe=1h");
    assert_eq!(kelly.get(&path).await["sample_count"], 100);
    assert_eq!(kelly.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_refused_whole_and_explained() {
    let directory = tempfile::tempdir().expect("a directory");
    let environment = [("KELLY_MONITORING_ENABLED", "false")];
    let kelly =
        Kelly::start(Start { arguments: &["up"], environment: &environment, data: directory.path() }).await;
    let canary = "the customer said something private";
    let body = json!([
        {"metric_name": "fine", "value": 1},
        {"metric_name": "x", "value": 1, "metadata": {"text": canary}},
        {"metric_name": "", "value": 1},
        {"metric_name": "x", "value": 1, "timestamp": "3000-01-01T00:00:00Z"},
    ]);
    let (status, problem) = kelly.post(&format!("{BASE}/metrics/record"), &body).await.expect("an answer");
    assert_eq!(status, 422, "{problem}");
    let codes: Vec<_> = problem["errors"]
        .as_array()
        .expect("errors")
        .iter()
        .filter_map(|error| error["code"].as_str())
        .collect();
    assert_eq!(codes, ["conversation_content", "empty_field", "too_far_in_future"]);
    assert!(!problem.to_string().contains(canary), "content is not echoed");
    assert_eq!(kelly.sql("SELECT count() FROM metric_rollups").await, "0", "nothing of the body was taken");
    assert_eq!(kelly.terminate(), Some(0));
}
