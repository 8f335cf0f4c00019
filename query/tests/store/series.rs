//! Metrics over ranges, on every tier.

use std::collections::BTreeSet;

use chrono::{DateTime, FixedOffset, TimeDelta, Utc};
use kelly_query::detailed::{Detailed, Direction, Percentiles, Tier, Window};
use kelly_query::range::parse_instant;
use kelly_query::{RangeRequest, Timeframe};

use crate::fixture::{Fixture, now};
use crate::samples::{Numbers, Sample, assert_close, assert_percentiles, mean, percentile, sum, within};

const ACCOUNTS: [&str; 3] = ["acme", "globex", "initech"];
const CONVERSATIONS: [&str; 4] = ["c-1", "c-2", "c-3", "c-4"];

/// Samples of one metric, going back from now by uneven steps of about `gap`.
fn history(metric: &'static str, count: usize, gap: TimeDelta) -> Vec<Sample> {
    let mut numbers = Numbers(count as u64);
    let mut at = now();
    (0..count)
        .map(|index| {
            at -= TimeDelta::milliseconds((gap.num_milliseconds() as f64 * 2.0 * numbers.even()) as i64);
            Sample {
                metric,
                account: ACCOUNTS[index % ACCOUNTS.len()],
                conversation: CONVERSATIONS[index % CONVERSATIONS.len()],
                at,
                value: numbers.skewed(),
            }
        })
        .collect()
}

/// The metric's own aggregate, worked out by hand.
type Aggregate = fn(&[&Sample]) -> f64;

/// Checks everything an answer says against the samples it should be about.
fn assert_answers(answer: &Detailed, samples: &[Sample], aggregate: Aggregate) {
    assert_window_and_points(answer, samples, aggregate);
    assert_trend(answer, samples, aggregate);
}

fn assert_window_and_points(answer: &Detailed, samples: &[Sample], aggregate: Aggregate) {
    let bound = answer.percentile_error_bound;
    let window = within(samples, &answer.window);
    assert_eq!(answer.sample_count, window.len() as u64);
    assert!(!window.is_empty(), "a check of nothing");
    let newest = window.iter().map(|sample| sample.at).max();
    assert_eq!(answer.freshness.newest_sample, newest);
    if let Some(bound) = bound {
        assert_percentiles(&answer.percentile_data, &window, bound, "the window");
    } else {
        assert_eq!(answer.percentile_data, Percentiles::default());
    }
    let mut seen = 0;
    for point in &answer.historical_data {
        let step = i64::from(answer.resolution.seconds);
        let next =
            DateTime::from_timestamp((point.timestamp.timestamp().div_euclid(step) + 1) * step, 0).unwrap();
        let interval = within(samples, &Window { from: point.timestamp, to: next.min(answer.window.to) });
        let whole = point.timestamp.timestamp_millis() % (step * 1_000) == 0;
        assert_eq!(point.partial, !whole || next > answer.window.to || next > now());
        let what = format!("the point at {}", point.timestamp);
        assert_eq!(point.count, interval.len() as u64, "{what}");
        assert_close(point.value, aggregate(&interval), &what);
        assert_close(point.min, percentile(&interval, f64::MIN_POSITIVE), &what);
        assert_close(point.max, percentile(&interval, 1.0), &what);
        let percentiles = Percentiles { p50: point.p50, p95: point.p95, p99: point.p99 };
        match bound {
            Some(bound) if answer.tier != Tier::AccountHour || answer.resolution.seconds >= 86_400 => {
                assert_percentiles(&percentiles, &interval, bound, &what);
            }
            _ => assert_eq!(percentiles, Percentiles::default(), "{what}"),
        }
        seen += interval.len();
    }
    assert_eq!(seen, window.len(), "the points together are the window");
    assert!(answer.historical_data.is_sorted_by_key(|point| point.timestamp));
    let is_sum = answer.definition.aggregate == "sum";
    let newest = answer.historical_data.iter().rfind(|point| !(is_sum && point.partial));
    assert_eq!(answer.current_value, newest.map(|point| point.value));
}

fn assert_trend(answer: &Detailed, samples: &[Sample], aggregate: Aggregate) {
    let trend = &answer.trend_analysis;
    let compared = within(samples, &trend.current_window);
    let previous = within(samples, &trend.previous_window);
    assert_eq!(
        (trend.current_samples, trend.previous_samples),
        (compared.len() as u64, previous.len() as u64)
    );
    assert!(!trend.insufficient_data);
    let (current, previous) = (aggregate(&compared), aggregate(&previous));
    assert_close(trend.current.unwrap(), current, "the compared part's value");
    assert_close(trend.previous.unwrap(), previous, "the previous window's value");
    assert_close(
        trend.percentage_change.unwrap(),
        (current - previous) / previous.abs() * 100.0,
        "the change",
    );
    assert_ne!(trend.direction, None);
}

#[tokio::test]
async fn minutes_answer_up_to_a_day() {
    let fixture = Fixture::create().await;
    let samples = history("custom", 6_000, TimeDelta::seconds(30));
    fixture.record(&samples).await;
    for timeframe in [Timeframe::OneHour, Timeframe::SixHours, Timeframe::OneDay] {
        let answer = fixture.detailed("custom", RangeRequest::Last(timeframe), None, None).await;
        assert_eq!(answer.tier, Tier::Minute);
        assert_answers(&answer, &samples, mean);
    }
}

#[tokio::test]
async fn hours_answer_longer_and_account_days_an_account() {
    let fixture = Fixture::create().await;
    let samples = history("custom", 9_000, TimeDelta::minutes(10));
    fixture.record(&samples).await;
    for timeframe in [Timeframe::SevenDays, Timeframe::ThirtyDays] {
        let answer = fixture.detailed("custom", RangeRequest::Last(timeframe), None, None).await;
        assert_eq!(answer.tier, Tier::Hour);
        assert_answers(&answer, &samples, mean);

        let answer = fixture.detailed("custom", RangeRequest::Last(timeframe), Some("globex"), None).await;
        assert_eq!(answer.tier, Tier::AccountHour);
        let own: Vec<Sample> = samples.iter().filter(|sample| sample.account == "globex").cloned().collect();
        assert_answers(&answer, &own, mean);

        let answer = fixture.detailed("custom", RangeRequest::Last(timeframe), None, Some("c-2")).await;
        assert_eq!(answer.tier, Tier::ConversationDay);
        let own: Vec<Sample> =
            samples.iter().filter(|sample| sample.conversation == "c-2").cloned().collect();
        assert_answers(&answer, &own, mean);
    }
}

/// The percentiles of an account are kept by the day, its counts by the hour.
#[tokio::test]
async fn an_accounts_short_old_range_is_of_its_hours() {
    let fixture = Fixture::create().await;
    let samples = history("custom", 9_000, TimeDelta::minutes(2));
    fixture.record(&samples).await;
    let own: Vec<Sample> = samples.into_iter().filter(|sample| sample.account == "acme").collect();
    let midnight = DateTime::from_timestamp((now().timestamp() / 86_400 - 8) * 86_400, 0).unwrap();
    for (from_hour, to_hour, has_percentiles) in [(0, 24, true), (5, 7, false), (18, 30, false)] {
        let hour = |hour| midnight + TimeDelta::hours(hour);
        let range = RangeRequest::Between { from: hour(from_hour), to: Some(hour(to_hour)) };
        let answer = fixture.detailed("custom", range, Some("acme"), None).await;
        assert_eq!(answer.tier, Tier::AccountHour);
        assert_eq!(answer.window, Window { from: hour(from_hour), to: hour(to_hour) });
        assert_eq!(answer.percentile_error_bound.is_some(), has_percentiles);
        assert_answers(&answer, &own, mean);
    }
}

#[tokio::test]
async fn raw_samples_answer_an_account_and_a_conversation_exactly() {
    let fixture = Fixture::create().await;
    let samples = history("custom", 6_000, TimeDelta::seconds(30));
    fixture.record(&samples).await;
    for (account, conversation) in [(Some("acme"), None), (None, Some("c-3")), (Some("acme"), Some("c-3"))] {
        let own: Vec<Sample> = samples
            .iter()
            .filter(|sample| account.is_none_or(|account| sample.account == account))
            .filter(|sample| conversation.is_none_or(|conversation| sample.conversation == conversation))
            .cloned()
            .collect();
        for timeframe in [Timeframe::OneHour, Timeframe::OneDay] {
            let answer =
                fixture.detailed("custom", RangeRequest::Last(timeframe), account, conversation).await;
            assert_eq!((answer.tier, answer.percentile_error_bound), (Tier::Raw, Some(0.0)));
            assert_answers(&answer, &own, mean);
        }
    }
}

/// A conversation of yesterday and today has all its samples yet, however long a time is asked about.
#[tokio::test]
async fn a_young_conversation_has_percentiles_over_any_timeframe() {
    let fixture = Fixture::create().await;
    let samples = history("custom", 600, TimeDelta::minutes(2));
    fixture.record(&samples).await;
    let own: Vec<Sample> = samples.into_iter().filter(|sample| sample.conversation == "c-3").collect();
    for timeframe in [Timeframe::SevenDays, Timeframe::ThirtyDays] {
        let answer = fixture.detailed("custom", RangeRequest::Last(timeframe), None, Some("c-3")).await;
        assert_eq!((answer.tier, answer.percentile_error_bound), (Tier::Raw, Some(0.0)));
        assert_window_and_points(&answer, &own, mean);
        assert!(answer.historical_data.len() > 1);
    }
    // Once samples are gone that the days still count, the days answer.
    fixture.database.query("TRUNCATE TABLE system_metrics").await;
    let range = RangeRequest::Last(Timeframe::SevenDays);
    let answer = fixture.detailed("custom", range, None, Some("c-3")).await;
    assert_eq!(answer.tier, Tier::ConversationDay);
    assert_window_and_points(&answer, &own, mean);
}

/// Whatever the range, its ends and its offset from UTC: the answer is that of the samples in the window it names.
#[tokio::test]
async fn ranges_at_random_are_answered_as_worked_out_by_hand() {
    let fixture = Fixture::create().await;
    let mut samples = history("custom", 5_000, TimeDelta::seconds(40));
    samples.extend(
        history("custom", 5_000, TimeDelta::minutes(9))
            .into_iter()
            .map(|sample| Sample { at: sample.at - TimeDelta::hours(60), ..sample }),
    );
    fixture.record(&samples).await;
    let mut numbers = Numbers(2_024);
    let mut tiers = BTreeSet::new();
    for round in 0..60 {
        let (account, conversation) = [(None, None), (Some("acme"), None), (None, Some("c-3"))][round % 3];
        let length = TimeDelta::milliseconds((3.0e5 * (numbers.even() * 8.0).exp()) as i64);
        let from = now() - length - TimeDelta::milliseconds((numbers.even().powi(3) * 8e8) as i64);
        let hours = (numbers.even() * 26.0) as i32 - 12;
        let there = FixedOffset::east_opt(hours * 3_600 + 1_800).unwrap();
        let written = [from, from + length].map(|instant| instant.with_timezone(&there).to_rfc3339());
        let [first, end] = [&written[0], &written[1]].map(|text| parse_instant(text).unwrap());
        let range = RangeRequest::Between { from: first, to: Some(end) };
        let answer = fixture.detailed("custom", range, account, conversation).await;
        assert!(answer.window.from <= from && answer.window.to >= from + length, "{written:?}");
        let own: Vec<Sample> = samples
            .iter()
            .filter(|sample| account.is_none_or(|account| sample.account == account))
            .filter(|sample| conversation.is_none_or(|conversation| sample.conversation == conversation))
            .cloned()
            .collect();
        if within(&own, &answer.window).is_empty() {
            assert_eq!((answer.sample_count, answer.historical_data.len()), (0, 0));
            continue;
        }
        tiers.insert(format!("{:?}", answer.tier));
        assert_window_and_points(&answer, &own, mean);
    }
    assert_eq!(tiers.len(), 5, "a round of every tier: {tiers:?}");
}

#[tokio::test]
async fn each_aggregate_is_the_catalogues() {
    let fixture = Fixture::create().await;
    let cases: [(&str, Aggregate); 2] = [("messages", sum), ("ai_confidence", mean)];
    for (metric, aggregate) in cases {
        let mut samples = history(metric, 2_000, TimeDelta::seconds(10));
        for sample in &mut samples {
            sample.value = sample.value.abs();
        }
        fixture.record(&samples).await;
        let answer = fixture.detailed(metric, RangeRequest::Last(Timeframe::OneHour), None, None).await;
        assert_answers(&answer, &samples, aggregate);
        let answer =
            fixture.detailed(metric, RangeRequest::Last(Timeframe::OneHour), Some("acme"), None).await;
        let own: Vec<Sample> = samples.into_iter().filter(|sample| sample.account == "acme").collect();
        assert_answers(&answer, &own, aggregate);
    }
}

#[tokio::test]
async fn a_window_includes_its_start_and_excludes_its_end() {
    let fixture = Fixture::create().await;
    let start = now() - TimeDelta::hours(1);
    let sample = |offset_ms: i64| Sample {
        metric: "edge",
        account: "acme",
        conversation: "c-1",
        at: start + TimeDelta::milliseconds(offset_ms),
        value: offset_ms as f64,
    };
    fixture.record(&[sample(-1), sample(0), sample(999), sample(1_000), sample(1_001)]).await;
    let range = RangeRequest::Between { from: start, to: Some(start + TimeDelta::seconds(1)) };
    let answer = fixture.detailed("edge", range, None, Some("c-1")).await;
    assert_eq!(answer.window, Window { from: start, to: start + TimeDelta::seconds(1) });
    assert_eq!(answer.sample_count, 2);
    assert_eq!(answer.percentile_data, Percentiles { p50: Some(0.0), p95: Some(999.0), p99: Some(999.0) });
    // Seconds begin at whole ones; the first point is cut where the window starts.
    let points: Vec<DateTime<Utc>> = answer.historical_data.iter().map(|point| point.timestamp).collect();
    let whole = DateTime::from_timestamp(start.timestamp() + 1, 0).unwrap();
    assert_eq!(points, [start, whole]);
    assert_eq!(answer.trend_analysis.previous_samples, 1);
    assert!(answer.trend_analysis.insufficient_data);
    assert_eq!(answer.trend_analysis.direction, None);
}

#[tokio::test]
async fn a_fall_of_confidence_is_concerning() {
    let fixture = Fixture::create().await;
    let samples: Vec<Sample> = (1..120)
        .map(|minutes| Sample {
            metric: "ai_confidence",
            account: "acme",
            conversation: "c-1",
            at: now() - TimeDelta::minutes(minutes),
            value: if minutes > 62 { 0.9 } else { 0.5 },
        })
        .collect();
    fixture.record(&samples).await;
    let answer = fixture.detailed("ai_confidence", RangeRequest::default(), None, None).await;
    assert_eq!(answer.trend_analysis.direction, Some(Direction::Down));
    assert!(answer.trend_analysis.is_concerning);
    assert!(answer.thresholds.warning.is_some());
}

/// One every five minutes for ever: whatever the hour, no unit that has only begun makes it fall.
#[tokio::test]
async fn a_steady_counter_is_flat_on_every_tier() {
    let fixture = Fixture::create().await;
    let samples: Vec<Sample> = (0..17 * 24 * 12)
        .map(|step| Sample {
            metric: "messages",
            account: "acme",
            conversation: "c-1",
            at: DateTime::from_timestamp((now().timestamp() / 300 - step) * 300, 0).unwrap(),
            value: 1.0,
        })
        .collect();
    fixture.record(&samples).await;
    for timeframe in [Timeframe::SixHours, Timeframe::OneDay, Timeframe::SevenDays] {
        for (account, conversation) in [(None, None), (Some("acme"), None), (None, Some("c-1"))] {
            let range = RangeRequest::Last(timeframe);
            let answer = fixture.detailed("messages", range, account, conversation).await;
            let trend = &answer.trend_analysis;
            assert_eq!(trend.direction, Some(Direction::Flat), "{timeframe} {:?}: {trend:?}", answer.tier);
        }
    }
}

#[tokio::test]
async fn nothing_answers_empty_and_never_zero() {
    let fixture = Fixture::create().await;
    fixture.record(&history("custom", 10, TimeDelta::seconds(1))).await;
    for timeframe in Timeframe::ALL {
        for (account, conversation) in [(None, None), (Some("nobody"), None), (None, Some("none"))] {
            let range = RangeRequest::Last(timeframe);
            let metric = if account.or(conversation).is_none() { "never_seen" } else { "custom" };
            let answer = fixture.detailed(metric, range, account, conversation).await;
            assert_eq!(answer.sample_count, 0);
            let json = serde_json::to_value(&answer).unwrap();
            assert_eq!(json["historical_data"], serde_json::json!([]));
            assert_eq!(json["percentile_data"], serde_json::json!({ "p50": null, "p95": null, "p99": null }));
            for null in [
                &json["current_value"],
                &json["freshness"]["newest_sample"],
                &json["freshness"]["age_seconds"],
                &json["trend_analysis"]["direction"],
                &json["trend_analysis"]["percentage_change"],
                &json["trend_analysis"]["current"],
            ] {
                assert!(null.is_null(), "{json}");
            }
            assert_eq!(json["trend_analysis"]["insufficient_data"], true);
            assert_eq!(json["definition"]["aggregate"], "mean");
        }
    }
}

/// The store decodes buckets by a formula of its own; this is what holds it to the histogram's.
#[tokio::test]
async fn the_views_decode_buckets_as_the_histogram_does() {
    let fixture = Fixture::create().await;
    let t = now().timestamp() / 60 * 60;
    let buckets: [i16; 9] = [-30_467, -15_500, -534, 0, 534, 15_499, 15_500, 16_000, 30_467];
    let name = |bucket: i16| format!("bucket{bucket}");
    let wide = serde_json::json!({ "at": "2020-01-01 00:00:00.000", "value": 0 });
    let row = |bucket: i16, tier: &str, account: &str, unit: i64| {
        serde_json::json!({
            "tier": tier, "metric_name": name(bucket), "account_id": account, "t": t / unit * unit, "count": 1, "sum": 0,
            "min": -1e300, "max": 1e300, "last": wide,
        })
    };
    let mut rows = Vec::new();
    for bucket in buckets {
        let histogram = serde_json::json!({ bucket.to_string(): 1 });
        let states = [("minute", "", 60), ("hour", "", 3_600), ("account_hour", "acme", 3_600)];
        rows.extend(states.map(|(tier, account, unit)| {
            let mut row = row(bucket, tier, account, unit);
            if account.is_empty() {
                row["histogram"] = histogram.clone();
            }
            row
        }));
        rows.push(serde_json::json!({
            "tier": "account_day", "metric_name": name(bucket), "account_id": "acme", "t": t / 86_400 * 86_400,
            "min": "inf", "max": "-inf", "histogram": histogram,
        }));
    }
    fixture.insert("metric_rollups", rows).await;
    for bucket in buckets {
        for (timeframe, account) in
            [(Timeframe::OneHour, None), (Timeframe::SevenDays, None), (Timeframe::SevenDays, Some("acme"))]
        {
            let answer = fixture.detailed(&name(bucket), RangeRequest::Last(timeframe), account, None).await;
            let value = kelly_schemas::histogram::value(bucket);
            assert_close(answer.percentile_data.p50.unwrap(), value, &format!("{timeframe} {bucket}"));
        }
    }
}
