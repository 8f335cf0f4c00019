//! The Arrow lane: the same rows make the same blocks as JSON makes, and messages arrive exactly, through real
//! Kafka in the real store.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, UInt32Type};
use arrow_array::{ArrayRef, DictionaryArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{Field, Schema};
use async_trait::async_trait;
use bytes::Bytes;
use kelly_auth::Accounts;
use kelly_harness::{KafkaBroker, TestDatabase};
use kelly_ingest::accept::{AcceptError, Acceptor, AdmitAll, AdmitRows, Arrival, Kind};
use kelly_ingest::evidence::{Evidence, Source};
use kelly_ingest::{
    Batch, BatchBounds, BatchBuilder, Block, IngestConfig, InsertError, Nonce, Pipeline, Rules, Tables,
    Unanswered,
};
use kelly_schemas::decode::{ARROW_STREAM, Form};
use kelly_schemas::{Limits, Stream};
use kelly_sql::Table;
use kelly_sql::evidence::MarkedGeneration;
use kelly_stream::{
    EmbeddedConfig, EmbeddedLog, KafkaConfig, KafkaLog, Log, NewRecord, Record, Retention, TopicSpec,
};
use tokio::sync::Semaphore;

const LOG_TIME_MS: i64 = 1_726_068_650_000;
const RAW_RETENTION_MS: i64 = 72 * 3_600_000;

/// A row of a test, in either form.
#[derive(Debug, Clone)]
struct Row {
    name: &'static str,
    kind: Option<&'static str>,
    value: f64,
    time: Option<i64>,
    account: Option<&'static str>,
    conversation: Option<String>,
    metadata: Option<&'static str>,
}

/// Rows of every kind: absent columns, old ones, bad ones.
fn rows() -> Vec<Row> {
    (0..500_i64)
        .map(|number| Row {
            // A name that is none makes a bad row.
            name: ["response_time", "messages", "no name at all", "a.b"]
                [if number % 97 == 5 { 2 } else { (number % 4 % 3) as usize * 3 / 2 }],
            kind: (number % 5 == 0).then_some("histogram"),
            value: number as f64 * 1.25 - 100.0,
            time: match number % 7 {
                0 => None,
                // Too old to be kept raw, and counted in the rollups.
                1 => Some(LOG_TIME_MS - RAW_RETENTION_MS - number * 60_000),
                2 => Some(LOG_TIME_MS / 1000),
                _ => Some(LOG_TIME_MS - number * 1_000),
            },
            account: [Some("acme"), None, Some(""), Some("zeta")][number as usize % 4],
            conversation: (number % 3 > 0).then(|| format!("conversation-{}", number % 40)),
            metadata: [None, Some("{}"), Some(r#"{"region":"north"}"#)][number as usize % 3],
        })
        .collect()
}

fn as_json(rows: &[Row]) -> Vec<u8> {
    let mut text = String::from("[");
    for (position, row) in rows.iter().enumerate() {
        let comma = if position == 0 { "" } else { "," };
        let head = serde_json::json!({
            "metric_name": row.name, "metric_type": row.kind, "value": row.value, "timestamp": row.time,
            "account_id": row.account, "conversation_id": row.conversation,
        })
        .to_string();
        let head = head.strip_suffix('}').unwrap();
        write!(text, "{comma}{head},\"metadata\":{}}}", row.metadata.unwrap_or("null")).unwrap();
    }
    text.push(']');
    text.into_bytes()
}

fn as_arrow(rows: &[Row], keyed: bool, rows_a_batch: usize) -> Vec<u8> {
    let batch = |rows: &[Row]| {
        let texts = |text: &dyn Fn(&Row) -> Option<String>| -> ArrayRef {
            let texts: Vec<Option<String>> = rows.iter().map(text).collect();
            let texts = texts.iter().map(Option::as_deref);
            if keyed {
                Arc::new(texts.collect::<DictionaryArray<Int32Type>>())
            } else {
                Arc::new(texts.collect::<StringArray>())
            }
        };
        let own = |text: Option<&str>| text.map(str::to_owned);
        let columns: [(&str, ArrayRef); 7] = [
            ("metric_name", texts(&|row| own(Some(row.name)))),
            ("metric_type", texts(&|row| own(row.kind))),
            ("value", Arc::new(Float64Array::from_iter(rows.iter().map(|row| Some(row.value))))),
            ("timestamp", Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.time)))),
            ("account_id", texts(&|row| own(row.account))),
            ("conversation_id", texts(&|row| row.conversation.clone())),
            ("metadata", texts(&|row| own(row.metadata))),
        ];
        let fields = columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        RecordBatch::try_new(schema, columns.into_iter().map(|(_, column)| column).collect()).unwrap()
    };
    let batches: Vec<RecordBatch> = rows.chunks(rows_a_batch).map(batch).collect();
    let mut writer = StreamWriter::try_new(Vec::new(), &batches[0].schema()).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.into_inner().unwrap()
}

fn built(messages: &[(Option<&str>, &[u8])]) -> Batch {
    let rules = Rules { limits: Limits::default(), raw_retention_ms: RAW_RETENTION_MS };
    let mut builder = BatchBuilder::new(Stream::Metrics, 3, 10, rules);
    for (offset, (content_type, payload)) in (10..).zip(messages) {
        builder.push(&Record {
            topic: Stream::Metrics.topic(),
            partition: 3,
            offset,
            timestamp_ms: LOG_TIME_MS,
            key: None,
            payload,
            content_type: *content_type,
        });
    }
    builder.close(None, Nonce::parse("00000001").unwrap())
}

fn dead_rows(batch: &Batch) -> Vec<(u32, String)> {
    let letters = batch.blocks.iter().find(|block| block.table == Table::DeadLetters).expect("dead letters");
    let codes = letters.rows["reason_code"].as_dictionary::<Int32Type>();
    let codes = codes.downcast_dict::<StringArray>().unwrap();
    let rows = letters.rows["log_row"].as_primitive::<UInt32Type>().values();
    rows.iter().copied().zip(codes.into_iter().map(|code| code.unwrap_or_default().to_owned())).collect()
}

#[test]
fn equal_rows_make_equal_blocks_in_either_form() {
    let rows = rows();
    let json = as_json(&rows);
    // Behind rows that came before, so that the batch's numbers are not the message's.
    let before =
        br#"[{"metric_name":"other","value":1,"conversation_id":"conversation-7","account_id":"zeta"}]"#;
    let by_json = built(&[(None, before), (None, &json)]);
    assert!(by_json.size.dead_letters > 50 && by_json.size.rows > 300, "{:?}", by_json.size);
    for (keyed, rows_a_batch) in [(true, 500), (false, 500), (true, 33), (false, 170)] {
        let arrow = as_arrow(&rows, keyed, rows_a_batch);
        let by_arrow = built(&[(None, before), (Some("Application/VND.apache.arrow.stream; v=1"), &arrow)]);
        assert_eq!(by_arrow.size.rows, by_json.size.rows);
        assert_eq!(dead_rows(&by_arrow), dead_rows(&by_json));
        assert_eq!(by_arrow.blocks.len(), by_json.blocks.len());
        for (arrow, json) in by_arrow.blocks.iter().zip(&by_json.blocks) {
            assert_eq!(arrow.table, json.table);
            if arrow.table != Table::DeadLetters {
                assert_eq!(arrow.rows, json.rows, "{:?}, {keyed}, {rows_a_batch}", arrow.table);
            }
        }
    }
}

#[test]
fn a_message_whose_texts_are_shared_counts_by_what_they_become() {
    let rows = vec![
        Row {
            metadata: Some(r#"{"region":"north","queue":"gold","plan":"enterprise"}"#),
            ..rows()[3].clone()
        };
        1_000
    ];
    let arrow = as_arrow(&rows, true, 1_000);
    let size = built(&[(Some(ARROW_STREAM), &arrow)]).size;
    assert!(size.bytes > arrow.len() + 10_000, "{size:?} of {} bytes", arrow.len());
}

#[test]
fn what_is_kept_of_bad_rows_counts_and_is_bounded_by_the_message() {
    let bad = Row { name: "no name at all", account: Some("acme"), ..rows()[3].clone() };
    let arrow = as_arrow(&vec![bad; 5_000], true, 100);
    let size = built(&[(Some(ARROW_STREAM), &arrow)]).size;
    let kept = |times: usize| -> usize {
        let batch = built(&vec![(Some(ARROW_STREAM), &arrow[..]); times]);
        let letters =
            batch.blocks.iter().find(|block| block.table == Table::DeadLetters).expect("dead letters");
        letters.rows["bytes"].as_binary::<i32>().value_data().len()
    };
    assert_eq!(size.dead_letters, 5_000);
    assert!((200 << 10..=256 << 10).contains(&kept(1)), "{} bytes", kept(1));
    assert_eq!(kept(3), 3 * kept(1), "each message has its own");
    let texts = 5_000 * "`metric_name` may hold only".len();
    assert!(size.bytes > kept(1) + texts + arrow.len().max(5_000 * 80), "{size:?}");
}

#[test]
fn events_and_unknown_types_are_dead_letters_without_their_texts() {
    let rules = Rules { limits: Limits::default(), raw_retention_ms: RAW_RETENTION_MS };
    let mut builder = BatchBuilder::new(Stream::Activity, 0, 0, rules);
    for (offset, content_type) in [(0, ARROW_STREAM), (1, "application/x-protobuf")] {
        builder.push(&Record {
            topic: Stream::Activity.topic(),
            partition: 0,
            offset,
            timestamp_ms: LOG_TIME_MS,
            key: None,
            payload: b"some words",
            content_type: Some(content_type),
        });
    }
    let batch = builder.close(None, Nonce::parse("00000001").unwrap());
    assert_eq!(dead_rows(&batch), vec![(0, "unsupported_content_type".to_owned()); 2]);
    let kept = batch.blocks[0].rows["bytes"].as_binary::<i32>();
    assert!(kept.iter().all(|bytes| bytes == Some(b"???? ?????")));
}

/// A store that takes a block for each permit it is given.
struct Slow {
    permits: Semaphore,
}

#[async_trait]
impl Tables for Slow {
    async fn insert(&self, _block: &Block, _token: &str) -> Result<(), InsertError> {
        self.permits.acquire().await.expect("it is never closed").forget();
        Ok(())
    }

    async fn marked_generations(&self, _: Stream, _: u32) -> Result<Vec<MarkedGeneration>, Unanswered> {
        Ok(Vec::new())
    }

    async fn rows_end(&self, _: Stream, _: u32, _: u64) -> Result<u64, Unanswered> {
        Ok(0)
    }

    async fn token_proves_rows(&self, _table: Table) -> Result<bool, InsertError> {
        Ok(true)
    }

    async fn evidence(&self, _block: &Block, _source: Source<'_>) -> Result<Evidence, InsertError> {
        Ok(Evidence::Unknown)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_is_buffered_than_the_bound_and_the_batch_that_reached_it() {
    const MESSAGES: u64 = 40;
    const ROWS: usize = 200;
    let directory = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(EmbeddedLog::open(EmbeddedConfig::new(directory.path())).unwrap());
    log.ensure_topics(&[topic(Stream::Metrics.topic()), topic(Stream::Activity.topic())]).await.unwrap();
    let rows = vec![Row { time: None, metadata: Some(r#"{"region":"north"}"#), ..rows()[3].clone() }; ROWS];
    let payload = Bytes::from(as_arrow(&rows, true, ROWS));
    let one = built(&[(Some(ARROW_STREAM), &payload)]).size.bytes as u64;
    // All in one append: what a single poll would hand over.
    let record = NewRecord {
        topic: Stream::Metrics.topic().into(),
        partition: Some(0),
        key: None,
        payload,
        content_type: Some(ARROW_STREAM.into()),
    };
    log.append(vec![record; MESSAGES as usize]).await.unwrap();

    let rules = Rules { limits: Limits::default(), raw_retention_ms: RAW_RETENTION_MS };
    let bound = 5 * one;
    let bounds = BatchBounds { max_rows: 1, max_buffered_bytes: bound as usize, ..BatchBounds::default() };
    let slow = Arc::new(Slow { permits: Semaphore::new(0) });
    let tables: Arc<dyn Tables> = slow.clone();
    let config = IngestConfig { bounds, ..IngestConfig::new(rules) };
    let pipeline = Pipeline::start(Arc::clone(&log), tables, config).unwrap();
    let begun = Instant::now();
    let mut has_reached_it = false;
    while pipeline.counts().batches < MESSAGES {
        assert!(begun.elapsed() < Duration::from_secs(120), "{:?}", pipeline.counts());
        let buffered = pipeline.counts().buffered_bytes;
        assert!(buffered <= bound + one, "{buffered} bytes are buffered, {bound} allowed, {one} a batch");
        has_reached_it |= buffered > bound;
        if has_reached_it {
            slow.permits.add_permits(1);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let counts = pipeline.shutdown().await.unwrap();
    assert_eq!((counts.records, counts.rows), (MESSAGES, MESSAGES * ROWS as u64));
    log.close().await.unwrap();
}

fn topic(name: &str) -> TopicSpec {
    TopicSpec { name: name.to_owned(), partitions: 2, retention: Retention::default() }
}

/// A sender who is not limited.
fn anybody() -> Arrival {
    Arrival { now_ms: LOG_TIME_MS, accounts: Accounts::All, admission: Arc::new(AdmitAll) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_limited_to_accounts_records_for_those_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(EmbeddedLog::open(EmbeddedConfig::new(directory.path())).unwrap());
    log.ensure_topics(&[topic(Stream::Metrics.topic()), topic(Stream::Activity.topic())]).await.unwrap();
    let acceptor = Acceptor::new(Arc::clone(&log), Limits::default()).await.unwrap();
    let own = Arrival { accounts: Accounts::only(["own", "second"]).unwrap(), ..anybody() };
    let mixed = [Some("own"), Some("others"), None, Some("second")];
    let permitted = [Some("own"), Some("second")];
    let metrics = |accounts: &[Option<&'static str>]| -> Vec<Row> {
        let row = |account: &Option<&'static str>| Row { account: *account, ..rows()[3].clone() };
        accounts.iter().map(row).collect()
    };
    let events = |accounts: &[Option<&'static str>]| {
        let event = |account: &Option<&'static str>| serde_json::json!({"event_type": "e", "title": "t", "account_id": account});
        serde_json::to_vec(&accounts.iter().map(event).collect::<Vec<_>>()).unwrap()
    };
    for (accounts, arrival, expected) in [
        (&mixed[..], &own, Err(vec![(1, "account_not_permitted"), (2, "account_not_permitted")])),
        (&permitted, &own, Ok(2)),
        (&mixed, &anybody(), Ok(4)),
    ] {
        let metrics = metrics(accounts);
        let outcomes = [
            acceptor.accept(Kind::Metrics, &as_json(&metrics), Form::Json, arrival).await,
            acceptor.accept(Kind::Activity, &events(accounts), Form::Json, arrival).await,
            acceptor.accept_arrow(as_arrow(&metrics, true, 2).into(), arrival.clone()).await,
        ];
        for outcome in outcomes {
            let outcome = outcome.map(|accepted| accepted.rows).map_err(|refused| match refused {
                AcceptError::Rows { bad, .. } => {
                    bad.into_iter().map(|row| (row.index, row.fault.code())).collect::<Vec<_>>()
                }
                other => panic!("{other:?}"),
            });
            assert_eq!(outcome, expected, "{accounts:?}");
        }
    }
    log.close().await.unwrap();
}

/// Lets up to so many rows in at once.
struct AtMost(usize);

#[async_trait::async_trait]
impl AdmitRows for AtMost {
    async fn admit(&self, rows: usize) -> Result<(), Duration> {
        if rows <= self.0 { Ok(()) } else { Err(Duration::from_secs(7)) }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_over_the_senders_budget_of_rows_is_refused_whole() {
    let directory = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(EmbeddedLog::open(EmbeddedConfig::new(directory.path())).unwrap());
    log.ensure_topics(&[topic(Stream::Metrics.topic()), topic(Stream::Activity.topic())]).await.unwrap();
    let acceptor = Acceptor::new(Arc::clone(&log), Limits::default()).await.unwrap();
    let limited = Arrival { admission: Arc::new(AtMost(2)), ..anybody() };
    let three = vec![rows()[3].clone(); 3];
    for outcome in [
        acceptor.accept(Kind::Metrics, &as_json(&three), Form::Json, &limited).await,
        acceptor.accept_arrow(as_arrow(&three, true, 2).into(), limited.clone()).await,
    ] {
        match outcome {
            Err(AcceptError::OverBudget { retry_after }) => assert_eq!(retry_after, Duration::from_secs(7)),
            other => panic!("{other:?}"),
        }
    }
    let ends = log.ends(Stream::Metrics.topic()).await.unwrap();
    assert!(ends.iter().all(|ends| ends.high == 0), "{ends:?}");
    let taken = acceptor.accept(Kind::Metrics, &as_json(&three[..2]), Form::Json, &limited).await.unwrap();
    assert_eq!(taken.rows, 2);
    log.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_of_arrow_is_on_the_log_by_partition_or_refused_whole() {
    let directory = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(EmbeddedLog::open(EmbeddedConfig::new(directory.path())).unwrap());
    log.ensure_topics(&[topic(Stream::Metrics.topic()), topic(Stream::Activity.topic())]).await.unwrap();
    let acceptor = Acceptor::new(Arc::clone(&log), Limits::default()).await.unwrap();

    let rows = rows();
    let refused = acceptor.accept_arrow(as_arrow(&rows, true, 100).into(), anybody()).await;
    let Err(AcceptError::Rows { bad, total, rows: all }) = refused else { panic!("{refused:?}") };
    assert_eq!((all, bad[0].index, bad[0].fault.code()), (500, 2, "too_old"));
    assert!(total > bad.len(), "{total} and {} reported", bad.len());
    let broken = acceptor.accept_arrow(Bytes::from_static(b"no stream"), anybody()).await;
    assert!(
        matches!(&broken, Err(AcceptError::Body(fault)) if fault.code() == "invalid_arrow"),
        "{broken:?}"
    );
    let ends = log.ends(Stream::Metrics.topic()).await.unwrap();
    assert!(ends.iter().all(|end| end.high == 0), "nothing of a refused body is on the log");

    let by_json = built(&[(None, &as_json(&rows))]);
    let bad: Vec<u32> = dead_rows(&by_json).into_iter().map(|(row, _)| row).collect();
    let good: Vec<Row> =
        rows.into_iter().zip(0..).filter(|(_, row)| !bad.contains(row)).map(|(row, _)| row).collect();
    let accepted = acceptor.accept_arrow(as_arrow(&good, true, 1_000).into(), anybody()).await.unwrap();
    assert_eq!(accepted.rows, good.len());
    let ends = log.ends(Stream::Metrics.topic()).await.unwrap();
    assert!(ends.iter().all(|end| end.high == 1), "one message a partition: {ends:?}");

    let large_metadata: &'static str =
        Box::leak(format!(r#"{{"k":"{}"}}"#, "x".repeat(4_000)).into_boxed_str());
    let large = vec![Row { metadata: Some(large_metadata), ..good[0].clone() }; 900];
    acceptor.accept_arrow(as_arrow(&large, true, 1_000).into(), anybody()).await.unwrap();
    let ends = log.ends(Stream::Metrics.topic()).await.unwrap();
    assert!(ends.iter().map(|end| end.high).sum::<u64>() > 4, "a large body is cut into messages: {ends:?}");
    log.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arrow_messages_arrive_exactly_through_kafka() {
    let broker = KafkaBroker::start().expect("a Kafka broker");
    let log: Arc<dyn Log> = Arc::new(KafkaLog::connect(KafkaConfig::new(broker.bootstrap())).unwrap());
    log.ensure_topics(&[topic(Stream::Metrics.topic()), topic(Stream::Activity.topic())]).await.unwrap();
    let database = TestDatabase::create().await;
    let now_ms = chrono::Utc::now().timestamp_millis();
    let row = |value: u64| Row {
        name: ["response_time", "messages"][value as usize % 2],
        kind: None,
        value: value as f64,
        time: Some(now_ms - 60_000),
        account: Some(["acme", "zeta"][value as usize % 2]),
        conversation: Some(format!("conversation-{}", value % 100)),
        metadata: None,
    };
    const MESSAGES: u64 = 8;
    const ROWS: u64 = 5_000;
    let mut records: Vec<NewRecord> = (0..MESSAGES)
        .map(|message| {
            let mut rows: Vec<Row> = (message * ROWS..(message + 1) * ROWS).map(row).collect();
            if message == 3 {
                rows[17].value = f64::INFINITY;
            }
            NewRecord {
                topic: Stream::Metrics.topic().into(),
                partition: Some(message as u32 % 2),
                key: None,
                payload: Bytes::from(as_arrow(&rows, message % 2 == 0, 2_000)),
                content_type: Some(ARROW_STREAM.into()),
            }
        })
        .collect();
    let cut = records[0].payload.slice(..1_000);
    records.insert(5, NewRecord { payload: cut, ..records[0].clone() });
    let json = as_json(&[row(MESSAGES * ROWS)]);
    records.push(NewRecord { payload: Bytes::from(json), content_type: None, ..records[0].clone() });
    log.append(records).await.unwrap();

    let rules = Rules { limits: Limits::default(), raw_retention_ms: RAW_RETENTION_MS };
    let tables = Arc::new(database.store().clone());
    let pipeline = Pipeline::start(Arc::clone(&log), tables, IngestConfig::new(rules)).unwrap();
    let expected = MESSAGES * ROWS + 1 - 1;
    let begun = Instant::now();
    while pipeline.counts().rows < expected || pipeline.counts().dead_letters < 2 {
        assert!(begun.elapsed() < Duration::from_secs(120), "{:?}", pipeline.counts());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let counts = pipeline.shutdown().await.unwrap();
    assert_eq!((counts.rows, counts.dead_letters, counts.records), (expected, 2, MESSAGES + 2));

    let bad = 3 * ROWS + 17;
    let sum: u64 = (0..=MESSAGES * ROWS).sum::<u64>() - bad;
    let raw = "SELECT count(), uniqExact(value), toUInt64(sum(value)), uniqExact(log_partition, log_offset, log_row) FROM system_metrics";
    assert_eq!(database.query(raw).await, format!("{expected}\t{expected}\t{sum}\t{expected}"));
    for tier in ["minute", "hour", "account_hour", "conversation_day"] {
        let rollup =
            format!("SELECT sum(count), toUInt64(sum(sum)) FROM metric_rollups WHERE tier = '{tier}'");
        assert_eq!(database.query(&rollup).await, format!("{expected}\t{sum}"), "{tier}");
    }
    let histogram = "SELECT sum(arraySum(mapValues(histogram))) FROM metric_rollups WHERE tier = 'minute'";
    assert_eq!(database.query(histogram).await, expected.to_string());
    let types = "SELECT DISTINCT metric_name, metric_type FROM system_metrics ORDER BY 1";
    assert_eq!(database.query(types).await, "messages\tcounter\nresponse_time\tgauge");
    let letters = "SELECT reason_code, log_row, content_type, bytes LIKE '%\"conversation_id\":\"conversation-17\"%' FROM dead_letters ORDER BY 1";
    assert_eq!(
        database.query(letters).await,
        format!(
            "invalid_arrow\t0\t{ARROW_STREAM}\t0\nvalue_out_of_range\t17\tapplication/json; from=arrow\t1"
        )
    );
    log.close().await.unwrap();
}
