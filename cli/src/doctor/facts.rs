//! What a doctor has seen. Plain values: whoever judges them needs neither a log nor a store.

use kelly_ingest::PartitionPosition;
use kelly_schemas::Stream;
use kelly_sql::queries::{BackgroundState, DiskState, LetterReason, StoreRight, TableState};
use kelly_stream::kafka::TopicSettings;

/// Everything that was looked at.
#[derive(Debug, Clone)]
pub struct Facts {
    /// This machine's clock, ms since the epoch.
    pub now_ms: i64,
    /// Version of this binary.
    pub version: &'static str,
    /// What the configuration says.
    pub configuration: Configuration,
    /// Soft and hard limit of open files.
    pub open_files: Option<(u64, u64)>,
    /// The data directory; `None` where nothing is embedded.
    pub data: Option<Data>,
    /// The engine's library; `None` where the store is a server.
    pub library: Option<Library>,
    /// The Kelly that should be running.
    pub kelly: Running,
    /// The log.
    pub log: Log,
    /// The store.
    pub store: Store,
}

/// What the binary knows without asking anybody: its configuration and its own machine.
#[derive(Debug, Clone, Default)]
pub struct Local {
    /// What the configuration says.
    pub configuration: Configuration,
    /// The data directory; `None` where nothing is embedded.
    pub data: Option<Data>,
    /// The engine's library; `None` where the store is a server.
    pub library: Option<Library>,
}

/// What the configuration says, as far as it matters to the other checks.
#[derive(Debug, Clone, Default)]
pub struct Configuration {
    /// What is wrong with it: where, and what would be right.
    pub faults: Vec<String>,
    /// What is allowed and should not be, or contradicts itself.
    pub remarks: Vec<String>,
    /// Days rollups are kept.
    pub retention_days: u32,
    /// Days decisions and alerts are kept.
    pub audit_retention_days: u32,
    /// Hours raw metrics are kept.
    pub metrics_retention_hours: u32,
    /// How long a topic should keep records, ms.
    pub log_retention_ms: u64,
    /// Address of the HTTP interface.
    pub listen: String,
}

/// The data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Data {
    /// Where it is.
    pub directory: String,
    /// Whether it is there.
    pub exists: bool,
    /// Process that has it, when one has.
    pub owner: Option<String>,
    /// The disks of the directory, the log and the store, where they are embedded; one that several share stands once.
    pub disks: Vec<Disk>,
}

/// A disk something embedded lies on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The directory on it.
    pub directory: String,
    /// Whether the log lies on it, which keeps some room free.
    pub has_log: bool,
    /// Bytes left.
    pub free: u64,
    /// Bytes in all.
    pub total: u64,
}

/// The embedded engine's library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Library {
    /// It is there.
    Found {
        /// Where.
        path: String,
        /// Version of the package it came in, where it says so.
        package: Option<String>,
    },
    /// It is not; why, and how to fix it.
    Missing(String),
}

/// The Kelly at the configured address.
#[derive(Debug, Clone)]
pub enum Running {
    /// It answers.
    Answers {
        /// Its version.
        version: String,
        /// Its parts.
        parts: Vec<Part>,
    },
    /// It answers, and not to whom it does not know: no more than which parts it needs are not there.
    ToStrangers {
        /// Why it does not say more.
        why: String,
        /// The parts that are not ready.
        missing: Vec<String>,
    },
    /// It does not; why.
    Silent(String),
}

/// A part of a running Kelly, by its own account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// `healthy`, `degraded`, `starting` or `down`.
    pub status: String,
    /// One sentence.
    pub summary: String,
}

/// The log.
#[derive(Debug, Clone)]
pub enum Log {
    /// It belongs to a process that does not run or does not answer.
    NotAsked {
        /// Where it is.
        place: String,
    },
    /// It does not answer; why, and how to fix it.
    Away {
        /// Where it is.
        place: String,
        /// Why.
        why: String,
    },
    /// It answers.
    Answers {
        /// Where it is.
        place: String,
        /// Its topics.
        topics: Vec<Topic>,
        /// Ingest's positions a few seconds later; only asked for when there was a lag.
        later: Option<Vec<PartitionPosition>>,
        /// Time of its newest record, ms since the epoch.
        newest_ms: Option<i64>,
    },
}

/// A topic Kelly needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// What is on it.
    pub stream: Stream,
    /// Ingest's positions by partition; empty when there is no such topic.
    pub positions: Vec<PartitionPosition>,
    /// Its settings, where they can be asked for.
    pub settings: Option<TopicSettings>,
    /// Offsets nobody can read yet, because a transaction before them is open.
    pub held_back: u64,
}

/// The store.
#[derive(Debug, Clone)]
pub struct Store {
    /// Where it is.
    pub place: String,
    /// Whether it is the embedded one.
    pub is_embedded: bool,
    /// What it said; or why it said nothing.
    pub state: Result<Answers, String>,
}

/// What the store said.
#[derive(Debug, Clone)]
pub struct Answers {
    /// Its version.
    pub version: String,
    /// User that asks and database that is asked.
    pub user: (String, String),
    /// Milliseconds a question takes.
    pub round_trip_ms: f64,
    /// Milliseconds its clock is ahead of ours.
    pub ahead_ms: i64,
    /// Whether the tables are those of this binary; or what differs.
    pub schema: Option<Result<(), String>>,
    /// Rights and whether the user has them; those that could not be asked for are left out.
    pub rights: Vec<(StoreRight, bool)>,
    /// Its tables.
    pub tables: Vec<TableState>,
    /// Its disks.
    pub disks: Vec<DiskState>,
    /// Merges and mutations.
    pub background: Option<BackgroundState>,
    /// Dead letters of the last 24 hours by reason; only asked for when the schema is this binary's.
    pub letters: Vec<LetterReason>,
}
