//! The port towards the store.

use async_trait::async_trait;
use kelly_schemas::Stream;
use kelly_sql::Table;
use kelly_sql::evidence::MarkedGeneration;

use crate::block::Block;
use crate::evidence::{Evidence, Source};

/// Where blocks go: the store, or a stand-in for it in tests of the pipeline.
#[async_trait]
pub trait Tables: Send + Sync + 'static {
    /// Inserts a block under a token; the same token a second time changes nothing. Returns when
    /// the block is durable. On an error it is unknown whether it was inserted.
    async fn insert(&self, block: &Block, token: &str) -> Result<(), InsertError>;

    /// What the table shows of a block that may have been inserted before.
    async fn evidence(&self, block: &Block, source: Source<'_>) -> Result<Evidence, InsertError>;

    /// What its markers tell of a partition: the newest range of each of its generations.
    async fn marked_generations(
        &self,
        stream: Stream,
        partition: u32,
    ) -> Result<Vec<MarkedGeneration>, Unanswered>;

    /// The offset after the newest row or dead letter of a partition, of those from `from` on, or a greater one; 0 when
    /// there is none.
    async fn rows_end(&self, stream: Stream, partition: u32, from: u64) -> Result<u64, Unanswered>;

    /// Whether a token the table remembers proves that it has the rows, because both are written in one step. Where it
    /// does, rows that are not seen are on their way to whoever was asked.
    async fn token_proves_rows(&self, table: Table) -> Result<bool, InsertError>;
}

/// Why the store did not answer a question.
pub type Unanswered = Box<dyn std::error::Error + Send + Sync>;

/// An insert that did not succeed.
#[derive(Debug, thiserror::Error)]
#[error("cannot insert into {}", .table.name())]
pub struct InsertError {
    /// The table.
    pub table: Table,
    /// The block itself is wrong for the table: no repetition will help.
    pub permanent: bool,
    /// Why.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}
