//! The pipeline between the real embedded log and a ledger that stands in for the store: it drops
//! tokens it has seen, fails when told to, and "crashes" at any chosen insert.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{UInt16Type, UInt32Type, UInt64Type};
use async_trait::async_trait;
use bytes::Bytes;
use kelly_ingest::{BatchBounds, Block, IngestConfig, InsertError, Pipeline, Rules, Tables, lag};
use kelly_schemas::{Limits, topics};
use kelly_sql::Table;
use kelly_stream::{EmbeddedConfig, EmbeddedLog, Log, NewRecord, Retention, TopicSpec};
use tokio::sync::Notify;

const MESSAGES: usize = 30;
const PARTITIONS: u32 = 2;

#[derive(Default)]
struct Contents {
    tokens: HashSet<(Table, String)>,
    blocks: BTreeMap<Table, Vec<RecordBatch>>,
}

/// What happens at an insert, by its number.
#[derive(Clone, Copy)]
enum Plan {
    Obey,
    /// The process dies at this insert, before or after the store took the block.
    Crash {
        at: usize,
        taken: bool,
    },
    /// Every third insert answers with an error, alternately before and after the block is taken.
    Fail,
}

struct Ledger {
    contents: Arc<Mutex<Contents>>,
    plan: Plan,
    deduplicates: bool,
    inserts: AtomicUsize,
    crashed: Notify,
}

impl Ledger {
    fn over(contents: &Arc<Mutex<Contents>>, plan: Plan) -> Arc<Self> {
        Arc::new(Self {
            contents: Arc::clone(contents),
            plan,
            deduplicates: true,
            inserts: AtomicUsize::new(0),
            crashed: Notify::new(),
        })
    }

    fn take(&self, block: &Block, token: &str) {
        let mut contents = self.contents.lock().unwrap();
        let fresh = contents.tokens.insert((block.table, token.to_owned()));
        if fresh || !self.deduplicates {
            contents.blocks.entry(block.table).or_default().push(block.rows.clone());
        }
    }
}

#[async_trait]
impl Tables for Ledger {
    async fn insert(&self, block: &Block, token: &str) -> Result<(), InsertError> {
        let number = self.inserts.fetch_add(1, Ordering::SeqCst);
        match self.plan {
            Plan::Crash { at, taken } if number >= at => {
                if taken && number == at {
                    self.take(block, token);
                }
                self.crashed.notify_one();
                std::future::pending().await
            }
            Plan::Fail if number % 3 == 1 => {
                if number.is_multiple_of(2) {
                    self.take(block, token);
                }
                Err(InsertError { table: block.table, permanent: false, source: "no answer in time".into() })
            }
            _ => {
                self.take(block, token);
                Ok(())
            }
        }
    }
}

fn config() -> IngestConfig {
    let limits = Limits::default();
    IngestConfig {
        bounds: BatchBounds { max_rows: 7, max_age: Duration::from_millis(20), ..BatchBounds::default() },
        drain_within: Duration::ZERO,
        ..IngestConfig::new(Rules { limits, raw_retention_ms: 72 * 3_600_000 })
    }
}

/// A log with messages of one to three metrics, and every tenth message broken.
async fn filled_log(directory: &std::path::Path) -> Arc<dyn Log> {
    let log = EmbeddedLog::open(EmbeddedConfig::new(directory)).unwrap();
    let topic = |name: &str| TopicSpec {
        name: name.to_owned(),
        partitions: PARTITIONS,
        retention: Retention::default(),
    };
    log.ensure_topics(&[topic(topics::METRICS), topic(topics::ACTIVITY)]).await.unwrap();
    let records = (0..MESSAGES).map(|number| {
        let rows: Vec<String> = (0..=number % 3)
            .map(|row| {
                format!(
                    r#"{{"metric_name":"m{}","value":{number}.{row},"account_id":"a{}","conversation_id":"c{number}"}}"#,
                    number % 4,
                    number % 2
                )
            })
            .collect();
        let payload = if number % 10 == 9 { "{\"metric_name\":".to_owned() } else { format!("[{}]", rows.join(",")) };
        NewRecord {
            topic: topics::METRICS.into(),
            partition: Some(number as u32 % PARTITIONS),
            key: None,
            payload: Bytes::from(payload),
            content_type: None,
        }
    });
    log.append(records.collect()).await.unwrap();
    Arc::new(log)
}

fn expected_rows() -> u64 {
    (0..MESSAGES).filter(|number| number % 10 != 9).map(|number| number as u64 % 3 + 1).sum()
}

async fn run_until_drained(log: &Arc<dyn Log>, ledger: Arc<Ledger>) {
    let pipeline = Pipeline::start(Arc::clone(log), ledger, config()).unwrap();
    tokio::time::timeout(Duration::from_secs(60), async {
        while pipeline.lag().await.unwrap() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the pipeline drains");
    pipeline.shutdown().await.unwrap();
}

async fn run_until_crash(log: &Arc<dyn Log>, ledger: Arc<Ledger>) -> bool {
    let pipeline =
        Pipeline::start(Arc::clone(log), Arc::clone(&ledger) as Arc<dyn Tables>, config()).unwrap();
    let crashed = tokio::select! {
        () = ledger.crashed.notified() => true,
        () = async {
            while pipeline.lag().await.unwrap() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        } => false,
    };
    // The drain has no time: the insert under way never returns and nothing more is committed for it.
    pipeline.shutdown().await.unwrap();
    crashed
}

/// What is wrong with the ledger, if anything.
fn violations(contents: &Contents) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut check = |what: &str, found: u64, wanted: u64| {
        if found != wanted {
            wrong.push(format!("{what}: {found}, not {wanted}"));
        }
    };
    let none = Vec::new();
    let blocks = |table: Table| contents.blocks.get(&table).unwrap_or(&none);
    let rows = |table: Table| blocks(table).iter().map(|block| block.num_rows() as u64).sum::<u64>();
    let counted = |table: Table| {
        blocks(table)
            .iter()
            .flat_map(|block| block["count"].as_primitive::<UInt64Type>().values().to_vec())
            .sum::<u64>()
    };
    check("raw rows", rows(Table::SystemMetrics), expected_rows());
    for table in [
        Table::Metrics1m,
        Table::Metrics1h,
        Table::AccountMetrics1h,
        Table::AccountMetrics1d,
        Table::ConversationMetrics1d,
    ] {
        check(table.name(), counted(table), expected_rows());
    }
    check("dead letters", rows(Table::DeadLetters), MESSAGES as u64 / 10);
    let mut origins = HashSet::new();
    for block in blocks(Table::SystemMetrics) {
        let partitions = block["log_partition"].as_primitive::<UInt16Type>();
        let offsets = block["log_offset"].as_primitive::<UInt64Type>();
        let numbers = block["log_row"].as_primitive::<UInt32Type>();
        for row in 0..block.num_rows() {
            origins.insert((partitions.value(row), offsets.value(row), numbers.value(row)));
        }
    }
    check("distinct origins", origins.len() as u64, expected_rows());
    wrong
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_arrives_once() {
    let directory = tempfile::tempdir().unwrap();
    let log = filled_log(directory.path()).await;
    let contents = Arc::default();
    run_until_drained(&log, Ledger::over(&contents, Plan::Obey)).await;
    assert_eq!(violations(&contents.lock().unwrap()), Vec::<String>::new());
    assert_eq!(lag(&*log, topics::INGEST_GROUP, &[topics::METRICS.into()]).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inserts_with_unknown_outcome_are_repeated_under_their_token() {
    let directory = tempfile::tempdir().unwrap();
    let log = filled_log(directory.path()).await;
    let contents = Arc::default();
    run_until_drained(&log, Ledger::over(&contents, Plan::Fail)).await;
    assert_eq!(violations(&contents.lock().unwrap()), Vec::<String>::new());
}

/// Crashes at every insert there is, before and after the store took the block, and each time a
/// second life finishes what the first began.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_insert_changes_nothing() {
    for taken in [false, true] {
        for at in 0.. {
            let directory = tempfile::tempdir().unwrap();
            let log = filled_log(directory.path()).await;
            let contents = Arc::default();
            let crashed = run_until_crash(&log, Ledger::over(&contents, Plan::Crash { at, taken })).await;
            run_until_drained(&log, Ledger::over(&contents, Plan::Obey)).await;
            assert_eq!(
                violations(&contents.lock().unwrap()),
                Vec::<String>::new(),
                "crash at {at}, taken: {taken}"
            );
            if !crashed {
                assert!(at > 20, "the run has more inserts than {at}");
                break;
            }
        }
    }
}

/// A test of the tests: with a store that ignores tokens, the crashes above are noticed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_tokens_the_violations_are_found() {
    let mut noticed = 0;
    for at in 0..14 {
        let directory = tempfile::tempdir().unwrap();
        let log = filled_log(directory.path()).await;
        let contents = Arc::default();
        run_until_crash(&log, Ledger::over(&contents, Plan::Crash { at, taken: true })).await;
        let forgetful = Arc::new(Ledger {
            contents: Arc::clone(&contents),
            plan: Plan::Obey,
            deduplicates: false,
            inserts: AtomicUsize::new(0),
            crashed: Notify::new(),
        });
        run_until_drained(&log, forgetful).await;
        noticed += usize::from(!violations(&contents.lock().unwrap()).is_empty());
    }
    assert!(noticed > 0, "a doubled block went unnoticed");
}
