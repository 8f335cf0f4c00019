//! From what the log decided to what a client is told.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use kelly_control::{Conflict, Outcome, Recorded, Refusal, SubmitError, Verdict};
use kelly_schemas::error_chain;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::alert_views::time;
use crate::problem::{Code, CommandFault, ConflictFault, Fault, Problem, RefusalFault};

/// A log that is away is seldom back within a second.
const RETRY_UNAVAILABLE: Duration = Duration::from_secs(5);

/// What was decided.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Decided {
    /// The id of the command: the request's `Idempotency-Key`, or one that was made.
    command_id: Uuid,
    /// `applied`, or `unchanged` where it was so already.
    #[schema(value_type = String, example = "applied")]
    verdict: &'static str,
    /// Why nothing changed; null where something did.
    #[schema(value_type = Option<String>)]
    reason: Option<&'static str>,
    /// The version that what was changed has now; null where nothing was.
    version: Option<u64>,
    /// Where on the control log it was decided.
    offset: u64,
    /// When, by the log's clock.
    decided_at: DateTime<Utc>,
}

impl Decided {
    /// Whether something changed.
    pub(crate) fn is_applied(&self) -> bool {
        self.version.is_some()
    }
}

/// What came of a command that was put on the log.
pub(super) fn judged(id: Uuid, outcome: Result<Outcome, SubmitError>) -> Result<Decided, Problem> {
    match outcome {
        Ok(Outcome::Decided(record)) => recorded(id, &record),
        Ok(Outcome::Unknown { id }) => Err(unknown(id)),
        Err(error) => Err(not_sent(&error)),
    }
}

/// What the log has decided about a command.
fn recorded(id: Uuid, record: &Recorded) -> Result<Decided, Problem> {
    let (reason, version) = match &record.verdict {
        Verdict::Applied { version } => (None, Some(*version)),
        // Where it came first is where its verdict is remembered, so it is never this one that is.
        Verdict::Unchanged(_) | Verdict::Duplicate { .. } => (Some(record.verdict.reason()), None),
        Verdict::Conflict(conflict) => return Err(conflict_problem(conflict)),
        Verdict::Refused(refusal) => return Err(refused(*refusal)),
        Verdict::Cancelled { .. } => {
            return Err(Problem::new(
                Code::DecisionTakenBack,
                "The control log did not answer in time, so the command was taken back: it was not done, and will not be. Send \
                 the request again, under another Idempotency-Key.",
            )
            .retry_after(RETRY_UNAVAILABLE));
        }
    };
    Ok(Decided {
        command_id: id,
        verdict: record.verdict.code(),
        reason,
        version,
        offset: record.at.offset,
        decided_at: time(record.at.log_time_ms),
    })
}

/// What is not there, and what the caller may not see, by the same words.
pub(crate) fn not_found(what: &str) -> Problem {
    Problem::new(
        Code::NotFound,
        format!("There is no such {what}, it is forgotten, or it is of an account that you may not see."),
    )
}

fn conflict_problem(conflict: &Conflict) -> Problem {
    let Conflict { by, since_ms, what, version } = conflict;
    let since = time(*since_ms);
    let done = match what {
        kelly_control::Decided::Acknowledged => "acknowledged it",
        kelly_control::Decided::Resolved => "resolved it",
        kelly_control::Decided::Changed => "changed it",
    };
    let detail = format!(
        "{} {done} at {}; its version is {version} now. Nothing was changed. Look at it again; with `expected`: {version} the \
         command is made for what it is now.",
        by.id,
        since.to_rfc3339_opts(SecondsFormat::Secs, true)
    );
    let fault = ConflictFault {
        by: by.id.clone(),
        by_kind: by.kind.code().to_owned(),
        since,
        what: Verdict::Conflict(conflict.clone()).reason().to_owned(),
        version: *version,
    };
    Problem::new(Code::AlreadyDecided, detail).with_errors(vec![Fault::Conflict(fault)], None)
}

fn refused(refusal: Refusal) -> Problem {
    let why = match refusal {
        Refusal::UnknownAlert => return not_found("alert"),
        Refusal::UnknownSilence => return not_found("silence"),
        Refusal::UnknownPolicy => return not_found("policy"),
        Refusal::UnknownRule => return not_found("rule"),
        Refusal::IdReused => {
            return Problem::new(
                Code::CommandIdReused,
                "Another request had this Idempotency-Key before. Nothing was changed; choose a new one for each request that \
                 is another one.",
            );
        }
        Refusal::NotResolved => "the alert is not resolved, so it cannot be opened again",
        Refusal::IsResolved => "the alert is resolved",
        Refusal::NoSuchLevel => {
            "there is no such level in that direction: an alert goes from level 0 up to 16, escalate raises it and deescalate \
             lowers it"
        }
        Refusal::BadEnd => "a silence ends later than now, and within a year",
        Refusal::TooOld => {
            "it was raised more than seven days ago; nobody could tell any more whether it is there already"
        }
        Refusal::OnlyPeople => "only somebody who is a person can do this",
        Refusal::OnlyEvaluator => "only what judges data can say this",
        Refusal::TooManyAlerts => "as many alerts are open as can be (50,000); resolve some",
        Refusal::TooManySilences => "as many silences are in force as can be (1,000); end some",
        Refusal::TooManyPolicies => "there are as many policies as can be (200); remove some",
        Refusal::TooManyRules => "there are as many rules as can be (2,000); remove some",
        Refusal::TooManyNotes => "the alert has as many notes (50) or opinions (32) as it can have",
        Refusal::VersionNotInForce => {
            "a newer version of Kelly wrote it; it counts once every instance has that version"
        }
        Refusal::Record(_) => "the command cannot be read back from the log",
    };
    let fault = RefusalFault { refusal: refusal.code().to_owned() };
    Problem::new(Code::DecisionRefused, format!("It cannot be done: {why}. Nothing was changed."))
        .with_errors(vec![Fault::Refusal(fault)], None)
}

fn unknown(id: Uuid) -> Problem {
    let status_url = format!("/api/v1/kelly/commands/{id}");
    let detail = format!(
        "The control log did not say in time whether it has the command. It may be done, or come to be done. Ask {status_url} \
         later, or send the same request again with `Idempotency-Key: {id}`: it counts once."
    );
    let fault = CommandFault { command_id: id, status_url };
    Problem::new(Code::DecisionUnknown, detail).with_errors(vec![Fault::Command(fault)], None)
}

fn not_sent(error: &SubmitError) -> Problem {
    match error {
        SubmitError::Busy => Problem::new(
            Code::ServerBusy,
            "As many commands wait for the control log as may. Nothing was done; try again after the seconds of Retry-After.",
        )
        .retry_after(Duration::from_secs(1)),
        SubmitError::Invalid(reason) => {
            let fault = RefusalFault { refusal: "out_of_bounds".to_owned() };
            Problem::new(Code::DecisionRefused, format!("It cannot be done: {}. Nothing was changed.", error_chain(reason)))
                .with_errors(vec![Fault::Refusal(fault)], None)
        }
        SubmitError::NotSent(_) | SubmitError::Stopped(_) => Problem::new(
            Code::DecisionsUnavailable,
            "The control log cannot be reached, or is not followed here any more. Nothing was done.",
        )
        .retry_after(RETRY_UNAVAILABLE)
        .because(error_chain(error)),
    }
}
