//! Groups: the accounts or conversations of one metric over a window, ranked, and the series of the first of them.
//!
//! Two questions, because only few of many groups are shown: the ranking reads every group's counts and sums, and
//! percentiles only where they decide the order; percentiles and points are then read for the groups that are shown.

use std::collections::HashMap;

use clickhouse::Row;
use serde::Deserialize;

use super::accounts::AccountFilter;
use super::series::Aggregate;
use crate::client::Store;
use crate::error::{Result, StoreError};

/// What a group is, and the table that answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupSource<'a> {
    /// Accounts, from samples.
    AccountRaw {
        /// Only these accounts.
        accounts: AccountFilter<'a>,
    },
    /// Accounts, from their hours; window edges are whole hours. Percentiles come from their days, where the edges are
    /// whole days.
    AccountHour {
        /// Only these accounts.
        accounts: AccountFilter<'a>,
    },
    /// Conversations, from samples.
    ConversationRaw {
        /// Only those of these accounts.
        accounts: AccountFilter<'a>,
    },
    /// Conversations, from their days, without percentiles; window edges are whole days.
    ConversationDay {
        /// Only those of these accounts.
        accounts: AccountFilter<'a>,
    },
}

/// By what groups are ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupKey {
    /// Samples.
    Count,
    /// Their sum.
    Sum,
    /// Their mean.
    Mean,
    /// The smallest.
    Min,
    /// The greatest.
    Max,
    /// The newest.
    Last,
    /// Their median.
    P50,
    /// Their 95th percentile.
    P95,
    /// Their 99th percentile.
    P99,
}

/// Which groups are asked for. Times are milliseconds since 1970; windows include their start and exclude their end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RankingQuestion<'a> {
    /// What a group is.
    pub source: GroupSource<'a>,
    /// The metric.
    pub metric: &'a str,
    /// Start of the window compared with; the window's own start for none.
    pub previous_from_ms: i64,
    /// End of the window compared with; not after the window's start.
    pub previous_to_ms: i64,
    /// Start of the window.
    pub from_ms: i64,
    /// End of the window.
    pub to_ms: i64,
    /// End of the window's part that is compared; between its start and its end.
    pub compared_to_ms: i64,
    /// What `value` is.
    pub aggregate: Aggregate,
    /// By what they are ranked. A percentile needs a source that has them.
    pub order_by: GroupKey,
    /// Greatest first.
    pub descending: bool,
    /// Groups wanted at most.
    pub top: u32,
}

/// The ranked groups.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ranking {
    /// The first groups, in their order. Of equals the one with more samples, then the lesser id comes first.
    pub groups: Vec<Group>,
    /// The samples that belong to no group; `None` when there are none.
    pub unassigned: Option<GroupFigures>,
    /// Groups there are in all.
    pub group_count: u64,
    /// Every sample of the window; `None` when there is none.
    pub total: Option<GroupFigures>,
}

/// One group and its figures.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The account or conversation.
    pub id: String,
    /// All its samples of the window.
    pub figures: GroupFigures,
    /// Its samples before `compared_to`; `None` when there are none.
    pub compared: Option<Counted>,
    /// Its samples of the window before; `None` when there are none, or no such window was asked for.
    pub previous: Option<Counted>,
}

/// What is known of a set of samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GroupFigures {
    /// Samples.
    pub count: u64,
    /// The samples under the question's aggregate.
    pub value: f64,
    /// Their sum.
    pub sum: f64,
    /// Smallest sample.
    pub min: f64,
    /// Greatest sample.
    pub max: f64,
    /// The newest; of several in one millisecond the greatest.
    pub last: f64,
    /// Time of the newest.
    pub newest_ms: i64,
}

/// A number of samples and their value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Counted {
    /// Samples.
    pub count: u64,
    /// The samples under the question's aggregate.
    pub value: f64,
}

/// The series of groups that are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupSeriesQuestion<'a> {
    /// What a group is.
    pub source: GroupSource<'a>,
    /// The metric.
    pub metric: &'a str,
    /// The groups' ids.
    pub groups: &'a [&'a str],
    /// Start of the window.
    pub from_ms: i64,
    /// End of the window.
    pub to_ms: i64,
    /// Length of a point; points begin at multiples of it.
    pub step_seconds: u32,
    /// What `value` is.
    pub aggregate: Aggregate,
}

/// The series of one group.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GroupSeries {
    /// Median, 95th and 99th percentile of all samples: the value at rank ceil(q * n); `None` where the source has none.
    pub percentiles: Option<[f64; 3]>,
    /// Points that have samples, oldest first.
    pub points: Vec<GroupPoint>,
}

/// A point of a group's series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GroupPoint {
    /// Start, cut at the window's start.
    pub start_ms: i64,
    /// Samples.
    pub count: u64,
    /// The samples under the question's aggregate.
    pub value: f64,
    /// Smallest sample.
    pub min: f64,
    /// Greatest sample.
    pub max: f64,
}

impl Store {
    /// Ranks the groups of a metric.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn ranking(&self, question: &RankingQuestion<'_>) -> Result<Ranking> {
        let query = self
            .view(question.source.ranking_view())
            .await?
            .param("metric", question.metric)
            .param("aggregate", question.aggregate.name())
            .param("previous_from_ms", question.previous_from_ms)
            .param("previous_to_ms", question.previous_to_ms)
            .param("from_ms", question.from_ms)
            .param("to_ms", question.to_ms)
            .param("compared_to_ms", question.compared_to_ms)
            .param("order_by", question.order_by.name())
            .param("descending", u8::from(question.descending))
            .param("top", question.top)
            .param("accounts", question.source.accounts().parameter());
        let rows: Vec<RankedRow> = self.ask("rank a metric's groups", query.fetch_all()).await?;
        Ok(ranked(rows, question.top))
    }

    /// The series of groups, by their ids; a group without samples has none.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn group_series(
        &self,
        question: &GroupSeriesQuestion<'_>,
    ) -> Result<HashMap<String, GroupSeries>> {
        if question.groups.is_empty() {
            return Ok(HashMap::new());
        }
        let query = self
            .view(question.source.series_view())
            .await?
            .param("metric", question.metric)
            .param("aggregate", question.aggregate.name())
            .param("groups", question.groups)
            .param("from_ms", question.from_ms)
            .param("to_ms", question.to_ms)
            .param("step_s", question.step_seconds)
            .param("accounts", question.source.accounts().parameter());
        let rows: Vec<SeriesRow> = self.ask("read the series of groups", query.fetch_all()).await?;
        by_group(rows)
    }
}

impl<'a> GroupSource<'a> {
    fn ranking_view(&self) -> &'static str {
        match self {
            Self::AccountRaw { .. } => "account_groups_raw",
            Self::AccountHour { .. } => "account_groups_hour",
            Self::ConversationRaw { .. } => "conversation_groups_raw",
            Self::ConversationDay { .. } => "conversation_groups_day",
        }
    }

    fn series_view(&self) -> &'static str {
        match self {
            Self::AccountRaw { .. } => "account_group_series_raw",
            Self::AccountHour { .. } => "account_group_series_hour",
            Self::ConversationRaw { .. } => "conversation_group_series_raw",
            Self::ConversationDay { .. } => "conversation_group_series_day",
        }
    }

    fn accounts(&self) -> AccountFilter<'a> {
        match self {
            Self::AccountRaw { accounts }
            | Self::AccountHour { accounts }
            | Self::ConversationRaw { accounts }
            | Self::ConversationDay { accounts } => *accounts,
        }
    }
}

impl GroupKey {
    /// Its name in the views.
    fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Sum => "sum",
            Self::Mean => "mean",
            Self::Min => "min",
            Self::Max => "max",
            Self::Last => "last",
            Self::P50 => "p50",
            Self::P95 => "p95",
            Self::P99 => "p99",
        }
    }
}

#[derive(Debug, Row, Deserialize)]
struct RankedRow {
    group_id: String,
    count: u64,
    value: f64,
    sum: f64,
    min: f64,
    max: f64,
    newest: i64,
    last: f64,
    compared_count: u64,
    compared_value: Option<f64>,
    previous_count: u64,
    previous_value: Option<f64>,
    group_count: u64,
    total_count: u64,
    total_sum: f64,
    total_min: f64,
    total_max: f64,
    total_newest: i64,
    total_last: f64,
    total_value: f64,
}

impl RankedRow {
    fn figures(&self) -> GroupFigures {
        GroupFigures {
            count: self.count,
            value: self.value,
            sum: self.sum,
            min: self.min,
            max: self.max,
            last: self.last,
            newest_ms: self.newest,
        }
    }

    fn total(&self) -> GroupFigures {
        GroupFigures {
            count: self.total_count,
            value: self.total_value,
            sum: self.total_sum,
            min: self.total_min,
            max: self.total_max,
            last: self.total_last,
            newest_ms: self.total_newest,
        }
    }
}

#[derive(Debug, Row, Deserialize)]
struct SeriesRow {
    group_id: String,
    section: String,
    t: i64,
    count: u64,
    value: f64,
    min: f64,
    max: f64,
    p50: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
}

fn ranked(rows: Vec<RankedRow>, top: u32) -> Ranking {
    let mut ranking = Ranking::default();
    if let Some(row) = rows.first() {
        ranking.group_count = row.group_count;
        ranking.total = Some(row.total());
    }
    for row in rows {
        let figures = row.figures();
        if row.group_id.is_empty() {
            ranking.unassigned = Some(figures);
        } else {
            let counted = |count, value: Option<f64>| value.map(|value| Counted { count, value });
            ranking.groups.push(Group {
                id: row.group_id,
                figures,
                compared: counted(row.compared_count, row.compared_value),
                previous: counted(row.previous_count, row.previous_value),
            });
        }
    }
    ranking.groups.truncate(top as usize);
    ranking
}

fn by_group(rows: Vec<SeriesRow>) -> Result<HashMap<String, GroupSeries>> {
    let mut found: HashMap<String, GroupSeries> = HashMap::new();
    for row in rows {
        let series = found.entry(row.group_id).or_default();
        match row.section.as_str() {
            "point" => {
                series.points.push(GroupPoint {
                    start_ms: row.t,
                    count: row.count,
                    value: row.value,
                    min: row.min,
                    max: row.max,
                });
            }
            "group" => {
                series.percentiles = match (row.p50, row.p95, row.p99) {
                    (Some(p50), Some(p95), Some(p99)) => Some([p50, p95, p99]),
                    _ => None,
                };
            }
            other => {
                return Err(StoreError::Unexpected {
                    action: "read the series of groups".to_owned(),
                    detail: format!("a row of section {other:?}"),
                });
            }
        }
    }
    Ok(found)
}
