//! The life of alerts: what data, people and time do to them.

mod book;
mod climbing;
mod data;
mod incidents;
mod noise;
mod people;
mod policies;
mod silences;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::alert::Alert;
use crate::change::Step;
use crate::op::Op;
use crate::scene::Scene;
use crate::verdict::Verdict;

pub use book::{
    Book, HistoryEntry, MAX_FORGOTTEN_IDS, MAX_HISTORY, MAX_OPEN_ALERTS, MAX_RESOLVED_ALERTS,
    RESOLVED_KEPT_MS,
};
pub use incidents::{
    CAUSE_LABEL, INCIDENT_WINDOW_MS, Incident, Incidents, MAX_CLOSED_INCIDENTS, MAX_INCIDENT_ALERTS,
    MAX_TIMELINE, TimelineEntry, cause_of,
};
pub use noise::{MAX_COUNTED_RULES, Noise, RuleNoise};
pub use people::{MAX_NOTES, MAX_OPINIONS};
pub use policies::{DEFAULT_POLICY, MAX_POLICIES, Policies};
pub use silences::{MAX_ENDED_SILENCES, MAX_SILENCES, Silence, Silences};

/// Everything about alerts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Alerts {
    book: Book,
    silences: Silences,
    policies: Policies,
    incidents: Incidents,
    noise: Noise,
}

impl Alerts {
    /// The alerts themselves.
    #[must_use]
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// The silences.
    #[must_use]
    pub fn silences(&self) -> &Silences {
        &self.silences
    }

    /// How alerts climb.
    #[must_use]
    pub fn policies(&self) -> &Policies {
        &self.policies
    }

    /// The incidents.
    #[must_use]
    pub fn incidents(&self) -> &Incidents {
        &self.incidents
    }

    /// What people think of rules.
    #[must_use]
    pub fn noise(&self) -> &Noise {
        &self.noise
    }

    /// Whether somebody is to be told of this alert now.
    #[must_use]
    pub fn is_audible(&self, alert: &Alert) -> bool {
        !alert.quiet && self.silences.of(alert).is_none()
    }

    /// The log time at which something is due.
    #[must_use]
    pub fn next_due_ms(&self) -> Option<i64> {
        [self.book.next_climb_ms(), self.silences.next_end_ms()].into_iter().flatten().min()
    }

    /// Builds what is not written into a snapshot.
    pub(crate) fn index(&mut self) {
        self.book.index();
        self.silences.index();
    }

    /// Does what is due by the record's log time, and forgets.
    pub(crate) fn run_due(&mut self, scene: &mut Scene<'_>) {
        self.silences.run_due(scene);
        self.climb_due(scene);
        self.book.forget(scene.now_ms());
    }

    /// Judges an op about alerts; `None` when it is about something else.
    pub(crate) fn apply(&mut self, scene: &mut Scene<'_>, op: &Op) -> Option<Verdict> {
        Some(match op {
            Op::Transition(transition) => self.transition(scene, transition),
            Op::Acknowledge(args) => self.acknowledge(scene, args),
            Op::Unacknowledge(args) => self.unacknowledge(scene, args),
            Op::Assign(args) => self.assign(scene, args),
            Op::Escalate(args) => self.set_level(scene, args, Step::Escalated),
            Op::Deescalate(args) => self.set_level(scene, args, Step::Deescalated),
            Op::Resolve(args) => self.resolve(scene, args),
            Op::Reopen(args) => self.reopen(scene, args),
            Op::Note(args) => self.add_note(scene, args),
            Op::Feedback(args) => self.rate(scene, args),
            Op::PutSilence(args) => self.silences.put(scene, args),
            Op::EndSilence(args) => self.silences.end(scene, args),
            Op::PutPolicy(args) => {
                let verdict = self.policies.put(scene, args);
                self.rearm_all(scene, &args.policy);
                verdict
            }
            Op::DeletePolicy(args) => {
                let verdict = self.policies.delete(scene, args);
                self.rearm_all(scene, &args.policy);
                verdict
            }
            Op::Noop | Op::Tick | Op::Cancel(_) | Op::Upgrade(_) | Op::PutRule(_) | Op::DeleteRule(_) => {
                return None;
            }
        })
    }

    /// Changes an alert and writes down the step: in its history, in its incident's timeline, for who follows.
    fn change(&mut self, scene: &mut Scene<'_>, done: Done<'_>, change: impl FnOnce(&mut Alert)) -> Verdict {
        let by = scene.by();
        let changed = self.book.change(&done.alert, |kept| {
            change(&mut kept.alert);
            if done.makes_version {
                kept.alert.changed = by.clone();
            }
            kept.note_step(by, done.step, done.note.map(str::to_owned));
            (kept.alert.incident, kept.alert.version())
        });
        // Who calls has just looked at it.
        let (incident, version) = changed.unwrap_or_default();
        self.incidents.note(scene, incident, done.alert, done.step);
        scene.step(done.alert, done.step);
        Verdict::Applied { version }
    }
}

/// What is done to an alert.
#[derive(Clone, Copy)]
struct Done<'a> {
    alert: uuid::Uuid,
    step: Step,
    note: Option<&'a str>,
    /// Whether people decide upon what this changes.
    makes_version: bool,
}
