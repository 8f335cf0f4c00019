//! The parameters that questions about metrics share.

use kelly_auth::Accounts;
use kelly_query::comparison::Compare;
use kelly_query::{DetailedRequest, RangeRequest, Timeframe};
use kelly_schemas::limits::{ACCOUNT_ID_CHARACTERS, CONVERSATION_ID_CHARACTERS};

use crate::parameters::{Given, Identifier, Instant, Step, parameters};

/// An account's id.
pub(crate) type AccountId = Identifier<ACCOUNT_ID_CHARACTERS>;
/// A conversation's id.
pub(crate) type ConversationId = Identifier<CONVERSATION_ID_CHARACTERS>;

parameters! {
    /// Over which time.
    #[derive(Debug, Clone)]
    pub(crate) struct RangeParameters {
        /// Length of time that ends now; 1h unless said. Not together with `from`.
        timeframe: Option<Timeframe>,
        /// First instant, included: RFC 3339 or milliseconds since 1970.
        from: Option<Instant>,
        /// End, excluded: RFC 3339 or milliseconds since 1970; now unless said. Needs `from`.
        to: Option<Instant>,
    }
    checked by is_one_range
}

fn is_one_range(given: &mut Given) {
    if given.has("timeframe") && (given.has("from") || given.has("to")) {
        given.fault("timeframe", "contradicts `from` and `to`; give the one or the others");
    } else if given.has("to") && !given.has("from") {
        given.fault_if_not_given("from", "is missing; `to` needs it");
    }
}

impl From<RangeParameters> for RangeRequest {
    fn from(asked: RangeParameters) -> Self {
        match asked.from {
            Some(Instant(from)) => Self::Between { from, to: asked.to.map(|to| to.0) },
            None => Self::Last(asked.timeframe.unwrap_or_default()),
        }
    }
}

parameters! {
    /// Whose metrics: those of all, of one account or of one conversation.
    #[derive(Debug, Clone)]
    pub(crate) struct SubjectParameters {
        /// Only this account.
        pub(crate) account_id: Option<AccountId>,
        /// Only this conversation.
        pub(crate) conversation_id: Option<ConversationId>,
    }
}

parameters! {
    /// What is asked of a metric, or of each of several.
    #[derive(Debug, Clone)]
    pub(crate) struct MetricQuestion {
        pub(crate) range: RangeParameters,
        pub(crate) subject: SubjectParameters,
        /// Length of a point, at most 1440 points; what suits the range unless said. Steps below an hour are answered
        /// from minutes over any range, of an account or a conversation only while its samples are kept.
        step: Option<Step>,
        /// `previous`: the same figures over as much time before, and its series to lay under this one; of groups what
        /// changed of each.
        pub(crate) compare: Option<Compare>,
    }
}

impl MetricQuestion {
    /// The question about one metric, by somebody who may see these accounts.
    pub(crate) fn about(self, metric_name: String, accounts: &Accounts) -> DetailedRequest {
        DetailedRequest {
            step_seconds: self.step.map(|step| step.0),
            compare: self.compare,
            ..samples_of(metric_name, self.range, self.subject, accounts)
        }
    }
}

/// The question about one metric's samples, by somebody who may see these accounts.
pub(crate) fn samples_of(
    metric_name: String,
    range: RangeParameters,
    subject: SubjectParameters,
    accounts: &Accounts,
) -> DetailedRequest {
    DetailedRequest {
        metric_name,
        range: range.into(),
        accounts: accounts.clone(),
        account_id: subject.account_id.map(|id| id.0),
        conversation_id: subject.conversation_id.map(|id| id.0),
        step_seconds: None,
        compare: None,
    }
}
