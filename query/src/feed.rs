//! The activity feed: newest events first, in pages that stay right while events arrive.

use chrono::{DateTime, Utc};
use kelly_auth::Accounts;
use kelly_schemas::limits;
use kelly_sql::Store;
use kelly_sql::queries::{ActivityFilter, ActivityKey, ActivityRow, ReadableRow};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::cursor::{self, Filters};
use crate::detailed::check_text;
use crate::error::QueryError;
use crate::metadata::Metadata;
use crate::reader::{ReaderView, Reading};
use crate::reading::{Asked, Scope};
use crate::whose::Whose;

/// Most events a page may hold.
pub const MAX_LIMIT: u32 = 200;
/// Events of a page when nobody says.
pub const DEFAULT_LIMIT: u32 = 50;

/// Reads of the store one page may take. More are needed only where almost every row records again an event
/// that is there already; such a page is short, and its cursor goes on behind what was read.
const MAX_READS: u32 = 6;
/// Rows of the largest read: later reads of a page grow, for they follow where repeats are dense.
const MAX_READ_ROWS: u32 = 4_000;

/// What to answer. Every filter that is set must match; matching is exact.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FeedRequest {
    /// The accounts that the asker may see.
    pub accounts: Accounts,
    /// Events of the page, 1 to [`MAX_LIMIT`]; `None` is [`DEFAULT_LIMIT`].
    pub limit: Option<u32>,
    /// `next_cursor` of the page before; `None` starts at the newest event.
    pub cursor: Option<String>,
    /// `low`, `medium`, `high` or `critical`.
    pub severity: Option<String>,
    /// Only this type.
    pub event_type: Option<String>,
    /// Only this account, one of those.
    pub account_id: Option<String>,
    /// For a user whose events say whether they are read; `None` for a page that is the same to everybody.
    pub reader: Option<ReaderView>,
}

/// One page, newest first. An event recorded twice under one id for its account is in it once.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct FeedPage {
    /// The events.
    pub events: Vec<FeedEvent>,
    /// Where the newest event of the page stands: given to mark-read as `up_to`, with the same filters, it marks this page and
    /// everything older. Null on a page without events.
    pub newest_cursor: Option<String>,
    /// Give this as `cursor` for the next, older page; null on the last one.
    pub next_cursor: Option<String>,
    /// Whether there are older events.
    pub has_more: bool,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct FeedEvent {
    /// Its id.
    pub id: Uuid,
    /// Its type.
    pub event_type: String,
    /// One line.
    pub title: String,
    /// More; null when there is none.
    pub description: Option<String>,
    /// The account concerned.
    pub account_id: Option<String>,
    /// The conversation concerned.
    pub conversation_id: Option<String>,
    /// The user concerned.
    pub user_id: Option<String>,
    /// `low`, `medium`, `high` or `critical`.
    pub severity: String,
    /// Its category.
    pub category: String,
    /// When it happened.
    pub created_at: DateTime<Utc>,
    /// Whether it belongs to the VIP feed: marked `"vip": true` in its metadata, of severity high or
    /// critical, or of category `vip`.
    pub is_vip: bool,
    /// What the producer added, as it was recorded; null when nothing.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Metadata>,
    /// Whether you have read it; only where `unread` is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_read: Option<bool>,
}

/// Reads a page. The order is (created_at, id, account), which never change, so rows that arrive meanwhile move nothing:
/// newer ones belong before the first page, older ones come where they belong.
pub(crate) async fn page(
    store: &Store,
    request: &FeedRequest,
    vip_only: bool,
) -> Result<FeedPage, QueryError> {
    let (limit, whose) = request.asked()?;
    let limit = limit as usize;
    let filters = request.filters(vip_only);
    let mut after = match &request.cursor {
        None => ActivityKey::NEWEST,
        Some(cursor) => cursor::decode(cursor, &filters)?,
    };
    let filter = ActivityFilter {
        severity: filters.severity,
        event_type: filters.event_type,
        accounts: whose.filter(),
        vip_only,
    };
    let source = Source::of(store, request, &whose, vip_only).await?;
    let mut rows: Vec<Shown> = Vec::with_capacity(limit + 1);
    let mut exhausted = false;
    // One row more than the page holds tells whether there is another page.
    let mut read_rows = limit as u32 + 1;
    for _ in 0..MAX_READS {
        let read = source.read(store, &filter, &after, read_rows).await?;
        exhausted = read.len() < read_rows as usize;
        after = read.last().map_or(after, |shown| shown.row.key.clone());
        rows.extend(read.into_iter().filter(|shown| shown.row.counts && source.wants(shown)));
        if exhausted || rows.len() > limit {
            break;
        }
        read_rows = (read_rows * 2).min(MAX_READ_ROWS);
    }
    let has_more = !exhausted || rows.len() > limit;
    let last = if rows.len() > limit { rows[limit - 1].row.key.clone() } else { after };
    rows.truncate(limit);
    Ok(FeedPage {
        newest_cursor: rows.first().map(|newest| cursor::encode(&newest.row.key, &filters)),
        events: rows.into_iter().map(FeedEvent::from).collect(),
        next_cursor: has_more.then(|| cursor::encode(&last, &filters)),
        has_more,
    })
}

/// A row, and whether the user has read it, where one asks.
struct Shown {
    row: ActivityRow,
    is_read: Option<bool>,
}

/// Where a page's rows come from.
enum Source<'a> {
    /// The feed that is the same to everybody.
    Everybodys,
    /// The feed of a user.
    Of(&'a ReaderView, Reading),
}

impl<'a> Source<'a> {
    async fn of(
        store: &Store,
        request: &'a FeedRequest,
        whose: &Whose<'_>,
        vip_only: bool,
    ) -> Result<Self, QueryError> {
        let Some(view) = &request.reader else { return Ok(Self::Everybodys) };
        let (severity, event_type) = (request.severity.as_deref(), request.event_type.as_deref());
        let asked = Scope::of(severity, event_type, whose, vip_only);
        Ok(Self::Of(view, Reading::of(store, &view.reader, &asked).await?))
    }

    async fn read(
        &self,
        store: &Store,
        filter: &ActivityFilter<'_>,
        after: &ActivityKey,
        max_rows: u32,
    ) -> Result<Vec<Shown>, QueryError> {
        let failed = QueryError::from_store("activity feed");
        match self {
            Self::Everybodys => {
                let rows = store.activity_page(filter, after, max_rows).await.map_err(failed)?;
                Ok(rows.into_iter().map(|row| Shown { row, is_read: None }).collect())
            }
            Self::Of(view, reading) => {
                let reader = reading.filter(&view.reader, view.unread_only);
                let rows = store.activity_page_of_reader(filter, &reader, after, max_rows).await;
                let shown = |ReadableRow { event, place, is_marked }| {
                    let asked = Asked {
                        key: &event.key,
                        event_type: &event.event_type,
                        severity: &event.severity,
                        is_vip: event.is_vip,
                        place,
                    };
                    let is_read = is_marked || reading.watermarks.cover(&asked);
                    Shown { is_read: Some(is_read), row: event }
                };
                Ok(rows.map_err(failed)?.into_iter().map(shown).collect())
            }
        }
    }

    fn wants(&self, shown: &Shown) -> bool {
        match self {
            Self::Everybodys => true,
            Self::Of(view, _) => !view.unread_only || shown.is_read != Some(true),
        }
    }
}

impl FeedRequest {
    /// The newest events of these accounts.
    #[must_use]
    pub fn newest(accounts: Accounts) -> Self {
        Self {
            accounts,
            limit: None,
            cursor: None,
            severity: None,
            event_type: None,
            account_id: None,
            reader: None,
        }
    }

    /// Refuses what no event can have, and an account that the asker may not see.
    ///
    /// # Errors
    /// Naming the parameter at fault.
    pub fn check(&self) -> Result<(), QueryError> {
        self.asked().map(drop)
    }

    /// How many events are asked for and whose, of a request that is not refused.
    pub(crate) fn asked(&self) -> Result<(u32, Whose<'_>), QueryError> {
        if let Some(severity) = &self.severity
            && !["low", "medium", "high", "critical"].contains(&severity.as_str())
        {
            return Err(QueryError::bad("severity", "is none of low, medium, high, critical"));
        }
        check_text("event_type", self.event_type.as_deref(), limits::EVENT_TYPE_CHARACTERS)?;
        check_text("account_id", self.account_id.as_deref(), limits::ACCOUNT_ID_CHARACTERS)?;
        match self.limit.unwrap_or(DEFAULT_LIMIT) {
            limit @ 1..=MAX_LIMIT => Ok((limit, Whose::asked(self.account_id.as_deref(), &self.accounts)?)),
            limit => Err(QueryError::bad("limit", format!("is {limit}; it may be 1 to {MAX_LIMIT}"))),
        }
    }

    pub(crate) fn filters(&self, vip_only: bool) -> Filters<'_> {
        Filters {
            severity: self.severity.as_deref(),
            event_type: self.event_type.as_deref(),
            account_id: self.account_id.as_deref(),
            vip_only,
        }
    }
}

impl From<Shown> for FeedEvent {
    fn from(Shown { row, is_read }: Shown) -> Self {
        let present = |text: String| (!text.is_empty()).then_some(text);
        Self {
            id: row.key.id,
            event_type: row.event_type,
            title: row.title,
            description: present(row.description),
            account_id: present(row.key.account_id),
            conversation_id: present(row.conversation_id),
            user_id: present(row.user_id),
            severity: row.severity,
            category: row.category,
            // Every time of the store lies between 1970 and 2106.
            created_at: DateTime::from_timestamp_millis(row.key.created_at_ms).unwrap_or_default(),
            is_vip: row.is_vip,
            metadata: present(row.metadata).map(Metadata::of_text),
            is_read,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_that_can_match_nothing_are_refused_by_name() {
        let with = |change: fn(&mut FeedRequest)| {
            let mut request = FeedRequest::newest(Accounts::All);
            change(&mut request);
            request
        };
        assert_eq!(with(|_| ()).asked().unwrap().0, DEFAULT_LIMIT);
        assert_eq!(with(|request| request.limit = Some(200)).asked().unwrap().0, 200);
        let cases = [
            (with(|request| request.limit = Some(0)), "limit"),
            (with(|request| request.limit = Some(201)), "limit"),
            (with(|request| request.severity = Some("HIGH".to_owned())), "severity"),
            (with(|request| request.event_type = Some(String::new())), "event_type"),
            (with(|request| request.account_id = Some("a".repeat(51))), "account_id"),
        ];
        for (request, parameter) in cases {
            assert_eq!(request.check().unwrap_err().parameter(), Some(parameter));
        }
    }
}
