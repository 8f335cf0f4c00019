//! Files out of a Kelly and into another: what was exported comes out of the second as it was in the first.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use chrono::{SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::first_minutes::until;
use crate::kelly_process::{Kelly, Start, kelly as kelly_command, run};
use crate::tools::{BASE, QUIET};

const METRIC: &str = "files/out:in";

async fn export(kelly: &Kelly, path: &str) -> Vec<u8> {
    let answer =
        kelly.request(reqwest::Method::GET, &format!("{BASE}{path}")).send().await.expect("an answer");
    assert!(answer.status().is_success(), "{path}: {}", answer.status());
    answer.bytes().await.expect("the whole file").to_vec()
}

async fn samples(kelly: &Kelly, format: &str) -> Vec<u8> {
    export(kelly, &format!("/metrics/samples/files%2Fout:in?timeframe=24h&format={format}")).await
}

async fn events(kelly: &Kelly, format: &str) -> Vec<u8> {
    export(kelly, &format!("/activity/export?timeframe=24h&format={format}")).await
}

/// Lines of an export in an order of their own.
fn sorted(lines: &[u8]) -> Vec<String> {
    let mut lines: Vec<String> =
        String::from_utf8(lines.to_vec()).expect("text").lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Rows that are easily changed on the way: formulas, blanks, quotes, line ends, long numbers.
fn rows() -> (Vec<String>, Vec<Value>) {
    let at = |minutes: i64| {
        (Utc::now() - TimeDelta::minutes(minutes)).to_rfc3339_opts(SecondsFormat::Millis, true)
    };
    let metadata =
        r#"{"z":1.10,"big":340282366920938463463374607431768211455,"a":"q\"\u00e9/,;'","n":{"y":[1,{}]}}"#;
    let metric = |value: &str, account: &str, more: &str| {
        format!(
            r#"{{"metric_name":"{METRIC}","value":{value},"account_id":"{account}","timestamp":"{}"{more}}}"#,
            at(7)
        )
    };
    let metrics = vec![
        metric("0.1", "+49 171", &format!(r#","metadata":{metadata}"#)),
        metric("1e130", "'=b", r#","conversation_id":" padded ","user_id":"u,;\"'""#),
        metric("-5e-324", "''+x", r#","metric_type":"counter""#),
        metric("12345678901234567", "-", ""),
        metric("-0.0", "@sum", r#","metadata":{}"#),
    ];
    let event = |title: &str, more: Value| {
        let mut event = json!({"event_type": "escalation", "title": title, "created_at": at(9)});
        event.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        event
    };
    let events = vec![
        event("=1+1", json!({"description": "\tfirst\n\"second\", third\r\n", "account_id": "'+1"})),
        event("plain", json!({"severity": "critical", "category": "vip", "user_id": " u "})),
        event(
            "with \"quotes\" and , ;",
            json!({"metadata": {"vip": true, "x": [1.5, "\u{e9}"]}, "conversation_id": "c"}),
        ),
    ];
    (metrics, events)
}

async fn start(data: &Path) -> Kelly {
    std::fs::create_dir_all(data).expect("a directory");
    Kelly::start(Start { arguments: &["up"], environment: &QUIET, data }).await
}

async fn until_there(kelly: &Kelly, (metrics, events): (usize, usize)) {
    let metric = format!("{BASE}/metrics/detailed/files%2Fout:in?timeframe=24h");
    until(kelly, &metric, |answer| answer["sample_count"] == metrics).await;
    until(kelly, &format!("{BASE}/activity/feed"), |answer| {
        answer["events"].as_array().is_some_and(|found| found.len() == events)
    })
    .await;
}

/// Over HTTP as by the tools: a time under another name, a field that is there twice.
async fn what_is_in_doubt_is_refused(kelly: &Kelly, directory: &Path) {
    let row = json!({"metric_name": METRIC, "value": 1, "ts": 1});
    let (status, problem) = kelly.post(&format!("{BASE}/metrics/record"), &row).await.expect("an answer");
    assert_eq!((status, &problem["errors"][0]["code"]), (422, &json!("misnamed_time")), "{problem}");
    assert!(
        problem["errors"][0]["reason"].as_str().is_some_and(|reason| reason.contains("`timestamp`")),
        "{problem}"
    );
    for (format, line, code, words) in [
        ("ndjson", r#"{"metric_name":"d","value":1,"value":2}"#, 3, "`value` is there more than once"),
        ("ndjson", r#"{"metric_name":"d","value":1,"createdAt":"2026-11-30T02:00:00Z"}"#, 2, "--time-column"),
        (
            "csv",
            "timestamp,value\n2026-11-30 02:00:00,1\n",
            2,
            "no column names the metric: say --metric NAME",
        ),
    ] {
        let mut child = kelly_command()
            .args(["record", "stdin", "--format", format, "--server", &kelly.url])
            .env("KELLY_TOKEN", kelly.token())
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the kelly binary starts");
        child.stdin.take().expect("stdin is piped").write_all(line.as_bytes()).expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        let shown = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.code() == Some(code) && shown.contains(words),
            "{line}: {:?} {shown}",
            output.status
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_exported_comes_out_of_another_kelly_as_it_was() {
    let directory = tempfile::tempdir().expect("a directory");
    let first = start(&directory.path().join("first")).await;
    let (metrics, activity) = rows();
    // A row of several lines, and one that follows it.
    let pretty = format!(
        "[\n{{\n  \"metric_name\": \"{METRIC}\",\n  \"value\": 1,\n  \"metadata\": {{\n    \"a\": 1\n  }}\n}},\n{{\"metric_name\":\"{METRIC}\",\"value\":2}}]"
    );
    let counts = (metrics.len() + 2, activity.len());
    std::fs::write(directory.path().join("pretty.json"), pretty).expect("a file");
    std::fs::write(directory.path().join("metrics.ndjson"), metrics.join("\n")).expect("a file");
    let lines: Vec<String> = activity.iter().map(Value::to_string).collect();
    std::fs::write(directory.path().join("events.ndjson"), lines.join("\n")).expect("a file");
    let (code, out, stderr) = run(
        &["record", "file", "metrics.ndjson", "events.ndjson", "pretty.json", "--server", &first.url],
        &[QUIET[0], ("KELLY_TOKEN", &first.token())],
        directory.path(),
    );
    assert_eq!(code, Some(0), "{out}{stderr}");
    until_there(&first, counts).await;
    what_is_in_doubt_is_refused(&first, directory.path()).await;
    let wanted = (sorted(&samples(&first, "jsonl").await), sorted(&events(&first, "jsonl").await));
    assert_eq!((wanted.0.len(), wanted.1.len()), counts);
    for format in ["csv", "jsonl", "arrow", "parquet"] {
        let (metrics, activity) = (format!("m.{format}"), format!("e.{format}"));
        std::fs::write(directory.path().join(&metrics), samples(&first, format).await).expect("a file");
        std::fs::write(directory.path().join(&activity), events(&first, format).await).expect("a file");
        let second = start(&directory.path().join(format)).await;
        let line = ["replay", &metrics, &activity, "--server", &second.url];
        let (code, out, stderr) = run(&line, &[QUIET[0], ("KELLY_TOKEN", &second.token())], directory.path());
        assert_eq!(code, Some(0), "{format}: {out}{stderr}");
        until_there(&second, counts).await;
        let found = (sorted(&samples(&second, "jsonl").await), sorted(&events(&second, "jsonl").await));
        assert_eq!(found, wanted, "{format}");
        assert_eq!(second.terminate(), Some(0));
    }
    assert_eq!(first.terminate(), Some(0));
}
