//! What a doctor asks is answered by any store, migrated or not.

use kelly_harness::TestDatabase;
use kelly_sql::Table;
use kelly_sql::queries::StoreRight;

#[tokio::test]
async fn an_empty_store_answers_too() {
    let database = TestDatabase::create_empty();
    let store = database.store();
    assert_eq!(store.table_states().await.unwrap(), []);
    assert!(store.disks().await.unwrap().iter().all(|disk| 0 < disk.free && disk.free <= disk.total));
    let background = store.background().await.unwrap();
    assert_eq!((background.merges, background.failing_mutations), (0, 0));
    assert!(0 < background.parts_to_delay && background.parts_to_delay < background.parts_to_throw);
    assert!(store.server_time_ms().await.unwrap() > 1_700_000_000_000);
    for right in StoreRight::ALL {
        assert!(store.has_right(right).await.unwrap(), "{right:?}");
    }
}

#[tokio::test]
async fn tables_tell_their_settings_and_their_growth() {
    let database = TestDatabase::create().await;
    database
        .query("INSERT INTO system_metrics (metric_name, value, timestamp) SELECT 'm', number, now64(3) FROM numbers(1000)")
        .await;
    let tables = database.store().table_states().await.unwrap();
    for table in Table::ALL {
        let found = tables.iter().find(|found| found.name == table.name()).unwrap();
        assert!(found.engine.contains("TTL"), "{found:?}");
    }
    let raw = tables.iter().find(|table| table.name == "system_metrics").unwrap();
    assert_eq!((raw.rows, raw.parts, raw.parts_of_a_partition), (1_000, 1, 1));
    // The day has begun at most 24 hours ago, so a day's growth is no less than what there is.
    assert!(raw.bytes_a_day >= raw.bytes_on_disk as f64 && raw.bytes_on_disk > 0, "{raw:?}");
    assert!(raw.engine.contains("non_replicated_deduplication_window = 10000"), "{}", raw.engine);
    let letters = tables.iter().find(|table| table.name == "dead_letters").unwrap();
    assert_eq!((letters.rows, letters.bytes_a_day), (0, 0.0));
}
