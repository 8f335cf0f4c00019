//! One alert, with everything that happened to it.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::{Extension, Json};
use kelly_auth::Identity;
use serde::Serialize;
use utoipa::ToSchema;

use super::acts::AlertInPath;
use crate::alert_views::{AlertView, IncidentView, NoteView, StepView};
use crate::decisions::{not_found, read};
use crate::openapi::MissingProblems;
use crate::parameters::{Id, InPath, Parameters};
use crate::problem::Problem;
use crate::state::HandlerState;

/// An alert with its history.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AlertDetail {
    /// The alert.
    alert: AlertView,
    /// What happened to it, oldest first; the newest 64 steps.
    history: Vec<StepView>,
    /// What people wrote about it.
    notes: Vec<NoteView>,
    /// What people think of it, by person: `false_positive`, `not_actionable` or `poor_details`.
    #[schema(value_type = BTreeMap<String, String>)]
    feedback: BTreeMap<String, &'static str>,
    /// The incident it belongs to; null when that is forgotten.
    incident: Option<IncidentView>,
}

/// One alert
///
/// With its history, notes, opinions, and the incident it belongs to. A resolved alert is kept for seven days.
#[utoipa::path(
    get, path = "/api/v1/kelly/alerts/{alert_id}", tag = "alerts", operation_id = "alert", params(AlertInPath),
    responses((status = 200, description = "The alert.", body = AlertDetail), MissingProblems)
)]
pub(crate) async fn alert(
    State(shared): State<HandlerState>,
    Extension(caller): Extension<Identity>,
    Parameters(AlertInPath { alert_id: InPath(Id(id)) }): Parameters<AlertInPath>,
) -> Result<Json<AlertDetail>, Problem> {
    let found = read(&*shared.app.decisions, |state| {
        let alerts = state.alerts();
        let alert = alerts.book().get(&id)?;
        if !caller.accounts.sees(alert.account_id.as_deref()) {
            return None;
        }
        let incident = alerts.incidents().get(alert.incident);
        Some(AlertDetail {
            alert: AlertView::of(alert, alerts),
            history: alerts.book().history(&id).map(StepView::of).collect(),
            notes: alert.notes.iter().map(NoteView::of).collect(),
            feedback: alert.feedback.iter().map(|(who, kind)| (who.clone(), kind.code())).collect(),
            incident: incident
                .and_then(|incident| IncidentView::of(incident, alerts, &caller.accounts, false)),
        })
    })?;
    found.map(Json).ok_or_else(|| not_found("alert"))
}
