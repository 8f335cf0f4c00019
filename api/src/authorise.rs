//! Whether a caller may use a route at all, and has budget left for it: the layer around all routes. It denies by default: what the table does not have is
//! not answered, and who has no role with the permission is told which one is missing. Which accounts a caller sees is for the
//! question to say.

use std::num::NonZeroU32;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use kelly_auth::{Identity, NotPermitted, Permission};

use crate::access::{Access, Found, RouteTable};
use crate::caller::identity_of;
use crate::problem::{Code, Problem};
use crate::rates::{Budget, Charged, Use, pay, payer, whose};
use crate::state::HandlerState;

/// The layer; it stands behind routing and before everything a route does.
pub(crate) async fn authorise(
    shared: &HandlerState,
    request: Request,
    next: impl AsyncFnOnce(Request) -> Response,
) -> Response {
    // What is refused costs too: who asks for what they may not do pays for asking.
    let mut charged = None;
    if let Some((budget, whose)) = payer_of(shared, &request) {
        let wanted = Use { budget, whose: &whose, amount: NonZeroU32::MIN };
        let taken = pay(&*shared.app.counts, wanted).await;
        if let Err(problem) = taken.check() {
            return noted(shared, problem.into_response(), Some(taken));
        }
        charged = Some(taken);
    }
    let response = match refusal(&shared.routes, &request) {
        None => next(request).await,
        Some(refusal) => refusal,
    };
    noted(shared, response, charged)
}

/// Whose budget a request is taken from, and which, where its route has one.
fn payer_of(shared: &HandlerState, request: &Request) -> Option<(Budget, String)> {
    let caller = request.extensions().get::<Identity>()?;
    let path = request.extensions().get::<MatchedPath>();
    let budget = match path.map(|path| shared.routes.find(path.as_str(), request.method())) {
        Some(Found::Route(Access::Open)) => None,
        // Who may not record pays for asking, as for every other request.
        Some(Found::Route(Access::Needs(permission))) if caller.may(permission).is_ok() => payer(permission),
        _ => Some(Budget::Requests),
    };
    Some((budget?, whose(caller)))
}

fn noted(shared: &HandlerState, mut response: Response, charged: Option<Charged>) -> Response {
    if let Some(charged) = charged {
        charged.note_on(response.headers_mut(), &shared.gates.limits().quotas);
    }
    response
}

/// Why a request goes no further, if it does not.
fn refusal(routes: &RouteTable, request: &Request) -> Option<Response> {
    let Some(path) = request.extensions().get::<MatchedPath>() else {
        return Some(StatusCode::NOT_FOUND.into_response());
    };
    match routes.find(path.as_str(), request.method()) {
        Found::Route(Access::Open) => None,
        Found::Route(Access::Needs(permission)) => {
            let identity = identity_of(request.extensions());
            let permitted = identity.and_then(|identity| permit(&identity, permission));
            permitted.err().map(IntoResponse::into_response)
        }
        Found::OtherMethods(allow) => Some(method_not_allowed(&allow)),
        Found::Nothing => Some(
            Problem::internal("a route that is not in the table of routes was asked for").into_response(),
        ),
    }
}

fn permit(identity: &Identity, permission: Permission) -> Result<(), Problem> {
    identity.may(permission).map_err(|reason| {
        let row = permission.row();
        let roles: Vec<&str> = row.roles.iter().map(kelly_auth::Role::as_str).collect();
        let detail = match reason {
            NotPermitted::Role => format!(
                "This needs the permission to {}, and none of your roles has it. These have: {}.",
                row.name,
                roles.join(", ")
            ),
            NotPermitted::System => format!(
                "This needs the permission to {}, which is about all accounts together; your token is limited to some.",
                row.name
            ),
        };
        Problem::new(Code::NotPermitted, detail)
    })
}

fn method_not_allowed(allow: &str) -> Response {
    let mut response = StatusCode::METHOD_NOT_ALLOWED.into_response();
    if let Ok(allow) = HeaderValue::from_str(allow) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::Router;
    use axum::body::Body;
    use axum::http::Method;
    use axum::middleware::{Next, from_fn};
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    /// However it came into the router.
    #[tokio::test]
    async fn a_route_that_is_not_listed_is_not_answered() {
        let mut routes = RouteTable::default();
        routes.add(Method::GET, "/listed", Access::Open);
        let routes = Arc::new(routes);
        let layer = move |request: Request, next: Next| {
            let refusal = refusal(&routes, &request);
            async move { if let Some(refusal) = refusal { refusal } else { next.run(request).await } }
        };
        let page = || get(|| async { "answered" }).post(|| async { "answered" });
        let router = Router::new()
            .route("/listed", page())
            .route("/stray", page())
            .fallback(|| async { "answered" })
            .layer(from_fn(layer));
        for (method, path, status) in [
            ("GET", "/listed", 200),
            ("HEAD", "/listed", 200),
            ("POST", "/listed", 405),
            ("GET", "/stray", 500),
            ("GET", "/nowhere", 404),
        ] {
            let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
            let response = router.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status().as_u16(), status, "{method} {path}");
        }
    }
}
