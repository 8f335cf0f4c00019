//! What the HTTP interface asks of the rest: acceptance over ingest's door, and how the parts are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::Utc;
use kelly_api::{
    Accept, Accepted, BodyForm, Health, NotAccepted, Part, PartStatus, RowFault, RowKind, Submission,
};
use kelly_ingest::PartitionPosition;
use kelly_ingest::accept::{AcceptError, Acceptor, BadRow, Kind};
use kelly_schemas::decode::{Form, without_byte_order_mark};
use kelly_schemas::{Fault, error_chain};
use kelly_sql::Store;
use kelly_stream::{Log, LogError, LogKind};
use serde_json::json;

use super::progress::Progress;

/// [`Accept`] over the door of ingest.
pub struct Door {
    acceptor: Acceptor,
}

impl Door {
    /// A door to this log.
    pub fn new(acceptor: Acceptor) -> Self {
        Self { acceptor }
    }
}

/// When a full log is worth another try: ingest or retention make room within seconds.
const RETRY_FULL: Duration = Duration::from_secs(2);

#[async_trait]
impl Accept for Door {
    async fn accept(&self, submission: Submission) -> Result<Accepted, NotAccepted> {
        let kind = match submission.kind {
            RowKind::Metrics => Kind::Metrics,
            RowKind::Activity => Kind::Activity,
        };
        let now_ms = Utc::now().timestamp_millis();
        let body = &submission.body;
        let accepted = match submission.form {
            BodyForm::Json => self.acceptor.accept(kind, body, Form::Json, now_ms).await,
            BodyForm::Ndjson => self.acceptor.accept(kind, body, Form::Ndjson, now_ms).await,
            BodyForm::Detect => self.acceptor.accept(kind, body, detect(body), now_ms).await,
            // Of metrics only: the route refuses it for events.
            BodyForm::Arrow => self.acceptor.accept_arrow(body.clone(), now_ms).await,
        };
        accepted
            .map(|accepted| Accepted { accepted: accepted.rows as u64, ids: accepted.ids })
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

/// [`Health`] of the parts a role has.
pub struct Parts {
    /// The log.
    pub log: Arc<dyn Log>,
    /// The store.
    pub store: Store,
    /// Ingest, where this process has it.
    pub ingest: Option<Arc<Progress>>,
    log_trouble: Trouble,
    store_trouble: Trouble,
}

/// Whether a part was in trouble when it was last looked at: checks are frequent, their news are not.
struct Trouble {
    part: &'static str,
    is_on: AtomicBool,
}

impl Trouble {
    fn new(part: &'static str) -> Self {
        Self { part, is_on: AtomicBool::new(false) }
    }

    /// Logs the trouble when it begins and when it is over. True when it did.
    fn note(&self, error: Option<&dyn std::error::Error>) -> bool {
        let is_news = self.is_on.swap(error.is_some(), Ordering::Relaxed) != error.is_some();
        match error {
            Some(error) if is_news => {
                tracing::warn!(part = self.part, error = error_chain(error), "a part of Kelly is in trouble");
            }
            None if is_news => tracing::info!(part = self.part, "the trouble is over"),
            _ => {}
        }
        is_news
    }
}

/// What `/health` says of the log. A full disk is named, since only the operator can mend it.
fn log_summary(kind: LogKind, outcome: Result<&(), &LogError>) -> Result<String, String> {
    match outcome {
        Ok(()) => Ok(format!("{kind} answers")),
        Err(LogError::Full { what }) => Err(format!("{kind} takes nothing: {what}")),
        Err(_) => Err(format!("{kind} does not answer; Kelly's own log says why")),
    }
}

/// Lag above which ingest is told to be behind. A burst of this size is gone within a second or two.
const LAG_WORTH_TELLING: u64 = 1_000_000;

#[async_trait]
impl Health for Parts {
    async fn parts(&self) -> Vec<Part> {
        let (log, store, ingest) = tokio::join!(self.log(), self.store(), self.ingest());
        [Some(log), Some(store), ingest].into_iter().flatten().collect()
    }
}

impl Parts {
    /// The parts of a role.
    pub fn new(log: Arc<dyn Log>, store: Store, ingest: Option<Arc<Progress>>) -> Self {
        let (log_trouble, store_trouble) = (Trouble::new("log"), Trouble::new("store"));
        Self { log, store, ingest, log_trouble, store_trouble }
    }

    /// Looks at the log once, so that trouble which is there from the start is told then.
    pub async fn look(&self) {
        self.log().await;
    }

    async fn log(&self) -> Part {
        let began = Instant::now();
        let outcome = self.log.check().await;
        self.log_trouble.note(outcome.as_ref().err().map(|error| error as _));
        part("log", began, log_summary(self.log.kind(), outcome.as_ref()))
    }

    async fn store(&self) -> Part {
        let began = Instant::now();
        let outcome = self.store.version().await;
        self.store_trouble.note(outcome.as_ref().err().map(|error| error as _));
        part(
            "store",
            began,
            match outcome {
                Ok(version) => Ok(format!("ClickHouse {version} answers")),
                Err(_) => Err("ClickHouse does not answer; recording still works, queries do not".to_owned()),
            },
        )
    }

    async fn ingest(&self) -> Option<Part> {
        let progress = self.ingest.as_ref()?;
        let counts = progress.counts();
        let positions = progress.positions().await;
        let lag =
            positions.as_ref().map(|positions| positions.iter().map(PartitionPosition::behind).sum::<u64>());
        let (status, summary) = if progress.has_ended() {
            (PartStatus::Down, "ingest ended; restart Kelly, its log says why".to_owned())
        } else if counts.last_error.is_some() {
            (PartStatus::Degraded, "the store does not take rows now; they wait on the log".to_owned())
        } else if counts.lost > 0 {
            let told = "the log's retention removed records before they were read: give it more room";
            (PartStatus::Degraded, told.to_owned())
        } else {
            match &lag {
                Ok(lag) if *lag > LAG_WORTH_TELLING => {
                    (PartStatus::Degraded, format!("{lag} records behind, catching up"))
                }
                Ok(lag) => (PartStatus::Healthy, format!("{lag} records behind")),
                Err(_) => (PartStatus::Degraded, "the log does not tell how far ingest is".to_owned()),
            }
        };
        let mut details = BTreeMap::from([
            ("rows".to_owned(), json!(counts.rows)),
            ("batches".to_owned(), json!(counts.batches)),
            ("dead_letters".to_owned(), json!(counts.dead_letters)),
            ("retries".to_owned(), json!(counts.retries)),
            ("lost_records".to_owned(), json!(counts.lost)),
            ("buffered_bytes".to_owned(), json!(counts.buffered_bytes)),
            ("partitions".to_owned(), json!(counts.partitions)),
        ]);
        if let Ok(lag) = lag {
            details.insert("lag".to_owned(), json!(lag));
        }
        if let Ok(positions) = &positions {
            let told = positions.iter().map(|position| {
                json!({
                    "topic": position.stream.topic(),
                    "partition": position.partition,
                    "low": position.low,
                    "high": position.high,
                    "committed": position.committed,
                })
            });
            details.insert("positions".to_owned(), told.collect());
        }
        if let Some(written) = counts.last_written_ms {
            details.insert("last_written_ms".to_owned(), json!(written));
        }
        Some(Part { name: "ingest".to_owned(), status, required: true, summary, details })
    }
}

fn part(name: &str, began: Instant, outcome: Result<String, String>) -> Part {
    let latency_ms = (began.elapsed().as_secs_f64() * 1e6).round() / 1e3;
    let (status, summary) = match outcome {
        Ok(summary) => (PartStatus::Healthy, summary),
        Err(summary) => (PartStatus::Down, summary),
    };
    Part {
        name: name.to_owned(),
        status,
        required: true,
        summary,
        details: BTreeMap::from([("latency_ms".to_owned(), json!(latency_ms))]),
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
        let told = not_accepted(AcceptError::Rows { bad, total: 2, rows: 9 });
        let expected = "the row has 2000000 bytes, 1048512 are allowed; send a smaller row (line 4)";
        assert!(matches!(told, NotAccepted::TooLarge { reason } if reason == expected));
        let told = not_accepted(AcceptError::Body(Fault::TooManyRows { limit: 10_000 }));
        let expected = "it has more than 10000 rows; split them over several requests";
        assert!(matches!(told, NotAccepted::TooLarge { reason } if reason == expected));
    }

    #[test]
    fn a_full_disk_is_named_and_logged_when_it_begins_and_ends() {
        let full = LogError::Full { what: "the disk is nearly full: 3 MiB left".into() };
        let told = log_summary(LogKind::Embedded, Err(&full)).unwrap_err();
        assert_eq!(told, "embedded log takes nothing: the disk is nearly full: 3 MiB left");
        let told = log_summary(LogKind::ApacheKafka, Err(&LogError::Closed)).unwrap_err();
        assert!(told.contains("Kelly's own log says why"), "{told}");
        let trouble = Trouble::new("log");
        let news: Vec<bool> =
            [None, Some(&full), Some(&full), None].map(|error| trouble.note(error.map(|e| e as _))).into();
        assert_eq!(news, [false, true, false, true]);
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
