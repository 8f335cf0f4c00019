//! The port towards the store over ClickHouse.

use async_trait::async_trait;
use kelly_schemas::Stream;
use kelly_sql::evidence::MarkedGeneration;
use kelly_sql::{Store, StoreError, Table};

use crate::block::Block;
use crate::columns;
use crate::evidence::{self, Evidence, Source};
use crate::tables::{InsertError, Tables, Unanswered};

#[async_trait]
impl Tables for Store {
    async fn insert(&self, block: &Block, token: &str) -> Result<(), InsertError> {
        Store::insert(self, block.table, &block.rows, token).await.map_err(|fault| failed(block.table, fault))
    }

    async fn evidence(&self, block: &Block, source: Source<'_>) -> Result<Evidence, InsertError> {
        evidence::of(self, block, source).await.map_err(|fault| failed(block.table, fault))
    }

    async fn marked_generations(
        &self,
        stream: Stream,
        partition: u32,
    ) -> Result<Vec<MarkedGeneration>, Unanswered> {
        Ok(Store::marked_generations(self, stream.topic(), partition).await?)
    }

    async fn rows_end(&self, stream: Stream, partition: u32, from: u64) -> Result<u64, Unanswered> {
        let number = columns::log_partition(partition);
        match Store::rows_end(self, Table::of_rows(stream), stream.topic(), number, from).await {
            // A bound that is too high costs questions to the store, one that is missing costs rows.
            Err(fault) if fault.is_out_of_time() => Ok(u64::MAX),
            end => Ok(end?),
        }
    }

    async fn token_proves_rows(&self, table: Table) -> Result<bool, InsertError> {
        Store::token_proves_rows(self, table).await.map_err(|fault| failed(table, fault))
    }
}

fn failed(table: Table, fault: StoreError) -> InsertError {
    InsertError { table, permanent: matches!(fault, StoreError::WrongBatch { .. }), source: Box::new(fault) }
}
