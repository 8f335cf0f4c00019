//! SIGKILL at random points, to kelly and to its engine, on both logs. Afterwards raw rows, rollups
//! and positions agree: nothing is lost that was acknowledged, nothing is there twice.

use std::time::Duration;

use bytes::Bytes;
use kelly_harness::KafkaBroker;
use kelly_schemas::topics;
use kelly_stream::{KafkaConfig, KafkaLog, Log, NewRecord};
use serde_json::json;

use crate::kelly_process::{Kelly, PATIENCE, Start};

/// Small batches and short ages: many declarations, inserts and confirmations for a kill to fall between.
const SMALL_BATCHES: [(&str, &str); 3] = [
    ("KELLY_INGEST_BATCH_ROWS", "400"),
    ("KELLY_INGEST_BATCH_MILLISECONDS", "20"),
    ("KELLY_MONITORING_ENABLED", "false"),
];
const LIVES: u32 = 12;

/// A point in a life, from a seed that is printed so that a failure can be played again.
struct Points(u64);

impl Points {
    fn new() -> Self {
        let seed =
            std::env::var("KELLY_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
                std::time::UNIX_EPOCH.elapsed().expect("the clock is past 1970").as_nanos() as u64
            });
        eprintln!("kill points: KELLY_TEST_SEED={seed}");
        Self(seed | 1)
    }

    /// xorshift64: spread is all that is asked of it.
    fn milliseconds(&mut self, below: u64) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Duration::from_millis(self.0 % below)
    }
}

/// Every tier agrees with the raw rows, and no row is there twice.
async fn assert_tiers_agree(kelly: &Kelly) -> u64 {
    let number = async |query: &str| -> u64 { kelly.sql(query).await.parse().expect("a number") };
    let raw = number("SELECT count() FROM system_metrics WHERE metric_name = 'killed'").await;
    let distinct = number(
        "SELECT uniqExact(log_partition, log_offset, log_row) FROM system_metrics WHERE metric_name = 'killed'",
    )
    .await;
    assert_eq!(raw, distinct, "a row of the log is there twice");
    for tier in
        ["metrics_1m", "metrics_1h", "account_metrics_1h", "account_metrics_1d", "conversation_metrics_1d"]
    {
        let counted = number(&format!("SELECT sum(count) FROM {tier} WHERE metric_name = 'killed'")).await;
        assert_eq!(counted, raw, "{tier} disagrees with the raw rows");
    }
    let buckets =
        number("SELECT sum(arraySum(mapValues(histogram))) FROM metrics_1m WHERE metric_name = 'killed'")
            .await;
    assert_eq!(buckets, raw, "the histograms disagree with the raw rows");
    raw
}

/// Waits until ingest has confirmed everything on the log.
async fn until_drained(kelly: &Kelly) {
    let begun = std::time::Instant::now();
    loop {
        let health = kelly.get("/api/v1/kelly/monitoring/health").await;
        if ingest_detail(&health, "lag") == Some(0) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "not drained in time: {health}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until the group has given the instance its partitions.
async fn until_assigned(kelly: &Kelly) {
    let begun = std::time::Instant::now();
    while ingest_detail(&kelly.get("/api/v1/kelly/monitoring/health").await, "partitions").unwrap_or(0) == 0 {
        assert!(begun.elapsed() < PATIENCE, "no partitions in time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn ingest_detail(health: &serde_json::Value, name: &str) -> Option<u64> {
    let parts = health["parts"].as_array()?;
    let ingest = parts.iter().find(|part| part["name"] == "ingest")?;
    ingest["details"][name].as_u64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_log() {
    const ROWS: u64 = 20;
    let directory = tempfile::tempdir().expect("a directory");
    let start = || Start { arguments: &["up"], environment: &SMALL_BATCHES, data: directory.path() };
    let mut points = Points::new();
    let (mut next, mut acknowledged) = (0u64, Vec::new());
    for life in 0..LIVES {
        let mut kelly = Kelly::spawn(start());
        // Some lives end while they begin, in the middle of recovery.
        if life % 4 == 3 {
            tokio::time::sleep(points.milliseconds(1500)).await;
            kelly.kill();
            continue;
        }
        kelly.until_ready().await;
        let engine_dies = life % 3 == 1;
        let until = tokio::time::Instant::now() + points.milliseconds(800);
        let producing = async {
            loop {
                let body: Vec<_> = (next..next + ROWS)
                    .map(|value| {
                        json!({"metric_name": "killed", "value": value,
                               "account_id": format!("a{}", value % 3), "conversation_id": format!("c{}", value % 50)})
                    })
                    .collect();
                let request = next;
                next += ROWS;
                // Acknowledged counts; a broken connection leaves its rows unknown: there once or not at all.
                if let Some((202, _)) =
                    kelly.post("/api/v1/kelly/monitoring/metrics/record", &json!(body)).await
                {
                    acknowledged.push(request);
                }
            }
        };
        let _ = tokio::time::timeout_at(until, producing).await;
        if engine_dies {
            kelly.kill_engine();
            let _ = kelly.post("/api/v1/kelly/monitoring/metrics/record", &json!([])).await;
            tokio::time::sleep(points.milliseconds(400)).await;
        }
        kelly.kill();
    }
    let kelly = Kelly::start(start()).await;
    until_drained(&kelly).await;
    assert!(assert_tiers_agree(&kelly).await > 0, "nothing was recorded at all");
    let values: Vec<u64> = kelly
        .sql("SELECT value FROM system_metrics WHERE metric_name = 'killed' ORDER BY value FORMAT TSV")
        .await
        .lines()
        .map(|line| line.parse::<f64>().expect("a number") as u64)
        .collect();
    assert!(values.windows(2).all(|pair| pair[0] < pair[1]), "a value is there twice");
    for request in &acknowledged {
        for value in *request..*request + ROWS {
            assert!(values.binary_search(&value).is_ok(), "{value} was acknowledged and is lost");
        }
    }
    assert_eq!(kelly.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka() {
    const MESSAGES_A_LIFE: u64 = 4_000;
    const MESSAGES: u64 = MESSAGES_A_LIFE * LIVES as u64;
    let broker = KafkaBroker::start().expect("a Kafka broker");
    let directory = tempfile::tempdir().expect("a directory");
    let log_url = format!("kafka://{}", broker.bootstrap());
    let properties = directory.path().join("kafka.properties");
    // A killed member is missed after a second: by default it would keep its partitions for ten, and
    // the next kills would find a kelly without work.
    std::fs::write(&properties, "session.timeout.ms=1000\nheartbeat.interval.ms=300\n")
        .expect("the directory is ours");
    let mut environment = SMALL_BATCHES.to_vec();
    environment.push(("KELLY_LOG", &log_url));
    environment.push(("KELLY_KAFKA_PROPERTIES", properties.to_str().expect("a plain path")));
    let start = || Start { arguments: &["up"], environment: &environment, data: directory.path() };
    // The first life makes the topics.
    let first = Kelly::start(start()).await;
    let log = KafkaLog::connect(KafkaConfig::new(broker.bootstrap())).expect("the broker");
    let produce = async |life: u64| {
        let records = (life * MESSAGES_A_LIFE..(life + 1) * MESSAGES_A_LIFE).map(|value| NewRecord {
            topic: topics::METRICS.into(),
            partition: None,
            key: Some(Bytes::from(format!("c{}", value % 50))),
            payload: Bytes::from(
                json!({"metric_name": "killed", "value": value, "account_id": format!("a{}", value % 3),
                       "conversation_id": format!("c{}", value % 50)})
                .to_string(),
            ),
            content_type: None,
        });
        log.append(records.collect()).await.expect("every message is acknowledged");
    };
    produce(0).await;
    let mut points = Points::new();
    tokio::time::sleep(points.milliseconds(300)).await;
    first.kill();
    for life in 1..LIVES {
        let mut kelly = Kelly::spawn(start());
        // Every life has work to be killed at.
        produce(u64::from(life)).await;
        if life % 4 == 3 {
            tokio::time::sleep(points.milliseconds(1500)).await;
            kelly.kill();
            continue;
        }
        kelly.until_ready().await;
        until_assigned(&kelly).await;
        tokio::time::sleep(points.milliseconds(600)).await;
        if life % 3 == 1 {
            kelly.kill_engine();
            tokio::time::sleep(points.milliseconds(600)).await;
        }
        kelly.kill();
    }
    let kelly = Kelly::start(start()).await;
    until_drained(&kelly).await;
    assert_eq!(assert_tiers_agree(&kelly).await, MESSAGES);
    let behind =
        kelly_ingest::lag(&log, topics::INGEST_GROUP, &[topics::METRICS.into()]).await.expect("positions");
    assert_eq!(behind, 0, "the committed positions are at the end of the log");
    assert_eq!(kelly.terminate(), Some(0));
}
