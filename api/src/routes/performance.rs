//! How fast the running system is.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use chrono::{DateTime, Utc};
use kelly_query::StorePerformance;
use kelly_query::cache::LONG_LIFETIME;
use serde::Serialize;
use utoipa::ToSchema;

use crate::answers::{Question, answer_kept_if};
use crate::openapi::{NotModified, PlainQueryProblems};
use crate::pace::{RoutePerformance, window_seconds};
use crate::parameters::Parameters;
use crate::ports::IngestPerformance;
use crate::problem::Problem;
use crate::state::Shared;

/// How fast everything is. What is not known is null, never a guess.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Performance {
    /// When this was measured.
    timestamp: DateTime<Utc>,
    /// Writing from the log to the store, by this process; null in one that does not.
    ingest: Option<IngestPerformance>,
    /// Answering over HTTP, by this process.
    http: HttpPerformance,
    /// The store; null while it does not answer.
    store: Option<StorePerformance>,
}

/// Requests over the last minute.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HttpPerformance {
    /// Seconds the figures are of: a minute, or as long as the process ran; they ended less than ten seconds ago.
    window_seconds: f64,
    /// Routes that were asked for. Recording answers once rows are durable on the log.
    routes: Vec<RoutePerformance>,
}

/// Performance
///
/// Measured figures of the running system: rows written a second and how far ingest is behind, response times by route,
/// how new the newest row is, what the tables hold and what a day adds to them. Each figure says its unit and window;
/// one that is not known is null.
#[utoipa::path(
    get,
    path = "/api/v1/kelly/monitoring/performance",
    tag = "health",
    operation_id = "performance",
    responses(
        (status = 200, description = "The figures.", body = Performance),
        NotModified,
        PlainQueryProblems,
    )
)]
pub(crate) async fn performance(
    State(shared): State<Shared>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    Parameters::read(&uri, &[]).finish()?;
    let (queries, measure) = (Arc::clone(&shared.app.queries), Arc::clone(&shared.app.measure));
    let (pace, timestamp) = (Arc::clone(&shared.pace), (shared.app.settings.clock)());
    let started_at = shared.app.settings.started_at;
    let ask = async move {
        let (store, ingest) = tokio::join!(queries.store_performance(), measure.ingest());
        if let Err(error) = &store {
            tracing::warn!(%error, "the store's performance is not known");
        }
        let window_seconds = window_seconds(timestamp, started_at);
        let http = HttpPerformance { window_seconds, routes: pace.routes(timestamp, window_seconds) };
        Ok(Performance { timestamp, ingest, http, store: store.ok() })
    };
    // A store that is back is told of at once.
    let is_kept = |told: &Performance| told.store.is_some();
    let answer = answer_kept_if(&shared, Question::Performance, LONG_LIFETIME, ask, is_kept).await?;
    Ok(answer.respond(&headers, (shared.app.settings.clock)()))
}
