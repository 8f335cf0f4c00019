//! What the tables take on the disk: how much a day adds, what goes when it has expired, how many parts there are.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::support::{BASE_MS, batch, long_retention};
use kelly_harness::TestDatabase;
use kelly_sql::queries::TableGrowth;
use kelly_sql::{MigrationParams, Table};

const DAY_MS: i64 = 24 * 3600 * 1000;

/// The midnight before `BASE_MS`.
const MIDNIGHT_MS: i64 = BASE_MS / DAY_MS * DAY_MS;

fn of(growth: &[TableGrowth], table: Table) -> &TableGrowth {
    growth.iter().find(|growth| growth.table == table.name()).unwrap_or_else(|| panic!("no {}", table.name()))
}

#[tokio::test]
async fn growth_is_reported_a_day_over_whole_days() {
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

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

#[tokio::test]
async fn raw_metrics_expire_first_then_rollups_then_decisions() {
    const HOUR_MS: i64 = 3_600_000;
    let database = TestDatabase::create_empty();
    let store = database.store();
    let retention = MigrationParams {
        metrics_retention_hours: 72,
        retention_days: 90,
        audit_retention_days: 400,
        cluster: None,
    };
    store.migrate(&retention).await.unwrap();
    // An hour, thirty, a hundred and five hundred days ago; each far enough from the others to be in partitions of its own.
    let ages_ms = [HOUR_MS, 30 * DAY_MS, 100 * DAY_MS, 500 * DAY_MS];
    for table in Table::ALL {
        for age_ms in ages_ms {
            let rows = batch(table, 10, now_ms() - age_ms, 1_000);
            store.insert(table, &rows, &format!("{age_ms}")).await.unwrap();
        }
    }
    for table in Table::ALL {
        // How many of each age are left, the one of an hour aside.
        let ages = format!(
            "SELECT countIf(days > 400), countIf(days BETWEEN 91 AND 400), countIf(days BETWEEN 20 AND 40) FROM (SELECT dateDiff('day', {}, now()) AS days FROM {})",
            table.expiry().from,
            table.name()
        );
        let expected = match table {
            Table::SystemMetrics => "0\t0\t0",
            Table::ControlLog | Table::AlertInstances => "0\t10\t10",
            _ => "0\t0\t10",
        };
        let deadline = Instant::now() + Duration::from_secs(120);
        // Nobody asks the engine to: it looks for what has expired after an insert, of which there is one a second.
        for insert in 0.. {
            let found = database.query(&ages).await;
            if found == expected {
                break;
            }
            assert!(Instant::now() < deadline, "{}: {found}, and not {expected}", table.name());
            store.insert(table, &batch(table, 1, now_ms(), 0), &format!("live {insert}")).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    // With the rows go their files.
    let parts = "SELECT count() FROM system.parts WHERE database = currentDatabase() AND table = 'system_metrics' \
                 AND active AND rows > 0 AND max_time < now() - INTERVAL 72 HOUR";
    assert_eq!(database.query(parts).await, "0");
}

/// Active parts of the partition that has most of them, over all tables of the database.
const MOST_PARTS: &str = "SELECT max(parts) FROM (SELECT count() AS parts FROM system.parts \
                          WHERE database = currentDatabase() AND active GROUP BY table, partition_id)";

/// Waits until merges, which nobody asks for, have left no partition with more parts than that.
async fn parts_become_few(database: &TestDatabase, bound: u64) {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let most: u64 = database.query(MOST_PARTS).await.parse().unwrap();
        if most <= bound {
            break;
        }
        assert!(Instant::now() < deadline, "{most} parts of one partition, and not {bound}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn parts_stay_few_however_often_is_inserted() {
    /// Partitions of the log, each with a writer of its own.
    const WRITERS: usize = 4;
    /// Inserts of each writer into every table here, with nothing between them: three hundred parts a partition, if
    /// they were not merged.
    const INSERTS: i64 = 75;
    /// Parts of one partition when merges have caught up: a sixth of what was inserted, a twentieth of what the engine
    /// slows inserts down at.
    const BOUND: u64 = 50;
    // One of each kind of engine and of settings.
    const TABLES: [Table; 4] =
        [Table::SystemMetrics, Table::MetricRollups, Table::ActivityEvents, Table::ActivityFirstSeen];
    let database = TestDatabase::create_empty();
    database.store().migrate(&long_retention()).await.unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let store = database.store().clone();
        writers.spawn(async move {
            for insert in 0..INSERTS {
                for table in TABLES {
                    let rows = batch(table, 50, BASE_MS + insert * 1_000, 20);
                    store.insert(table, &rows, &format!("{writer}:{insert}")).await.unwrap();
                }
            }
        });
    }
    writers.join_all().await;
    parts_become_few(&database, BOUND).await;
    let raw = (WRITERS as i64 * INSERTS * 50).to_string();
    assert_eq!(database.query("SELECT count() FROM system_metrics").await, raw);
}

#[tokio::test]
async fn late_rows_of_thirty_days_make_a_part_a_partition_and_no_more() {
    let database = TestDatabase::create_empty();
    let store = database.store();
    store.migrate(&long_retention()).await.unwrap();
    for table in Table::ALL {
        database.query(&format!("SYSTEM STOP MERGES {}.{}", database.name(), table.name())).await;
        store.insert(table, &batch(table, 3_000, BASE_MS, 30 * DAY_MS / 3_000), "late").await.unwrap();
        let parts = database
            .query(&format!("SELECT count(), uniqExact(partition_id) FROM system.parts WHERE database = currentDatabase() AND table = '{}' AND active", table.name()))
            .await;
        // Raw rows by days, all others by weeks.
        let expected = if table == Table::SystemMetrics { "31\t31" } else { "5\t5" };
        assert_eq!(parts, expected, "{}", table.name());
        database.query(&format!("SYSTEM START MERGES {}.{}", database.name(), table.name())).await;
    }
    // Ten more such batches make eleven parts a partition, which merges bring down.
    for late in 0..10 {
        for table in [Table::SystemMetrics, Table::MetricRollups] {
            let rows = batch(table, 3_000, BASE_MS + late, 30 * DAY_MS / 3_000);
            store.insert(table, &rows, &format!("late {late}")).await.unwrap();
        }
    }
    parts_become_few(&database, 8).await;
}
