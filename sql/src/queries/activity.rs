//! Pages of the activity feed.

use clickhouse::Row;
use clickhouse::query::Query;
use serde::Deserialize;
use uuid::Uuid;

use super::accounts::AccountFilter;
use crate::client::Store;
use crate::error::{Result, StoreError};

/// Which events; all that are set must match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActivityFilter<'a> {
    /// Severity.
    pub severity: Option<&'a str>,
    /// Type.
    pub event_type: Option<&'a str>,
    /// Accounts.
    pub accounts: AccountFilter<'a>,
    /// Only those of the VIP feed.
    pub vip_only: bool,
}

/// The order of the feed: newest first, among those of one instant by id, as ClickHouse orders UUIDs, and among those of one id
/// by their account. Together they are an event: an id is one within its account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivityKey {
    /// When the event happened, in milliseconds since 1970.
    pub created_at_ms: i64,
    /// Its id.
    pub id: Uuid,
    /// Its account; empty where it has none.
    pub account_id: String,
}

impl ActivityKey {
    /// Comes before every event: a feed that begins here begins with the newest.
    pub const NEWEST: Self =
        Self { created_at_ms: kelly_schemas::limits::LATEST_MS, id: Uuid::max(), account_id: String::new() };
}

/// An event; an absent text is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivityRow {
    /// Where it stands in the feed.
    pub key: ActivityKey,
    /// Type.
    pub event_type: String,
    /// One line.
    pub title: String,
    /// More.
    pub description: String,
    /// Conversation.
    pub conversation_id: String,
    /// User.
    pub user_id: String,
    /// Severity.
    pub severity: String,
    /// Category.
    pub category: String,
    /// Whether it belongs to the VIP feed.
    pub is_vip: bool,
    /// A JSON object as text.
    pub metadata: String,
    /// Whether this row stands for its event; false for one that records it again.
    pub counts: bool,
}

impl Store {
    /// The first `max_rows` rows after `after`, newest first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn activity_page(
        &self,
        filter: &ActivityFilter<'_>,
        after: &ActivityKey,
        max_rows: u32,
    ) -> Result<Vec<ActivityRow>> {
        let query = filter.parameters(self.view("activity_page").await?, after, max_rows);
        let rows: Vec<EventRow> = self.ask("read the activity feed", query.fetch_all()).await?;
        rows.into_iter().map(EventRow::event).collect()
    }
}

impl ActivityFilter<'_> {
    pub(super) fn parameters(&self, query: Query, after: &ActivityKey, max_rows: u32) -> Query {
        query
            .param("before_ms", after.created_at_ms)
            .param("before_id", after.id.to_string())
            .param("before_account", &after.account_id)
            .param("severity", self.severity.unwrap_or_default())
            .param("event_type", self.event_type.unwrap_or_default())
            .param("accounts", self.accounts.parameter())
            .param("vip_only", u8::from(self.vip_only))
            .param("max_rows", max_rows)
    }
}

#[derive(Debug, Row, Deserialize)]
struct EventRow {
    id: String,
    created_at: i64,
    event_type: String,
    title: String,
    description: String,
    account_id: String,
    conversation_id: String,
    user_id: String,
    severity: String,
    category: String,
    is_vip: u8,
    metadata: String,
    counts: u8,
}

impl EventRow {
    fn event(self) -> Result<ActivityRow> {
        let id = Uuid::parse_str(&self.id).map_err(|error| StoreError::Unexpected {
            action: "read the activity feed".to_owned(),
            detail: format!("an event's id is no UUID: {error}"),
        })?;
        Ok(ActivityRow {
            key: ActivityKey { created_at_ms: self.created_at, id, account_id: self.account_id },
            event_type: self.event_type,
            title: self.title,
            description: self.description,
            conversation_id: self.conversation_id,
            user_id: self.user_id,
            severity: self.severity,
            category: self.category,
            is_vip: self.is_vip != 0,
            metadata: self.metadata,
            counts: self.counts != 0,
        })
    }
}
