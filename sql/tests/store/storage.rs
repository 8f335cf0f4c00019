//! What the tables take on the disk: how much a day adds.

use crate::support::{BASE_MS, batch, long_retention};
use kelly_harness::TestDatabase;
use kelly_sql::Table;
use kelly_sql::queries::TableGrowth;

const DAY_MS: i64 = 24 * 3600 * 1000;

/// The midnight before `BASE_MS`.
const MIDNIGHT_MS: i64 = BASE_MS / DAY_MS * DAY_MS;

fn of(growth: &[TableGrowth], table: Table) -> &TableGrowth {
    growth.iter().find(|growth| growth.table == table.name()).unwrap_or_else(|| panic!("no {}", table.name()))
}

#[tokio::test]
async fn growth_is_told_a_day_over_whole_days() {
    let database = TestDatabase::create_empty();
    let store = database.store();
    store.migrate(&long_retention()).await.unwrap();
    assert_eq!(store.storage_growth(BASE_MS, 7).await.unwrap(), []);

    // A row every ten minutes for five days from the middle of a day on: four whole days, and a rest of the fifth.
    let noon_ms = MIDNIGHT_MS + DAY_MS / 2;
    for table in Table::ALL {
        store.insert(table, &batch(table, 5 * 144, noon_ms, 600_000), "ten minutes").await.unwrap();
    }
    let growth = store.storage_growth(MIDNIGHT_MS + 5 * DAY_MS + 1, 7).await.unwrap();
    assert_eq!(growth.len(), Table::ALL.len(), "the journal of migrations is none of it: {growth:?}");
    for table in Table::ALL {
        let found = of(&growth, table);
        if table == Table::ActivityFirstSeen {
            // The store knows its weeks alone.
            assert_eq!(found.days, 5, "{found:?}");
            continue;
        }
        assert_eq!(found.days, 4, "{found:?}");
        let rows = found.rows_a_day.unwrap();
        // A rollup's row is about a day, an hour or a minute and not an instant; these here do not begin with it.
        assert!((115.0..145.0).contains(&rows), "{found:?}");
    }
    let raw = of(&growth, Table::SystemMetrics);
    assert!((raw.rows_a_day.unwrap() - 144.0).abs() < 0.5, "{raw:?}");

    // Bytes a day times days are the bytes on the disk.
    let held = store.storage().await.unwrap();
    let held = held.iter().find(|held| held.table == raw.table).unwrap();
    let share = 4.0 / 5.0;
    let expected = held.bytes_on_disk as f64 * share / 4.0;
    let bytes = raw.bytes_a_day.unwrap();
    assert!((bytes / expected - 1.0).abs() < 0.25, "{bytes} a day, {expected} expected");

    // Two days are asked for, the two before the day asked on.
    let growth = store.storage_growth(MIDNIGHT_MS + 4 * DAY_MS + 1, 2).await.unwrap();
    assert_eq!(of(&growth, Table::SystemMetrics).days, 2);
    assert!((of(&growth, Table::SystemMetrics).rows_a_day.unwrap() - 144.0).abs() < 0.5);

    // On the first day there is no whole day.
    let growth = store.storage_growth(MIDNIGHT_MS + DAY_MS, 7).await.unwrap();
    let raw = of(&growth, Table::SystemMetrics);
    assert_eq!((raw.days, raw.rows_a_day, raw.bytes_a_day), (0, None, None));
}
