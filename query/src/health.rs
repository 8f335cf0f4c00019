//! The answer of `health/database`: whether the store answers and what it holds.

use chrono::{DateTime, Utc};
use kelly_sql::queries;
use serde::Serialize;
use utoipa::ToSchema;

/// The store's health. Unreachable is an error ([`crate::QueryError::StoreUnavailable`]), not a health. What it holds is of all
/// accounts together, and null for who is limited to some.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct DatabaseHealth {
    /// Version of the ClickHouse that answers.
    pub version: String,
    /// Whether its schema is the one this binary was built for.
    pub schema_current: bool,
    /// What is wrong with the schema, when something is.
    pub schema_problem: Option<String>,
    /// How long the store took to answer all this.
    pub round_trip_ms: f64,
    /// What each table holds; a table without a row is not listed, and none is while the schema is not current: nothing is counted then.
    pub tables: Option<Vec<TableStorage>>,
    /// Bytes on disk of all tables together.
    pub bytes_on_disk: Option<u64>,
    /// Messages refused.
    pub dead_letters: Option<DeadLetters>,
    /// Time of the newest metric of the last seven days.
    pub newest_metric: Option<DateTime<Utc>>,
    /// Time of the newest event.
    pub newest_event: Option<DateTime<Utc>>,
    /// When this was asked.
    pub timestamp: DateTime<Utc>,
}

/// One table on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TableStorage {
    /// Its name.
    pub table: String,
    /// Its rows.
    pub rows: u64,
    /// Its bytes on disk, projections and indices included.
    pub bytes_on_disk: u64,
    /// Its active parts; many hundreds mean that merging does not keep up.
    pub parts: u64,
}

/// Messages that could not be stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct DeadLetters {
    /// All that are kept.
    pub total: u64,
    /// Of the last 24 hours.
    pub last_24_hours: u64,
    /// Time of the newest.
    pub newest: Option<DateTime<Utc>>,
}

impl DatabaseHealth {
    /// Of a store of which only the version is known.
    pub(crate) fn of_version(version: String, now: DateTime<Utc>) -> Self {
        Self {
            version,
            schema_current: false,
            schema_problem: None,
            round_trip_ms: 0.0,
            tables: None,
            bytes_on_disk: None,
            dead_letters: None,
            newest_metric: None,
            newest_event: None,
            timestamp: now,
        }
    }

    /// Nothing is known to be held.
    pub(crate) fn holds_nothing(&mut self) {
        self.tables = Some(Vec::new());
        self.bytes_on_disk = Some(0);
        self.dead_letters = Some(DeadLetters { total: 0, last_24_hours: 0, newest: None });
    }

    /// This is held.
    pub(crate) fn holds(
        &mut self,
        storage: Vec<queries::TableStorage>,
        dead_letters: queries::DeadLetterCounts,
        newest: queries::NewestRows,
    ) {
        let instant = |milliseconds: Option<i64>| milliseconds.and_then(DateTime::from_timestamp_millis);
        self.bytes_on_disk = Some(storage.iter().map(|table| table.bytes_on_disk).sum());
        let tables = storage
            .into_iter()
            .map(|table| TableStorage {
                table: table.table,
                rows: table.rows,
                bytes_on_disk: table.bytes_on_disk,
                parts: table.parts,
            })
            .collect();
        self.tables = Some(tables);
        self.dead_letters = Some(DeadLetters {
            total: dead_letters.total,
            last_24_hours: dead_letters.recent,
            newest: instant(dead_letters.newest),
        });
        self.newest_metric = instant(newest.metric);
        self.newest_event = instant(newest.event);
    }
}
