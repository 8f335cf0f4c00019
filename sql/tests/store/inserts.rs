//! What an insert promises: every table takes its schema, a token counts once, a batch is one block.

use crate::support::{BASE_MS, batch, long_retention};
use kelly_harness::engine::spec;
use kelly_harness::{Engine as SharedEngine, TestDatabase};
use kelly_sql::engine::{Engine, EngineState};
use kelly_sql::{Store, StoreConfig, StoreError, Table};

const DAY_MS: i64 = 24 * 3600 * 1000;

async fn database() -> TestDatabase {
    let database = TestDatabase::create_empty();
    database.store().migrate(&long_retention()).await.unwrap();
    database
}

#[tokio::test]
async fn every_table_gives_back_what_it_was_sent() {
    let database = database().await;
    for table in Table::ALL {
        database.store().insert(table, &batch(table, 3, BASE_MS, 61_001), "one").await.unwrap();
        let rows =
            database.query(&format!("SELECT * FROM {} ORDER BY ALL FORMAT JSONEachRow", table.name())).await;
        insta::assert_snapshot!(table.name(), rows);
    }
}

#[tokio::test]
async fn a_token_counts_once_whatever_comes_under_it() {
    let database = database().await;
    for table in Table::ALL {
        // A merge would make one row of two that are equal.
        database.query(&format!("SYSTEM STOP MERGES {}.{}", database.name(), table.name())).await;
        // Five weeks: several partitions of every table in one block.
        let rows = batch(table, 6, BASE_MS, 6 * DAY_MS);
        let fewer = batch(table, 2, BASE_MS, 6 * DAY_MS);
        database.store().insert(table, &rows, "topic:0:0-6").await.unwrap();
        database.store().insert(table, &rows, "topic:0:0-6").await.unwrap();
        database.store().insert(table, &fewer, "topic:0:0-6").await.unwrap();
        let count = format!("SELECT count() FROM {}", table.name());
        assert_eq!(database.query(&count).await, "6", "{}", table.name());
        // So does what lies in the last of its partitions alone: a writer leaves out what is there.
        database.store().insert(table, &rows.slice(5, 1), "topic:0:0-6").await.unwrap();
        assert_eq!(database.query(&count).await, "6", "{}", table.name());
        let partitions = format!(
            "SELECT uniqExact(partition) > 1 FROM system.parts WHERE database = '{}' AND table = '{}'",
            database.name(),
            table.name()
        );
        assert_eq!(database.query(&partitions).await, "1", "{} has one partition only", table.name());
        // The same rows under a token of their own are other rows.
        database.store().insert(table, &rows, "topic:0:6-12").await.unwrap();
        assert_eq!(database.query(&count).await, "12", "{}", table.name());
    }
}

#[tokio::test]
async fn tokens_survive_the_engines_death() {
    let directory = tempfile::TempDir::new().unwrap();
    let engine = Engine::start(spec(directory.path()).unwrap()).await.unwrap();
    let store = Store::new(engine.store_config()).unwrap();
    store.migrate(&long_retention()).await.unwrap();
    let rows = |table| batch(table, 6, BASE_MS, 6 * DAY_MS);
    for table in Table::ALL {
        store.insert(table, &rows(table), "topic:0:0-6").await.unwrap();
    }
    let mut state = engine.state();
    let EngineState::Ready { pid } = *state.borrow_and_update() else { panic!("not ready") };
    // SAFETY: takes no pointers; the process is this test's own engine.
    assert_eq!(unsafe { libc::kill(pid as i32, libc::SIGKILL) }, 0);
    state.wait_for(|state| matches!(state, EngineState::Ready { pid: new } if *new != pid)).await.unwrap();
    for table in Table::ALL {
        store.insert(table, &rows(table), "topic:0:0-6").await.unwrap();
        let sql = format!("SELECT count() FROM {}", table.name());
        let count = kelly_harness::engine::query(store.config(), "kelly", &sql).await.unwrap();
        assert_eq!(count, "6", "{}", table.name());
    }
    engine.shutdown().await;
}

#[tokio::test]
async fn a_large_batch_is_one_block() {
    let database = database().await;
    // 400,000 rows over two days.
    let rows = batch(Table::SystemMetrics, 400_000, BASE_MS, 2 * DAY_MS / 400_000);
    database.store().insert(Table::SystemMetrics, &rows, "large").await.unwrap();
    let parts = database
        .query(&format!(
            "SELECT partition, count(), sum(rows), max(level) FROM system.parts \
             WHERE database = '{}' AND table = 'system_metrics' GROUP BY partition ORDER BY partition",
            database.name()
        ))
        .await;
    insta::assert_snapshot!(parts);
    database.store().insert(Table::SystemMetrics, &rows, "large").await.unwrap();
    assert_eq!(database.query("SELECT count() FROM system_metrics").await, "400000");
}

#[tokio::test]
async fn equal_keys_become_one_state() {
    let database = database().await;
    for (token, start_ms) in [("a", BASE_MS), ("b", BASE_MS + 10)] {
        // A row of each tier.
        let rows = batch(Table::MetricRollups, 6, start_ms / 60_000 * 60_000, 0);
        database.store().insert(Table::MetricRollups, &rows, token).await.unwrap();
    }
    let sql = "SELECT * FROM metric_rollups FINAL ORDER BY ALL FORMAT JSONEachRow";
    insta::assert_snapshot!(database.query(sql).await);
}

#[tokio::test]
async fn a_conversation_is_found_by_the_range_of_its_account() {
    let database = database().await;
    for insert in [
        "INSERT INTO system_metrics (metric_name, value, timestamp, account_id, conversation_id) \
         SELECT 'm', number, toDateTime64('2025-01-01', 3, 'UTC') + toIntervalMillisecond(number * 10), \
                concat('a-', toString(number % 50)), concat('c-', toString(number % 500)) FROM numbers(1000000) \
         SETTINGS max_insert_block_size = 2000000",
        "INSERT INTO metric_rollups (tier, conversation_id, metric_name, t, account_id, count) \
         SELECT 'conversation_day', conversation_id, metric_name, toStartOfDay(timestamp) AS t, account_id, count() FROM system_metrics \
         GROUP BY conversation_id, metric_name, t, account_id",
    ] {
        database.query(insert).await;
    }
    let day_ms = 86_400_000_i64;
    let from_ms = 1_735_689_600_000_i64; // 2025-01-01
    let view = format!(
        "conversation_series_raw(metric = 'm', conversation = 'c-107', accounts = [], aggregate = 'sum', step_s = 3600, \
         previous_from_ms = {}, from_ms = {from_ms}, compared_to_ms = {from_ms}, to_ms = {})",
        from_ms - day_ms,
        from_ms + day_ms
    );
    let count = database.query(&format!("SELECT count FROM {view} WHERE section = 'window'")).await;
    assert_eq!(count, "2000");
    let plan = database.query(&format!("EXPLAIN indexes = 1 SELECT count FROM {view}")).await;
    let raw = &plan[plan.find("system_metrics").unwrap()..];
    let by_key = &raw[raw.find("PrimaryKey").unwrap()..];
    assert!(by_key.split("Granules").next().unwrap().contains("account_id"), "{plan}");
}

#[tokio::test]
async fn a_batch_for_another_table_is_refused_with_the_difference() {
    let database = database().await;
    let rows = batch(Table::SystemMetrics, 1, BASE_MS, 1);
    let error = database.store().insert(Table::MetricRollups, &rows, "x").await.unwrap_err();
    assert!(matches!(error, StoreError::WrongBatch { .. }));
    assert!(!error.is_retryable());
    assert!(error.to_string().contains("tier"), "{error}");
}

#[tokio::test]
async fn errors_say_what_happened_and_whether_to_try_again() {
    let rows = batch(Table::DeadLetters, 1, BASE_MS, 1);
    let nobody = StoreConfig {
        url: format!("http://127.0.0.1:{}", kelly_harness::free_port()),
        database: "kelly".into(),
        user: "kelly".into(),
        password: String::new(),
        inserts_yield: false,
    };
    let error = Store::new(nobody).unwrap().insert(Table::DeadLetters, &rows, "x").await.unwrap_err();
    assert!(matches!(error, StoreError::Unreachable { .. }), "{error:?}");
    assert!(error.is_retryable());

    let config = StoreConfig { password: "wrong".into(), ..SharedEngine::shared().store_config().clone() };
    let error = Store::new(config).unwrap().insert(Table::DeadLetters, &rows, "x").await.unwrap_err();
    assert!(matches!(error, StoreError::Refused { code: 516, .. }), "{error:?}");
    assert!(!error.is_retryable());

    let missing = TestDatabase::create_empty();
    let error = missing.store().insert(Table::DeadLetters, &rows, "x").await.unwrap_err();
    assert!(matches!(error, StoreError::Refused { code: 60 | 81, .. }), "{error:?}");
}
