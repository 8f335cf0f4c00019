//! What a record of the log came to, with what those need who show it or write it down.

use std::collections::BTreeSet;

use crate::alert::Alert;
use crate::change::Change;
use crate::command::{Command, Entry};
use crate::position::Position;
use crate::state::{Applied, State};
use crate::verdict::Verdict;

/// A record and what it came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Where it lies.
    pub at: Position,
    /// The record.
    pub entry: Entry,
    /// The verdict on it.
    pub verdict: Verdict,
    /// What it changed, and what was due by its time.
    pub changes: Vec<Change>,
    /// The alerts that changed, as they are now.
    pub alerts: Vec<Alert>,
    /// The hash that chains it to all before it.
    pub chain: [u8; 32],
}

impl Decision {
    /// Applies the record there to the state.
    pub fn make(state: &mut State, at: Position, payload: &[u8]) -> Self {
        let entry = Entry::decode(payload);
        let Applied { at, verdict, changes, chain } = state.apply(&entry, at);
        let changed: BTreeSet<_> = changes
            .iter()
            .filter_map(|change| match change {
                Change::Alert { alert, .. } => Some(*alert),
                _ => None,
            })
            .collect();
        let book = state.alerts().book();
        let alerts = changed.iter().filter_map(|alert| book.get(alert).cloned()).collect();
        Self { at, entry, verdict, changes, alerts, chain }
    }

    /// The command, when the record is one.
    #[must_use]
    pub fn command(&self) -> Option<&Command> {
        self.entry.command.as_ref().ok()
    }
}
