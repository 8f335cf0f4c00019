//! The outermost layer: gives each request its trace id, writes every error as a problem document,
//! logs failures once, sets the headers all answers have, and reports the latency.

use std::any::Any;
use std::time::{Instant, SystemTime};

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::nearest::nearest;
use crate::parameters::echo;
use crate::ports::Observation;
use crate::problem::{Code, Problem};
use crate::rates::{POLICY_HEADER, STATE_HEADER};
use crate::state::HandlerState;
use crate::trace::{TRACE_HEADER, TraceContext, TraceId};

/// The route an [`Observation`] names when no route matched.
pub const UNMATCHED_ROUTE: &str = "unmatched";
/// The method an [`Observation`] names for one that HTTP does not define.
pub const OTHER_METHOD: &str = "OTHER";

/// On every answer. A handler's own `cache-control` or `content-security-policy` stays.
const COMMON_HEADERS: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
];

/// Headers of an error that stay when its document is written; the document says the rest.
const KEPT_ON_ERRORS: [HeaderName; 3] = [header::ALLOW, POLICY_HEADER, STATE_HEADER];

/// The template of the matched route, carried outwards with the response: the outermost layer
/// stands before routing and would not know it.
#[derive(Clone)]
struct Matched(MatchedPath);

/// Notes the matched route on the response; goes around the routes themselves.
pub(crate) async fn note_route(request: Request, next: impl AsyncFnOnce(Request) -> Response) -> Response {
    let matched = request.extensions().get::<MatchedPath>().cloned();
    if let Some(path) = &matched {
        Span::current().record("route", path.as_str());
    }
    let mut response = next(request).await;
    if let Some(path) = matched {
        response.extensions_mut().insert(Matched(path));
    }
    response
}

/// An answer with an error status whose body is the message itself (a health report).
#[derive(Clone, Copy)]
pub(crate) struct OwnBody;

/// The outermost layer itself.
pub(crate) async fn edge(
    shared: &HandlerState,
    request: Request,
    next: impl AsyncFnOnce(Request) -> Response,
) -> Response {
    let (started, began) = (Instant::now(), SystemTime::now());
    let trace = TraceContext::of(request.headers());
    let trace_id = trace.trace_id;
    let (method, uri) = (request.method().clone(), request.uri().clone());

    // Whatever is logged while the request is worked on names it.
    let span = tracing::info_span!("request", %trace_id, method = method_name(&method), route = Empty);
    let mut response = next(request).instrument(span).await;
    let matched = response.extensions_mut().remove::<Matched>();
    let route = matched.as_ref().map_or(UNMATCHED_ROUTE, |Matched(path)| path.as_str());
    let mut code = None;
    if is_bare_error(&response) {
        let nearest = || nearest(uri.path(), shared.templates.iter().map(String::as_str));
        let asked = Asked { method: &method, route, nearest: &nearest };
        let (rendered, of_problem) = as_problem(response, &asked, trace_id);
        (response, code) = (rendered, Some(of_problem));
    }
    finish_headers(&mut response, trace_id);

    let (method, status, duration) = (method_name(&method), response.status().as_u16(), started.elapsed());
    let milliseconds = duration.as_secs_f64() * 1_000.0;
    tracing::debug!(%trace_id, method, route, status, duration_ms = milliseconds, "request answered");
    shared.route_times.note((method, route), status, milliseconds, (shared.app.settings.clock)());
    shared.app.observer.observe(&Observation { route, method, status, code, trace, began, duration });
    response
}

/// What a caught panic becomes. The payload is for the log; the client learns nothing of it.
pub(crate) fn on_panic(payload: Box<dyn Any + Send>) -> Response {
    let message = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a payload that is no text".to_owned());
    Problem::internal(format!("a handler panicked: {message}")).into_response()
}

fn is_bare_error(response: &Response) -> bool {
    let status = response.status();
    (status.is_client_error() || status.is_server_error()) && response.extensions().get::<OwnBody>().is_none()
}

/// What was asked for, as far as an error may say.
struct Asked<'a> {
    method: &'a Method,
    route: &'a str,
    /// Finds the route that a path without one probably meant.
    nearest: &'a dyn Fn() -> Option<&'a str>,
}

/// The problem document that stands for a bare error, and its code.
fn as_problem(mut response: Response, asked: &Asked<'_>, trace_id: TraceId) -> (Response, Code) {
    let status = response.status();
    let kept = KEPT_ON_ERRORS.map(|name| response.headers_mut().remove(&name).map(|value| (name, value)));
    let allow = kept.iter().flatten().find(|(name, _)| *name == header::ALLOW).map(|(_, value)| value);
    let problem =
        response.extensions_mut().remove::<Problem>().unwrap_or_else(|| describe_bare(status, asked, allow));
    log(&problem, asked, trace_id);
    let code = problem.code();
    let mut rendered = problem.render(trace_id);
    rendered.headers_mut().extend(kept.into_iter().flatten());
    (rendered, code)
}

/// A problem for a status that a layer below answered with on its own: routing, the documentation's
/// files. Never repeats the path: it may hold what does not belong in a log.
fn describe_bare(status: StatusCode, asked: &Asked<'_>, allow: Option<&HeaderValue>) -> Problem {
    let code = Code::of_status(status);
    match code {
        Code::RouteNotFound => match (asked.nearest)() {
            Some(route) => Problem::new(
                code,
                format!("No route has this path; did you mean {route}? /api/docs lists all of them."),
            ),
            None => Problem::new(code, "No route has this path. /api/docs lists all of them."),
        },
        Code::MethodNotAllowed => {
            let allowed = allow.and_then(|allow| allow.to_str().ok()).unwrap_or("another method");
            let allowed = allowed.replace(',', ", ");
            let method = echo(asked.method.as_str());
            Problem::new(code, format!("This route does not take {method}; use {allowed}."))
        }
        Code::Internal => Problem::internal(format!("a layer answered {status} without a problem")),
        _ => Problem::new(code, code.definition().remedy),
    }
}

/// Server faults are the operator's business, client faults the client's: those only at debug.
fn log(problem: &Problem, asked: &Asked<'_>, trace_id: TraceId) {
    let Asked { method, route, .. } = asked;
    let definition = problem.code().definition();
    let code = definition.name;
    let cause = problem.cause().unwrap_or(definition.title);
    if problem.code() == Code::Internal {
        tracing::error!(%trace_id, %method, route, code, cause, "request failed");
    } else if definition.status.is_server_error() {
        tracing::warn!(%trace_id, %method, route, code, cause, "request could not be served");
    } else {
        tracing::debug!(%trace_id, %method, route, code, cause, "request refused");
    }
}

fn finish_headers(response: &mut Response, trace_id: TraceId) {
    let headers = response.headers_mut();
    for (name, value) in COMMON_HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if let Ok(value) = HeaderValue::from_str(&trace_id.to_string()) {
        headers.insert(TRACE_HEADER, value);
    }
}

/// One of a bounded set: a client can invent methods.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        Method::TRACE => "TRACE",
        Method::CONNECT => "CONNECT",
        _ => OTHER_METHOD,
    }
}
