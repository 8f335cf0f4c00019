//! Taking from the caller's budgets, and what an answer says of them: `RateLimit-Policy` and `RateLimit` as the IETF's draft
//! "RateLimit header fields for HTTP" has them, and Retry-After where something does not fit.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use kelly_auth::{Identity, Permission};

use super::{Budget, CountUse, Quotas, Use, Verdict, WINDOW};
use crate::problem::{Code, Problem};

/// Says how much a budget is.
pub(crate) const POLICY_HEADER: HeaderName = HeaderName::from_static("ratelimit-policy");
/// Says how much of it is left.
pub(crate) const STATE_HEADER: HeaderName = HeaderName::from_static("ratelimit");

/// The budget that a request of a route with this permission takes one from. Recording pays for rows and bytes instead.
pub(crate) const fn payer(permission: Permission) -> Option<Budget> {
    match permission {
        Permission::Record => None,
        Permission::StopConversation | Permission::ResumeConversation | Permission::StopEverything => {
            Some(Budget::Emergency)
        }
        _ => Some(Budget::Requests),
    }
}

/// Under which name a user's use is counted. A subject is unique within its issuer; the name of an issuer is configured and has
/// no line break, so the first one parts the two.
pub(crate) fn whose(caller: &Identity) -> String {
    format!("{}\n{}", caller.issuer, caller.subject)
}

/// Takes from a budget.
pub(crate) async fn pay(counts: &dyn CountUse, wanted: Use<'_>) -> Charged {
    Charged { budget: wanted.budget, verdict: counts.take(wanted).await }
}

/// What was taken, or was not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Charged {
    budget: Budget,
    verdict: Verdict,
}

impl Charged {
    /// The problem of what does not fit.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        if self.verdict.fits { Ok(()) } else { Err(too_many(self.budget, self.verdict.retry_after)) }
    }

    /// Says on an answer what is left.
    pub(crate) fn note_on(&self, headers: &mut HeaderMap, quotas: &Quotas) {
        let name = self.budget.name();
        let policy = format!("\"{name}\";q={};w={}", quotas.of(self.budget), WINDOW.as_secs());
        let state =
            format!("\"{name}\";r={};t={}", self.verdict.left, whole_seconds(self.verdict.until_whole));
        for (header, text) in [(POLICY_HEADER, policy), (STATE_HEADER, state)] {
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(header, value);
            }
        }
    }
}

/// The problem of a budget that is used up.
pub(crate) fn too_many(budget: Budget, retry_after: Duration) -> Problem {
    let what = match budget {
        Budget::Requests => "requests",
        Budget::Emergency => "requests to emergency routes",
        Budget::RecordedRows => "rows",
        Budget::RecordedKib => "bytes",
        Budget::FailedSignIns => "sign-ins that failed",
    };
    Problem::new(
        Code::TooManyRequests,
        format!(
            "There were too many {what} within a minute. Nothing was done; try again after the seconds of Retry-After."
        ),
    )
    .retry_after(retry_after)
}

fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// Pays for what somebody records: for the bytes of a body, and for its rows once they are counted.
#[derive(Clone)]
pub struct RecordingBudget {
    counts: Arc<dyn CountUse>,
    whose: Arc<str>,
}

impl RecordingBudget {
    pub(crate) fn of(counts: Arc<dyn CountUse>, caller: &Identity) -> Self {
        Self { counts, whose: whose(caller).into() }
    }

    /// Takes the bytes of a body; each begun KiB counts.
    pub(crate) async fn pay_bytes(&self, bytes: usize) -> Result<(), Problem> {
        let kib = NonZeroU32::new(u32::try_from(bytes.div_ceil(1_024)).unwrap_or(u32::MAX));
        let amount = kib.unwrap_or(NonZeroU32::MIN);
        pay(&*self.counts, Use { budget: Budget::RecordedKib, whose: &self.whose, amount }).await.check()
    }

    /// Takes so many rows.
    ///
    /// # Errors
    /// When they do not fit: when they would.
    pub async fn pay_rows(&self, rows: usize) -> Result<(), Duration> {
        let Some(amount) = NonZeroU32::new(u32::try_from(rows).unwrap_or(u32::MAX)) else { return Ok(()) };
        let wanted = Use { budget: Budget::RecordedRows, whose: &self.whose, amount };
        let verdict = self.counts.take(wanted).await;
        if verdict.fits { Ok(()) } else { Err(verdict.retry_after) }
    }
}

impl fmt::Debug for RecordingBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordingBudget").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emergency_routes_have_a_budget_of_their_own_and_recording_pays_for_rows() {
        for (permission, budget) in [
            (Permission::ReadMetrics, Some(Budget::Requests)),
            (Permission::TakeControl, Some(Budget::Requests)),
            (Permission::StopConversation, Some(Budget::Emergency)),
            (Permission::StopEverything, Some(Budget::Emergency)),
            (Permission::ResumeConversation, Some(Budget::Emergency)),
            (Permission::Record, None),
        ] {
            assert_eq!(payer(permission), budget, "{permission:?}");
        }
    }

    #[test]
    fn an_answer_says_what_is_left_and_when_to_come_back() {
        let verdict = |fits, left| Verdict {
            fits,
            left,
            until_whole: Duration::from_millis(1_001),
            retry_after: Duration::from_millis(60),
        };
        let charged = Charged { budget: Budget::Requests, verdict: verdict(true, 12) };
        let mut headers = HeaderMap::new();
        charged.note_on(&mut headers, &Quotas::default());
        assert_eq!(headers["ratelimit-policy"], "\"requests\";q=1000;w=60");
        assert_eq!(headers["ratelimit"], "\"requests\";r=12;t=2");
        assert!(charged.check().is_ok());
        let used_up = Charged { budget: Budget::Requests, verdict: verdict(false, 0) };
        assert_eq!(used_up.check().unwrap_err().code(), Code::TooManyRequests);
    }
}
