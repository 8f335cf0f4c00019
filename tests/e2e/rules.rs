//! Rules tried over what a running Kelly has recorded.

use std::time::Duration;

use serde_json::{Value, json};

use crate::kelly_process::{Kelly, Start, run};
use crate::tools::{QUIET, record};

const RULES: &str = "\
[[rule]]
id = 'busy'
metric = 'queue_length'
direction = 'above'
warning = 50

[[rule]]
id = 'high_system_load'
metric = 'system_load'
direction = 'above'
warning = 99
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backtest_shows_what_rules_would_have_done_beside_those_in_force() {
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().to_str().expect("a plain path");
    let kelly = Kelly::start(Start { arguments: &["up"], environment: &QUIET, data: directory.path() }).await;
    // Each row is a message of its own, so that they come one after the other.
    for value in [10, 90, 10, 95, 10, 70] {
        record(&kelly, json!({"metric_name": "queue_length", "value": value, "account_id": "acme"})).await;
        record(&kelly, json!({"metric_name": "system_load", "value": value})).await;
    }
    while kelly.sql("SELECT count() FROM system_metrics").await != "12" {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let file = directory.path().join("rules.toml");
    std::fs::write(&file, RULES).expect("a file of rules");
    let file = file.to_str().expect("a plain path");
    let ask = |more: &[&str]| {
        let words = [&["rules", "backtest", file, "--data", data, "--last", "1h"][..], more].concat();
        run(&words, &[], directory.path())
    };

    let (code, out, stderr) = ask(&["--json", "--suggest", "0/week"]);
    assert_eq!(code, Some(0), "{out}{stderr}");
    let answer: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(answer["history"]["samples"], 12, "{answer:#}");
    let [busy, load] = &answer["rules"].as_array().expect("rules")[..] else { panic!("{answer:#}") };
    assert_eq!((&busy["outcome"]["alerts"], &busy["outcome"]["still_firing"]), (&json!(3), &json!(1)));
    assert_eq!((&busy["beside"], &busy["alerts"][0]["account_id"]), (&Value::Null, &json!("acme")));
    assert_eq!((&load["outcome"]["alerts"], &load["beside"]["version"]), (&json!(0), &json!(1)));
    let suggestion = &busy["suggestion"];
    let is_strict = suggestion["threshold"].as_f64().is_some_and(|threshold| threshold > 94.0);
    assert_eq!(suggestion["budget"], "0/week");
    assert!(is_strict || suggestion["problem"].is_string(), "{suggestion:#}");

    let (code, out, stderr) = ask(&["--rule", "busy", "--alerts", "2"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(out.lines().any(|line| line.starts_with("busy  1        3 ")), "{out}");
    assert!(out.contains("  1 more") && !out.contains("high_system_load"), "{out}");

    std::fs::write(directory.path().join("wrong.toml"), "[[rule]]\nid = 'x'\nmetric = 'm'\naggregation = 'avg'\nwindow = '400d'\ndirection = 'above'\nwarning = 1\n")
        .expect("a file");
    let wrong = directory.path().join("wrong.toml");
    let wrong = wrong.to_str().expect("a plain path");
    let (code, out, stderr) = run(&["rules", "backtest", wrong, "--data", data], &[], directory.path());
    assert_eq!((code, out.as_str()), (Some(3), ""), "{stderr}");
    assert!(stderr.contains("rule `x`, `window`:"), "{stderr}");
    let (code, _, stderr) = ask(&["--rule", "nobody"]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("`only` names `nobody`"), "{stderr}");
    let (code, _, _) = run(&["rules", "backtest", "none.toml", "--data", data], &[], directory.path());
    assert_eq!(code, Some(2));
    assert_eq!(kelly.terminate(), Some(0));
}
