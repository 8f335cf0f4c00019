//! Two accounts in a real Kelly: a token that is limited to one of them sees it in every route, and nothing of the other.

use std::path::Path;

use kelly_harness::process::run;
use reqwest::Method;
use serde_json::{Value, json};

use crate::first_minutes::until;
use crate::kelly_process::{Kelly, Start};

const BASE: &str = "/api/v1/kelly/monitoring";
/// Rows of either account.
const ROWS: usize = 4;

/// Whatever names something of an account is one of these words with a number.
fn name(account: &str, what: &str) -> String {
    format!("{account}-{what}")
}

/// Metrics of an account: one that both have, one that is its own. The values of no two accounts are alike.
fn metrics(account: &str, value: f64) -> Vec<Value> {
    let row = |metric: String| {
        json!({"metric_name": metric, "value": value, "account_id": account, "conversation_id": name(account, "c"),
            "user_id": name(account, "u"), "metadata": {"of": name(account, "m")}})
    };
    let own = name(account, "metric");
    (0..ROWS)
        .flat_map(|_| ["messages".to_owned(), "ai_confidence".to_owned(), own.clone()].map(row))
        .collect()
}

fn events(account: &str) -> Vec<Value> {
    let event = |severity: &str| {
        json!({"event_type": name(account, "e"), "title": name(account, "t"), "description": name(account, "d"),
            "account_id": account, "conversation_id": name(account, "c"), "severity": severity})
    };
    ["low", "critical"].map(event).into()
}

/// A token as its user makes it.
fn token(data: &Path, role: &str, accounts: &[&str]) -> String {
    let data = data.to_str().expect("a plain path");
    let mut words = vec!["token", "--sub", "somebody", "--role", role, "--data", data];
    accounts.iter().for_each(|account| words.extend(["--account", account]));
    let (code, token, stderr) = run(&words, &[], Path::new("/"));
    assert_eq!(code, Some(0), "{stderr}");
    token.trim().to_owned()
}

/// What somebody with this token is answered.
async fn ask(kelly: &Kelly, token: &str, path: &str) -> (u16, String) {
    let url = format!("{}{path}", kelly.url);
    let client = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
    let answer = client.request(Method::GET, url).bearer_auth(token).send().await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("a body"))
}

async fn answer(kelly: &Kelly, token: &str, path: &str) -> Value {
    let (status, body) = ask(kelly, token, path).await;
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).expect("JSON")
}

async fn record(kelly: &Kelly, token: &str, what: &str, rows: &[Value]) -> (u16, Value) {
    let client = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
    let url = format!("{}{BASE}/{what}/record", kelly.url);
    let answer = client.post(url).bearer_auth(token).json(rows).send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

/// Sends an alert of an account, as another system does.
async fn ingest(kelly: &Kelly, token: &str, account: &str) -> u16 {
    let client = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
    let labels = json!({"alertname": name(account, "alert"), "account_id": account, "conversation_id": name(account, "c")});
    let began = chrono::Utc::now().to_rfc3339();
    let body = json!({"alerts": [{"status": "firing", "labels": labels, "startsAt": began}]});
    let url = format!("{}/api/v1/kelly/alerts/ingest", kelly.url);
    client.post(url).bearer_auth(token).json(&body).send().await.expect("an answer").status().as_u16()
}

/// Routes about all accounts together, which a token of some may not use.
const OF_THE_SYSTEM: [&str; 9] = [
    "/api/v1/kelly/alerts/noise",
    "/api/v1/kelly/alerts/policies",
    "/api/v1/kelly/alerts/rules",
    "/api/v1/kelly/monitoring/performance",
    "/api/v1/kelly/access/denied",
    "/api/v1/kelly/notifications",
    "/api/v1/kelly/notifications/dead",
    "/api/v1/kelly/log-levels",
    "/metrics",
];

fn an_hour_before(time: &str) -> String {
    let time = chrono::DateTime::parse_from_rfc3339(time).expect("a time");
    (time - chrono::TimeDelta::hours(1)).to_rfc3339()
}

/// Every route that is read, with what it needs, and those that a metric, a grouping or a file make of it.
fn paths(document: &Value) -> Vec<String> {
    let mut paths = Vec::new();
    for (template, item) in document["paths"].as_object().expect("routes") {
        // What is pushed has no end to read to; live's own tests hold its rooms to the accounts.
        let is_pushed = item["get"]["tags"] == json!(["live"]);
        // What has an id of its own is asked for below, and in `handling_alerts`.
        let ids = ["{alert_id}", "{incident_id}", "{command_id}", "{rule}"];
        let has_id = ids.iter().any(|id| template.contains(id));
        if item["get"].is_null() || is_pushed || has_id {
            continue;
        }
        let parameters: Vec<&str> = item["get"]["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|parameter| parameter["name"].as_str())
            .collect();
        let path = template.replace("{code}", "not_permitted");
        let metrics = ["messages", "blue-metric", "green-metric"];
        if parameters.contains(&"metric_type") {
            for metric in metrics {
                let path = path.replace("{metric_type}", metric);
                paths.extend(["1h", "7d"].map(|timeframe| format!("{path}?timeframe={timeframe}")));
                if parameters.contains(&"group_by") {
                    paths.extend(
                        ["account", "conversation"].map(|by| format!("{path}?group_by={by}&format=csv")),
                    );
                    paths.push(format!("{path}?group_by=conversation&timeframe=30d"));
                    paths.push(format!("{path}?compare=previous&conversation_id=green-c"));
                }
            }
        } else if parameters.contains(&"metrics") {
            paths.push(format!("{path}?metrics={}", metrics.join(",")));
        } else {
            paths.push(path);
        }
    }
    paths
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_one_account_sees_it_in_every_route_and_nothing_else() {
    let directory = tempfile::tempdir().expect("a directory");
    let environment = [("KELLY_MONITORING_ENABLED", "false")];
    let kelly =
        Kelly::start(Start { arguments: &["up"], environment: &environment, data: directory.path() }).await;
    let everything = token(directory.path(), "admin", &[]);
    let blue = token(directory.path(), "analyst", &["blue"]);
    let green = token(directory.path(), "analyst", &["green", "unheard-of"]);
    let producer = token(directory.path(), "producer", &["blue"]);

    // What is recorded for blue is recorded by its own producer, which may record nothing else.
    let none = json!({"metric_name": "messages", "value": 0.5});
    let mixed = [metrics("blue", 2.0), metrics("green", 3.0)[..1].to_vec(), vec![none.clone()]].concat();
    let (status, refusal) = record(&kelly, &producer, "metrics", &mixed).await;
    assert_eq!((status, refusal["error_count"].as_u64()), (422, Some(2)), "{refusal}");
    for fault in refusal["errors"].as_array().expect("faults") {
        assert_eq!(fault["code"], "account_not_permitted", "{refusal}");
    }
    let (status, _) = record(&kelly, &producer, "activity", &events("green")).await;
    assert_eq!(status, 422);
    assert_eq!(record(&kelly, &producer, "metrics", &metrics("blue", 2.0)).await.0, 202);
    assert_eq!(record(&kelly, &producer, "activity", &events("blue")).await.0, 202);
    assert_eq!(record(&kelly, &everything, "metrics", &metrics("green", 3.0)).await.0, 202);
    assert_eq!(record(&kelly, &everything, "metrics", &[none]).await.0, 202);
    assert_eq!(record(&kelly, &everything, "activity", &events("green")).await.0, 202);
    assert_eq!(ingest(&kelly, &producer, "green").await, 422);
    assert_eq!(ingest(&kelly, &producer, "blue").await, 200);
    assert_eq!(ingest(&kelly, &everything, "green").await, 200);
    let both = format!("{BASE}/metrics/detailed/messages?timeframe=24h");
    until(&kelly, &both, |answer| answer["sample_count"] == 2 * ROWS + 1).await;
    until(&kelly, &format!("{BASE}/activity/feed"), |page| {
        page["events"].as_array().map(Vec::len) == Some(4)
    })
    .await;

    let document = kelly.get("/api/openapi.json").await;
    let (mut answered, mut told) = (0, 0);
    for path in paths(&document) {
        for (own, theirs) in [((&blue, "blue"), "green"), ((&green, "green"), "blue")] {
            let (token, account) = own;
            let (status, body) = ask(&kelly, token, &path).await;
            // Of the system as a whole, or as it stands with the other account's name in the question.
            assert!(
                status == 200 || (status == 403 && OF_THE_SYSTEM.contains(&path.as_str())),
                "{path}: {status} {body}"
            );
            answered += 1;
            let is_asked = path.contains(theirs);
            let found = body.lines().find(|line| line.contains(theirs) && !is_asked);
            assert_eq!(found, None, "{account} is told of {theirs} by {path}");
            told += usize::from(body.contains(&format!("{account}-")));
        }
        if path.contains("?metrics=") {
            let seen = answer(&kelly, &blue, &path).await;
            assert_eq!(seen["unknown_metrics"], json!(["green-metric"]), "{seen}");
        } else if path.contains("green-") {
            let (_, body) = ask(&kelly, &blue, &path).await;
            match serde_json::from_str::<Value>(&body) {
                Ok(seen) => {
                    let count = seen.get("sample_count").or(seen.get("group_count")).expect("a count");
                    assert_eq!(count, 0, "{path}: {seen}");
                }
                Err(_) => assert_eq!(body.lines().count(), 1, "{path} has rows: {body}"),
            }
        }
    }
    assert!(answered > 60 && told > 10, "{answered} answers, {told} of them with something in them");

    // The accounts and what belongs to none are together what there is.
    let overview = format!("{BASE}/metrics");
    for (path, figure, nobodys) in [(&both, "sample_count", 1), (&overview, "conversations_active", 0)] {
        let mut sum = nobodys;
        for token in [&blue, &green] {
            sum += answer(&kelly, token, path).await[figure].as_u64().expect("a figure");
        }
        assert_eq!(answer(&kelly, &everything, path).await[figure].as_u64(), Some(sum), "{path} {figure}");
    }

    // An account that they may not see, whether or not there is one, and what they may not do.
    for account in ["green", "nobodys"] {
        let (status, body) = ask(&kelly, &blue, &format!("{both}&account_id={account}")).await;
        assert_eq!(status, 403, "{body}");
        let problem: Value = serde_json::from_str(&body).expect("a problem");
        assert_eq!(problem["code"], "account_not_permitted");
        assert!(!body.contains(account), "{body}");
    }
    let (status, body) = ask(&kelly, &producer, &both).await;
    assert!(status == 403 && body.contains("see metrics"), "{body}");

    // An alert of another account looks as one that there is not.
    let alerts = answer(&kelly, &green, "/api/v1/kelly/alerts/active").await["alerts"].clone();
    let (alert, incident) = (&alerts[0]["id"], &alerts[0]["incident_id"]);
    let detail = |body: &str| serde_json::from_str::<Value>(body).expect("a problem")["detail"].clone();
    for (theirs, nobodys) in [
        (alert.as_str().expect("an id").to_owned(), "0198f3c2-a4b7-7e21-b0c3-d9a1f2e4c6d8".to_owned()),
        (format!("incidents/{incident}"), "incidents/9007199254740991".to_owned()),
    ] {
        let (status, body) = ask(&kelly, &blue, &format!("/api/v1/kelly/alerts/{theirs}")).await;
        let (_, other) = ask(&kelly, &blue, &format!("/api/v1/kelly/alerts/{nobodys}")).await;
        assert_eq!((status, detail(&body)), (404, detail(&other)));
        answer(&kelly, &green, &format!("/api/v1/kelly/alerts/{theirs}")).await;
    }

    // Whoever may record for blue and knows the id of an event of green takes nothing from green, whatever time they give.
    let feed = format!("{BASE}/activity/feed");
    let greens = answer(&kelly, &green, &feed).await["events"].clone();
    let copies: Vec<Value> = greens
        .as_array()
        .expect("events")
        .iter()
        .map(|event| {
            json!({"id": event["id"], "event_type": "copy", "title": "copy", "account_id": "blue",
                "created_at": an_hour_before(event["created_at"].as_str().expect("a time"))})
        })
        .collect();
    assert_eq!(record(&kelly, &producer, "activity", &copies).await.0, 202);
    until(&kelly, &feed, |page| page["events"].as_array().map(Vec::len) == Some(6)).await;
    assert_eq!(answer(&kelly, &green, &feed).await["events"], greens);
    assert_eq!(kelly.terminate(), Some(0));
}
