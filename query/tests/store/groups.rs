//! Metrics by account and by conversation, on every tier.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta};
use futures_util::TryStreamExt;
use kelly_query::detailed::{Percentiles, Tier, Window};
use kelly_query::groups::{GroupBy, MetricGroup, Order, OrderBy};
use kelly_query::{
    Accounts, ExportFormat, ExportRequest, GroupsRequest, MetricGroups, RangeRequest, Timeframe,
};
use kelly_sql::QuestionBounds;

use crate::fixture::{Fixture, now, service_over};
use crate::samples::{Numbers, Sample, assert_close, assert_percentiles, mean, percentile, sum, within};

/// Groups of very different sizes; the empty id is none.
const ACCOUNTS: [&str; 7] = ["acme", "globex", "initech", "umbrella", "hooli", "o'brien \"&\" söhne\\", ""];
const CONVERSATIONS: [&str; 6] = ["c-1", "c-2", "c-3", "c-4", "c-5", ""];

fn history(metric: &'static str, count: usize, gap: TimeDelta) -> Vec<Sample> {
    let mut numbers = Numbers(count as u64 + 7);
    let mut at = now();
    (0..count)
        .map(|_| {
            at -= TimeDelta::milliseconds((gap.num_milliseconds() as f64 * 2.0 * numbers.even()) as i64);
            let mut pick = |of: &[&'static str]| {
                let even = numbers.even();
                of[(even * even * of.len() as f64) as usize]
            };
            let (account, conversation) = (pick(&ACCOUNTS), pick(&CONVERSATIONS));
            Sample { metric, account, conversation, at, value: numbers.skewed() }
        })
        .collect()
}

fn request(metric: &str, timeframe: Timeframe, group_by: GroupBy) -> GroupsRequest {
    GroupsRequest {
        metric_name: metric.to_owned(),
        range: RangeRequest::Last(timeframe),
        group_by,
        order_by: None,
        order: None,
        top: 3,
        accounts: Accounts::All,
        account_id: None,
        compare: None,
    }
}

fn id(sample: &Sample, by: GroupBy) -> &'static str {
    match by {
        GroupBy::Account => sample.account,
        GroupBy::Conversation => sample.conversation,
    }
}

/// A figure of some samples, to order by.
fn figure(samples: &[&Sample], order_by: OrderBy) -> f64 {
    match order_by {
        OrderBy::Count => samples.len() as f64,
        OrderBy::Sum => sum(samples),
        OrderBy::Mean => mean(samples),
        OrderBy::Min => percentile(samples, f64::MIN_POSITIVE),
        OrderBy::Max => percentile(samples, 1.0),
        OrderBy::Last => last(samples).value,
        OrderBy::P50 => percentile(samples, 0.5),
        OrderBy::P95 => percentile(samples, 0.95),
        OrderBy::P99 => percentile(samples, 0.99),
    }
}

fn last<'a>(samples: &[&'a Sample]) -> &'a Sample {
    let order =
        |one: &&&Sample, other: &&&Sample| one.at.cmp(&other.at).then(one.value.total_cmp(&other.value));
    samples.iter().max_by(order).unwrap()
}

/// Checks everything an answer says against the samples it should be about.
fn assert_answers(answer: &MetricGroups, samples: &[Sample]) {
    let window = within(samples, &answer.window);
    let mut groups: BTreeMap<&str, Vec<&Sample>> = BTreeMap::new();
    for sample in &window {
        groups.entry(id(sample, answer.group_by)).or_default().push(sample);
    }
    let unassigned = groups.remove("");
    assert!(groups.len() > 3, "a check of too little");
    let what = format!("{:?} by {:?} {:?}", answer.tier, answer.group_by, answer.order_by);

    let total = answer.total.unwrap();
    assert_eq!((answer.group_count, total.count), (groups.len() as u64, window.len() as u64), "{what}");
    assert_close(total.sum, sum(&window), &what);
    assert_close(total.mean, mean(&window), &what);
    assert_close(total.min, figure(&window, OrderBy::Min), &what);
    assert_close(total.max, figure(&window, OrderBy::Max), &what);
    assert_close(total.last, last(&window).value, &what);
    assert_eq!(answer.freshness.newest_sample, Some(last(&window).at));
    assert_eq!(answer.unassigned.map(|share| share.count), unassigned.map(|samples| samples.len() as u64));

    assert_eq!(answer.groups.len(), groups.len().min(answer.top as usize));
    for (rank, group) in (1..).zip(&answer.groups) {
        assert_eq!(group.rank, rank);
        assert_group(answer, group, &groups[group.id.as_str()], window.len());
    }
    assert_order(answer, &groups);

    let shown: usize = answer.groups.iter().map(|group| group.count as usize).sum();
    let left = window.len() - shown - answer.unassigned.map_or(0, |share| share.count as usize);
    let remainder =
        answer.remainder.map(|remainder| (remainder.groups as usize, remainder.share.count as usize));
    let more = groups.len() - answer.groups.len();
    assert_eq!(remainder, (more > 0).then_some((more, left)), "{what}");
    let shares = answer.groups.iter().map(|group| (group.share_of_count, group.share_of_sum));
    let others = [answer.remainder.map(|remainder| remainder.share), answer.unassigned];
    let others = others.into_iter().flatten().map(|share| (share.share_of_count, share.share_of_sum));
    let all: Vec<(f64, Option<f64>)> = shares.chain(others).collect();
    assert_close(all.iter().map(|share| share.0).sum(), 1.0, &what);
    if answer.definition.aggregate == "sum" {
        assert_close(all.iter().map(|share| share.1.unwrap()).sum(), 1.0, &what);
    } else {
        assert!(all.iter().all(|share| share.1.is_none()));
    }
}

fn assert_group(answer: &MetricGroups, group: &MetricGroup, own: &[&Sample], all: usize) {
    let what = format!("{} of {:?}", group.id, answer.tier);
    assert_eq!(group.count, own.len() as u64, "{what}");
    assert_close(group.sum, sum(own), &what);
    assert_close(group.mean, mean(own), &what);
    assert_close(
        group.value,
        if answer.definition.aggregate == "sum" { group.sum } else { group.mean },
        &what,
    );
    assert_close(group.min, figure(own, OrderBy::Min), &what);
    assert_close(group.max, figure(own, OrderBy::Max), &what);
    assert_close(group.last, last(own).value, &what);
    assert_eq!(group.newest_sample, Some(last(own).at), "{what}");
    assert_close(group.share_of_count, own.len() as f64 / all as f64, &what);
    match answer.percentile_error_bound {
        Some(bound) => assert_percentiles(&group.percentiles, own, bound, &what),
        None => assert_eq!(group.percentiles, Percentiles::default(), "{what}"),
    }
    assert_eq!(answer.notes.is_empty(), answer.percentile_error_bound.is_some());
    let mut seen = 0;
    let step = i64::from(answer.resolution.seconds);
    for point in &group.series {
        let next =
            DateTime::from_timestamp((point.timestamp.timestamp().div_euclid(step) + 1) * step, 0).unwrap();
        let interval: Vec<&Sample> = own
            .iter()
            .copied()
            .filter(|sample| sample.at >= point.timestamp && sample.at < next.min(answer.window.to))
            .collect();
        assert_eq!(point.count, interval.len() as u64, "{what} at {}", point.timestamp);
        let value = if answer.definition.aggregate == "sum" { sum(&interval) } else { mean(&interval) };
        assert_close(point.value, value, &what);
        assert_close(point.min, figure(&interval, OrderBy::Min), &what);
        assert_close(point.max, figure(&interval, OrderBy::Max), &what);
        seen += interval.len();
    }
    assert_eq!(seen, own.len(), "the points together are the group");
    assert!(group.series.is_sorted_by_key(|point| point.timestamp));
    assert!(group.series.len() <= 64, "{} points", group.series.len());
}

/// No group that is left out comes before one that is shown, and those shown are in order; where percentiles come from
/// histograms, up to their error.
fn assert_order(answer: &MetricGroups, groups: &BTreeMap<&str, Vec<&Sample>>) {
    let slack = match (answer.percentile_error_bound, answer.order_by) {
        (Some(bound), OrderBy::P50 | OrderBy::P95 | OrderBy::P99) => 2.1 * bound,
        _ => 1e-9,
    };
    let sign = if answer.order == Order::Desc { 1.0 } else { -1.0 };
    let of = |id: &str| figure(&groups[id], answer.order_by) * sign;
    let before = |one: &str, other: &str| of(one) >= of(other) - slack * of(other).abs() - 1e-9;
    let shown: Vec<&str> = answer.groups.iter().map(|group| group.id.as_str()).collect();
    assert!(shown.is_sorted_by(|one, other| before(one, other)), "{shown:?}");
    let last = shown.last().unwrap();
    for left_out in groups.keys().filter(|id| !shown.contains(id)) {
        assert!(before(last, left_out), "{left_out} before {last} by {:?}", answer.order_by);
    }
}

/// A file of a question holds the groups of its answer, figure by figure.
async fn assert_exported_alike(fixture: &Fixture, asked: GroupsRequest, answer: &MetricGroups) {
    let asked = ExportRequest::Groups(asked);
    let export = fixture.service.export(&asked, ExportFormat::JsonLines).await.unwrap();
    let pieces: Vec<_> = export.bytes.try_collect().await.unwrap();
    let file = String::from_utf8(pieces.concat()).unwrap();
    let rows: Vec<serde_json::Value> = file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!rows.is_empty() && rows.len() == answer.groups.len(), "{file}");
    for (row, group) in rows.iter().zip(&answer.groups) {
        assert_eq!((row["id"].as_str(), row["rank"].as_u64()), (Some(&*group.id), Some(group.rank.into())));
        assert_eq!(row["count"].as_u64(), Some(group.count));
        let percentiles = &group.percentiles;
        let answered = [Some(group.mean), percentiles.p50, percentiles.p95, percentiles.p99];
        for (name, answered) in ["mean", "p50", "p95", "p99"].into_iter().zip(answered) {
            // The last digits depend on the order in which the store adds and the text in which it tells.
            let alike = match (row[name].as_f64(), answered) {
                (Some(written), Some(answered)) => (written - answered).abs() <= 1e-12 * answered.abs(),
                (written, answered) => written == answered,
            };
            assert!(alike, "{name} is {} in the file and {answered:?} in the answer", row[name]);
        }
    }
}

#[tokio::test]
async fn groups_are_ranked_by_every_figure_on_every_tier() {
    let fixture = Fixture::create().await;
    let old = history("custom", 6_000, TimeDelta::minutes(10));
    let young = history("young", 4_000, TimeDelta::seconds(15));
    fixture.record(&old).await;
    fixture.record(&young).await;
    let cases = [
        ("young", &young, Timeframe::SixHours, GroupBy::Account, Tier::Raw),
        ("custom", &old, Timeframe::SevenDays, GroupBy::Account, Tier::AccountHour),
        ("custom", &old, Timeframe::ThirtyDays, GroupBy::Account, Tier::AccountHour),
        ("young", &young, Timeframe::OneDay, GroupBy::Conversation, Tier::Raw),
        ("custom", &old, Timeframe::ThirtyDays, GroupBy::Conversation, Tier::ConversationDay),
    ];
    for (metric, samples, timeframe, group_by, tier) in cases {
        for order_by in OrderBy::ALL {
            for order in [None, Some(Order::Asc)] {
                let asked =
                    GroupsRequest { order_by: Some(order_by), order, ..request(metric, timeframe, group_by) };
                let percentile = matches!(order_by, OrderBy::P50 | OrderBy::P95 | OrderBy::P99);
                if percentile && tier == Tier::ConversationDay {
                    let error = fixture.service.groups(asked).await.unwrap_err();
                    assert_eq!(
                        (error.code(), error.parameter()),
                        ("bad_parameter", Some("order_by")),
                        "{error}"
                    );
                    continue;
                }
                let answer = fixture.service.groups(asked.clone()).await.unwrap();
                assert_eq!((answer.tier, answer.order), (tier, order.unwrap_or(Order::Desc)));
                if order.is_some() {
                    assert_exported_alike(&fixture, asked, &answer).await;
                }
                assert_answers(&answer, samples);
            }
        }
    }
}

/// What each group, what none and what all come to: what no tier may tell otherwise.
fn assert_add_up_alike(found: &MetricGroups, expected: &MetricGroups) {
    let what = format!("{:?} and {:?} by {:?}", found.tier, expected.tier, found.group_by);
    assert_ne!(found.tier, expected.tier);
    assert_eq!(found.group_count, expected.group_count, "{what}");
    assert_eq!(found.total.is_some(), expected.total.is_some(), "{what}");
    if let (Some(found), Some(expected)) = (found.total, expected.total) {
        assert_eq!(
            (found.count, found.min, found.max),
            (expected.count, expected.min, expected.max),
            "{what}"
        );
        assert_eq!(found.last, expected.last, "{what}");
        assert_close(found.sum, expected.sum, &what);
        assert_close(found.mean, expected.mean, &what);
    }
    let shares = |answer: &MetricGroups| {
        let groups = answer.groups.iter().map(|group| {
            (group.id.clone(), group.count, group.sum, group.share_of_count, group.share_of_sum)
        });
        let others =
            [("unassigned", answer.unassigned), ("remainder", answer.remainder.map(|rest| rest.share))];
        let others = others.into_iter().filter_map(|(name, share)| {
            share.map(|share| {
                (name.to_owned(), share.count, share.sum, share.share_of_count, share.share_of_sum)
            })
        });
        groups.chain(others).collect::<Vec<_>>()
    };
    let (found, expected) = (shares(found), shares(expected));
    assert_eq!(found.len(), expected.len(), "{what}: {found:?}, {expected:?}");
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!((&found.0, found.1, found.3), (&expected.0, expected.1, expected.3), "{what}");
        assert_close(found.2, expected.2, &what);
        assert_eq!(found.4.is_some(), expected.4.is_some(), "{what}");
        assert_close(found.4.unwrap_or_default(), expected.4.unwrap_or_default(), &what);
    }
}

/// Samples within the last hours, of which as many name no account and no conversation as it comes: all, some and none.
#[tokio::test]
async fn samples_and_rollups_add_up_alike_whatever_names_no_group() {
    for (round, share_without) in [0.0, 0.3, 0.9, 1.0].into_iter().enumerate() {
        let fixture = Fixture::create().await;
        let mut numbers = Numbers(round as u64 + 11);
        let mut samples = history("messages", 400, TimeDelta::minutes(2));
        for sample in &mut samples {
            sample.value = sample.value.abs();
            for name in [&mut sample.account, &mut sample.conversation] {
                *name = if numbers.even() < share_without {
                    ""
                } else {
                    [*name, "someone"][usize::from(name.is_empty())]
                };
            }
        }
        fixture.record(&samples).await;
        let account = ACCOUNTS[0].to_owned();
        let filters =
            [(GroupBy::Account, None), (GroupBy::Conversation, None), (GroupBy::Conversation, Some(account))];
        for (group_by, account_id) in filters {
            for order_by in [OrderBy::Sum, OrderBy::Count, OrderBy::Max] {
                let ask = async |timeframe| {
                    let asked = GroupsRequest {
                        order_by: Some(order_by),
                        account_id: account_id.clone(),
                        ..request("messages", timeframe, group_by)
                    };
                    fixture.service.groups(asked).await.unwrap()
                };
                let (of_samples, of_rollups) =
                    (ask(Timeframe::OneDay).await, ask(Timeframe::SevenDays).await);
                assert_add_up_alike(&of_rollups, &of_samples);
                let own = samples
                    .iter()
                    .filter(|sample| account_id.as_deref().is_none_or(|own| sample.account == own));
                let (all, without): (Vec<&Sample>, Vec<&Sample>) =
                    (own.clone().collect(), own.filter(|sample| id(sample, group_by).is_empty()).collect());
                let count_of = |share: Option<u64>| share.unwrap_or_default() as usize;
                assert_eq!(count_of(of_rollups.total.map(|total| total.count)), all.len());
                assert_eq!(count_of(of_rollups.unassigned.map(|share| share.count)), without.len());
            }
        }
    }
}

#[tokio::test]
async fn what_is_summed_is_shared_out_and_what_falls_is_worst_when_low() {
    let fixture = Fixture::create().await;
    for (metric, order_by, order) in
        [("messages", OrderBy::Sum, Order::Desc), ("ai_confidence", OrderBy::Mean, Order::Asc)]
    {
        let mut samples = history(metric, 1_500, TimeDelta::seconds(30));
        for sample in &mut samples {
            sample.value = sample.value.abs();
        }
        fixture.record(&samples).await;
        for top in [1, 5, 100] {
            let asked = GroupsRequest { top, ..request(metric, Timeframe::OneDay, GroupBy::Account) };
            let answer = fixture.service.groups(asked).await.unwrap();
            assert_eq!((answer.order_by, answer.order), (order_by, order));
            assert_answers(&answer, &samples);
        }
    }
}

#[tokio::test]
async fn conversations_of_one_account_and_old_ranges() {
    let fixture = Fixture::create().await;
    let samples = history("custom", 6_000, TimeDelta::minutes(4));
    fixture.record(&samples).await;
    let own: Vec<Sample> = samples.iter().filter(|sample| sample.account == "acme").cloned().collect();
    for timeframe in [Timeframe::OneDay, Timeframe::SevenDays] {
        let asked = GroupsRequest {
            account_id: Some("acme".to_owned()),
            ..request("custom", timeframe, GroupBy::Conversation)
        };
        assert_answers(&fixture.service.groups(asked).await.unwrap(), &own);
    }
    // Hours of accounts that are no whole days have no percentiles, and the answer says so.
    let day = DateTime::from_timestamp((now().timestamp() / 86_400 - 8) * 86_400, 0).unwrap();
    for (from, to, has_percentiles) in [(0, 24, true), (5, 17, false)] {
        let window = Window { from: day + TimeDelta::hours(from), to: day + TimeDelta::hours(to) };
        let range = RangeRequest::Between { from: window.from, to: Some(window.to) };
        let asked = GroupsRequest { range, ..request("custom", Timeframe::OneHour, GroupBy::Account) };
        let answer = fixture.service.groups(asked.clone()).await.unwrap();
        assert_eq!((answer.tier, answer.window), (Tier::AccountHour, window));
        assert_eq!(answer.percentile_error_bound.is_some(), has_percentiles);
        assert_answers(&answer, &samples);
        let by_percentile = GroupsRequest { order_by: Some(OrderBy::P95), ..asked };
        assert_eq!(fixture.service.groups(by_percentile).await.is_ok(), has_percentiles);
    }
}

/// With next to no memory for a question, the order that takes much of it is refused with the one that does not.
#[tokio::test]
async fn a_question_that_takes_too_much_memory_is_refused() {
    let fixture = Fixture::create().await;
    fixture.record(&history("custom", 30_000, TimeDelta::seconds(1))).await;
    let ask = async |memory_bytes| {
        let bounds = QuestionBounds { memory_bytes, ..QuestionBounds::default() };
        let service = service_over(fixture.database.store().clone().with_question_bounds(bounds));
        let by_percentile = request("custom", Timeframe::OneDay, GroupBy::Account);
        service.groups(GroupsRequest { order_by: Some(OrderBy::P99), ..by_percentile }).await
    };
    let error = ask(1 << 20).await.unwrap_err();
    assert_eq!(error.code(), "range_too_long", "{error:?}");
    assert!(error.to_string().contains("order_by=mean"));
    assert!(ask(QuestionBounds::default().memory_bytes).await.is_ok());
}

#[tokio::test]
async fn nothing_has_no_groups_and_too_many_are_refused() {
    let fixture = Fixture::create().await;
    for group_by in GroupBy::ALL {
        for timeframe in Timeframe::ALL {
            let answer = fixture.service.groups(request("never_seen", timeframe, group_by)).await.unwrap();
            assert_eq!((answer.group_count, answer.groups.len()), (0, 0));
            assert_eq!((answer.total, answer.remainder, answer.unassigned), (None, None, None));
            assert_eq!(answer.freshness.newest_sample, None);
        }
    }
    let asked = request("custom", Timeframe::OneDay, GroupBy::Account);
    let refused = [
        (GroupsRequest { top: 0, ..asked.clone() }, "bad_parameter", "top"),
        (GroupsRequest { top: 101, ..asked.clone() }, "query_too_large", "top"),
        (GroupsRequest { account_id: Some("acme".to_owned()), ..asked }, "bad_parameter", "account_id"),
    ];
    for (asked, code, parameter) in refused {
        let error = fixture.service.groups(asked).await.unwrap_err();
        assert_eq!((error.code(), error.parameter()), (code, Some(parameter)), "{error}");
    }
}
