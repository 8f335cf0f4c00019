//! The alerts that are kept, and what is due for them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::actor::By;
use crate::alert::{Alert, Severity, Status};
use crate::change::Step;

/// Most open alerts: at it a raise is refused, and whoever wrote it has to write it again later, under a new id.
pub const MAX_OPEN_ALERTS: usize = 50_000;

/// Most resolved alerts kept: at it the one that was resolved first is forgotten, but for its id.
pub const MAX_RESOLVED_ALERTS: usize = 20_000;

/// How long a resolved alert is kept, by log time. A raise of longer ago is refused: nobody could tell whether it was
/// raised before.
pub const RESOLVED_KEPT_MS: i64 = 7 * 24 * 3_600 * 1_000;

/// Most ids of alerts that were forgotten early: at it the oldest is forgotten too, and could be raised again.
pub const MAX_FORGOTTEN_IDS: usize = 200_000;

/// Most steps of an alert kept: at it the oldest is dropped. The control log has all of them.
pub const MAX_HISTORY: usize = 64;

/// A step in the life of an alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// Who and when.
    pub by: By,
    /// What.
    pub step: Step,
    /// The severity then.
    pub severity: Severity,
    /// The value then.
    pub value: Option<f64>,
    /// The level then.
    pub level: u8,
    /// What was said.
    pub note: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) alert: Alert,
    pub(super) history: VecDeque<HistoryEntry>,
}

/// The alerts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Book {
    alerts: BTreeMap<Uuid, Kept>,
    /// Of alerts that were forgotten early, with the event time of their raise.
    forgotten: BTreeMap<Uuid, i64>,
    /// When the next level is due.
    #[serde(skip)]
    climbs: BTreeSet<(i64, Uuid)>,
    /// Resolved ones, by log time.
    #[serde(skip)]
    resolved: BTreeSet<(i64, Uuid)>,
    /// The forgotten, by event time of their raise.
    #[serde(skip)]
    forgotten_order: BTreeSet<(i64, Uuid)>,
}

impl Book {
    /// All that are kept.
    pub fn iter(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.values().map(|kept| &kept.alert)
    }

    /// Those that are not resolved.
    pub fn open(&self) -> impl Iterator<Item = &Alert> {
        self.iter().filter(|alert| alert.is_open())
    }

    /// How many are not resolved.
    #[must_use]
    pub fn open_count(&self) -> usize {
        self.alerts.len() - self.resolved.len()
    }

    /// One.
    #[must_use]
    pub fn get(&self, id: &Uuid) -> Option<&Alert> {
        self.alerts.get(id).map(|kept| &kept.alert)
    }

    /// What happened to one, oldest first.
    pub fn history(&self, id: &Uuid) -> impl Iterator<Item = &HistoryEntry> {
        self.alerts.get(id).into_iter().flat_map(|kept| &kept.history)
    }

    pub(super) fn index(&mut self) {
        self.climbs = self.iter().filter_map(|alert| Some((alert.climb.due_ms?, alert.id))).collect();
        self.resolved = self.iter().filter_map(|alert| Some((resolved_ms(alert)?, alert.id))).collect();
        self.forgotten_order = self.forgotten.iter().map(|(id, raised_ms)| (*raised_ms, *id)).collect();
    }

    pub(super) fn was_forgotten(&self, id: &Uuid) -> bool {
        self.forgotten.contains_key(id)
    }

    pub(super) fn open_ids(&self) -> Vec<Uuid> {
        self.open().map(|alert| alert.id).collect()
    }

    /// Changes an alert, and what is due for it with it.
    pub(super) fn change<T>(&mut self, id: &Uuid, change: impl FnOnce(&mut Kept) -> T) -> Option<T> {
        let kept = self.alerts.get_mut(id)?;
        let before = (kept.alert.climb.due_ms, resolved_ms(&kept.alert));
        let outcome = change(kept);
        let after = (kept.alert.climb.due_ms, resolved_ms(&kept.alert));
        if before.0 != after.0 {
            before.0.map(|due_ms| self.climbs.remove(&(due_ms, *id)));
            after.0.map(|due_ms| self.climbs.insert((due_ms, *id)));
        }
        if before.1 != after.1 {
            before.1.map(|at_ms| self.resolved.remove(&(at_ms, *id)));
            after.1.map(|at_ms| self.resolved.insert((at_ms, *id)));
        }
        Some(outcome)
    }

    pub(super) fn insert(&mut self, alert: Alert) {
        let id = alert.id;
        if let Some(due_ms) = alert.climb.due_ms {
            self.climbs.insert((due_ms, id));
        }
        self.alerts.insert(id, Kept { alert, history: VecDeque::new() });
    }

    pub(super) fn next_climb_ms(&self) -> Option<i64> {
        self.climbs.first().map(|(due_ms, _)| *due_ms)
    }

    /// The alerts whose next level is due.
    pub(super) fn due(&self, now_ms: i64) -> Vec<Uuid> {
        self.climbs.iter().take_while(|(due_ms, _)| *due_ms <= now_ms).map(|(_, id)| *id).collect()
    }

    /// Forgets what is too old, or too much.
    pub(super) fn forget(&mut self, now_ms: i64) {
        let oldest_ms = now_ms.saturating_sub(RESOLVED_KEPT_MS);
        while let Some(&(at_ms, id)) = self.resolved.first() {
            let is_old = at_ms < oldest_ms;
            if !is_old && self.resolved.len() <= MAX_RESOLVED_ALERTS {
                break;
            }
            self.resolved.pop_first();
            let Some(kept) = self.alerts.remove(&id) else { continue };
            let raised_ms = kept.alert.raised_ms;
            if raised_ms >= oldest_ms {
                self.forgotten.insert(id, raised_ms);
                self.forgotten_order.insert((raised_ms, id));
            }
        }
        while let Some(&(raised_ms, id)) = self.forgotten_order.first() {
            if raised_ms >= oldest_ms && self.forgotten.len() <= MAX_FORGOTTEN_IDS {
                break;
            }
            self.forgotten_order.pop_first();
            self.forgotten.remove(&id);
        }
    }
}

impl Kept {
    pub(super) fn note_step(&mut self, by: By, step: Step, note: Option<String>) {
        let alert = &self.alert;
        let entry = HistoryEntry {
            by,
            step,
            severity: alert.severity,
            value: alert.value,
            level: alert.climb.level,
            note,
        };
        self.history.push_back(entry);
        if self.history.len() > MAX_HISTORY {
            self.history.pop_front();
        }
    }
}

fn resolved_ms(alert: &Alert) -> Option<i64> {
    match (&alert.resolution, alert.status) {
        (Some(resolution), Status::Resolved) => Some(resolution.by.at_ms),
        _ => None,
    }
}
