//! Exports in every format, read back by the engine itself, and what happens to one that is cut off.

use crate::support::BASE_MS;
use bytes::Bytes;
use kelly_harness::TestDatabase;
use kelly_sql::queries::{
    ActivityExport, Aggregate, Export, ExportFormat, SamplesExport, SeriesQuestion, SeriesSource,
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
        account: None,
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
        let told = database
            .query(&format!(
                "SELECT count(), sum(value), min(toUnixTimestamp64Milli(timestamp)), any(account_id), any(metadata) FROM format({name}, unhex('{}'))",
                hex(&bytes)
            ))
            .await;
        assert_eq!(told, format!("1000\t124875\t{BASE_MS}\t=1+1\t{{\"a\":\"b,c\"}}"), "{name}");
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
        r#""2024-05-06T07:08:09.000Z","m","gauge",0,"'=1+1","c","","{""a"":""b,c""}""#,
    ];
    assert_eq!((csv.lines().count(), lines), (1_001, expected.to_vec()));

    let other = Export::Samples(SamplesExport { account: Some("other"), ..samples });
    assert_eq!(database.store().export_rows(&other).await.unwrap(), 0);
    assert_eq!(read(&database, &other, ExportFormat::JsonLines).await.unwrap(), Bytes::new());
}

#[tokio::test]
async fn a_series_is_its_points_and_an_event_is_there_once() {
    let database = database().await;
    let hour_ms = BASE_MS / HOUR_MS * HOUR_MS;
    database
        .query(&format!(
            "INSERT INTO metrics_1h SELECT 'm', fromUnixTimestamp64Milli({hour_ms} + toInt64(number) * {HOUR_MS}, 'UTC'), 1, 5, 5, 5, (now64(3), 5), map(toInt16(15581), 1) FROM numbers(6)"
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
    assert_eq!(csv.lines().nth(1), Some(r#""2024-05-06T07:00:00.000Z",5,1,5,5,5,5,5"#));
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
        account: None,
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
