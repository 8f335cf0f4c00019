//! Declare, insert, confirm: the only part that writes, one task a partition.
//!
//! A batch is declared in the commit metadata before any of it is inserted, inserted under a token
//! that names its range, and confirmed by the commit that declares the next one. Whatever is
//! interrupted between is done again by whoever holds the partition next, under the same token.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kelly_sql::{Store, StoreError, Table};
use kelly_stream::{Commit, Committer, LogError, TopicPartition};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::batch::{Batch, Block};
use crate::journal::Journal;
use crate::shape::{self, Nonce};
use crate::stats::IngestStats;

/// Batches that may wait for one partition's writer. At the bound the reader pauses the partition.
pub const BATCHES_WAITING: usize = 1;

const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// Where blocks go: the store, or a stand-in for it in tests of the pipeline.
#[async_trait]
pub trait Tables: Send + Sync + 'static {
    /// Inserts a block under a token; the same token a second time changes nothing. Returns when
    /// the block is durable. On an error it is unknown whether it was inserted.
    async fn insert(&self, block: &Block, token: &str) -> Result<(), InsertError>;
}

/// An insert that did not succeed.
#[derive(Debug, thiserror::Error)]
#[error("cannot insert into {}", .table.name())]
pub struct InsertError {
    /// The table.
    pub table: Table,
    /// Why.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

#[async_trait]
impl Tables for Store {
    async fn insert(&self, block: &Block, token: &str) -> Result<(), InsertError> {
        Store::insert(self, block.table, &block.rows, token)
            .await
            .map_err(|fault: StoreError| InsertError { table: block.table, source: Box::new(fault) })
    }
}

/// What all writers of a pipeline share.
pub(crate) struct Shared {
    pub tables: Arc<dyn Tables>,
    pub committer: Arc<dyn Committer>,
    pub stats: Arc<IngestStats>,
    /// Bounds the batches being inserted at once, over all partitions.
    pub inserting: Semaphore,
}

/// One partition's writer.
pub(crate) struct Writer {
    pub shared: Arc<Shared>,
    pub partition: TopicPartition,
    pub epoch: u64,
    pub nonce: Nonce,
    /// End of the range that stands declared at the committed position.
    pub declared: Option<u64>,
    /// Ends the work at once: the partition was taken away, or the drain took too long.
    pub abandon: CancellationToken,
}

impl Writer {
    /// Writes batches until there are no more, the partition is taken away, or it is abandoned.
    pub(crate) async fn run(mut self, mut batches: mpsc::Receiver<Batch>) {
        let abandon = self.abandon.clone();
        let ended = abandon.run_until_cancelled(self.write_all(&mut batches)).await;
        match ended {
            Some(Err(Over)) => tracing::info!(partition = %self.name(), "the partition has another owner"),
            Some(Ok(())) | None => {}
        }
        // What is not written will be read again by the next owner.
        batches.close();
        while let Ok(batch) = batches.try_recv() {
            self.shared.stats.released(batch.size);
        }
    }

    async fn write_all(&mut self, batches: &mut mpsc::Receiver<Batch>) -> Result<(), Over> {
        let mut next = batches.recv().await;
        while let Some(batch) = next {
            let _released = ReleaseOnDrop { stats: Arc::clone(&self.shared.stats), size: batch.size };
            if self.declared != Some(batch.range.end) {
                self.commit(batch.range.start, Some(batch.range.end)).await?;
            }
            self.insert(&batch).await;
            next = batches.try_recv().ok();
            // One commit confirms this range and declares the next.
            self.commit(batch.range.end, next.as_ref().map(|batch| batch.range.end)).await?;
            self.shared.stats.written(batch.size, chrono::Utc::now().timestamp_millis());
            if next.is_none() {
                next = batches.recv().await;
            }
        }
        Ok(())
    }

    /// Inserts every block, each until it succeeds. The batch is never split and never skipped:
    /// only the same block under the same token is known to be written once.
    async fn insert(&self, batch: &Batch) {
        let token = shape::token(&self.partition, batch.range, self.nonce);
        // The semaphore is never closed; without a permit we would only be less polite.
        let _permit = self.shared.inserting.acquire().await;
        for block in &batch.blocks {
            let mut backoff = Backoff::default();
            while let Err(fault) = self.shared.tables.insert(block, &token).await {
                let reason = chain(&fault);
                self.shared.stats.failed(&reason);
                tracing::warn!(partition = %self.name(), token, reason, "insert failed, trying the same block again");
                backoff.wait().await;
            }
        }
    }

    /// Commits a position, until it is committed or turns out to be no longer ours.
    async fn commit(&mut self, offset: u64, declared_end: Option<u64>) -> Result<(), Over> {
        let journal = match declared_end {
            Some(end) => Journal::Declared { nonce: self.nonce, end },
            None => Journal::Idle { nonce: self.nonce },
        };
        let commit = [Commit {
            partition: self.partition.clone(),
            epoch: self.epoch,
            offset,
            metadata: journal.to_string(),
        }];
        let commit = Arc::new(commit);
        let mut backoff = Backoff::default();
        loop {
            let (committer, commit) = (Arc::clone(&self.shared.committer), Arc::clone(&commit));
            let committed = tokio::task::spawn_blocking(move || committer.commit(&*commit)).await;
            match committed {
                Ok(Ok(())) => break,
                Ok(Err(LogError::Fenced { .. })) => return Err(Over),
                Ok(Err(fault)) => {
                    let reason = chain(&fault);
                    self.shared.stats.failed(&reason);
                    tracing::warn!(partition = %self.name(), offset, reason, "commit failed, trying again");
                }
                Err(fault) => {
                    // Only a shutdown of the runtime or a panic in the client ends here.
                    tracing::error!(partition = %self.name(), offset, %fault, "the commit did not run");
                    return Err(Over);
                }
            }
            backoff.wait().await;
        }
        self.declared = declared_end;
        Ok(())
    }

    fn name(&self) -> String {
        format!("{}/{}", self.partition.topic, self.partition.partition)
    }
}

/// The assignment is over.
struct Over;

/// Takes a batch off the buffered bytes, also when its writing is abandoned half-way.
struct ReleaseOnDrop {
    stats: Arc<IngestStats>,
    size: crate::batch::Size,
}

impl Drop for ReleaseOnDrop {
    fn drop(&mut self) {
        self.stats.released(self.size);
    }
}

/// Doubling waits between tries at the same thing.
struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST_BACKOFF)
    }
}

impl Backoff {
    async fn wait(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(LONGEST_BACKOFF);
    }
}

/// An error and its causes in one line, for the log.
pub(crate) fn chain(fault: &dyn std::error::Error) -> String {
    let mut text = fault.to_string();
    let mut cause = fault.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
