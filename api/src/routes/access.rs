//! Taking access away, and giving out sign-in links.

use axum::extract::{Request, State};
use axum::{Extension, Json};
use chrono::{DateTime, Utc};
use kelly_auth::{DeniedLine, Identity, Target};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::openapi::{AccessProblems, PlainProblems};
use crate::parameters::Parameters;
use crate::ports::NotKept;
use crate::problem::{Code, Problem};
use crate::routes::json_body;
use crate::state::HandlerState;

/// A token or a user.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum DeniedEntry {
    /// One token, and sessions that were opened with it.
    Token(DeniedToken),
    /// Every token of a user.
    User(DeniedUser),
}

/// A token that is refused.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeniedToken {
    /// Its id, of at most 256 bytes.
    #[schema(
        min_length = 1,
        max_length = 256,
        pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$",
        example = "0198f3c2-a4b7-8e21-b0c3-d9a1f2e4c6d8"
    )]
    jti: String,
    /// The issuer of that token, of at most 256 bytes; without it the token of this id of every issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(
        min_length = 1,
        max_length = 256,
        pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$",
        example = "kelly"
    )]
    iss: Option<String>,
    /// When it ends; without it never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<DateTime<Utc>>,
}

/// A user who is refused.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeniedUser {
    /// The user, of at most 256 bytes.
    #[schema(
        min_length = 1,
        max_length = 256,
        pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$",
        example = "bob"
    )]
    sub: String,
    /// The issuer of that user, of at most 256 bytes; without it the user of this name of every issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(
        min_length = 1,
        max_length = 256,
        pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$",
        example = "kelly"
    )]
    iss: Option<String>,
    /// When it ends; without it never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<DateTime<Utc>>,
}

impl DeniedEntry {
    /// Of a target and when it ends.
    fn of(target: &Target, until: Option<i64>) -> Self {
        let until = until.and_then(|until| DateTime::from_timestamp(until, 0));
        match target {
            Target::Token { issuer, id } => Self::Token(DeniedToken {
                jti: id.to_string(),
                iss: issuer.as_ref().map(ToString::to_string),
                until,
            }),
            Target::User { issuer, subject } => Self::User(DeniedUser {
                sub: subject.to_string(),
                iss: issuer.as_ref().map(ToString::to_string),
                until,
            }),
        }
    }

    /// The same as a line of a list.
    fn into_line(self) -> DeniedLine {
        match self {
            Self::Token(DeniedToken { jti, iss, until }) => {
                let until = until.map(|until| until.timestamp());
                DeniedLine { jti: Some(jti), sub: None, iss, until }
            }
            Self::User(DeniedUser { sub, iss, until }) => {
                let until = until.map(|until| until.timestamp());
                DeniedLine { jti: None, sub: Some(sub), iss, until }
            }
        }
    }
}

/// What is denied by requests.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeniedList {
    /// The entries.
    entries: Vec<DeniedEntry>,
    /// Whether they are on disk. Where not, they are this instance's own and end with it.
    kept: bool,
}

/// It is in force.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DenyOutcome {
    /// Whether there is such an entry now.
    denied: bool,
    /// Whether something changed.
    changed: bool,
    /// Whether that is on disk. Where not, it is this instance's own and ends with it.
    kept: bool,
}

/// A link with which somebody signs in.
#[derive(Serialize, ToSchema)]
pub(crate) struct SignInLink {
    /// What stands behind `/#sign-in=` of the start page. It works once.
    code: String,
    /// Seconds it works for.
    #[schema(example = 900)]
    lasts_seconds: u64,
}

/// Make a sign-in link
///
/// For a browser: who opens it is signed in as whoever made it, until their token or session would have ended.
#[utoipa::path(
    post, path = "/api/v1/kelly/sign-in/links", tag = "sign-in", operation_id = "new_sign_in_link",
    responses((status = 200, description = "The code of the link.", body = SignInLink), AccessProblems)
)]
pub(crate) async fn new_link(
    State(shared): State<HandlerState>,
    Extension(caller): Extension<Identity>,
    _: Parameters<()>,
) -> Result<Json<SignInLink>, Problem> {
    let link = shared.app.access.new_link(&caller).map_err(refused)?;
    Ok(Json(SignInLink { code: link.code, lasts_seconds: link.lasts.as_secs() }))
}

/// What is denied
///
/// The tokens and users that were denied by requests to this instance. Those of the configured file are not among them.
#[utoipa::path(
    get, path = "/api/v1/kelly/access/denied", tag = "access", operation_id = "denied",
    responses((status = 200, description = "The entries.", body = DeniedList), PlainProblems)
)]
pub(crate) async fn denied(State(shared): State<HandlerState>, _: Parameters<()>) -> Json<DeniedList> {
    let mut entries: Vec<_> = shared.app.access.denied().iter().collect();
    entries.sort();
    let entries = entries.into_iter().map(|(target, until)| DeniedEntry::of(&target, until));
    Json(DeniedList { entries: entries.collect(), kept: shared.app.access.keeps_denied() })
}

/// Deny
///
/// From now on the token, or every token of the user, is refused here, also on connections that are open. With several
/// instances each has its own list: deny in the file of KELLY_AUTH_DENIED, which all of them read.
#[utoipa::path(
    post, path = "/api/v1/kelly/access/denied", tag = "access", operation_id = "deny",
    request_body(content = DeniedEntry, example = json!({"sub": "bob"})),
    responses((status = 200, description = "It is in force.", body = DenyOutcome), AccessProblems)
)]
pub(crate) async fn deny(
    State(shared): State<HandlerState>,
    request: Request,
) -> Result<Json<DenyOutcome>, Problem> {
    let (target, until) = entry(&shared, request).await?;
    shared.app.access.deny(target, until).await.map_err(refused)?;
    Ok(Json(DenyOutcome { denied: true, changed: true, kept: shared.app.access.keeps_denied() }))
}

/// Allow again
///
/// Takes an entry away that a request made. `until` says nothing here.
#[utoipa::path(
    post, path = "/api/v1/kelly/access/allowed", tag = "access", operation_id = "allow",
    request_body(content = DeniedEntry, example = json!({"sub": "bob"})),
    responses((status = 200, description = "There is no such entry any more.", body = DenyOutcome), AccessProblems)
)]
pub(crate) async fn allow(
    State(shared): State<HandlerState>,
    request: Request,
) -> Result<Json<DenyOutcome>, Problem> {
    let (target, _) = entry(&shared, request).await?;
    let changed = shared.app.access.allow(&target).await.map_err(refused)?;
    Ok(Json(DenyOutcome { denied: false, changed, kept: shared.app.access.keeps_denied() }))
}

async fn entry(shared: &HandlerState, request: Request) -> Result<(Target, Option<i64>), Problem> {
    let entry: DeniedEntry =
        json_body::read(request, &shared.gates, shared.gates.limits().body_timeout).await?;
    let line = entry.into_line();
    let target = line.target().ok_or_else(|| {
        Problem::new(
            Code::MalformedBody,
            "Name a token with `jti`, or a user with `sub` (and `iss` for one issuer's): each has 1 to 256 bytes and no control \
             characters.",
        )
    })?;
    Ok((target, line.until))
}

fn refused(reason: NotKept) -> Problem {
    match reason {
        NotKept::Full | NotKept::Off => {
            let what = reason.to_string();
            let remedy = Code::AccessNotChanged.definition().remedy;
            Problem::new(Code::AccessNotChanged, format!("It did not work: {what}. {remedy}"))
        }
        NotKept::Unwritable { reason } => {
            Problem::internal(format!("the deny list cannot be written: {reason}"))
        }
    }
}
