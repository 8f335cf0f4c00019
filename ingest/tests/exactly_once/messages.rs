//! What is on the log in these tests, and running a pipeline over it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kelly_ingest::{BatchBounds, IngestConfig, Pipeline, Rules, Tables};
use kelly_schemas::{Limits, Stream};
use kelly_stream::{EmbeddedConfig, EmbeddedLog, Log, NewRecord, Retention, TopicSpec};
use tokio::sync::Notify;

const MESSAGES: u64 = 20;
const PARTITIONS: u64 = 2;
pub const DAY_MS: i64 = 86_400_000;

pub fn config(max_rows: usize) -> IngestConfig {
    config_keeping(60 * DAY_MS, max_rows)
}

/// The same with raw metrics kept for so long.
pub fn config_keeping(raw_retention_ms: i64, max_rows: usize) -> IngestConfig {
    IngestConfig {
        bounds: BatchBounds { max_rows, max_age: Duration::from_millis(20), ..BatchBounds::default() },
        drain_within: Duration::ZERO,
        ..IngestConfig::new(Rules { limits: Limits::default(), raw_retention_ms })
    }
}

/// A log with messages of one to three metrics, some without account or conversation, and as many events, their times
/// spread over three weeks, and every tenth message broken.
pub async fn filled_log(directory: &std::path::Path) -> Arc<dyn Log> {
    let log = EmbeddedLog::open(EmbeddedConfig::new(directory)).unwrap();
    fill(&log).await;
    Arc::new(log)
}

/// Makes the topics and puts the messages on them.
pub async fn fill(log: &dyn Log) {
    let topic = |name: &str| TopicSpec {
        name: name.to_owned(),
        partitions: PARTITIONS as u32,
        retention: Retention::default(),
    };
    log.ensure_topics(&[topic(Stream::Metrics.topic()), topic(Stream::Activity.topic())]).await.unwrap();
    let now = chrono::Utc::now().timestamp_millis();
    let records = (0..MESSAGES).flat_map(|number| {
        let at = |row: u64| now - age_ms(number, row);
        let metric = |row| {
            let mut metric = serde_json::json!({
                "metric_name": format!("m{}", number % 4), "value": number as f64 + row as f64 / 10.0, "timestamp": at(row),
            });
            if number % 5 != 2 {
                metric["account_id"] = format!("a{}", number % 2).into();
            }
            if number % 4 != 1 {
                metric["conversation_id"] = format!("c{number}").into();
            }
            metric
        };
        let event = |row| {
            serde_json::json!({
                "event_type": "escalation", "title": format!("{number}.{row}"), "created_at": at(row), "account_id": "a"
            })
        };
        let record = |topic: &str, rows: Vec<serde_json::Value>| NewRecord {
            topic: topic.into(),
            partition: Some((number % PARTITIONS) as u32),
            key: None,
            payload: if number % 10 == 9 { Bytes::from("{\"metric_name\":") } else { Bytes::from(serde_json::json!(rows).to_string()) },
            content_type: None,
        };
        [
            record(Stream::Metrics.topic(), (0..=number % 3).map(metric).collect()),
            record(Stream::Activity.topic(), (0..=number % 3).map(event).collect()),
        ]
    });
    log.append(records.collect()).await.unwrap();
}

/// How old a row is when it comes onto the log, at least.
fn age_ms(number: u64, row: u64) -> i64 {
    (number + row) as i64 % 3 * 7 * DAY_MS + 1
}

/// A metric on the log: its place and its age.
pub struct Metric {
    pub partition: u32,
    pub offset: u64,
    pub row: u32,
    pub age_ms: i64,
}

/// Every metric on the log.
pub fn metrics() -> impl Iterator<Item = Metric> {
    (0..MESSAGES).filter(|number| number % 10 != 9).flat_map(|number| {
        (0..=number % 3).map(move |row| Metric {
            partition: (number % PARTITIONS) as u32,
            offset: number / PARTITIONS,
            row: row as u32,
            age_ms: age_ms(number, row),
        })
    })
}

/// Metrics on the log, and as many events.
pub fn rows() -> u64 {
    (0..MESSAGES).filter(|number| number % 10 != 9).map(|number| number % 3 + 1).sum()
}

/// Messages of both topics that become dead letters.
pub fn broken() -> u64 {
    2 * MESSAGES / 10
}

pub async fn run_until_drained(log: &Arc<dyn Log>, tables: Arc<dyn Tables>, config: IngestConfig) {
    let pipeline = Pipeline::start(Arc::clone(log), tables, config).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(60), drained(&pipeline)).await;
    assert!(ended.is_ok(), "the pipeline does not drain: {:?}", pipeline.counts());
    pipeline.shutdown().await.unwrap();
}

/// Runs until the store tells of a crash, or to the end; whether there was a crash.
pub async fn run_until_crash(
    log: &Arc<dyn Log>,
    tables: Arc<dyn Tables>,
    crashed: &Notify,
    config: IngestConfig,
) -> bool {
    let pipeline = Pipeline::start(Arc::clone(log), tables, config).unwrap();
    let crashed = tokio::select! {
        () = crashed.notified() => true,
        () = drained(&pipeline) => false,
    };
    // The drain has no time: the insert under way never returns and nothing more is committed for it.
    pipeline.shutdown().await.unwrap();
    crashed
}

async fn drained(pipeline: &Pipeline) {
    loop {
        match pipeline.lag().await {
            Ok(0) => return,
            Ok(_) => {}
            // A broker that has just begun to coordinate the group.
            Err(fault) => assert!(fault.is_retryable(), "{fault:?}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
