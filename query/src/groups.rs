//! The answer of `metrics/detailed/{metric}?group_by=…`: one metric over one range, by account or by conversation.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use kelly_auth::Accounts;
use kelly_schemas::catalogue::{Aggregate, Bad, Definition};
use kelly_schemas::limits;
use kelly_sql::queries::{GroupKey, GroupSource};
use serde::Serialize;
use utoipa::ToSchema;

use crate::comparison::{Change, Compare, ComparedWindows};
use crate::detailed::{Freshness, MetricDefinition, Thresholds, check_text};
use crate::error::QueryError;
use crate::limits::{MAX_TOP, TooLarge};
use crate::percentiles::Percentiles;
use crate::plan::{Asked, Scope};
use crate::range::RangeRequest;
use crate::retention::Kept;
use crate::tier::Tier;
use crate::whose::Whose;
use crate::window::{Resolution, Window};

/// Groups shown unless the asker says how many.
pub const DEFAULT_TOP: u32 = 10;

/// What to answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GroupsRequest {
    /// Any metric name; one never seen answers empty.
    pub metric_name: String,
    /// Over which time.
    pub range: RangeRequest,
    /// What a group is.
    pub group_by: GroupBy,
    /// By what groups are ranked; `None` for the metric's own aggregate.
    pub order_by: Option<OrderBy>,
    /// Which come first; `None` for what [`Order`] says.
    pub order: Option<Order>,
    /// Groups shown at most.
    pub top: u32,
    /// The accounts that the asker may see.
    pub accounts: Accounts,
    /// Only this account, one of those; together with [`GroupBy::Conversation`] only.
    pub account_id: Option<String>,
    /// What the window is compared with, if with anything.
    pub compare: Option<Compare>,
}

/// What a group is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum GroupBy {
    /// The samples of one account.
    Account,
    /// The samples of one conversation.
    Conversation,
}

/// By what groups are ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OrderBy {
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

/// Which groups come first. Unless said, most samples and greatest sums do; by any other figure the worst in the metric's
/// own direction (`definition.bad_direction`), and the greatest where neither direction is bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// The smallest.
    Asc,
    /// The greatest.
    Desc,
}

/// One metric over one range, by account or by conversation. A range without samples has empty lists and nulls.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct MetricGroups {
    /// The metric.
    pub metric_name: String,
    /// What a group is.
    pub group_by: GroupBy,
    /// By what the groups are ranked.
    pub order_by: OrderBy,
    /// Which come first; of equals the group with more samples, then the lesser id.
    pub order: Order,
    /// Groups shown at most.
    pub top: u32,
    /// Groups that have samples in the window, shown or not.
    pub group_count: u64,
    /// The first of them, in their order.
    pub groups: Vec<MetricGroup>,
    /// The groups that are not shown, together; null when all are shown.
    pub remainder: Option<Remainder>,
    /// Samples that name no account (or no conversation), together; they are no group. Null when there are none.
    pub unassigned: Option<Share>,
    /// Every sample of the window: groups, remainder and unassigned together. Null when there are none.
    pub total: Option<GroupTotal>,
    /// The windows that each group's `comparison` compares, where one is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compared: Option<ComparedWindows>,
    /// The account asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    /// Where the metric becomes worrying.
    pub thresholds: Thresholds,
    /// What the metric means.
    pub definition: MetricDefinition,
    /// The time answered: the range asked for, widened to whole units of the tier.
    pub window: Window,
    /// How much of `window` the store still keeps; `notes` says since when.
    pub window_kept: Kept,
    /// The length of the intervals of the groups' series.
    pub resolution: Resolution,
    /// The table that answered.
    pub tier: Tier,
    /// How old the newest sample is.
    pub freshness: Freshness,
    /// Largest relative error of a group's percentile, of magnitudes from `percentile_least_magnitude` on: 0.01 from
    /// histograms, 0 where samples were sorted, null where there are no percentiles whatever the samples.
    pub percentile_error_bound: Option<f64>,
    /// Samples of a smaller magnitude count as 0 in percentiles, so that these are off by less than it: 1e-130 from
    /// histograms, 0 where samples were sorted, null where there are no percentiles.
    pub percentile_least_magnitude: Option<f64>,
    /// What the answer lacks and why, for people; empty when it lacks nothing.
    pub notes: Vec<String>,
}

/// The samples of one account or one conversation.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct MetricGroup {
    /// The account or the conversation.
    pub id: String,
    /// Its place in the order, from 1.
    pub rank: u32,
    /// Its samples under the metric's own aggregate (`definition.aggregate`).
    pub value: f64,
    /// Samples.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// Their mean.
    pub mean: f64,
    /// Smallest sample.
    pub min: f64,
    /// Greatest sample.
    pub max: f64,
    /// Newest sample; of several in one millisecond the greatest.
    pub last: f64,
    /// Time of the newest sample.
    pub newest_sample: Option<DateTime<Utc>>,
    /// Percentiles of all its samples: the value at rank ceil(q * n). Null where the tier has none: see
    /// `percentile_error_bound` and `notes`.
    pub percentiles: Percentiles,
    /// Its part of the total's `count`, 0 to 1.
    pub share_of_count: f64,
    /// Its part of the total's `sum`; null unless the metric is one that is summed, of which no sample is negative and the sum is
    /// not 0.
    pub share_of_sum: Option<f64>,
    /// What changed since the period before, where it is asked for; what is compared says `compared` of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Change>,
    /// Its series, oldest first; an interval without samples has no entry.
    pub series: Vec<GroupPoint>,
}

/// One interval of a group's series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
#[schema(as = MetricGroupPoint)]
pub struct GroupPoint {
    /// Start of the interval; the first is cut at the window's start.
    pub timestamp: DateTime<Utc>,
    /// Whether part of the interval lies outside the window or in the time to come.
    pub partial: bool,
    /// The samples under the metric's own aggregate.
    pub value: f64,
    /// Samples.
    pub count: u64,
    /// Smallest sample.
    pub min: f64,
    /// Greatest sample.
    pub max: f64,
}

/// Everything else: the groups that are not shown.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
#[schema(as = MetricGroupRemainder)]
pub struct Remainder {
    /// How many.
    pub groups: u64,
    /// Their samples together. Only what adds up is given: there is no minimum, maximum or percentile of the rest.
    #[serde(flatten)]
    pub share: Share,
}

/// Samples together, by what adds up.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
#[schema(as = MetricGroupShare)]
pub struct Share {
    /// Samples.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// Their mean.
    pub mean: f64,
    /// Their part of the total's `count`, 0 to 1.
    pub share_of_count: f64,
    /// Their part of the total's `sum`; null where a group's is.
    pub share_of_sum: Option<f64>,
}

/// Every sample of a window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
#[schema(as = MetricGroupTotal)]
pub struct GroupTotal {
    /// The samples under the metric's own aggregate.
    pub value: f64,
    /// Samples.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// Their mean.
    pub mean: f64,
    /// Smallest sample.
    pub min: f64,
    /// Greatest sample.
    pub max: f64,
    /// Newest sample.
    pub last: f64,
}

impl GroupBy {
    /// Every kind of group.
    pub const ALL: [Self; 2] = [Self::Account, Self::Conversation];

    /// The name as it is asked for.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Conversation => "conversation",
        }
    }
}

impl FromStr for GroupBy {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|by| by.name() == text)
            .ok_or_else(|| QueryError::bad("group_by", "is neither account nor conversation"))
    }
}

impl OrderBy {
    /// Everything groups can be ranked by.
    pub const ALL: [Self; 9] = [
        Self::Count,
        Self::Sum,
        Self::Mean,
        Self::Min,
        Self::Max,
        Self::Last,
        Self::P50,
        Self::P95,
        Self::P99,
    ];

    /// The name as it is asked for.
    #[must_use]
    pub fn name(self) -> &'static str {
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

    /// What a metric's groups are ranked by unless something else is asked for.
    pub(crate) fn of(aggregate: Aggregate) -> Self {
        match aggregate {
            Aggregate::Mean => Self::Mean,
            Aggregate::Sum => Self::Sum,
            Aggregate::Last => Self::Last,
            Aggregate::Max => Self::Max,
        }
    }

    /// Which groups come first unless something else is asked for.
    pub(crate) fn order(self, bad: Bad) -> Order {
        match (self, bad) {
            (Self::Count | Self::Sum, _) | (_, Bad::Up | Bad::Neither) => Order::Desc,
            (_, Bad::Down) => Order::Asc,
        }
    }

    pub(crate) fn is_percentile(self) -> bool {
        matches!(self, Self::P50 | Self::P95 | Self::P99)
    }

    pub(crate) fn key(self) -> GroupKey {
        match self {
            Self::Count => GroupKey::Count,
            Self::Sum => GroupKey::Sum,
            Self::Mean => GroupKey::Mean,
            Self::Min => GroupKey::Min,
            Self::Max => GroupKey::Max,
            Self::Last => GroupKey::Last,
            Self::P50 => GroupKey::P50,
            Self::P95 => GroupKey::P95,
            Self::P99 => GroupKey::P99,
        }
    }
}

impl FromStr for OrderBy {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|key| key.name() == text).ok_or_else(|| {
            QueryError::bad("order_by", "is none of count, sum, mean, min, max, last, p50, p95, p99")
        })
    }
}

impl FromStr for Order {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "asc" => Ok(Self::Asc),
            "desc" => Ok(Self::Desc),
            _ => Err(QueryError::bad("order", "is neither asc nor desc; leave it out for the worst first")),
        }
    }
}

impl GroupsRequest {
    /// Refuses what no sample can have, what asks for too much, what can only be one group, and an account that the asker may not
    /// see.
    ///
    /// # Errors
    /// Naming the parameter at fault.
    pub fn check(&self) -> Result<(), QueryError> {
        self.whose().map(drop)
    }

    /// Whose samples are asked for, of a question that is not refused.
    pub(crate) fn whose(&self) -> Result<Whose<'_>, QueryError> {
        check_text("metric_type", Some(&self.metric_name), limits::METRIC_NAME_CHARACTERS)?;
        check_text("account_id", self.account_id.as_deref(), limits::ACCOUNT_ID_CHARACTERS)?;
        if self.group_by == GroupBy::Account && self.account_id.is_some() {
            return Err(QueryError::bad(
                "account_id",
                "leaves one group of `group_by=account`; ask without `group_by`, or with `group_by=conversation`",
            ));
        }
        match self.top {
            0 => Err(QueryError::bad("top", format!("is 0; ask for 1 to {MAX_TOP} groups"))),
            top if top > MAX_TOP => Err(TooLarge::of_top(top).into()),
            _ => Whose::asked(self.account_id.as_deref(), &self.accounts),
        }
    }

    pub(crate) fn asked(&self) -> Asked {
        let scope = match self.group_by {
            GroupBy::Account => Scope::Account,
            GroupBy::Conversation => Scope::Conversation,
        };
        Asked { range: self.range, scope, step_seconds: None }
    }

    pub(crate) fn source<'a>(&self, whose: &'a Whose<'a>, tier: Tier) -> GroupSource<'a> {
        let accounts = whose.filter();
        match (self.group_by, tier) {
            (GroupBy::Account, Tier::Raw) => GroupSource::AccountRaw { accounts },
            (GroupBy::Account, _) => GroupSource::AccountHour { accounts },
            (GroupBy::Conversation, Tier::Raw) => GroupSource::ConversationRaw { accounts },
            (GroupBy::Conversation, _) => GroupSource::ConversationDay { accounts },
        }
    }

    /// By what and in which order, where the asker left it open by what the metric means.
    pub(crate) fn ranking(&self, definition: &Definition) -> (OrderBy, Order) {
        let order_by = self.order_by.unwrap_or_else(|| OrderBy::of(definition.aggregate));
        (order_by, self.order.unwrap_or_else(|| order_by.order(definition.bad)))
    }
}
