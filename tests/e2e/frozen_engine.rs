//! The engine's process stands still. Nothing is blamed on the question, recording goes on, and the end has a bound.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use crate::kelly_process::{Kelly, PATIENCE, Start};

/// Until it is said that the store stands still: asked every two seconds, given five. The client's own limit is 30.
const SAID_EARLY: Duration = Duration::from_secs(15);

/// Until ingest leaves to the log what the store does not take, 30 seconds, and the rest has stopped.
const ENDS_WITHIN: Duration = Duration::from_secs(45);
use crate::tools::{BASE, QUIET, record};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_stands_still_is_named_and_holds_nothing_up() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut kelly =
        Kelly::start(Start { arguments: &["up"], environment: &QUIET, data: directory.path() }).await;
    record(&kelly, json!({"metric_name": "before", "value": 1})).await;
    kelly.until_drained().await;
    assert!(kelly.suspend_engine());

    let asked = Instant::now();
    let (status, problem) =
        kelly.look(&format!("{BASE}/metrics/detailed/before?timeframe=30d")).await.expect("an answer");
    assert!(asked.elapsed() < SAID_EARLY, "it is said after {:?}", asked.elapsed());
    assert_eq!((status, &problem["code"]), (503, &json!("store_not_responding")), "{problem}");
    let detail = problem["detail"].as_str().expect("a detail");
    assert!(!detail.contains("timeframe") && detail.contains("does not respond"), "{detail}");
    // As many as a dashboard's panels, each of its own: none waits until the others have found it out one by one.
    let question = async |number: usize| {
        kelly.look(&format!("{BASE}/metrics/detailed/panel_{number}?timeframe=30d")).await.expect("an answer")
    };
    for (status, problem) in join_all((0..12).map(question)).await {
        assert_eq!((status, &problem["code"]), (503, &json!("store_not_responding")), "{problem}");
    }
    let (status, problem) = kelly.look("/readyz").await.expect("an answer");
    let errors = problem["errors"].as_array().expect("errors");
    assert_eq!((status, errors.len(), &errors[0]["part"]), (503, 1, &json!("store")), "{problem}");
    let store = kelly.part("store").await.expect("the report has it");
    assert!(store["summary"].as_str().expect("a summary").contains("does not respond"), "{store}");
    record(&kelly, json!({"metric_name": "meanwhile", "value": 1})).await;

    // It goes on where it was.
    assert!(kelly.wake_engine());
    kelly.until_ready().await;
    kelly.until_drained().await;
    assert_eq!(kelly.sql("SELECT count() FROM system_metrics").await, "2");

    assert!(kelly.suspend_engine());
    record(&kelly, json!({"metric_name": "last", "value": 1})).await;
    let begun = Instant::now();
    while kelly.part("ingest").await.is_none_or(|part| part["details"]["buffered_bytes"] == 0) {
        assert!(begun.elapsed() < PATIENCE, "the row is not read");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    kelly.ask_to_stop();
    let asked = Instant::now();
    let code = loop {
        if let Some(code) = kelly.ended() {
            break code;
        }
        assert!(asked.elapsed() < ENDS_WITHIN, "it does not end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(code, Some(0), "what the store did not take waits on the log");
    assert!(kelly.has_logged("the store to take what was read"), "it says what it waits for");
    let kelly = Kelly::start(Start { arguments: &["up"], environment: &QUIET, data: directory.path() }).await;
    kelly.until_drained().await;
    assert_eq!(kelly.sql("SELECT count() FROM system_metrics").await, "3");
    assert_eq!(kelly.terminate(), Some(0));
}
