//! From the log into the store, exactly once, and from HTTP onto the log.
//!
//! The way of a record: `reader` polls it and its partition's `lane` decodes it into a `batch`; a batch
//! is closed by rows, bytes or time and handed to the partition's `writer`, which declares the
//! range in the `journal`, inserts its blocks under one token (`shape`) and confirms. `rollup`
//! computes the coarser tiers on the way. [`accept`] is the other door: bodies over HTTP.

pub mod accept;
mod activity_blocks;
mod arrow_rows;
mod backoff;
mod batch;
mod block;
mod bounds;
mod columns;
mod dead_letters;
mod dictionary;
pub mod evidence;
mod journal;
mod lane;
mod metric_blocks;
mod moment;
mod pipeline;
mod reader;
mod resume;
mod rollup;
mod rollup_block;
mod shape;
mod sizes;
mod stats;
mod store;
mod tables;
mod unpositioned;
mod writer;

pub use batch::{Batch, BatchBuilder, RawRetention, Rules, Size};
pub use block::Block;
pub use bounds::BatchBounds;
pub use dead_letters::MAX_KEPT_BYTES;
pub use journal::{Horizon, Journal, JournalError};
pub use pipeline::{IngestConfig, IngestError, PartitionPosition, Pipeline, lag, positions};
pub use reader::ReadError;
pub use resume::ResumeError;
pub use shape::{Nonce, Range, SHAPE, token};
pub use sizes::SizeCounts;
pub use stats::{IngestCounts, IngestStats};
pub use tables::{InsertError, Tables, Unanswered};
pub use writer::WriteError;
