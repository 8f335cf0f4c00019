//! Incidents: alerts of one cause, with what happened in order.
//!
//! An alert belongs to the newest incident of its cause while that is open and its last alert was raised at most
//! [`INCIDENT_WINDOW_MS`] ago; else it begins one. Its cause is its label `cause`, else its conversation, else its account,
//! else its metric, else its rule.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::actor::Actor;
use crate::alert::Alert;
use crate::change::{Change, Step};
use crate::scene::Scene;

/// How long after an alert of an incident a further one of its cause belongs to it, by log time.
pub const INCIDENT_WINDOW_MS: i64 = 15 * 60 * 1_000;

/// Most alerts an incident lists: at it further ones are only counted.
pub const MAX_INCIDENT_ALERTS: usize = 500;

/// Most entries of a timeline: at it the oldest is dropped, and counted. The control log has all of them.
pub const MAX_TIMELINE: usize = 200;

/// Most closed incidents kept: at it the one that began first is forgotten.
pub const MAX_CLOSED_INCIDENTS: usize = 5_000;

/// The label that names an alert's cause.
pub const CAUSE_LABEL: &str = "cause";

/// What happened, in an incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineEntry {
    /// Log time.
    pub at_ms: i64,
    /// Where on the log.
    pub offset: u64,
    /// To which alert.
    pub alert: Uuid,
    /// What.
    pub step: Step,
    /// Who did it.
    pub actor: Actor,
}

/// One incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// Its id: where on the log its first alert was raised.
    pub id: u64,
    /// Its cause.
    pub cause: String,
    /// Log time of its first alert.
    pub opened_ms: i64,
    /// Log time of the newest raise.
    pub last_raised_ms: i64,
    /// Log time at which its last alert was resolved.
    pub closed_ms: Option<i64>,
    /// Its alerts.
    pub alerts: Vec<Uuid>,
    /// How many alerts it has in all.
    pub count: u64,
    /// How many of them are open.
    pub open: u64,
    /// What happened, oldest first.
    pub timeline: VecDeque<TimelineEntry>,
    /// Entries that were dropped from its beginning.
    pub dropped: u64,
}

/// All of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incidents {
    incidents: BTreeMap<u64, Incident>,
    /// The newest of each cause.
    newest: BTreeMap<String, u64>,
    closed: usize,
}

/// What an alert's incident goes by.
#[must_use]
pub fn cause_of(alert: &Alert) -> String {
    let named = |kind: &str, name: &Option<String>| name.as_ref().map(|name| format!("{kind}:{name}"));
    named("cause", &alert.labels.get(CAUSE_LABEL).cloned())
        .or_else(|| named("conversation", &alert.conversation_id))
        .or_else(|| named("account", &alert.account_id))
        .or_else(|| named("metric", &alert.metric))
        .unwrap_or_else(|| format!("rule:{}", alert.rule))
}

impl Incidents {
    /// All that are kept, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Incident> {
        self.incidents.values()
    }

    /// One.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<&Incident> {
        self.incidents.get(&id)
    }

    /// The incident an alert that was just raised belongs to.
    pub(super) fn join(&mut self, scene: &mut Scene<'_>, alert: &Alert) -> u64 {
        let cause = cause_of(alert);
        let now_ms = scene.now_ms();
        let newest = self.newest.get(&cause).and_then(|id| self.incidents.get_mut(id));
        let incident = match newest {
            Some(incident)
                if incident.closed_ms.is_none() && now_ms - incident.last_raised_ms <= INCIDENT_WINDOW_MS =>
            {
                incident
            }
            _ => {
                let id = scene.at.offset;
                self.newest.insert(cause.clone(), id);
                scene.changes.push(Change::IncidentOpened { incident: id });
                self.incidents.entry(id).or_insert(Incident {
                    id,
                    cause,
                    opened_ms: now_ms,
                    last_raised_ms: now_ms,
                    closed_ms: None,
                    alerts: Vec::new(),
                    count: 0,
                    open: 0,
                    timeline: VecDeque::new(),
                    dropped: 0,
                })
            }
        };
        incident.last_raised_ms = now_ms;
        incident.count += 1;
        incident.open += 1;
        if incident.alerts.len() < MAX_INCIDENT_ALERTS {
            incident.alerts.push(alert.id);
        }
        incident.id
    }

    /// Notes what happened to an alert of an incident.
    pub(super) fn note(&mut self, scene: &mut Scene<'_>, id: u64, alert: Uuid, step: Step) {
        let Some(incident) = self.incidents.get_mut(&id) else { return };
        incident.timeline.push_back(TimelineEntry {
            at_ms: scene.now_ms(),
            offset: scene.at.offset,
            alert,
            step,
            actor: scene.actor.clone(),
        });
        if incident.timeline.len() > MAX_TIMELINE {
            incident.timeline.pop_front();
            incident.dropped += 1;
        }
    }

    /// An alert of it is resolved.
    pub(super) fn resolved(&mut self, scene: &mut Scene<'_>, id: u64) {
        let Some(incident) = self.incidents.get_mut(&id) else { return };
        incident.open = incident.open.saturating_sub(1);
        if incident.open == 0 && incident.closed_ms.is_none() {
            incident.closed_ms = Some(scene.now_ms());
            self.closed += 1;
            scene.changes.push(Change::IncidentClosed { incident: id });
            self.forget_closed();
        }
    }

    /// An alert of it is open again. Returns whether it is still known.
    pub(super) fn reopened(&mut self, scene: &mut Scene<'_>, id: u64) -> bool {
        let Some(incident) = self.incidents.get_mut(&id) else { return false };
        incident.open += 1;
        if incident.closed_ms.take().is_some() {
            self.closed -= 1;
            scene.changes.push(Change::IncidentOpened { incident: id });
        }
        true
    }

    fn forget_closed(&mut self) {
        while self.closed > MAX_CLOSED_INCIDENTS {
            let first = self.incidents.values().find(|incident| incident.closed_ms.is_some());
            let Some((id, cause)) = first.map(|incident| (incident.id, incident.cause.clone())) else {
                return;
            };
            self.incidents.remove(&id);
            if self.newest.get(&cause) == Some(&id) {
                self.newest.remove(&cause);
            }
            self.closed -= 1;
        }
    }
}
