//! The parameters that turn the drill-down into one by account or by conversation, and the answer that is either.

use kelly_query::groups::{DEFAULT_TOP, GroupBy, Order, OrderBy};
use kelly_query::{Detailed, GroupsRequest, MetricGroups};
use serde::Serialize;
use utoipa::ToSchema;

use crate::parameters::Parameters;
use crate::routes::question::{MetricQuestion, reason};

/// The parameters, beside those of every drill-down.
pub(crate) const GROUPING_PARAMETERS: [&str; 4] = ["group_by", "top", "order_by", "order"];

/// How to group, as it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grouping {
    pub(crate) by: GroupBy,
    pub(crate) order_by: Option<OrderBy>,
    pub(crate) order: Option<Order>,
    pub(crate) top: u32,
}

impl Grouping {
    /// The question about one metric's groups.
    pub(crate) fn of(self, metric_name: String, asked: MetricQuestion) -> GroupsRequest {
        GroupsRequest {
            metric_name,
            range: asked.range,
            group_by: self.by,
            order_by: self.order_by,
            order: self.order,
            top: self.top,
            account_id: asked.account_id,
            compare: asked.compare,
        }
    }
}

/// The drill-down: one series, or with `group_by` the groups.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum DrillDown {
    /// Without `group_by`.
    Whole(Box<Detailed>),
    /// With it.
    Groups(Box<MetricGroups>),
}

/// Reads the grouping, if one is asked for. Its parameters without `group_by` are a mistake.
pub(crate) fn grouping(parameters: &mut Parameters) -> Option<Grouping> {
    let is_asked = parameters.has("group_by");
    let by = parameters.parse("group_by", |text| text.parse::<GroupBy>().map_err(reason));
    let order_by = parameters.parse("order_by", |text| text.parse::<OrderBy>().map_err(reason));
    let order = parameters.parse("order", |text| text.parse::<Order>().map_err(reason));
    let top = parameters.parse("top", |text| {
        text.parse::<u32>().map_err(|_| "is no whole number; give how many groups to show".to_owned())
    });
    if !is_asked {
        for (name, given) in
            [("order_by", order_by.is_some()), ("order", order.is_some()), ("top", top.is_some())]
        {
            if given {
                parameters.fault(name, "needs `group_by=account` or `group_by=conversation`".to_owned());
            }
        }
    }
    Some(Grouping { by: by?, order_by, order, top: top.unwrap_or(DEFAULT_TOP) })
}
