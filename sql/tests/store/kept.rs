//! What a table really holds after its retention was changed: the store knows it, by its own journal.

use std::time::{SystemTime, UNIX_EPOCH};

use kelly_harness::TestDatabase;
use kelly_sql::{MigrationParams, Retentions, Table};

use crate::support::batch;

const HOUR_MS: i64 = 3_600_000;

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

fn params(metrics_retention_hours: u32, retention_days: u32) -> MigrationParams {
    MigrationParams {
        metrics_retention_hours,
        retention_days,
        audit_retention_days: retention_days,
        cluster: None,
    }
}

async fn migrated(database: &TestDatabase, hours: u32, days: u32) -> Retentions {
    database.store().migrate(&params(hours, days)).await.unwrap();
    database.store().retentions().await.unwrap()
}

/// As if all that the journal has of retentions had been written so much earlier.
async fn let_time_pass(database: &TestDatabase, seconds: u32) {
    let columns = "kind, number, name, checksum, state";
    // The version tells the entries that are written now from those they stand for.
    let moved = database.query("SELECT toString(now64(6))").await;
    database
        .query(&format!(
            "INSERT INTO schema_migrations ({columns}, at, kelly_version) \
             SELECT {columns}, at - INTERVAL {seconds} SECOND, '{moved}' FROM schema_migrations WHERE kind = 'retention'"
        ))
        .await;
    database
        .query(&format!(
            "ALTER TABLE schema_migrations DELETE WHERE kind = 'retention' AND kelly_version != '{moved}' \
             SETTINGS mutations_sync = 2"
        ))
        .await;
}

#[tokio::test]
async fn a_longer_retention_brings_nothing_back() {
    let database = TestDatabase::create_empty();
    let first = migrated(&database, 1, 8).await;
    let at = now_ms();
    assert_eq!(first.samples.whole_from_ms(at), at - HOUR_MS);
    assert_eq!(first.rollups.whole_from_ms(at), at - 8 * 24 * HOUR_MS);
    assert_eq!(first.events.present_ms(), 8 * 24 * HOUR_MS);

    // A part that must follow, and that the engine is kept from touching.
    let old = batch(Table::SystemMetrics, 10, at - HOUR_MS / 2, 1);
    database.store().insert(Table::SystemMetrics, &old, "old").await.unwrap();
    database.query(&format!("SYSTEM STOP MERGES {}.system_metrics", database.name())).await;
    let raised = migrated(&database, 72, 90).await;
    let later = at + 5 * HOUR_MS;
    assert!(raised.are_changing() && !first.are_changing());
    assert_eq!(raised.samples.present_ms(), 72 * HOUR_MS);
    assert_eq!(raised.samples.longest_ms(), 72 * HOUR_MS, "who writes learns of it at once");
    assert_eq!(raised.samples.whole_from_ms(later), later - HOUR_MS, "the parts do not follow yet");
    // Nor does every process that writes know of it yet.
    assert!(database.store().complete_retention(None).await.unwrap().is_empty());
    let_time_pass(&database, 120).await;
    let completed = database.store().complete_retention(None).await.unwrap();
    assert_eq!(completed.len(), Table::ALL.len() - 1, "{completed:?}");
    assert!(!completed.contains(&"system_metrics"), "one of its parts has not followed: {completed:?}");

    database.query(&format!("SYSTEM START MERGES {}.system_metrics", database.name())).await;
    database.query("ALTER TABLE system_metrics DELETE WHERE false SETTINGS mutations_sync = 2").await;
    assert_eq!(database.store().complete_retention(None).await.unwrap(), ["system_metrics"]);
    let complete = database.store().retentions().await.unwrap();
    assert!(!complete.are_changing());
    let raised_at = now_ms();
    let gone_before = complete.samples.whole_from_ms(raised_at + 5 * HOUR_MS);
    assert!((at - HOUR_MS..=raised_at - HOUR_MS + 1).contains(&gone_before), "{gone_before}");
    let gone_before = complete.rollups.whole_from_ms(raised_at + 24 * HOUR_MS);
    assert!(
        (at - 8 * 24 * HOUR_MS..=raised_at - 8 * 24 * HOUR_MS + 1).contains(&gone_before),
        "{gone_before}"
    );
    assert_eq!(complete.samples.whole_from_ms(raised_at + 1_000 * HOUR_MS), raised_at + 928 * HOUR_MS);
    assert!(database.store().complete_retention(None).await.unwrap().is_empty());
    assert!(database.store().migrate(&params(72, 90)).await.unwrap().retention.is_empty());
}

async fn what_was_set_by_hand_counts(database: &TestDatabase) {
    database.query("ALTER TABLE system_metrics MODIFY TTL toDateTime(timestamp) + toIntervalHour(2)").await;
    let at = now_ms();
    let by_hand = database.store().retentions().await.unwrap();
    assert_eq!(by_hand.samples.whole_from_ms(at), at - 2 * HOUR_MS);
    // The configuration wins at the next start, and what was deleted meanwhile is gone.
    let configured = migrated(database, 72, 90).await;
    assert_eq!(configured.samples.present_ms(), 72 * HOUR_MS);
    assert_eq!(configured.samples.whole_from_ms(at), at - 2 * HOUR_MS);
    let_time_pass(database, 120).await;
    database.store().complete_retention(None).await.unwrap();
    let complete = database.store().retentions().await.unwrap();
    let gone_before = complete.samples.whole_from_ms(at + 24 * HOUR_MS);
    assert!((at - 2 * HOUR_MS..=now_ms() - 2 * HOUR_MS + 1).contains(&gone_before), "{gone_before}");
}

#[tokio::test]
async fn what_was_set_by_hand_or_cut_off_counts() {
    let database = TestDatabase::create_empty();
    migrated(&database, 72, 90).await;
    what_was_set_by_hand_counts(&database).await;
}

#[tokio::test]
async fn a_retention_of_before_that_is_set_by_hand_counts() {
    let database = TestDatabase::create_empty();
    migrated(&database, 2, 90).await;
    migrated(&database, 72, 90).await;
    let_time_pass(&database, 120).await;
    database.query("ALTER TABLE system_metrics DELETE WHERE false SETTINGS mutations_sync = 2").await;
    assert!(database.store().complete_retention(None).await.unwrap().contains(&"system_metrics"));
    let_time_pass(&database, 3_600).await;
    what_was_set_by_hand_counts(&database).await;
}

#[tokio::test]
async fn a_store_without_tables_says_what_it_lacks() {
    let database = TestDatabase::create_empty();
    let error = database.store().retentions().await.unwrap_err();
    assert!(!error.to_string().is_empty());
}
