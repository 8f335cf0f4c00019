//! Rules that change while they are judged by.

use kelly_control::alert::{DataReason, Status};
use kelly_control::op::{Document, PutRule};
use kelly_control::{Actor, Command, Op};
use serde_json::json;

use crate::support::{PATIENCE, Stage};

const RULE: &str = r#"
    [[rule]]
    id = "much"
    metric = "m"
    direction = "above"
    warning = 5.0
"#;

fn row(value: f64) -> serde_json::Value {
    json!({ "metric_name": "m", "value": value, "account_id": "acme" })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_file_is_an_alert_and_its_rules_of_before_hold() {
    let stage = Stage::new().await;
    let rules = stage.follow(RULE).await;
    let path = stage.directory.path().join("rules.toml");
    let evaluator = stage.evaluator(&rules).await;
    std::fs::write(&path, "[[rule]]\nid =").unwrap();
    // Time has to be known before anything can be said: nothing else comes.
    stage.pass(10_000);
    let alerts = stage.until("a configuration alert", |alerts| alerts.len() == 1).await;
    assert_eq!(alerts[0].cause.as_deref(), Some("configuration"));
    assert!(alerts[0].explanation.contains("rules.toml"), "{:?}", alerts[0]);
    stage.record(&[row(7.0)]).await;
    stage.until("the rule of before", |alerts| alerts.iter().any(|alert| alert.rule == "much")).await;
    // It is told once, over a restart too, and ends when the file is mended.
    evaluator.shutdown().await.unwrap();
    let evaluator = stage.evaluator(&rules).await;
    std::fs::write(&path, RULE).unwrap();
    let mut watched = rules.rules();
    watched.wait_for(|rules| rules.problems.is_empty()).await.unwrap();
    let is_over = |alerts: &[kelly_control::Alert]| {
        alerts
            .iter()
            .any(|alert| alert.cause.as_deref() == Some("configuration") && alert.status == Status::Resolved)
    };
    // It ends when it has been right for a while.
    let begun = std::time::Instant::now();
    while !is_over(&stage.alerts()) {
        assert!(begun.elapsed() < PATIENCE, "{:#?}", stage.alerts());
        stage.pass(60_000);
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    let alerts = stage.alerts();
    assert_eq!(alerts.len(), 2, "{alerts:#?}");
    evaluator.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_of_the_api_counts_at_once_and_its_alerts_end_with_it() {
    let stage = Stage::new().await;
    let rules = stage.follow("").await;
    let evaluator = stage.evaluator(&rules).await;
    let document = Document(r#"{"id":"much","metric":"m","direction":"above","warning":5.0}"#.into());
    let put = Op::PutRule(PutRule { rule: "much".into(), expected: None, document });
    stage.replica.submit(&Command::new(Actor::person("ada"), put)).await.unwrap();
    let mut watched = rules.rules();
    watched.wait_for(|rules| rules.rules.iter().any(|one| one.rule.id == "much")).await.unwrap();
    stage.record(&[row(7.0)]).await;
    // Until the reading thread has taken the rule, rows are judged without it.
    loop {
        stage.pass(1_000);
        stage.record(&[row(7.0)]).await;
        if !stage.alerts().is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let delete = Op::DeleteRule(kelly_control::op::DeleteRule { rule: "much".into(), expected: None });
    stage.replica.submit(&Command::new(Actor::person("ada"), delete)).await.unwrap();
    let alerts = stage.until("its end", |alerts| alerts[0].status == Status::Resolved).await;
    assert_eq!(alerts[0].resolution.as_ref().unwrap().reason, Some(DataReason::RuleRemoved));
    evaluator.shutdown().await.unwrap();
}
