//! Comparisons with the period before, steps that are asked for, and several metrics at once.

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::TryStreamExt;
use kelly_query::comparison::{Change, Compare, Kept};
use kelly_query::detailed::{Percentiles, Tier, Window};
use kelly_query::groups::GroupBy;
use kelly_query::{
    Accounts, DetailedRequest, ExportFormat, ExportRequest, GroupsRequest, RangeRequest, SeveralRequest,
    Timeframe,
};

use crate::fixture::{Fixture, now};
use crate::samples::{Numbers, Sample, assert_close, assert_percentiles, mean, within};

const ACCOUNTS: [&str; 3] = ["acme", "globex", "initech"];
const CONVERSATIONS: [&str; 2] = ["c-1", "c-2"];

fn history(metric: &'static str, count: usize, gap: TimeDelta) -> Vec<Sample> {
    let mut numbers = Numbers(count as u64 + 11);
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

fn request(metric: &str, range: RangeRequest) -> DetailedRequest {
    DetailedRequest {
        metric_name: metric.to_owned(),
        range,
        account_id: None,
        accounts: Accounts::All,
        conversation_id: None,
        step_seconds: None,
        compare: Some(Compare::Previous),
    }
}

fn assert_change(change: &Change, current: &[&Sample], previous: &[&Sample], what: &str) {
    assert_eq!(
        (change.current_samples, change.previous_samples),
        (current.len() as u64, previous.len() as u64)
    );
    let (current, previous) = (mean(current), mean(previous));
    assert_close(change.current.unwrap(), current, what);
    assert_close(change.previous.unwrap(), previous, what);
    // The difference of two near values has lost digits; what it is relative to has not.
    let slack = 1e-9 * (current.abs() + previous.abs());
    assert!((change.absolute_change.unwrap() - (current - previous)).abs() <= slack, "{what}");
    let percentage = (current - previous) / previous.abs() * 100.0;
    assert!(
        (change.percentage_change.unwrap() - percentage).abs() <= 1e-6 * (1.0 + percentage.abs()),
        "{what}"
    );
}

#[tokio::test]
async fn the_period_before_is_given_on_every_tier_and_lies_under_the_answer() {
    let fixture = Fixture::create().await;
    let long = history("long", 8_000, TimeDelta::minutes(12));
    let short = history("short", 8_000, TimeDelta::seconds(30));
    fixture.record(&long).await;
    fixture.record(&short).await;
    let cases = [
        ("short", &short, Timeframe::OneHour, None, None, Tier::Minute),
        ("short", &short, Timeframe::OneDay, None, None, Tier::Minute),
        ("short", &short, Timeframe::SixHours, Some("acme"), None, Tier::Raw),
        ("short", &short, Timeframe::OneDay, None, Some("c-2"), Tier::Raw),
        ("long", &long, Timeframe::SevenDays, None, None, Tier::Hour),
        ("long", &long, Timeframe::ThirtyDays, None, None, Tier::Hour),
        ("long", &long, Timeframe::SevenDays, Some("acme"), None, Tier::AccountHour),
        ("long", &long, Timeframe::ThirtyDays, Some("acme"), None, Tier::AccountHour),
        ("long", &long, Timeframe::SevenDays, None, Some("c-1"), Tier::ConversationDay),
    ];
    for (metric, samples, timeframe, account, conversation, tier) in cases {
        let what = format!("{metric} {timeframe} {tier:?}");
        let asked = DetailedRequest {
            account_id: account.map(str::to_owned),
            conversation_id: conversation.map(str::to_owned),
            ..request(metric, RangeRequest::Last(timeframe))
        };
        let answer = fixture.service.detailed(asked).await.unwrap();
        assert_eq!(answer.tier, tier);
        let comparison = answer.comparison.unwrap();
        let windows = &comparison.windows;
        assert_eq!((windows.previous_kept, &windows.note), (Kept::Whole, &None), "{what}");
        let own: Vec<Sample> = samples
            .iter()
            .filter(|sample| account.is_none_or(|account| sample.account == account))
            .filter(|sample| conversation.is_none_or(|conversation| sample.conversation == conversation))
            .cloned()
            .collect();
        let previous = within(&own, &windows.previous_window);
        assert_change(&comparison.change, &within(&own, &windows.current_window), &previous, &what);
        if comparison.previous_percentiles != Percentiles::default() {
            let bound = answer.percentile_error_bound.unwrap();
            assert_percentiles(&comparison.previous_percentiles, &previous, bound, &what);
        } else {
            assert!([Tier::AccountHour, Tier::ConversationDay].contains(&tier), "{what}");
        }
        let counted: u64 = comparison.previous_series.iter().map(|point| point.count).sum();
        assert_eq!(counted, previous.len() as u64, "{what}");
        let step = i64::from(answer.resolution.seconds) * 1_000;
        let distance = windows.current_window.from - windows.previous_window.from;
        for point in &comparison.previous_series {
            assert_eq!(point.timestamp - point.previous_timestamp, distance);
            let starts = point.timestamp.timestamp_millis() % step;
            assert!(starts == 0 || point.timestamp == answer.window.from, "{what}: {}", point.timestamp);
            assert!(point.timestamp >= answer.window.from && point.timestamp < answer.window.to);
        }
    }
}

#[tokio::test]
async fn what_has_expired_is_said_and_not_guessed() {
    let fixture = Fixture::create().await;
    let samples = history("custom", 6_000, TimeDelta::minutes(1));
    fixture.record(&samples).await;
    // Samples are kept for three days: of the two days before these two there is one.
    let range = RangeRequest::Between { from: now() - TimeDelta::hours(48), to: None };
    let asked = DetailedRequest { conversation_id: Some("c-1".to_owned()), ..request("custom", range) };
    let answer = fixture.service.detailed(asked).await.unwrap();
    let comparison = answer.comparison.unwrap();
    assert_eq!((answer.tier, comparison.windows.previous_kept), (Tier::Raw, Kept::Partly));
    assert!(comparison.change.current.is_some());
    let change = &comparison.change;
    assert_eq!((change.previous, change.previous_samples, change.absolute_change), (None, 0, None));
    assert_eq!(comparison.previous_percentiles, Percentiles::default());
    assert!(comparison.windows.note.unwrap().contains("72 hours"));
    assert!(!comparison.previous_series.is_empty(), "what is there is shown");
    // Of the ninety days before these ninety nothing is.
    let range = RangeRequest::Between { from: now() - TimeDelta::days(90), to: None };
    let comparison = fixture.service.detailed(request("custom", range)).await.unwrap().comparison.unwrap();
    assert_eq!(comparison.windows.previous_kept, Kept::None);
    assert_eq!((comparison.change.previous, comparison.previous_series.len()), (None, 0));
}

#[tokio::test]
async fn each_group_is_compared_with_itself() {
    let fixture = Fixture::create().await;
    let long = history("long", 6_000, TimeDelta::minutes(12));
    let short = history("short", 6_000, TimeDelta::seconds(30));
    fixture.record(&long).await;
    fixture.record(&short).await;
    for (metric, samples, timeframe, group_by, kept) in [
        ("short", &short, Timeframe::SixHours, GroupBy::Account, Kept::Whole),
        ("long", &long, Timeframe::SevenDays, GroupBy::Account, Kept::Whole),
        ("long", &long, Timeframe::ThirtyDays, GroupBy::Account, Kept::Whole),
        ("short", &short, Timeframe::OneDay, GroupBy::Conversation, Kept::Whole),
        ("long", &long, Timeframe::SevenDays, GroupBy::Conversation, Kept::Whole),
    ] {
        let asked = GroupsRequest {
            metric_name: metric.to_owned(),
            range: RangeRequest::Last(timeframe),
            group_by,
            order_by: None,
            order: None,
            top: 10,
            accounts: Accounts::All,
            account_id: None,
            compare: Some(Compare::Previous),
        };
        let answer = fixture.service.groups(asked.clone()).await.unwrap();
        let windows = answer.compared.unwrap();
        assert_eq!(windows.previous_kept, kept);
        assert!(answer.groups.len() >= 2);
        for group in &answer.groups {
            let own: Vec<Sample> = samples
                .iter()
                .filter(|sample| match group_by {
                    GroupBy::Account => sample.account == group.id,
                    GroupBy::Conversation => sample.conversation == group.id,
                })
                .cloned()
                .collect();
            let (current, previous) =
                (within(&own, &windows.current_window), within(&own, &windows.previous_window));
            assert_change(group.comparison.as_ref().unwrap(), &current, &previous, &group.id);
            // The comparison takes nothing from the group's own figures.
            assert_eq!(group.count, within(&own, &answer.window).len() as u64);
        }
        let plain = fixture.service.groups(GroupsRequest { compare: None, ..asked }).await.unwrap();
        assert!(plain.compared.is_none() && plain.groups.iter().all(|group| group.comparison.is_none()));
    }
    // Two days of conversations from samples: the two before have partly expired.
    let asked = GroupsRequest {
        metric_name: "short".to_owned(),
        range: RangeRequest::Between { from: now() - TimeDelta::hours(47), to: None },
        group_by: GroupBy::Conversation,
        order_by: None,
        order: None,
        top: 10,
        accounts: Accounts::All,
        account_id: None,
        compare: Some(Compare::Previous),
    };
    let answer = fixture.service.groups(asked).await.unwrap();
    assert_eq!(answer.compared.unwrap().previous_kept, Kept::Partly);
    for group in &answer.groups {
        let change = group.comparison.unwrap();
        assert_eq!((change.current.is_some(), change.previous, change.absolute_change), (true, None, None));
    }
}

#[tokio::test]
async fn a_step_that_is_asked_for_is_answered_from_the_tier_that_has_it() {
    let fixture = Fixture::create().await;
    let samples = history("custom", 6_000, TimeDelta::minutes(2));
    fixture.record(&samples).await;
    let last = |timeframe, step_seconds| DetailedRequest {
        step_seconds: Some(step_seconds),
        compare: None,
        ..request("custom", RangeRequest::Last(timeframe))
    };
    for (timeframe, step, tier) in [
        (Timeframe::OneHour, 60, Tier::Minute),
        (Timeframe::OneDay, 60, Tier::Minute),
        (Timeframe::OneDay, 86_400, Tier::Minute),
        (Timeframe::SevenDays, 900, Tier::Minute),
        (Timeframe::SevenDays, 10_800, Tier::Hour),
    ] {
        let answer = fixture.service.detailed(last(timeframe, step)).await.unwrap();
        assert_eq!((answer.tier, answer.resolution.seconds), (tier, step));
        assert_eq!(answer.sample_count, within(&samples, &answer.window).len() as u64);
        for point in &answer.historical_data {
            let start = point.timestamp.timestamp();
            let next = DateTime::from_timestamp((start / i64::from(step) + 1) * i64::from(step), 0).unwrap();
            let interval =
                within(&samples, &Window { from: point.timestamp, to: next.min(answer.window.to) });
            assert_eq!(point.count, interval.len() as u64);
            assert_close(point.value, mean(&interval), "a point");
        }
    }
    // A conversation whose samples are all there yet is answered from them, in the step that was asked for.
    fixture.record(&history("young", 50, TimeDelta::minutes(10))).await;
    let young = DetailedRequest {
        metric_name: "young".to_owned(),
        conversation_id: Some("c-1".to_owned()),
        ..last(Timeframe::SevenDays, 86_400)
    };
    let answer = fixture.service.detailed(young.clone()).await.unwrap();
    assert_eq!((answer.tier, answer.resolution.seconds), (Tier::Raw, 86_400));
    for step_seconds in [None, Some(86_400)] {
        assert_exported_alike(&fixture, DetailedRequest { step_seconds, compare: None, ..young.clone() })
            .await;
    }
    let error = fixture.service.detailed(last(Timeframe::ThirtyDays, 60)).await.unwrap_err();
    assert_eq!((error.code(), error.parameter()), ("query_too_large", Some("step")));
    let limit = error.limit().unwrap();
    assert_eq!((limit.asked, limit.allowed), (43_200, 1_440));
    assert_eq!(limit.alternative, "ask with step=1h, or for at most 24 hours");
    // The nearest question that is allowed is.
    assert!(fixture.service.detailed(last(Timeframe::ThirtyDays, 3_600)).await.is_ok());
    assert!(fixture.service.detailed(last(Timeframe::OneDay, 60)).await.is_ok());
}

/// A file of a question holds the points of its answer.
async fn assert_exported_alike(fixture: &Fixture, asked: DetailedRequest) {
    let answer = fixture.service.detailed(asked.clone()).await.unwrap();
    let export =
        fixture.service.export(&ExportRequest::Series(asked), ExportFormat::JsonLines).await.unwrap();
    assert_eq!(export.window, answer.window);
    let pieces: Vec<_> = export.bytes.try_collect().await.unwrap();
    let file = String::from_utf8(pieces.concat()).unwrap();
    let exported: Vec<serde_json::Value> =
        file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!exported.is_empty() && exported.len() == answer.historical_data.len(), "{file}");
    for (row, point) in exported.iter().zip(&answer.historical_data) {
        let timestamp: DateTime<Utc> = row["timestamp"].as_str().unwrap().parse().unwrap();
        assert_eq!((timestamp, row["count"].as_u64()), (point.timestamp, Some(point.count)));
        assert_close(row["value"].as_f64().unwrap(), point.value, "an exported point");
        assert_close(row["p50"].as_f64().unwrap(), point.p50.unwrap(), "an exported median");
    }
}

#[tokio::test]
async fn several_metrics_are_each_answered_as_alone() {
    let fixture = Fixture::create().await;
    for (metric, count) in [("messages", 500), ("custom", 700), ("old", 3)] {
        fixture.record(&history(metric, count, TimeDelta::seconds(20))).await;
    }
    let ago = |sample: Sample| Sample { at: sample.at - TimeDelta::days(40), ..sample };
    fixture
        .record(&history("forgotten", 5, TimeDelta::hours(1)).into_iter().map(ago).collect::<Vec<_>>())
        .await;
    let names = ["custom", "mesages", "messages", "ai_confidence", "forgotten", "old", "~"];
    let each = request("", RangeRequest::Last(Timeframe::SixHours));
    let asked = SeveralRequest {
        metric_names: names.iter().map(|name| (*name).to_owned()).collect(),
        each: each.clone(),
    };
    let answer = fixture.service.several(asked.clone()).await.unwrap();
    assert_eq!(answer.unknown_metrics, ["mesages", "~"]);
    let found: Vec<&str> = answer.metrics.iter().map(|metric| metric.metric_name.as_str()).collect();
    assert_eq!(found, ["custom", "messages", "ai_confidence", "forgotten", "old"]);
    for metric in answer.metrics {
        let alone = DetailedRequest { metric_name: metric.metric_name.clone(), ..each.clone() };
        assert_eq!(fixture.service.detailed(alone).await.unwrap(), metric);
    }
    let twice = SeveralRequest { metric_names: vec!["custom".to_owned(); 2], ..asked };
    assert_eq!(fixture.service.several(twice).await.unwrap_err().parameter(), Some("metrics"));
}
