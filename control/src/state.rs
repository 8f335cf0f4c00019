//! The state that the control log makes: the same on every instance that has applied the same records.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::actor::Actor;
use crate::alerts::Alerts;
use crate::broken;
use crate::change::Change;
use crate::command::{Command, Entry};
use crate::memory::{Known, Memory, Recorded};
use crate::op::{Cancel, Op, Upgrade};
use crate::position::Position;
use crate::rules::Rules;
use crate::scene::Scene;
use crate::verdict::{Refusal, Unchanged, Verdict};

/// What one record came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// Where it lies. Its log time is never before that of a record before it.
    pub at: Position,
    /// The verdict on it.
    pub verdict: Verdict,
    /// What it changed, and what was due by its time.
    pub changes: Vec<Change>,
    /// The hash that chains it to all before it.
    pub chain: [u8; 32],
}

/// Everything that is decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Commands up to this version count.
    version: u16,
    /// The last record.
    at: Option<Position>,
    /// The hash over every record and its verdict, in order.
    chain: [u8; 32],
    memory: Memory,
    alerts: Alerts,
    rules: Rules,
}

impl Default for State {
    /// Before the first record.
    fn default() -> Self {
        Self {
            version: 1,
            at: None,
            chain: [0; 32],
            memory: Memory::default(),
            alerts: Alerts::default(),
            rules: Rules::default(),
        }
    }
}

impl State {
    /// The last record that was applied.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.at
    }

    /// The offset of the next record, or before it: Kafka may leave offsets out.
    #[must_use]
    pub fn next_offset(&self) -> u64 {
        self.at.map_or(0, |at| at.offset + 1)
    }

    /// Commands up to this version count.
    #[must_use]
    pub fn version(&self) -> u16 {
        self.version
    }

    /// Alerts and what belongs to them.
    #[must_use]
    pub fn alerts(&self) -> &Alerts {
        &self.alerts
    }

    /// Rules that were made over the API.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// What was decided about a command, while its id is remembered.
    #[must_use]
    pub fn outcome(&self, id: &Uuid) -> Option<&Recorded> {
        self.memory.recorded(id)
    }

    /// The log time at which something is due: when no record comes by then, somebody has to write a `tick`.
    #[must_use]
    pub fn next_due_ms(&self) -> Option<i64> {
        self.alerts.next_due_ms()
    }

    /// The hash over every record and its verdict, in order: whoever has the same at the same offset has judged the same
    /// records the same way.
    #[must_use]
    pub fn chain(&self) -> [u8; 32] {
        self.chain
    }

    /// SHA-256 of the whole state.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.to_bytes()).into()
    }

    /// Applies the next record. Pure: the same records at the same places make the same state and verdicts.
    pub fn apply(&mut self, entry: &Entry, at: Position) -> Applied {
        debug_assert!(at.offset >= self.next_offset(), "records are applied in order");
        let log_time_ms = self.at.map_or(at.log_time_ms, |last| last.log_time_ms.max(at.log_time_ms));
        let at = Position { log_time_ms, ..at };
        let mut changes = Vec::new();
        let kelly = Actor::system();
        self.alerts.run_due(&mut Scene { at, actor: &kelly, changes: &mut changes });
        self.memory.forget(log_time_ms);
        let verdict = self.judge(entry, at, &mut changes);
        self.at = Some(at);
        self.chain = chained(&self.chain, entry, at, &verdict);
        Applied { at, verdict, changes, chain: self.chain }
    }

    fn judge(&mut self, entry: &Entry, at: Position, changes: &mut Vec<Change>) -> Verdict {
        let Some(id) = entry.id() else { return self.decide(entry, at, changes) };
        match self.memory.look(&id, &entry.digest) {
            Some(Known::Same(first)) if !broken::is(broken::Rule::IdOnce) => Verdict::Duplicate { first },
            Some(Known::Other) => Verdict::Refused(Refusal::IdReused),
            Some(Known::TakenBack(at)) if !broken::is(broken::Rule::Cancel) => Verdict::Cancelled { at },
            _ => {
                let verdict = self.decide(entry, at, changes);
                self.memory.decided(id, &entry.digest, Recorded { at, verdict: verdict.clone() });
                verdict
            }
        }
    }

    fn decide(&mut self, entry: &Entry, at: Position, changes: &mut Vec<Change>) -> Verdict {
        if entry.version > self.version {
            // First of all: one that does not know the version says the same as one that does.
            return Verdict::Refused(Refusal::VersionNotInForce);
        }
        match &entry.command {
            Err(unusable) => Verdict::Refused(Refusal::Record(unusable.fault)),
            Ok(command) => self.obey(command, at, changes),
        }
    }

    fn obey(&mut self, command: &Command, at: Position, changes: &mut Vec<Change>) -> Verdict {
        let mut scene = Scene { at, actor: &command.actor, changes };
        if let Some(verdict) = self.alerts.apply(&mut scene, &command.op) {
            return verdict;
        }
        match &command.op {
            Op::Cancel(cancel) => self.cancel(&scene, cancel),
            Op::Upgrade(upgrade) => self.upgrade(&mut scene, upgrade),
            Op::PutRule(args) => self.rules.put(&mut scene, args),
            Op::DeleteRule(args) => self.rules.delete(&mut scene, args),
            // Nothing but their place and time.
            _ => Verdict::Applied { version: at.offset },
        }
    }

    fn cancel(&mut self, scene: &Scene<'_>, cancel: &Cancel) -> Verdict {
        if self.memory.recorded(&cancel.command).is_some() {
            return Verdict::Unchanged(Unchanged::TooLate);
        }
        self.memory.taken_back(cancel.command, scene.at);
        Verdict::Applied { version: scene.at.offset }
    }

    fn upgrade(&mut self, scene: &mut Scene<'_>, upgrade: &Upgrade) -> Verdict {
        if upgrade.version <= self.version {
            return Verdict::Unchanged(Unchanged::AlreadySo);
        }
        if upgrade.version != self.version + 1 {
            return Verdict::Refused(Refusal::VersionNotInForce);
        }
        self.version = upgrade.version;
        scene.changes.push(Change::Version { version: upgrade.version });
        Verdict::Applied { version: scene.at.offset }
    }

    /// As it is written into a snapshot: the same bytes for the same state.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        // Writing to memory fails for no type that is in here: no map of unknown length, nothing refused.
        postcard::to_allocvec(self).unwrap_or_default()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, postcard::Error> {
        let mut state: Self = postcard::from_bytes(bytes)?;
        if !broken::is(broken::Rule::SnapshotWhole) {
            state.alerts.index();
        }
        Ok(state)
    }
}

/// SHA-256 of the hash before it, the place, the record's own hash and the verdict's code.
fn chained(before: &[u8; 32], entry: &Entry, at: Position, verdict: &Verdict) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(before);
    hasher.update(at.offset.to_be_bytes());
    hasher.update(at.log_time_ms.to_be_bytes());
    hasher.update(entry.digest);
    hasher.update(verdict.code());
    hasher.update([0]);
    hasher.update(verdict.reason());
    hasher.finalize().into()
}
