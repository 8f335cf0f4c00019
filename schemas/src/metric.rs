//! A metric: one number about an account, a conversation, or the whole system.

use std::borrow::Cow;

use serde::Serialize;

/// One row of `system_metrics`, borrowing from the message it came in wherever that is possible.
/// Every string is within the bounds of [`limits`](crate::limits); "" stands for an absent one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metric<'a> {
    /// What is measured, e.g. `response_time`.
    pub metric_name: Cow<'a, str>,
    /// How it behaves; where the producer said nothing, the catalogue's kind of the name (`gauge` or `counter`).
    pub metric_type: Cow<'a, str>,
    /// The number: finite, at most [`VALUE_MAGNITUDE`](crate::limits::VALUE_MAGNITUDE) in magnitude.
    pub value: f64,
    /// When it was measured, ms since the epoch; where the producer said nothing, the log's time.
    pub timestamp_ms: i64,
    /// The account it is about.
    pub account_id: Cow<'a, str>,
    /// The conversation it is about.
    pub conversation_id: Cow<'a, str>,
    /// The user it is about.
    pub user_id: Cow<'a, str>,
    /// Everything else the producer said, as the text of one JSON object; never conversation content.
    pub metadata: Cow<'a, str>,
}

impl Metric<'_> {
    /// The key on the log: rows of one conversation, else of one account, else of one metric, keep their order.
    #[must_use]
    pub fn partition_key(&self) -> &str {
        [&self.conversation_id, &self.account_id]
            .into_iter()
            .find(|candidate| !candidate.is_empty())
            .unwrap_or(&self.metric_name)
    }
}
