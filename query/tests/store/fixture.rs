//! A database of a test's own with what it needs to hold, and a service over it.

use std::sync::{Arc, OnceLock};

use chrono::{DateTime, TimeDelta, Utc};
use kelly_harness::TestDatabase;
use kelly_query::QueryServiceParts;
use kelly_query::detailed::Detailed;
use kelly_query::{Accounts, DetailedRequest, QueryService, RangeRequest};
use kelly_schemas::Catalogue;
use kelly_sql::Store;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::samples::{self, Sample};

/// The instant at which every question of this program is asked: near the real time, because the engine drops
/// rows that are older than they are kept, and an odd one, because nothing may depend on round ones.
pub(crate) fn now() -> DateTime<Utc> {
    static NOW: OnceLock<DateTime<Utc>> = OnceLock::new();
    *NOW.get_or_init(|| {
        let now = Utc::now();
        DateTime::from_timestamp_millis(now.timestamp() / 60 * 60_000 + 21_345).unwrap()
    })
}

pub(crate) struct Fixture {
    pub(crate) database: TestDatabase,
    pub(crate) service: QueryService,
}

/// An event as it is recorded, with its place on the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recorded {
    pub(crate) id: Uuid,
    pub(crate) at: DateTime<Utc>,
    pub(crate) offset: u64,
    pub(crate) account: &'static str,
    pub(crate) severity: &'static str,
}

/// A service over a store, at the instant of these tests.
pub(crate) fn service_over(store: Store) -> QueryService {
    QueryService::new(QueryServiceParts {
        store,
        catalogue: Arc::new(Catalogue::builtin().clone()),
        clock: now,
    })
}

impl Fixture {
    pub(crate) async fn create() -> Self {
        let database = TestDatabase::create().await;
        let service = service_over(database.store().clone());
        Self { database, service }
    }

    /// Stores samples as ingest does: raw while raw is kept, and in every tier of the rollups.
    pub(crate) async fn record(&self, samples: &[Sample]) {
        let raw_from = now() - TimeDelta::hours(72);
        let raw =
            samples.iter().filter(|sample| sample.at >= raw_from).enumerate().map(|(offset, sample)| {
                json!({
                    "metric_name": sample.metric, "metric_type": "gauge", "value": sample.value,
                    "timestamp": samples::milliseconds(sample.at), "account_id": sample.account,
                    "conversation_id": sample.conversation, "log_offset": offset,
                })
            });
        self.insert("system_metrics", raw).await;
        let mut rows = Vec::new();
        for (tier, unit) in [("minute", 60), ("hour", 3_600)] {
            let groups = samples::rolled_up(samples, unit, |sample| sample.metric);
            rows.extend(groups.into_iter().map(|((metric, t), group)| {
                let key = json!({
                    "tier": tier, "metric_name": metric, "t": t, "histogram": samples::buckets(&group),
                });
                with(samples::state(&group), key)
            }));
        }
        let groups = samples::rolled_up(samples, 3_600, |sample| (sample.metric, sample.account));
        rows.extend(groups.into_iter().map(|(((metric, account), t), group)| {
            let key = json!({ "tier": "account_hour", "metric_name": metric, "account_id": account, "t": t });
            with(samples::state(&group), key)
        }));
        let groups = samples::rolled_up(samples, 86_400, |sample| (sample.metric, sample.account));
        rows.extend(groups.into_iter().map(|(((metric, account), t), group)| {
            let key = json!({
                "tier": "account_day", "metric_name": metric, "account_id": account, "t": t,
                "histogram": samples::buckets(&group),
            });
            with(samples::no_state(), key)
        }));
        let groups = samples::rolled_up(samples, 86_400, |sample| {
            (sample.conversation, sample.metric, sample.account)
        });
        rows.extend(groups.into_iter().map(|(((conversation, metric, account), t), group)| {
            let key = json!({
                "tier": "conversation_day", "conversation_id": conversation, "metric_name": metric,
                "account_id": account, "t": t,
            });
            with(samples::state(&group), key)
        }));
        self.insert("metric_rollups", rows).await;
    }

    /// Stores events as ingest does: every row, and for each id of an account the least (created_at, place) of its rows.
    pub(crate) async fn record_events(&self, events: &[Recorded]) {
        let row = |event: &Recorded| {
            json!({
                "id": event.id, "event_type": "handover", "title": format!("event {}", event.offset),
                "account_id": event.account, "conversation_id": "c-1", "severity": event.severity,
                "category": "general", "created_at": samples::milliseconds(event.at),
                "metadata": json!({ "offset": event.offset }).to_string(),
                "is_vip": u8::from(["high", "critical"].contains(&event.severity)), "log_offset": event.offset,
            })
        };
        let first = |event: &Recorded| {
            json!({ "id": event.id, "account_id": event.account, "first": {
                "created_at": samples::milliseconds(event.at), "log_partition": 0, "log_offset": event.offset,
                "log_row": 0,
            }})
        };
        self.insert("activity_events", events.iter().map(row)).await;
        self.insert("activity_first_seen", events.iter().map(first)).await;
    }

    /// Asks about one metric.
    pub(crate) async fn detailed(
        &self,
        metric: &str,
        range: RangeRequest,
        account: Option<&str>,
        conversation: Option<&str>,
    ) -> Detailed {
        let request = DetailedRequest {
            metric_name: metric.to_owned(),
            range,
            account_id: account.map(str::to_owned),
            accounts: Accounts::All,
            conversation_id: conversation.map(str::to_owned),
            step_seconds: None,
            compare: None,
        };
        self.service.detailed(request).await.unwrap()
    }

    pub(crate) async fn insert(&self, table: &str, rows: impl IntoIterator<Item = Value>) {
        let rows: Vec<String> = rows.into_iter().map(|row| row.to_string()).collect();
        if !rows.is_empty() {
            let columns = "SETTINGS max_partitions_per_insert_block = 0, async_insert = 0 FORMAT JSONEachRow";
            self.database.query(&format!("INSERT INTO {table} {columns}\n{}", rows.join("\n"))).await;
        }
    }
}

fn with(mut row: Value, more: Value) -> Value {
    row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    row
}
