//! What can go wrong with a question: the asker's fault or the store's, each with a stable code.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use kelly_sql::StoreError;

use crate::limits::TooLarge;
use crate::timeframe::Timeframe;

/// What is wrong with an alert rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleFault {
    /// Its id, or `#3` for the third one when it has none.
    pub rule: String,
    /// The field; empty where it is none of a single one.
    pub field: String,
    /// What is wrong.
    pub problem: String,
    /// How to fix it.
    pub fix: String,
}

impl fmt::Display for RuleFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, field, problem, fix } = self;
        match field.as_str() {
            "" => write!(f, "rule `{rule}`: {problem}; {fix}"),
            field => write!(f, "rule `{rule}`, `{field}`: {problem}; {fix}"),
        }
    }
}

/// Why a question has no answer. Its `Display` is fit for the person who asked: it names the parameter,
/// what was wrong with it and how to fix it, and never a detail of the store.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// A parameter is malformed or contradicts another.
    #[error("`{parameter}` {problem}")]
    BadParameter {
        /// The parameter as the asker wrote its name.
        parameter: &'static str,
        /// What is wrong and how to fix it, ready to follow the parameter's name.
        problem: String,
    },
    /// The account that is named is not one the asker may see. It says the same whether or not there is such an account.
    #[error("`account_id` is not an account that you may see; leave it out for all those that you may")]
    AccountNotPermitted,
    /// Alert rules are wrong.
    #[error(
        "{}",
        match &_0[..] {
            [fault] => fault.to_string(),
            faults => format!("{} things are wrong with the rules; `errors` names each, and how to fix it", faults.len()),
        }
    )]
    RulesRefused(Vec<RuleFault>),
    /// There is no such alert, or not for the asker.
    #[error("no such alert is kept, or it is not of an account that you may see")]
    NoSuchAlert,
    /// The work ended before its end, because the process does.
    #[error("the question was broken off, because this process is ending; ask again")]
    BrokenOff {
        /// What was being asked.
        question: &'static str,
    },
    /// The range is longer than what is kept.
    #[error(
        "the range from {} to {} is longer than the {limit_days} days that are kept; ask for a shorter one",
        readable(from),
        readable(to)
    )]
    RangeTooLong {
        /// Start asked for.
        from: DateTime<Utc>,
        /// End asked for.
        to: DateTime<Utc>,
        /// Days that are kept.
        limit_days: u32,
    },
    /// The timeframe is longer than what is kept.
    #[error(
        "`timeframe` {timeframe} is longer than the {limit_days} {} that are kept (MONITORING_DB_RETENTION_DAYS); \
         ask for a shorter one",
        if *limit_days == 1 { "day" } else { "days" }
    )]
    TimeframeTooLong {
        /// The timeframe asked for.
        timeframe: Timeframe,
        /// Days that are kept.
        limit_days: u32,
    },
    /// More is asked for than one answer holds.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// The store gave up on the question after the time one question may take.
    #[error(
        "the question took longer than one may take here; ask for a shorter range, for one account, for fewer metrics, or for groups \
         in an order that needs no percentiles"
    )]
    TookTooLong {
        /// What was being asked.
        question: &'static str,
        /// The store's own words, for the log.
        #[source]
        source: StoreError,
    },
    /// The answer would take more memory than the store gives to one question.
    #[error(
        "the range holds more samples than one question may read here; ask for a shorter one, without \
         `account_id` and `conversation_id`, which are answered sample by sample, or for groups in an order that needs no \
         percentiles (`order_by=mean`)"
    )]
    TooManySamples {
        /// What was being asked.
        question: &'static str,
        /// The store's own words, for the log.
        #[source]
        source: StoreError,
    },
    /// The cursor was not made by this service, or was altered on the way.
    #[error("`cursor` is not one this service gave out; start again without it")]
    BadCursor,
    /// The cursor belongs to a feed with other filters.
    #[error(
        "`cursor` belongs to a feed with other filters; repeat the filters it was given out for, or start again without it"
    )]
    CursorOfOtherFilters,
    /// The user has marked as much as is kept of one.
    #[error(
        "you have marked more events than are kept of one user; mark everything up to a cursor in place of single events, or wait until \
         your oldest marks expire with their events"
    )]
    TooManyMarks,
    /// The store could not be reached or has no time; the same question may succeed later.
    #[error("the metrics store does not answer at the moment; try again shortly")]
    StoreUnavailable {
        /// What was being asked.
        question: &'static str,
        /// The store's own words, for the log.
        #[source]
        source: StoreError,
    },
    /// The store responds to nothing, whatever is asked.
    #[error("the metrics store does not respond at all; this is no matter of the question")]
    StoreNotResponding {
        /// What was being asked.
        question: &'static str,
        /// The store's own words, for the log.
        #[source]
        source: StoreError,
    },
    /// The store refused the question: a defect of Kelly or of the schema, not of the asker.
    #[error("the metrics store refused the question; the log of this instance says why")]
    StoreRefused {
        /// What was being asked.
        question: &'static str,
        /// The store's own words, for the log.
        #[source]
        source: StoreError,
    },
}

fn readable(instant: &DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::Millis, true)
}

impl QueryError {
    /// A stable, machine-readable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadParameter { .. } => "bad_parameter",
            Self::AccountNotPermitted => "account_not_permitted",
            Self::RulesRefused(_) => "rule_refused",
            Self::NoSuchAlert => "not_found",
            Self::BrokenOff { .. } => "server_busy",
            Self::RangeTooLong { .. } | Self::TimeframeTooLong { .. } | Self::TooManySamples { .. } => {
                "range_too_long"
            }
            Self::TooLarge(_) => "query_too_large",
            Self::TookTooLong { .. } => "query_timeout",
            Self::BadCursor => "bad_cursor",
            Self::CursorOfOtherFilters => "cursor_of_other_filters",
            Self::TooManyMarks => "too_many_marks",
            Self::StoreUnavailable { .. } => "store_unavailable",
            Self::StoreNotResponding { .. } => "store_not_responding",
            Self::StoreRefused { .. } => "store_refused",
        }
    }

    /// The limit that was reached, where it is one that can be counted, with the nearest question that is allowed.
    #[must_use]
    pub fn limit(&self) -> Option<TooLarge> {
        match self {
            Self::TooLarge(too_large) => Some(too_large.clone()),
            Self::RangeTooLong { from, to, limit_days } => {
                Some(TooLarge::of_range(*to - *from, *limit_days, *to))
            }
            Self::TimeframeTooLong { timeframe, limit_days } => {
                Some(TooLarge::of_timeframe(*timeframe, *limit_days))
            }
            _ => None,
        }
    }

    /// The parameter at fault, when it is the asker who is.
    #[must_use]
    pub fn parameter(&self) -> Option<&'static str> {
        match self {
            Self::BadParameter { parameter, .. } => Some(parameter),
            Self::AccountNotPermitted => Some("account_id"),
            Self::RangeTooLong { .. } => Some("from"),
            Self::TimeframeTooLong { .. } => Some("timeframe"),
            Self::TooLarge(too_large) => Some(too_large.parameter),
            Self::BadCursor | Self::CursorOfOtherFilters => Some("cursor"),
            Self::RulesRefused(_)
            | Self::NoSuchAlert
            | Self::BrokenOff { .. }
            | Self::TookTooLong { .. }
            | Self::TooManySamples { .. }
            | Self::TooManyMarks
            | Self::StoreUnavailable { .. }
            | Self::StoreNotResponding { .. }
            | Self::StoreRefused { .. } => None,
        }
    }

    pub(crate) fn from_store(question: &'static str) -> impl FnOnce(StoreError) -> Self {
        move |source| {
            if source.is_too_large() {
                Self::TooManySamples { question, source }
            } else if source.is_out_of_time() {
                Self::TookTooLong { question, source }
            } else if source.is_not_responding() {
                Self::StoreNotResponding { question, source }
            } else if source.is_retryable() {
                Self::StoreUnavailable { question, source }
            } else {
                Self::StoreRefused { question, source }
            }
        }
    }

    pub(crate) fn bad(parameter: &'static str, problem: impl Into<String>) -> Self {
        Self::BadParameter { parameter, problem: problem.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stores_refusals_are_distinguished() {
        let refused = |code| StoreError::Refused { action: "ask".to_owned(), code, message: String::new() };
        let codes = [
            (241, "range_too_long"),
            (159, "query_timeout"),
            (202, "store_unavailable"),
            (47, "store_refused"),
        ];
        for (code, expected) in codes {
            assert_eq!(QueryError::from_store("x")(refused(code)).code(), expected, "{code}");
        }
    }
}
