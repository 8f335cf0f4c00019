//! What the store shows of a range: rows by their place on the log, and the markers of the rollups.

use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BinaryArray, DictionaryArray, RecordBatch, StringArray, TimestampMillisecondArray, UInt16Array,
    UInt32Array, UInt64Array,
};
use kelly_harness::TestDatabase;
use kelly_sql::evidence::{LogRange, MarkedEnd, MarkedGeneration, RowOrigin, marker_name, week_of};
use kelly_sql::queries::AccountFilter;
use kelly_sql::{RollupTier, Table};
use std::sync::Arc;

use crate::support::{BASE_MS, batch, long_retention};

const WEEK_S: i64 = 7 * 24 * 3_600;

async fn database() -> TestDatabase {
    let database = TestDatabase::create_empty();
    database.store().migrate(&long_retention()).await.unwrap();
    database
}

#[tokio::test]
async fn rows_are_found_by_their_place_and_time() {
    let database = database().await;
    // Row n of these batches: partition n % 7, offset n + 1, row n.
    let rows = batch(Table::SystemMetrics, 40, BASE_MS, 3_600_000);
    database.store().insert(Table::SystemMetrics, &rows, "x").await.unwrap();
    let last = BASE_MS + 40 * 3_600_000;
    let find = async |start, end, times_ms| {
        let range = LogRange { topic: "kelly.metrics", partition: 2, start, end, times_ms };
        let mut found =
            database.store().rows_of_range(Table::SystemMetrics, "timestamp", range).await.unwrap();
        found.sort_by_key(|origin| origin.offset);
        found
    };
    let origin = |row: u32| RowOrigin {
        offset: u64::from(row) + 1,
        row,
        time_ms: BASE_MS + i64::from(row) * 3_600_000,
    };
    assert_eq!(find(10, 31, (BASE_MS, last)).await, [origin(9), origin(16), origin(23)]);
    assert_eq!(find(10, 32, (BASE_MS, last)).await.len(), 4);
    let (from, to) = (origin(16).time_ms, origin(23).time_ms);
    assert_eq!(find(0, u64::MAX, (from, to)).await, [origin(16), origin(23)]);
}

/// A producer may write any time into its record; the letter about it must be found again all the same.
#[tokio::test]
async fn a_letter_is_found_whatever_its_time() {
    let database = database().await;
    let times = [0, BASE_MS, 32_503_680_000_000, -1, -86_400_000 * 365 * 300, i64::MAX / 2, i64::MAX];
    let rows = times.len();
    let text = |value: &str| -> ArrayRef {
        let keys = vec![0; rows];
        Arc::new(
            DictionaryArray::<Int32Type>::try_new(keys.into(), Arc::new(StringArray::from(vec![value])))
                .unwrap(),
        )
    };
    let letters = RecordBatch::try_new(
        Table::DeadLetters.arrow_schema(),
        vec![
            text("kelly.metrics"),
            Arc::new(UInt16Array::from(vec![1; rows])),
            Arc::new(UInt64Array::from_iter_values(0..rows as u64)),
            Arc::new(UInt32Array::from(vec![0; rows])),
            Arc::new(TimestampMillisecondArray::from(times.to_vec()).with_timezone("UTC")),
            text("too_old"),
            Arc::new(StringArray::from(vec![""; rows])),
            text(""),
            Arc::new(BinaryArray::from_iter_values(vec![b""; rows])),
        ],
    )
    .unwrap();
    database.query("SYSTEM STOP MERGES dead_letters").await;
    database.store().insert(Table::DeadLetters, &letters, "x").await.unwrap();
    for topic in ["kelly.metrics", "kelly.activity"] {
        let range = LogRange { topic, partition: 1, start: 0, end: 100, times_ms: (0, 0) };
        let mut found = database.store().rows_of_range(Table::DeadLetters, "log_time", range).await.unwrap();
        found.sort_by_key(|origin| origin.offset);
        let found: Vec<i64> = found.iter().map(|origin| origin.time_ms).collect();
        assert_eq!(found, if topic == "kelly.metrics" { times.to_vec() } else { Vec::new() });
    }
}

/// Markers as ingest writes them: many blocks leave a row a week and an hour, and the newest end is read. A metric of the
/// marker's name is another matter, and so is a marker among what is asked about metrics.
#[tokio::test]
async fn markers_collapse_and_tell_the_newest_end_of_each_week() {
    let database = database().await;
    let marker = marker_name("kelly.metrics", 3, "00c0ffee");
    let monday = week_of(BASE_MS / 1_000);
    let insert = async |tier: &str, name: &str, time: i64, end: u64| {
        let values = format!("('{tier}', '{name}', fromUnixTimestamp({time}), {end}, (now64(3), {end}))");
        database
            .query(&format!("INSERT INTO metric_rollups (tier, metric_name, t, max, last) VALUES {values}"))
            .await;
    };
    for (time, end) in
        [(monday, 10u64), (monday + 7_200, 1 << 53), (monday + 3_600, 20), (monday + WEEK_S, 7)]
    {
        insert("marker", &marker, time, end).await;
        for tier in RollupTier::ALL.into_iter().filter(|tier| *tier != RollupTier::Marker) {
            insert(tier.name(), &marker, monday + 2 * WEEK_S, 5).await;
        }
    }
    insert("marker", &marker_name("kelly.metrics", 3, "00c0ffef"), monday, 99).await;
    for _ in 0..2 {
        let mut ends = database.store().marked_ends(&marker).await.unwrap();
        ends.sort_by_key(|end| end.week);
        let newest = [MarkedEnd { week: monday, end: 1 << 53 }, MarkedEnd { week: monday + WEEK_S, end: 7 }];
        assert_eq!(ends, newest);
        database.query("OPTIMIZE TABLE metric_rollups FINAL").await;
    }
    let rows =
        format!("SELECT count() FROM metric_rollups WHERE tier = 'marker' AND metric_name = '{marker}'");
    assert_eq!(database.query(&rows).await, "4");
}

/// What asks about metrics at large sees no marker.
#[tokio::test]
async fn a_marker_is_no_metric() {
    let database = database().await;
    let marker = marker_name("kelly.metrics", 3, "00c0ffee");
    database
        .query(&format!(
            "INSERT INTO metric_rollups (tier, metric_name, t, max, last) VALUES ('marker', '{marker}', now(), 7, (now64(3), 7))"
        ))
        .await;
    assert_eq!(database.store().newest_rows(0).await.unwrap().metric, None);
    assert!(database.store().metrics_seen(&[&marker], AccountFilter::Any).await.unwrap().is_empty());
}

/// The engine here keeps tokens beside its parts; a table that is not there is an error and no answer.
#[tokio::test]
async fn a_token_proves_nothing_on_a_single_node() {
    let empty = TestDatabase::create_empty();
    assert!(empty.store().token_proves_rows(Table::MetricRollups).await.is_err());
    let database = database().await;
    for table in Table::ALL {
        assert!(!database.store().token_proves_rows(table).await.unwrap(), "{}", table.name());
    }
}

/// The newest range of each generation of a partition, whatever was merged, and not those of its neighbours.
#[tokio::test]
async fn markers_say_the_newest_range_of_each_generation() {
    const NEWEST: u64 = 1 << 40;
    let database = database().await;
    let monday = week_of(BASE_MS / 1_000);
    assert_eq!(database.store().marked_generations("kelly.metrics", 1).await.unwrap(), []);
    for (partition, generation, time, (start, end), last_end) in [
        (1, "00000007aaaaaaaa", monday, (0u64, 10u64), 10),
        (1, "00000007aaaaaaaa", monday + WEEK_S, (10, NEWEST), NEWEST),
        (1, "00000007aaaaaaaa", monday, (3, 9), 9),
        // As they were before they held the start.
        (1, "00c0ffee", monday, (0, 20), 0),
        (11, "00000007bbbbbbbb", monday, (0, 99), 99),
    ] {
        let name = marker_name("kelly.metrics", partition, generation);
        let columns = "tier, metric_name, t, max, last";
        let last = format!("(fromUnixTimestamp64Milli({last_end}), {start})");
        database
            .query(&format!(
                "INSERT INTO metric_rollups ({columns}) VALUES ('marker', '{name}', fromUnixTimestamp({time}), {end}, {last})"
            ))
            .await;
    }
    let generation =
        |generation: &str, start, end| MarkedGeneration { generation: generation.to_owned(), start, end };
    for _ in 0..2 {
        let generations = database.store().marked_generations("kelly.metrics", 1).await.unwrap();
        assert_eq!(
            generations,
            [generation("00000007aaaaaaaa", Some(10), NEWEST), generation("00c0ffee", None, 20)]
        );
        assert_eq!(database.store().marked_generations("kelly.metrics", 11).await.unwrap().len(), 1);
        assert_eq!(database.store().marked_generations("kelly.activity", 1).await.unwrap(), []);
        database.query("OPTIMIZE TABLE metric_rollups FINAL").await;
    }
}

#[tokio::test]
async fn the_newest_row_of_a_partition_is_found_among_rows_and_letters() {
    let database = database().await;
    // Row n of these batches: partition n % 7, offset n + 1.
    let rows = batch(Table::SystemMetrics, 40, BASE_MS, 3_600_000);
    database.store().insert(Table::SystemMetrics, &rows, "x").await.unwrap();
    let end = async |table, topic, partition, from| {
        database.store().rows_end(table, topic, partition, from).await.unwrap()
    };
    assert_eq!(end(Table::SystemMetrics, "kelly.metrics", 2, 0).await, 39);
    assert_eq!(end(Table::SystemMetrics, "kelly.metrics", 2, 38).await, 39);
    assert_eq!(end(Table::SystemMetrics, "kelly.metrics", 2, 39).await, 0);
    assert_eq!(end(Table::SystemMetrics, "kelly.metrics", 7, 0).await, 0);
    assert_eq!(end(Table::ActivityEvents, "kelly.activity", 2, 0).await, 0);
    for (topic, offset) in [("kelly.metrics", 500), ("kelly.activity", 70)] {
        database
            .query(&format!(
                "INSERT INTO dead_letters (topic, log_partition, log_offset, log_time) \
                 VALUES ('{topic}', 2, {offset}, now64(3))"
            ))
            .await;
    }
    assert_eq!(end(Table::SystemMetrics, "kelly.metrics", 2, 0).await, 501);
    assert_eq!(end(Table::ActivityEvents, "kelly.activity", 2, 0).await, 71);
    assert_eq!(end(Table::ActivityEvents, "kelly.activity", 3, 0).await, 0);
}
