//! How much a running Kelly logs, changed for a while.

use axum::Json;
use axum::extract::State;
use chrono::TimeDelta;
use serde::Serialize;
use utoipa::ToSchema;

use crate::log_levels::{ChangedLevel, LogComponent, LogLevel};
use crate::openapi::PlainProblems;
use crate::parameters::{InPath, LevelSeconds, Parameters, Required, parameters};
use crate::state::HandlerState;

/// How long a level is in force when nobody says.
const USUAL_SECONDS: u32 = 600;

/// How much is logged.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LogLevelsReport {
    /// What is configured, as RUST_LOG is written.
    #[schema(example = "warn,kelly=info,kelly_ingest=warn")]
    configured: String,
    /// What is changed now.
    changed: Vec<ChangedLevel>,
}

parameters! {
    /// Which component.
    pub(crate) struct ComponentParameters {
        /// The component.
        component: InPath<LogComponent>,
    }
}

parameters! {
    /// What to change.
    pub(crate) struct ChangeParameters {
        /// The component.
        component: InPath<LogComponent>,
        /// How much is logged from now on.
        level: Required<LogLevel>,
        /// For how many seconds; without it ten minutes.
        seconds: Option<LevelSeconds>,
    }
}

/// Log levels
///
/// What is configured, and what was changed while Kelly runs.
#[utoipa::path(
    get, path = "/api/v1/kelly/log-levels", tag = "health", operation_id = "log_levels",
    responses((status = 200, description = "The levels.", body = LogLevelsReport), PlainProblems)
)]
pub(crate) async fn show(State(shared): State<HandlerState>, _: Parameters<()>) -> Json<LogLevelsReport> {
    Json(report(&shared))
}

/// Change a log level
///
/// From now on and for an hour at most; then the configured level is in force again, by itself. At `debug` the component `api`
/// logs every request. Only this process is changed, not other instances.
#[utoipa::path(
    put, path = "/api/v1/kelly/log-levels/{component}", tag = "health", operation_id = "change_log_level",
    params(ChangeParameters),
    responses((status = 200, description = "The levels as they are now.", body = LogLevelsReport), PlainProblems)
)]
pub(crate) async fn change(
    State(shared): State<HandlerState>,
    Parameters(asked): Parameters<ChangeParameters>,
) -> Json<LogLevelsReport> {
    let ChangeParameters { component: InPath(component), level: Required(level), seconds } = asked;
    let seconds = seconds.map_or(USUAL_SECONDS, |LevelSeconds(seconds)| seconds);
    let until = (shared.app.settings.clock)() + TimeDelta::seconds(i64::from(seconds));
    shared.app.log_levels.change(ChangedLevel { component, level, until });
    Json(report(&shared))
}

/// Reset a log level
///
/// The configured level of the component is in force again; of `all`, those of all components.
#[utoipa::path(
    delete, path = "/api/v1/kelly/log-levels/{component}", tag = "health", operation_id = "reset_log_level",
    params(ComponentParameters),
    responses((status = 200, description = "The levels as they are now.", body = LogLevelsReport), PlainProblems)
)]
pub(crate) async fn reset(
    State(shared): State<HandlerState>,
    Parameters(asked): Parameters<ComponentParameters>,
) -> Json<LogLevelsReport> {
    let ComponentParameters { component: InPath(component) } = asked;
    shared.app.log_levels.reset(component);
    Json(report(&shared))
}

fn report(shared: &HandlerState) -> LogLevelsReport {
    let levels = &shared.app.log_levels;
    LogLevelsReport { configured: levels.configured(), changed: levels.changed() }
}
