//! A partition without a position where the store does not say, or cannot tell, where to go on.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use kelly_ingest::evidence::{Evidence, Source};
use kelly_ingest::{Block, IngestError, InsertError, Pipeline, ReadError, Tables, Unanswered};
use kelly_schemas::Stream;
use kelly_sql::Table;
use kelly_sql::evidence::MarkedGeneration;
use tokio::sync::Notify;

use crate::ledger::{Contents, Ledger, Plan, violations};
use crate::messages::{config, filled_log, run_until_drained};
use crate::{FAITHFUL, ROWS};

/// A ledger that is asked in vain so often, and then has these generations besides its own.
struct Asked {
    ledger: Ledger,
    in_vain: usize,
    generations: Vec<MarkedGeneration>,
    questions: AtomicUsize,
}

#[async_trait]
impl Tables for Asked {
    async fn insert(&self, block: &Block, token: &str) -> Result<(), InsertError> {
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
        if self.questions.fetch_add(1, Ordering::SeqCst) < self.in_vain {
            return Err("no answer in time".into());
        }
        let mut generations = self.ledger.marked_generations(stream, partition).await?;
        generations.extend(self.generations.clone());
        Ok(generations)
    }

    async fn rows_end(&self, stream: Stream, partition: u32, from: u64) -> Result<u64, Unanswered> {
        self.ledger.rows_end(stream, partition, from).await
    }

    async fn token_proves_rows(&self, table: Table) -> Result<bool, InsertError> {
        self.ledger.token_proves_rows(table).await
    }
}

fn asked(contents: &Arc<Mutex<Contents>>, in_vain: usize, generations: Vec<MarkedGeneration>) -> Arc<Asked> {
    let ledger = Ledger::over(contents, Plan::Obey);
    Arc::new(Asked { ledger, in_vain, generations, questions: AtomicUsize::new(0) })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_does_not_answer_is_asked_again() {
    let directory = tempfile::tempdir().unwrap();
    let log = filled_log(directory.path()).await;
    let contents = Arc::default();
    run_until_drained(&log, asked(&contents, 3, Vec::new()), config(ROWS)).await;
    assert_eq!(violations(&contents), FAITHFUL);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_of_a_topic_nobody_can_name_are_not_gone_on_from() {
    let directory = tempfile::tempdir().unwrap();
    let log = filled_log(directory.path()).await;
    let contents: Arc<Mutex<Contents>> = Arc::default();
    // Written where topics had no ids.
    let nameless = MarkedGeneration { generation: "00c0ffee".to_owned(), start: Some(2), end: 7 };
    let tables = asked(&contents, 0, vec![nameless]);
    let pipeline = Pipeline::start(Arc::clone(&log), Arc::clone(&tables) as _, config(ROWS)).unwrap();
    pipeline.ended().await;
    let fault = pipeline.shutdown().await.unwrap_err();
    let IngestError::Read(ReadError::NoPosition { source, .. }) = fault else { panic!("{fault:?}") };
    assert!(
        source.to_string().contains("to go on behind them: an embedded log keeps its positions"),
        "{source}"
    );
    assert_eq!(tables.ledger.inserts.load(Ordering::SeqCst), 0, "nothing is written before it is known");
    // Where there are none, the same log is read from its beginning.
    run_until_drained(&log, asked(&contents, 0, Vec::new()), config(ROWS)).await;
    assert_eq!(violations(&contents), FAITHFUL);
}

/// Longer than anything here takes; reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// A store that takes the question where to go on and never answers it.
struct Silent {
    ledger: Ledger,
    asked: Notify,
}

impl Silent {
    fn over(contents: &Arc<Mutex<Contents>>) -> Arc<Self> {
        Arc::new(Self { ledger: Ledger::over(contents, Plan::Obey), asked: Notify::new() })
    }
}

#[async_trait]
impl Tables for Silent {
    async fn insert(&self, block: &Block, token: &str) -> Result<(), InsertError> {
        self.ledger.insert(block, token).await
    }

    async fn evidence(&self, block: &Block, source: Source<'_>) -> Result<Evidence, InsertError> {
        self.ledger.evidence(block, source).await
    }

    async fn marked_generations(&self, _: Stream, _: u32) -> Result<Vec<MarkedGeneration>, Unanswered> {
        self.asked.notify_one();
        std::future::pending().await
    }

    async fn rows_end(&self, stream: Stream, partition: u32, from: u64) -> Result<u64, Unanswered> {
        self.ledger.rows_end(stream, partition, from).await
    }

    async fn token_proves_rows(&self, table: Table) -> Result<bool, InsertError> {
        self.ledger.token_proves_rows(table).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_does_not_wait_for_a_store_that_does_not_answer() {
    let directory = tempfile::tempdir().unwrap();
    let log = filled_log(directory.path()).await;
    let contents = Arc::default();
    let silent = Silent::over(&contents);
    let pipeline = Pipeline::start(Arc::clone(&log), Arc::clone(&silent) as _, config(ROWS)).unwrap();
    silent.asked.notified().await;
    let stopped = tokio::time::timeout(PATIENCE, pipeline.shutdown()).await;
    stopped.expect("it stops while the store is asked").unwrap();
    assert_eq!(silent.ledger.inserts.load(Ordering::SeqCst), 0, "nothing is written before it is known");
    run_until_drained(&log, asked(&contents, 0, Vec::new()), config(ROWS)).await;
    assert_eq!(violations(&contents), FAITHFUL);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_are_given_up_while_the_store_does_not_answer() {
    let directory = tempfile::tempdir().unwrap();
    let log = filled_log(directory.path()).await;
    let contents = Arc::default();
    let silent = Silent::over(&contents);
    let waiting = Pipeline::start(Arc::clone(&log), Arc::clone(&silent) as _, config(ROWS)).unwrap();
    silent.asked.notified().await;
    // The second instance gets its share although the first one has no answer yet.
    let other = Pipeline::start(Arc::clone(&log), asked(&contents, 0, Vec::new()), config(ROWS)).unwrap();
    let until = async |done: &dyn Fn() -> bool| {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let shared = tokio::time::timeout(PATIENCE, until(&|| other.counts().partitions > 0)).await;
    shared.expect("the first instance lets go of partitions");
    assert_eq!(waiting.counts().partitions, 0, "nothing of it is begun");
    tokio::time::timeout(PATIENCE, waiting.shutdown()).await.expect("it stops").unwrap();
    tokio::time::timeout(PATIENCE, other.shutdown()).await.expect("it stops").unwrap();
    run_until_drained(&log, asked(&contents, 0, Vec::new()), config(ROWS)).await;
    assert_eq!(violations(&contents), FAITHFUL);
}
