//! A ledger that stands in for the store: it drops tokens it has seen, shows the rows it has, fails on demand, and
//! "crashes" at any chosen insert.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float64Type, Int8Type, Int32Type, TimestampMillisecondType, TimestampSecondType, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_array::{BooleanArray, RecordBatch};
use async_trait::async_trait;
use kelly_ingest::evidence::{Evidence, Source, origins};
use kelly_ingest::{Block, InsertError, Tables, Unanswered};
use kelly_schemas::Stream;
use kelly_sql::evidence::{MarkedGeneration, Proof, marker_name, week_of};
use kelly_sql::{RollupTier, Table};
use tokio::sync::Notify;

use crate::messages;

#[derive(Default)]
pub struct Contents {
    tokens: HashSet<(Table, String)>,
    blocks: BTreeMap<Table, Vec<RecordBatch>>,
}

impl Contents {
    /// The numbers in a column of a table, in the order in which they came.
    pub fn values(&self, table: Table, column: &str) -> Vec<f64> {
        self.blocks(table)
            .flat_map(|rows| rows[column].as_primitive::<Float64Type>().values().to_vec())
            .collect()
    }

    /// The blocks of a table, in the order in which they came.
    pub fn blocks(&self, table: Table) -> impl Iterator<Item = &RecordBatch> {
        self.blocks.get(&table).into_iter().flatten()
    }

    /// The store loses its log of tokens, and no row.
    pub fn forget_tokens(&mut self) {
        self.tokens.clear();
    }
}

/// How much of the block at which the process dies the store has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    Nothing,
    /// What lies in the first of the table's partitions that the block touches.
    Part,
    All,
    /// Its token, and none of its rows.
    Token,
}

/// What happens at an insert, by its number.
#[derive(Clone, Copy)]
pub enum Plan {
    Obey,
    /// The process dies at this insert.
    Crash {
        at: usize,
        taken: Taken,
    },
    /// Every third insert answers with an error, alternately before and after the block is taken.
    Fail,
}

pub struct Ledger {
    pub contents: Arc<Mutex<Contents>>,
    pub plan: Plan,
    /// Whether a token that was used is dropped.
    pub deduplicates: bool,
    /// Whether the rows can be seen.
    pub shows: bool,
    /// A replica answers that never catches up; token and rows are one.
    pub lags: bool,
    pub inserts: AtomicUsize,
    pub crashed: Notify,
}

impl Ledger {
    pub fn over(contents: &Arc<Mutex<Contents>>, plan: Plan) -> Self {
        Self {
            contents: Arc::clone(contents),
            plan,
            deduplicates: true,
            shows: true,
            lags: false,
            inserts: AtomicUsize::new(0),
            crashed: Notify::new(),
        }
    }

    fn take(&self, block: &Block, token: &str) {
        let mut contents = self.contents.lock().unwrap();
        let fresh = contents.tokens.insert((block.table, token.to_owned()));
        if fresh || !self.deduplicates {
            contents.blocks.entry(block.table).or_default().push(block.rows.clone());
        }
    }
}

/// The rows of a block that lie in the first of the table's partitions it touches: those are taken one by one.
pub fn first_partition(block: &Block) -> Block {
    let weeks = weeks(block);
    let first = weeks.iter().min().copied();
    let mask: BooleanArray = weeks.iter().map(|week| Some(Some(*week) == first)).collect();
    let rows = arrow_select::filter::filter_record_batch(&block.rows, &mask).unwrap();
    Block { table: block.table, rows }
}

fn weeks(block: &Block) -> Vec<i64> {
    match block.table.proof() {
        Proof::Marker => {
            let times = block.rows["t"].as_primitive::<TimestampSecondType>().values();
            times.iter().map(|time| week_of(*time)).collect()
        }
        Proof::Rows { time } => {
            let times = block.rows[time].as_primitive::<TimestampMillisecondType>().values();
            times.iter().map(|time| week_of(time.div_euclid(1_000))).collect()
        }
        Proof::Idempotent => vec![0; block.rows.num_rows()],
    }
}

fn texts(rows: &RecordBatch, column: &str) -> Vec<String> {
    let dictionary = rows[column].as_dictionary::<Int32Type>();
    let values = dictionary.values().as_string::<i32>();
    dictionary.keys().values().iter().map(|key| values.value(*key as usize).to_owned()).collect()
}

/// Which rows of a block are of a tier.
fn of_tier(rows: &RecordBatch, tier: RollupTier) -> impl Iterator<Item = usize> {
    let tiers = rows["tier"].as_primitive::<Int8Type>().values();
    (0..rows.num_rows()).filter(move |row| tiers[*row] == tier.number())
}

/// The marks of one name in a block, as the store would read them.
fn marks(rows: &RecordBatch, marker: &str) -> Vec<(i64, u64)> {
    let times = rows["t"].as_primitive::<TimestampSecondType>();
    let ends = rows["max"].as_primitive::<Float64Type>();
    let names = texts(rows, "metric_name");
    of_tier(rows, RollupTier::Marker)
        .filter(|row| names[*row] == marker)
        .map(|row| (week_of(times.value(row)), ends.value(row) as u64))
        .collect()
}

#[async_trait]
impl Tables for Ledger {
    async fn insert(&self, block: &Block, token: &str) -> Result<(), InsertError> {
        let number = self.inserts.fetch_add(1, Ordering::SeqCst);
        match self.plan {
            Plan::Crash { at, taken } if number >= at => {
                if number == at {
                    match taken {
                        Taken::Nothing => {}
                        Taken::Part => self.take(&first_partition(block), &format!("{token} in part")),
                        Taken::All => self.take(block, token),
                        Taken::Token => {
                            self.contents.lock().unwrap().tokens.insert((block.table, token.to_owned()));
                        }
                    }
                }
                self.crashed.notify_one();
                std::future::pending().await
            }
            Plan::Fail if number % 3 == 1 => {
                if number.is_multiple_of(2) {
                    self.take(block, token);
                }
                Err(InsertError { table: block.table, permanent: false, source: "no answer in time".into() })
            }
            _ => {
                self.take(block, token);
                Ok(())
            }
        }
    }

    async fn evidence(&self, block: &Block, source: Source<'_>) -> Result<Evidence, InsertError> {
        if !self.shows {
            return Ok(Evidence::Unknown);
        }
        let contents = self.contents.lock().unwrap();
        let none = Vec::new();
        let there = if self.lags { None } else { contents.blocks.get(&block.table) };
        let blocks = there.unwrap_or(&none);
        Ok(match block.table.proof() {
            Proof::Idempotent => Evidence::Unknown,
            Proof::Rows { time } => {
                let of_partition = |rows: &&RecordBatch| {
                    let partitions = rows["log_partition"].as_primitive::<UInt16Type>();
                    let of_topic = block.table != Table::DeadLetters
                        || texts(rows, "topic")[0] == *source.partition.topic;
                    of_topic && u32::from(partitions.value(0)) == source.partition.partition
                };
                let rows = blocks.iter().filter(of_partition).flat_map(|rows| origins(rows, time));
                Evidence::Rows(rows.collect())
            }
            Proof::Marker => {
                let mut ends = HashMap::new();
                for (week, end) in blocks.iter().flat_map(|rows| marks(rows, &source.marker())) {
                    let newest = ends.entry(week).or_default();
                    *newest = end.max(*newest);
                }
                Evidence::Marks(ends)
            }
        })
    }

    async fn marked_generations(
        &self,
        stream: Stream,
        partition: u32,
    ) -> Result<Vec<MarkedGeneration>, Unanswered> {
        if !self.shows {
            return Ok(Vec::new());
        }
        let contents = self.contents.lock().unwrap();
        let prefix = marker_name(stream.topic(), partition, "");
        let mut generations: BTreeMap<String, (i64, f64)> = BTreeMap::new();
        for rows in contents.blocks.get(&Table::MetricRollups).into_iter().flatten() {
            let last = rows["last"].as_struct();
            let ends = last.column(0).as_primitive::<TimestampMillisecondType>();
            let starts = last.column(1).as_primitive::<Float64Type>();
            let names = texts(rows, "metric_name");
            for row in of_tier(rows, RollupTier::Marker) {
                if let Some(generation) = names[row].strip_prefix(&prefix) {
                    let newest = generations.entry(generation.to_owned()).or_default();
                    if ends.value(row) > newest.0 {
                        *newest = (ends.value(row), starts.value(row));
                    }
                }
            }
        }
        let generation = |(generation, (end, start))| MarkedGeneration {
            generation,
            start: Some(start as u64),
            end: end as u64,
        };
        Ok(generations.into_iter().map(generation).collect())
    }

    async fn rows_end(&self, stream: Stream, partition: u32, from: u64) -> Result<u64, Unanswered> {
        if !self.shows {
            return Ok(0);
        }
        let contents = self.contents.lock().unwrap();
        let mut end = 0;
        for table in [Table::of_rows(stream), Table::DeadLetters] {
            for block in contents.blocks.get(&table).into_iter().flatten() {
                let numbers = block["log_partition"].as_primitive::<UInt16Type>();
                let offsets = block["log_offset"].as_primitive::<UInt64Type>();
                let of_topic = table != Table::DeadLetters || texts(block, "topic")[0] == stream.topic();
                if of_topic && u32::from(numbers.value(0)) == partition {
                    let newest = offsets.values().iter().copied().filter(|offset| *offset >= from).max();
                    end = end.max(newest.map_or(0, |offset| offset + 1));
                }
            }
        }
        Ok(end)
    }

    async fn token_proves_rows(&self, _: Table) -> Result<bool, InsertError> {
        Ok(self.lags)
    }
}

/// What is wrong with the ledger, if anything.
pub fn violations(contents: &Mutex<Contents>) -> Vec<String> {
    let contents = contents.lock().unwrap();
    let mut wrong = Vec::new();
    let mut check = |what: &str, found: u64, wanted: u64| {
        if found != wanted {
            wrong.push(format!("{what}: {found}, not {wanted}"));
        }
    };
    let none = Vec::new();
    let blocks = |table: Table| contents.blocks.get(&table).unwrap_or(&none);
    let rows = |table: Table| blocks(table).iter().map(|block| block.num_rows() as u64).sum::<u64>();
    check("raw rows", rows(Table::SystemMetrics), messages::rows());
    let rollups = blocks(Table::MetricRollups);
    let counted = |tier: RollupTier| {
        let counts = |block: &RecordBatch| -> u64 {
            let counts = block["count"].as_primitive::<UInt64Type>();
            of_tier(block, tier).map(|row| counts.value(row)).sum()
        };
        rollups.iter().map(counts).sum::<u64>()
    };
    let in_histograms = |tier: RollupTier| {
        let counts = |block: &RecordBatch| -> u64 {
            let histograms = block["histogram"].as_map();
            let of_row = |row| {
                histograms.value(row).column(1).as_primitive::<UInt64Type>().values().iter().sum::<u64>()
            };
            of_tier(block, tier).map(of_row).sum()
        };
        rollups.iter().map(counts).sum::<u64>()
    };
    for tier in RollupTier::ALL {
        let (has_samples, has_histograms) = match tier {
            RollupTier::Minute | RollupTier::Hour => (true, true),
            RollupTier::AccountHour | RollupTier::ConversationDay => (true, false),
            RollupTier::AccountDay => (false, true),
            RollupTier::Marker => (false, false),
        };
        let wanted = |has: bool| if has { messages::rows() } else { 0 };
        check(tier.name(), counted(tier), wanted(has_samples));
        check(&format!("{} in histograms", tier.name()), in_histograms(tier), wanted(has_histograms));
    }
    check("dead letters", rows(Table::DeadLetters), messages::broken());
    check("events", rows(Table::ActivityEvents), messages::rows());
    let ids: HashSet<Vec<u8>> = blocks(Table::ActivityFirstSeen)
        .iter()
        .flat_map(|block| {
            block["id"].as_fixed_size_binary().iter().flatten().map(<[u8]>::to_vec).collect::<Vec<_>>()
        })
        .collect();
    check("events seen first", ids.len() as u64, messages::rows());
    let mut origins = HashSet::new();
    for block in blocks(Table::SystemMetrics) {
        let partitions = block["log_partition"].as_primitive::<UInt16Type>();
        let offsets = block["log_offset"].as_primitive::<UInt64Type>();
        let numbers = block["log_row"].as_primitive::<UInt32Type>();
        for row in 0..block.num_rows() {
            origins.insert((partitions.value(row), offsets.value(row), numbers.value(row)));
        }
    }
    check("distinct origins", origins.len() as u64, messages::rows());
    wrong
}
