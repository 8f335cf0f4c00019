//! Following a table: each row once and none left out, whatever is merged or comes late meanwhile.

use kelly_harness::TestDatabase;
use kelly_sql::queries::{ActivityTailFilter, MetricTailFilter, TailCursor, Tailed};

/// Rows of metric m as `(log partition, offset, row, days ago)`; the value is the offset and a hundredth a row.
async fn put(database: &TestDatabase, rows: &[(u16, u64, u32, u32)]) {
    let values: Vec<String> = rows
        .iter()
        .map(|(partition, offset, row, days)| {
            format!(
                "('m', '', {offset} + {row} / 100, now64(3) - toIntervalDay({days}), 'a{partition}', 'c', '', '{{}}', {partition}, {offset}, {row})"
            )
        })
        .collect();
    let columns = "metric_name, metric_type, value, timestamp, account_id, conversation_id, user_id, metadata, log_partition, log_offset, log_row";
    database.query(&format!("INSERT INTO system_metrics ({columns}) VALUES {}", values.join(", "))).await;
}

/// Everything new, in looks of at most `page` rows, as offset and row.
async fn look(
    database: &TestDatabase,
    filter: &MetricTailFilter,
    cursor: &mut TailCursor,
    page: u32,
) -> Vec<(u16, u64, u32)> {
    let mut found = Vec::new();
    loop {
        let looked = database.store().follow_metrics(filter, 0, cursor, page).await.unwrap();
        assert!(looked.rows.len() <= page as usize);
        found.extend(looked.rows.iter().map(|row| row.place));
        if !looked.has_more {
            found.sort_unstable();
            return found;
        }
    }
}

#[tokio::test]
async fn each_row_is_seen_once() {
    let database = TestDatabase::create().await;
    let every = MetricTailFilter::default();
    put(&database, &[(0, 0, 0, 0), (0, 1, 0, 1)]).await;
    let mut from_now = TailCursor::default();
    database.store().skip_to_end(Tailed::Metrics, &mut from_now).await.unwrap();
    let mut cursor = TailCursor::default();
    assert_eq!(look(&database, &every, &mut cursor, 1).await, [(0, 0, 0), (0, 1, 0)]);
    assert_eq!(look(&database, &every, &mut cursor, 10).await, []);

    // The second half of a batch, of another day, shows later than the first, whose offsets are higher.
    put(&database, &[(0, 3, 0, 0), (0, 3, 1, 0), (1, 0, 0, 0)]).await;
    assert_eq!(look(&database, &every, &mut cursor, 10).await, [(0, 3, 0), (0, 3, 1), (1, 0, 0)]);
    put(&database, &[(0, 2, 0, 1), (0, 3, 2, 1)]).await;
    assert_eq!(look(&database, &every, &mut cursor, 1).await, [(0, 2, 0), (0, 3, 2)]);

    // A merge puts seen and unseen rows into one part.
    put(&database, &[(0, 4, 0, 0), (0, 4, 1, 0), (0, 4, 2, 0)]).await;
    database.query("OPTIMIZE TABLE system_metrics FINAL").await;
    assert_eq!(look(&database, &every, &mut cursor, 2).await, [(0, 4, 0), (0, 4, 1), (0, 4, 2)]);
    assert_eq!(look(&database, &every, &mut cursor, 2).await, []);

    // Who began later saw what came since.
    let since = [(0, 2, 0), (0, 3, 0), (0, 3, 1), (0, 3, 2), (0, 4, 0), (0, 4, 1), (0, 4, 2), (1, 0, 0)];
    assert_eq!(look(&database, &every, &mut from_now, 3).await, since);
}

/// As [`look`], with whether the topic was found made anew.
async fn look_anew(
    database: &TestDatabase,
    cursor: &mut TailCursor,
    page: u32,
) -> (Vec<(u16, u64, u32)>, Vec<u16>) {
    let (mut found, mut anew) = (Vec::new(), Vec::new());
    loop {
        let every = MetricTailFilter::default();
        let looked = database.store().follow_metrics(&every, 0, cursor, page).await.unwrap();
        found.extend(looked.rows.iter().map(|row| row.place));
        anew.extend(looked.made_anew);
        if !looked.has_more {
            found.sort_unstable();
            return (found, anew);
        }
    }
}

#[tokio::test]
async fn a_topic_made_anew_is_followed_from_its_beginning() {
    let database = TestDatabase::create().await;
    // Parts stay as they are until this test merges them.
    database.query("SYSTEM STOP MERGES system_metrics").await;
    put(&database, &[(0, 100, 0, 0), (0, 101, 0, 0), (0, 102, 0, 1), (1, 7, 0, 0)]).await;
    let mut cursor = TailCursor::default();
    let mut since_now = TailCursor::default();
    database.store().skip_to_end(Tailed::Metrics, &mut since_now).await.unwrap();
    assert_eq!(look_anew(&database, &mut cursor, 10).await.0.len(), 4);

    put(&database, &[(0, 0, 0, 0), (0, 0, 1, 0), (0, 1, 0, 0)]).await;
    for cursor in [&mut cursor, &mut since_now] {
        let rows = vec![(0, 0, 0), (0, 0, 1), (0, 1, 0)];
        assert_eq!(look_anew(&database, cursor, 2).await, (rows, vec![0]));
        assert_eq!(look_anew(&database, cursor, 2).await, (vec![], vec![]), "it is reported once");
    }
    // Merged with those of before, and beyond their offsets; the other partition goes on all the while.
    put(&database, &[(0, 2, 0, 0), (1, 8, 0, 0)]).await;
    merge(&database).await;
    assert_eq!(look_anew(&database, &mut cursor, 1).await, (vec![(0, 2, 0), (1, 8, 0)], vec![]));
    put(&database, &[(0, 100, 0, 0), (0, 101, 0, 0), (0, 102, 0, 0)]).await;
    let rows = vec![(0, 100, 0), (0, 101, 0), (0, 102, 0)];
    assert_eq!(look_anew(&database, &mut cursor, 1).await, (rows, vec![]));
    // Another day, which the new topic comes to only now.
    put(&database, &[(0, 99, 0, 1)]).await;
    assert_eq!(look_anew(&database, &mut cursor, 10).await, (vec![(0, 99, 0)], vec![0]));
    // And once more.
    put(&database, &[(0, 0, 0, 0)]).await;
    assert_eq!(look_anew(&database, &mut cursor, 10).await, (vec![(0, 0, 0)], vec![0]));
    merge(&database).await;
    assert_eq!(look_anew(&database, &mut cursor, 10).await, (vec![], vec![]));
}

async fn merge(database: &TestDatabase) {
    database.query("SYSTEM START MERGES system_metrics").await;
    database.query("OPTIMIZE TABLE system_metrics FINAL").await;
    database.query("SYSTEM STOP MERGES system_metrics").await;
}

#[tokio::test]
async fn filters_leave_out_and_the_cursor_moves_all_the_same() {
    let database = TestDatabase::create().await;
    put(&database, &[(0, 1, 0, 0), (0, 2, 0, 0), (1, 3, 0, 0)]).await;
    let some = MetricTailFilter { least: 2.0, most: 3.0, ..MetricTailFilter::default() };
    let mut cursor = TailCursor::default();
    assert_eq!(look(&database, &some, &mut cursor, 10).await, [(0, 2, 0), (1, 3, 0)]);
    assert_eq!(look(&database, &MetricTailFilter::default(), &mut cursor, 10).await, []);
    let of =
        |account: &str| MetricTailFilter { account: Some(account.into()), ..MetricTailFilter::default() };
    assert_eq!(look(&database, &of("a1"), &mut TailCursor::default(), 10).await, [(1, 3, 0)]);
    let other = MetricTailFilter { metrics: vec!["n".into()], ..MetricTailFilter::default() };
    assert_eq!(look(&database, &other, &mut TailCursor::default(), 10).await, []);
    let future = now_ms() + 3_600_000;
    let page = database
        .store()
        .follow_metrics(&MetricTailFilter::default(), future, &mut TailCursor::default(), 10)
        .await
        .unwrap();
    assert_eq!(page.rows, []);
}

fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    now.as_millis() as i64
}

#[tokio::test]
async fn an_event_recorded_twice_is_seen_once() {
    let database = TestDatabase::create().await;
    let event = |offset: u64, severity: &str| {
        format!(
            "('018f0e6e-0000-4000-8000-00000000000{}', 'kind', 'Title', '', 'a', 'c', '', '{severity}', 'general', now64(3), '{{}}', 0, 0, {offset}, 0)",
            offset / 2
        )
    };
    // Offsets 2 and 3 are one event, 4 another.
    let events = [event(2, "low"), event(3, "low"), event(4, "high")].join(", ");
    database.query(&format!("INSERT INTO activity_events VALUES {events}")).await;
    database
        .query(
            "INSERT INTO activity_first_seen SELECT id, account_id, min((created_at, log_partition, log_offset, log_row)) FROM activity_events GROUP BY id, account_id",
        )
        .await;
    let mut cursor = TailCursor::default();
    let page =
        database.store().follow_activity(&ActivityTailFilter::default(), 0, &mut cursor, 10).await.unwrap();
    let places: Vec<u64> = page.rows.iter().map(|row| row.place.1).collect();
    assert_eq!(places.len(), 2, "{page:?}");
    assert!(places.contains(&4));
    let high = ActivityTailFilter { severities: vec!["high".into()], ..ActivityTailFilter::default() };
    let page = database.store().follow_activity(&high, 0, &mut TailCursor::default(), 10).await.unwrap();
    assert_eq!(page.rows.len(), 1);
    let page =
        database.store().follow_activity(&ActivityTailFilter::default(), 0, &mut cursor, 10).await.unwrap();
    assert_eq!(page.rows, []);
}
