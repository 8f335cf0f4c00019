//! When a writer looks whether it was replaced, and what it sends twice: over a store and a log that note what is asked
//! of them, under clocks moved by hand.

use std::collections::HashMap;
use std::sync::Mutex;

use arrow_array::{ArrayRef, RecordBatch, TimestampSecondArray};
use tokio::sync::watch;

use async_trait::async_trait;
use kelly_schemas::Stream;
use kelly_sql::Table;
use kelly_sql::evidence::MarkedGeneration;

use super::*;
use crate::batch::Size;
use crate::shape::Range;
use crate::tables::Unanswered;

const HOUR: Duration = Duration::from_secs(3_600);

/// A log and a store that never show a row.
struct Scene {
    /// What was asked, in its order.
    asked: Mutex<Vec<String>>,
    hand: Mutex<Moment>,
    /// How far the hand moves while the store answers a question.
    answering: Duration,
    token_proves_rows: bool,
}

impl Scene {
    fn new(answering: Duration, token_proves_rows: bool) -> Arc<Self> {
        let hand = Mutex::new(Moment::now());
        Arc::new(Self { asked: Mutex::default(), hand, answering, token_proves_rows })
    }

    fn note(&self, what: String) {
        self.asked.lock().unwrap().push(what);
    }

    fn pass(&self, time: Duration) {
        self.hand.lock().unwrap().running += time;
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// A writer for one batch of one block, and the channel that tells how often it has looked at the clock.
    fn writer(self: &Arc<Self>, declared: Option<u64>) -> (Writer, Arc<WriteContext>, watch::Receiver<u64>) {
        let (looked, looks) = watch::channel(0);
        let scene = Arc::clone(self);
        let context = Arc::new(WriteContext {
            tables: Arc::clone(self) as _,
            committer: Arc::clone(self) as _,
            stats: Arc::default(),
            inserting: Semaphore::new(1),
            clock: Box::new(move || {
                let now = *scene.hand.lock().unwrap();
                looked.send_modify(|times| *times += 1);
                now
            }),
        });
        let writer = Writer {
            context: Arc::clone(&context),
            partition: TopicPartition { topic: "t".into(), partition: 0 },
            epoch: 1,
            nonce: Nonce::parse("00c0ffee").unwrap(),
            declared,
            doubtful_to: None,
            confirmed_at: *self.hand.lock().unwrap(),
            abandon: CancellationToken::new(),
        };
        (writer, context, looks)
    }
}

#[async_trait]
impl Tables for Scene {
    async fn insert(&self, _: &Block, token: &str) -> Result<(), InsertError> {
        self.note(if token.ends_with(":again") { "insert again" } else { "insert" }.to_owned());
        Ok(())
    }

    async fn evidence(&self, _: &Block, _: Source<'_>) -> Result<Evidence, InsertError> {
        self.note("evidence".to_owned());
        self.pass(self.answering);
        Ok(Evidence::Marks(HashMap::new()))
    }

    async fn marked_generations(&self, _: Stream, _: u32) -> Result<Vec<MarkedGeneration>, Unanswered> {
        Ok(Vec::new())
    }

    async fn rows_end(&self, _: Stream, _: u32, _: u64) -> Result<u64, Unanswered> {
        Ok(0)
    }

    async fn token_proves_rows(&self, _: Table) -> Result<bool, InsertError> {
        Ok(self.token_proves_rows)
    }
}

impl Committer for Scene {
    fn commit(&self, commits: &[Commit]) -> Result<(), LogError> {
        self.note(format!("commit {}", commits[0].offset));
        Ok(())
    }
}

fn batches() -> mpsc::Receiver<QueuedBatch> {
    let times: ArrayRef = Arc::new(TimestampSecondArray::from(vec![0]).with_timezone("UTC"));
    let block =
        Block { table: Table::MetricRollups, rows: RecordBatch::try_from_iter([("t", times)]).unwrap() };
    let batch = Batch {
        range: Range { start: 0, end: 9 },
        blocks: vec![block],
        size: Size::default(),
        horizon: Horizon { max_age_ms: 1, raw_retention_ms: 1 },
    };
    let (to_writer, batches) = mpsc::channel(1);
    let charge = Arc::<IngestStats>::default().charge(batch.size);
    assert!(to_writer.try_send(QueuedBatch { batch, charge }).is_ok());
    batches
}

/// However long the turn took to come, what was declared before the wait is declared again after it.
#[tokio::test]
async fn who_waited_for_a_permit_looks_after_the_wait() {
    let scene = Scene::new(Duration::ZERO, false);
    let (writer, context, mut looks) = scene.writer(None);
    let turn_of_another = context.inserting.acquire().await.unwrap();
    let writing = tokio::spawn(writer.run(batches()));
    // The declaration is confirmed, and the writer waits for its turn.
    looks.wait_for(|looks| *looks >= 1).await.unwrap();
    scene.pass(HOUR);
    drop(turn_of_another);
    writing.await.unwrap().unwrap();
    assert_eq!(scene.asked(), ["commit 0", "commit 0", "insert", "commit 9"]);
}

/// A question to the store may take longer than a declaration is trusted.
#[tokio::test]
async fn who_waited_for_an_answer_looks_after_each() {
    let scene = Scene::new(HOUR, false);
    let (writer, ..) = scene.writer(Some(9));
    writer.run(batches()).await.unwrap();
    assert_eq!(
        scene.asked(),
        ["evidence", "commit 0", "insert", "evidence", "commit 0", "insert again", "commit 9"]
    );
}

/// Where token and rows are one, rows that are not seen are not missing: the replica that was asked lags behind.
#[tokio::test]
async fn nothing_is_sent_again_where_the_token_proves_the_rows() {
    for (proves, asked) in [
        (true, &["evidence", "insert", "commit 9"][..]),
        (false, &["evidence", "insert", "evidence", "insert again", "commit 9"][..]),
    ] {
        let scene = Scene::new(Duration::ZERO, proves);
        let (writer, ..) = scene.writer(Some(9));
        writer.run(batches()).await.unwrap();
        assert_eq!(scene.asked(), asked);
    }
}
