//! The parameters that turn the drill-down into one by account or by conversation, and the answer that is either.

use kelly_auth::Accounts;
use kelly_query::groups::{DEFAULT_TOP, GroupBy, Order, OrderBy};
use kelly_query::{Detailed, GroupsRequest, MetricGroups};
use serde::Serialize;
use utoipa::ToSchema;

use crate::parameters::{Given, Top, parameters};
use crate::routes::question::MetricQuestion;

parameters! {
    /// How to group.
    #[derive(Debug, Clone)]
    pub(crate) struct GroupingParameters {
        /// By account or by conversation. Not together with `conversation_id` or `step`.
        pub(crate) group_by: Option<GroupBy>,
        /// With `group_by`: groups shown at most; 10 unless said.
        top: Option<Top>,
        /// With `group_by`: by what groups are ranked; the metric's own aggregate unless said. Conversations older than
        /// samples are kept have no percentiles.
        order_by: Option<OrderBy>,
        /// With `group_by`: smallest (asc) or greatest (desc) first. Unless said, most samples and greatest sums first,
        /// and by any other figure the worst first, in the metric's own direction.
        order: Option<Order>,
    }
    checked by fits_its_question
}

fn fits_its_question(given: &mut Given) {
    if given.has("group_by") {
        if given.has("conversation_id") {
            given.fault("conversation_id", "leaves one group; ask without `group_by`");
        }
        if given.has("step") {
            let reason = "is chosen by the range where there is `group_by`; ask without the one or the other";
            given.fault("step", reason);
        }
    } else {
        for name in ["order_by", "order", "top"] {
            if given.has(name) {
                given.fault(name, "needs `group_by=account` or `group_by=conversation`");
            }
        }
    }
}

impl GroupingParameters {
    /// The question about the groups of one metric, if groups are asked for, by somebody who may see these accounts.
    pub(crate) fn question(
        &self,
        metric_name: &str,
        asked: &MetricQuestion,
        accounts: &Accounts,
    ) -> Option<GroupsRequest> {
        let group_by = self.group_by?;
        Some(GroupsRequest {
            metric_name: metric_name.to_owned(),
            range: asked.range.clone().into(),
            group_by,
            order_by: self.order_by,
            order: self.order,
            top: self.top.map_or(DEFAULT_TOP, |top| top.0),
            accounts: accounts.clone(),
            account_id: asked.subject.account_id.clone().map(|id| id.0),
            compare: asked.compare,
        })
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
