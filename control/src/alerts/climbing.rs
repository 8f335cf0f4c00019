//! Alerts that nobody acknowledges climb, by log time.
//!
//! What is due is done by the first record whose log time has come to it, whatever that record is, before the record itself.
//! So every instance climbs at the same offset. Where no record comes, an instance writes a `tick`.

use uuid::Uuid;

use super::{Alerts, Done};
use crate::alert::{Alert, Climb, Status};
use crate::change::Step;
use crate::op::PutPolicy;
use crate::scene::Scene;

/// The level after the one an alert is at: its number, and the round it is in.
fn next(policy: &PutPolicy, climb: &Climb) -> Option<(u8, u8)> {
    let levels = u8::try_from(policy.levels.len()).unwrap_or(u8::MAX);
    if climb.level < levels {
        Some((climb.level + 1, climb.rounds))
    } else if climb.rounds < policy.repeat && levels > 0 {
        Some((1, climb.rounds + 1))
    } else {
        None
    }
}

fn after_ms(policy: &PutPolicy, level: u8) -> i64 {
    policy.levels.get(usize::from(level).saturating_sub(1)).map_or(i64::MAX, |level| level.after_ms)
}

impl Alerts {
    /// Sets when an alert climbs next. Where nothing has changed for it, the time that was set stands, unless it is to
    /// begin anew.
    pub(super) fn arm(&mut self, scene: &Scene<'_>, id: Uuid, anew: bool) {
        let Some(alert) = self.book.get(&id) else { return };
        let climb = self.armed(alert, scene.now_ms(), anew);
        if climb != alert.climb {
            self.book.change(&id, |kept| kept.alert.climb = climb);
        }
    }

    fn armed(&self, alert: &Alert, now_ms: i64, anew: bool) -> Climb {
        let mut climb = alert.climb.clone();
        let policy = self.policies.of(alert).filter(|_| alert.status == Status::Active && !alert.quiet);
        let name = policy.map(|policy| &policy.policy);
        if !anew && climb.policy.as_ref() == name && (climb.due_ms.is_some() || name.is_none()) {
            return climb;
        }
        climb.policy = name.cloned();
        climb.due_ms = policy
            .and_then(|policy| next(policy, &climb).map(|(level, _)| after_ms(policy, level)))
            .map(|after_ms| now_ms.saturating_add(after_ms));
        climb
    }

    /// Looks again at every open alert that climbs, or may now climb, by this policy.
    pub(super) fn rearm_all(&mut self, scene: &Scene<'_>, policy: &str) {
        for id in self.book.open_ids() {
            let Some(alert) = self.book.get(&id) else { continue };
            let now = self.policies.of(alert).map(|policy| policy.policy.as_str());
            if alert.climb.policy.as_deref() == Some(policy) || now == Some(policy) {
                self.arm(scene, id, true);
            }
        }
    }

    /// Lets those climb whose time has come. One record makes an alert climb one level at most: after a silence of the log
    /// nobody is to be told of all levels at once.
    pub(super) fn climb_due(&mut self, scene: &mut Scene<'_>) {
        for id in self.book.due(scene.now_ms()) {
            let Some(alert) = self.book.get(&id) else { continue };
            let policy = self.policies.of(alert);
            let Some((policy, (level, rounds))) =
                policy.and_then(|policy| Some((policy, next(policy, &alert.climb)?)))
            else {
                self.book.change(&id, |kept| kept.alert.climb.due_ms = None);
                continue;
            };
            if self.silences.of(alert).is_some() {
                // Asked again a level's time later.
                let due_ms = scene.now_ms().saturating_add(after_ms(policy, level));
                self.book.change(&id, |kept| kept.alert.climb.due_ms = Some(due_ms));
                continue;
            }
            let notify = notified(policy, level);
            let done = Done { alert: id, step: Step::Climbed, note: None, makes_version: false };
            self.change(scene, done, |alert| {
                alert.climb.level = level;
                alert.climb.rounds = rounds;
                alert.climb.notify = notify;
            });
            self.arm(scene, id, true);
        }
    }
}

/// Whom a level tells.
pub(super) fn notified(policy: &PutPolicy, level: u8) -> Vec<String> {
    let level = usize::from(level).checked_sub(1).and_then(|index| policy.levels.get(index));
    level.map(|level| level.notify.clone()).unwrap_or_default()
}
