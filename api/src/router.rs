//! The router: every route, and the layers around them.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::edge::{edge, note_route, on_panic};
use crate::guard::guard;
use crate::openapi::{DOCS_PATH, DOCUMENT_PATH, head};
use crate::routes::{activity, health, metrics, problems, record, start_page};
use crate::state::{AppState, Shared};

/// The router over these parts. From the outside in: trace id, problem documents and latency; the
/// checks of Host and Origin; the bound on requests; routing; panics.
pub fn router(app: AppState) -> Router {
    let shared = Shared::new(app);
    let (documented, document) = documented(&shared).split_for_parts();
    let bounded = documented
        .merge(pages())
        .merge(documentation(&document))
        .layer(from_fn_with_state(shared.clone(), bound_requests));
    // `/livez` stands outside the bound: a busy process is alive.
    let (unbounded, _) = unbounded().split_for_parts();
    let routes = bounded
        .merge(unbounded)
        .layer(CatchPanicLayer::custom(on_panic))
        .layer(from_fn(note_route))
        .with_state(shared.clone());
    // A router of its own, so that the layers see what routing itself answers (404, 405 with Allow).
    Router::new()
        .fallback_service(routes)
        .layer(from_fn_with_state(shared.clone(), guard))
        .layer(from_fn_with_state(shared, edge))
}

/// The OpenAPI document of the router, for the file that is held against it.
pub fn openapi_document(version: &str) -> OpenApi {
    let bounded: OpenApiRouter<Shared> = resources(OpenApiRouter::with_openapi(head(version)), 0);
    bounded.merge(unbounded()).into_openapi()
}

fn documented(shared: &Shared) -> OpenApiRouter<Shared> {
    let settings = &shared.app.settings;
    let mut router = resources(
        OpenApiRouter::with_openapi(head(&settings.version)),
        settings.limits.max_body_bytes,
    );
    // What is documented but routed elsewhere.
    let elsewhere = unbounded().into_openapi();
    router.get_openapi_mut().merge(elsewhere);
    router
}

fn resources(base: OpenApiRouter<Shared>, max_body_bytes: usize) -> OpenApiRouter<Shared> {
    let recording = OpenApiRouter::new()
        .routes(routes!(record::metrics))
        .routes(routes!(record::activity))
        .layer(DefaultBodyLimit::max(max_body_bytes));
    base.routes(routes!(metrics::overview))
        .routes(routes!(metrics::detailed))
        .routes(routes!(activity::feed))
        .routes(routes!(activity::vip))
        .merge(recording)
        .routes(routes!(health::report))
        .routes(routes!(health::monitoring_database))
        .routes(routes!(health::database))
        .routes(routes!(health::readyz))
        .routes(routes!(problems::all))
        .routes(routes!(problems::one))
}

fn unbounded() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(health::livez))
}

fn pages() -> Router<Shared> {
    Router::new()
        .route("/", get(start_page::html))
        .route("/assets/start.css", get(start_page::style))
        .route("/assets/start.js", get(start_page::script))
}

/// The document and its pages; the pages' files are in the binary and call nobody.
fn documentation(document: &OpenApi) -> Router<Shared> {
    // Serialised once: it never changes while the process runs. Its maps have string keys and its
    // numbers are finite, so it always serialises.
    let text: Arc<str> = serde_json::to_string_pretty(document).unwrap_or_default().into();
    let document = move || async move {
        ([(CONTENT_TYPE, "application/json")], text.to_string()).into_response()
    };
    let config = Config::from(DOCUMENT_PATH).validator_url("none").try_it_out_enabled(true);
    let pages: Router<Shared> = SwaggerUi::new(DOCS_PATH).config(config).into();
    Router::new().route(DOCUMENT_PATH, get(document)).merge(pages)
}

/// Holds a place among the requests being worked on for as long as the handler runs.
async fn bound_requests(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    match shared.gates.enter() {
        Ok(_place) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}
