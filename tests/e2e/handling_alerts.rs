//! Alerts in a real Kelly: taken in from outside, pushed to a socket, handled in a terminal, kept over a kill and in the store.

use std::path::Path;
use std::time::Duration;

use chrono::{SecondsFormat, TimeDelta, Utc};
use futures_util::StreamExt;
use kelly_harness::process::run;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::first_minutes::until;
use crate::kelly_process::{Kelly, Start};

const BASE: &str = "/api/v1/kelly/alerts";

/// Longer than anything takes on a machine that is busy compiling; reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// As Alertmanager writes it.
fn firing(name: &str, account: &str) -> Value {
    let began = (Utc::now() - TimeDelta::seconds(5)).to_rfc3339_opts(SecondsFormat::Millis, true);
    json!({"version": "4", "status": "firing", "receiver": "kelly", "alerts": [{
        "status": "firing", "labels": {"alertname": name, "severity": "critical", "account_id": account},
        "annotations": {"summary": format!("{name} of {account}")}, "startsAt": began, "endsAt": "0001-01-01T00:00:00Z",
        "fingerprint": format!("{name}-{account}")
    }]})
}

fn token(data: &Path, user: &str, accounts: &[&str]) -> String {
    let data = data.to_str().expect("a plain path");
    let mut words = vec!["token", "--sub", user, "--role", "operator", "--data", data];
    accounts.iter().for_each(|account| words.extend(["--account", account]));
    let (code, token, stderr) = run(&words, &[], Path::new("/"));
    assert_eq!(code, Some(0), "{stderr}");
    token.trim().to_owned()
}

/// `kelly alerts` as a user: exit code and what it prints.
async fn tool(kelly: &Kelly, token: &str, words: &[&str]) -> (Option<i32>, String, String) {
    let server = kelly.url.clone();
    let words: Vec<String> = ["alerts"].iter().chain(words).map(|word| (*word).to_owned()).collect();
    let token = token.to_owned();
    let running = tokio::task::spawn_blocking(move || {
        let words: Vec<&str> = words.iter().map(String::as_str).chain(["--server", &server]).collect();
        run(&words, &[("KELLY_TOKEN", &token)], Path::new("/"))
    });
    running.await.expect("it ends")
}

/// The alerts that are open, as a tool prints them.
async fn open(kelly: &Kelly, token: &str) -> Vec<Value> {
    let (code, printed, stderr) = tool(kelly, token, &["list", "--json"]).await;
    assert_eq!(code, Some(0), "{stderr}");
    let page: Value = serde_json::from_str(&printed).expect("JSON");
    page["alerts"].as_array().expect("alerts").clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_is_pushed_handled_in_a_terminal_and_kept_over_a_kill() {
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path();
    let environment = [("KELLY_MONITORING_ENABLED", "false")];
    let start = || Start { arguments: &["up"], environment: &environment, data };
    let kelly = Kelly::start(start()).await;
    let (ada, ben) = (token(data, "ada", &[]), token(data, "ben", &[]));
    let of_green = token(data, "grace", &["green"]);

    let url = format!("{}/ws/kelly/alerts", kelly.url.replace("http://", "ws://"));
    let mut request = url.into_client_request().expect("a request");
    request.headers_mut().insert("authorization", format!("Bearer {ada}").parse().expect("a header"));
    let stream = TcpStream::connect(kelly.url.trim_start_matches("http://")).await.expect("a connection");
    let (mut socket, _) = client_async(request, stream).await.expect("a socket");
    let mut pushed = async |kind: &str| -> Value {
        let waiting = async {
            loop {
                let message = socket.next().await.expect("a message").expect("no error");
                let Ok(text) = message.to_text() else { continue };
                match serde_json::from_str::<Value>(text) {
                    Ok(message) if message["type"] == kind => return message,
                    _ => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("it comes")
    };
    assert_eq!(pushed("alert_snapshot").await["data"]["open"], 0);

    // What comes from outside is pushed at once, and stands in the figures.
    let (status, taken) =
        kelly.post(&format!("{BASE}/ingest"), &firing("ProviderDown", "blue")).await.expect("an answer");
    assert_eq!((status, &taken["raised"]), (200, &json!(1)), "{taken}");
    let raised = pushed("alert_notification").await;
    assert_eq!(
        (&raised["steps"], &raised["data"]["explanation"]),
        (&json!(["raised"]), &json!("ProviderDown of blue"))
    );
    let id = raised["data"]["id"].as_str().expect("an id").to_owned();
    until(&kelly, "/api/v1/kelly/monitoring/metrics", |figures| figures["alert_count"] == 1).await;

    // In a terminal: one has it, the other is told who.
    let (code, table, stderr) = tool(&kelly, &ada, &["list"]).await;
    assert!(code == Some(0) && table.contains(&id) && table.contains("critical"), "{table}{stderr}");
    let (code, said, stderr) = tool(&kelly, &ada, &["ack", &id, "--note", "on it"]).await;
    assert!(code == Some(0) && said.contains("done"), "{said}{stderr}");
    let update = pushed("alert_update").await;
    assert_eq!((&update["by"]["name"], &update["data"]["status"]), (&json!("ada"), &json!("acknowledged")));
    let (code, said, _) = tool(&kelly, &ben, &["ack", &id]).await;
    assert!(code == Some(3) && said.contains("ada acknowledged it"), "{said}");
    let (code, said, stderr) = tool(&kelly, &ben, &["assign", &id, "--to", "ben"]).await;
    assert_eq!(code, Some(0), "{said}{stderr}");
    let (code, ..) = tool(&kelly, &ben, &["note", &id, "the provider is down"]).await;
    assert_eq!(code, Some(0));
    let (code, ..) = tool(&kelly, &ben, &["escalate", &id]).await;
    assert_eq!(code, Some(0));
    let (_, shown, _) = tool(&kelly, &ben, &["show", &id]).await;
    for word in ["acknowledged", "assigned", "noted", "escalated", "on it", "ben"] {
        assert!(shown.contains(word), "{word}: {shown}");
    }
    // Who is limited to another account is told nothing of it.
    assert_eq!(open(&kelly, &of_green).await, [] as [Value; 0]);
    let (code, said, stderr) = tool(&kelly, &of_green, &["show", &id]).await;
    assert!(code == Some(3) && stderr.contains("no such alert"), "{said}{stderr}");
    let (code, said, stderr) =
        tool(&kelly, &ada, &["silence", "--account", "blue", "--for", "2h", "--reason", "it is being moved"])
            .await;
    assert_eq!(code, Some(0), "{said}{stderr}");
    let (_, silences, _) = tool(&kelly, &ada, &["silences"]).await;
    assert!(silences.contains("account_id=blue") && silences.contains("ada"), "{silences}");

    // A kill loses nothing of it; what is told to a follower begins with what is open.
    let before = open(&kelly, &ada).await;
    kelly.kill();
    let kelly = Kelly::start(start()).await;
    assert_eq!(open(&kelly, &ada).await, before);
    assert_eq!((&before[0]["owner"]["name"], &before[0]["level"]), (&json!("ben"), &json!(1)));
    let following = tool(&kelly, &ada, &["follow", "--json", "--count", "1"]);
    let resolving = async {
        // The follower may come before or after: either way it is told of one change.
        let mut number = 0;
        loop {
            number += 1;
            kelly.post(&format!("{BASE}/ingest"), &firing(&format!("Other{number}"), "blue")).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let (code, followed, stderr) = tokio::select! {
        followed = following => followed,
        () = resolving => unreachable!("it goes on"),
    };
    assert_eq!(code, Some(0), "{stderr}");
    let kinds: Vec<String> = followed
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).expect("JSON")["type"].as_str().expect("a type").to_owned()
        })
        .collect();
    assert_eq!((kinds.first().map(String::as_str), kinds.len()), (Some("alert_snapshot"), 2), "{followed}");
    let (code, said, _) = tool(&kelly, &ada, &["resolve", &id]).await;
    assert!(code == Some(0) && said.contains("done"), "{said}");

    // All of it is in the store, too.
    let wanted =
        format!("SELECT count() FROM control_log FINAL WHERE alert_id = '{id}' AND verdict = 'applied'");
    let begun = std::time::Instant::now();
    while kelly.sql(&wanted).await.trim() != "6" {
        assert!(begun.elapsed() < PATIENCE, "the store has {}", kelly.sql(&wanted).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let last = format!(
        "SELECT status, resolved_by FROM alert_instances FINAL WHERE alert_id = '{id}' ORDER BY log_offset DESC LIMIT 1"
    );
    assert_eq!(kelly.sql(&last).await.trim(), "resolved\tada");
    let metrics = kelly.text("/metrics").await;
    assert!(metrics.contains("kelly_control_records_total{verdict=\"applied\"}"), "{metrics}");
    assert_eq!(kelly.terminate(), Some(0));
}
