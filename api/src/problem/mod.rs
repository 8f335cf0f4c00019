//! Errors as RFC 9457 problem documents. A handler returns a [`Problem`]; the outermost layer
//! ([`crate::edge`]) writes it out with the trace id and logs the internal part, once.

mod codes;

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use kelly_auth::Refusal;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::content_coding;
use crate::ports::RowFault;
use crate::trace::TraceId;

pub use codes::{Code, Definition};

/// Media type of a problem document.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// An error on its way to the client.
#[derive(Debug, Clone)]
pub struct Problem {
    code: Code,
    detail: String,
    errors: Vec<Fault>,
    error_count: Option<u64>,
    retry_after: Option<Duration>,
    internal: Option<String>,
}

impl Problem {
    /// A problem with what the client may read: what was wrong, where, and how to fix it.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            errors: Vec::new(),
            error_count: None,
            retry_after: None,
            internal: None,
        }
    }

    /// A defect: the client learns only that there was one.
    pub fn internal(cause: impl Into<String>) -> Self {
        Self::new(
            Code::Internal,
            "Kelly could not answer because of a defect of its own. The trace_id finds the cause in Kelly's log.",
        )
        .because(cause)
    }

    /// The problem of a caller who is not signed in: what was wrong, and what to do.
    pub(crate) fn not_signed_in(refusal: Refusal) -> Self {
        let code = Code::of_refusal(refusal);
        let (what, remedy) = (refusal.to_string(), code.definition().remedy);
        let mut letters = what.chars();
        let first = letters.next().map(|first| first.to_ascii_uppercase());
        let sentence: String = first.into_iter().chain(letters).collect();
        Self::new(code, format!("{sentence}. {remedy}"))
    }

    /// Its code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The cause, for the operator's log only.
    #[must_use]
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        self.internal = Some(cause.into());
        self
    }

    /// When it is worth trying again; rounded up to whole seconds, at least one.
    #[must_use]
    pub fn retry_after(mut self, pause: Duration) -> Self {
        self.retry_after = Some(pause);
        self
    }

    /// The single faults. `total` when there are more than these.
    #[must_use]
    pub(crate) fn with_errors(mut self, errors: Vec<Fault>, total: Option<u64>) -> Self {
        self.errors = errors;
        self.error_count = total;
        self
    }

    /// What the client reads.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// What stays inside, for the log.
    pub(crate) fn cause(&self) -> Option<&str> {
        self.internal.as_deref()
    }

    /// Writes the document.
    pub(crate) fn render(self, trace_id: TraceId) -> Response {
        let Definition { status, .. } = self.code.definition();
        let (code, retry_after) = (self.code, self.retry_after);
        let document = self.document(trace_id);
        let mut response = match serde_json::to_vec(&document) {
            Ok(body) => (status, Body::from(body)).into_response(),
            // Strings and integers always serialise; an empty body is still a correct status.
            Err(_) => status.into_response(),
        };
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if status == StatusCode::UNAUTHORIZED {
            // RFC 6750, 3: who sent nothing learns the scheme only.
            let challenge = match code {
                Code::NotSignedIn => "Bearer realm=\"kelly\"",
                _ => "Bearer realm=\"kelly\", error=\"invalid_token\"",
            };
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if code == Code::UnsupportedContentEncoding {
            // RFC 9110, 15.5.16.
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(content_coding::TAKEN));
        }
        if let Some(pause) = retry_after {
            let seconds = pause.as_secs() + u64::from(pause.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response
    }

    fn document(self, trace_id: TraceId) -> ProblemDocument {
        let Definition { name, status, title, .. } = self.code.definition();
        ProblemDocument {
            kind: format!("/api/problems/{name}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: self.detail,
            code: name.to_owned(),
            trace_id: trace_id.to_string(),
            errors: self.errors,
            error_count: self.error_count,
        }
    }
}

/// A bare status with the problem beside it; the outermost layer writes the document.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = StatusCode::into_response(self.code.definition().status);
        response.extensions_mut().insert(self);
        response
    }
}

/// An error (RFC 9457, `application/problem+json`).
#[derive(Debug, Serialize, ToSchema)]
pub struct ProblemDocument {
    /// A URI reference that identifies the kind of problem and tells about it when fetched.
    #[serde(rename = "type")]
    #[schema(example = "/api/problems/invalid_parameter")]
    pub kind: String,
    /// The kind of problem in a few words, the same each time.
    #[schema(example = "A parameter is wrong")]
    pub title: String,
    /// The HTTP status.
    #[schema(example = 400, minimum = 400, maximum = 599)]
    pub status: u16,
    /// What was wrong this time, where, and how to fix it.
    pub detail: String,
    /// The stable code to branch on; `/api/problems` lists all of them.
    #[schema(example = "invalid_parameter")]
    pub code: String,
    /// The id of this request in Kelly's log; also in the header `x-trace-id`.
    #[schema(example = "0198f3c2a4b77e21b0c3d9a1f2e4c6d8", pattern = "^[0-9a-f]{32}$")]
    pub trace_id: String,
    /// The single faults, when there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
    /// How many faults there are in all, when `errors` may not hold every one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_count: Option<u64>,
}

/// One thing to fix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Fault {
    /// In a row of the body.
    Row(RowFault),
    /// In what the request asks for at once.
    Limit(LimitFault),
    /// In a parameter of the request.
    Parameter(ParameterFault),
    /// In a part of the process.
    Part(PartFault),
    /// Somebody else was first.
    Conflict(ConflictFault),
    /// A command of which it is not known whether it is done.
    Command(CommandFault),
    /// In a rule.
    Rule(RuleFault),
    /// Why something cannot be decided so.
    Refusal(RefusalFault),
}

/// A wrong query or path parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ParameterFault {
    /// Its name.
    #[schema(example = "timeframe")]
    pub parameter: String,
    /// What was wrong and what is allowed.
    #[schema(example = "`2h` is not a timeframe; use 1h, 6h, 24h, 7d or 30d")]
    pub reason: String,
}

/// A question that asks for more than one answer holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LimitFault {
    /// The parameter that asks for too much.
    #[schema(example = "top")]
    pub parameter: String,
    /// What is counted.
    #[schema(example = "groups")]
    pub unit: String,
    /// How many were asked for.
    #[schema(example = 500)]
    pub asked: u64,
    /// How many are allowed.
    #[schema(example = 100)]
    pub allowed: u64,
    /// The nearest question that is allowed.
    #[schema(example = "ask with top=100: `remainder` sums up the others")]
    pub alternative: String,
}

/// A part that is not ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PartFault {
    /// Its name.
    #[schema(example = "store")]
    pub part: String,
}

/// Who was first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ConflictFault {
    /// Who.
    #[schema(example = "ada")]
    pub by: String,
    /// `person`, `rule`, `evaluator`, `worker` or `system`.
    #[schema(example = "person")]
    pub by_kind: String,
    /// Since when.
    pub since: DateTime<Utc>,
    /// What they did: `acknowledged`, `resolved` or `changed`.
    #[schema(example = "acknowledged")]
    pub what: String,
    /// The version in force: with it as `expected` the command can be put again.
    #[schema(example = 17)]
    pub version: u64,
}

/// A command whose outcome is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct CommandFault {
    /// Its id.
    pub command_id: Uuid,
    /// Where to ask for it.
    #[schema(example = "/api/v1/kelly/commands/0198f3c2-a4b7-7e21-b0c3-d9a1f2e4c6d8")]
    pub status_url: String,
}

/// What is wrong with a rule, or doubtful in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RuleFault {
    /// The rule.
    #[schema(example = "slow_answers")]
    pub rule: String,
    /// The field.
    #[schema(example = "window")]
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
    /// What to do about it.
    pub fix: String,
}

/// Why something cannot be decided so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RefusalFault {
    /// A word for it that does not change.
    #[schema(example = "not_resolved")]
    pub refusal: String,
}
