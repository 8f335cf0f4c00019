//! Anomalies: a series with a day and noise, and what breaks it.

use crate::history::{History, rule};
use kelly_alerts::anomaly::Baseline;

/// Four weeks of a value every five minutes with a day of its own and some noise.
fn daily() -> Vec<(f64, f64)> {
    let mut seed = 7_u64;
    let mut noise = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 40) as f64 / f64::from(1_u32 << 24) - 0.5
    };
    (0..28 * 288)
        .map(|number| {
            let at_s = f64::from(number) * 300.0;
            let day = (at_s / 86_400.0 * std::f64::consts::TAU).sin() * 100.0;
            (at_s, 400.0 + day + (noise() + noise()) * 10.0)
        })
        .collect()
}

fn raised(rows: &[(f64, f64)], fields: &str) -> Vec<(f64, String)> {
    let mut history = History::of(rule(&format!("metric = 'm'\nkind = 'anomaly'\n{fields}")));
    history.rows(rows);
    let raised = history.said.iter().filter(|said| said.change == kelly_alerts::Change::Raised);
    raised
        .map(|said| ((said.at_ms - crate::history::BEGIN_MS) as f64 / 1_000.0, said.explanation.clone()))
        .collect()
}

#[test]
fn an_ordinary_month_is_quiet_and_a_spike_is_told() {
    let mut rows = daily();
    let quiet = raised(&rows, "");
    assert!(quiet.len() <= 2, "{} alerts in four ordinary weeks: {quiet:?}", quiet.len());
    let spike = rows.len() - 500;
    rows[spike].1 = 1_500.0;
    let found: Vec<_> = raised(&rows, "").into_iter().filter(|(at_s, _)| *at_s == rows[spike].0).collect();
    assert_eq!(found.len(), 1, "the spike is told");
    assert!(found[0].1.contains("x the usual ") && found[0].1.contains("UTC ("), "{}", found[0].1);
}

#[test]
fn a_side_that_does_not_matter_is_not_told() {
    let mut rows = daily();
    let drop = rows.len() - 500;
    rows[drop].1 = -800.0;
    assert!(raised(&rows, "direction = 'below'").iter().any(|(at_s, _)| *at_s == rows[drop].0));
    assert!(raised(&rows, "direction = 'above'").iter().all(|(at_s, _)| *at_s != rows[drop].0));
}

#[test]
fn a_baseline_is_small_and_goes_on_where_it_was_stored() {
    let rows = daily();
    let mut whole = Baseline::default();
    let mut stored = Baseline::default();
    for (number, (at_s, value)) in rows.iter().enumerate() {
        let at_ms = (*at_s * 1_000.0) as i64;
        assert_eq!(whole.observe(at_ms, *value), stored.observe(at_ms, *value));
        if number % 997 == 0 {
            let bytes = postcard_of(&stored);
            assert!(bytes.len() <= 5_000, "{} bytes", bytes.len());
            stored = from_postcard(&bytes);
        }
    }
    assert_eq!(whole, stored);
}

#[test]
fn nothing_is_scored_with_what_comes_later() {
    let rows = daily();
    let (mut one, mut other) = (Baseline::default(), Baseline::default());
    for (number, (at_s, value)) in rows.iter().enumerate().take(3_000) {
        let at_ms = (*at_s * 1_000.0) as i64;
        let score = one.observe(at_ms, *value);
        // The other one's future is different.
        let changed = if number < 2_000 { *value } else { *value * 3.0 };
        let other_score = other.observe(at_ms, changed);
        if number < 2_000 {
            assert_eq!(score, other_score);
        }
    }
    assert_ne!(one, other);
}

fn postcard_of(baseline: &Baseline) -> Vec<u8> {
    postcard::to_extend(baseline, Vec::new()).expect("it can be written")
}

fn from_postcard(bytes: &[u8]) -> Baseline {
    postcard::from_bytes(bytes).expect("it can be read")
}
