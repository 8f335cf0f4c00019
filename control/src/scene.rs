//! What an act needs to know of its record.

use uuid::Uuid;

use crate::actor::{Actor, By};
use crate::change::{Change, Step};
use crate::position::Position;

/// A record while it is judged.
pub(crate) struct Scene<'a> {
    /// Where it lies. Its log time never lies before that of a record before it.
    pub(crate) at: Position,
    /// Who wrote it.
    pub(crate) actor: &'a Actor,
    /// What it changed so far.
    pub(crate) changes: &'a mut Vec<Change>,
}

impl Scene<'_> {
    /// The act's author, place and time.
    pub(crate) fn by(&self) -> By {
        By { actor: self.actor.clone(), at_ms: self.at.log_time_ms, offset: self.at.offset }
    }

    /// The log's time.
    pub(crate) fn now_ms(&self) -> i64 {
        self.at.log_time_ms
    }

    /// Notes a step of an alert.
    pub(crate) fn step(&mut self, alert: Uuid, step: Step) {
        self.changes.push(Change::Alert { alert, step });
    }
}
