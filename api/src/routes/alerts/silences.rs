//! Silences: alerts nobody is told of for a while.

use axum::extract::{Request, State};
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use kelly_auth::Identity;
use kelly_control::Op;
use kelly_control::alerts::Silence;
use kelly_control::op::{EndSilence, PutSilence};
use kelly_query::QueryError;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::words::Words;
use crate::alert_views::{MatcherView, SilenceView};
use crate::decisions::{Decided, Deciding, IdempotencyKey, not_found, read};
use crate::openapi::{DecisionProblems, PlainProblems};
use crate::parameters::{Flag, Id, InPath, Parameters, parameters};
use crate::problem::Problem;
use crate::routes::json_body;
use crate::state::HandlerState;

parameters! {
    /// Which silences.
    pub(crate) struct SilencesParameters {
        /// true: those that have ended, the last one first, 500 at most; else those in force.
        ended: Option<Flag>,
    }
}

parameters! {
    /// Which silence.
    pub(crate) struct SilenceInPath {
        /// The silence; of a new one an id of your choice.
        silence_id: InPath<Id>,
    }
}

/// Silences.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SilenceList {
    /// Those that were asked for.
    silences: Vec<SilenceView>,
}

/// A silence to make, or what it is to become.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SilenceBody {
    /// Which alerts; it names something. Who is limited to accounts names one of them.
    matcher: MatcherView,
    /// When it ends: later than now, and within a year.
    ends_at: DateTime<Utc>,
    /// Why.
    reason: Words,
}

/// It was decided.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SilenceAnswer {
    /// What was decided.
    decided: Decided,
    /// The silence as it is now; null when it is not in force any more.
    silence: Option<SilenceView>,
}

/// Silences
///
/// With how many alerts each has matched. One that has matched none for a week is `stale`.
#[utoipa::path(
    get, path = "/api/v1/kelly/alerts/silences", tag = "alerts", operation_id = "silences", params(SilencesParameters),
    responses((status = 200, description = "The silences.", body = SilenceList), PlainProblems)
)]
pub(crate) async fn list(
    State(shared): State<HandlerState>,
    Extension(caller): Extension<Identity>,
    Parameters(asked): Parameters<SilencesParameters>,
) -> Result<Json<SilenceList>, Problem> {
    let now_ms = (shared.app.settings.clock)().timestamp_millis();
    let silences = read(&*shared.app.decisions, |state| {
        let silences = state.alerts().silences();
        let view = |ended| move |silence: &Silence| SilenceView::of(silence, ended, now_ms);
        match asked.ended {
            Some(Flag(true)) => {
                silences.ended().filter(|silence| sees(&caller, silence)).map(view(true)).collect()
            }
            _ => silences.in_force().filter(|silence| sees(&caller, silence)).map(view(false)).collect(),
        }
    })?;
    Ok(Json(SilenceList { silences }))
}

/// Make or change a silence
///
/// Alerts that it matches are recorded and shown, and nobody is told of them; they do not climb.
#[utoipa::path(
    put, path = "/api/v1/kelly/alerts/silences/{silence_id}", tag = "alerts", operation_id = "put_silence",
    params(SilenceInPath, IdempotencyKey),
    request_body(content = SilenceBody, example = json!({
        "matcher": {"rule": "high_response_time", "account_id": "account123"}, "ends_at": "2024-09-12T06:00:00Z",
        "reason": "the provider is being moved"
    })),
    responses((status = 200, description = "It is decided.", body = SilenceAnswer), DecisionProblems)
)]
pub(crate) async fn put(
    State(shared): State<HandlerState>,
    Extension(caller): Extension<Identity>,
    Parameters(SilenceInPath { silence_id: InPath(Id(silence)) }): Parameters<SilenceInPath>,
    request: Request,
) -> Result<Json<SilenceAnswer>, Problem> {
    let deciding = Deciding::of(&shared, &caller, request.headers())?;
    let body: SilenceBody =
        json_body::read(request, &shared.gates, shared.gates.limits().body_timeout).await?;
    if !caller.accounts.sees(body.matcher.account_id.as_deref()) {
        return Err(QueryError::AccountNotPermitted.into());
    }
    check_visible(&shared, &caller, silence, true)?;
    let op = Op::PutSilence(PutSilence {
        silence,
        matcher: body.matcher.into(),
        ends_ms: body.ends_at.timestamp_millis(),
        reason: body.reason.0,
    });
    answer(&shared, silence, deciding.decide(op).await?)
}

/// End a silence
#[utoipa::path(
    delete, path = "/api/v1/kelly/alerts/silences/{silence_id}", tag = "alerts", operation_id = "end_silence",
    params(SilenceInPath, IdempotencyKey),
    responses((status = 200, description = "It is decided.", body = SilenceAnswer), DecisionProblems)
)]
pub(crate) async fn end(
    State(shared): State<HandlerState>,
    Extension(caller): Extension<Identity>,
    Parameters(SilenceInPath { silence_id: InPath(Id(silence)) }): Parameters<SilenceInPath>,
    request: Request,
) -> Result<Json<SilenceAnswer>, Problem> {
    let deciding = Deciding::of(&shared, &caller, request.headers())?;
    check_visible(&shared, &caller, silence, false)?;
    let op = Op::EndSilence(EndSilence { silence });
    answer(&shared, silence, deciding.decide(op).await?)
}

/// Who is limited to accounts sees the silences that name one of them.
fn sees(caller: &Identity, silence: &Silence) -> bool {
    caller.accounts.sees(silence.matcher.account_id.as_deref())
}

/// Whether the caller may change or end this one; `or_new`: or make it, where there is none.
fn check_visible(shared: &HandlerState, caller: &Identity, id: Uuid, or_new: bool) -> Result<(), Problem> {
    if caller.accounts.is_all() {
        return Ok(());
    }
    let is_visible = read(&*shared.app.decisions, |state| {
        let silences = state.alerts().silences();
        let found = silences.get(&id).or_else(|| silences.ended().find(|silence| silence.id == id));
        found.map_or(or_new, |silence| sees(caller, silence))
    })?;
    if is_visible { Ok(()) } else { Err(not_found("silence")) }
}

fn answer(shared: &HandlerState, id: Uuid, decided: Decided) -> Result<Json<SilenceAnswer>, Problem> {
    let now_ms = (shared.app.settings.clock)().timestamp_millis();
    let silence = read(&*shared.app.decisions, |state| {
        state.alerts().silences().get(&id).map(|silence| SilenceView::of(silence, false, now_ms))
    })?;
    Ok(Json(SilenceAnswer { decided, silence }))
}
