//! Migrations against the real engine: repeatable, resumable, and not to be confused by another version's database.

use crate::support::batch;
use kelly_harness::TestDatabase;
use kelly_sql::{MigrationParams, MigrationReport, SchemaError, StoreError, Table};

/// What a start-up would say about the database.
async fn schema_error(database: &TestDatabase) -> SchemaError {
    match database.store().verify_schema().await {
        Err(StoreError::Schema(error)) => error,
        other => panic!("expected a schema error, got {other:?}"),
    }
}

fn now_ms() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64
}

#[tokio::test]
async fn a_second_migration_changes_nothing() {
    let database = TestDatabase::create_empty();
    assert!(matches!(schema_error(&database).await, SchemaError::Missing { .. }));
    let first = database.store().migrate(&MigrationParams::default()).await.unwrap();
    assert_eq!(first.applied.len(), Table::ALL.len() + 1);
    assert!(first.retention.is_empty());
    database.store().verify_schema().await.unwrap();
    let second = database.store().migrate(&MigrationParams::default()).await.unwrap();
    assert_eq!(second, MigrationReport::default());
}

#[tokio::test]
async fn instances_may_migrate_at_once() {
    let database = TestDatabase::create_empty();
    let params = MigrationParams::default();
    let (first, second) = tokio::join!(database.store().migrate(&params), database.store().migrate(&params));
    first.unwrap();
    second.unwrap();
    database.store().verify_schema().await.unwrap();
}

#[tokio::test]
async fn a_migration_that_was_cut_off_is_seen_and_finished() {
    let database = TestDatabase::create().await;
    // As if the process had died between the statement and its record.
    database.query("ALTER TABLE schema_migrations DELETE WHERE number >= 5 AND kind = 'migration' AND state = 'applied' SETTINGS mutations_sync = 2").await;
    database.query("DROP TABLE dead_letters SYNC").await;
    let error = schema_error(&database).await;
    assert!(matches!(&error, SchemaError::HalfApplied { name, .. } if name.starts_with("0005_")), "{error}");
    assert!(error.to_string().contains("kelly migrate"), "{error}");
    let report = database.store().migrate(&MigrationParams::default()).await.unwrap();
    // The journal's own is number 0.
    assert_eq!(report.applied.len(), Table::ALL.len() + 1 - 5);
    database.store().verify_schema().await.unwrap();
    assert_eq!(database.query("SELECT count() FROM dead_letters").await, "0");
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let database = TestDatabase::create().await;
    database
        .query(
            "INSERT INTO schema_migrations (kind, number, name, checksum, state, kelly_version) \
             VALUES ('migration', 9000, '9000_of_tomorrow', '', 'applied', '99.0.0')",
        )
        .await;
    let error = schema_error(&database).await;
    assert!(matches!(error, SchemaError::Newer { .. }), "{error}");
    assert!(error.to_string().contains("9000_of_tomorrow"), "{error}");
    let refused = database.store().migrate(&MigrationParams::default()).await.unwrap_err();
    assert!(matches!(refused, StoreError::Schema(SchemaError::Newer { .. })), "{refused}");
}

#[tokio::test]
async fn a_migration_of_another_text_is_refused() {
    let database = TestDatabase::create().await;
    database.query("ALTER TABLE schema_migrations UPDATE checksum = 'other' WHERE kind = 'migration' AND number = 3 SETTINGS mutations_sync = 2").await;
    let error = schema_error(&database).await;
    assert!(matches!(&error, SchemaError::Changed { name, .. } if name.starts_with("0003_")), "{error}");
}

#[tokio::test]
async fn a_view_of_another_text_is_made_again() {
    let database = TestDatabase::create().await;
    let view = database
        .query("SELECT name FROM schema_migrations WHERE kind = 'view' ORDER BY number LIMIT 1")
        .await;
    database.query(&format!("ALTER TABLE schema_migrations UPDATE checksum = 'older' WHERE name = '{view}' SETTINGS mutations_sync = 2")).await;
    let report = database.store().migrate(&MigrationParams::default()).await.unwrap();
    assert_eq!(report.views, [view]);
    assert!(report.applied.is_empty());
}

#[tokio::test]
async fn a_view_of_another_text_or_none_is_not_taken_for_ones_own() {
    let database = TestDatabase::create().await;
    // As another version would have left it.
    database
        .query(
            "INSERT INTO schema_migrations (kind, number, name, checksum, state, kelly_version) \
             VALUES ('view', 10, '0011_newest_rows', 'other:other', 'applied', '0.0.1')",
        )
        .await;
    let error = schema_error(&database).await;
    assert!(matches!(error, SchemaError::View { name: "0011_newest_rows", .. }), "{error}");
    let report = database.store().migrate(&MigrationParams::default()).await.unwrap();
    assert_eq!(report.views, ["0011_newest_rows"]);
    database.store().verify_schema().await.unwrap();

    database.query("DROP VIEW storage").await;
    let error = schema_error(&database).await;
    assert!(matches!(error, SchemaError::View { name: "0012_storage", .. }), "{error}");
    let report = database.store().migrate(&MigrationParams::default()).await.unwrap();
    assert_eq!(report.views, ["0012_storage"]);
    database.store().verify_schema().await.unwrap();
}

#[tokio::test]
async fn retention_follows_the_configuration() {
    let database = TestDatabase::create().await;
    let two_days_ago = now_ms() - 48 * 3600 * 1000;
    for table in [Table::SystemMetrics, Table::MetricRollups] {
        database.store().insert(table, &batch(table, 10, two_days_ago, 1_000), "old").await.unwrap();
    }
    let shorter = MigrationParams { metrics_retention_hours: 24, ..MigrationParams::default() };
    let report = database.store().migrate(&shorter).await.unwrap();
    assert_eq!(report.retention, ["system_metrics"]);
    assert_eq!(database.store().migrate(&shorter).await.unwrap(), MigrationReport::default());
    // What the engine does by itself in its own time: the raw rows go, the rollup stays.
    await_mutations(&database).await;
    database.query("OPTIMIZE TABLE system_metrics FINAL").await;
    database.query("OPTIMIZE TABLE metric_rollups FINAL").await;
    assert_eq!(database.query("SELECT count() FROM system_metrics").await, "0");
    assert_ne!(database.query("SELECT count() FROM metric_rollups").await, "0");

    let all = MigrationParams {
        metrics_retention_hours: 48,
        retention_days: 30,
        audit_retention_days: 30,
        cluster: None,
    };
    assert_eq!(database.store().migrate(&all).await.unwrap().retention.len(), Table::ALL.len());
    let ttl = "SELECT count() FROM system.tables WHERE database = currentDatabase() AND engine_full LIKE '%toIntervalDay(30)%'";
    assert_eq!(database.query(ttl).await, (Table::ALL.len() - 1).to_string());
}

/// A longer retention holds for the parts there are, which carry the shorter one they were written with.
#[tokio::test]
async fn a_longer_retention_keeps_what_is_there() {
    let database = TestDatabase::create().await;
    let long = MigrationParams { metrics_retention_hours: 96, ..MigrationParams::default() };
    let longer = MigrationParams { metrics_retention_hours: 240, ..MigrationParams::default() };
    database.store().migrate(&long).await.unwrap();
    let days_ago = now_ms() - 90 * 3_600 * 1_000;
    database
        .store()
        .insert(Table::SystemMetrics, &batch(Table::SystemMetrics, 10, days_ago, 1), "old")
        .await
        .unwrap();
    let expiry = "SELECT toUnixTimestamp(max(delete_ttl_info_max)) - toUnixTimestamp(max(max_time)) FROM system.parts \
                  WHERE database = currentDatabase() AND table = 'system_metrics' AND active";
    assert_eq!(database.query(expiry).await, (96 * 3_600).to_string());
    database.store().migrate(&longer).await.unwrap();
    await_mutations(&database).await;
    assert_eq!(database.query(expiry).await, (240 * 3_600).to_string());
    assert_eq!(database.query("SELECT count() FROM system_metrics").await, "10");
}

/// Waits for what a change of the retention leaves to the background: mutations are done in their order.
async fn await_mutations(database: &TestDatabase) {
    database.query("ALTER TABLE system_metrics DELETE WHERE false SETTINGS mutations_sync = 2").await;
}

#[tokio::test]
async fn a_retention_of_nothing_is_refused() {
    let database = TestDatabase::create_empty();
    let none = MigrationParams { retention_days: 0, ..MigrationParams::default() };
    let error = database.store().migrate(&none).await.unwrap_err().to_string();
    assert!(error.contains("MONITORING_DB_RETENTION_DAYS"), "{error}");
}
