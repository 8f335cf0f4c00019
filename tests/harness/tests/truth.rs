//! The verification verified: on a real store it finds a row that is lost, one that is there twice,
//! one that was refused, and a rollup that says something else.

use kelly_harness::TestDatabase;
use kelly_harness::truth::{Event, Fate, Sample, Truth, Verdict};
use kelly_schemas::histogram::bucket;
use kelly_stream::Position;

const REQUESTS: usize = 12;
const ROWS: u64 = 30;

/// Everything that was acknowledged, and the requests with the other fates.
fn acknowledged() -> (Truth, Vec<Sample>, Vec<Event>) {
    let now_ms = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64;
    let mut truth = Truth::new("truth", now_ms, ROWS);
    let mut rows = Vec::new();
    for number in 0..REQUESTS {
        let (request, samples) = truth.next_request();
        match number {
            3 => truth.settle(request, Fate::Refused),
            // Unknown, and it arrived.
            4 => rows.extend(samples),
            // Unknown, and it did not.
            5 => {}
            _ => {
                truth.settle(request, Fate::Acknowledged);
                rows.extend(samples);
            }
        }
    }
    truth.poisoned(Position { partition: 1, offset: 77 });
    let mut events = Vec::new();
    for fate in [Some(Fate::Acknowledged), Some(Fate::Refused), None] {
        let (request, there) = truth.next_events();
        if let Some(fate) = fate {
            truth.settle_events(request, fate);
        }
        // Of the request whose fate is unknown one half arrived.
        match fate {
            Some(Fate::Refused) => {}
            Some(_) => events.extend(there),
            None => events.extend(there.into_iter().step_by(2)),
        }
    }
    (truth, rows, events)
}

/// The events as ingest writes them, both tables.
async fn insert_events(database: &TestDatabase, events: &[Event]) {
    let mut rows = Vec::new();
    for event in events {
        for _ in 0..event.copies {
            let Event { id, title, event_type, severity, created_at_ms, account, conversation, .. } = event;
            rows.push(format!(
                "('{id}', '{title}', '{event_type}', '{severity}', fromUnixTimestamp64Milli({created_at_ms}), \
                 '{account}', '{conversation}', 2, {}, 0)",
                rows.len()
            ));
        }
    }
    database
        .query(&format!(
            "INSERT INTO activity_events (id, title, event_type, severity, created_at, account_id, conversation_id, \
             log_partition, log_offset, log_row) VALUES {}",
            rows.join(",")
        ))
        .await;
    database
        .query(
            "INSERT INTO activity_first_seen (id, account_id, first) \
             SELECT id, account_id, (created_at, log_partition, log_offset, log_row) FROM activity_events",
        )
        .await;
}

async fn insert(database: &TestDatabase, rows: &[Sample]) {
    let values: Vec<String> = rows
        .iter()
        .map(|row| {
            format!(
                "('{}', {}, fromUnixTimestamp64Milli({}), '{}', '{}', 0, {}, 0)",
                row.metric, row.value, row.timestamp_ms, row.account, row.conversation, row.value
            )
        })
        .collect();
    database
        .query(&format!(
            "INSERT INTO system_metrics (metric_name, value, timestamp, account_id, conversation_id, \
             log_partition, log_offset, log_row) VALUES {}",
            values.join(",")
        ))
        .await;
}

/// The rollups of the raw rows, made by the store itself.
async fn roll_up(database: &TestDatabase) {
    let values = "count(), sum(value), min(value), max(value), max((timestamp, value))";
    // By the formula itself: every value is a whole number below this.
    let buckets: Vec<String> =
        (0..REQUESTS as u64 * ROWS).map(|number| bucket(number as f64).to_string()).collect();
    let histogram =
        format!("sumMap(map(toInt16([{}][toUInt32(value) + 1]), toUInt64(1)))", buckets.join(","));
    for (tier, key, of) in [
        ("minute", "metric_name, t", "metric_name, toStartOfMinute(timestamp) AS t"),
        ("hour", "metric_name, t", "metric_name, toStartOfHour(timestamp) AS t"),
        (
            "account_hour",
            "metric_name, account_id, t",
            "metric_name, account_id, toStartOfHour(timestamp) AS t",
        ),
        (
            "conversation_day",
            "conversation_id, metric_name, account_id, t",
            "conversation_id, metric_name, account_id, toStartOfDay(timestamp) AS t",
        ),
    ] {
        let (more, map) = match ["minute", "hour"].contains(&tier) {
            true => (", histogram", format!(", {histogram}")),
            false => ("", String::new()),
        };
        database
            .query(&format!(
                "INSERT INTO metric_rollups (tier, {key}, count, sum, min, max, last{more}) \
                 SELECT '{tier}', {of}, {values}{map} FROM system_metrics GROUP BY {key}"
            ))
            .await;
    }
    database
        .query(&format!(
            "INSERT INTO metric_rollups (tier, metric_name, account_id, t, histogram) \
             SELECT 'account_day', metric_name, account_id, toStartOfDay(timestamp) AS t, {histogram} FROM system_metrics \
             GROUP BY metric_name, account_id, t",
        ))
        .await;
    // As every block has one: it must count in no tier.
    database
        .query(
            "INSERT INTO metric_rollups (tier, metric_name, t, count, max) \
             SELECT 'marker', 'truth.0', max(timestamp), 9, 77 FROM system_metrics",
        )
        .await;
}

async fn dead_letter(database: &TestDatabase, offset: u64) {
    database
        .query(&format!(
            "INSERT INTO dead_letters (topic, log_partition, log_offset, log_time) \
             VALUES ('kelly.metrics', 1, {offset}, now())"
        ))
        .await;
}

async fn verdict(truth: &Truth, database: &TestDatabase) -> Verdict {
    truth.compare(async |query| Ok(database.query(&query).await)).await.unwrap()
}

/// A store that says exactly what was acknowledged, then what `spoil` makes of it.
async fn spoiled(spoil: &str) -> Verdict {
    let (truth, rows, events) = acknowledged();
    let database = TestDatabase::create().await;
    insert(&database, &rows).await;
    roll_up(&database).await;
    insert_events(&database, &events).await;
    dead_letter(&database, 77).await;
    if !spoil.is_empty() {
        database.query(spoil).await;
    }
    verdict(&truth, &database).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_exact() {
    let verdict = spoiled("").await;
    assert!(verdict.is_exact(), "{verdict}");
    assert_eq!((verdict.acknowledged, verdict.events), ((REQUESTS as u64 - 3) * ROWS, 12));
    let raw = &verdict.tables[0];
    assert_eq!((raw.expected, raw.found), ((REQUESTS as u64 - 2) * ROWS, (REQUESTS as u64 - 2) * ROWS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_row_is_found() {
    let verdict =
        spoiled("ALTER TABLE system_metrics DELETE WHERE value = 31 SETTINGS mutations_sync = 2").await;
    assert_eq!((verdict.lost(), verdict.twice()), (1, 0), "{verdict}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_event_is_found_and_one_whose_place_is_lost() {
    for (table, condition) in [
        ("activity_events", "title = 'truth 7'"),
        ("activity_first_seen", "id = (SELECT any(id) FROM activity_events WHERE title = 'truth 7')"),
    ] {
        let spoil = format!("ALTER TABLE {table} DELETE WHERE {condition} SETTINGS mutations_sync = 2");
        let verdict = spoiled(&spoil).await;
        let found = verdict.tables.iter().find(|found| found.table == table).unwrap();
        assert_eq!((found.lost, found.twice), (1, 0), "{verdict}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_doubled_row_is_found_in_each_table() {
    let of_tier = |tier: &'static str| (tier, "metric_rollups", format!("WHERE tier = '{tier}'"));
    for (what, table, of) in [
        ("system_metrics", "system_metrics", String::new()),
        of_tier("minute"),
        of_tier("hour"),
        of_tier("account_hour"),
        of_tier("account_day"),
        of_tier("conversation_day"),
        ("activity_events", "activity_events", String::new()),
        ("dead_letters", "dead_letters", String::new()),
    ] {
        let verdict = spoiled(&format!("INSERT INTO {table} SELECT * FROM {table} {of} LIMIT 1")).await;
        assert!(verdict.twice() > 0 && verdict.lost() == 0, "{what}: {verdict}");
        let elsewhere = verdict.tables.iter().filter(|found| found.table != what);
        assert!(elsewhere.clone().all(|found| found.is_exact()), "{what}: {verdict}");
    }
}

const OTHER_BUCKETS: &str = "histogram = map(toInt16(7), arraySum(mapValues(histogram)))";

fn updated(tier: &str, what: &str) -> String {
    format!("ALTER TABLE metric_rollups UPDATE {what} WHERE tier = '{tier}' SETTINGS mutations_sync = 2")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_else_is_wrong_is_found() {
    let same =
        "metric_name, value, timestamp, account_id, conversation_id, log_partition, log_offset, log_row";
    let refused = 3 * ROWS;
    for spoil in [
        // A row that was refused; one nobody sent.
        format!(
            "INSERT INTO system_metrics ({same}) SELECT metric_name, {refused}, timestamp, account_id, conversation_id, 0, 1, 0 FROM system_metrics LIMIT 1"
        ),
        format!(
            "INSERT INTO system_metrics ({same}) SELECT metric_name, 1000000, timestamp, account_id, conversation_id, 0, 1, 0 FROM system_metrics LIMIT 1"
        ),
        // An event that was refused; one nobody sent; one that says something else; another row that counts.
        "INSERT INTO activity_events (id, title, created_at) SELECT generateUUIDv4(), 'truth 13', now()".to_owned(),
        "INSERT INTO activity_events (id, title, created_at) SELECT generateUUIDv4(), 'truth 999', now()".to_owned(),
        "ALTER TABLE activity_events UPDATE severity = 'other' WHERE title = 'truth 1' SETTINGS mutations_sync = 2".to_owned(),
        "INSERT INTO activity_first_seen SELECT id, account_id, (created_at, 0, 0, 0) FROM activity_events LIMIT 1".to_owned(),
        // As many rows, and another sum.
        updated("hour", "sum = sum + 1"),
        // Another newest sample.
        updated("account_hour", "last = tuple(last.1, last.2 + 1)"),
        // As many in other buckets.
        updated("minute", OTHER_BUCKETS),
        updated("account_day", OTHER_BUCKETS),
        "INSERT INTO dead_letters (topic, log_partition, log_offset, log_time) VALUES ('kelly.metrics', 1, 78, now())".to_owned(),
    ] {
        let verdict = spoiled(&spoil).await;
        assert!(!verdict.is_exact() && verdict.wrong() > 0, "{spoil}: {verdict}");
    }
}
