//! Questions the API asks, and what their failures mean to a client.

use async_trait::async_trait;
use kelly_auth::Accounts;
use kelly_query::limits::TooLarge;
use kelly_query::{
    DatabaseHealth, Detailed, DetailedRequest, ExportFormat, ExportRequest, ExportStream, FeedPage,
    FeedRequest, GroupsRequest, MarkRequest, MetricGroups, Overview, Preview, PreviewRequest, QueryError,
    QueryService, Reader, ReadingVersion, Several, SeveralRequest, StorePerformance, Unread,
};
use uuid::Uuid;

use crate::problem::{Code, Fault, LimitFault, ParameterFault, Problem, RuleFault};

/// Answers questions, of the accounts that each says its asker may see. Implemented by [`QueryService`]; tests put a fake in
/// its place.
#[async_trait]
pub trait Queries: Send + Sync {
    /// The live figures of these accounts.
    async fn overview(&self, accounts: Accounts) -> Result<Overview, QueryError>;
    /// One metric over one range.
    async fn detailed(&self, request: DetailedRequest) -> Result<Detailed, QueryError>;
    /// Several metrics over one range.
    async fn several(&self, request: SeveralRequest) -> Result<Several, QueryError>;
    /// One metric over one range, by account or by conversation.
    async fn groups(&self, request: GroupsRequest) -> Result<MetricGroups, QueryError>;
    /// A page of the activity feed.
    async fn feed(&self, request: FeedRequest) -> Result<FeedPage, QueryError>;
    /// A page of the VIP feed.
    async fn vip(&self, request: FeedRequest) -> Result<FeedPage, QueryError>;
    /// What these users have marked as read by now, in their order.
    async fn reading_versions(&self, readers: Vec<Reader>) -> Result<Vec<ReadingVersion>, QueryError>;
    /// How much of these accounts is unread to a user, who had marked so much when it was asked.
    async fn unread(
        &self,
        reader: Reader,
        version: ReadingVersion,
        accounts: Accounts,
    ) -> Result<Unread, QueryError>;
    /// Marks what a user has read; in force at every instance once this returns. False for a mark that the user has made before and undone.
    async fn mark_read(&self, request: MarkRequest) -> Result<bool, QueryError>;
    /// Takes a mark of a user back; false when there is none.
    async fn undo_mark(&self, reader: Reader, mark: Uuid) -> Result<bool, QueryError>;
    /// What alert rules would have done. Dropping it ends the work.
    async fn preview_rules(&self, request: PreviewRequest) -> Result<Preview, QueryError>;
    /// Rows as a stream of bytes.
    async fn export(&self, request: ExportRequest, format: ExportFormat) -> Result<ExportStream, QueryError>;
    /// How fast the store is and what a day adds to it.
    async fn store_performance(&self) -> Result<StorePerformance, QueryError>;
    /// How the store is and, for who may see all accounts, what it holds.
    async fn health_database(&self, accounts: Accounts) -> Result<DatabaseHealth, QueryError>;
}

#[async_trait]
impl Queries for QueryService {
    async fn overview(&self, accounts: Accounts) -> Result<Overview, QueryError> {
        self.overview(&accounts).await
    }

    async fn detailed(&self, request: DetailedRequest) -> Result<Detailed, QueryError> {
        self.detailed(request).await
    }

    async fn several(&self, request: SeveralRequest) -> Result<Several, QueryError> {
        self.several(request).await
    }

    async fn groups(&self, request: GroupsRequest) -> Result<MetricGroups, QueryError> {
        self.groups(request).await
    }

    async fn feed(&self, request: FeedRequest) -> Result<FeedPage, QueryError> {
        self.feed(request).await
    }

    async fn vip(&self, request: FeedRequest) -> Result<FeedPage, QueryError> {
        self.vip(request).await
    }

    async fn reading_versions(&self, readers: Vec<Reader>) -> Result<Vec<ReadingVersion>, QueryError> {
        self.reading_versions(&readers).await
    }

    async fn unread(
        &self,
        reader: Reader,
        version: ReadingVersion,
        accounts: Accounts,
    ) -> Result<Unread, QueryError> {
        self.unread(&reader, &version, &accounts).await
    }

    async fn mark_read(&self, request: MarkRequest) -> Result<bool, QueryError> {
        self.mark_read(&request).await
    }

    async fn undo_mark(&self, reader: Reader, mark: Uuid) -> Result<bool, QueryError> {
        self.undo_mark(&reader, mark).await
    }

    async fn preview_rules(&self, request: PreviewRequest) -> Result<Preview, QueryError> {
        self.preview_rules(request).await
    }

    async fn export(&self, request: ExportRequest, format: ExportFormat) -> Result<ExportStream, QueryError> {
        self.export(&request, format).await
    }

    async fn store_performance(&self) -> Result<StorePerformance, QueryError> {
        self.store_performance().await
    }

    async fn health_database(&self, accounts: Accounts) -> Result<DatabaseHealth, QueryError> {
        self.health_database(&accounts).await
    }
}

/// A store that is away is seldom back within a second.
const RETRY_STORE: std::time::Duration = std::time::Duration::from_secs(5);

/// Faults of rules shown in one problem document; the total is always named.
const MAX_RULE_FAULTS: usize = 100;

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        let code = match &error {
            QueryError::BadParameter { .. } => Code::InvalidParameter,
            QueryError::AccountNotPermitted => Code::AccountNotPermitted,
            QueryError::RangeTooLong { .. } | QueryError::TimeframeTooLong { .. } => Code::RangeTooLong,
            QueryError::TooManySamples { question, source } => {
                let detail = sentence(&error.to_string());
                return Self::new(Code::RangeTooLong, detail)
                    .because(format!("asking for {question}: {source}"));
            }
            QueryError::TooLarge(_) => Code::QueryTooLarge,
            QueryError::TookTooLong { question, source, .. } => {
                let detail = sentence(&error.to_string());
                return Self::new(Code::QueryTimeout, detail)
                    .because(format!("asking for {question}: {source}"));
            }
            QueryError::BadCursor | QueryError::CursorOfOtherFilters => Code::InvalidCursor,
            QueryError::TooManyMarks => Code::TooManyMarks,
            QueryError::RulesRefused(_) => Code::RuleRefused,
            QueryError::NoSuchAlert => Code::NotFound,
            QueryError::BrokenOff { .. } => {
                return Self::new(Code::ServerBusy, sentence(&error.to_string())).retry_after(RETRY_STORE);
            }
            QueryError::StoreUnavailable { question, source } => {
                return Self::new(
                    Code::StoreUnavailable,
                    "The store does not answer at the moment; try again after the seconds of Retry-After.",
                )
                .retry_after(RETRY_STORE)
                .because(format!("asking for {question}: {source}"));
            }
            QueryError::StoreNotResponding { question, source } => {
                return Self::new(
                    Code::StoreNotResponding,
                    "The store does not respond at all, not to the simplest question: its process or its machine stands \
                     still. Asking for less does not help; try again after the seconds of Retry-After.",
                )
                .retry_after(RETRY_STORE)
                .because(format!("asking for {question}: {source}"));
            }
            QueryError::StoreRefused { question, source } => {
                return Self::internal(format!("asking for {question}: {source}"));
            }
        };
        let detail = sentence(&error.to_string());
        if let QueryError::RulesRefused(faults) = error {
            let total = u64::try_from(faults.len()).ok().filter(|_| faults.len() > MAX_RULE_FAULTS);
            let fault = |kelly_query::RuleFault { rule, field, problem, fix }| {
                Fault::Rule(RuleFault { rule, field, problem, fix })
            };
            let shown = faults.into_iter().take(MAX_RULE_FAULTS).map(fault).collect();
            return Self::new(code, detail).with_errors(shown, total);
        }
        if let Some(limit) = error.limit() {
            return Self::new(code, detail).with_errors(vec![Fault::Limit(LimitFault::from(limit))], None);
        }
        let QueryError::BadParameter { parameter, problem } = error else {
            return Self::new(code, detail);
        };
        let fault = ParameterFault { parameter: parameter.to_owned(), reason: problem };
        Self::new(code, detail).with_errors(vec![Fault::Parameter(fault)], None)
    }
}

impl From<TooLarge> for LimitFault {
    fn from(limit: TooLarge) -> Self {
        Self {
            parameter: limit.parameter.to_owned(),
            unit: limit.unit.to_owned(),
            asked: limit.asked,
            allowed: limit.allowed,
            alternative: limit.alternative,
        }
    }
}

/// Messages of errors are fragments; a detail is a sentence.
fn sentence(fragment: &str) -> String {
    let mut characters = fragment.chars();
    let first = characters.next().map(|first| first.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), characters.as_str())
}
