//! How fast the running system is.

use chrono::{DateTime, Utc};
use kelly_query::StorePerformance;
use serde::Serialize;
use utoipa::ToSchema;

use crate::answers::Question;
use crate::client::{Answered, Client};
use crate::openapi::{NotModified, PlainQueryProblems};
use crate::parameters::Parameters;
use crate::ports::IngestPerformance;
use crate::route_times::{RoutePerformance, window_seconds};
use crate::state::HandlerState;

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
    get, path = "/api/v1/kelly/monitoring/performance", tag = "health", operation_id = "performance",
    responses((status = 200, description = "The figures.", body = Performance), NotModified, PlainQueryProblems)
)]
pub(crate) async fn performance(client: Client, _: Parameters<()>) -> Answered {
    client.answer(Question::Performance).await
}

impl Performance {
    /// Measures it now.
    pub(crate) async fn measure(shared: &HandlerState, now: DateTime<Utc>) -> Self {
        let app = &shared.app;
        let (store, ingest) = tokio::join!(app.queries.store_performance(), app.measure.ingest());
        if let Err(error) = &store {
            tracing::warn!(%error, "the store's performance is not known");
        }
        let window_seconds = window_seconds(now, app.settings.started_at);
        let http = HttpPerformance { window_seconds, routes: shared.route_times.routes(now, window_seconds) };
        Self { timestamp: now, ingest, http, store: store.ok() }
    }

    /// Whether every part answered: a store that is back shows at once.
    pub(crate) fn is_complete(&self) -> bool {
        self.store.is_some()
    }
}
