//! Recording metrics and activity events over HTTP.

use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use kelly_schemas::decode::{ARROW_STREAM, without_byte_order_mark};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::bodies::{self, BodyBounds};
use crate::caller::identity_of;
use crate::limits::MAX_ROW_FAULTS;
use crate::openapi::{ActivityLines, ActivityRows, MetricLines, MetricRows, RecordProblems};
use crate::ports::{BodyForm, NotAccepted, RowKind, Submission};
use crate::problem::{Code, Fault, Problem};
use crate::rates::{Budget, RecordingBudget, too_many};
use crate::state::HandlerState;

/// The rows are durable on the log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Recorded {
    /// How many rows were taken: all of the body.
    accepted: u64,
    /// The id of each event, in the order of the body. A metric has none: its identity is its place on the log.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ids: Vec<Uuid>,
}

/// An Arrow IPC stream: a schema and record batches. From Python: `pyarrow.ipc.new_stream(sink, table.schema)`.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
pub(crate) struct ArrowStream(#[expect(dead_code, reason = "stands in the document only")] Vec<u8>);

/// What the document says of recording metrics.
const ABOUT_METRICS: &str = "\
One JSON object, an array of objects, or NDJSON (one object a line, `Content-Type:
application/x-ndjson`). Answers 202 only after the log has every row durably; the rows can be
queried a moment later. A body with one bad row is refused whole, and the answer says which rows
are bad and why. Who is limited to accounts records rows of those only. A metric has `metric_name` and `value`, and optionally `metric_type`, `timestamp`
(RFC 3339 or epoch milliseconds; absent means now; `created_at` is another name of it), `account_id`, `conversation_id`, `user_id`,
`metadata` and `id`. Unknown fields go to `metadata`; a name that
is in it too is refused. Conversation text is refused.

Many metrics at once go best as an Arrow IPC stream (`Content-Type: application/vnd.apache.arrow.stream`): a
column each, of the names above without `id`. Text columns are Utf8, LargeUtf8, Utf8View or a dictionary of
Utf8; `value` is a float or an integer; the time is a Timestamp with a time zone, Int64 of epoch
milliseconds, or text in RFC 3339; `metadata` is text, one JSON object. Another column refuses the body.
Such a request has at most 65,536 rows.";

/// What it says of recording events.
const ABOUT_EVENTS: &str = "\
As for metrics. An event has `event_type` and `title`, and optionally `id` (a UUID: the same id
sent twice shows once), `description`, `account_id`, `conversation_id`, `user_id`, `severity`
(low, medium, high, critical; default low), `category` (default general), `created_at`
(or `timestamp`, another name of it) and `metadata`.";

/// What it says of both.
const LIMITS: &str = "\
Limits: a request has at most 10,000 rows and 4 MiB, a row 1 MiB (less 64 bytes), its metadata with the unknown
fields 8 KiB, 16 levels and 64 unknown fields; more than the first three is 413, more metadata 422. A time
lies at most 10 minutes ahead and is at most as old as what is kept (MONITORING_DB_RETENTION_DAYS, 90
days unless configured). A UTF-8 byte order mark in front of the body is skipped.

The body may be compressed: `Content-Encoding: zstd` or `gzip`. The limits, and what is counted as recorded bytes, are of the
body once it is decompressed.";

fn described(about: &str) -> String {
    format!("{about}\n\n{LIMITS}")
}

/// Record metrics
#[utoipa::path(
    post, path = "/api/v1/kelly/monitoring/metrics/record", tag = "recording", operation_id = "record_metrics",
    description = described(ABOUT_METRICS),
    request_body(
        description = "One metric, an array of metrics, NDJSON, or an Arrow IPC stream.",
        content(
            (MetricRows = "application/json", examples(
                ("one" = (summary = "One metric", value = json!({"metric_name": "response_time", "value": 145.2, "account_id": "account123"}))),
                ("array" = (summary = "Several at once", value = json!([
                    {"metric_name": "ai_confidence", "value": 0.85, "conversation_id": "conv456"},
                    {"metric_name": "messages", "value": 1, "account_id": "account123", "metadata": {"channel": "web"}}
                ])))
            )),
            (MetricLines = "application/x-ndjson", example = json!([
                {"metric_name": "response_time", "value": 145.2}, {"metric_name": "response_time", "value": 150.8}
            ])),
            (ArrowStream = "application/vnd.apache.arrow.stream"),
        ),
    ),
    responses(
        (status = 202, description = "Every row is durable on the log.", body = Recorded, example = json!({"accepted": 2})),
        RecordProblems,
    )
)]
pub(crate) async fn metrics(
    State(shared): State<HandlerState>,
    request: Request,
) -> Result<(StatusCode, Json<Recorded>), Problem> {
    record(&shared, RowKind::Metrics, request).await
}

/// Record activity events
#[utoipa::path(
    post, path = "/api/v1/kelly/monitoring/activity/record", tag = "recording",
    operation_id = "record_activity", description = described(ABOUT_EVENTS),
    request_body(
        description = "One event, an array of events, or NDJSON.",
        content(
            (ActivityRows = "application/json", example = json!({
                "event_type": "user_interaction", "title": "User started conversation", "severity": "low",
                "account_id": "account123", "conversation_id": "conv456"
            })),
            (ActivityLines = "application/x-ndjson", example = json!([
                {"event_type": "user_interaction", "title": "User started conversation"}
            ])),
        ),
    ),
    responses((status = 202, description = "Every row is durable on the log.", body = Recorded), RecordProblems)
)]
pub(crate) async fn activity(
    State(shared): State<HandlerState>,
    request: Request,
) -> Result<(StatusCode, Json<Recorded>), Problem> {
    record(&shared, RowKind::Activity, request).await
}

async fn record(
    shared: &HandlerState,
    kind: RowKind,
    request: Request,
) -> Result<(StatusCode, Json<Recorded>), Problem> {
    let limits = shared.gates.limits();
    let caller = identity_of(request.extensions())?;
    let form = body_form(request.headers(), kind)?;
    let bounds = BodyBounds { bytes: limits.max_body_bytes, time: limits.body_timeout };
    let body = bodies::read(request, &shared.gates, bounds).await?;

    let budget = RecordingBudget::of(shared.app.counts.clone(), &caller);
    budget.pay_bytes(body.bytes.len()).await?;

    let form = form_of(form, &body.bytes);
    // The body keeps its room until this ends.
    let submission = Submission { kind, form, accounts: caller.accounts, budget, body: body.bytes.clone() };
    let accepting = shared.app.acceptor.accept(submission);
    match tokio::time::timeout(limits.record_timeout, accepting).await {
        Ok(Ok(accepted)) => {
            let recorded = Recorded { accepted: accepted.accepted, ids: accepted.ids };
            Ok((StatusCode::ACCEPTED, Json(recorded)))
        }
        Ok(Err(refusal)) => Err(refuse(refusal)),
        Err(_) => Err(outcome_unknown("the log did not confirm the rows in time")),
    }
}

/// How the client says its rows are laid out. A media type outside these is refused rather than
/// guessed at: `curl -d` alone sends a form's type, and a guess would hide the mistake.
fn body_form(headers: &HeaderMap, kind: RowKind) -> Result<BodyForm, Problem> {
    let Some(content_type) = headers.get(header::CONTENT_TYPE) else {
        return Ok(BodyForm::Detect);
    };
    let content_type = content_type.to_str().unwrap_or_default().to_ascii_lowercase();
    let mut fields = content_type.split(';').map(str::trim);
    let form = match fields.next() {
        Some("application/json") => BodyForm::Json,
        Some("application/x-ndjson" | "application/ndjson" | "application/jsonl") => BodyForm::Ndjson,
        Some(ARROW_STREAM) if kind == RowKind::Metrics => return Ok(BodyForm::Arrow),
        Some(ARROW_STREAM) => {
            return Err(unsupported(
                "Events are taken as JSON only: send them with `Content-Type: application/json` or \
                 `application/x-ndjson`.",
            ));
        }
        _ => {
            return Err(unsupported(
                "Send the rows with `Content-Type: application/json` (an object or an array) or \
                 `application/x-ndjson` (an object a line), metrics also as \
                 `application/vnd.apache.arrow.stream`. With curl: -H 'content-type: application/json'.",
            ));
        }
    };
    let foreign_charset = fields
        .filter_map(|field| field.strip_prefix("charset="))
        .any(|charset| !matches!(charset.trim_matches('"'), "utf-8" | "utf8"));
    if foreign_charset {
        return Err(unsupported("The body must be in UTF-8."));
    }
    Ok(form)
}

/// Lines that are an array are read as one: the document describes lines as an array, so clients made from it may
/// write one.
fn form_of(said: BodyForm, body: &[u8]) -> BodyForm {
    let is_array = without_byte_order_mark(body).trim_ascii_start().starts_with(b"[");
    match said {
        BodyForm::Ndjson if is_array => BodyForm::Json,
        said => said,
    }
}

fn refuse(refusal: NotAccepted) -> Problem {
    match refusal {
        NotAccepted::Malformed { reason } => Problem::new(
            Code::MalformedBody,
            format!("The body cannot be read: {reason}. Nothing was recorded."),
        ),
        NotAccepted::Refused { mut rows, total } => {
            rows.truncate(MAX_ROW_FAULTS);
            let shown = match (rows.len() as u64) < total {
                true => format!(" `errors` shows the first {}.", rows.len()),
                false => String::new(),
            };
            let noun = if total == 1 { "row is" } else { "rows are" };
            Problem::new(
                Code::RowsRefused,
                format!("{total} {noun} bad, so nothing of the body was recorded.{shown}"),
            )
            .with_errors(rows.into_iter().map(Fault::Row).collect(), Some(total))
        }
        NotAccepted::TooLarge { reason } => {
            Problem::new(Code::BodyTooLarge, format!("The body is refused: {reason}. Nothing was recorded."))
        }
        NotAccepted::OverBudget { retry_after } => too_many(Budget::RecordedRows, retry_after),
        NotAccepted::Full { reason, retry_after } => Problem::new(
            Code::LogFull,
            format!(
                "The log has no room now: {reason}. Nothing was recorded; try again after the seconds \
                 of Retry-After."
            ),
        )
        .retry_after(retry_after),
        NotAccepted::Unavailable { reason } => Problem::new(
            Code::LogUnavailable,
            "The log cannot be reached. Nothing was recorded; keep the rows and send them again.",
        )
        .retry_after(RETRY_UNAVAILABLE)
        .because(reason),
        NotAccepted::OutcomeUnknown { reason } => outcome_unknown(&reason),
    }
}

/// A log that is away is seldom back within a second.
const RETRY_UNAVAILABLE: Duration = Duration::from_secs(5);

fn outcome_unknown(reason: &str) -> Problem {
    Problem::new(
        Code::RecordOutcomeUnknown,
        "The log did not confirm the rows; they may or may not have been recorded. Events with ids \
         of yours can be sent again without harm.",
    )
    .because(reason)
}

fn unsupported(detail: &str) -> Problem {
    Problem::new(Code::UnsupportedMediaType, detail)
}
