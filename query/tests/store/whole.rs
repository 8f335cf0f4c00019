//! The overview, the store's health, and a store that does not answer.

use std::sync::Arc;

use chrono::{NaiveTime, TimeDelta};
use kelly_query::QueryServiceParts;
use kelly_query::{Accounts, FeedRequest, QueryService};
use kelly_schemas::Catalogue;
use kelly_sql::{Store, StoreConfig};

use crate::fixture::{Fixture, Recorded, now, service_over};
use crate::samples::Sample;

fn sample(metric: &'static str, conversation: &'static str, seconds_ago: i64, value: f64) -> Sample {
    Sample { metric, account: "acme", conversation, at: now() - TimeDelta::seconds(seconds_ago), value }
}

#[tokio::test]
async fn an_empty_house_has_no_figures() {
    let fixture = Fixture::create().await;
    let overview = serde_json::to_value(fixture.service.overview(&Accounts::All).await.unwrap()).unwrap();
    for (field, value) in overview.as_object().unwrap() {
        assert_eq!(value.is_null(), field != "timestamp", "{field} is {value}");
    }
}

#[tokio::test]
async fn the_overview_follows_the_catalogue() {
    let fixture = Fixture::create().await;
    let midnight = now().date_naive().and_time(NaiveTime::MIN).and_utc();
    let today = (now() - midnight).num_seconds();
    let samples = [
        sample("messages", "c-1", 1, 2.0),
        sample("messages", "c-2", 2, 3.0),
        // Yesterday's last: no part of today.
        sample("messages", "c-3", today + 61, 100.0),
        sample("ai_confidence", "c-1", 3, 0.5),
        sample("ai_confidence", "c-1", 4, 0.7),
        sample("ai_confidence", "c-1", 2 * 86_400, 0.1),
        sample("claude_cost", "c-1", 1, 0.25),
        sample("system_load", "", 1, 40.0),
        sample("alert_count", "", 9, 3.0),
        sample("alert_count", "", 5, 2.0),
    ];
    fixture.record(&samples).await;
    let event = Recorded {
        id: uuid::Uuid::from_u128(7),
        at: now() - TimeDelta::seconds(1),
        offset: 1,
        account: "acme",
        severity: "low",
    };
    fixture.record_events(&[event]).await;
    let overview = fixture.service.overview(&Accounts::All).await.unwrap();
    assert_eq!(overview.messages_processed, Some(5));
    assert!((overview.ai_confidence_avg.unwrap() - 0.6).abs() < 1e-12);
    assert_eq!(overview.claude_cost_today, Some(0.25));
    assert_eq!(overview.system_load, Some(40.0));
    assert_eq!(overview.alert_count, Some(2));
    // c-1 by samples and by the event, c-2 by a sample; none has no conversation.
    assert_eq!(overview.conversations_total_today, Some(2));
    assert!(overview.conversations_active >= Some(2));
    assert_eq!(overview.safety_score_avg, None);
    assert_eq!(overview.timestamp, now());
}

/// Every clock reading of an answer ends in milliseconds, whatever the clock can do.
#[tokio::test]
async fn times_are_given_to_the_millisecond() {
    let fixture = Fixture::create().await;
    let service = QueryService::new(QueryServiceParts {
        store: fixture.database.store().clone(),
        catalogue: Arc::new(Catalogue::builtin().clone()),
        clock: || now() + TimeDelta::nanoseconds(123_456),
    });
    assert_eq!(service.overview(&Accounts::All).await.unwrap().timestamp, now());
    assert_eq!(service.health_database(&Accounts::All).await.unwrap().timestamp, now());
}

#[tokio::test]
async fn the_database_says_what_it_holds() {
    let fixture = Fixture::create().await;
    fixture.record(&[sample("messages", "c-1", 1, 2.0)]).await;
    let health = fixture.service.health_database(&Accounts::All).await.unwrap();
    assert!(health.schema_current, "{:?}", health.schema_problem);
    assert_eq!(health.newest_metric, Some(now() - TimeDelta::seconds(1)));
    assert_eq!((health.newest_event, health.dead_letters.unwrap().total), (None, 0));
    let tables = health.tables.unwrap();
    let raw = tables.iter().find(|table| table.table == "system_metrics").unwrap();
    assert_eq!((raw.rows, raw.parts), (1, 1));
    assert!(health.bytes_on_disk.unwrap() >= raw.bytes_on_disk);

    let empty = kelly_harness::TestDatabase::create_empty();
    let health = service_over(empty.store().clone()).health_database(&Accounts::All).await;
    let health = health.unwrap();
    assert!(!health.schema_current);
    assert!(health.schema_problem.unwrap().contains("kelly migrate"));
}

#[tokio::test]
async fn a_store_that_is_away_is_an_error_of_its_own() {
    let url = format!("http://127.0.0.1:{}", kelly_harness::free_port());
    let config = StoreConfig {
        url,
        database: "kelly".into(),
        user: "kelly".into(),
        password: String::new(),
        inserts_yield: false,
    };
    let service = service_over(Store::new(config).unwrap());
    let errors = [
        service.overview(&Accounts::All).await.unwrap_err(),
        service.feed(FeedRequest::newest(Accounts::All)).await.unwrap_err(),
        service.health_database(&Accounts::All).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.code(), "store_unavailable");
        assert!(!error.to_string().contains("127.0.0.1"), "nothing of the inside in {error}");
    }
}

/// A figure the answer has no field for would be left out in silence.
#[test]
fn every_figure_of_the_catalogue_has_its_field() {
    let fields: Vec<&str> = vec![
        "conversations_active",
        "conversations_total_today",
        "messages_processed",
        "ai_confidence_avg",
        "safety_score_avg",
        "human_interventions",
        "alert_count",
        "system_load",
        "response_time_avg",
        "claude_requests_today",
        "claude_cost_today",
    ];
    let figures: Vec<&str> =
        Catalogue::builtin().overview().iter().map(|figure| figure.field.as_str()).collect();
    assert_eq!(figures, fields);
    for figure in Catalogue::builtin().overview() {
        let of_values = figure.statistic != kelly_schemas::overview::Statistic::DistinctConversations;
        assert_eq!(figure.metric.is_some(), of_values, "{}", figure.field);
    }
}
