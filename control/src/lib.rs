//! Decisions: every instance judges one totally ordered log with one pure function.
//!
//! The pure part knows no I/O and no clock: [`Entry::decode`] reads a record, [`State::apply`] judges it. Whatever the log
//! has first, holds; the offset is the version that a caller can name. Time is the log's.
//!
//! Around it: [`Replica`] follows the log on every instance and puts commands on it; [`Projector`] writes what was decided
//! into the store.

pub mod actor;
pub mod alert;
pub mod alerts;
mod broken;
pub mod change;
pub mod command;
pub mod decision;
mod engine;
mod matcher;
mod memory;
pub mod op;
mod position;
pub mod projector;
#[cfg(test)]
mod properties;
pub mod replica;
pub mod rules;
mod scene;
pub mod snapshot;
pub mod snapshots;
#[cfg(test)]
mod stage;
pub mod state;
pub mod verdict;

pub use actor::{Actor, ActorKind, By};
pub use alert::Alert;
pub use alerts::Alerts;
pub use change::{Change, Step};
pub use command::{Command, Entry, InvalidCommand};
pub use decision::Decision;
pub use engine::{heard, written};
pub use matcher::Matcher;
pub use memory::{IDS_REMEMBERED_MS, MAX_IDS, Recorded};
pub use op::Op;
pub use position::Position;
pub use projector::{Projector, ProjectorConfig};
pub use replica::{
    Health, Outcome, Replica, ReplicaConfig, ReplicaError, SubmitError, TOPIC, WatchEnd, Watcher,
};
pub use snapshot::Snapshot;
pub use snapshots::{FileSnapshots, Snapshots};
pub use state::{Applied, State};
pub use verdict::{Conflict, Decided, Refusal, Unchanged, Verdict};
