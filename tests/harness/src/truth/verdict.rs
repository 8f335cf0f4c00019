//! What a comparison found, table by table.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

/// Examples kept of what is wrong with a table.
const EXAMPLES: usize = 5;

/// What the comparison found.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// Rows the log acknowledged.
    pub acknowledged: u64,
    /// Rows that were refused.
    pub refused: u64,
    /// Rows whose fate is unknown.
    pub unknown: u64,
    /// Events the log acknowledged.
    pub events: u64,
    /// Every table and every tier of the rollups, twice where it holds a histogram.
    pub tables: Vec<TableVerdict>,
}

impl Verdict {
    /// Nothing lost, nothing twice, nothing else than was sent.
    pub fn is_exact(&self) -> bool {
        self.tables.iter().all(TableVerdict::is_exact)
    }

    /// Most rows any table has lost.
    pub fn lost(&self) -> u64 {
        self.tables.iter().map(|table| table.lost).max().unwrap_or(0)
    }

    /// Most rows any table has more than once.
    pub fn twice(&self) -> u64 {
        self.tables.iter().map(|table| table.twice).max().unwrap_or(0)
    }

    /// Most groups or rows of any table that are otherwise wrong.
    pub fn wrong(&self) -> u64 {
        self.tables.iter().map(|table| table.wrong).max().unwrap_or(0)
    }

    /// As an object, by table.
    pub fn json(&self) -> Value {
        let mut tables: BTreeMap<&str, [u64; 5]> = BTreeMap::new();
        for table in &self.tables {
            let [expected, found, lost, twice, wrong] = tables.entry(table.table).or_default();
            (*expected, *found) = ((*expected).max(table.expected), (*found).max(table.found));
            (*lost, *twice) = ((*lost).max(table.lost), (*twice).max(table.twice));
            *wrong += table.wrong;
        }
        let tables: serde_json::Map<String, Value> = tables
            .into_iter()
            .map(|(name, [expected, found, lost, twice, wrong])| {
                let table = json!({"expected": expected, "found": found, "lost": lost, "twice": twice, "wrong": wrong});
                (name.to_owned(), table)
            })
            .collect();
        Value::Object(tables)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} rows acknowledged, {} refused, {} unknown; {} events acknowledged",
            self.acknowledged, self.refused, self.unknown, self.events
        )?;
        self.tables.iter().try_for_each(|table| write!(f, "\n  {table}"))
    }
}

/// One table, or one tier of the rollups.
#[derive(Debug, Clone)]
pub struct TableVerdict {
    /// Its name.
    pub table: &'static str,
    /// Rows it should hold or count.
    pub expected: u64,
    /// Rows it holds or counts.
    pub found: u64,
    /// Rows it misses.
    pub lost: u64,
    /// Rows it holds or counts more than once.
    pub twice: u64,
    /// Groups or rows that are not what was sent.
    pub wrong: u64,
    examples: Vec<String>,
}

impl TableVerdict {
    pub(super) fn new(table: &'static str) -> Self {
        Self { table, expected: 0, found: 0, lost: 0, twice: 0, wrong: 0, examples: Vec::new() }
    }

    /// Whether it is as it should be.
    pub fn is_exact(&self) -> bool {
        self.lost == 0 && self.twice == 0 && self.wrong == 0
    }

    pub(super) fn lost(&mut self, rows: u64, example: String) {
        self.lost += rows;
        self.note(example);
    }

    pub(super) fn twice(&mut self, rows: u64, example: String) {
        self.twice += rows;
        self.note(example);
    }

    pub(super) fn wrong(&mut self, example: String) {
        self.wrong += 1;
        self.note(example);
    }

    fn note(&mut self, example: String) {
        if self.examples.len() < EXAMPLES {
            self.examples.push(example);
        }
    }
}

impl fmt::Display for TableVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, expected, found, lost, twice, wrong, examples } = self;
        write!(f, "{table}: {found} of {expected}, {lost} lost, {twice} twice, {wrong} wrong")?;
        examples.iter().try_for_each(|example| write!(f, "\n    {example}"))
    }
}
