//! Asking for groups: the ranking first, then percentiles and points of those that are shown.

use kelly_sql::queries::{GroupSeriesQuestion, RankingQuestion};

use crate::comparison::{Compare, ComparedWindows};
use crate::error::QueryError;
use crate::group_answer::{Context, Found, answer};
use crate::groups::{GroupsRequest, MetricGroups, Order};
use crate::limits::MAX_GROUP_POINTS;
use crate::plan::{percentile_error_bound, plan};
use crate::service::QueryService;
use crate::tier::Tier;
use crate::window::Window;

impl QueryService {
    /// One metric over one range, by account or by conversation.
    ///
    /// # Errors
    /// When a parameter is at fault, more is asked for than one answer holds, or the store does not answer. A metric
    /// without samples is no error.
    pub async fn groups(&self, request: GroupsRequest) -> Result<MetricGroups, QueryError> {
        let whose = request.whose()?;
        let (now, parts) = (self.now(), self.parts());
        let retention = self.retention().await?;
        let plan = plan(&request.asked(), &retention, now)?.with_points(MAX_GROUP_POINTS);
        let definition = parts.catalogue.get(&request.metric_name);
        let (order_by, order) = request.ranking(&definition);
        if order_by.is_percentile() && percentile_error_bound(&plan).is_none() {
            return Err(QueryError::bad(
                "order_by",
                format!(
                    "is {}, and groups have no percentiles over this range ({}, histograms by whole \
                     days (UTC) of accounts only); order by count, sum, mean, min, max or last, or ask for a range that \
                     has them",
                    order_by.name(),
                    retention.describe(Tier::Raw, now)
                ),
            ));
        }
        let (from_ms, to_ms) = (plan.window.from.timestamp_millis(), plan.window.to.timestamp_millis());
        let source = request.source(&whose, plan.tier);
        let compared = request.compare.map(|Compare::Previous| ComparedWindows::of(&plan, &retention, now));
        // Nothing is read of a window that cannot be compared with.
        let previous = compared
            .as_ref()
            .filter(|windows| windows.are_comparable())
            .map_or(Window { from: plan.window.from, to: plan.window.from }, |windows| {
                windows.previous_window
            });
        let aggregate = crate::detailed::aggregate(&definition);
        let ranking = RankingQuestion {
            source,
            metric: &request.metric_name,
            previous_from_ms: previous.from.timestamp_millis(),
            previous_to_ms: previous.to.timestamp_millis(),
            from_ms,
            to_ms,
            compared_to_ms: plan.compared.to.timestamp_millis(),
            aggregate,
            order_by: order_by.key(),
            descending: order == Order::Desc,
            top: request.top,
        };
        let failed = || QueryError::from_store("metric groups");
        let ranking = parts.store.ranking(&ranking).await.map_err(failed())?;
        let ids: Vec<&str> = ranking.groups.iter().map(|group| group.id.as_str()).collect();
        let series = GroupSeriesQuestion {
            source,
            metric: &request.metric_name,
            groups: &ids,
            from_ms,
            to_ms,
            step_seconds: plan.step_seconds,
            aggregate,
        };
        let series = parts.store.group_series(&series).await.map_err(failed())?;
        let context = Context { plan: &plan, definition: &definition, retention: &retention, compared, now };
        Ok(answer(&request, context, Found { ranking, series }))
    }
}
