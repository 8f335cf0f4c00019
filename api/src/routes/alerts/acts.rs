//! What people do about one alert. Of two who act at once the control log has one first; the other is told who it was.

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::{Extension, Json};
use kelly_auth::Identity;
use kelly_control::op::{AddNote, Assign, GiveFeedback, Handle, SetLevel};
use kelly_control::{Op, alert};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::visible::check_visible;
use super::words::{AlertLevel, NameText, Version, Words};
use crate::alert_views::AlertView;
use crate::decisions::{Decided, Deciding, IdempotencyKey, read};
use crate::openapi::DecisionProblems;
use crate::parameters::{Id, InPath, Parameters, parameters};
use crate::problem::Problem;
use crate::routes::json_body;
use crate::state::HandlerState;

parameters! {
    /// Which alert.
    pub(crate) struct AlertInPath {
        /// The alert.
        pub(crate) alert_id: InPath<Id>,
    }
}

/// What is said with an act. All of it may be left out, the body too.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActBody {
    /// The alert's `version` that you saw: where it has another one by now, nothing is done. Without it the act counts whatever
    /// happened since.
    expected: Option<Version>,
    /// Why, or what else there is to say.
    note: Option<Words>,
}

/// To which level. All of it may be left out, the body too.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LevelBody {
    /// As when an alert is acknowledged.
    expected: Option<Version>,
    /// The level; without it the next one.
    level: Option<AlertLevel>,
    /// Why.
    note: Option<Words>,
}

/// To whom.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AssignBody {
    /// As when an alert is acknowledged. Needed to take an alert from who has it.
    expected: Option<Version>,
    /// The owner from now on; null or absent takes it from who has it.
    to: Option<NameText>,
    /// Why.
    note: Option<Words>,
}

/// Words about an alert.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoteBody {
    /// The words. No conversation text.
    text: Words,
}

/// An opinion.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FeedbackBody {
    /// What you think of the alert; a later opinion takes the place of your earlier one.
    kind: FeedbackKind,
}

/// What somebody thinks of an alert.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FeedbackKind {
    /// There was no problem.
    FalsePositive,
    /// There was one, and nothing to be done.
    NotActionable,
    /// It did not say enough.
    PoorDetails,
}

/// It was decided.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ActAnswer {
    /// What was decided.
    pub(super) decided: Decided,
    /// The alert as it is now; null when it is forgotten.
    pub(super) alert: Option<AlertView>,
}

/// Somebody who acts on an alert they see.
struct Acting<T> {
    shared: HandlerState,
    caller: Identity,
    headers: HeaderMap,
    alert: Uuid,
    body: T,
}

impl<T: DeserializeOwned> Acting<T> {
    async fn read(
        shared: HandlerState,
        caller: Identity,
        AlertInPath { alert_id: InPath(Id(alert)) }: AlertInPath,
        request: Request,
    ) -> Result<Self, Problem> {
        let headers = request.headers().clone();
        let body = json_body::read(request, &shared.gates, shared.gates.limits().body_timeout).await?;
        Ok(Self { shared, caller, headers, alert, body })
    }
}

impl<T: DeserializeOwned + Default> Acting<T> {
    /// The same where nothing needs to be said.
    async fn read_optional(
        shared: HandlerState,
        caller: Identity,
        AlertInPath { alert_id: InPath(Id(alert)) }: AlertInPath,
        request: Request,
    ) -> Result<Self, Problem> {
        let headers = request.headers().clone();
        let within = shared.gates.limits().body_timeout;
        let body = json_body::read_optional(request, &shared.gates, within).await?;
        Ok(Self { shared, caller, headers, alert, body: body.unwrap_or_default() })
    }
}

impl<T> Acting<T> {
    async fn act(self, op: Op) -> Result<Json<ActAnswer>, Problem> {
        check_visible(&self.shared, &self.caller, self.alert)?;
        let decided = Deciding::of(&self.shared, &self.caller, &self.headers)?.decide(op).await?;
        let alert = read(&*self.shared.app.decisions, |state| {
            let alerts = state.alerts();
            alerts.book().get(&self.alert).map(|alert| AlertView::of(alert, alerts))
        })?;
        Ok(Json(ActAnswer { decided, alert }))
    }
}

impl Acting<ActBody> {
    fn handle(&self) -> Handle {
        let ActBody { expected, note } = &self.body;
        Handle {
            alert: self.alert,
            expected: expected.map(|Version(version)| version),
            note: note.clone().map(|Words(note)| note),
        }
    }
}

impl Acting<LevelBody> {
    fn set_level(&self) -> SetLevel {
        let LevelBody { expected, level, note } = &self.body;
        let note = note.clone().map(|Words(note)| note);
        SetLevel {
            alert: self.alert,
            expected: expected.map(|Version(version)| version),
            level: level.map(|AlertLevel(level)| level),
            note,
        }
    }
}

/// Acknowledge an alert
///
/// You take care of it: it climbs no further. Of two people who acknowledge it at once, the first has it; the other is answered 409 with
/// who that is and since when. Acknowledged by yourself before, nothing changes.
#[utoipa::path(
    post, path = "/api/v1/kelly/alerts/acknowledge/{alert_id}", tag = "alerts", operation_id = "acknowledge_alert",
    params(AlertInPath, IdempotencyKey), request_body = Option<ActBody>,
    responses((status = 200, description = "It is decided.", body = ActAnswer), DecisionProblems)
)]
pub(crate) async fn acknowledge(
    State(shared): State<HandlerState>,
    Extension(caller): Extension<Identity>,
    Parameters(asked): Parameters<AlertInPath>,
    request: Request,
) -> Result<Json<ActAnswer>, Problem> {
    let acting = Acting::<ActBody>::read_optional(shared, caller, asked, request).await?;
    let op = Op::Acknowledge(acting.handle());
    acting.act(op).await
}

/// Take an acknowledgement back
///
/// Nobody takes care of it any more, and it climbs again.
#[utoipa::path(
    post, path = "/api/v1/kelly/alerts/unacknowledge/{alert_id}", tag = "alerts", operation_id = "unacknowledge_alert",
    params(AlertInPath, IdempotencyKey), request_body = Option<ActBody>,
    responses((status = 200, description = "It is decided.", body = ActAnswer), DecisionProblems)
)]
pub(crate) async fn unacknowledge(
    State(shared): State<HandlerState>,
    Extension(caller): Extension<Identity>,
    Parameters(asked): Parameters<AlertInPath>,
    request: Request,
) -> Result<Json<ActAnswer>, Problem> {
    let acting = Acting::<ActBody>::read_optional(shared, caller, asked, request).await?;
    let op = Op::Unacknowledge(acting.handle());
    acting.act(op).await
}

/// Resolve an alert
///
/// It is over, whatever the data say. Data that get worse open it again.
#[utoipa::path(
    post, path = "/api/v1/kelly/alerts/resolve/{alert_id}", tag = "alerts", operation_id = "resolve_alert",
    params(AlertInPath, IdempotencyKey), request_body = Option<ActBody>,
    responses((status = 200, description = "It is decided.", body = ActAnswer), DecisionProblems)
)]
pub(crate) async fn resolve(
    State(shared): State<HandlerState>,
    Extension(caller): Extension<Identity>,
    Parameters(asked): Parameters<AlertInPath>,
    request: Request,
) -> Result<Json<ActAnswer>, Problem> {
    let acting = Acting::<ActBody>::read_optional(shared, caller, asked, request).await?;
    let op = Op::Resolve(acting.handle());
    acting.act(op).await
}

/// Open a resolved alert again
#[utoipa::path(
    post, path = "/api/v1/kelly/alerts/reopen/{alert_id}", tag = "alerts", operation_id = "reopen_alert",
    params(AlertInPath, IdempotencyKey), request_body = Option<ActBody>,
    responses((status = 200, description = "It is decided.", body = ActAnswer), DecisionProblems)
)]
pub(crate) async fn reopen(
    State(shared): State<HandlerState>,
    Extension(caller): Extension<Identity>,
    Parameters(asked): Parameters<AlertInPath>,
    request: Request,
) -> Result<Json<ActAnswer>, Problem> {
    let acting = Acting::<ActBody>::read_optional(shared, caller, asked, request).await?;
    let op = Op::Reopen(acting.handle());
    acting.act(op).await
}

/// Escalate an alert
///
/// To the next level of its policy, or to `level`: who is told there has to acknowledge it.
#[utoipa::path(
    post, path = "/api/v1/kelly/alerts/escalate/{alert_id}", tag = "alerts", operation_id = "escalate_alert",
    params(AlertInPath, IdempotencyKey), request_body = Option<LevelBody>,
    responses((status = 200, description = "It is decided.", body = ActAnswer), DecisionProblems)
)]
pub(crate) async fn escalate(
    State(shared): State<HandlerState>,
    Extension(caller): Extension<Identity>,
    Parameters(asked): Parameters<AlertInPath>,
    request: Request,
) -> Result<Json<ActAnswer>, Problem> {
    let acting = Acting::<LevelBody>::read_optional(shared, caller, asked, request).await?;
    let op = Op::Escalate(acting.set_level());
    acting.act(op).await
}

/// De-escalate an alert
///
/// To the level below, or to `level`.
#[utoipa::path(
    post, path = "/api/v1/kelly/alerts/deescalate/{alert_id}", tag = "alerts", operation_id = "deescalate_alert",
    params(AlertInPath, IdempotencyKey), request_body = Option<LevelBody>,
    responses((status = 200, description = "It is decided.", body = ActAnswer), DecisionProblems)
)]
pub(crate) async fn deescalate(
    State(shared): State<HandlerState>,
    Extension(caller): Extension<Identity>,
    Parameters(asked): Parameters<AlertInPath>,
    request: Request,
) -> Result<Json<ActAnswer>, Problem> {
    let acting = Acting::<LevelBody>::read_optional(shared, caller, asked, request).await?;
    let op = Op::Deescalate(acting.set_level());
    acting.act(op).await
}

/// Assign an alert
///
/// To somebody, or to nobody. To take it from who has it, say with `expected` that you saw that.
#[utoipa::path(
    post, path = "/api/v1/kelly/alerts/assign/{alert_id}", tag = "alerts", operation_id = "assign_alert",
    params(AlertInPath, IdempotencyKey), request_body(content = AssignBody, example = json!({"to": "ada"})),
    responses((status = 200, description = "It is decided.", body = ActAnswer), DecisionProblems)
)]
pub(crate) async fn assign(
    State(shared): State<HandlerState>,
    Extension(caller): Extension<Identity>,
    Parameters(asked): Parameters<AlertInPath>,
    request: Request,
) -> Result<Json<ActAnswer>, Problem> {
    let acting = Acting::<AssignBody>::read(shared, caller, asked, request).await?;
    let AssignBody { expected, to, note } = &acting.body;
    let op = Op::Assign(Assign {
        alert: acting.alert,
        expected: expected.map(|Version(version)| version),
        to: to.clone().map(|NameText(to)| to),
        note: note.clone().map(|Words(note)| note),
    });
    acting.act(op).await
}

/// Write a note about an alert
#[utoipa::path(
    post, path = "/api/v1/kelly/alerts/note/{alert_id}", tag = "alerts", operation_id = "note_alert",
    params(AlertInPath, IdempotencyKey), request_body(content = NoteBody, example = json!({"text": "the provider is down"})),
    responses((status = 200, description = "It is decided.", body = ActAnswer), DecisionProblems)
)]
pub(crate) async fn note(
    State(shared): State<HandlerState>,
    Extension(caller): Extension<Identity>,
    Parameters(asked): Parameters<AlertInPath>,
    request: Request,
) -> Result<Json<ActAnswer>, Problem> {
    let acting = Acting::<NoteBody>::read(shared, caller, asked, request).await?;
    let op = Op::Note(AddNote { alert: acting.alert, text: acting.body.text.0.clone() });
    acting.act(op).await
}

/// Say whether an alert was worth your time
///
/// Opinions are counted for each rule; `GET …/alerts/noise` lists the rules with the most.
#[utoipa::path(
    post, path = "/api/v1/kelly/alerts/feedback/{alert_id}", tag = "alerts", operation_id = "rate_alert",
    params(AlertInPath, IdempotencyKey), request_body(content = FeedbackBody, example = json!({"kind": "false_positive"})),
    responses((status = 200, description = "It is decided.", body = ActAnswer), DecisionProblems)
)]
pub(crate) async fn feedback(
    State(shared): State<HandlerState>,
    Extension(caller): Extension<Identity>,
    Parameters(asked): Parameters<AlertInPath>,
    request: Request,
) -> Result<Json<ActAnswer>, Problem> {
    let acting = Acting::<FeedbackBody>::read(shared, caller, asked, request).await?;
    let kind = match acting.body.kind {
        FeedbackKind::FalsePositive => alert::Feedback::FalsePositive,
        FeedbackKind::NotActionable => alert::Feedback::NotActionable,
        FeedbackKind::PoorDetails => alert::Feedback::PoorDetails,
    };
    let op = Op::Feedback(GiveFeedback { alert: acting.alert, kind });
    acting.act(op).await
}
