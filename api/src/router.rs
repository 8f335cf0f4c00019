//! The router: every route, and the layers around them.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderValue, Method};
use axum::middleware::{Next, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use kelly_auth::Permission::{
    Export, FollowLive, HandleAlerts, IngestAlerts, ManageAccess, ManageAlertRules, ManageLogging,
    ManageNotifications, ReadActivity, ReadAlertRules, ReadAlerts, ReadHealth, ReadMetrics, ReadPages,
    ReadPerformance, Record,
};
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::OpenApi;
use utoipa_axum::routes;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::access::{Access, Found, RouteAccess, RouteTable};
use crate::authorise::authorise;
use crate::caller::Caller;
use crate::compressed_answers::compress_answers;
use crate::edge::{edge, note_route, on_panic};
use crate::guard::guard;
use crate::openapi::{DOCS_PATH, DOCUMENT_PATH, head, require_sign_in};
use crate::rates::{Budget, payer};
use crate::route_list::RouteList;
use crate::routes::{
    access as accessing, activity, alerts, export, health, live, log_levels, metrics, notifications,
    own_metrics, performance, problems, reading, record, rule_preview, several, sign_in as signing_in,
    start_page,
};
use crate::shares::Kind;
use crate::sign_in::sign_in;
use crate::state::{AppState, HandlerState};

/// The router over these parts. From the outside in: compression; trace id, problem documents and latency; the
/// checks of Host and Origin; sign-in; routing; whether the caller may use the route; panics; the bound on requests.
pub fn router(app: AppState) -> Router {
    let document = openapi_document(&app.settings.version);
    let pages_of_the_document = [DOCS_PATH, DOCUMENT_PATH].map(str::to_owned);
    let templates = document.paths.paths.keys().cloned().chain(pages_of_the_document).collect();
    let bounded = bounded().merge(pages()).merge(documentation(&document));
    let (bounded, _, mut table) = bounded.split(OpenApi::default());
    let (unbounded, _, table_of_unbounded) = unbounded().split(OpenApi::default());
    table.extend(table_of_unbounded);
    let shared = HandlerState::new(app, templates, table);
    let settings = &shared.app.settings;
    let within_bound = ServiceBuilder::new()
        .layer(from_fn_with_state(shared.clone(), bound_requests))
        .layer(DefaultBodyLimit::max(settings.limits.max_body_bytes));
    let of_routes = ServiceBuilder::new()
        .layer(from_fn_with_state(shared.clone(), behind_routing))
        .layer(CatchPanicLayer::custom(on_panic));
    let routes = bounded.layer(within_bound).merge(unbounded).layer(of_routes).with_state(shared.clone());
    // A router of its own, so that the layers see what routing itself answers (404, 405 with Allow).
    Router::new().fallback_service(routes).layer(from_fn_with_state(shared, before_routing))
}

/// The layers before routing, as one: to the router each layer is a service of its own, which costs every request two boxes of kilobytes.
async fn before_routing(State(shared): State<HandlerState>, request: Request, next: Next) -> Response {
    let shared = &shared;
    let routing = async move |request| next.run(request).await;
    let signed_in = async move |request| sign_in(shared, request, routing).await;
    let guarded = async move |request| guard(shared, request, signed_in).await;
    let traced = async move |request| edge(shared, request, guarded).await;
    compress_answers(request, traced).await
}

/// The layers of all routes, as one.
async fn behind_routing(State(shared): State<HandlerState>, request: Request, next: Next) -> Response {
    let shared = &shared;
    let permitted = async move |request| next.run(request).await;
    note_route(request, async move |request| authorise(shared, request, permitted).await).await
}

/// The OpenAPI document of the router, under the version given.
pub fn openapi_document(version: &str) -> OpenApi {
    let (_, mut document, table) = bounded().merge(unbounded()).split(head(version));
    require_sign_in(&mut document, |method, path| table.is_open(path, method));
    document
}

/// Every route with what it needs of its caller, in the order of their paths.
pub fn route_access() -> Vec<RouteAccess> {
    let described = bounded().merge(unbounded());
    let (_, _, table) =
        described.merge(pages()).merge(documentation(&OpenApi::default())).split(OpenApi::default());
    table.into_routes()
}

/// The routes that count among the requests being worked on.
fn bounded() -> RouteList {
    RouteList::default()
        .route(Access::Needs(ReadMetrics), routes!(metrics::overview))
        .route(Access::Needs(ReadMetrics), routes!(metrics::detailed))
        .route(Access::Needs(ReadMetrics), routes!(several::detailed))
        .route(Access::Needs(ReadMetrics), routes!(metrics::catalogue))
        .route(Access::Needs(Export), routes!(export::samples))
        .route(Access::Needs(Export), routes!(export::activity))
        .route(Access::Needs(ReadActivity), routes!(activity::feed))
        .route(Access::Needs(ReadActivity), routes!(activity::vip))
        .route(Access::Needs(ReadActivity), routes!(reading::mark_read))
        .route(Access::Needs(ReadActivity), routes!(reading::unread))
        .route(Access::Needs(HandleAlerts), routes!(rule_preview::preview))
        .route(Access::Needs(Record), routes!(record::metrics))
        .route(Access::Needs(Record), routes!(record::activity))
        .merge(alerting())
        .route(Access::Needs(ReadPerformance), routes!(performance::performance))
        .route(Access::Needs(ReadPerformance), routes!(own_metrics::own_metrics))
        .route(Access::Needs(ReadHealth), routes!(health::report))
        .route(Access::Needs(ReadHealth), routes!(health::monitoring_database))
        .route(Access::Needs(ReadHealth), routes!(health::database))
        .route(Access::Open, routes!(health::readyz))
        .route(Access::Needs(ReadPages), routes!(problems::all))
        .route(Access::Needs(ReadPages), routes!(problems::one))
        .route(Access::Needs(FollowLive), routes!(live::monitoring))
        .route(Access::Needs(ReadActivity), routes!(live::conversation))
        .route(Access::Needs(ReadAlerts), routes!(live::alerts))
        .route(Access::Needs(FollowLive), routes!(live::events))
        .route(Access::Open, routes!(signing_in::open))
        .route(Access::Needs(ReadPages), routes!(signing_in::show))
        .route(Access::Needs(ReadPages), routes!(signing_in::close))
        .route(Access::Needs(ManageLogging), routes!(log_levels::show))
        .route(Access::Needs(ManageLogging), routes!(log_levels::change))
        .route(Access::Needs(ManageLogging), routes!(log_levels::reset))
        .route(Access::Needs(ManageNotifications), routes!(notifications::report))
        .route(Access::Needs(ManageNotifications), routes!(notifications::dead))
        .route(Access::Needs(ManageNotifications), routes!(notifications::replay))
        .route(Access::Needs(ManageNotifications), routes!(notifications::replay_all))
        .route(Access::Needs(ManageNotifications), routes!(notifications::test))
        .route(Access::Needs(ManageAccess), routes!(accessing::new_link))
        .route(Access::Needs(ManageAccess), routes!(accessing::denied))
        .route(Access::Needs(ManageAccess), routes!(accessing::deny))
        .route(Access::Needs(ManageAccess), routes!(accessing::allow))
}

/// Those of alerts and decisions.
fn alerting() -> RouteList {
    RouteList::default()
        .route(Access::Needs(ReadAlerts), routes!(alerts::list::active))
        .route(Access::Needs(ReadAlerts), routes!(alerts::one::alert))
        .route(Access::Needs(HandleAlerts), routes!(alerts::acts::acknowledge))
        .route(Access::Needs(HandleAlerts), routes!(alerts::acts::unacknowledge))
        .route(Access::Needs(HandleAlerts), routes!(alerts::acts::resolve))
        .route(Access::Needs(HandleAlerts), routes!(alerts::acts::reopen))
        .route(Access::Needs(HandleAlerts), routes!(alerts::acts::escalate))
        .route(Access::Needs(HandleAlerts), routes!(alerts::acts::deescalate))
        .route(Access::Needs(HandleAlerts), routes!(alerts::acts::assign))
        .route(Access::Needs(HandleAlerts), routes!(alerts::acts::note))
        .route(Access::Needs(HandleAlerts), routes!(alerts::acts::feedback))
        .route(Access::Needs(HandleAlerts), routes!(alerts::bulk::act))
        .route(Access::Needs(IngestAlerts), routes!(alerts::ingest::ingest))
        .route(Access::Needs(ReadAlerts), routes!(alerts::silences::list))
        .route(Access::Needs(HandleAlerts), routes!(alerts::silences::put))
        .route(Access::Needs(HandleAlerts), routes!(alerts::silences::end))
        .route(Access::Needs(ReadAlerts), routes!(alerts::incidents::list))
        .route(Access::Needs(ReadAlerts), routes!(alerts::incidents::one))
        .route(Access::Needs(ReadAlertRules), routes!(alerts::noise::noisiest))
        .route(Access::Needs(ReadAlertRules), routes!(alerts::policies::list))
        .route(Access::Needs(ManageAlertRules), routes!(alerts::policies::put))
        .route(Access::Needs(ManageAlertRules), routes!(alerts::policies::delete))
        .route(Access::Needs(ReadAlertRules), routes!(alerts::rules::list))
        .route(Access::Needs(ReadAlertRules), routes!(alerts::rules::one))
        .route(Access::Needs(ManageAlertRules), routes!(alerts::rules::put))
        .route(Access::Needs(ManageAlertRules), routes!(alerts::rules::delete))
        .route(Access::Needs(HandleAlerts), routes!(alerts::commands::command))
}

/// The routes outside that bound: a busy process is alive.
fn unbounded() -> RouteList {
    RouteList::default().route(Access::Open, routes!(health::livez))
}

fn pages() -> RouteList {
    RouteList::default()
        .page(Access::Open, "/", get(start_page::html))
        .page(Access::Open, "/assets/start.css", get(start_page::style))
        .page(Access::Open, "/assets/start.js", get(start_page::script))
        .page(Access::Open, "/assets/live.js", get(start_page::live))
}

/// The document and its pages; the pages' files are in the binary and call nobody.
fn documentation(document: &OpenApi) -> RouteList {
    // Serialised once: it never changes while the process runs. Its maps have string keys and its
    // numbers are finite, so it always serialises.
    let text: Arc<str> = serde_json::to_string_pretty(document).unwrap_or_default().into();
    let document =
        move || async move { ([(CONTENT_TYPE, "application/json")], text.to_string()).into_response() };
    let config = Config::from(DOCUMENT_PATH).validator_url("none").try_it_out_enabled(true);
    let pages: Router<HandlerState> = SwaggerUi::new(DOCS_PATH).config(config).into();
    let paths = ["", "/", "/{*rest}"].map(|rest| format!("{DOCS_PATH}{rest}"));
    RouteList::default().page(Access::Needs(ReadPages), DOCUMENT_PATH, get(document)).pages(
        Access::Needs(ReadPages),
        &paths.each_ref().map(String::as_str),
        pages.layer(map_response(finish_page)),
    )
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

/// Holds a place among the requests being worked on for as long as the handler runs; of a sign-in the handler does so itself.
async fn bound_requests(State(shared): State<HandlerState>, mut request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let Some(kind) = kind_of(&shared.routes, path, request.method()) else { return next.run(request).await };
    match shared.gates.enter(Caller::of(request.extensions()), kind) {
        Ok(place) => {
            request.extensions_mut().insert(place.share().clone());
            let response = next.run(request).await;
            drop(place);
            response
        }
        Err(problem) => problem.into_response(),
    }
}

/// Where a sign-in is exchanged for a session.
const SIGN_IN_PATH: &str = "/api/v1/kelly/sign-in";

/// Among which requests one of this route counts; `None` while it has no place yet.
fn kind_of(routes: &RouteTable, path: &str, method: &Method) -> Option<Kind> {
    match routes.find(path, method) {
        Found::Route(Access::Needs(permission)) if payer(permission) == Some(Budget::Emergency) => {
            Some(Kind::Emergency)
        }
        // The exchange waits for a body. Were it waited for in a place, strangers whose bodies do not come would let nobody sign in.
        Found::Route(Access::Open) if *method == Method::POST && path == SIGN_IN_PATH => None,
        Found::Route(Access::Open) => Some(Kind::Open),
        _ => Some(Kind::Requests),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_and_emergency_routes_have_places_of_their_own_and_a_sign_in_has_none_yet() {
        let (_, _, mut routes) = bounded().merge(pages()).split(OpenApi::default());
        routes.add(Method::POST, "/stop", Access::Needs(kelly_auth::Permission::StopEverything));
        for (method, path, kind) in [
            (Method::POST, "/api/v1/kelly/sign-in", None),
            (Method::GET, "/api/v1/kelly/sign-in", Some(Kind::Requests)),
            (Method::DELETE, "/api/v1/kelly/sign-in", Some(Kind::Requests)),
            (Method::GET, "/readyz", Some(Kind::Open)),
            (Method::HEAD, "/", Some(Kind::Open)),
            (Method::POST, "/stop", Some(Kind::Emergency)),
            (Method::POST, "/api/v1/kelly/monitoring/metrics/record", Some(Kind::Requests)),
            (Method::GET, "/nowhere", Some(Kind::Requests)),
        ] {
            assert_eq!(kind_of(&routes, path, &method), kind, "{method} {path}");
        }
    }
}
