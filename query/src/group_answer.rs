//! From the store's rows to the answer about groups. Pure.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use kelly_schemas::catalogue::{Aggregate, Definition};
use kelly_sql::queries::{self, GroupFigures, GroupSeries, Ranking};

use crate::comparison::{Change, ComparedWindows};
use crate::detailed::{Freshness, MetricDefinition, Thresholds};
use crate::groups::{GroupPoint, GroupTotal, GroupsRequest, MetricGroup, MetricGroups, Remainder, Share};
use crate::notes;
use crate::percentiles::Percentiles;
use crate::plan::{self, Plan};
use crate::retention::Retention;
use crate::window::Resolution;

/// What the store found.
pub(crate) struct Found {
    pub(crate) ranking: Ranking,
    pub(crate) series: HashMap<String, GroupSeries>,
}

/// What the answer is made of besides.
pub(crate) struct Context<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) definition: &'a Definition,
    pub(crate) retention: &'a Retention,
    pub(crate) compared: Option<ComparedWindows>,
    pub(crate) now: DateTime<Utc>,
}

/// Puts what the store found into the answer.
pub(crate) fn answer(request: &GroupsRequest, context: Context<'_>, found: Found) -> MetricGroups {
    let Context { plan, definition, now, .. } = context;
    let Found { ranking, mut series } = found;
    let (order_by, order) = request.ranking(definition);
    let whole = Whole::of(definition, ranking.total.as_ref());
    let groups: Vec<MetricGroup> = (1..)
        .zip(&ranking.groups)
        .map(|(rank, group)| {
            let series = series.remove(&group.id).unwrap_or_default();
            let comparison = context.compared.as_ref().map(|windows| {
                let previous = group.previous.filter(|_| windows.are_comparable());
                Change::of(group.compared, previous)
            });
            let is_partial = |point: &queries::GroupPoint| plan::is_partial(point.start_ms, plan, now);
            MetricGroup { comparison, ..whole.group(rank, group, &series, is_partial) }
        })
        .collect();
    let newest_sample = ranking.total.and_then(|total| DateTime::from_timestamp_millis(total.newest_ms));
    MetricGroups {
        metric_name: request.metric_name.clone(),
        group_by: request.group_by,
        order_by,
        order,
        top: request.top,
        group_count: ranking.group_count,
        remainder: whole.remainder(&ranking),
        groups,
        unassigned: ranking.unassigned.map(|figures| whole.share(figures.count, figures.sum)),
        total: ranking.total.map(total),
        compared: context.compared,
        account_id: request.account_id.clone(),
        thresholds: Thresholds { warning: definition.warning, critical: definition.critical },
        definition: MetricDefinition::from(definition),
        window: plan.window,
        resolution: Resolution::of_seconds(plan.step_seconds),
        tier: plan.tier,
        freshness: Freshness::of(newest_sample, now),
        percentile_error_bound: plan::percentile_error_bound(plan),
        percentile_least_magnitude: plan::percentile_least_magnitude(plan),
        notes: notes::of_plan(plan, context.retention, now),
        window_kept: plan.window_kept,
    }
}

/// What shares are of.
struct Whole {
    count: u64,
    /// `None` where parts of it are no parts of a whole.
    sum: Option<f64>,
}

impl Whole {
    fn of(definition: &Definition, total: Option<&GroupFigures>) -> Self {
        let is_summed = definition.aggregate == Aggregate::Sum;
        Self {
            count: total.map_or(0, |total| total.count),
            sum: total
                .filter(|total| is_summed && total.min >= 0.0 && total.sum > 0.0)
                .map(|total| total.sum),
        }
    }

    fn share(&self, count: u64, sum: f64) -> Share {
        Share {
            count,
            sum,
            mean: sum / count as f64,
            share_of_count: count as f64 / self.count as f64,
            share_of_sum: self.sum.map(|whole| sum / whole),
        }
    }

    fn group(
        &self,
        rank: u32,
        group: &queries::Group,
        series: &GroupSeries,
        is_partial: impl Fn(&queries::GroupPoint) -> bool,
    ) -> MetricGroup {
        let figures = &group.figures;
        let share = self.share(figures.count, figures.sum);
        MetricGroup {
            id: group.id.clone(),
            rank,
            value: figures.value,
            count: figures.count,
            sum: figures.sum,
            mean: share.mean,
            min: figures.min,
            max: figures.max,
            last: figures.last,
            newest_sample: DateTime::from_timestamp_millis(figures.newest_ms),
            percentiles: Percentiles::of(series.percentiles),
            share_of_count: share.share_of_count,
            share_of_sum: share.share_of_sum,
            comparison: None,
            series: series
                .points
                .iter()
                .filter_map(|found| {
                    Some(GroupPoint {
                        timestamp: DateTime::from_timestamp_millis(found.start_ms)?,
                        partial: is_partial(found),
                        value: found.value,
                        count: found.count,
                        min: found.min,
                        max: found.max,
                    })
                })
                .collect(),
        }
    }

    /// What is left of the total when the groups shown and what belongs to none are taken away.
    fn remainder(&self, ranking: &Ranking) -> Option<Remainder> {
        let total = ranking.total?;
        let groups = ranking.group_count.checked_sub(ranking.groups.len() as u64).filter(|left| *left > 0)?;
        let known = ranking.groups.iter().map(|group| group.figures).chain(ranking.unassigned);
        let (count, sum) = known.fold((total.count, total.sum), |(count, sum), figures| {
            (count.saturating_sub(figures.count), sum - figures.sum)
        });
        Some(Remainder { groups, share: self.share(count, sum) })
    }
}

fn total(figures: GroupFigures) -> GroupTotal {
    GroupTotal {
        value: figures.value,
        count: figures.count,
        sum: figures.sum,
        mean: figures.sum / figures.count as f64,
        min: figures.min,
        max: figures.max,
        last: figures.last,
    }
}
