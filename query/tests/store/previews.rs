//! Previews over a store that has samples of the last days and rollups of the days before.

use chrono::TimeDelta;
use kelly_query::backtest::{MAX_HISTORY_ROWS, RulePreview};
use kelly_query::detailed::Tier;
use kelly_query::{Accounts, Beside, Preview, PreviewRequest, RangeRequest, Timeframe};
use serde_json::{Value, json};

use crate::fixture::{Fixture, now};
use crate::samples::Sample;

/// A sample so many minutes before now.
fn sample(metric: &'static str, account: &'static str, minutes: i64, value: f64) -> Sample {
    Sample { metric, account, conversation: "", at: now() - TimeDelta::minutes(minutes), value }
}

/// A load that is 50 but twice for five minutes, at 93 so long ago that only rollups have it, and at 97.
async fn recorded() -> Fixture {
    let fixture = Fixture::create().await;
    let mut samples = Vec::new();
    for (begin, peak) in [(5 * 1_440, 93.0), (600, 97.0)] {
        for minute in 0..60 {
            let value = if (20..25).contains(&minute) { peak } else { 50.0 };
            samples.push(sample("system_load", "", begin - minute, value));
            samples.push(sample("queue", "a", begin - minute, value));
            samples.push(sample("queue", "b", begin - minute, 50.0));
        }
    }
    let of_a_conversation = |minute| Sample { conversation: "c", ..sample("latency", "a", minute, 99.0) };
    samples.extend((0..10).map(|minute| of_a_conversation(5 * 1_440 + minute)));
    samples.extend((0..10).map(|minute| of_a_conversation(300 + minute)));
    fixture.record(&samples).await;
    fixture
}

fn request(rules: Value) -> PreviewRequest {
    PreviewRequest {
        accounts: Accounts::All,
        rules: rules.as_array().unwrap().clone(),
        only: Vec::new(),
        range: RangeRequest::Last(Timeframe::SevenDays),
        beside: Beside::Nothing,
        budget: None,
    }
}

async fn preview(fixture: &Fixture, request: PreviewRequest) -> Preview {
    fixture.service.preview_rules(request).await.unwrap_or_else(|error| panic!("{error}: {error:?}"))
}

fn tiers(rule: &RulePreview) -> Vec<Tier> {
    rule.judged.iter().map(|part| part.tier).collect()
}

#[tokio::test]
async fn samples_answer_while_they_are_kept_and_rollups_before() {
    let fixture = recorded().await;
    let load = json!({"id": "high_system_load", "metric": "system_load", "aggregation": "avg", "window": "3m",
        "direction": "above", "warning": 90});
    let found = preview(&fixture, PreviewRequest { beside: Beside::InForce, ..request(json!([load])) }).await;
    assert_eq!((found.history.samples, found.history.rollups), (60, 60));
    let rule = &found.rules[0];
    assert_eq!(tiers(rule), [Tier::Minute, Tier::Raw]);
    assert_eq!(
        (rule.outcome.alerts, rule.outcome.resolved, rule.not_judged.as_deref()),
        (2, 2, None),
        "{rule:?}"
    );
    let lengths: Vec<f64> = rule.alerts.iter().map(|alert| alert.seconds).collect();
    assert!(lengths.iter().all(|seconds| (120.0..480.0).contains(seconds)), "{lengths:?}");
    // The built-in one: from 80 on, 85 critical, over a minute.
    let beside = rule.beside.as_ref().unwrap();
    assert_eq!((beside.outcome.alerts, beside.not_judged.as_deref()), (2, None));
    assert!(beside.outcome.firing_seconds > rule.outcome.firing_seconds, "{rule:?}");
}

#[tokio::test]
async fn what_rollups_do_not_tell_is_not_judged_and_said() {
    let fixture = recorded().await;
    let rules = json!([
        {"id": "slow", "metric": "latency", "direction": "above", "warning": 90},
        {"id": "busy", "metric": "queue", "scope": "account", "aggregation": "max", "window": "1h", "direction": "above", "warning": 90},
        {"id": "rows", "metric": "queue", "scope": "account", "aggregation": "count", "window": "2h", "direction": "above", "warning": 1000},
        {"id": "both", "scope": "account", "kind": "composite", "when": "busy and rows"},
    ]);
    let found = preview(&fixture, request(rules)).await;
    let [slow, busy, rows, both] = &found.rules[..] else { panic!("{found:?}") };
    assert_eq!((slow.outcome.alerts, tiers(slow)), (1, vec![Tier::Raw]));
    assert!(slow.not_judged.as_ref().unwrap().contains("`latency` is of single conversations"), "{slow:?}");
    assert_eq!((busy.outcome.alerts, tiers(busy)), (2, vec![Tier::AccountHour, Tier::Raw]));
    assert_eq!(
        busy.alerts.iter().map(|alert| alert.account_id.as_deref()).collect::<Vec<_>>(),
        [Some("a"); 2]
    );
    assert!(rows.not_judged.as_ref().unwrap().contains("counts rows"), "{rows:?}");
    assert!(both.not_judged.as_ref().unwrap().contains("`rows`, which it needs, counts rows"), "{both:?}");
}

#[tokio::test]
async fn who_sees_some_accounts_has_their_rows_judged() {
    let fixture = recorded().await;
    let busy = json!([{"id": "busy", "metric": "queue", "scope": "global", "aggregation": "max", "window": "1h", "direction": "above", "warning": 90}]);
    for (accounts, alerts) in
        [(Accounts::All, 2), (Accounts::only(["a"]).unwrap(), 2), (Accounts::only(["b"]).unwrap(), 0)]
    {
        let is_limited = accounts != Accounts::All;
        let found = preview(&fixture, PreviewRequest { accounts, ..request(busy.clone()) }).await;
        assert_eq!(found.rules[0].outcome.alerts, alerts, "{found:?}");
        assert_eq!(found.notes.iter().any(|note| note.contains("that you may see")), is_limited);
    }
    let nothing = Accounts::only::<_, &str>([]).unwrap();
    let found = preview(&fixture, PreviewRequest { accounts: nothing, ..request(busy) }).await;
    assert_eq!((found.history.samples, found.history.rollups, found.rules[0].outcome.alerts), (0, 0, 0));
}

#[tokio::test]
async fn a_budget_gets_a_threshold_and_a_long_history_is_refused() {
    let fixture = recorded().await;
    let load = json!([{"id": "load", "metric": "system_load", "direction": "above", "warning": 40}]);
    let found =
        preview(&fixture, PreviewRequest { budget: Some("1/week".into()), ..request(load.clone()) }).await;
    let suggestion = found.rules[0].suggestion.as_ref().unwrap();
    assert_eq!(
        (suggestion.budget.as_str(), suggestion.problem.as_deref()),
        ("1/week", None),
        "{suggestion:?}"
    );
    assert!(
        suggestion.threshold.unwrap() > 93.0 && suggestion.alerts == Some(1) && suggestion.allowed == Some(1),
        "{suggestion:?}"
    );

    let many = format!(
        "INSERT INTO system_metrics (metric_name, value, timestamp) \
         SELECT 'system_load', 1, fromUnixTimestamp64Milli(toInt64({} - number % 1000)) FROM numbers({})",
        now().timestamp_millis() - 1_000,
        MAX_HISTORY_ROWS + 1
    );
    fixture.database.query(&many).await;
    let refused = fixture.service.preview_rules(request(load)).await.unwrap_err();
    assert_eq!(refused.code(), "query_too_large");
    assert!(refused.limit().unwrap().asked > MAX_HISTORY_ROWS, "{refused}");
}
