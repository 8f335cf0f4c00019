//! Incidents: alerts of one cause, with what happened in order.

use axum::extract::State;
use axum::{Extension, Json};
use kelly_auth::Identity;
use kelly_query::feed::DEFAULT_LIMIT;
use serde::Serialize;
use utoipa::ToSchema;

use crate::alert_views::IncidentView;
use crate::decisions::{not_found, read};
use crate::openapi::{MissingProblems, PlainProblems};
use crate::parameters::{Flag, InPath, IncidentId, Offset, PageSize, Parameters, parameters};
use crate::problem::Problem;
use crate::state::HandlerState;

parameters! {
    /// Which incidents.
    pub(crate) struct IncidentsParameters {
        /// true: only those with an alert that is not resolved; false: only the others.
        open: Option<Flag>,
        /// Incidents a page, 1 to 200; 50 unless said.
        limit: Option<PageSize>,
        /// `next_before` of the page before: only incidents that are older than this one.
        before: Option<Offset>,
    }
}

parameters! {
    /// Which incident.
    pub(crate) struct IncidentInPath {
        /// The incident.
        incident_id: InPath<IncidentId>,
    }
}

/// A page of incidents.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IncidentPage {
    /// The newest first.
    incidents: Vec<IncidentView>,
    /// Give it as `before` for the next page; null on the last one.
    next_before: Option<u64>,
}

/// Incidents
///
/// Alerts of one cause: those with the same label `cause`, else of the same conversation, account, metric or rule, that were raised not more
/// than 15 minutes one after the other. Who is limited to accounts sees as much of them as they see of their alerts.
#[utoipa::path(
    get, path = "/api/v1/kelly/alerts/incidents", tag = "alerts", operation_id = "incidents", params(IncidentsParameters),
    responses((status = 200, description = "A page.", body = IncidentPage), PlainProblems)
)]
pub(crate) async fn list(
    State(shared): State<HandlerState>,
    Extension(caller): Extension<Identity>,
    Parameters(asked): Parameters<IncidentsParameters>,
) -> Result<Json<IncidentPage>, Problem> {
    let limit = asked.limit.map_or(DEFAULT_LIMIT, |PageSize(limit)| limit) as usize;
    let mut incidents: Vec<IncidentView> = read(&*shared.app.decisions, |state| {
        let alerts = state.alerts();
        let found = alerts
            .incidents()
            .iter()
            .rev()
            .filter(|incident| asked.before.is_none_or(|Offset(before)| incident.id < before))
            .filter_map(|incident| IncidentView::of(incident, alerts, &caller.accounts, false))
            .filter(|incident| asked.open.is_none_or(|Flag(open)| open == incident.is_open()));
        found.take(limit + 1).collect()
    })?;
    let has_more = incidents.len() > limit;
    incidents.truncate(limit);
    let next_before = incidents.last().filter(|_| has_more).map(IncidentView::id);
    Ok(Json(IncidentPage { incidents, next_before }))
}

/// One incident
///
/// With its timeline: the newest 200 entries.
#[utoipa::path(
    get, path = "/api/v1/kelly/alerts/incidents/{incident_id}", tag = "alerts", operation_id = "incident", params(IncidentInPath),
    responses((status = 200, description = "The incident.", body = IncidentView), MissingProblems)
)]
pub(crate) async fn one(
    State(shared): State<HandlerState>,
    Extension(caller): Extension<Identity>,
    Parameters(IncidentInPath { incident_id: InPath(IncidentId(id)) }): Parameters<IncidentInPath>,
) -> Result<Json<IncidentView>, Problem> {
    let found = read(&*shared.app.decisions, |state| {
        let alerts = state.alerts();
        let incident = alerts.incidents().get(id)?;
        IncidentView::of(incident, alerts, &caller.accounts, true)
    })?;
    found.map(Json).ok_or_else(|| not_found("incident"))
}
