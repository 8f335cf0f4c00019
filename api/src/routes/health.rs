//! How the process and its parts are.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use kelly_query::{DatabaseHealth, HEALTH_AT_ONCE};
use serde::Serialize;
use utoipa::ToSchema;

use crate::client::Client;
use crate::edge::OwnBody;
use crate::health_look::{Looked, Looking};
use crate::openapi::{HealthProblems, LivenessProblems, PlainQueryProblems, ReadyProblems};
use crate::parameters::Parameters;
use crate::ports::{Part, PartStatus};
use crate::problem::{Code, Fault, PartFault, Problem};
use crate::state::HandlerState;

/// How everything is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HealthReport {
    /// `healthy`: all is well; `degraded`: something wants attention; `unhealthy`: a required part is
    /// down or starting.
    status: OverallStatus,
    /// Kelly's version.
    #[schema(example = "0.1.0")]
    version: String,
    /// Whole seconds since the process started.
    #[schema(example = 3600)]
    uptime_seconds: i64,
    /// When the parts were looked at: within the last second.
    timestamp: DateTime<Utc>,
    /// The parts.
    parts: Vec<Part>,
}

/// How all parts are together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OverallStatus {
    /// All is well.
    Healthy,
    /// Something wants attention.
    Degraded,
    /// A required part is down or starting.
    Unhealthy,
}

/// Health of the whole system
///
/// Every part with its state and one sentence, and for who may see all accounts its figures. 200 while Kelly is of use, 503 with the
/// same body when a required part is down or starting.
#[utoipa::path(
    get, path = "/api/v1/kelly/monitoring/health", tag = "health", operation_id = "health",
    responses(
        (status = 200, description = "Healthy or degraded.", body = HealthReport),
        (status = 503, description = "A required part is down or starting: the same report. Or the server is busy: a problem document.",
            content((HealthReport = "application/json"), (crate::problem::ProblemDocument = "application/problem+json"))),
        HealthProblems,
    )
)]
pub(crate) async fn report(client: Client, _: Parameters<()>) -> Response {
    let shared = &client.shared;
    let looked = look(shared).await;
    let mut parts = looked.parts.to_vec();
    if !client.accounts.is_all() {
        // Figures of all accounts together.
        parts.iter_mut().for_each(|part| part.details.clear());
    }
    let settings = &shared.app.settings;
    let report = HealthReport {
        status: overall(&parts),
        version: settings.version.clone(),
        uptime_seconds: ((settings.clock)() - settings.started_at).num_seconds().max(0),
        timestamp: looked.time,
        parts,
    };
    let status = match report.status {
        OverallStatus::Healthy | OverallStatus::Degraded => StatusCode::OK,
        OverallStatus::Unhealthy => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut response = (status, Json(report)).into_response();
    response.extensions_mut().insert(OwnBody);
    response
}

/// Health of the store
///
/// Version, schema, round trip, and for who may see all accounts what each table holds.
#[utoipa::path(
    get, path = "/api/v1/kelly/monitoring/health/database", tag = "health",
    operation_id = "monitoring_health_database",
    responses((status = 200, description = "The store answers.", body = DatabaseHealth), PlainQueryProblems)
)]
pub(crate) async fn monitoring_database(
    client: Client,
    parameters: Parameters<()>,
) -> Result<Json<DatabaseHealth>, Problem> {
    database(client, parameters).await
}

/// Health of the store, short path
///
/// The same as `/api/v1/kelly/monitoring/health/database`.
#[utoipa::path(
    get, path = "/health/database", tag = "health", operation_id = "health_database",
    responses((status = 200, description = "The store answers.", body = DatabaseHealth), PlainQueryProblems)
)]
pub(crate) async fn database(client: Client, _: Parameters<()>) -> Result<Json<DatabaseHealth>, Problem> {
    let Client { shared, accounts, caller, .. } = client;
    let admitted = shared.gates.admit(caller)?;
    let health = shared.app.queries.health_database(accounts);
    Ok(Json(shared.gates.query(admitted, HEALTH_AT_ONCE, health).await??))
}

/// The process runs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Alive {
    /// Always `alive`.
    #[schema(example = "alive")]
    status: &'static str,
}

/// Every required part is up.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Ready {
    /// Always `ready`.
    #[schema(example = "ready")]
    status: &'static str,
}

/// Liveness
///
/// Answers as long as the process turns requests around at all, whatever the state of its parts.
#[utoipa::path(
    get, path = "/livez", tag = "health", operation_id = "livez",
    responses((status = 200, description = "The process runs.", body = Alive), LivenessProblems)
)]
pub(crate) async fn livez(_: Parameters<()>) -> Json<Alive> {
    Json(Alive { status: "alive" })
}

/// Readiness
///
/// 200 when every part this process needs is up, else 503 naming those that are not. Why they are not is in the health report, for
/// who is signed in.
#[utoipa::path(
    get, path = "/readyz", tag = "health", operation_id = "readyz",
    responses((status = 200, description = "Ready.", body = Ready), ReadyProblems)
)]
pub(crate) async fn readyz(
    State(shared): State<HandlerState>,
    _: Parameters<()>,
) -> Result<Json<Ready>, Problem> {
    let looked = look(&shared).await;
    let missing = looked.parts.iter().filter(|part| is_missing(part));
    // Anybody may ask, so it names the part and nothing else of it.
    let missing: Vec<Fault> =
        missing.map(|part| Fault::Part(PartFault { part: part.name.clone() })).collect();
    if missing.is_empty() {
        return Ok(Json(Ready { status: "ready" }));
    }
    Err(Problem::new(
        Code::NotReady,
        "Not every part this process needs is up; `errors` names those that are not, and the health report says why.",
    )
    .retry_after(std::time::Duration::from_secs(1))
    .with_errors(missing, None))
}

async fn look(shared: &HandlerState) -> Looked {
    let settings = &shared.app.settings;
    let looking = Looking {
        health: shared.app.health.clone(),
        within: settings.limits.health_timeout,
        serves: settings.limits.health_serves,
        clock: settings.clock,
    };
    shared.health.parts(looking).await
}

fn is_missing(part: &Part) -> bool {
    part.required && matches!(part.status, PartStatus::Down | PartStatus::Starting)
}

fn overall(parts: &[Part]) -> OverallStatus {
    if parts.iter().any(is_missing) {
        OverallStatus::Unhealthy
    } else if parts.iter().any(|part| part.status != PartStatus::Healthy) {
        OverallStatus::Degraded
    } else {
        OverallStatus::Healthy
    }
}
