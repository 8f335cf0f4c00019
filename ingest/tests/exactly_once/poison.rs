//! What no row can be made of, each through the log between sound neighbours: one dead letter each, with its reason and
//! its bytes, and the neighbours pass.

use std::fmt::Write;
use std::sync::Arc;

use bytes::Bytes;
use kelly_harness::TestDatabase;
use kelly_ingest::IngestConfig;
use kelly_schemas::{Limits, Stream};
use kelly_stream::{EmbeddedConfig, EmbeddedLog, Log, NewRecord, Retention, TopicSpec};

use crate::messages::{config, run_until_drained};

/// So that an oversized message is no burden to the test.
const MAX_MESSAGE_BYTES: usize = 4_096;

fn small_messages() -> IngestConfig {
    let mut config = config(7);
    config.limits = Limits { max_message_bytes: MAX_MESSAGE_BYTES, ..config.limits };
    config
}

async fn log(directory: &std::path::Path) -> EmbeddedLog {
    let log = EmbeddedLog::open(EmbeddedConfig::new(directory)).unwrap();
    let topic =
        |name: &str| TopicSpec { name: name.to_owned(), partitions: 1, retention: Retention::default() };
    log.ensure_topics(&[topic(Stream::Metrics.topic()), topic(Stream::Activity.topic())]).await.unwrap();
    log
}

fn record(topic: &str, payload: impl Into<Bytes>) -> NewRecord {
    NewRecord {
        topic: topic.into(),
        partition: Some(0),
        key: None,
        payload: payload.into(),
        content_type: None,
    }
}

/// A name for the test, and the message.
fn poison() -> Vec<(&'static str, Vec<u8>)> {
    let metric = |field: &str| format!(r#"{{"metric_name":"m",{field}}}"#).into_bytes();
    let deep = |open: &str, close: &str| {
        let inner = format!("{}1{}", open.repeat(500), close.repeat(500));
        metric(&format!(r#""value":1,"metadata":{{"a":{inner}}}"#))
    };
    vec![
        ("empty", Vec::new()),
        ("spaces", b"  \n ".to_vec()),
        ("zero bytes", vec![0; 16]),
        ("invalid UTF-8", b"{\"metric_name\":\"\xff\xfe\",\"value\":1}".to_vec()),
        ("half a character", b"{\"metric_name\":\"m\",\"value\":1,\"user_id\":\"\xe2\x82\"}".to_vec()),
        ("cut off", br#"{"metric_name":"m","val"#.to_vec()),
        ("a number", b"42".to_vec()),
        ("null", b"null".to_vec()),
        ("NaN", metric(r#""value":NaN"#)),
        ("NaN as text", metric(r#""value":"NaN""#)),
        ("Infinity", metric(r#""value":Infinity"#)),
        ("minus Infinity as text", metric(r#""value":"-Infinity""#)),
        ("beyond a double", metric(r#""value":1e400"#)),
        ("no value", metric(r#""account_id":"a""#)),
        ("year 3000", metric(r#""value":1,"timestamp":"3000-01-01T00:00:00Z""#)),
        ("year 3000 in milliseconds", metric(r#""value":1,"timestamp":32503680000000"#)),
        ("year 1970", metric(r#""value":1,"timestamp":0"#)),
        ("the thirteenth month", metric(r#""value":1,"timestamp":"2026-13-01T00:00:00Z""#)),
        ("deep arrays", deep("[", "]")),
        ("deep objects", deep("{\"a\":", "}")),
        ("arrays without an end", b"[".repeat(2_000)),
        ("a reserved name", br#"{"metric_name":"~kelly.metrics:0:00c0ffee","value":1}"#.to_vec()),
        ("oversized", metric(&format!(r#""value":1,"user_id":"{}""#, "x".repeat(MAX_MESSAGE_BYTES)))),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_becomes_one_dead_letter_between_neighbours_that_pass() {
    let database = TestDatabase::create().await;
    let directory = tempfile::tempdir().unwrap();
    let log = log(directory.path()).await;
    let sound = || {
        record(
            Stream::Metrics.topic(),
            r#"{"metric_name":"sound","value":1,"account_id":"a","conversation_id":"c"}"#,
        )
    };
    let mut records = vec![sound()];
    for (_, payload) in poison() {
        records.extend([record(Stream::Metrics.topic(), payload), sound()]);
    }
    // And one in the middle of a message.
    records.push(record(
        Stream::Metrics.topic(),
        r#"[{"metric_name":"sound","value":1},{"metric_name":"m","value":"x"},{"metric_name":"sound","value":1}]"#,
    ));
    let appended = records.len();
    log.append(records).await.unwrap();
    let log: Arc<dyn Log> = Arc::new(log);
    run_until_drained(&log, Arc::new(database.store().clone()), small_messages()).await;

    let count = (poison().len() + 1).to_string();
    assert_eq!(database.query("SELECT count() FROM dead_letters").await, count);
    assert_eq!(database.query("SELECT uniqExact(log_offset) FROM dead_letters").await, count);
    let neighbours = (poison().len() + 1 + 2).to_string();
    for question in [
        "SELECT count() FROM system_metrics",
        "SELECT sum(count) FROM metric_rollups WHERE tier = 'minute'",
        "SELECT sum(count) FROM metric_rollups WHERE tier = 'hour' AND metric_name = 'sound'",
    ] {
        assert_eq!(database.query(question).await, neighbours, "{question}");
    }
    assert_eq!(
        database.query("SELECT log_offset, log_row FROM dead_letters ORDER BY log_offset DESC LIMIT 1").await,
        format!("{}\t1", appended - 1)
    );
    let mut letters = String::new();
    for (number, (name, payload)) in poison().iter().enumerate() {
        let letter = database
            .query(&format!(
                "SELECT reason_code, reason, length(bytes) FROM dead_letters WHERE log_offset = {}",
                2 * number + 1
            ))
            .await;
        let [code, reason, kept] = letter.splitn(3, '\t').collect::<Vec<_>>()[..] else {
            panic!("{name}: {letter}")
        };
        let kept: usize = kept.parse().unwrap();
        assert_eq!(kept == 0, payload.is_empty(), "{name}: {kept} of {} bytes were kept", payload.len());
        // What follows is relative to the log's time.
        let reason =
            reason.split(", later than ").next().and_then(|reason| reason.split(", older than ").next());
        writeln!(letters, "{name}: {code}: {}", reason.unwrap()).unwrap();
    }
    insta::assert_snapshot!(letters);
}
