//! The log's directory is moved away while ranges are under way, and put back: nothing is confirmed that the log cannot keep,
//! and nothing is written twice.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use kelly_ingest::evidence::{Evidence, Source};
use kelly_ingest::{Block, InsertError, Pipeline, Tables, Unanswered};
use kelly_schemas::Stream;
use kelly_sql::Table;
use kelly_sql::evidence::MarkedGeneration;
use kelly_stream::{
    Assignment, Commit, ConsumerSpec, EmbeddedConfig, EmbeddedLog, Log, Record, RecordSink, Sink, Start,
    TopicPartition,
};
use tokio::sync::{Notify, Semaphore};

use crate::ledger::{Contents, Ledger, Plan, violations};
use crate::messages::{config, filled_log, run_until_drained};
use crate::{FAITHFUL, ROWS};

/// Longer than anything here takes; reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// A store that takes nothing until it is told to.
struct Held {
    ledger: Ledger,
    may_insert: Semaphore,
    asked: Notify,
}

#[async_trait]
impl Tables for Held {
    async fn insert(&self, block: &Block, token: &str) -> Result<(), InsertError> {
        self.asked.notify_one();
        let _permit = self.may_insert.acquire().await.unwrap();
        self.ledger.insert(block, token).await
    }

    async fn evidence(&self, block: &Block, source: Source<'_>) -> Result<Evidence, InsertError> {
        self.ledger.evidence(block, source).await
    }

    async fn marked_generations(
        &self,
        stream: Stream,
        partition: u32,
    ) -> Result<Vec<MarkedGeneration>, Unanswered> {
        self.ledger.marked_generations(stream, partition).await
    }

    async fn rows_end(&self, stream: Stream, partition: u32, from: u64) -> Result<u64, Unanswered> {
        self.ledger.rows_end(stream, partition, from).await
    }

    async fn token_proves_rows(&self, table: Table) -> Result<bool, InsertError> {
        self.ledger.token_proves_rows(table).await
    }
}

#[derive(Default)]
struct Assigned(Vec<(TopicPartition, u64)>);

impl Sink for Assigned {
    fn assigned(&mut self, assignments: Vec<Assignment>) {
        self.0.extend(assignments.into_iter().map(|assignment| (assignment.partition, assignment.epoch)));
    }
    fn revoked(&mut self, _: &[TopicPartition]) {}
}

impl RecordSink for Assigned {
    fn gap(&mut self, _: &TopicPartition, _: u64, _: u64) {}
    fn record(&mut self, _: Record<'_>) {}
}

/// Commits positions of another group until the log has to write a file where its directory was, and cannot.
fn commit_until_refused(log: &dyn Log) {
    let topics = vec![Stream::Metrics.topic().into()];
    let spec = ConsumerSpec { group: "other".to_owned(), topics, start: Start::Earliest };
    let mut consumer = log.consumer(spec).unwrap();
    let mut assigned = Assigned::default();
    while assigned.0.is_empty() {
        consumer.poll(Duration::from_millis(10), 1, &mut assigned).unwrap();
    }
    let (partition, epoch) = assigned.0.swap_remove(0);
    let commits = vec![Commit { partition, epoch, offset: 0, metadata: "x".repeat(4_000) }; 50];
    let committer = consumer.committer();
    let refused = (0..1_000).any(|_| committer.commit(&commits).is_err());
    assert!(refused, "the log takes every commit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_is_moved_and_put_back_repeats_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (dir, aside) = (directory.path().join("log"), directory.path().join("aside"));
    let log = filled_log(&dir).await;
    let contents: Arc<Mutex<Contents>> = Arc::default();
    let held = Arc::new(Held {
        ledger: Ledger::over(&contents, Plan::Obey),
        may_insert: Semaphore::new(0),
        asked: Notify::new(),
    });
    let pipeline = Pipeline::start(Arc::clone(&log), Arc::clone(&held) as _, config(ROWS)).unwrap();
    held.asked.notified().await;

    fs::rename(&dir, &aside).unwrap();
    let moved = Arc::clone(&log);
    tokio::task::spawn_blocking(move || commit_until_refused(&*moved)).await.unwrap();
    held.may_insert.add_permits(1_000);
    let reported = async {
        loop {
            if let Some(reason) = pipeline.counts().last_error {
                break reason;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let reason = tokio::time::timeout(PATIENCE, reported).await.expect("the commit that fails is reported");
    assert!(reason.contains("moved or replaced"), "{reason}");
    pipeline.shutdown().await.unwrap();
    log.close().await.unwrap_err();
    drop(log);

    fs::rename(&aside, &dir).unwrap();
    let log: Arc<dyn Log> = Arc::new(EmbeddedLog::open(EmbeddedConfig::new(&dir)).unwrap());
    run_until_drained(&log, Arc::new(Ledger::over(&contents, Plan::Obey)), config(ROWS + 3)).await;
    assert_eq!(violations(&contents), FAITHFUL);
}
