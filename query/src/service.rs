//! The service: plans a question, asks the store, and puts the rows into an answer.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use kelly_auth::Accounts;
use kelly_schemas::catalogue::{Catalogue, Definition};
use kelly_sql::queries::{Series, SeriesQuestion};
use kelly_sql::{RetentionReader, Store};

use crate::comparison::{Compare, ComparedWindows, Comparison};
use crate::detailed::{Detailed, DetailedRequest};
use crate::error::QueryError;
use crate::feed::{FeedPage, FeedRequest};
use crate::health::DatabaseHealth;
use crate::overview::Overview;
use crate::plan::{Plan, plan};
use crate::retention::Retention;
use crate::rules_in_force::{BuiltinRules, RulesInForce};
use crate::tier::Tier;
use crate::whose::Whose;
use crate::window::Window;

/// Questions [`QueryService::overview`] asks the store at once.
pub const OVERVIEW_AT_ONCE: usize = 2;
/// Questions [`QueryService::health_database`] asks the store at once.
pub const HEALTH_AT_ONCE: usize = 3;

/// What the service is made of.
#[derive(Debug, Clone)]
pub struct QueryServiceParts {
    /// Where the rows are.
    pub store: Store,
    /// What metrics mean.
    pub catalogue: Arc<Catalogue>,
    /// Tells the time.
    pub clock: fn() -> DateTime<Utc>,
}

/// Answers questions. Clones are cheap and share the store's connections.
#[derive(Clone)]
pub struct QueryService {
    parts: Arc<QueryServiceParts>,
    retention: Arc<RetentionReader>,
    rules: Arc<dyn RulesInForce>,
}

impl fmt::Debug for QueryService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryService").field("parts", &self.parts).finish_non_exhaustive()
    }
}

impl QueryService {
    /// A service of these parts.
    #[must_use]
    pub fn new(parts: QueryServiceParts) -> Self {
        let rules = Arc::new(BuiltinRules);
        Self { parts: Arc::new(parts), retention: Arc::default(), rules }
    }

    /// The same, which knows other rules than the built-in ones to be in force.
    #[must_use]
    pub fn with_rules(self, rules: Arc<dyn RulesInForce>) -> Self {
        Self { rules, ..self }
    }

    /// The figures of these accounts; those of the whole house for who may see all.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn overview(&self, accounts: &Accounts) -> Result<Overview, QueryError> {
        let now = self.now();
        let whose = Whose::asked(None, accounts)?;
        let questions = crate::overview::questions(self.parts.catalogue.overview(), now);
        let store = &self.parts.store;
        let metrics = async {
            match &whose {
                Whose::Everybodys => {
                    let metrics = store.metrics_since(&questions.metrics).await;
                    metrics.map_err(QueryError::from_store("overview"))
                }
                Whose::Of(accounts) => {
                    let samples_from = self.retention().await?.kept_from(Tier::Raw, now);
                    let asked = questions.of_accounts(samples_from);
                    let metrics = store.account_metrics_since(&asked, accounts).await;
                    metrics.map_err(QueryError::from_store("overview"))
                }
            }
        };
        let conversations = async {
            let conversations = store.conversations_since(&questions.conversations, whose.filter()).await;
            conversations.map_err(QueryError::from_store("overview"))
        };
        let (metrics, conversations) = tokio::try_join!(metrics, conversations)?;
        Ok(questions.answer(&metrics, &conversations, now))
    }

    /// One metric over one range.
    ///
    /// # Errors
    /// When a parameter is at fault or the store does not answer. A metric without samples is no error.
    pub async fn detailed(&self, request: DetailedRequest) -> Result<Detailed, QueryError> {
        let whose = request.whose()?;
        let now = self.now();
        let definition = self.parts.catalogue.get(&request.metric_name);
        let retention = self.retention().await?;
        let context = Context { whose: &whose, definition: &definition, retention: &retention, now };
        let (plan, series) = match self.planned(&request, &context).await? {
            (plan, Some(series)) => (plan, series),
            (plan, None) => (plan, self.series(&request, &plan, &context).await?),
        };
        let comparison = self.comparison(&request, &plan, &series, &context).await?;
        let notes = crate::notes::of_plan(&plan, &retention, now);
        let answer = crate::answer::answer(&request, &plan, &definition, &series, now);
        Ok(Detailed { comparison, notes, ..answer })
    }

    /// The plan that a question is answered by in every form, and the series where it was needed to find the plan.
    pub(crate) async fn planned(
        &self,
        request: &DetailedRequest,
        context: &Context<'_>,
    ) -> Result<(Plan, Option<Series>), QueryError> {
        let Context { whose, retention, now, .. } = *context;
        let plan = plan(&request.asked(whose), retention, now)?;
        if plan.tier != Tier::ConversationDay {
            return Ok((plan, None));
        }
        let days = self.series(request, &plan, context).await?;
        let Some(samples_plan) = plan_of_samples(&plan, &days, retention, now) else {
            return Ok((plan, Some(days)));
        };
        let step_seconds = request.step_seconds.unwrap_or(samples_plan.step_seconds);
        let samples_plan = Plan { step_seconds, ..samples_plan };
        let samples = self.series(request, &samples_plan, context).await?;
        let count = |found: &Series| found.window.map_or(0, |window| window.count);
        // Samples may be gone for other reasons than their age; then the days know more.
        let (plan, found) =
            if count(&samples) < count(&days) { (plan, days) } else { (samples_plan, samples) };
        Ok((plan, Some(found)))
    }

    /// The comparison that is asked for, of a series that was found.
    async fn comparison(
        &self,
        request: &DetailedRequest,
        plan: &Plan,
        current: &Series,
        context: &Context<'_>,
    ) -> Result<Option<Comparison>, QueryError> {
        let Some(Compare::Previous) = request.compare else { return Ok(None) };
        let windows = ComparedWindows::of(plan, context.retention, context.now);
        let previous = if windows.has_previous() {
            let before = windows.previous_window;
            let empty = Window { from: before.from, to: before.from };
            let plan = Plan { window: before, compared: before, previous: empty, ..*plan };
            self.series(request, &plan, context).await?
        } else {
            Series::default()
        };
        Ok(Some(Comparison::of(windows, plan, current, &previous)))
    }

    /// Whether the store answers and, for who may see all accounts, what it holds.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn health_database(&self, accounts: &Accounts) -> Result<DatabaseHealth, QueryError> {
        let now = self.now();
        let started = Instant::now();
        let store = &self.parts.store;
        let unavailable = QueryError::from_store("database health");
        let version = store.version().await.map_err(unavailable)?;
        // A schema that is not ours answers no further question; that is a health, not an error.
        let schema_problem = match store.verify_schema().await {
            Ok(()) => None,
            Err(kelly_sql::StoreError::Schema(problem)) => Some(problem.to_string()),
            Err(error) => return Err(QueryError::from_store("database health")(error)),
        };
        let mut health = DatabaseHealth::of_version(version, now);
        if accounts.is_all() {
            health.holds_nothing();
            if schema_problem.is_none() {
                let (storage, dead_letters, newest) = tokio::try_join!(
                    store.storage(),
                    store.dead_letter_counts((now - TimeDelta::hours(24)).timestamp_millis()),
                    store.newest_rows((now - TimeDelta::days(7)).timestamp_millis())
                )
                .map_err(QueryError::from_store("database health"))?;
                health.holds(storage, dead_letters, newest);
            }
        }
        health.schema_current = schema_problem.is_none();
        health.schema_problem = schema_problem;
        health.round_trip_ms = started.elapsed().as_secs_f64() * 1_000.0;
        Ok(health)
    }

    /// A page of the activity feed.
    ///
    /// # Errors
    /// When a parameter is at fault, the cursor is not one of this feed, or the store does not answer.
    pub async fn feed(&self, request: FeedRequest) -> Result<FeedPage, QueryError> {
        crate::feed::page(&self.parts.store, &request, false).await
    }

    /// A page of the feed of VIP events: see [`crate::feed::FeedEvent::is_vip`].
    ///
    /// # Errors
    /// As of [`feed`](Self::feed). A cursor of the one is refused by the other.
    pub async fn vip(&self, request: FeedRequest) -> Result<FeedPage, QueryError> {
        crate::feed::page(&self.parts.store, &request, true).await
    }

    pub(crate) fn rules_in_force(&self) -> &dyn RulesInForce {
        &*self.rules
    }

    pub(crate) fn parts(&self) -> &QueryServiceParts {
        &self.parts
    }

    async fn series(
        &self,
        request: &DetailedRequest,
        plan: &Plan,
        context: &Context<'_>,
    ) -> Result<Series, QueryError> {
        let question = series_question(request, plan, context);
        self.parts.store.series(&question).await.map_err(QueryError::from_store("detailed metric"))
    }

    /// What the store keeps.
    pub(crate) async fn retention(&self) -> Result<Retention, QueryError> {
        let read = self.retention.get(&self.parts.store).await;
        read.map(Retention).map_err(QueryError::from_store("what is kept"))
    }

    /// The time, to the millisecond as every time of the store is.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        let now = (self.parts.clock)();
        now.duration_trunc(TimeDelta::milliseconds(1)).unwrap_or(now)
    }
}

/// What a question is answered by, besides the request.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) whose: &'a Whose<'a>,
    pub(crate) definition: &'a Definition,
    pub(crate) retention: &'a Retention,
    pub(crate) now: DateTime<Utc>,
}

/// The plan that asks a conversation's samples after its days showed that all of them are young.
fn plan_of_samples(plan: &Plan, days: &Series, retention: &Retention, now: DateTime<Utc>) -> Option<Plan> {
    if days.previous.is_some() {
        return None;
    }
    let oldest_day = DateTime::from_timestamp_millis(days.points.first()?.start_ms)?;
    plan.of_samples(oldest_day, retention, now)
}

/// What is asked of the store for a series that is planned.
pub(crate) fn series_question<'a>(
    request: &'a DetailedRequest,
    plan: &Plan,
    context: &Context<'a>,
) -> SeriesQuestion<'a> {
    SeriesQuestion {
        source: request.source(context.whose, plan.tier),
        metric: &request.metric_name,
        previous_from_ms: plan.previous.from.timestamp_millis(),
        from_ms: plan.window.from.timestamp_millis(),
        to_ms: plan.window.to.timestamp_millis(),
        compared_to_ms: plan.compared.to.timestamp_millis(),
        step_seconds: plan.step_seconds,
        aggregate: crate::detailed::aggregate(context.definition),
    }
}
