//! Alerts on their way to whoever follows them: from the decisions of this instance's replica into the rooms.

use std::sync::Arc;

use kelly_control::alert::Alert;
use kelly_control::{Actor, Change, Decision, Replica, State, Step, WatchEnd};
use kelly_live::{AlertBy, AlertChange, Hub, PushedAlert, RecordAlerts, ResetReason};
use serde_json::value::to_raw_value;
use uuid::Uuid;

use super::Live;
use crate::alert_views::AlertView;

/// The epoch of a topic on a log that gives its topics no ids.
const NO_ID: u64 = 0;

impl Live {
    /// Pushes what is decided about alerts, until the replica ends. `under` is a part of the epoch beside the topic's id: what else a
    /// position is only good under.
    pub async fn push_alerts(&self, replica: &Replica, under: u64) {
        let epoch = format!("{:016x}", replica.topic_id().unwrap_or(NO_ID) ^ under);
        let mut why = ResetReason::OtherEpoch;
        loop {
            // From one look at the state: what is open there, and where it goes on.
            let (next, open) = replica.read(|state| (state.next_offset(), open(state)));
            self.hub.begin_alerts(&epoch, next, open, why);
            why = ResetReason::Lost;
            let mut watcher = replica.watch(Some(next));
            let end = loop {
                match watcher.next().await {
                    Ok(decision) => publish(&self.hub, replica, &decision),
                    Err(end) => break end,
                }
            };
            match end {
                WatchEnd::Missed(missed) => {
                    tracing::warn!(
                        next,
                        oldest = missed.oldest,
                        "decisions came faster than they were pushed"
                    );
                }
                WatchEnd::Stopped(_) => return,
            }
        }
    }
}

fn open(state: &State) -> Vec<PushedAlert> {
    let alerts = state.alerts();
    alerts
        .book()
        .open()
        .map(|alert| pushed(alert, alerts.silences().of(alert).map(|silence| silence.id)))
        .collect()
}

fn publish(hub: &Hub, replica: &Replica, decision: &Decision) {
    let changes = decision.alerts.iter().map(|alert| {
        let silenced_by = replica.read(|state| state.alerts().silences().of(alert).map(|silence| silence.id));
        change(decision, alert, silenced_by)
    });
    let alerts = changes.collect();
    hub.publish_alerts([RecordAlerts { offset: decision.at.offset, alerts }]);
}

fn change(decision: &Decision, alert: &Alert, silenced_by: Option<Uuid>) -> AlertChange {
    let steps: Vec<Step> = decision
        .changes
        .iter()
        .filter_map(|change| match change {
            Change::Alert { alert: id, step } if *id == alert.id => Some(*step),
            _ => None,
        })
        .collect();
    let is_audible = !alert.quiet && silenced_by.is_none();
    AlertChange {
        is_notification: is_audible && alert.is_open() && steps.iter().any(|step| wants_attention(*step)),
        by: by(decision, &steps),
        steps: steps.into_iter().map(Step::code).collect(),
        alert: pushed(alert, silenced_by),
    }
}

fn wants_attention(step: Step) -> bool {
    matches!(step, Step::Raised | Step::Worsened | Step::Reopened | Step::Escalated | Step::Climbed)
}

/// What is due by its time happens at whatever record comes: that is Kelly's doing, not its author's.
fn by(decision: &Decision, steps: &[Step]) -> AlertBy {
    let kelly = Actor::system();
    let author = decision.command().map(|command| &command.actor);
    let actor = match steps {
        [Step::Climbed] => &kelly,
        _ => author.unwrap_or(&kelly),
    };
    AlertBy { name: actor.id.clone(), kind: actor.kind.code() }
}

fn pushed(alert: &Alert, silenced_by: Option<Uuid>) -> PushedAlert {
    PushedAlert {
        id: alert.id,
        account: alert.account_id.as_deref().map(Arc::from),
        conversation: alert.conversation_id.as_deref().map(Arc::from),
        severity: alert.severity as u8,
        raised_ms: alert.raised_ms,
        is_open: alert.is_open(),
        data: to_raw_value(&AlertView::with_silence(alert, silenced_by)).unwrap_or_default(),
    }
}
