//! Which rows of a block are not in the store yet, by what the store itself shows (`kelly_sql::evidence`).

use std::collections::{HashMap, HashSet};

use arrow_array::cast::AsArray;
use arrow_array::types::{TimestampMillisecondType, TimestampSecondType, UInt32Type, UInt64Type};
use arrow_array::{BooleanArray, RecordBatch, UInt32Array, UInt64Array};
use kelly_sql::evidence::{self, LogRange, Proof, RowOrigin};
use kelly_sql::{Store, StoreError};
use kelly_stream::TopicPartition;

use crate::block::Block;
use crate::columns;
use crate::shape::{Nonce, Range};

/// Where on the log a block comes from.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Its partition.
    pub partition: &'a TopicPartition,
    /// Its range.
    pub range: Range,
    /// The generation of the partition.
    pub nonce: Nonce,
}

impl Source<'_> {
    /// The name of its markers.
    pub fn marker(&self) -> String {
        evidence::marker_name(&self.partition.topic, self.partition.partition, self.nonce)
    }
}

/// What a table shows of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// These of its rows.
    Rows(HashSet<RowOrigin>),
    /// By week, the end of the newest range that is in it.
    Marks(HashMap<i64, u64>),
    /// It does not tell: the block is sent whole, and its token decides.
    Unknown,
}

/// Asks the store.
pub(crate) async fn of(store: &Store, block: &Block, source: Source<'_>) -> Result<Evidence, StoreError> {
    match block.table.proof() {
        Proof::Idempotent => Ok(Evidence::Unknown),
        Proof::Marker => {
            let ends = store.marked_ends(&source.marker()).await?;
            Ok(Evidence::Marks(ends.into_iter().map(|mark| (mark.week, mark.end)).collect()))
        }
        Proof::Rows { time } => {
            let times = block.rows[time].as_primitive::<TimestampMillisecondType>().values();
            let Some(times_ms) = times.iter().copied().min().zip(times.iter().copied().max()) else {
                return Ok(Evidence::Unknown);
            };
            let range = LogRange {
                topic: &source.partition.topic,
                partition: columns::log_partition(source.partition.partition),
                start: source.range.start,
                end: source.range.end,
                times_ms,
            };
            let rows = store.rows_of_range(block.table, time, range).await?;
            Ok(Evidence::Rows(rows.into_iter().collect()))
        }
    }
}

/// The rows of a block that are not in the store, in their order; `None` when all are.
///
/// A rollup's week is there or not as a whole. Blocks of one generation of a partition are inserted in the order of their
/// ranges, so a mark at or beyond the block's end says that it is in.
pub fn missing(block: &Block, source: Source<'_>, evidence: &Evidence) -> Option<Block> {
    let rows = &block.rows;
    let keep: BooleanArray = match (evidence, block.table.proof()) {
        (Evidence::Rows(there), Proof::Rows { time }) => {
            origins(rows, time).map(|origin| Some(!there.contains(&origin))).collect()
        }
        (Evidence::Marks(marks), Proof::Marker) => {
            let times = rows["t"].as_primitive::<TimestampSecondType>().values();
            let there =
                |time: &i64| marks.get(&evidence::week_of(*time)).is_some_and(|end| *end >= source.range.end);
            times.iter().map(|time| Some(!there(time))).collect()
        }
        _ => return Some(block.clone()),
    };
    match keep.true_count() {
        0 => None,
        all if all == rows.num_rows() => Some(block.clone()),
        _ => {
            let rows = arrow_select::filter::filter_record_batch(rows, &keep)
                .expect("the mask has as many bits as the block has rows");
            Some(Block { table: block.table, rows })
        }
    }
}

/// The places on the log that a block's rows carry, with their times in the column named.
pub fn origins<'a>(rows: &'a RecordBatch, time: &str) -> impl Iterator<Item = RowOrigin> + use<'a> {
    let offsets: &UInt64Array = rows["log_offset"].as_primitive::<UInt64Type>();
    let numbers: &UInt32Array = rows["log_row"].as_primitive::<UInt32Type>();
    let times = rows[time].as_primitive::<TimestampMillisecondType>();
    (0..rows.num_rows()).map(|at| RowOrigin {
        offset: offsets.value(at),
        row: numbers.value(at),
        time_ms: times.value(at),
    })
}
