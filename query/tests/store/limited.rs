//! Who may see some accounts only: every question is answered as if nothing else were there.

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::TryStreamExt;
use kelly_query::comparison::Compare;
use kelly_query::groups::{GroupBy, OrderBy};
use kelly_query::{
    Accounts, ActivityExportRequest, DetailedRequest, ExportFormat, ExportRequest, FeedRequest,
    GroupsRequest, RangeRequest, SeveralRequest, Timeframe,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::fixture::{Fixture, Recorded, now};
use crate::samples::{Numbers, Sample, assert_close};

/// The last is none: samples and events that name no account.
const ACCOUNTS: [&str; 6] = ["acme", "globex", "initech", "hooli", "o'brien \"&\" söhne\\", ""];
/// As many accounts talk in each of them: a conversation's samples are seen account by account.
const CONVERSATIONS: [&str; 5] = ["c-1", "c-2", "c-3", "c-4", ""];
const METRICS: [&str; 6] =
    ["messages", "ai_confidence", "response_time", "claude_cost", "alert_count", "custom"];

/// Samples of every metric, account and conversation: most of the last minutes, some of today, some of the last weeks.
fn history() -> Vec<Sample> {
    let mut numbers = Numbers(5);
    let ages = [10 * 60, 3_600, 86_400, 3 * 86_400, 45 * 86_400];
    let sample = |number: usize| {
        let mut pick = |of: &[&'static str]| of[(numbers.even() * of.len() as f64) as usize];
        let (metric, account, conversation) = (pick(&METRICS), pick(&ACCOUNTS), pick(&CONVERSATIONS));
        let age_ms = numbers.even() * f64::from(ages[number % ages.len()]) * 1_000.0;
        let at = now() - TimeDelta::milliseconds(age_ms as i64);
        Sample { metric, account, conversation, at, value: numbers.even() * 100.0 }
    };
    let mut samples: Vec<Sample> = (0..4_000).map(sample).collect();
    // A name that the catalogue does not have and only one account has used.
    samples.push(Sample { metric: "of_one_alone", account: "hooli", ..samples[0].clone() });
    samples
}

fn events() -> Vec<Recorded> {
    let mut numbers = Numbers(6);
    (0..400)
        .map(|offset| Recorded {
            id: Uuid::from_u128(0x0195_0000_0000_7000_8000_0000_0000_0000 + u128::from(offset)),
            at: now() - TimeDelta::milliseconds((numbers.even() * 30.0 * 86_400_000.0) as i64),
            offset,
            account: ACCOUNTS[(numbers.even() * ACCOUNTS.len() as f64) as usize],
            severity: ["low", "high"][offset as usize % 2],
        })
        .collect()
}

async fn recorded(seen: impl Fn(&str) -> bool) -> Fixture {
    let fixture = Fixture::create().await;
    let samples: Vec<Sample> = history().into_iter().filter(|sample| seen(sample.account)).collect();
    let events: Vec<Recorded> = events().into_iter().filter(|event| seen(event.account)).collect();
    fixture.record(&samples).await;
    if !events.is_empty() {
        fixture.record_events(&events).await;
    }
    fixture
}

fn ranges() -> [RangeRequest; 5] {
    let hours = |from, to| RangeRequest::Between {
        from: now() - TimeDelta::hours(from),
        to: Some(now() - TimeDelta::hours(to)),
    };
    [
        RangeRequest::Last(Timeframe::OneHour),
        RangeRequest::Last(Timeframe::OneDay),
        RangeRequest::Last(Timeframe::SevenDays),
        RangeRequest::Last(Timeframe::ThirtyDays),
        hours(100, 90),
    ]
}

fn detailed(accounts: &Accounts, metric: &str, range: RangeRequest) -> DetailedRequest {
    DetailedRequest {
        metric_name: metric.to_owned(),
        range,
        accounts: accounts.clone(),
        account_id: None,
        conversation_id: None,
        step_seconds: None,
        compare: None,
    }
}

fn grouped(accounts: &Accounts, metric: &str, range: RangeRequest, group_by: GroupBy) -> GroupsRequest {
    GroupsRequest {
        metric_name: metric.to_owned(),
        range,
        group_by,
        order_by: Some(OrderBy::Count),
        order: None,
        top: 3,
        accounts: accounts.clone(),
        account_id: None,
        compare: Some(Compare::Previous),
    }
}

/// The rows of an export, as JSON.
async fn rows(fixture: &Fixture, request: ExportRequest) -> Value {
    let export = fixture.service.export(&request, ExportFormat::JsonLines).await.unwrap();
    let pieces: Vec<_> = export.bytes.try_collect().await.unwrap();
    let file = String::from_utf8(pieces.concat()).unwrap();
    let mut rows: Vec<Value> = file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // Of one millisecond in any order.
    rows.sort_by_key(Value::to_string);
    rows.into()
}

/// Whatever can be asked, each with what is asked.
async fn everything(fixture: &Fixture, accounts: &Accounts) -> Vec<(String, Value)> {
    let service = &fixture.service;
    let mut answers = Vec::new();
    let mut answer = |what: String, answer: Value| answers.push((what, answer));
    answer("overview".to_owned(), json!(service.overview(accounts).await.unwrap()));
    for range in ranges() {
        for metric in ["messages", "ai_confidence"] {
            let whole = detailed(accounts, metric, range);
            let conversation = DetailedRequest { conversation_id: Some("c-1".to_owned()), ..whole.clone() };
            for request in [whole, conversation] {
                let what = format!("{request:?}");
                let compared = DetailedRequest { compare: Some(Compare::Previous), ..request.clone() };
                answer(what.clone(), json!(service.detailed(compared).await.unwrap()));
                answer(
                    format!("points of {what}"),
                    rows(fixture, ExportRequest::Series(request.clone())).await,
                );
                answer(format!("samples of {what}"), rows(fixture, ExportRequest::Samples(request)).await);
            }
            for group_by in GroupBy::ALL {
                let request = grouped(accounts, metric, range, group_by);
                let what = format!("{request:?}");
                answer(what.clone(), json!(service.groups(request.clone()).await.unwrap()));
                answer(format!("file of {what}"), rows(fixture, ExportRequest::Groups(request)).await);
            }
        }
        let each = detailed(accounts, "", range);
        let metric_names = ["custom", "of_one_alone", "of_nobody"].map(str::to_owned).to_vec();
        let several = service.several(SeveralRequest { metric_names, each }).await.unwrap();
        answer(format!("several over {range:?}"), json!(several));
        let events = ActivityExportRequest {
            accounts: accounts.clone(),
            range,
            severity: None,
            event_type: None,
            account_id: None,
        };
        answer(format!("events over {range:?}"), rows(fixture, ExportRequest::Activity(events)).await);
    }
    for vip in [false, true] {
        let mut request = FeedRequest { limit: Some(30), ..FeedRequest::newest(accounts.clone()) };
        loop {
            let page = match vip {
                false => service.feed(request.clone()).await.unwrap(),
                true => service.vip(request.clone()).await.unwrap(),
            };
            answer(format!("vip {vip}, {request:?}"), json!(page));
            request.cursor = page.next_cursor;
            if request.cursor.is_none() {
                break;
            }
        }
    }
    answers
}

/// Equal, up to the last digits of numbers: they depend on the order in which the store adds.
fn assert_alike(found: &Value, expected: &Value, what: &str) {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            assert!(found.keys().eq(expected.keys()), "{what}: {found:?}, {expected:?}");
            for (key, found) in found {
                assert_alike(found, &expected[key], &format!("{what}, {key}"));
            }
        }
        (Value::Array(found), Value::Array(expected)) => {
            assert_eq!(found.len(), expected.len(), "{what}");
            for (place, (found, expected)) in found.iter().zip(expected).enumerate() {
                assert_alike(found, expected, &format!("{what}, {place}"));
            }
        }
        (Value::Number(found), Value::Number(expected)) => {
            assert_close(found.as_f64().unwrap(), expected.as_f64().unwrap(), what);
        }
        (found, expected) => assert_eq!(found, expected, "{what}"),
    }
}

/// On a store with everybody's rows as on one that has theirs alone.
#[tokio::test]
async fn who_is_limited_is_answered_as_if_nothing_else_were_there() {
    let everybodys = recorded(|_| true).await;
    for own in [&["acme", "globex", "of no rows"][..], &["o'brien \"&\" söhne\\"], &[]] {
        let theirs_alone = recorded(|account| own.contains(&account)).await;
        let accounts = Accounts::only(own.iter().copied()).unwrap();
        let found = everything(&everybodys, &accounts).await;
        let expected = everything(&theirs_alone, &accounts).await;
        assert_eq!(found.len(), expected.len(), "{own:?}");
        for ((what, found), (_, expected)) in found.iter().zip(&expected) {
            assert_alike(found, expected, what);
        }
        let whole = json!(found.iter().map(|(_, answer)| answer).collect::<Vec<_>>()).to_string();
        for account in ACCOUNTS.iter().filter(|account| !account.is_empty() && !own.contains(account)) {
            let written = Value::from(*account).to_string();
            assert!(!whole.contains(written.trim_matches('"')), "{own:?} see {account}");
        }
    }
}

/// A store that has one account's rows alone answers who may see all as the whole store answers who may see that account.
#[tokio::test]
async fn the_figures_of_an_account_are_those_of_its_rows() {
    let everybodys = recorded(|_| true).await;
    let alone = recorded(|account| account == "acme").await;
    let own = Accounts::only(["acme"]).unwrap();
    let found = everybodys.service.overview(&own).await.unwrap();
    let expected = alone.service.overview(&Accounts::All).await.unwrap();
    assert!(expected.ai_confidence_avg.is_some() && expected.alert_count.is_some());
    assert_alike(&json!(found), &json!(expected), "overview");
    for range in ranges() {
        let ask = async |fixture: &Fixture, accounts: &Accounts| {
            fixture.service.detailed(detailed(accounts, "ai_confidence", range)).await.unwrap()
        };
        let (found, expected) = (ask(&everybodys, &own).await, ask(&alone, &Accounts::All).await);
        assert_ne!(found.tier, expected.tier, "{range:?}");
        // Tiers have windows of their own; where they are the same, so are the samples.
        if found.window == expected.window {
            assert_eq!(found.sample_count, expected.sample_count, "{range:?}");
        }
    }
}

/// What single accounts have, and what belongs to none, is together what there is.
#[tokio::test]
async fn the_accounts_add_up_to_the_whole() {
    let fixture = recorded(|_| true).await;
    let samples = history();
    let of_none = |metric: &str, from: DateTime<Utc>, to: DateTime<Utc>| {
        let own = samples.iter().filter(|sample| sample.metric == metric && sample.account.is_empty());
        own.filter(|sample| (from..to).contains(&sample.at)).map(|sample| sample.value).collect::<Vec<f64>>()
    };
    let single = || ACCOUNTS.iter().filter(|account| !account.is_empty());
    let whole = fixture.service.overview(&Accounts::All).await.unwrap();
    let midnight = now().date_naive().and_time(chrono::NaiveTime::MIN).and_utc();
    let mut cost: f64 = of_none("claude_cost", midnight, now()).iter().sum();
    for account in single() {
        let own = fixture.service.overview(&Accounts::only([*account]).unwrap()).await.unwrap();
        cost += own.claude_cost_today.unwrap_or_default();
    }
    assert_close(cost, whole.claude_cost_today.unwrap_or_default(), "the cost of today");
    for timeframe in Timeframe::ALL {
        let range = RangeRequest::Last(timeframe);
        let all = Accounts::All;
        let whole = fixture.service.groups(grouped(&all, "messages", range, GroupBy::Account)).await.unwrap();
        let window = whole.window;
        let none = of_none("messages", window.from, window.to);
        let (mut count, mut sum) = (none.len() as u64, none.iter().sum::<f64>());
        for account in single() {
            let own = Accounts::only([*account]).unwrap();
            let answer =
                fixture.service.groups(grouped(&own, "messages", range, GroupBy::Account)).await.unwrap();
            assert_eq!(
                (answer.window, answer.group_count, answer.unassigned),
                (window, 1, None),
                "{account}"
            );
            let total = answer.total.unwrap();
            (count, sum) = (count + total.count, sum + total.sum);
            let series = fixture.service.detailed(detailed(&own, "messages", range)).await.unwrap();
            assert_eq!(series.sample_count, total.count, "{account} over {timeframe:?}");
        }
        let total = whole.total.unwrap();
        assert_eq!(count, total.count, "{timeframe:?}");
        assert_close(sum, total.sum, "the sum over the accounts");
    }
}

/// Whether there is such an account or not, by the same words, in every question that names one.
#[tokio::test]
async fn an_account_of_others_is_refused_whether_or_not_it_exists() {
    let fixture = recorded(|account| account != "hooli").await;
    let own = Accounts::only(["acme"]).unwrap();
    let range = RangeRequest::Last(Timeframe::OneHour);
    let mut refusals = Vec::new();
    for account in ["globex", "hooli"] {
        let account_id = Some(account.to_owned());
        let series = DetailedRequest { account_id: account_id.clone(), ..detailed(&own, "messages", range) };
        let groups = GroupsRequest {
            account_id: account_id.clone(),
            ..grouped(&own, "messages", range, GroupBy::Conversation)
        };
        let events = ActivityExportRequest {
            accounts: own.clone(),
            range,
            severity: None,
            event_type: None,
            account_id: account_id.clone(),
        };
        let feed = FeedRequest { account_id, ..FeedRequest::newest(own.clone()) };
        let service = &fixture.service;
        let several = SeveralRequest { metric_names: vec!["messages".to_owned()], each: series.clone() };
        let mut errors = vec![
            service.detailed(series.clone()).await.unwrap_err(),
            service.groups(groups.clone()).await.unwrap_err(),
            service.several(several).await.unwrap_err(),
            service.feed(feed.clone()).await.unwrap_err(),
            service.vip(feed).await.unwrap_err(),
        ];
        for request in [
            ExportRequest::Series(series.clone()),
            ExportRequest::Samples(series),
            ExportRequest::Groups(groups),
            ExportRequest::Activity(events),
        ] {
            errors.extend(service.export(&request, ExportFormat::Csv).await.err());
        }
        assert_eq!(errors.len(), 9);
        refusals.push(errors.iter().map(|error| (error.code(), error.to_string())).collect::<Vec<_>>());
    }
    assert_eq!(refusals[0], refusals[1]);
    assert!(refusals[0].iter().all(|(code, _)| *code == "account_not_permitted"), "{refusals:?}");
}

/// What all accounts together have in the store says something of the others.
#[tokio::test]
async fn who_is_limited_learns_nothing_of_what_the_store_holds() {
    let fixture = recorded(|_| true).await;
    let own = Accounts::only(["acme"]).unwrap();
    let health = fixture.service.health_database(&own).await.unwrap();
    assert!(health.schema_current && health.round_trip_ms > 0.0);
    assert_eq!((health.tables, health.bytes_on_disk, health.dead_letters), (None, None, None));
    assert_eq!((health.newest_metric, health.newest_event), (None, None));
}
