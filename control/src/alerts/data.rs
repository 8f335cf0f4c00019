//! What the data do to an alert.

use super::{Alerts, Done, MAX_OPEN_ALERTS, RESOLVED_KEPT_MS};
use crate::actor::ActorKind;
use crate::alert::{Alert, Climb, Resolution, Status};
use crate::broken;
use crate::change::Step;
use crate::op::{Transition, TransitionKind};
use crate::scene::Scene;
use crate::verdict::{Refusal, Unchanged, Verdict};

impl Alerts {
    pub(super) fn transition(&mut self, scene: &mut Scene<'_>, transition: &Transition) -> Verdict {
        match scene.actor.kind {
            ActorKind::Evaluator | ActorKind::System => {}
            ActorKind::Person | ActorKind::Rule | ActorKind::Worker => {
                return Verdict::Refused(Refusal::OnlyEvaluator);
            }
        }
        if transition.kind == TransitionKind::Raised {
            return self.raise(scene, transition);
        }
        let Some(alert) = self.book.get(&transition.alert) else {
            return Verdict::Refused(Refusal::UnknownAlert);
        };
        if transition.at_ms < alert.data_ms {
            return Verdict::Unchanged(Unchanged::OldNews);
        }
        if !alert.holds {
            return Verdict::Unchanged(Unchanged::AlreadyResolved);
        }
        match transition.kind {
            TransitionKind::Raised => self.raise(scene, transition),
            TransitionKind::Worsened if transition.severity <= alert.severity => {
                Verdict::Unchanged(Unchanged::AlreadySo)
            }
            TransitionKind::Improved if transition.severity >= alert.severity => {
                Verdict::Unchanged(Unchanged::AlreadySo)
            }
            TransitionKind::Worsened => self.worsen(scene, transition),
            TransitionKind::Improved => self.improve(scene, transition),
            TransitionKind::Resolved => self.resolve_by_data(scene, transition),
        }
    }

    fn raise(&mut self, scene: &mut Scene<'_>, transition: &Transition) -> Verdict {
        let id = transition.alert;
        let is_known = self.book.get(&id).is_some() || self.book.was_forgotten(&id);
        if is_known && !broken::is(broken::Rule::RaisedOnce) {
            return Verdict::Unchanged(Unchanged::AlreadyRaised);
        }
        if transition.at_ms < scene.now_ms().saturating_sub(RESOLVED_KEPT_MS) {
            return Verdict::Refused(Refusal::TooOld);
        }
        if self.book.open_count() >= MAX_OPEN_ALERTS {
            return Verdict::Refused(Refusal::TooManyAlerts);
        }
        let mut alert = new_alert(scene, transition);
        alert.incident = self.incidents.join(scene, &alert);
        self.noise.raised(&alert.rule);
        self.silences.count(&alert, scene.now_ms());
        self.book.insert(alert);
        let verdict = self.change(scene, done(transition, Step::Raised, true), |_| {});
        self.arm(scene, id, true);
        verdict
    }

    /// A condition that gets worse opens again what a person has resolved: he was told of something less.
    fn worsen(&mut self, scene: &mut Scene<'_>, transition: &Transition) -> Verdict {
        let is_open = self.book.get(&transition.alert).is_some_and(Alert::is_open);
        if !is_open {
            self.open_again(scene, done(transition, Step::Reopened, true));
        }
        let verdict = self.change(scene, done(transition, Step::Worsened, true), |alert| {
            report(alert, transition);
        });
        self.arm(scene, transition.alert, false);
        verdict
    }

    fn improve(&mut self, scene: &mut Scene<'_>, transition: &Transition) -> Verdict {
        let verdict = self.change(scene, done(transition, Step::Improved, false), |alert| {
            report(alert, transition);
        });
        self.arm(scene, transition.alert, false);
        verdict
    }

    fn resolve_by_data(&mut self, scene: &mut Scene<'_>, transition: &Transition) -> Verdict {
        let Some(alert) = self.book.get(&transition.alert) else {
            return Verdict::Refused(Refusal::UnknownAlert);
        };
        let (is_open, incident) = (alert.is_open(), alert.incident);
        let by = scene.by();
        let verdict = self.change(scene, done(transition, Step::DataResolved, is_open), |alert| {
            alert.holds = false;
            alert.data_ms = transition.at_ms;
            alert.value = transition.value.or(alert.value);
            if is_open {
                alert.status = Status::Resolved;
                alert.climb.due_ms = None;
                alert.resolution =
                    Some(Resolution { by, reason: transition.reason, value: transition.value, note: None });
            } else if let Some(resolution) = &mut alert.resolution {
                // A person was first; what the data were at their end is kept all the same.
                resolution.reason = transition.reason;
                resolution.value = resolution.value.or(transition.value);
            }
        });
        if is_open {
            self.incidents.resolved(scene, incident);
        }
        verdict
    }

    /// Takes a resolved alert back into its incident, or into one that is there for its cause now.
    pub(super) fn open_again(&mut self, scene: &mut Scene<'_>, done: Done<'_>) -> Verdict {
        let verdict = self.change(scene, done, |alert| {
            alert.status = Status::Active;
            alert.acknowledged = None;
            alert.resolution = None;
            alert.climb = Climb::default();
        });
        if let Some(alert) = self.book.get(&done.alert).cloned()
            && !self.incidents.reopened(scene, alert.incident)
        {
            let incident = self.incidents.join(scene, &alert);
            self.book.change(&alert.id, |kept| kept.alert.incident = incident);
        }
        self.arm(scene, done.alert, true);
        verdict
    }
}

fn done<'a>(transition: &'a Transition, step: Step, makes_version: bool) -> Done<'a> {
    Done { alert: transition.alert, step, note: Some(&transition.explanation), makes_version }
}

fn report(alert: &mut Alert, transition: &Transition) {
    alert.severity = transition.severity;
    alert.worst = alert.worst.max(transition.severity);
    alert.data_ms = transition.at_ms;
    alert.value = transition.value.or(alert.value);
    alert.threshold = transition.threshold.or(alert.threshold);
    alert.explanation.clone_from(&transition.explanation);
}

fn new_alert(scene: &Scene<'_>, transition: &Transition) -> Alert {
    let by = scene.by();
    Alert {
        id: transition.alert,
        rule: transition.rule.clone(),
        rule_version: transition.rule_version,
        account_id: transition.account_id.clone(),
        conversation_id: transition.conversation_id.clone(),
        metric: transition.metric.clone(),
        severity: transition.severity,
        worst: transition.severity,
        raised_ms: transition.at_ms,
        since_ms: transition.since_ms,
        raised: by.clone(),
        value: transition.value,
        threshold: transition.threshold,
        explanation: transition.explanation.clone(),
        labels: transition.labels.clone(),
        runbook: transition.runbook.clone(),
        quiet: transition.quiet,
        cause: transition.cause.clone(),
        status: Status::Active,
        holds: true,
        data_ms: transition.at_ms,
        acknowledged: None,
        owner: None,
        climb: Climb::default(),
        resolution: None,
        incident: scene.at.offset,
        changed: by,
        notes: Vec::new(),
        feedback: std::collections::BTreeMap::new(),
    }
}
