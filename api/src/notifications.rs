//! What the API needs of notifications.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

/// Tells how notifications go, tries destinations, sends again what was given up.
#[async_trait]
pub trait Notifications: Send + Sync {
    /// How they go.
    ///
    /// # Errors
    /// When none are set up.
    fn report(&self) -> Result<NotificationsReport, NotNotified>;
    /// What was given up, the newest first.
    ///
    /// # Errors
    /// When none are set up.
    fn dead(&self) -> Result<Vec<DeadNotification>, NotNotified>;
    /// Sends a message to a destination that says it is a test.
    ///
    /// # Errors
    /// When there is no such destination.
    async fn test(&self, destination: &str) -> Result<TestOutcome, NotNotified>;
    /// Sends one that was given up again.
    ///
    /// # Errors
    /// When there is none of this id.
    async fn replay(&self, id: &str) -> Result<ReplayOutcome, NotNotified>;
    /// Sends all of a destination again.
    ///
    /// # Errors
    /// When there is no such destination.
    async fn replay_all(&self, destination: &str) -> Result<ReplayOutcome, NotNotified>;
}

/// Why nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotNotified {
    /// No file says whom to tell.
    #[error("notifications are not set up")]
    NotSetUp,
    /// No such destination, or no such message.
    #[error("there is no such thing")]
    Unknown,
    /// The log does not take what is asked.
    #[error("the log did not take it: {reason}")]
    Unavailable {
        /// For the operator's log.
        reason: String,
    },
}

/// How notifications go.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct NotificationsReport {
    /// Groups of alerts that were told of and are not over, counted once for each destination.
    #[schema(example = 3)]
    pub open: u64,
    /// The destinations.
    pub destinations: Vec<DestinationReport>,
}

/// Whether a destination takes messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DestinationHealth {
    /// It does, as far as is known.
    Well,
    /// It asked to be left alone for a while.
    Busy,
    /// It does not know us, or is gone: nothing is sent until that is mended.
    Ill,
}

/// A destination.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct DestinationReport {
    /// Its id.
    #[schema(example = "slack-ops")]
    pub id: String,
    /// What it is.
    #[schema(example = "slack")]
    pub kind: String,
    /// Whether it takes messages.
    pub health: DestinationHealth,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Since when that is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// Messages that wait.
    pub waiting: u64,
    /// Messages it took.
    pub sent: u64,
    /// Tries that failed.
    pub failed: u64,
    /// Messages that were given up.
    pub dead: u64,
}

/// A message that was given up.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct DeadNotification {
    /// Its id.
    #[schema(example = "3f2a9c04b1d84e77a0c5e6f1d2b3a498")]
    pub id: String,
    /// Where it was to go.
    #[schema(example = "slack-ops")]
    pub destination: String,
    /// Why it was to be sent.
    #[schema(example = "firing")]
    pub reason: String,
    /// What it says, in a line.
    pub title: String,
    /// Why it was given up.
    #[schema(example = "it answered 400")]
    pub problem: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// What came of a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TestOutcome {
    /// Whether the destination took it.
    pub delivered: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct ReplayOutcome {
    /// Messages that are sent again.
    #[schema(example = 1)]
    pub messages: u64,
}
