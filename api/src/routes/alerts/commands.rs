//! What became of a command of which its sender was not told.

use axum::extract::State;
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use kelly_auth::Identity;
use kelly_control::{Recorded, Verdict};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::alert_views::{Who, time};
use crate::decisions::read;
use crate::openapi::MissingProblems;
use crate::parameters::{Id, InPath, Parameters, parameters};
use crate::problem::{Code, Problem};
use crate::state::HandlerState;

parameters! {
    /// Which command.
    pub(crate) struct CommandInPath {
        /// Its id: the `Idempotency-Key` of its request, or `command_id` of the answer.
        command_id: InPath<Id>,
    }
}

/// What the control log decided about a command.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CommandStatus {
    /// Its id.
    command_id: Uuid,
    /// `applied`, `unchanged`, `conflict`, `refused`, or `cancelled`: taken back, so it does nothing.
    #[schema(value_type = String, example = "applied")]
    verdict: &'static str,
    /// Why; null where it was done.
    #[schema(value_type = Option<String>)]
    reason: Option<&'static str>,
    /// The version that what was changed has now, or where somebody else was first, the one in force.
    version: Option<u64>,
    /// Who was first; null where nobody was, and for who is limited to accounts.
    first: Option<Who>,
    /// Where on the control log it was decided.
    offset: u64,
    /// When, by the log's clock.
    decided_at: DateTime<Utc>,
}

/// What became of a command
///
/// For who was answered `decision_unknown`. Ids are remembered for 24 hours.
#[utoipa::path(
    get, path = "/api/v1/kelly/commands/{command_id}", tag = "alerts", operation_id = "command", params(CommandInPath),
    responses((status = 200, description = "It is decided.", body = CommandStatus), MissingProblems)
)]
pub(crate) async fn command(
    State(shared): State<HandlerState>,
    Extension(caller): Extension<Identity>,
    Parameters(CommandInPath { command_id: InPath(Id(id)) }): Parameters<CommandInPath>,
) -> Result<Json<CommandStatus>, Problem> {
    let found = read(&*shared.app.decisions, |state| state.outcome(&id).cloned())?;
    let Some(Recorded { at, verdict }) = found else {
        return Err(Problem::new(
            Code::NotFound,
            "The control log has decided nothing about a command of this id, as far as this instance has read it: it has not come, or \
             it was more than 24 hours ago.",
        ));
    };
    let (version, first) = match &verdict {
        Verdict::Applied { version } => (Some(*version), None),
        Verdict::Conflict(conflict) => {
            (Some(conflict.version), caller.accounts.is_all().then(|| Who::of(&conflict.by)))
        }
        _ => (None, None),
    };
    let reason = Some(verdict.reason()).filter(|reason| !reason.is_empty());
    let (verdict, decided_at) = (verdict.code(), time(at.log_time_ms));
    Ok(Json(CommandStatus { command_id: id, verdict, reason, version, first, offset: at.offset, decided_at }))
}
