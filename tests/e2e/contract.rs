//! The OpenAPI document held to a running Kelly by a program of another make: what it allows is taken, what it does not is
//! refused, every answer is one of those it describes, and nothing is answered without signing in.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use crate::kelly_process::{Kelly, Start, run};
use crate::python;

/// Where a run is bounded; a seed makes it the same each time.
const SEED: &str = "1";

fn token(data: &Path, role: &str) -> String {
    let data = data.to_str().expect("a plain path");
    let (code, token, stderr) =
        run(&["token", "--sub", role, "--role", role, "--data", data], &[], Path::new("/"));
    assert_eq!(code, Some(0), "{stderr}");
    token.trim().to_owned()
}

/// Rows of which questions have something to answer.
async fn record(kelly: &Kelly) {
    let base = "/api/v1/kelly/monitoring";
    let metrics: Vec<Value> = ["ai_confidence", "response_time", "messages"]
        .iter()
        .flat_map(|name| (0..20).map(move |number| {
            json!({"metric_name": name, "value": f64::from(number) / 20.0, "account_id": format!("account{}", number % 3),
                "conversation_id": format!("conv{}", number % 5)})
        }))
        .collect();
    let events: Vec<Value> = (0..60)
        .map(|number| {
            json!({"event_type": "user_interaction", "title": format!("event {number}"), "account_id": "account1",
                "severity": if number % 2 == 0 { "low" } else { "critical" }})
        })
        .collect();
    for (what, rows) in [("metrics", metrics), ("activity", events)] {
        let (status, answer) =
            kelly.post(&format!("{base}/{what}/record"), &json!(rows)).await.expect("an answer");
        assert_eq!(status, 202, "{answer}");
    }
    kelly.until_drained().await;
}

/// Asks as one of this role; what it found fails the test.
async fn hold(kelly: &Kelly, data: &Path, role: &str, options: &[&str]) {
    let (url, token) = (kelly.url.clone(), token(data, role));
    let script = "tests/e2e/contract.py";
    let mut command = python::command(script, &[&url, &token, "--seed", SEED, "--workers", "2"]);
    // Where it keeps what it found before.
    command.args(options).current_dir(data);
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .expect("its end is awaited")
        .expect("scripts/setup python was run");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "as {role}: {said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("passed"), "as {role} nothing was asked: {said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_is_kept_to_for_every_role() {
    let place = tempfile::tempdir().expect("a directory");
    let data = place.path();
    // It signs in wrongly a lot, which has a budget, too.
    let environment =
        [("KELLY_MONITORING_ENABLED", "false"), ("KELLY_LIMIT_FAILED_SIGN_INS_PER_MINUTE", "1000000")];
    let kelly = Kelly::start(Start { arguments: &["up"], environment: &environment, data }).await;
    record(&kelly).await;
    // A stream of events that is answered has no end to wait for; signing out ends the token that everything is asked with.
    let endless = ["--exclude-operation-id", "live_events"];
    let signing_out = ["--exclude-operation-id", "sign_out"];
    let whole = [&endless[..], &signing_out, &["--mode", "all", "--max-examples", "8"]].concat();
    hold(&kelly, data, "admin", &whole).await;
    // Whoever is refused most is soon asked; the routes that differ are those of `tests/api/rights.rs`.
    let brief = [
        &endless[..],
        &signing_out,
        &["--mode", "all", "--max-examples", "3", "--phases", "examples,fuzzing"],
    ]
    .concat();
    for role in ["viewer", "analyst", "operator", "supervisor", "producer", "worker"] {
        hold(&kelly, data, role, &brief).await;
    }
    let sign_out =
        ["--include-operation-id", "sign_out", "--max-examples", "4", "--phases", "coverage,fuzzing"];
    hold(&kelly, data, "supervisor", &sign_out).await;
    let document = kelly.get("/api/openapi.json").await;
    let left_out: BTreeSet<&str> = ["live_events"].into();
    let operations: BTreeSet<&str> = document["paths"]
        .as_object()
        .expect("paths")
        .values()
        .flat_map(|item| item.as_object().expect("operations").values())
        .filter_map(|operation| operation["operationId"].as_str())
        .collect();
    assert!(left_out.is_subset(&operations), "what is left out is still there");
    assert_eq!(kelly.terminate(), Some(0));
}
