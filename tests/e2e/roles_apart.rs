//! The roles apart, over Apache Kafka and a store that is somebody else's process: instances come,
//! are killed and come again, and share the partitions.

use std::time::{Duration, Instant};

use bytes::Bytes;
use kelly_harness::{Engine, KafkaBroker};
use kelly_schemas::{INGEST_GROUP, Stream};
use kelly_stream::{KafkaConfig, KafkaLog, Log, NewRecord};
use serde_json::json;

use crate::kelly_process::{Kelly, PATIENCE, Start, run};

const MESSAGES: u64 = 20_000;

async fn produce(log: &KafkaLog, from: u64, to: u64) {
    let records = (from..to).map(|value| NewRecord {
        topic: Stream::Metrics.topic().into(),
        partition: None,
        key: Some(Bytes::from(format!("c{}", value % 50))),
        payload: Bytes::from(json!({"metric_name": "shared_work", "value": value}).to_string()),
        content_type: None,
    });
    log.append(records.collect()).await.expect("every message is acknowledged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_share_the_partitions_and_survive_each_other() {
    let broker = KafkaBroker::start().expect("a Kafka broker");
    let engine = Engine::start().expect("an engine");
    let directory = tempfile::tempdir().expect("a directory");
    let properties = directory.path().join("kafka.properties");
    // A killed instance is missed sooner than by default.
    std::fs::write(&properties, "session.timeout.ms=2000\nheartbeat.interval.ms=500\n")
        .expect("the directory is ours");
    let store = engine.store_config();
    let log_url = format!("kafka://{}", broker.bootstrap());
    let store_url = format!("http://{}@{}/kelly_apart", store.user, store.url.trim_start_matches("http://"));
    let environment = [
        ("KELLY_LOG", log_url.as_str()),
        ("KELLY_STORE", store_url.as_str()),
        ("KELLY_STORE_PASSWORD", store.password.as_str()),
        ("KELLY_KAFKA_PROPERTIES", properties.to_str().expect("a plain path")),
        ("KELLY_MONITORING_ENABLED", "false"),
        ("KELLY_INGEST_BATCH_ROWS", "300"),
        ("KELLY_INGEST_BATCH_MILLISECONDS", "20"),
    ];
    let (code, _, stderr) = run(&["migrate"], &environment, directory.path());
    assert_eq!(code, Some(0), "{stderr}");
    let start = |role| Start { arguments: role, environment: &environment, data: directory.path() };
    let serve = Kelly::start(start(&["serve"])).await;
    let log = KafkaLog::connect(KafkaConfig::new(broker.bootstrap())).expect("the broker");

    produce(&log, 0, MESSAGES / 2).await;
    let first = Kelly::spawn(start(&["ingest"]));
    let second = Kelly::spawn(start(&["ingest"]));
    let path = "/api/v1/kelly/monitoring/metrics/detailed/shared_work?timeframe=1h";
    let begun = Instant::now();
    let mut victim = Some(first);
    let mut successor = None;
    loop {
        let written = serve.get(path).await["sample_count"].as_u64().expect("a count");
        assert!(written <= MESSAGES, "rows are there twice: {written}");
        // As soon as work is being done, one of the workers dies and another joins.
        if written > 0 && victim.is_some() {
            victim.take().expect("the first instance").kill();
            produce(&log, MESSAGES / 2, MESSAGES).await;
            successor = Some(Kelly::spawn(start(&["ingest"])));
        }
        if written == MESSAGES {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "only {written} of {MESSAGES} rows came");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut lag = u64::MAX;
    while lag > 0 {
        assert!(begun.elapsed() < PATIENCE, "{lag} records were written and not confirmed");
        lag = kelly_ingest::lag(&log, INGEST_GROUP, &[Stream::Metrics]).await.expect("positions");
    }
    assert_eq!(serve.get(path).await["sample_count"], MESSAGES);
    for kelly in [second, successor.expect("a successor"), serve] {
        assert_eq!(kelly.terminate(), Some(0));
    }
}
