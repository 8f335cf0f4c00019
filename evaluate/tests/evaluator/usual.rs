//! The usual way: a breach becomes one alert, and ends.

use kelly_alerts::builtin::EXCESSIVE_VOLUME;
use kelly_control::alert::{DataReason, Severity, Status};
use serde_json::json;

use crate::support::{BEGIN_MS, Stage};

fn row(metric: &str, value: f64, conversation: &str) -> serde_json::Value {
    json!({ "metric_name": metric, "value": value, "account_id": "acme", "conversation_id": conversation })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_breach_is_one_alert_that_worsens_and_ends() {
    let stage = Stage::new().await;
    let rules = stage.follow("").await;
    let evaluator = stage.evaluator(&rules).await;
    stage.record(&[row("safety_score", 0.75, "c-1"), row("safety_score", 0.95, "c-2")]).await;
    let alerts = stage.until("a warning", |alerts| alerts.len() == 1).await;
    let alert = &alerts[0];
    assert_eq!((alert.rule.as_str(), alert.severity), ("safety_score_drop", Severity::Warning));
    assert_eq!(alert.conversation_id.as_deref(), Some("c-1"));
    assert_eq!(alert.account_id.as_deref(), Some("acme"));
    assert_eq!((alert.value, alert.threshold, alert.raised_ms), (Some(0.75), Some(0.8), BEGIN_MS));
    stage.pass(1_000);
    stage.record(&[row("safety_score", 0.5, "c-1")]).await;
    stage.until("critical", |alerts| alerts[0].severity == Severity::Critical).await;
    stage.pass(1_000);
    stage.record(&[row("safety_score", 0.99, "c-1")]).await;
    // It is good for a minute, and rows may come a minute late: nothing but time says so.
    stage.pass(300_000);
    let alerts = stage.until("its end", |alerts| alerts[0].status == Status::Resolved).await;
    assert_eq!(alerts.len(), 1);
    let resolution = alerts[0].resolution.as_ref().unwrap();
    assert_eq!(resolution.reason, Some(DataReason::Recovered));
    let counts = evaluator.shutdown().await.unwrap();
    assert_eq!((counts.transitions, counts.dropped, counts.rows), (3, 0, 4 + 1));
}

/// Rules about an account and about everything get the rows of every partition; and alerts themselves are counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_over_several_partitions_see_all_their_rows() {
    const RULES: &str = r#"
        [[rule]]
        id = "account_errors"
        metric = "faults"
        scope = "account"
        aggregation = "count"
        window = "5m"
        direction = "at_least"
        warning = 20.0

        [[rule]]
        id = "all_errors"
        metric = "faults"
        scope = "global"
        aggregation = "count"
        window = "5m"
        direction = "at_least"
        warning = 40.0
    "#;
    let stage = Stage::new().await;
    let rules = stage.follow(RULES).await;
    let evaluator = stage.evaluator(&rules).await;
    let rows: Vec<_> = (0..60)
        .map(|number| {
            json!({
                "metric_name": "faults", "value": 1.0, "account_id": format!("a-{}", number % 3),
                "conversation_id": format!("c-{number}"),
            })
        })
        .collect();
    // Not one of them alone, nor any partition.
    stage.record(&rows).await;
    let alerts = stage.until("four alerts", |alerts| alerts.len() == 4).await;
    let mut about: Vec<_> =
        alerts.iter().map(|alert| (alert.rule.as_str(), alert.account_id.as_deref())).collect();
    about.sort_unstable();
    assert_eq!(
        about,
        [
            ("account_errors", Some("a-0")),
            ("account_errors", Some("a-1")),
            ("account_errors", Some("a-2")),
            ("all_errors", None)
        ]
    );
    // So many that nobody can look at them.
    let rows: Vec<_> = (0..46).map(|number| row("safety_score", 0.1, &format!("s-{number}"))).collect();
    stage.record(&rows).await;
    let is_there =
        |alerts: &[kelly_control::Alert]| alerts.iter().any(|alert| alert.rule == EXCESSIVE_VOLUME);
    let alerts = stage.until("too many", is_there).await;
    assert_eq!(alerts.len(), 4 + 46 + 1);
    evaluator.shutdown().await.unwrap();
}

/// What is no row is ingest's to keep, and keeps no other row from being judged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_messages_are_skipped_and_counted() {
    let stage = Stage::new().await;
    let rules = stage.follow("").await;
    let evaluator = stage.evaluator(&rules).await;
    stage
        .record(&[
            json!({ "metric_name": "safety_score", "value": "low", "conversation_id": "c-1" }),
            json!({ "metric_name": "safety_score", "conversation_id": "c-1" }),
            row("safety_score", 0.1, "c-1"),
        ])
        .await;
    stage.until("an alert", |alerts| alerts.len() == 1).await;
    let counts = evaluator.shutdown().await.unwrap();
    assert_eq!(counts.skipped, 2);
}
