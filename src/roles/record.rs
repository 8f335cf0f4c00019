//! Recording over HTTP: from what the API takes to what ingest's acceptor does, and back.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::Utc;
use kelly_api::rates::RecordingBudget;
use kelly_api::{Accept, Accepted, BodyForm, NotAccepted, RowFault, RowKind, Submission};
use kelly_ingest::accept::{AcceptError, Acceptor, AdmitRows, Arrival, BadRow, Kind};
use kelly_schemas::decode::{Form, without_byte_order_mark};
use kelly_schemas::{Fault, error_chain};
use kelly_stream::LogError;

use crate::metrics::Recorded;

/// [`Accept`] by ingest's acceptor, which checks rows and appends them to the log.
pub struct LogAcceptor {
    acceptor: Acceptor,
    recorded: Arc<Recorded>,
}

impl LogAcceptor {
    /// Over this acceptor. What was recorded is counted.
    pub fn new(acceptor: Acceptor, recorded: Arc<Recorded>) -> Self {
        Self { acceptor, recorded }
    }
}

/// The sender's budget of rows, as the acceptor asks for it.
struct Budgeted(RecordingBudget);

#[async_trait]
impl AdmitRows for Budgeted {
    async fn admit(&self, rows: usize) -> Result<(), Duration> {
        self.0.pay_rows(rows).await
    }
}

/// When a full log is worth another try: ingest or retention make room within seconds.
const RETRY_FULL: Duration = Duration::from_secs(2);

#[async_trait]
impl Accept for LogAcceptor {
    async fn accept(&self, submission: Submission) -> Result<Accepted, NotAccepted> {
        let kind = match submission.kind {
            RowKind::Metrics => Kind::Metrics,
            RowKind::Activity => Kind::Activity,
        };
        let arrival = Arrival {
            now_ms: Utc::now().timestamp_millis(),
            accounts: submission.accounts,
            admission: Arc::new(Budgeted(submission.budget)),
        };
        let (body, bytes) = (&submission.body, submission.body.len());
        let accepted = match submission.form {
            BodyForm::Json => self.acceptor.accept(kind, body, Form::Json, &arrival).await,
            BodyForm::Ndjson => self.acceptor.accept(kind, body, Form::Ndjson, &arrival).await,
            BodyForm::Detect => self.acceptor.accept(kind, body, detect(body), &arrival).await,
            // Of metrics only: the route refuses it for events.
            BodyForm::Arrow => self.acceptor.accept_arrow(body.clone(), arrival).await,
        };
        accepted
            .map(|accepted| Accepted { accepted: accepted.rows as u64, ids: accepted.ids })
            .inspect(|accepted| self.recorded.note(submission.kind, accepted.accepted, bytes))
            .map_err(not_accepted)
    }
}

/// A body that does not say what it is: a first line that is a whole JSON value with more behind it
/// is NDJSON, everything else is one JSON text.
fn detect(body: &[u8]) -> Form {
    let body = without_byte_order_mark(body).trim_ascii();
    let Some(end) = body.iter().position(|byte| *byte == b'\n') else { return Form::Json };
    match serde_json::from_slice::<serde::de::IgnoredAny>(&body[..end]) {
        Ok(_) => Form::Ndjson,
        Err(_) => Form::Json,
    }
}

/// A row too large for any request, where there is one among those reported.
fn too_large_row(bad: &[BadRow]) -> Option<NotAccepted> {
    let row = bad.iter().find(|row| matches!(row.fault, Fault::RowTooLarge { .. }))?;
    let place = match row.line {
        Some(line) => format!("line {line}"),
        None => format!("row {}, counted from 0", row.index),
    };
    Some(NotAccepted::TooLarge { reason: format!("{} ({place})", row.fault) })
}

fn not_accepted(error: AcceptError) -> NotAccepted {
    if let AcceptError::Rows { bad, .. } = &error
        && let Some(too_large) = too_large_row(bad)
    {
        return too_large;
    }
    match error {
        AcceptError::Body(Fault::TooManyRows { limit }) => NotAccepted::TooLarge {
            reason: format!("it has more than {limit} rows; split them over several requests"),
        },
        AcceptError::Body(
            fault @ (Fault::MessageTooLarge { .. }
            | Fault::TextsTooLarge { .. }
            | Fault::DictionaryTooLarge { .. }),
        ) => NotAccepted::TooLarge { reason: fault.to_string() },
        AcceptError::Body(fault) => NotAccepted::Malformed { reason: fault.to_string() },
        AcceptError::Rows { bad, total, .. } => NotAccepted::Refused {
            rows: bad
                .into_iter()
                .map(|row| RowFault {
                    row: u64::from(row.index),
                    line: row.line.map(u64::from),
                    code: row.fault.code().to_owned(),
                    reason: row.fault.to_string(),
                })
                .collect(),
            total: total as u64,
        },
        AcceptError::OverBudget { retry_after } => NotAccepted::OverBudget { retry_after },
        AcceptError::Encoding(error) => NotAccepted::Unavailable { reason: error_chain(&error) },
        AcceptError::BrokenOff(error) => NotAccepted::Unavailable { reason: error_chain(&error) },
        AcceptError::Log(LogError::Full { what }) => {
            NotAccepted::Full { reason: what, retry_after: RETRY_FULL }
        }
        AcceptError::Log(LogError::TooLarge { what, limit, .. }) => NotAccepted::TooLarge {
            reason: format!("the log takes {limit} bytes for {what}; send smaller rows"),
        },
        AcceptError::Log(error @ LogError::Unknown { .. }) => {
            NotAccepted::OutcomeUnknown { reason: error_chain(&error) }
        }
        AcceptError::Log(error) => NotAccepted::Unavailable { reason: error_chain(&error) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_says_nothing_is_recognised() {
        let cases: [(&str, Form); 8] = [
            ("\u{feff}{\"a\":1}\n{\"a\":2}\n", Form::Ndjson),
            ("{\"a\":1}", Form::Json),
            ("{\"a\":1}\n", Form::Json),
            ("{\n\"a\":1\n}", Form::Json),
            ("[{\"a\":1},\n{\"a\":2}]", Form::Json),
            ("{\"a\":1}\n{\"a\":2}\n", Form::Ndjson),
            ("\n {\"a\":1}\r\n\n{\"a\":2}", Form::Ndjson),
            ("", Form::Json),
        ];
        for (body, expected) in cases {
            assert_eq!(detect(body.as_bytes()), expected, "{body:?}");
        }
    }

    #[test]
    fn a_row_too_large_for_any_request_is_no_bad_row() {
        let row = |fault| BadRow { index: 3, line: Some(4), fault };
        let bad = vec![
            row(Fault::MissingField { field: "value" }),
            row(Fault::RowTooLarge { bytes: 2_000_000, limit: 1_048_512 }),
        ];
        let refusal = not_accepted(AcceptError::Rows { bad, total: 2, rows: 9 });
        let expected = "the row has 2000000 bytes, 1048512 are allowed; send a smaller row (line 4)";
        assert!(matches!(refusal, NotAccepted::TooLarge { reason } if reason == expected));
        let refusal = not_accepted(AcceptError::Body(Fault::TooManyRows { limit: 10_000 }));
        let expected = "it has more than 10000 rows; split them over several requests";
        assert!(matches!(refusal, NotAccepted::TooLarge { reason } if reason == expected));
    }

    #[test]
    fn faults_of_the_log_keep_their_meaning() {
        let full = AcceptError::Log(LogError::Full { what: "the disk".into() });
        assert!(matches!(not_accepted(full), NotAccepted::Full { reason, .. } if reason == "the disk"));
        let unknown = AcceptError::Log(LogError::Unknown { doing: "append".into(), source: None });
        assert!(matches!(not_accepted(unknown), NotAccepted::OutcomeUnknown { .. }));
        assert!(matches!(not_accepted(AcceptError::Log(LogError::Closed)), NotAccepted::Unavailable { .. }));
    }
}
