//! The router: every route, and the layers around them.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::middleware::{Next, from_fn, from_fn_with_state, map_response};
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
use crate::routes::{activity, export, health, metrics, performance, problems, record, several, start_page};
use crate::state::{AppState, HandlerState};

/// The router over these parts. From the outside in: trace id, problem documents and latency; the
/// checks of Host and Origin; the bound on requests; routing; panics.
pub fn router(app: AppState) -> Router {
    let document = openapi_document(&app.settings.version);
    let pages_of_the_document = [DOCS_PATH, DOCUMENT_PATH].map(str::to_owned);
    let templates = document.paths.paths.keys().cloned().chain(pages_of_the_document).collect();
    let shared = HandlerState::new(app, templates);
    let settings = &shared.app.settings;
    let (bounded, _) = bounded().split_for_parts();
    let (unbounded, _) = unbounded().split_for_parts();
    let routes = bounded
        .merge(pages())
        .merge(documentation(&document))
        .layer(DefaultBodyLimit::max(settings.limits.max_body_bytes))
        .layer(from_fn_with_state(shared.clone(), bound_requests))
        .merge(unbounded)
        .layer(CatchPanicLayer::custom(on_panic))
        .layer(from_fn(note_route))
        .with_state(shared.clone());
    // A router of its own, so that the layers see what routing itself answers (404, 405 with Allow).
    Router::new().fallback_service(routes).layer(from_fn(guard)).layer(from_fn_with_state(shared, edge))
}

/// The OpenAPI document of the router, under the version given.
pub fn openapi_document(version: &str) -> OpenApi {
    OpenApiRouter::with_openapi(head(version)).merge(bounded()).merge(unbounded()).into_openapi()
}

/// The routes that count among the requests being worked on.
fn bounded() -> OpenApiRouter<HandlerState> {
    OpenApiRouter::default()
        .routes(routes!(metrics::overview))
        .routes(routes!(metrics::detailed))
        .routes(routes!(several::detailed))
        .routes(routes!(metrics::catalogue))
        .routes(routes!(export::samples))
        .routes(routes!(export::activity))
        .routes(routes!(activity::feed))
        .routes(routes!(activity::vip))
        .routes(routes!(record::metrics))
        .routes(routes!(record::activity))
        .routes(routes!(performance::performance))
        .routes(routes!(health::report))
        .routes(routes!(health::monitoring_database))
        .routes(routes!(health::database))
        .routes(routes!(health::readyz))
        .routes(routes!(problems::all))
        .routes(routes!(problems::one))
}

/// The routes outside that bound: a busy process is alive.
fn unbounded() -> OpenApiRouter<HandlerState> {
    OpenApiRouter::default().routes(routes!(health::livez))
}

fn pages() -> Router<HandlerState> {
    Router::new()
        .route("/", get(start_page::html))
        .route("/assets/start.css", get(start_page::style))
        .route("/assets/start.js", get(start_page::script))
}

/// The document and its pages; the pages' files are in the binary and call nobody.
fn documentation(document: &OpenApi) -> Router<HandlerState> {
    // Serialised once: it never changes while the process runs. Its maps have string keys and its
    // numbers are finite, so it always serialises.
    let text: Arc<str> = serde_json::to_string_pretty(document).unwrap_or_default().into();
    let document =
        move || async move { ([(CONTENT_TYPE, "application/json")], text.to_string()).into_response() };
    let config = Config::from(DOCUMENT_PATH).validator_url("none").try_it_out_enabled(true);
    let pages: Router<HandlerState> = SwaggerUi::new(DOCS_PATH).config(config).into();
    let pages = pages.layer(map_response(finish_page));
    Router::new().route(DOCUMENT_PATH, get(document)).merge(pages)
}

/// The documentation's pages call this server only. Swagger UI sets styles from its script and has its icons in data URLs.
const DOCS_POLICY: &str = "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self'; \
                           connect-src 'self'; img-src 'self' data:; font-src 'self' data:; base-uri 'none'; \
                           form-action 'none'; frame-ancestors 'none'";

/// Gives a file of the documentation its policy, and text its charset: the library names none.
async fn finish_page(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(DOCS_POLICY));
    let with_charset = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .filter(|kind| kind.starts_with("text/") && !kind.contains("charset"))
        .and_then(|kind| HeaderValue::from_str(&format!("{kind}; charset=utf-8")).ok());
    if let Some(kind) = with_charset {
        headers.insert(CONTENT_TYPE, kind);
    }
    response
}

/// Holds a place among the requests being worked on for as long as the handler runs.
async fn bound_requests(State(shared): State<HandlerState>, request: Request, next: Next) -> Response {
    match shared.gates.enter() {
        Ok(_place) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}
