//! A noisy series near its threshold, with hysteresis and without.

use crate::history::{History, rule};

/// A day of a value every fifteen seconds, half the time above the threshold of 100: a slow wave of an amplitude of 2, and noise
/// of 3.
fn noisy() -> Vec<(f64, f64)> {
    let mut seed = 42_u64;
    let mut noise = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 40) as f64 / f64::from(1_u32 << 24) - 0.5
    };
    (0..24 * 240)
        .map(|number| {
            let at_s = f64::from(number) * 15.0;
            let wave = (at_s / 3_600.0 * std::f64::consts::TAU / 6.0).sin() * 2.0;
            (at_s, 100.0 + wave + (noise() + noise() + noise()) * 2.0)
        })
        .collect()
}

fn raises(fields: &str) -> usize {
    let mut history =
        History::of(rule(&format!("metric = 'm'\ndirection = 'above'\nwarning = 100\n{fields}")));
    history.rows(&noisy());
    history.take().iter().filter(|said| said.contains("raised")).count()
}

#[test]
fn a_noisy_series_flaps_at_most_once_an_hour_with_hysteresis() {
    let (without, with) = (raises(""), raises("hysteresis = 4"));
    // In one line, so that whoever runs it with --nocapture sees both.
    eprintln!("alerts in a day of noise about the threshold: {without} without hysteresis, {with} with it");
    assert!(with <= 24, "with hysteresis {with} alerts a day");
    assert!(without > 480, "without hysteresis only {without} alerts a day: the series is not noisy");
}
