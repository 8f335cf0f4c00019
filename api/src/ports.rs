//! What the API needs of the rest of the house, as traits the binary implements. The crate itself
//! knows neither the log nor the store, so its tests run on fakes of these.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use kelly_auth::{Accounts, Denied, Identity, Refusal, Session, SessionTooLarge, Target};
use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::problem::Code;
use crate::rates::RecordingBudget;
use crate::trace::TraceContext;

/// Takes rows sent over HTTP and puts them on the log.
#[async_trait]
pub trait Accept: Send + Sync {
    /// Validates every row of the body and, when all are good, appends them. Returns only after the
    /// log has every row durably. Either all rows were taken or none (but see
    /// [`NotAccepted::OutcomeUnknown`]).
    async fn accept(&self, submission: Submission) -> Result<Accepted, NotAccepted>;
}

/// One HTTP body as it came.
#[derive(Debug, Clone)]
pub struct Submission {
    /// What the rows are.
    pub kind: RowKind,
    /// How the rows are laid out.
    pub form: BodyForm,
    /// The accounts that the client may record for; a row of another one, or of none, is a bad row.
    pub accounts: Accounts,
    /// Pays for the rows once they are counted, before any is appended.
    pub budget: RecordingBudget,
    /// The bytes, never more than [`crate::Limits::max_body_bytes`].
    pub body: Bytes,
}

/// What the rows of a [`Submission`] are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowKind {
    /// Metrics.
    Metrics,
    /// Activity events.
    Activity,
}

/// How the rows of a [`Submission`] are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyForm {
    /// The client said JSON: one object, or an array of objects.
    Json,
    /// The client said NDJSON: one object a line.
    Ndjson,
    /// The client said Arrow: an IPC stream, of metrics only.
    Arrow,
    /// The client did not say: an object, an array, or NDJSON, whichever the bytes are.
    Detect,
}

/// Rows that are durable on the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accepted {
    /// How many rows.
    pub accepted: u64,
    /// The id of each row, in the order of the body; empty where the log gives none.
    pub ids: Vec<Uuid>,
}

/// Why nothing of a [`Submission`] was taken.
#[derive(Debug, thiserror::Error)]
pub enum NotAccepted {
    /// The body as a whole cannot be read as rows (not JSON, empty, not UTF-8). The text is shown
    /// to the client: it says what was wrong and where, and never repeats a value.
    #[error("the body is malformed: {reason}")]
    Malformed {
        /// What was wrong and where.
        reason: String,
    },
    /// Some rows are bad.
    #[error("{total} rows are bad")]
    Refused {
        /// The bad rows in order. The API shows at most [`crate::MAX_ROW_FAULTS`] of them.
        rows: Vec<RowFault>,
        /// How many rows are bad; may be more than `rows` holds.
        total: u64,
    },
    /// More rows, or larger ones, than are taken in one request.
    #[error("the body is too large: {reason}")]
    TooLarge {
        /// What is too large, the limit and how to fix it, for the client, without a full stop.
        reason: String,
    },
    /// The client has recorded as many rows as it may for now.
    #[error("the client's budget of rows is used up")]
    OverBudget {
        /// When it is worth trying again.
        retry_after: Duration,
    },
    /// The log has no room now.
    #[error("the log is full: {reason}")]
    Full {
        /// Which bound was reached, for the client: it names no path.
        reason: String,
        /// When it is worth trying again.
        retry_after: Duration,
    },
    /// The log cannot be reached; nothing was written.
    #[error("the log is unavailable: {reason}")]
    Unavailable {
        /// For the operator's log only.
        reason: String,
    },
    /// The append was sent but its end is not known: the rows may or may not be on the log.
    #[error("it is unknown whether the log has the rows: {reason}")]
    OutcomeUnknown {
        /// For the operator's log only.
        reason: String,
    },
}

/// One bad row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RowFault {
    /// Index of the row in the body, from 0.
    #[schema(example = 3)]
    pub row: u64,
    /// Line of an NDJSON body, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 4)]
    pub line: Option<u64>,
    /// Stable code of the fault.
    #[schema(example = "value_not_finite")]
    pub code: String,
    /// What was wrong, in which field, and how to fix it.
    #[schema(example = "value: must be a finite number; send no row for a value that is not known")]
    pub reason: String,
}

/// Tells how the parts of this process are.
#[async_trait]
pub trait Health: Send + Sync {
    /// Looks at every part now. Cheap enough to be polled each second; the API bounds its time
    /// with [`crate::Limits::health_timeout`].
    async fn parts(&self) -> Vec<Part>;
}

/// One part of the process: the log, the store, ingest …
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Part {
    /// Name, e.g. `log`, `store`, `ingest`.
    #[schema(example = "log")]
    pub name: String,
    /// How it is.
    pub status: PartStatus,
    /// Since when, as far as this process has seen: it looks every few seconds.
    pub since: DateTime<Utc>,
    /// Whether the process is of no use without it: `/readyz` fails while a required part is down
    /// or starting.
    pub required: bool,
    /// One sentence for people; when the part is not well, what to do. No secrets, no paths.
    #[schema(example = "embedded log, 2 partitions")]
    pub summary: String,
    /// Figures, e.g. `lag_rows`, `version`, `latency_ms`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = Object, example = json!({"lag_rows": 0}))]
    pub details: BTreeMap<String, serde_json::Value>,
}

/// How a [`Part`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PartStatus {
    /// All is well.
    Healthy,
    /// It works, but something wants attention.
    Degraded,
    /// It is on its way up.
    Starting,
    /// It does not work.
    Down,
}

/// Tells how fast the parts of this process are.
#[async_trait]
pub trait Measure: Send + Sync {
    /// Writing from the log to the store; `None` in a process that does not.
    async fn ingest(&self) -> Option<IngestPerformance>;
}

/// How fast this process writes from the log to the store. What is not known is null.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct IngestPerformance {
    /// Seconds the two rates are of: about a minute, less just after the start.
    pub window_seconds: Option<f64>,
    /// Metrics and events written a second.
    pub rows_per_second: Option<f64>,
    /// Batches written a second.
    pub batches_per_second: Option<f64>,
    /// Metrics and events written since the process started.
    pub rows_since_start: u64,
    /// Rows and messages refused since then.
    pub dead_letters_since_start: u64,
    /// Inserts and commits that had to be tried again since then.
    pub retries_since_start: u64,
    /// Records on the log that are not written yet; null when the log does not tell.
    pub lag_records: Option<u64>,
    /// Seconds since the last write; null before the first.
    pub last_write_age_seconds: Option<f64>,
}

/// What a request brings along to say whose it is.
#[derive(Clone, Copy)]
pub enum Credentials<'a> {
    /// Nothing.
    Nothing,
    /// A bearer token.
    Token(&'a str),
    /// The session of a browser.
    Session(&'a str),
}

/// What a session can be opened with.
#[derive(Clone, Copy)]
pub enum Proof<'a> {
    /// The code of a sign-in link.
    Code(&'a str),
    /// A token.
    Token(&'a str),
}

/// Why nobody is signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotSignedIn {
    /// The credentials are not accepted.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The session would be too large for a cookie.
    #[error(transparent)]
    SessionTooLarge(#[from] SessionTooLarge),
    /// The issuer's keys were never there and cannot be fetched now.
    #[error("the issuer's keys cannot be fetched")]
    KeysUnavailable {
        /// When it is worth trying again.
        retry_after: Duration,
    },
}

/// Why a change of the deny list is not made, or not kept.
#[derive(Debug, thiserror::Error)]
pub enum NotKept {
    /// There is no room.
    #[error("the deny list is full")]
    Full,
    /// Nobody signs in, so nobody can be denied, and no link is of use.
    #[error("authentication is off")]
    Off,
    /// The file cannot be written. What was to be denied is refused until the process ends; what was to be allowed is denied still.
    #[error("the deny list cannot be written: {reason}")]
    Unwritable {
        /// For the operator's log only.
        reason: String,
    },
}

/// Tells whose a request is.
#[async_trait]
pub trait Authenticate: Send + Sync {
    /// Who has these credentials now.
    async fn identify(&self, credentials: Credentials<'_>) -> Result<Identity, NotSignedIn>;

    /// Whether a caller who was signed in still is: not expired and not revoked. For connections that stay open.
    fn recheck(&self, caller: &Identity) -> Result<(), Refusal>;

    /// Changes whenever something was revoked, so that whoever has a connection open looks again.
    fn revoked(&self) -> watch::Receiver<u64>;

    /// Opens a session for a browser.
    async fn open_session(&self, proof: Proof<'_>) -> Result<Session, NotSignedIn>;

    /// Ends the token or the session that a caller is signed in with; in force once this returns.
    async fn close(&self, caller: &Identity) -> Result<(), NotKept>;
}

/// What a deny list and sign-in links are for administrators.
#[async_trait]
pub trait ManageAccess: Send + Sync {
    /// The code of a new sign-in link, with which somebody signs in as this caller. It works once.
    fn new_link(&self, caller: &Identity) -> Result<SignInCode, NotKept>;

    /// What is denied by requests to this process and not by the configured file.
    fn denied(&self) -> Denied;

    /// Denies; in force once this returns.
    async fn deny(&self, target: Target, until: Option<i64>) -> Result<(), NotKept>;

    /// Takes an entry of [`ManageAccess::denied`] away; whether it was there.
    async fn allow(&self, target: &Target) -> Result<bool, NotKept>;

    /// Whether entries outlive this process.
    fn keeps_denied(&self) -> bool;
}

/// The code of a sign-in link.
pub struct SignInCode {
    /// Whoever has it can sign in once.
    pub code: String,
    /// How long it works.
    pub lasts: Duration,
}

/// Sees every request after its answer is ready. Must not block: it runs on the request's path.
pub trait Observe: Send + Sync {
    /// One request.
    fn observe(&self, request: &Observation<'_>);
}

/// Tells Kelly's own metrics, for a Prometheus that asks.
#[async_trait]
pub trait Expose: Send + Sync {
    /// All of them now, as text of this form. What cannot be learned in time is left out.
    async fn metrics(&self, form: MetricsForm) -> String;
}

/// How Kelly's own metrics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricsForm {
    /// OpenMetrics 1.0, with exemplars.
    OpenMetrics,
    /// Prometheus' older text format, 0.0.4, which has no exemplars.
    Prometheus,
}

/// One request, as [`Observe`] sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation<'a> {
    /// The route's template, e.g. `/api/v1/kelly/monitoring/metrics/detailed/{metric_type}`;
    /// [`crate::UNMATCHED_ROUTE`] when none matched. So the set of values is bounded.
    pub route: &'a str,
    /// The method; [`crate::OTHER_METHOD`] for one HTTP does not define.
    pub method: &'static str,
    /// Status of the answer.
    pub status: u16,
    /// The code of the problem, where the answer is one.
    pub code: Option<Code>,
    /// The span of the request.
    pub trace: TraceContext,
    /// When its head was there.
    pub began: SystemTime,
    /// From the request's head to the answer's head.
    pub duration: Duration,
}

impl<'a> Observation<'a> {
    /// A request that began now, under a trace of its own.
    #[must_use]
    pub fn of((method, route): (&'static str, &'a str), status: u16, duration: Duration) -> Self {
        let (trace, began) = (TraceContext::new(), SystemTime::now());
        Self { route, method, status, code: None, trace, began, duration }
    }
}
