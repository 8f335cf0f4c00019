//! ClickHouse: the tables, the migrations that make them, the one client that talks to them, and the engine
//! that serves them when no server is configured.
//!
//! No other crate sees SQL: rows go in as Arrow batches by [`Store::insert`], answers come out of typed functions.

mod client;
mod embedded;
pub mod engine;
mod error;
pub mod evidence;
mod insert;
pub mod migrate;
mod pulse;
pub mod queries;
mod retention;
pub mod tables;
mod template;

pub use client::{QUERY_DEADLINE, QuestionBounds, Store, StoreConfig};
pub use error::{Result, StoreError};
pub use insert::{INSERT_DEADLINE, MAX_BATCH_ROWS};
pub use migrate::{MigrationParams, MigrationReport, SchemaError};
pub use retention::{
    RETENTION_READ_EVERY, RETENTION_TRUSTED_FOR, RetentionHistory, RetentionReader, Retentions,
};
pub use tables::{RollupTier, Table};
