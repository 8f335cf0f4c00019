//! The layer that lets nobody in who is not signed in: it puts the caller's [`Identity`] into the extensions of the request,
//! or answers 401 with one code for each reason.

pub(crate) mod credentials;

use std::num::NonZeroU32;

use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, ORIGIN};
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse, Response};
use kelly_auth::Identity;

use crate::caller::Caller;
use crate::door::Door;
use crate::ports::{Credentials, NotSignedIn};
use crate::problem::{Code, Problem};
use crate::rates::{Budget, Use, pay};
use crate::state::HandlerState;

/// A header that no page of another origin can send without asking first, and nobody answers that.
pub(crate) const REQUEST_HEADER: &str = "kelly-request";

/// The layer.
pub(crate) async fn sign_in(
    shared: &HandlerState,
    mut request: Request,
    next: impl AsyncFnOnce(Request) -> Response,
) -> Response {
    // Open routes have no parameters, so their templates are their paths: probes, the exchange, and the files with which a
    // browser signs in. No data is among it.
    if shared.routes.is_open(request.uri().path(), request.method()) {
        return next(request).await;
    }
    match identify(shared, request.method(), request.headers()).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next(request).await
        }
        Err(problem) => limited(shared, &Caller::of(request.extensions()), problem).await.into_response(),
    }
}

/// The problem of a sign-in that failed, or after too many of them from one address, that one. Who is signed in is not
/// touched, whoever shares the address; nothing brought along is no attempt.
pub(crate) async fn limited(shared: &HandlerState, caller: &Caller, problem: Problem) -> Problem {
    let Caller::Address(address) = caller else { return problem };
    if problem.code() == Code::NotSignedIn || !problem.code().definition().status.is_client_error() {
        return problem;
    }
    let whose = address.to_string();
    let wanted = Use { budget: Budget::FailedSignIns, whose: &whose, amount: NonZeroU32::MIN };
    pay(&*shared.app.counts, wanted).await.check().err().unwrap_or(problem)
}

/// Whose the request is.
async fn identify(shared: &HandlerState, method: &Method, headers: &HeaderMap) -> Result<Identity, Problem> {
    let door = &shared.app.settings.door;
    let found = credentials::of_request(headers, &door.session_cookie).map_err(Problem::not_signed_in)?;
    if matches!(found, Credentials::Session(_)) {
        check_page(door, method, headers)?;
    }
    shared.app.authenticate.identify(found).await.map_err(refused)
}

/// What a client is told who is not signed in.
pub(crate) fn refused(reason: NotSignedIn) -> Problem {
    match reason {
        NotSignedIn::Refused(refusal) => Problem::not_signed_in(refusal),
        NotSignedIn::SessionTooLarge(_) => {
            Problem::new(Code::SessionTooLarge, Code::SessionTooLarge.definition().remedy)
        }
        NotSignedIn::KeysUnavailable { retry_after } => {
            let remedy = Code::KeysUnavailable.definition().remedy;
            Problem::new(Code::KeysUnavailable, remedy).retry_after(retry_after)
        }
    }
}

/// A browser sends its cookie with whatever a page makes it send. So a session changes something, or opens a socket, only
/// where the browser says that the page is one of this server (the guard compared Origin before), and only in a form that
/// a page elsewhere cannot send without asking first.
fn check_page(door: &Door, method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    if is_of_another_origin(door, method, headers) {
        return Err(Problem::new(
            Code::OriginNotAllowed,
            "A page of another origin sent this with the session of a browser (Sec-Fetch-Site). Pages of this server may, and \
             whoever follows a link to it; another program sends a token.",
        ));
    }
    let is_upgrade = credentials::is_upgrade(headers);
    let changes = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    if !changes && !is_upgrade {
        return Ok(());
    }
    let says_page = headers.contains_key(ORIGIN)
        || headers.get("sec-fetch-site").is_some_and(|site| site == "same-origin");
    if says_page && (is_upgrade || !is_simple(method, headers)) {
        return Ok(());
    }
    Err(Problem::new(
        Code::OriginNotAllowed,
        format!(
            "With a session, what changes something must come from a page of this server: with Origin or \
             Sec-Fetch-Site, and as JSON or with the header `{REQUEST_HEADER}`. A program sends a token instead."
        ),
    ))
}

/// Whether a page of another origin makes a browser send this, other than by leading it here. Such a page cannot read the answer,
/// and would use up what the user may ask for.
fn is_of_another_origin(door: &Door, method: &Method, headers: &HeaderMap) -> bool {
    let says = |name: &str, values: &[&str]| {
        headers.get(name).is_some_and(|value| values.iter().any(|known| value == known))
    };
    let is_navigation = *method == Method::GET
        && says("sec-fetch-mode", &["navigate"])
        && says("sec-fetch-dest", &["document"]);
    let is_allowed = || {
        headers
            .get(ORIGIN)
            .and_then(|origin| origin.to_str().ok())
            .is_some_and(|origin| door.allows_page(origin))
    };
    says("sec-fetch-site", &["same-site", "cross-site"]) && !is_navigation && !is_allowed()
}

/// Whether any page could make a browser send this without asking first (Fetch: CORS-safelisted).
fn is_simple(method: &Method, headers: &HeaderMap) -> bool {
    const OF_FORMS: [&str; 3] = ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"];
    if *method != Method::POST || headers.contains_key(REQUEST_HEADER) {
        return false;
    }
    let Some(kind) = headers.get(CONTENT_TYPE) else { return true };
    let Ok(kind) = kind.to_str() else { return true };
    let essence = kind.split(';').next().unwrap_or_default().trim();
    OF_FORMS.iter().any(|form| essence.eq_ignore_ascii_case(form))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(method: Method, headers: &[(&'static str, &str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let door = Door { origins: vec!["https://front.example".parse().unwrap()], ..Door::loopback(8_000) };
        check_page(&door, &method, &map).is_ok()
    }

    #[test]
    fn a_session_changes_something_only_from_a_page_of_this_server() {
        let (json, origin) = (("content-type", "application/json"), ("origin", "http://localhost:8000"));
        let (navigate, document) = (("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"));
        assert!(passes(Method::GET, &[]));
        for (method, headers, expected) in [
            (Method::POST, &[][..], false),
            (Method::POST, &[json], false),
            (Method::POST, &[origin], false),
            (Method::POST, &[origin, ("content-type", "text/plain; charset=utf-8")], false),
            (Method::POST, &[origin, ("content-type", "multipart/form-data; boundary=x")], false),
            (Method::POST, &[("sec-fetch-site", "none"), json], false),
            (Method::POST, &[origin, json], true),
            (Method::POST, &[origin, (REQUEST_HEADER, "1")], true),
            (Method::POST, &[("sec-fetch-site", "same-origin"), json], true),
            (Method::DELETE, &[], false),
            (Method::DELETE, &[origin], true),
            (Method::GET, &[("upgrade", "websocket")], false),
            (Method::GET, &[("upgrade", "websocket"), origin], true),
            (Method::GET, &[("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors")], true),
            (Method::GET, &[("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")], true),
            (Method::GET, &[("sec-fetch-site", "same-site"), ("sec-fetch-mode", "no-cors")], false),
            (Method::GET, &[("sec-fetch-site", "cross-site")], false),
            (Method::GET, &[("sec-fetch-site", "same-site"), ("origin", "http://localhost:3000")], false),
            (Method::GET, &[("sec-fetch-site", "cross-site"), ("origin", "https://front.example")], true),
            (Method::HEAD, &[("sec-fetch-site", "same-site"), navigate, document], false),
            (Method::GET, &[("sec-fetch-site", "same-site"), navigate, ("sec-fetch-dest", "iframe")], false),
            (Method::GET, &[("sec-fetch-site", "same-site"), navigate, document], true),
        ] {
            assert_eq!(passes(method.clone(), headers), expected, "{method} {headers:?}");
        }
    }
}
