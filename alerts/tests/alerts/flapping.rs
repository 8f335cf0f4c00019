//! A noisy series near its threshold, with hysteresis and without.

use kelly_alerts::Change;

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

/// Alerts in a day, and the most in any hour of it.
fn raises(fields: &str) -> (usize, usize) {
    let mut history =
        History::of(rule(&format!("metric = 'm'\ndirection = 'above'\nwarning = 100\n{fields}")));
    history.rows(&noisy());
    let raised: Vec<i64> =
        history.said.iter().filter(|said| said.change == Change::Raised).map(|said| said.at_ms).collect();
    let within_an_hour =
        |first: &i64| raised.iter().filter(|at_ms| (0..3_600_000).contains(&(*at_ms - first))).count();
    (raised.len(), raised.iter().map(within_an_hour).max().unwrap_or_default())
}

#[test]
fn a_noisy_series_flaps_at_most_once_an_hour_with_hysteresis() {
    let (without, with) = (raises(""), raises("hysteresis = 5"));
    // In one line, so that whoever runs it with --nocapture sees both.
    eprintln!(
        "noise about the threshold: {} alerts a day without hysteresis, {} in the worst hour; with it {} and {}",
        without.0, without.1, with.0, with.1
    );
    assert!(with.0 >= 1 && with.1 <= 1, "with hysteresis {} alerts in an hour", with.1);
    assert!(
        without.1 > 20,
        "without hysteresis only {} alerts in the worst hour: the series is not noisy",
        without.1
    );
}
