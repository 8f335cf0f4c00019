//! Opening a session for a browser, looking at it, closing it.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{AppendHeaders, IntoResponse, Response};
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use kelly_auth::{Accounts, Identity};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::caller::Caller;
use crate::guard::IsEncrypted;
use crate::openapi::{PlainProblems, SignInProblems};
use crate::parameters::Parameters;
use crate::ports::Proof;
use crate::problem::Problem;
use crate::routes::json_body;
use crate::shares::Kind;
use crate::sign_in::{limited, refused};
use crate::state::HandlerState;

/// What a session is opened with: one of the two.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum SignIn {
    /// With a sign-in link.
    Code(SignInCode),
    /// With a token.
    Token(SignInToken),
}

/// A sign-in link.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignInCode {
    /// What stands behind `#sign-in=` in the link.
    code: String,
}

/// A token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignInToken {
    /// The token itself.
    token: String,
}

/// Who is signed in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SignedIn {
    /// Who issued the token that the user signed in with.
    #[schema(example = "kelly")]
    issuer: String,
    /// The user: unique within the issuer.
    #[schema(example = "owner")]
    subject: String,
    /// What they are.
    #[schema(example = json!(["admin"]))]
    roles: Vec<&'static str>,
    /// The accounts they are limited to; null for all.
    accounts: Option<Vec<String>>,
    /// When the session or the token ends; null when authentication is off.
    expires_at: Option<DateTime<Utc>>,
}

/// Nobody is signed in any more.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SignedOut {
    /// Always false.
    #[schema(example = false)]
    signed_in: bool,
    /// Whether that is on disk. Where not, it is this instance's own and ends with it.
    kept: bool,
}

impl From<&Identity> for SignedIn {
    fn from(caller: &Identity) -> Self {
        let accounts = match &caller.accounts {
            Accounts::All => None,
            Accounts::Only(accounts) => Some(accounts.iter().map(ToString::to_string).collect()),
        };
        Self {
            issuer: caller.issuer.to_string(),
            subject: caller.subject.to_string(),
            roles: caller.roles.iter().map(kelly_auth::Role::as_str).collect(),
            accounts,
            expires_at: caller.expires_at.and_then(|end| DateTime::from_timestamp(end, 0)),
        }
    }
}

/// How long the body of a sign-in may take: it is short, and whoever sends it is not known yet.
const BODY_TIME: Duration = Duration::from_secs(5);

/// Sign in
///
/// Exchanges the code of a sign-in link, which works once, or a token for a session: a cookie that a browser sends along, and
/// no script can read. The link is `http://…/#sign-in=CODE`: what stands behind `#` never leaves the browser but in this body.
/// With a session, requests that change something must come from a page of this server.
#[utoipa::path(
    post, path = "/api/v1/kelly/sign-in", tag = "sign-in", operation_id = "sign_in",
    request_body(content = SignIn, example = json!({"code": "8c1f0e5b9a7d4c36"})),
    responses(
        (status = 200, description = "Who is signed in; the cookie comes with it.", body = SignedIn),
        SignInProblems,
    )
)]
pub(crate) async fn open(State(shared): State<HandlerState>, request: Request) -> Result<Response, Problem> {
    let is_encrypted = request.extensions().get::<IsEncrypted>().is_some_and(|encrypted| encrypted.0);
    let caller = Caller::of(request.extensions());
    let body_time = BODY_TIME.min(shared.gates.limits().body_timeout);
    let proof: SignIn = json_body::read_of_stranger(request, &shared.gates, body_time).await?;
    let _place = shared.gates.enter(caller.clone(), Kind::SignIns)?;
    let proof = match &proof {
        SignIn::Code(SignInCode { code }) => Proof::Code(code),
        SignIn::Token(SignInToken { token }) => Proof::Token(token),
    };
    let session = match shared.app.authenticate.open_session(proof).await {
        Ok(session) => session,
        Err(reason) => return Err(limited(&shared, &caller, refused(reason)).await),
    };
    let cookie = cookie(&shared, &session.text, session.lasts_seconds, is_encrypted)?;
    Ok((AppendHeaders([(SET_COOKIE, cookie)]), Json(SignedIn::from(&session.identity))).into_response())
}

/// Who is signed in
///
/// Whose the token or the session is that came with the request.
#[utoipa::path(
    get, path = "/api/v1/kelly/sign-in", tag = "sign-in", operation_id = "signed_in",
    responses((status = 200, description = "Who it is.", body = SignedIn), PlainProblems)
)]
pub(crate) async fn show(Extension(caller): Extension<Identity>, _: Parameters<()>) -> Json<SignedIn> {
    Json(SignedIn::from(&caller))
}

/// Sign out
///
/// Ends the session, or the token, that came with the request: from now on this instance refuses it, the token that a session was
/// opened with, and every session of that token, until the token would have ended, also on connections that are open. Other instances
/// know nothing of it: where there are several, an administrator denies in the file of KELLY_AUTH_DENIED, which all of them read.
#[utoipa::path(
    delete, path = "/api/v1/kelly/sign-in", tag = "sign-in", operation_id = "sign_out",
    responses((status = 200, description = "It has ended.", body = SignedOut), PlainProblems)
)]
pub(crate) async fn close(
    State(shared): State<HandlerState>,
    Extension(caller): Extension<Identity>,
    encrypted: Option<Extension<IsEncrypted>>,
    headers: HeaderMap,
    _: Parameters<()>,
) -> Result<Response, Problem> {
    shared
        .app
        .authenticate
        .close(&caller)
        .await
        .map_err(|error| Problem::internal(format!("signing out: {error}")))?;
    let signed_out = Json(SignedOut { signed_in: false, kept: shared.app.access.keeps_denied() });
    let is_encrypted = encrypted.is_some_and(|Extension(encrypted)| encrypted.0);
    match headers.contains_key(axum::http::header::COOKIE) {
        true => {
            let cookie = cookie(&shared, "", 0, is_encrypted)?;
            Ok((AppendHeaders([(SET_COOKIE, cookie)]), signed_out).into_response())
        }
        false => Ok(signed_out.into_response()),
    }
}

/// The cookie: for this server only, out of reach of scripts, and not sent with what pages of other sites ask for.
fn cookie(
    shared: &HandlerState,
    text: &str,
    seconds: i64,
    is_encrypted: bool,
) -> Result<HeaderValue, Problem> {
    let name = &shared.app.settings.door.session_cookie;
    let secure = if is_encrypted { "; Secure" } else { "" };
    let cookie = format!("{name}={text}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    let mut cookie =
        HeaderValue::try_from(cookie).map_err(|_| Problem::internal("a session is no header's value"))?;
    cookie.set_sensitive(true);
    Ok(cookie)
}
