//! The tiers answers come from, and their units of time.

use serde::Serialize;
use utoipa::ToSchema;

// Lengths of time, in seconds.
pub(crate) const MINUTE: u32 = 60;
pub(crate) const HOUR: u32 = 3_600;
pub(crate) const DAY: u32 = 86_400;

/// Where an answer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// The samples themselves.
    Raw,
    /// Minutes of one metric.
    Minute,
    /// Hours of one metric.
    Hour,
    /// Hours of one metric and account, with percentiles of whole days (UTC).
    AccountHour,
    /// Days of one metric and conversation, without percentiles.
    ConversationDay,
}

/// The interval at which the tier counts and sums, which may be finer than its percentiles.
pub(crate) fn counting_unit(tier: Tier) -> u32 {
    match tier {
        Tier::Raw | Tier::Minute => MINUTE,
        Tier::Hour | Tier::AccountHour => HOUR,
        Tier::ConversationDay => DAY,
    }
}
