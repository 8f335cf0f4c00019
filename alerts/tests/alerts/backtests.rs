//! Rules over history: the same as live, and thresholds for a budget.

use kelly_alerts::backtest::{Budget, HistoryRow, SuggestFault, run, suggest};
use kelly_alerts::rule::{Span, parse_toml};
use kelly_alerts::{Engine, Record, Rule, RuleSet, Transition};
use kelly_schemas::Metric;

use crate::history::{BEGIN_MS, rules};

/// Rows of many accounts, two seconds apart; each goes its own way.
fn rows(count: u32) -> Vec<HistoryRow<'static>> {
    let mut seed = 3_u64;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed >> 33
    };
    (0..count)
        .map(|number| {
            let log_time_ms = BEGIN_MS + i64::from(number) * 50;
            HistoryRow {
                place: None,
                log_time_ms,
                metric: Metric {
                    metric_name: "m".into(),
                    metric_type: "gauge".into(),
                    value: (next() % 1_000) as f64 / 10.0,
                    timestamp_ms: log_time_ms - (next() % 3_000) as i64,
                    account_id: format!("a{}", next() % 40).into(),
                    conversation_id: "".into(),
                    user_id: "".into(),
                    metadata: "".into(),
                },
            }
        })
        .collect()
}

const RULES: &str = "[[rule]]\nid = 'a'\nmetric = 'm'\nscope = 'account'\ndirection = 'above'\nwarning = 60\ncritical = 90\n\
    [[rule]]\nid = 'b'\nmetric = 'm'\nscope = 'account'\naggregation = 'avg'\nwindow = '20s'\ndirection = 'above'\nwarning = 55\nhysteresis = 3\nfor = '2s'\n\
    [[rule]]\nid = 'c'\nmetric = 'm'\nscope = 'global'\naggregation = 'p95'\nwindow = '10s'\ndirection = 'above'\nwarning = 95\n";

#[test]
fn a_backtest_says_what_was_said_live_over_ten_thousand_alerts() {
    let rows = rows(60_000);
    let until_ms = BEGIN_MS + 4_000_000;
    let report = run(rules(RULES), rows.clone(), until_ms);
    // Live: ticked all the time, stored and begun anew now and then.
    let mut engine = Engine::new(rules(RULES));
    let mut live: Vec<Transition> = Vec::new();
    let mut stored = std::collections::BTreeMap::new();
    for (number, row) in rows.iter().enumerate() {
        engine.tick(row.log_time_ms - 10, &mut live);
        engine.record(
            &Record { place: row.place, log_time_ms: row.log_time_ms, metric: &row.metric },
            &mut live,
        );
        if number % 9_973 == 0 {
            for (key, state) in engine.take_changed() {
                stored.insert(key, state);
            }
            engine = Engine::new(rules(RULES));
            for (key, state) in &stored {
                if let Some(state) = state {
                    engine.restore(key.clone(), state, &mut live).expect("it can be read");
                }
            }
        }
    }
    engine.tick(until_ms, &mut live);
    let raised: u64 = report.outcomes.values().map(|outcome| outcome.raised).sum();
    assert!(raised >= 10_000, "{raised} alerts");
    assert_eq!(report.not_kept, 0);
    let sorted = |mut said: Vec<Transition>| {
        said.sort_by(|one, other| (&one.rule, &one.entity).cmp(&(&other.rule, &other.entity)));
        said
    };
    assert!(sorted(report.transitions) == sorted(live), "the backtest and the live run differ");
}

#[test]
fn the_report_says_how_often_and_for_how_long() {
    let row = |at_s: i64, value: f64| {
        let mut row = rows(1).remove(0);
        row.log_time_ms = BEGIN_MS + at_s * 1_000;
        row.metric.timestamp_ms = row.log_time_ms;
        row.metric.value = value;
        row
    };
    let history = [row(0, 5.0), row(10, 70.0), row(40, 95.0), row(70, 5.0), row(100, 70.0)];
    let report = run(
        rules(
            "[[rule]]\nid = 'a'\nmetric = 'm'\nscope = 'account'\ndirection = 'above'\nwarning = 60\ncritical = 90",
        ),
        history,
        BEGIN_MS + 130_000,
    );
    let outcome = report.outcomes["a"];
    assert_eq!((outcome.raised, outcome.worsened, outcome.resolved), (2, 1, 1));
    assert_eq!((outcome.firing_ms, outcome.longest_ms), (90_000, 60_000));
    assert_eq!(outcome.notifications(), 4);
    assert_eq!(report.statistics.rows, 5);
}

#[test]
fn a_threshold_for_a_budget_of_alerts() {
    let rule: Rule =
        parse_toml("[[rule]]\nid = 'r'\nmetric = 'm'\nscope = 'account'\ndirection = 'above'\nwarning = 10")
            .unwrap()
            .rules
            .remove(0);
    let history = rows(6_000);
    let until_ms = BEGIN_MS + 300_000;
    let budget = |alerts| Budget { alerts, per: Span::minutes(5) };
    let suggestion = suggest(&rule, || history.clone(), BEGIN_MS..until_ms, budget(40)).expect("a threshold");
    assert!(suggestion.alerts <= 40 && suggestion.allowed == 40, "{suggestion:?}");
    // It is not stricter than it must be: somewhat milder, and the budget is broken.
    let milder = Rule { warning: Some(suggestion.threshold * 0.97), ..rule.clone() };
    let report = run(RuleSet::new(&[milder]).unwrap(), history.clone(), until_ms);
    assert!(report.outcomes["r"].raised > 40, "{:?}", report.outcomes);
    assert!(matches!(suggest(&rule, Vec::new, BEGIN_MS..until_ms, budget(40)), Err(SuggestFault::NoValues)));
    let composite = Rule { kind: kelly_alerts::rule::Kind::NoData, ..rule };
    assert_eq!(suggest(&composite, Vec::new, BEGIN_MS..until_ms, budget(1)), Err(SuggestFault::NoThreshold));
}
