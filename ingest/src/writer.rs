//! Declare, insert, confirm: the only part that writes, one task a partition.
//!
//! A batch is declared in the commit metadata before any of it is inserted, inserted under a token
//! that names its range, and confirmed by the commit that declares the next one. Whatever is
//! interrupted between is done again by whoever holds the partition next, under the same token.
//!
//! Whether a block is in the store is known when its insert succeeded here. Otherwise, that is in a
//! range somebody else began and after every insert that failed, it is *doubtful*: the store is
//! asked for its rows, and what is there is not sent. The token stays as the second guard: it sees
//! an insert that is still under way, which a question about rows does not.
//!
//! Right before anything is sent the writer looks whether its declaration may have been somebody else's by now.

use std::sync::Arc;
use std::time::Duration;

use kelly_schemas::error_chain;
use kelly_sql::evidence::Proof;
use kelly_stream::{Commit, Committer, LogError, TopicPartition};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::batch::{Batch, Size};
use crate::block::Block;
use crate::evidence::{self, Evidence, Source};
use crate::journal::{Horizon, Journal};
use crate::moment::Moment;
use crate::shape::{self, Nonce};
use crate::stats::{Charge, Half, IngestStats};
use crate::tables::{InsertError, Tables};

/// Batches that may wait for one partition's writer. At the bound the reader pauses the partition.
/// More than one, because a pause throws away what the client has fetched ahead.
pub(crate) const BATCHES_WAITING: usize = 3;

/// Age of a declaration after which it is committed again before
/// anything more of its range is sent: whoever was away for longer may have been replaced, and the tokens of his range
/// may have left the store's window.
const RECHECK_AFTER: Duration = Duration::from_secs(30);

/// What the writers of a pipeline have in common.
pub(crate) struct WriteContext {
    pub tables: Arc<dyn Tables>,
    pub committer: Arc<dyn Committer>,
    pub stats: Arc<IngestStats>,
    /// Bounds the batches being inserted at once, over all partitions.
    pub inserting: Semaphore,
    /// The time by both clocks.
    pub clock: Box<dyn Fn() -> Moment + Send + Sync>,
}

/// A closed batch with its share of the buffered bytes.
pub(crate) struct QueuedBatch {
    pub batch: Batch,
    pub charge: Charge,
}

/// One partition's writer.
pub(crate) struct Writer {
    pub context: Arc<WriteContext>,
    pub partition: TopicPartition,
    pub epoch: u64,
    pub nonce: Nonce,
    /// End of the range that stands declared at the committed position.
    pub declared: Option<u64>,
    /// Ranges that begin before this offset may have been written in part, whoever declared them.
    pub doubtful_to: Option<u64>,
    /// When the declaration was last known to be ours.
    pub confirmed_at: Moment,
    /// Ends the work at once: the partition was taken away, or the drain took too long.
    pub abandon: CancellationToken,
}

/// How a writer ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A block can never be inserted: a defect of this program, or tables of another version.
    #[error("a batch can never be written")]
    Insert(#[source] InsertError),
    /// A position can never be committed.
    #[error("a position can never be committed")]
    Commit(#[source] LogError),
    /// The commit was not run.
    #[error("the commit of a position did not run")]
    NotRun(#[source] tokio::task::JoinError),
}

enum End {
    /// The assignment is over; its next owner goes on.
    Fenced,
    Failed(WriteError),
}

/// Why a block is not known to be in the store.
enum Unsent {
    /// The store refused, or did not say: the block is tried again.
    Insert(InsertError),
    /// The writer is at its end.
    End(End),
}

impl From<InsertError> for Unsent {
    fn from(fault: InsertError) -> Self {
        Self::Insert(fault)
    }
}

impl From<End> for Unsent {
    fn from(end: End) -> Self {
        Self::End(end)
    }
}

impl Writer {
    /// Writes batches until there are no more, the partition is taken away, or it is abandoned.
    /// What is not confirmed by then will be read again by the partition's next owner.
    pub(crate) async fn run(mut self, mut batches: mpsc::Receiver<QueuedBatch>) -> Result<(), WriteError> {
        let abandon = self.abandon.clone();
        match abandon.run_until_cancelled(self.write_all(&mut batches)).await {
            Some(Err(End::Failed(fault))) => Err(fault),
            Some(Err(End::Fenced)) => {
                tracing::info!(partition = %self.name(), "the partition has another owner");
                Ok(())
            }
            Some(Ok(())) | None => Ok(()),
        }
    }

    async fn write_all(&mut self, batches: &mut mpsc::Receiver<QueuedBatch>) -> Result<(), End> {
        let mut next = batches.recv().await;
        // A range that stood declared when the partition was taken up may have been written.
        let mut begun_before = self.declared.is_some();
        while let Some(QueuedBatch { batch, charge }) = next {
            // What writes nothing needs no declaration.
            if !batch.blocks.is_empty() && self.declared != Some(batch.range.end) {
                self.declare(&batch).await?;
            }
            let doubtful = begun_before || self.doubtful_to.is_some_and(|to| batch.range.start < to);
            self.insert(&batch, doubtful).await?;
            begun_before = false;
            next = batches.try_recv().ok();
            // One commit confirms this range and declares the next.
            let journal = match &next {
                Some(next) if !next.batch.blocks.is_empty() => self.declaration(&next.batch),
                _ => Journal::Idle { nonce: self.nonce, doubtful_to: self.doubtful_after(batch.range.end) },
            };
            self.commit(batch.range.end, journal).await?;
            if batch.size == Size::default() {
                self.context.stats.recovered(Half::Writing);
            } else {
                self.context.stats.written(batch.size, chrono::Utc::now().timestamp_millis());
            }
            drop(charge);
            if next.is_none() {
                next = batches.recv().await;
            }
        }
        Ok(())
    }

    /// Inserts every block, each until it succeeds. The batch is never split and never skipped:
    /// only the same block under the same token is known to be written once.
    async fn insert(&mut self, batch: &Batch, is_doubtful: bool) -> Result<(), End> {
        let token = shape::token(&self.partition, batch.range, self.nonce);
        let context = Arc::clone(&self.context);
        for block in &batch.blocks {
            let mut backoff = Backoff::default();
            let mut doubtful = is_doubtful;
            loop {
                let fault = {
                    // The semaphore is never closed. The permit is held while inserting, not while waiting.
                    let _permit = context.inserting.acquire().await;
                    let sent = if doubtful {
                        self.complete(batch, block, &token).await
                    } else {
                        self.send(batch, block, &token).await
                    };
                    match sent {
                        Ok(()) => break,
                        Err(Unsent::End(end)) => return Err(end),
                        Err(Unsent::Insert(fault)) => fault,
                    }
                };
                doubtful = true;
                if fault.permanent {
                    return Err(End::Failed(WriteError::Insert(fault)));
                }
                let reason = error_chain(&fault);
                self.context.stats.failed(Half::Writing, &reason);
                tracing::warn!(partition = %self.name(), token, reason, "insert failed, trying the same block again");
                backoff.wait().await;
            }
        }
        Ok(())
    }

    /// Inserts a block while its range is declared by this writer. Looked at here and nowhere earlier: a wait for a permit
    /// or for the store's answer to a question may take any time.
    async fn send(&mut self, batch: &Batch, block: &Block, token: &str) -> Result<(), Unsent> {
        if self.confirmed_at.age_at((self.context.clock)()) > RECHECK_AFTER {
            self.declare(batch).await?;
        }
        Ok(self.context.tables.insert(block, token).await?)
    }

    /// Sends what the store lacks of a block that may be there.
    ///
    /// A token may be remembered without its rows, too, where the store writes the one beside the other. There, what
    /// is still missing after an insert that succeeded is sent once more under a token of its own; no more often,
    /// because rows that have expired are never seen.
    async fn complete(&mut self, batch: &Batch, block: &Block, token: &str) -> Result<(), Unsent> {
        let tables = Arc::clone(&self.context.tables);
        let token_of_repair = shape::token_of_repair(token);
        if block.table.proof() == Proof::Idempotent {
            return self.send(batch, block, &token_of_repair).await;
        }
        let partition = self.partition.clone();
        let source = Source { partition: &partition, range: batch.range, nonce: self.nonce };
        let found = tables.evidence(block, source).await?;
        let Some(rest) = evidence::missing(block, source, &found) else {
            tracing::info!(partition = %self.name(), token, table = block.table.name(), "was written already");
            return Ok(());
        };
        if rest.rows.num_rows() < block.rows.num_rows() {
            tracing::info!(partition = %self.name(), token, table = block.table.name(), "was written in part");
        }
        self.send(batch, &rest, token).await?;
        if tables.token_proves_rows(block.table).await? {
            return Ok(());
        }
        let found = tables.evidence(block, source).await?;
        if found != Evidence::Unknown
            && let Some(rest) = evidence::missing(block, source, &found)
        {
            tracing::warn!(
                partition = %self.name(),
                token,
                table = block.table.name(),
                rows = rest.rows.num_rows(),
                "the store knows the token and lacks the rows: sending them once more"
            );
            self.send(batch, &rest, &token_of_repair).await?;
        }
        Ok(())
    }

    fn declaration(&self, batch: &Batch) -> Journal {
        let horizon: Horizon = batch.horizon;
        let doubtful_to = self.doubtful_after(batch.range.start);
        Journal::Declared { nonce: self.nonce, end: batch.range.end, horizon, doubtful_to }
    }

    fn doubtful_after(&self, offset: u64) -> Option<u64> {
        self.doubtful_to.filter(|to| *to > offset)
    }

    async fn declare(&mut self, batch: &Batch) -> Result<(), End> {
        let journal = self.declaration(batch);
        self.commit(batch.range.start, journal).await
    }

    /// Commits a position, until it is committed or turns out to be no longer ours.
    async fn commit(&mut self, offset: u64, journal: Journal) -> Result<(), End> {
        let commit = Arc::new([Commit {
            partition: self.partition.clone(),
            epoch: self.epoch,
            offset,
            metadata: journal.to_string(),
        }]);
        let mut backoff = Backoff::default();
        loop {
            let (committer, commit) = (Arc::clone(&self.context.committer), Arc::clone(&commit));
            let fault = match tokio::task::spawn_blocking(move || committer.commit(&*commit)).await {
                Ok(Ok(())) => break,
                Ok(Err(LogError::Fenced { .. })) => return Err(End::Fenced),
                Ok(Err(fault)) if !fault.is_retryable() => {
                    return Err(End::Failed(WriteError::Commit(fault)));
                }
                Ok(Err(fault)) => fault,
                Err(fault) => return Err(End::Failed(WriteError::NotRun(fault))),
            };
            let reason = error_chain(&fault);
            self.context.stats.failed(Half::Writing, &reason);
            tracing::warn!(partition = %self.name(), offset, reason, "commit failed, trying again");
            backoff.wait().await;
        }
        self.confirmed_at = (self.context.clock)();
        self.declared = match journal {
            Journal::Declared { end, .. } => Some(end),
            Journal::Idle { .. } => None,
        };
        Ok(())
    }

    fn name(&self) -> String {
        format!("{}/{}", self.partition.topic, self.partition.partition)
    }
}

#[cfg(test)]
mod tests;
