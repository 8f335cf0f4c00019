//! Alerts as they are pushed: what changed, and which are open. How an alert is written down is the caller's.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

/// What one record of the control log did to alerts.
#[derive(Debug)]
pub struct RecordAlerts {
    /// Its offset.
    pub offset: u64,
    /// The alerts that it changed.
    pub alerts: Vec<AlertChange>,
}

/// An alert that changed.
#[derive(Debug)]
pub struct AlertChange {
    /// The alert as it is now.
    pub alert: PushedAlert,
    /// Whether somebody is to look at it. Otherwise it is only to be shown.
    pub is_notification: bool,
    /// What happened.
    pub steps: Vec<&'static str>,
    /// Who did it.
    pub by: AlertBy,
}

/// Who changed an alert.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AlertBy {
    /// The person, the rule, or the part of Kelly.
    #[schema(example = "ada")]
    pub name: String,
    /// `person`, `rule`, `evaluator`, `worker` or `system`.
    #[schema(value_type = String, example = "person")]
    pub kind: &'static str,
}

/// An alert, written down.
#[derive(Debug, Clone)]
pub struct PushedAlert {
    /// Its id.
    pub id: Uuid,
    /// The account it is about.
    pub account: Option<Arc<str>>,
    /// The conversation it is about.
    pub conversation: Option<Arc<str>>,
    /// How bad it is: the more, the worse. Snapshots begin with the worst.
    pub severity: u8,
    /// When it was raised, ms since the epoch.
    pub raised_ms: i64,
    /// Whether it is not resolved.
    pub is_open: bool,
    /// As `GET /api/v1/kelly/alerts/active` has it.
    pub data: Box<RawValue>,
}

/// The worst first, of equal ones the newest.
type Rank = (Reverse<u8>, Reverse<i64>, Uuid);

/// The alerts that are open, for who enters.
#[derive(Debug, Default)]
pub(crate) struct OpenAlerts {
    by_rank: BTreeMap<Rank, PushedAlert>,
    ranks: HashMap<Uuid, Rank>,
}

impl OpenAlerts {
    pub(crate) fn of(alerts: impl IntoIterator<Item = PushedAlert>) -> Self {
        let mut open = Self::default();
        alerts.into_iter().for_each(|alert| open.put(alert));
        open
    }

    /// Takes the place of what was known of the alert; one that is not open is not kept.
    pub(crate) fn put(&mut self, alert: PushedAlert) {
        if let Some(rank) = self.ranks.remove(&alert.id) {
            self.by_rank.remove(&rank);
        }
        if alert.is_open {
            let rank = (Reverse(alert.severity), Reverse(alert.raised_ms), alert.id);
            self.ranks.insert(alert.id, rank);
            self.by_rank.insert(rank, alert);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &PushedAlert> {
        self.by_rank.values()
    }
}
