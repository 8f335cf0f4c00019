//! An activity event: something that happened, for people to read in the feed.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::decode::metadata;

/// The category of an event whose producer named none.
pub const DEFAULT_CATEGORY: &str = "general";

/// The category that makes an event a VIP's.
pub const VIP_CATEGORY: &str = "vip";

/// How much an event matters.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    #[default]
    Low,
    /// Worth a look.
    Medium,
    /// Needs somebody soon.
    High,
    /// Needs somebody now.
    Critical,
}

impl Severity {
    /// Every severity, mildest first.
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];

    /// As it is written on the log, in the store and in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// Reads what [`as_str`](Self::as_str) writes; anything else is `None`, also in other letter case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.as_str() == text)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// One row of `activity_events`, borrowing from the message it came in wherever that is possible.
/// Every string is within the bounds of [`limits`](crate::limits); "" stands for an absent one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Activity<'a> {
    /// Identity: an event recorded twice under one id shows once. Derived from the position on the
    /// log where the producer gave none ([`ids::derived_event_id`](crate::ids::derived_event_id)).
    pub id: Uuid,
    /// What kind of thing happened, e.g. `user_interaction`.
    pub event_type: Cow<'a, str>,
    /// One line for people.
    pub title: Cow<'a, str>,
    /// More lines for people.
    pub description: Cow<'a, str>,
    /// The account it is about.
    pub account_id: Cow<'a, str>,
    /// The conversation it is about.
    pub conversation_id: Cow<'a, str>,
    /// The user it is about.
    pub user_id: Cow<'a, str>,
    /// How much it matters.
    pub severity: Severity,
    /// Free grouping, [`DEFAULT_CATEGORY`] where the producer named none.
    pub category: Cow<'a, str>,
    /// When it happened, ms since the epoch; where the producer said nothing, the time in its
    /// UUIDv7, else the log's time.
    pub created_at_ms: i64,
    /// Everything else the producer said, as the text of one JSON object; never conversation content.
    pub metadata: Cow<'a, str>,
}

impl Activity<'_> {
    /// Whether the event belongs in the VIP feed: its metadata says `"vip": true`, or its severity is
    /// high or critical, or its category is `vip`.
    #[must_use]
    pub fn is_vip(&self) -> bool {
        self.severity >= Severity::High || self.category == VIP_CATEGORY || metadata::says_vip(&self.metadata)
    }

    /// The key on the log: events of one conversation, else of one account, else of one type, keep their order.
    #[must_use]
    pub fn partition_key(&self) -> &str {
        [&self.conversation_id, &self.account_id]
            .into_iter()
            .find(|candidate| !candidate.is_empty())
            .unwrap_or(&self.event_type)
    }
}
