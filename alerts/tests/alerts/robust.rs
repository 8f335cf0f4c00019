//! Whatever a rule says and whatever rows come: what is checked runs, what is stored can be read, and an alert has one life.

use std::collections::BTreeMap;

use kelly_alerts::rule::{check, parse_toml};
use kelly_alerts::{Change, Engine, Place, Record, RuleSet};
use kelly_schemas::Metric;
use proptest::prelude::*;
use uuid::Uuid;

use crate::history::BEGIN_MS;

/// Values for fields, good ones and odd ones.
const FIELDS: [(&str, &[&str]); 22] = [
    ("kind", &["'threshold'", "'change'", "'no_data'", "'burn_rate'", "'anomaly'"]),
    ("metric", &["'m'", "'m'", "'m'", "'ai_confidence'", "'a b'"]),
    ("scope", &["'series'", "'conversation'", "'account'", "'global'"]),
    (
        "aggregation",
        &["'last'", "'avg'", "'min'", "'max'", "'sum'", "'rate'", "'count'", "'p50'", "'p95'", "'p99'"],
    ),
    ("window", &["'1s'", "'7s'", "'1m'", "'1h'", "'90d'", "'0s'"]),
    ("direction", &["'above'", "'at_least'", "'below'", "'at_most'"]),
    ("warning", &["0", "1", "-1", "1e130", "-1e130", "1e131", "50"]),
    ("critical", &["0", "2", "-2", "1e130", "-1e130", "nan", "100"]),
    ("hysteresis", &["0", "1", "1e130", "-1"]),
    ("for", &["'0s'", "'1s'", "'1m'", "'30d'", "'31d'"]),
    ("keep_firing_for", &["'0s'", "'3s'", "'30d'"]),
    ("mute_for", &["'0s'", "'10s'", "'30d'"]),
    (
        "no_data",
        &["{ policy = 'keep' }", "{ policy = 'alert', for = '5s' }", "{ policy = 'resolve', for = '2s' }"],
    ),
    ("late", &["'0s'", "'1s'", "'1d'"]),
    ("min_samples", &["1", "3", "4294967295", "0"]),
    (
        "schedule",
        &["{ from = '00:00', until = '24:00' }", "{ days = ['sun'], from = '23:00', until = '01:00' }"],
    ),
    ("max_entities", &["1", "2", "1000000"]),
    ("over", &["'1s'", "'7s'", "'1m'", "'1h'"]),
    ("change", &["'absolute'", "'percent'"]),
    (
        "slo",
        &[
            "{ objective = 0.9, bad_above = 1 }",
            "{ objective = 0.999999, total = 't' }",
            "{ objective = 2.0, total = 't' }",
        ],
    ),
    ("filter", &["{ 'metadata.a' = 1 }", "{ account_id = ['a0', 'a1'] }"]),
    ("exclude", &["{ 'metadata.a' = 'x' }"]),
];

fn rules() -> impl Strategy<Value = String> {
    let field = (any::<prop::sample::Index>(), any::<prop::sample::Index>());
    let rule = prop::collection::vec(field, 2..10).prop_map(|fields| {
        let chosen: BTreeMap<&str, &str> = fields
            .into_iter()
            .map(|(field, value)| {
                let (name, values) = FIELDS[field.index(FIELDS.len())];
                (name, *value.get(values))
            })
            // Most rules watch the metric that there is, and have a threshold.
            .collect();
        let chosen: BTreeMap<&str, &str> = [("metric", "'m'"), ("direction", "'above'"), ("warning", "50")]
            .into_iter()
            .chain(chosen)
            .collect();
        chosen.iter().map(|(name, value)| format!("{name} = {value}\n")).collect::<String>()
    });
    prop::collection::vec(rule, 1..6).prop_map(|rules| {
        let rules = rules.iter().zip(0..).map(|(rule, number)| format!("[[rule]]\nid = 'r{number}'\n{rule}"));
        rules.collect::<Vec<_>>().join("\n")
    })
}

#[derive(Debug, Clone)]
struct Step {
    pause_ms: i64,
    delay_ms: i64,
    value: f64,
    account: u8,
    conversation: u8,
    metadata: &'static str,
    restart: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let value = prop_oneof![Just(0.0), Just(1e130), Just(-1e130), Just(5e-324), 0.0..200.0];
    let pause = prop_oneof![4 => 0..2_000_i64, 1 => 0..100_000_i64, 1 => 0..3_000_000_000_i64];
    let metadata = prop_oneof![
        3 => Just(""),
        1 => Just(r#"{"a":1}"#),
        1 => Just(r#"{"threshold_warning":5,"threshold_critical":9}"#),
        1 => Just(r#"{"threshold_warning":[]}"#),
    ];
    let step = (pause, -100_000..100_000_i64, value, 0..3_u8, 0..3_u8, metadata, prop::bool::weighted(0.1));
    let step = step.prop_map(|(pause_ms, delay_ms, value, account, conversation, metadata, restart)| Step {
        pause_ms,
        delay_ms,
        value,
        account,
        conversation,
        metadata,
        restart,
    });
    prop::collection::vec(step, 1..80)
}

fn named(letter: char, number: u8) -> String {
    if number == 0 { String::new() } else { format!("{letter}{number}") }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_checked_runs(rules in rules(), steps in steps()) {
        let Ok(file) = parse_toml(&rules) else { return Ok(()) };
        let faults = check(&file.rules);
        for fault in &faults {
            prop_assert!(!fault.problem.is_empty() && !fault.fix.is_empty(), "{}", fault);
        }
        // Those that are right by themselves.
        let right: Vec<_> =
            file.rules.into_iter().filter(|rule| !faults.iter().any(|fault| fault.rule == rule.id)).collect();
        let set = RuleSet::new(&right).expect("what has no fault is taken");
        let mut engine = Engine::new(set.clone());
        let (mut said, mut stored) = (Vec::new(), BTreeMap::new());
        let mut log_time_ms = BEGIN_MS;
        for (step, offset) in steps.iter().zip(0..) {
            log_time_ms += step.pause_ms;
            let metric = Metric {
                metric_name: if offset % 7 == 0 { "t".into() } else { "m".into() },
                metric_type: "gauge".into(),
                value: step.value,
                timestamp_ms: log_time_ms - step.delay_ms,
                account_id: named('a', step.account).into(),
                conversation_id: named('c', step.conversation).into(),
                user_id: "".into(),
                metadata: step.metadata.into(),
            };
            let place = Some(Place { partition: 0, offset, row: 0 });
            engine.record(&Record { place, log_time_ms, metric: &metric }, &mut said);
            if step.restart {
                for (key, state) in engine.take_changed() {
                    match state {
                        Some(state) => drop(stored.insert(key, state)),
                        None => drop(stored.remove(&key)),
                    }
                }
                engine = Engine::new(set.clone());
                for (key, state) in &stored {
                    engine.restore(key.clone(), state, &mut said).expect("what was stored can be read");
                }
            }
        }
        engine.tick(log_time_ms + 100 * 86_400_000, &mut said);
        // Raised once, ended once at most, nothing before and nothing after.
        let mut fires: BTreeMap<Uuid, bool> = BTreeMap::new();
        for transition in &said {
            prop_assert!(!transition.explanation.is_empty());
            let known = fires.get(&transition.alert).copied();
            match transition.change {
                Change::Raised => prop_assert_eq!(known, None, "raised once"),
                _ => prop_assert_eq!(known, Some(true), "it fires"),
            }
            fires.insert(transition.alert, !matches!(transition.change, Change::Resolved(_)));
        }
    }
}
