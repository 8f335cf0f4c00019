//! Times and the histogram.

use chrono::DateTime;
use kelly_schemas::histogram::{self as buckets, RELATIVE_ERROR, SMALLEST_MAGNITUDE};
use kelly_schemas::limits::{LATEST_MS, VALUE_MAGNITUDE};
use kelly_schemas::{Limits, decode};

use crate::decode::LOG_TIME_MS;

/// Floating point at the edge of a bucket may add this much to the bound.
const SLACK: f64 = 1e-10;

/// A time as text: the decoder agrees with the library about every text.
pub fn timestamp(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let limits = Limits { max_age_ms: i64::MAX, max_future_ms: i64::MAX, ..Limits::default() };
    let origin = decode::Origin { partition: 0, offset: 0, log_time_ms: LOG_TIME_MS, limits: &limits };
    let message = serde_json::json!({ "metric_name": "m", "value": 1, "timestamp": text }).to_string();
    let mut found = None;
    decode::metrics(message.as_bytes(), &origin, &mut |_, outcome| {
        found = Some(outcome.map(|row| row.timestamp_ms).map_err(|reject| reject.fault.code()));
    });
    let expected = match DateTime::parse_from_rfc3339(text).map(|time| time.timestamp_millis()) {
        Err(_) => Err("invalid_timestamp"),
        Ok(..0) => Err("too_old"),
        Ok(time) if time > LATEST_MS => Err("too_far_in_future"),
        Ok(time) => Ok(time),
    };
    assert_eq!(found, Some(expected), "{text:?}");
}

/// Two values, eight bytes each: a bucket stands for its values, and buckets order as values do.
pub fn histogram(input: &[u8]) {
    let (pairs, _) = input.as_chunks::<16>();
    for pair in pairs {
        let (halves, _) = pair.as_chunks::<8>();
        let values = halves.iter().map(|bytes| f64::from_le_bytes(*bytes));
        let mut values: Vec<f64> = values.filter(|value| value.abs() <= VALUE_MAGNITUDE).collect();
        for value in &values {
            stands_for(*value);
        }
        values.sort_by(f64::total_cmp);
        if let [low, high] = values[..] {
            assert!(buckets::bucket(low) <= buckets::bucket(high), "{low} and {high}");
        }
    }
}

fn stands_for(exact: f64) {
    let bucket = buckets::bucket(exact);
    let approximate = buckets::value(bucket);
    // Of the lowest bucket, that value may itself count as zero.
    if approximate.abs() >= SMALLEST_MAGNITUDE {
        assert_eq!(buckets::bucket(approximate), bucket, "{exact}");
    }
    assert_eq!(buckets::bucket(-exact), -bucket, "{exact}");
    if exact.abs() < SMALLEST_MAGNITUDE {
        assert_eq!(approximate, 0.0, "{exact}");
    } else {
        let error = ((approximate - exact) / exact).abs();
        assert!(error <= RELATIVE_ERROR + SLACK, "{exact} became {approximate}, off by {error}");
    }
}
