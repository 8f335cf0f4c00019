//! Answers after a retention was raised: what is gone is not taken for a time without samples.

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::TryStreamExt;
use kelly_harness::TestDatabase;
use kelly_query::comparison::{Compare, Kept};
use kelly_query::detailed::Tier;
use kelly_query::groups::GroupBy;
use kelly_query::{
    Accounts, DetailedRequest, ExportFormat, ExportRequest, GroupsRequest, RangeRequest, Timeframe,
};
use kelly_sql::MigrationParams;

use crate::fixture::{Fixture, now, service_over};
use crate::samples::Sample;

/// A store that kept samples for an hour and rollups for eight days, and keeps both for longer since just now.
async fn raised() -> Fixture {
    let database = TestDatabase::create_empty();
    let params = |metrics_retention_hours, retention_days| MigrationParams {
        metrics_retention_hours,
        retention_days,
        audit_retention_days: retention_days,
        cluster: None,
    };
    database.store().migrate(&params(1, 8)).await.unwrap();
    database.store().migrate(&params(72, 90)).await.unwrap();
    let service = service_over(database.store().clone());
    Fixture { database, service }
}

/// One every ten minutes of the last ten hours, or one every six hours of the last twelve days: the older the smaller.
fn samples(metric: &'static str, count: i64, gap: TimeDelta) -> Vec<Sample> {
    (0..count)
        .map(|index| Sample {
            metric,
            account: "acme",
            conversation: "c-1",
            at: now() - gap * index as i32 - TimeDelta::seconds(30),
            value: (count - index) as f64,
        })
        .collect()
}

/// What the engine did under the retentions before.
async fn expire(fixture: &Fixture) {
    let since = |age: TimeDelta| (now() - age).timestamp_millis();
    let delete = |table: &str, column: &str, age: TimeDelta| {
        format!(
            "ALTER TABLE {table} DELETE WHERE toUnixTimestamp64Milli(toDateTime64({column}, 3, 'UTC')) < {} SETTINGS mutations_sync = 2",
            since(age)
        )
    };
    fixture.database.query(&delete("system_metrics", "timestamp", TimeDelta::hours(1))).await;
    let tables = fixture
        .database
        .query(
            "SELECT DISTINCT name FROM system.tables WHERE database = currentDatabase() AND engine_full LIKE '% TTL t + %'",
        )
        .await;
    for table in tables.lines() {
        fixture.database.query(&delete(table, "t", TimeDelta::days(8))).await;
    }
}

fn request(metric: &str, timeframe: Timeframe, account: Option<&str>) -> DetailedRequest {
    DetailedRequest {
        metric_name: metric.to_owned(),
        range: RangeRequest::Last(timeframe),
        account_id: account.map(str::to_owned),
        accounts: Accounts::All,
        conversation_id: None,
        step_seconds: None,
        compare: Some(Compare::Previous),
    }
}

#[tokio::test]
async fn samples_that_were_kept_for_an_hour_are_answered_from_rollups() {
    let fixture = raised().await;
    fixture.record(&samples("m", 60, TimeDelta::minutes(10))).await;
    expire(&fixture).await;
    let answer = fixture.service.detailed(request("m", Timeframe::OneDay, Some("acme"))).await.unwrap();
    assert_eq!(answer.sample_count, 60);
    assert_ne!(answer.tier, Tier::Raw);
    assert_eq!(answer.window_kept, Kept::Whole);
    let note = answer.notes.join(" ");
    assert!(note.contains("samples are kept for 72 hours, those before "), "{note}");
    // Within the hour they are all there.
    let answer = fixture.service.detailed(request("m", Timeframe::OneHour, Some("acme"))).await.unwrap();
    assert_eq!((answer.tier, answer.sample_count, answer.notes.len()), (Tier::Raw, 6, 0));
    let windows = answer.comparison.unwrap().windows;
    assert_eq!(windows.previous_kept, Kept::None);
    // A conversation's days hold what its samples no longer do.
    let request =
        DetailedRequest { conversation_id: Some("c-1".to_owned()), ..request("m", Timeframe::OneDay, None) };
    let answer = fixture.service.detailed(request).await.unwrap();
    assert_eq!((answer.sample_count, answer.window_kept), (60, Kept::Whole));
    assert_eq!(answer.tier, Tier::ConversationDay);
    let groups = GroupsRequest {
        metric_name: "m".to_owned(),
        range: RangeRequest::Last(Timeframe::OneDay),
        group_by: GroupBy::Account,
        order_by: None,
        order: None,
        top: 10,
        accounts: Accounts::All,
        account_id: None,
        compare: None,
    };
    let answer = fixture.service.groups(groups).await.unwrap();
    assert_eq!((answer.groups[0].count, answer.window_kept), (60, Kept::Whole));
    assert!(answer.notes[0].contains("were kept for a shorter time"), "{:?}", answer.notes);
}

#[tokio::test]
async fn rollups_that_were_kept_for_eight_days_are_not_compared_with_what_is_gone() {
    let fixture = raised().await;
    fixture.record(&samples("m", 48, TimeDelta::hours(6))).await;
    expire(&fixture).await;
    for account in [None, Some("acme")] {
        let answer = fixture.service.detailed(request("m", Timeframe::SevenDays, account)).await.unwrap();
        assert_eq!(answer.window_kept, Kept::Whole, "{account:?}");
        let trend = &answer.trend_analysis;
        assert!(!trend.is_concerning && trend.insufficient_data && trend.previous.is_none(), "{trend:?}");
        let comparison = answer.comparison.unwrap();
        assert_eq!(comparison.windows.previous_kept, Kept::Partly);
        assert_eq!((comparison.change.previous, comparison.change.percentage_change), (None, None));
        let note = comparison.windows.note.unwrap();
        assert!(note.contains("were kept for a shorter time"), "{note}");

        let answer = fixture.service.detailed(request("m", Timeframe::ThirtyDays, account)).await.unwrap();
        assert_eq!(answer.window_kept, Kept::Partly);
        assert!(answer.notes[0].contains("its first samples may be missing"), "{:?}", answer.notes);
        assert_eq!(answer.comparison.unwrap().windows.previous_kept, Kept::None);
    }
    let from = now() - TimeDelta::days(40);
    let range = RangeRequest::Between { from, to: Some(from + TimeDelta::days(7)) };
    let answer =
        fixture.service.detailed(DetailedRequest { range, ..request("m", Timeframe::OneDay, None) }).await;
    let answer = answer.unwrap();
    assert_eq!((answer.window_kept, answer.sample_count), (Kept::None, 0));
    assert!(answer.notes[0].starts_with("The window ends earlier"), "{:?}", answer.notes);
}

#[tokio::test]
async fn an_export_says_since_when_everything_is_kept() {
    let fixture = raised().await;
    fixture.record(&samples("m", 60, TimeDelta::minutes(10))).await;
    expire(&fixture).await;
    let samples = |timeframe| {
        ExportRequest::Samples(DetailedRequest { compare: None, ..request("m", timeframe, Some("acme")) })
    };
    let kept_from = now() - TimeDelta::hours(1);
    let export = fixture.service.export(&samples(Timeframe::OneDay), ExportFormat::Csv).await.unwrap();
    assert_eq!((export.window.from, export.kept_from), (kept_from, Some(kept_from)));
    assert_eq!(lines(export.bytes.try_collect().await.unwrap()), 1 + 6);
    let export = fixture.service.export(&samples(Timeframe::OneHour), ExportFormat::Csv).await.unwrap();
    assert_eq!((export.window.from, export.kept_from), (kept_from, None));
    // Older than everything: an empty file that says why.
    let range =
        RangeRequest::Between { from: now() - TimeDelta::hours(9), to: Some(now() - TimeDelta::hours(8)) };
    let old = DetailedRequest { range, compare: None, ..request("m", Timeframe::OneDay, None) };
    let export = fixture.service.export(&ExportRequest::Samples(old), ExportFormat::Csv).await.unwrap();
    assert_eq!(export.kept_from, Some(kept_from));
    assert_eq!(lines(export.bytes.try_collect().await.unwrap()), 1);
    let series = DetailedRequest { compare: None, ..request("m", Timeframe::ThirtyDays, None) };
    let export = fixture.service.export(&ExportRequest::Series(series), ExportFormat::Csv).await.unwrap();
    assert_eq!(export.kept_from, Some(now() - TimeDelta::days(8)));
}

fn lines(pieces: Vec<bytes::Bytes>) -> usize {
    let text: Vec<u8> = pieces.concat();
    text.iter().filter(|byte| **byte == b'\n').count()
}

/// What another role changed is seen without a restart.
#[tokio::test]
async fn a_change_is_seen_by_a_service_that_runs() {
    let database = TestDatabase::create().await;
    let service = service_over(database.store().clone());
    let fixture = Fixture { database, service };
    let ask = async || {
        let answer = fixture.service.detailed(request("m", Timeframe::OneDay, Some("acme"))).await.unwrap();
        answer.tier
    };
    assert_eq!(ask().await, Tier::Raw);
    let shorter = MigrationParams { metrics_retention_hours: 1, ..MigrationParams::default() };
    fixture.database.store().migrate(&shorter).await.unwrap();
    let begun: DateTime<Utc> = Utc::now();
    while ask().await == Tier::Raw {
        assert!(Utc::now() - begun < TimeDelta::seconds(60), "the change was never seen");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}
