//! Exports in every format, read back by the engine itself, and what happens to one that is cut off.

use crate::support::BASE_MS;
use bytes::Bytes;
use kelly_harness::TestDatabase;
use kelly_sql::queries::{
    AccountFilter, ActivityExport, Aggregate, Export, ExportFormat, GroupExportRow, GroupsExport,
    SamplesExport, SeriesQuestion, SeriesSource,
};
use kelly_sql::{QuestionBounds, StoreError};

const HOUR_MS: i64 = 3_600_000;

async fn read(
    database: &TestDatabase,
    export: &Export<'_>,
    format: ExportFormat,
) -> Result<Vec<u8>, StoreError> {
    let mut bytes = database.store().export(export, format).await?;
    let mut whole = Vec::new();
    while let Some(piece) = bytes.next().await? {
        whole.extend_from_slice(&piece);
    }
    Ok(whole)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn database() -> TestDatabase {
    let database = TestDatabase::create_empty();
    database.store().migrate(&crate::support::long_retention()).await.unwrap();
    database
}

/// `rows` samples, one a millisecond, of an account that a spreadsheet would run.
async fn record(database: &TestDatabase, rows: u64) -> SamplesExport<'static> {
    database
        .query(&format!(
            "INSERT INTO system_metrics (metric_name, metric_type, value, timestamp, account_id, conversation_id, metadata)
            SELECT 'm', 'gauge', number / 4, fromUnixTimestamp64Milli({BASE_MS} + toInt64(number), 'UTC'), '=1+1', 'c', '{{\"a\":\"b,c\"}}' FROM numbers({rows})"
        ))
        .await;
    SamplesExport {
        metric: "m",
        accounts: AccountFilter::Any,
        conversation: None,
        from_ms: BASE_MS,
        to_ms: BASE_MS + 24 * HOUR_MS,
    }
}

#[tokio::test]
async fn every_format_holds_every_row() {
    let database = database().await;
    let samples = record(&database, 1_000).await;
    let export = Export::Samples(samples);
    assert_eq!(database.store().export_rows(&export).await.unwrap(), 1_000);

    for (format, name) in [(ExportFormat::Parquet, "Parquet"), (ExportFormat::Arrow, "ArrowStream")] {
        let bytes = read(&database, &export, format).await.unwrap();
        let read_back = database
            .query(&format!(
                "SELECT count(), sum(value), min(toUnixTimestamp64Milli(timestamp)), any(account_id), any(metadata) FROM format({name}, unhex('{}'))",
                hex(&bytes)
            ))
            .await;
        assert_eq!(read_back, format!("1000\t124875\t{BASE_MS}\t=1+1\t{{\"a\":\"b,c\"}}"), "{name}");
    }
    let json = String::from_utf8(read(&database, &export, ExportFormat::JsonLines).await.unwrap()).unwrap();
    let rows: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((rows.len(), &rows[4]["value"], &rows[4]["account_id"]), (1_000, &1.into(), &"=1+1".into()));
    assert_eq!(rows[4]["timestamp"], "2024-05-06T07:08:09.004Z");
    let csv = String::from_utf8(read(&database, &export, ExportFormat::Csv).await.unwrap()).unwrap();
    let lines: Vec<&str> = csv.lines().take(2).collect();
    // What a spreadsheet would run has an apostrophe before it.
    let expected = [
        r#""timestamp","metric_name","metric_type","value","account_id","conversation_id","user_id","metadata""#,
        r#""2024-05-06T07:08:09.000Z","m","gauge",0.0,"'=1+1","c","","{""a"":""b,c""}""#,
    ];
    assert_eq!((csv.lines().count(), lines), (1_001, expected.to_vec()));

    let other = Export::Samples(SamplesExport { accounts: AccountFilter::Only(&["other"]), ..samples });
    assert_eq!(database.store().export_rows(&other).await.unwrap(), 0);
    assert_eq!(read(&database, &other, ExportFormat::JsonLines).await.unwrap(), Bytes::new());
}

#[tokio::test]
async fn a_series_is_its_points_and_an_event_is_there_once() {
    let database = database().await;
    let hour_ms = BASE_MS / HOUR_MS * HOUR_MS;
    database
        .query(&format!(
            "INSERT INTO metric_rollups SELECT 'hour', '', 'm', '', fromUnixTimestamp64Milli({hour_ms} + toInt64(number) * {HOUR_MS}, 'UTC'), 1, 5, 5, 5, (now64(3), 5), map(toInt16(15581), 1) FROM numbers(6)"
        ))
        .await;
    let series = Export::Series(SeriesQuestion {
        source: SeriesSource::Hour,
        metric: "m",
        previous_from_ms: hour_ms - 6 * HOUR_MS,
        from_ms: hour_ms,
        to_ms: hour_ms + 6 * HOUR_MS,
        compared_to_ms: hour_ms + 6 * HOUR_MS,
        step_seconds: 3_600,
        aggregate: Aggregate::Mean,
    });
    let csv = String::from_utf8(read(&database, &series, ExportFormat::Csv).await.unwrap()).unwrap();
    assert_eq!(csv.lines().next(), Some(r#""timestamp","value","count","min","max","p50","p95","p99""#));
    assert_eq!(csv.lines().nth(1), Some(r#""2024-05-06T07:00:00.000Z",5.0,1,5.0,5.0,5.0,5.0,5.0"#));
    assert_eq!(csv.lines().count(), 7);

    // One event recorded twice: its earliest row is it.
    for offset in [3, 9] {
        let id = "0190a1b2-c3d4-7e5f-8a9b-000000000001";
        let at = format!("fromUnixTimestamp64Milli({BASE_MS}, 'UTC')");
        database
            .query(&format!(
                "INSERT INTO activity_events (id, title, severity, created_at, log_offset) VALUES ('{id}', '@title {offset}', 'low', {at}, {offset})"
            ))
            .await;
        database
            .query(&format!(
                "INSERT INTO activity_first_seen (id, first) VALUES ('{id}', ({at}, 0, {offset}, 0))"
            ))
            .await;
    }
    let events = ActivityExport {
        severity: None,
        event_type: None,
        accounts: AccountFilter::Any,
        from_ms: BASE_MS,
        to_ms: BASE_MS + 1,
    };
    let export = Export::Activity(events);
    assert_eq!(database.store().export_rows(&export).await.unwrap(), 1);
    let csv = String::from_utf8(read(&database, &export, ExportFormat::Csv).await.unwrap()).unwrap();
    assert!(csv.lines().nth(1).unwrap().contains("\"'@title 3\""), "{csv}");
    let high = Export::Activity(ActivityExport { severity: Some("high"), ..events });
    assert_eq!(database.store().export_rows(&high).await.unwrap(), 0);
}

/// Ids that break out of a text where one is not escaped.
#[tokio::test]
async fn groups_are_a_row_each_whatever_they_are_called() {
    const IDS: [&str; 5] = ["acme", "=1+1", "o'brien \\' \"&\" söhne\\", "a\nb\0?{x:String}", "会"];
    let database = database().await;
    let group = |(rank, id)| GroupExportRow {
        rank,
        id,
        value: 0.1,
        count: u64::from(rank),
        // What JSON cannot say is null in an answer.
        sum: if rank == 3 { f64::INFINITY } else { 1e300 },
        mean: 0.1 + 0.2,
        min: -0.5,
        max: 7.0,
        p50: Some(0.25),
        p95: None,
        p99: None,
        previous_value: None,
        percentage_change: Some(-12.5),
    };
    let rows: Vec<GroupExportRow<'_>> = (1..).zip(IDS).map(group).collect();
    let groups = GroupsExport {
        metric: "m",
        group_by: "account",
        from_ms: BASE_MS,
        to_ms: BASE_MS + HOUR_MS,
        groups: &rows,
    };
    let json = read(&database, &Export::Groups(groups), ExportFormat::JsonLines).await.unwrap();
    let written: Vec<serde_json::Value> =
        String::from_utf8(json).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expected: Vec<serde_json::Value> = rows
        .iter()
        .map(|row| {
            let mut row = serde_json::to_value(row).unwrap();
            row["metric_name"] = "m".into();
            row["group_by"] = "account".into();
            row["from"] = "2024-05-06T07:08:09.000Z".into();
            row["to"] = "2024-05-06T08:08:09.000Z".into();
            row
        })
        .collect();
    assert_eq!(numbers_alike(written), numbers_alike(expected));

    for (format, name) in [(ExportFormat::Parquet, "Parquet"), (ExportFormat::Arrow, "ArrowStream")] {
        let bytes = read(&database, &Export::Groups(groups), format).await.unwrap();
        let read_back = database
            .query(&format!(
                "SELECT groupArray(id)[5], sum(count), any(mean), countIf(p95 IS NULL), any(percentage_change) FROM format({name}, unhex('{}'))",
                hex(&bytes)
            ))
            .await;
        assert_eq!(read_back, "会\t15\t0.30000000000000004\t5\t-12.5", "{name}");
    }
    let csv = String::from_utf8(read(&database, &Export::Groups(groups), ExportFormat::Csv).await.unwrap());
    assert!(csv.as_ref().is_ok_and(|csv| csv.contains("2,\"'=1+1\"")), "{csv:?}");
    assert!(csv.as_ref().is_ok_and(|csv| csv.contains(",0.25,,,,-12.5")), "nothing is empty: {csv:?}");
    let none = Export::Groups(GroupsExport { groups: &[], ..groups });
    assert_eq!(read(&database, &none, ExportFormat::JsonLines).await.unwrap(), Bytes::new());
    let csv = String::from_utf8(read(&database, &none, ExportFormat::Csv).await.unwrap()).unwrap();
    assert_eq!(csv.lines().count(), 1, "the names of the columns alone: {csv}");
}

/// The same with every number as a float: a store writes 7.0 as 7.
fn numbers_alike(rows: Vec<serde_json::Value>) -> Vec<std::collections::BTreeMap<String, serde_json::Value>> {
    let alike = |value: serde_json::Value| value.as_f64().map_or(value, serde_json::Value::from);
    rows.into_iter()
        .map(|row| {
            let fields = row.as_object().unwrap().clone();
            fields.into_iter().map(|(name, value)| (name, alike(value))).collect()
        })
        .collect()
}

#[tokio::test]
async fn an_export_keeps_to_the_memory_of_a_question() {
    const ROWS: u64 = 1_500_000;
    let database = database().await;
    let export = Export::Samples(record(&database, ROWS).await);
    let ask = async |memory_bytes| {
        let bounds = QuestionBounds { memory_bytes, ..QuestionBounds::default() };
        let store = database.store().clone().with_question_bounds(bounds);
        let mut bytes = store.export(&export, ExportFormat::JsonLines).await?;
        let mut lines = 0;
        while let Some(piece) = bytes.next().await? {
            lines += piece.iter().filter(|byte| **byte == b'\n').count() as u64;
        }
        Ok::<u64, StoreError>(lines)
    };
    let error = ask(1 << 20).await.unwrap_err();
    assert!(error.is_too_large(), "{error}");
    // Fewer bytes than the rows have: they are sorted on the disk.
    assert_eq!(ask(96 << 20).await.unwrap(), ROWS);
}

#[tokio::test]
async fn an_export_that_is_ended_midway_is_an_error() {
    let database = database().await;
    let samples = record(&database, 1_500_000).await;
    let export = Export::Samples(samples);
    let mut bytes = database.store().export(&export, ExportFormat::JsonLines).await.unwrap();
    assert!(bytes.next().await.unwrap().is_some());
    // Nobody reads on, so the store cannot have come to the end.
    let own = format!("current_database = '{}' AND query LIKE '%metadata%'", database.name());
    database.query(&format!("KILL QUERY WHERE {own} AND query NOT LIKE 'KILL%' ASYNC")).await;
    let ended = loop {
        match bytes.next().await {
            Ok(Some(_)) => {}
            ended => break ended,
        }
    };
    assert!(ended.is_err(), "a part was taken for the whole");
}
