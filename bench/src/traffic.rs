//! Metrics as a busy producer sends them: skewed accounts, several metrics, as JSON or as Arrow. Pure: the
//! same number gives the same row.

use std::fmt::Write;
use std::ops::Range;

use anyhow::{Context, Result};
use kelly_schemas::encode::{ArrowEncoder, NewMetric};

/// Metrics, their typical size and spread.
const METRICS: [(&str, f64); 6] = [
    ("response_time", 180.0),
    ("ai_confidence", 0.8),
    ("safety_score", 0.95),
    ("messages", 1.0),
    ("claude_requests", 1.0),
    ("claude_cost", 0.012),
];

/// splitmix64: good spread, no state to carry.
pub fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The conversation of a row: its key on the log.
pub fn conversation(number: u64) -> u64 {
    mix(number / 12) % 5_000
}

/// Name and value of a row, the value to three digits.
fn metric(number: u64) -> (&'static str, f64) {
    let random = mix(number);
    let (name, typical) = METRICS[(random % 6) as usize];
    // A lognormal-like spread from the sum of a few uniform bytes.
    let spread = (0..4).map(|byte| f64::from((random >> (16 + byte * 8)) as u8)).sum::<f64>() / 510.0 - 1.0;
    let value = typical * (spread * 1.2).exp();
    (name, (value * 1_000.0).round() / 1_000.0)
}

/// One metric as JSON, about 130 bytes.
pub fn metric_json(number: u64, timestamp_ms: i64) -> String {
    let (name, value) = metric(number);
    let conversation = conversation(number);
    let mut json = String::with_capacity(160);
    // Writing to a String cannot fail.
    let _ = write!(
        json,
        r#"{{"metric_name":"{name}","value":{value:.3},"timestamp":{timestamp_ms},"account_id":"acct-{}","conversation_id":"conv-{conversation}"}}"#,
        conversation % 200
    );
    json
}

/// One metric about as small, of so many metrics and accounts, every pair of them in turn.
pub fn even_metric_json(number: u64, metrics: u64, accounts: u64, timestamp_ms: i64) -> String {
    let (metric, account) = (number % metrics, number / metrics % accounts);
    let value = f64::from((mix(number) >> 32) as u32 % 10_000) / 10.0 + 1.0;
    format!(
        r#"{{"metric_name":"metric_{metric}","value":{value},"timestamp":{timestamp_ms},"account_id":"account-{account}"}}"#
    )
}

/// The metrics of [`metric_json`] as one Arrow message, about 40 bytes each: what they share is in it once.
pub fn metrics_arrow(numbers: Range<u64>, timestamp_ms: impl Fn(u64) -> i64) -> Result<Vec<u8>> {
    let mut encoder = ArrowEncoder::default();
    for number in numbers {
        let (metric_name, value) = metric(number);
        let conversation = conversation(number);
        encoder.push(&NewMetric {
            metric_name,
            value,
            timestamp_ms: Some(timestamp_ms(number)),
            account_id: Some(&format!("acct-{}", conversation % 200)),
            conversation_id: Some(&format!("conv-{conversation}")),
            ..NewMetric::default()
        });
    }
    encoder.finish().context("writing an Arrow message")
}

/// The user in [`untimed_metric_json`], by which such metrics are found in the store.
pub const UNTIMED_USER: &str = "bench-user";

/// One metric without a time of its own, as an application sends it at the moment it happens.
pub fn untimed_metric_json(number: u64) -> String {
    let metric = metric_json(number, 0);
    metric.replace(r#""timestamp":0"#, &format!(r#""user_id":"{UNTIMED_USER}""#))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_metrics_are_every_pair_once_in_a_round() {
        let pair = |number| {
            let json: serde_json::Value =
                serde_json::from_str(&even_metric_json(number, 60, 200, 7)).unwrap();
            (json["metric_name"].to_string(), json["account_id"].to_string())
        };
        let pairs: std::collections::BTreeSet<_> = (0..12_000).map(pair).collect();
        assert_eq!(pairs.len(), 12_000);
        assert!(pairs.contains(&("\"metric_7\"".to_owned(), "\"account-7\"".to_owned())));
        assert_eq!(pair(12_007), pair(7));
    }
}
