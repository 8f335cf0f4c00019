//! Notifications: how they go, tests, and sending again what was given up.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::notifications::{DeadNotification, NotNotified, NotificationsReport, ReplayOutcome, TestOutcome};
use crate::openapi::NotificationProblems;
use crate::parameters::{DestinationId, InPath, MessageId, Parameters, parameters};
use crate::problem::{Code, Problem};
use crate::state::HandlerState;

/// Most messages of a list.
const MAX_LISTED: usize = 500;

parameters! {
    /// Which destination.
    pub(crate) struct DestinationParameters {
        /// The destination's id.
        destination: InPath<DestinationId>,
    }
}

parameters! {
    /// Which message.
    pub(crate) struct DeadParameters {
        /// The message's id.
        message: InPath<MessageId>,
    }
}

/// What was given up.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeadNotifications {
    /// How many there are.
    count: u64,
    /// The newest 500.
    messages: Vec<DeadNotification>,
}

/// How notifications go
///
/// For each destination whether it takes messages, what waits, and what was given up.
#[utoipa::path(
    get, path = "/api/v1/kelly/notifications", tag = "notifications", operation_id = "notifications",
    responses((status = 200, description = "The destinations.", body = NotificationsReport), NotificationProblems)
)]
pub(crate) async fn report(
    State(shared): State<HandlerState>,
    _: Parameters<()>,
) -> Result<Json<NotificationsReport>, Problem> {
    shared.app.notifications.report().map(Json).map_err(refused)
}

/// What was given up
///
/// Messages that a destination refused for good, or did not take within a day; the newest first.
#[utoipa::path(
    get, path = "/api/v1/kelly/notifications/dead", tag = "notifications", operation_id = "dead_notifications",
    responses((status = 200, description = "The messages.", body = DeadNotifications), NotificationProblems)
)]
pub(crate) async fn dead(
    State(shared): State<HandlerState>,
    _: Parameters<()>,
) -> Result<Json<DeadNotifications>, Problem> {
    let mut messages = shared.app.notifications.dead().map_err(refused)?;
    let count = messages.len() as u64;
    messages.truncate(MAX_LISTED);
    Ok(Json(DeadNotifications { count, messages }))
}

/// Send a message again
///
/// One that was given up. Whichever instance sends does it.
#[utoipa::path(
    post, path = "/api/v1/kelly/notifications/dead/{message}/replay", tag = "notifications",
    operation_id = "replay_notification", params(DeadParameters),
    responses((status = 200, description = "It is sent again.", body = ReplayOutcome), NotificationProblems)
)]
pub(crate) async fn replay(
    State(shared): State<HandlerState>,
    Parameters(asked): Parameters<DeadParameters>,
) -> Result<Json<ReplayOutcome>, Problem> {
    let DeadParameters { message: InPath(MessageId(message)) } = asked;
    shared.app.notifications.replay(&message).await.map(Json).map_err(refused)
}

/// Send all of a destination again
///
/// Every message to it that was given up.
#[utoipa::path(
    post, path = "/api/v1/kelly/notifications/destinations/{destination}/replay", tag = "notifications",
    operation_id = "replay_notifications", params(DestinationParameters),
    responses((status = 200, description = "They are sent again.", body = ReplayOutcome), NotificationProblems)
)]
pub(crate) async fn replay_all(
    State(shared): State<HandlerState>,
    Parameters(asked): Parameters<DestinationParameters>,
) -> Result<Json<ReplayOutcome>, Problem> {
    let DestinationParameters { destination: InPath(DestinationId(destination)) } = asked;
    shared.app.notifications.replay_all(&destination).await.map(Json).map_err(refused)
}

/// Try a destination
///
/// Sends a message that says it is a test, at once. A destination that takes it, and to which nothing was sent any more, is sent
/// to again.
#[utoipa::path(
    post, path = "/api/v1/kelly/notifications/destinations/{destination}/test", tag = "notifications",
    operation_id = "test_notification", params(DestinationParameters),
    responses((status = 200, description = "What came of it.", body = TestOutcome), NotificationProblems)
)]
pub(crate) async fn test(
    State(shared): State<HandlerState>,
    Parameters(asked): Parameters<DestinationParameters>,
) -> Result<Json<TestOutcome>, Problem> {
    let DestinationParameters { destination: InPath(DestinationId(destination)) } = asked;
    shared.app.notifications.test(&destination).await.map(Json).map_err(refused)
}

fn refused(reason: NotNotified) -> Problem {
    match reason {
        NotNotified::NotSetUp => {
            Problem::new(Code::NotificationsOff, Code::NotificationsOff.definition().remedy)
        }
        NotNotified::Unknown => Problem::new(
            Code::NotFound,
            "There is no such destination, or no such message that was given up; GET /api/v1/kelly/notifications and …/dead list them.",
        ),
        NotNotified::Unavailable { reason } => {
            tracing::warn!(reason, "what is asked of notifications could not be kept");
            Problem::new(Code::LogUnavailable, Code::LogUnavailable.definition().remedy)
        }
    }
}
