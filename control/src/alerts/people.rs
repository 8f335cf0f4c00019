//! What people do to an alert. Of two who act at once, the log has one first: the other is told who, and since when.

use uuid::Uuid;

use super::climbing::notified;
use super::{Alerts, Done};
use crate::actor::{ActorKind, By};
use crate::alert::{Alert, Note, Owner, Resolution, Status};
use crate::broken;
use crate::change::Step;
use crate::op::{AddNote, Assign, GiveFeedback, Handle, MAX_LEVELS, SetLevel};
use crate::scene::Scene;
use crate::verdict::{Conflict, Decided, Refusal, Unchanged, Verdict};

/// Most notes on an alert: at it a further one is refused.
pub const MAX_NOTES: usize = 50;

/// Most people whose opinion of an alert is kept: at it a further one is refused.
pub const MAX_OPINIONS: usize = 32;

impl Alerts {
    pub(super) fn acknowledge(&mut self, scene: &mut Scene<'_>, args: &Handle) -> Verdict {
        let alert = match self.look(scene, args.alert) {
            Ok(alert) => alert,
            Err(verdict) => return verdict,
        };
        if let Some(by) = &alert.acknowledged
            && alert.is_open()
            && by.actor.is_same(scene.actor)
        {
            return Verdict::Unchanged(Unchanged::AlreadySo);
        }
        if let Some(conflict) =
            resolved(alert).or_else(|| acknowledged(alert)).or_else(|| other_version(alert, args.expected))
        {
            return conflict;
        }
        let by = scene.by();
        let verdict = self.change(scene, handled(args, Step::Acknowledged), |alert| {
            alert.status = Status::Acknowledged;
            alert.acknowledged = Some(by);
        });
        self.arm(scene, args.alert, true);
        verdict
    }

    pub(super) fn unacknowledge(&mut self, scene: &mut Scene<'_>, args: &Handle) -> Verdict {
        let alert = match self.look(scene, args.alert) {
            Ok(alert) => alert,
            Err(verdict) => return verdict,
        };
        if let Some(conflict) = resolved(alert) {
            return conflict;
        }
        if alert.acknowledged.is_none() {
            return Verdict::Unchanged(Unchanged::AlreadySo);
        }
        if let Some(conflict) = other_version(alert, args.expected) {
            return conflict;
        }
        let verdict = self.change(scene, handled(args, Step::Unacknowledged), |alert| {
            alert.status = Status::Active;
            alert.acknowledged = None;
        });
        self.arm(scene, args.alert, true);
        verdict
    }

    pub(super) fn assign(&mut self, scene: &mut Scene<'_>, args: &Assign) -> Verdict {
        let alert = match self.look(scene, args.alert) {
            Ok(alert) => alert,
            Err(verdict) => return verdict,
        };
        if let Some(conflict) = resolved(alert) {
            return conflict;
        }
        if alert.owner.as_ref().map(|owner| &owner.to) == args.to.as_ref() {
            return Verdict::Unchanged(Unchanged::AlreadySo);
        }
        // Who takes it from somebody has to have seen that he has it.
        let taken = alert.owner.as_ref().filter(|_| args.expected.is_none() && args.to.is_some());
        if let Some(owner) = taken {
            return conflict(&owner.by, Decided::Changed, alert);
        }
        if let Some(conflict) = other_version(alert, args.expected) {
            return conflict;
        }
        let owner = args.to.clone().map(|to| Owner { to, by: scene.by() });
        let step = if owner.is_some() { Step::Assigned } else { Step::Unassigned };
        let done = Done { alert: args.alert, step, note: args.note.as_deref(), makes_version: true };
        self.change(scene, done, |alert| alert.owner = owner)
    }

    /// Up or down. Who is told at the new level has to acknowledge it himself.
    pub(super) fn set_level(&mut self, scene: &mut Scene<'_>, args: &SetLevel, step: Step) -> Verdict {
        let alert = match self.look(scene, args.alert) {
            Ok(alert) => alert,
            Err(verdict) => return verdict,
        };
        if let Some(conflict) = resolved(alert).or_else(|| other_version(alert, args.expected)) {
            return conflict;
        }
        let now = alert.climb.level;
        let is_up = step == Step::Escalated;
        let next = if is_up { now.checked_add(1) } else { now.checked_sub(1) };
        let Some(level) = args.level.or(next).filter(|level| usize::from(*level) <= MAX_LEVELS) else {
            return Verdict::Refused(Refusal::NoSuchLevel);
        };
        if level == now {
            return Verdict::Unchanged(Unchanged::AlreadySo);
        }
        if (level > now) != is_up {
            return Verdict::Refused(Refusal::NoSuchLevel);
        }
        let notify = self.policies.of(alert).map(|policy| notified(policy, level)).unwrap_or_default();
        let done = Done { alert: args.alert, step, note: args.note.as_deref(), makes_version: true };
        let verdict = self.change(scene, done, |alert| {
            alert.climb.level = level;
            alert.climb.notify = notify;
            if is_up {
                alert.status = Status::Active;
                alert.acknowledged = None;
            }
        });
        self.arm(scene, args.alert, true);
        verdict
    }

    pub(super) fn resolve(&mut self, scene: &mut Scene<'_>, args: &Handle) -> Verdict {
        let alert = match self.look(scene, args.alert) {
            Ok(alert) => alert,
            Err(verdict) => return verdict,
        };
        if let Some(resolution) = &alert.resolution {
            let actor = &resolution.by.actor;
            return if actor.is_same(scene.actor) {
                Verdict::Unchanged(Unchanged::AlreadySo)
            } else if actor.kind == ActorKind::Person {
                conflict(&resolution.by, Decided::Resolved, alert)
            } else {
                Verdict::Unchanged(Unchanged::AlreadyResolved)
            };
        }
        if let Some(conflict) = other_version(alert, args.expected) {
            return conflict;
        }
        let incident = alert.incident;
        let by = scene.by();
        let verdict = self.change(scene, handled(args, Step::Resolved), |alert| {
            alert.status = Status::Resolved;
            alert.climb.due_ms = None;
            alert.resolution =
                Some(Resolution { by, reason: None, value: alert.value, note: args.note.clone() });
        });
        self.incidents.resolved(scene, incident);
        verdict
    }

    pub(super) fn reopen(&mut self, scene: &mut Scene<'_>, args: &Handle) -> Verdict {
        let alert = match self.look(scene, args.alert) {
            Ok(alert) => alert,
            Err(verdict) => return verdict,
        };
        if let Some(conflict) = other_version(alert, args.expected) {
            return conflict;
        }
        if alert.is_open() {
            return Verdict::Refused(Refusal::NotResolved);
        }
        self.open_again(scene, handled(args, Step::Reopened))
    }

    pub(super) fn add_note(&mut self, scene: &mut Scene<'_>, args: &AddNote) -> Verdict {
        let alert = match self.look(scene, args.alert) {
            Ok(alert) => alert,
            Err(verdict) => return verdict,
        };
        if alert.notes.len() >= MAX_NOTES {
            return Verdict::Refused(Refusal::TooManyNotes);
        }
        let note = Note { by: scene.by(), text: args.text.clone() };
        let done =
            Done { alert: args.alert, step: Step::Noted, note: Some(&args.text), makes_version: false };
        self.change(scene, done, |alert| alert.notes.push(note))
    }

    pub(super) fn rate(&mut self, scene: &mut Scene<'_>, args: &GiveFeedback) -> Verdict {
        let alert = match self.look(scene, args.alert) {
            Ok(alert) => alert,
            Err(verdict) => return verdict,
        };
        if scene.actor.kind != ActorKind::Person {
            return Verdict::Refused(Refusal::OnlyPeople);
        }
        let who = scene.actor.id.clone();
        let before = alert.feedback.get(&who).copied();
        if before == Some(args.kind) {
            return Verdict::Unchanged(Unchanged::AlreadySo);
        }
        if before.is_none() && alert.feedback.len() >= MAX_OPINIONS {
            return Verdict::Refused(Refusal::TooManyNotes);
        }
        self.noise.rated(&alert.rule.clone(), args.kind, before);
        let done = Done { alert: args.alert, step: Step::Rated, note: None, makes_version: false };
        self.change(scene, done, |alert| {
            alert.feedback.insert(who, args.kind);
        })
    }

    /// The alert, for somebody who may handle alerts. A rule may act too, and Kelly itself for services that answer.
    fn look(&self, scene: &Scene<'_>, id: Uuid) -> Result<&Alert, Verdict> {
        match scene.actor.kind {
            ActorKind::Person | ActorKind::Rule | ActorKind::System => {}
            ActorKind::Evaluator | ActorKind::Worker => return Err(Verdict::Refused(Refusal::OnlyPeople)),
        }
        self.book.get(&id).ok_or(Verdict::Refused(Refusal::UnknownAlert))
    }
}

fn handled(args: &Handle, step: Step) -> Done<'_> {
    Done { alert: args.alert, step, note: args.note.as_deref(), makes_version: true }
}

fn conflict(by: &By, what: Decided, alert: &Alert) -> Verdict {
    Verdict::Conflict(Conflict { by: by.actor.clone(), since_ms: by.at_ms, what, version: alert.version() })
}

fn resolved(alert: &Alert) -> Option<Verdict> {
    let resolution = alert.resolution.as_ref()?;
    Some(conflict(&resolution.by, Decided::Resolved, alert))
}

fn acknowledged(alert: &Alert) -> Option<Verdict> {
    if broken::is(broken::Rule::FirstHolds) {
        return None;
    }
    let by = alert.acknowledged.as_ref()?;
    Some(conflict(by, Decided::Acknowledged, alert))
}

/// What a command comes to that was made for another version of the alert.
fn other_version(alert: &Alert, expected: Option<u64>) -> Option<Verdict> {
    let expected = expected?;
    if expected == alert.version() || broken::is(broken::Rule::Expected) {
        return None;
    }
    Some(match (&alert.resolution, &alert.acknowledged) {
        (Some(resolution), _) => conflict(&resolution.by, Decided::Resolved, alert),
        (None, Some(by)) => conflict(by, Decided::Acknowledged, alert),
        (None, None) => conflict(&alert.changed, Decided::Changed, alert),
    })
}
