//! Alerts of the past: what was looked at for one, and what a silence would have hidden.

use chrono::{DateTime, TimeDelta, Utc};
use kelly_query::backtest::{EvaluatedDecision, RuleIs};
use kelly_query::{Accounts, RangeRequest, SilenceMatcher, SilencePreview, SilencePreviewRequest, Timeframe};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::fixture::{Fixture, now};
use crate::samples::{Sample, milliseconds};

const ALERT: Uuid = Uuid::from_u128(0x0198_f3c2_a4b7_8e21_b0c3_d9a1_f2e4_c6d8);

fn before(minutes: i64) -> DateTime<Utc> {
    now() - TimeDelta::minutes(minutes)
}

/// A row of `alert_instances`.
fn alert(id: Uuid, offset: u64, more: Value) -> Value {
    let mut row = json!({
        "log_life": "1", "log_offset": offset, "log_time": milliseconds(before(100)), "alert_id": id, "steps": "raised",
        "status": "active", "severity": "warning", "rule": "high_system_load", "rule_version": 1,
        "metric_name": "system_load", "raised_at": milliseconds(before(100)), "labels": "{}",
    });
    row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    row
}

/// A load that is 50 but for ten minutes at 95, from 100 minutes ago on, and the alert about it.
async fn recorded(more: Value) -> Fixture {
    let fixture = Fixture::create().await;
    let samples: Vec<Sample> = (0..180)
        .map(|minute| Sample {
            metric: "system_load",
            account: "",
            conversation: "",
            at: before(180 - minute),
            value: if (80..90).contains(&minute) { 95.0 } else { 50.0 },
        })
        .collect();
    fixture.record(&samples).await;
    let end = json!({"steps": "data_resolved", "status": "resolved", "resolved_at": milliseconds(before(89)), "log_time": milliseconds(before(89))});
    let mut resolved = alert(ALERT, 2, more.clone());
    resolved.as_object_mut().unwrap().extend(end.as_object().unwrap().clone());
    fixture.insert("alert_instances", [alert(ALERT, 1, more), resolved]).await;
    fixture
}

#[tokio::test]
async fn an_alert_is_judged_again_for_a_chart() {
    let fixture = recorded(json!({})).await;
    let found = fixture.service.alert_evaluations(&Accounts::All, ALERT).await.unwrap();
    assert_eq!((found.rule_is, found.judged_by_version, found.is_thinned), (RuleIs::InForceNow, 1, false));
    assert!(found.window.from < before(100) && found.window.to > before(89), "{found:?}");
    let decisions = |is_within: &dyn Fn(DateTime<Utc>) -> bool| -> Vec<EvaluatedDecision> {
        let mut decisions: Vec<_> =
            found.points.iter().filter(|point| is_within(point.at)).map(|point| point.decision).collect();
        decisions.dedup();
        decisions
    };
    let (raised, over) = (before(100), before(90));
    assert_eq!(decisions(&|at| at < raised), [EvaluatedDecision::Good], "{found:?}");
    assert_eq!(decisions(&|at| at >= raised && at < over), [EvaluatedDecision::Firing]);
    assert_eq!(decisions(&|at| at >= over).last(), Some(&EvaluatedDecision::Good), "{found:?}");
    let peak = found.points.iter().find(|point| point.decision == EvaluatedDecision::Firing).unwrap();
    assert_eq!((peak.value, peak.threshold), (Some(95.0), Some(85.0)));
    assert!(found.points.iter().all(|point| (found.window.from..found.window.to).contains(&point.at)));
}

#[tokio::test]
async fn the_rule_is_taken_as_it_was_where_the_control_log_has_it() {
    let fixture = recorded(json!({"rule": "load", "rule_version": 3})).await;
    let put = |offset: u64, minutes: i64, version: u32, warning: f64| {
        let document = json!({"id": "load", "version": version, "metric": "system_load", "direction": "above", "warning": warning});
        let payload =
            json!({"v": 1, "op": "rule.put", "args": {"rule": "load", "document": document}}).to_string();
        json!({"log_life": "1", "log_offset": offset, "log_time": milliseconds(before(minutes)), "op": "rule.put",
            "verdict": "applied", "payload": payload})
    };
    fixture.insert("control_log", [put(7, 300, 3, 90.0), put(9, 50, 4, 10.0)]).await;
    let found = fixture.service.alert_evaluations(&Accounts::All, ALERT).await.unwrap();
    assert_eq!((found.rule_is, found.judged_by_version), (RuleIs::AsItWas, 3));
    assert!(
        found.points.iter().any(|point| point.threshold == Some(90.0) && point.value == Some(95.0)),
        "{found:?}"
    );

    let gone = recorded(json!({"rule": "nobody_knows"})).await;
    let found = gone.service.alert_evaluations(&Accounts::All, ALERT).await.unwrap();
    assert_eq!((found.rule_is, found.points.len(), found.notes.len()), (RuleIs::Gone, 0, 1));
}

#[tokio::test]
async fn an_alert_of_another_account_is_none() {
    let fixture = recorded(json!({"account_id": "a"})).await;
    let ask = async |accounts: &[&str], alert| {
        let accounts = Accounts::only(accounts.iter().copied()).unwrap();
        fixture.service.alert_evaluations(&accounts, alert).await.map_err(|error| error.code())
    };
    assert!(ask(&["a", "b"], ALERT).await.is_ok());
    assert_eq!(ask(&["b"], ALERT).await.unwrap_err(), "not_found");
    assert_eq!(ask(&["a"], Uuid::from_u128(1)).await.unwrap_err(), "not_found");
}

#[tokio::test]
async fn a_silence_is_tried_over_the_alerts_there_were() {
    let fixture = Fixture::create().await;
    let id = Uuid::from_u128;
    let rows = [
        alert(id(1), 1, json!({"account_id": "a", "labels": r#"{"team":"blue"}"#})),
        alert(
            id(1),
            2,
            json!({"account_id": "a", "labels": r#"{"team":"blue"}"#, "steps": "worsened", "severity": "critical"}),
        ),
        // A projector wrote it twice, which merges undo later.
        alert(
            id(1),
            2,
            json!({"account_id": "a", "labels": r#"{"team":"blue"}"#, "steps": "worsened", "severity": "critical"}),
        ),
        alert(
            id(1),
            3,
            json!({"account_id": "a", "labels": r#"{"team":"blue"}"#, "steps": "noted", "severity": "critical"}),
        ),
        alert(
            id(2),
            4,
            json!({"account_id": "b", "rule": "slow", "metric_name": "response_time", "conversation_id": "c"}),
        ),
        alert(
            id(3),
            5,
            json!({"raised_at": milliseconds(before(2 * 1_440)), "log_time": milliseconds(before(2 * 1_440))}),
        ),
    ];
    fixture.insert("alert_instances", rows).await;
    let preview = async |accounts: Accounts, matched: SilenceMatcher| {
        let range = RangeRequest::Last(Timeframe::OneDay);
        fixture.service.preview_silence(SilencePreviewRequest { accounts, range, matched }).await
    };
    let of = |found: &SilencePreview| -> Vec<u128> {
        found.newest.iter().map(|alert| alert.alert_id.as_u128()).collect()
    };
    let text = |text: &str| Some(text.to_owned());
    let nothing = SilenceMatcher::default;
    for (matched, expected) in [
        (SilenceMatcher { rule: text("high_system_load"), ..nothing() }, vec![1]),
        (SilenceMatcher { metric: text("response_time"), ..nothing() }, vec![2]),
        (SilenceMatcher { account_id: text("b"), ..nothing() }, vec![2]),
        (SilenceMatcher { conversation_id: text("c"), ..nothing() }, vec![2]),
        (SilenceMatcher { severity: text("critical"), ..nothing() }, vec![1]),
        (SilenceMatcher { labels: [("team".to_owned(), "blue".to_owned())].into(), ..nothing() }, vec![1]),
        (SilenceMatcher { labels: [("team".to_owned(), "red".to_owned())].into(), ..nothing() }, vec![]),
        (SilenceMatcher { rule: text("slow"), account_id: text("a"), ..nothing() }, vec![]),
    ] {
        let found = preview(Accounts::All, matched.clone()).await.unwrap();
        assert_eq!(of(&found), expected, "{matched:?}");
    }
    let critical = SilenceMatcher { severity: text("critical"), ..nothing() };
    let found = preview(Accounts::All, critical.clone()).await.unwrap();
    assert_eq!(
        (found.alerts, found.critical, found.open, found.notifications, found.more),
        (1, 1, 1, 2, false)
    );
    assert_eq!(found.by_account[0].name, "a");
    let others = preview(Accounts::only(["b"]).unwrap(), critical).await.unwrap();
    assert_eq!(others.alerts, 0);
    let of_another = SilenceMatcher { account_id: text("a"), ..nothing() };
    assert_eq!(
        preview(Accounts::only(["b"]).unwrap(), of_another).await.unwrap_err().code(),
        "account_not_permitted"
    );
    assert_eq!(preview(Accounts::All, nothing()).await.unwrap_err().code(), "bad_parameter");
}
