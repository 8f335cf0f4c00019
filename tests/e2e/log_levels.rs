//! How much a running Kelly logs, changed by an administrator for a while.

use std::time::Instant;

use kelly_auth::Role;
use kelly_harness::sign_in::{User, token_of};
use reqwest::Method;
use serde_json::{Value, json};

use crate::first_minutes::until;
use crate::kelly_process::{Kelly, PATIENCE, Start};

const LEVELS: &str = "/api/v1/kelly/log-levels";
const ASKED: &str = "/api/v1/kelly/monitoring/metrics/detailed/secret_metric?timeframe=1h";

/// Asks something and gives the trace id of it.
async fn ask(kelly: &Kelly) -> String {
    let answer = kelly.request(Method::GET, ASKED).send().await.expect("an answer");
    answer.headers()["x-trace-id"].to_str().expect("a text").to_owned()
}

async fn change(kelly: &Kelly, method: Method, path: &str) -> Value {
    let answer = kelly.request(method, &format!("{LEVELS}{path}")).send().await.expect("an answer");
    assert_eq!(answer.status(), 200, "{path}");
    answer.json().await.expect("JSON")
}

/// Waits until the log has a line with these words.
async fn until_logged(kelly: &Kelly, words: &str) {
    let begun = Instant::now();
    while !kelly.has_logged(words) {
        assert!(begun.elapsed() < PATIENCE, "{words} was never logged");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_level_is_changed_and_ends_by_itself() {
    let directory = tempfile::tempdir().expect("a directory");
    let environment = [("KELLY_MONITORING_ENABLED", "false"), ("KELLY_LOGGING", "json")];
    let kelly =
        Kelly::start(Start { arguments: &["up"], environment: &environment, data: directory.path() }).await;
    let before = ask(&kelly).await;
    assert_eq!(kelly.get(LEVELS).await["changed"], json!([]));

    let report = change(&kelly, Method::PUT, "/api?level=debug").await;
    assert_eq!(
        (&report["changed"][0]["component"], &report["changed"][0]["level"]),
        (&json!("api"), &json!("debug"))
    );
    let logged = ask(&kelly).await;
    until_logged(&kelly, &logged).await;
    let line = kelly.logged(&logged).expect("it was logged");
    let line: Value = serde_json::from_str(&line).expect("a line is one JSON object");
    assert_eq!(line["message"], "request answered");
    assert_eq!(
        (&line["trace_id"], &line["status"], &line["method"]),
        (&json!(logged), &json!(200), &json!("GET"))
    );
    assert_eq!(line["route"], "/api/v1/kelly/monitoring/metrics/detailed/{metric_type}");
    assert!(line["duration_ms"].is_number(), "{line}");
    // Nothing of what was asked and of who asked.
    let token = kelly.token();
    for word in ["secret_metric", "test-admin", token.as_str()] {
        assert!(!kelly.has_logged(word), "{word} was logged");
    }

    let report = change(&kelly, Method::DELETE, "/api").await;
    assert_eq!(report["changed"], json!([]));
    let reset = ask(&kelly).await;
    // It ends by itself.
    change(&kelly, Method::PUT, "/all?level=debug&seconds=1").await;
    until(&kelly, LEVELS, |report| report["changed"] == json!([])).await;
    until_logged(&kelly, "the configured log level is in force again").await;
    let after = ask(&kelly).await;
    // What is logged now comes behind what was not.
    change(&kelly, Method::PUT, "/api?level=debug&seconds=60").await;
    let last = ask(&kelly).await;
    until_logged(&kelly, &last).await;
    for trace in [before, reset, after] {
        assert!(!kelly.has_logged(&trace), "{trace} was logged");
    }

    // It is for administrators.
    for (role, expected) in [(Role::Supervisor, 403), (Role::Admin, 200)] {
        let token = token_of(directory.path(), &User::with(role)).expect("the secret is made");
        let client = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
        let request = client.put(format!("{}{LEVELS}/sql?level=trace", kelly.url)).bearer_auth(token);
        assert_eq!(request.send().await.expect("an answer").status().as_u16(), expected, "{role}");
    }
}
