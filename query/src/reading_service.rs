//! Marking events as read, undoing that, and how much is unread.
//!
//! A mark is in the store when it is answered, and every question of a user reads the user's marks there. So users see what they did at
//! once, whichever instance they ask.

use std::collections::HashMap;

use kelly_auth::Accounts;
use kelly_schemas::limits;
use kelly_sql::Store;
use kelly_sql::queries::{ActivityFilter, ActivityKey, MarkState, NewMark, NewWatermark, ReaderName};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::cursor;
use crate::detailed::check_text;
use crate::error::QueryError;
use crate::feed::FeedRequest;
use crate::reader::{Reader, Reading, ReadingVersion};
use crate::reading::{Arrived, Asked, LATE_MS, Scope};
use crate::service::QueryService;
use crate::whose::Whose;

/// Events that one call marks. At it: the call is refused whole.
pub const MAX_MARKED: usize = 200;

/// Marks of single events that are kept of one user. At it: only everything up to a cursor is marked.
const MAX_KEPT_EVENTS: u64 = 100_000;

/// Marks of any kind, and undoing, that are kept of one user. At it: nothing more is marked or undone.
const MAX_KEPT: u64 = 120_000;

/// Unread events that are counted, newest first. At it: there are so many and more.
const MAX_COUNTED: u64 = 10_000;

/// Reads of the store that counting may take, each of so many rows. At it: there may be more than were counted.
const MAX_READS: u32 = 6;
const READ_ROWS: u32 = 4_000;

/// An event as it is named: an id is one within its account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventName {
    /// Its id.
    pub id: Uuid,
    /// Its account, where it has one.
    pub account_id: Option<String>,
}

/// What is marked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Marked {
    /// These events; at most [`MAX_MARKED`].
    Events(Vec<EventName>),
    /// Everything up to a cursor of a feed, which must have been given out for the same filters.
    UpTo {
        /// The filters and, as `cursor`, up to where.
        feed: FeedRequest,
        /// Whether it is the VIP feed.
        vip_only: bool,
    },
}

/// A mark that a user makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkRequest {
    /// The user.
    pub reader: Reader,
    /// The accounts that the user may see: nothing of others is marked.
    pub accounts: Accounts,
    /// Its id, by which it is undone. The same id again changes nothing.
    pub mark: Uuid,
    /// What is marked.
    pub what: Marked,
}

/// How much is unread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Unread {
    /// Events that are unread.
    #[schema(example = 7)]
    pub unread: u64,
    /// Whether there may be more, older ones, which were not counted.
    pub more: bool,
    /// Of those that were counted, how many have each severity.
    pub by_severity: UnreadBySeverity,
    /// How many of them belong to the VIP feed.
    #[schema(example = 3)]
    pub vip: u64,
    /// Of two answers with one epoch, the greater offset is the newer; another epoch means that marks have expired.
    #[schema(example = "0198f3c2-a4b7-7e21-b0c3-d9a1f2e4c6d8")]
    pub epoch: String,
    /// Counts what the user has marked and undone.
    #[schema(example = 42)]
    pub offset: u64,
}

/// Unread events by severity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct UnreadBySeverity {
    /// Low.
    #[schema(example = 3)]
    pub low: u64,
    /// Medium.
    #[schema(example = 1)]
    pub medium: u64,
    /// High.
    #[schema(example = 2)]
    pub high: u64,
    /// Critical.
    #[schema(example = 1)]
    pub critical: u64,
}

impl MarkRequest {
    /// Refuses what names no event, and what is of an account that the user may not see, whether or not there is such an account.
    ///
    /// # Errors
    /// Naming the member at fault.
    pub fn check(&self) -> Result<(), QueryError> {
        match &self.what {
            Marked::Events(events) => {
                if !(1..=MAX_MARKED).contains(&events.len()) {
                    let problem = format!("has {} events; it may have 1 to {MAX_MARKED}", events.len());
                    return Err(QueryError::bad("events", problem));
                }
                for event in events {
                    let account = event.account_id.as_deref();
                    check_text("account_id", account, limits::ACCOUNT_ID_CHARACTERS)?;
                    if !self.accounts.sees(account) {
                        return Err(QueryError::AccountNotPermitted);
                    }
                }
                Ok(())
            }
            Marked::UpTo { feed, vip_only } => up_to(feed, *vip_only).map(drop),
        }
    }
}

/// Up to which event, and which events.
fn up_to(feed: &FeedRequest, vip_only: bool) -> Result<(ActivityKey, Scope), QueryError> {
    let (_, whose) = feed.asked()?;
    let filters = feed.filters(vip_only);
    let until = cursor::decode(feed.cursor.as_deref().unwrap_or_default(), &filters)?;
    // A cursor can be made by hand; the store holds no other times.
    if !(0..=limits::LATEST_MS).contains(&until.created_at_ms) {
        return Err(QueryError::BadCursor);
    }
    let scope = Scope::of(filters.severity, filters.event_type, &whose, vip_only);
    Ok((until, scope))
}

impl QueryService {
    /// Marks what a user has read. It is in force, for every instance, once this returns. A mark that the user has made already changes
    /// nothing, whatever it names now: false where it has been undone.
    ///
    /// # Errors
    /// When a member is at fault, the user has marked too much, or it is not certain that it was marked: the same mark again does no harm.
    pub async fn mark_read(&self, request: &MarkRequest) -> Result<bool, QueryError> {
        request.check()?;
        let failed = QueryError::from_store("marking events as read");
        let store = &self.parts().store;
        let reader = request.reader.name();
        let readers = [reader];
        let asked =
            tokio::try_join!(store.mark_state(reader, request.mark), store.reading_versions(&readers));
        let (known, kept) = asked.map_err(QueryError::from_store("what is read"))?;
        if let Some(state) = known {
            return Ok(state == MarkState::InForce);
        }
        let (changes, events) = kept.first().map_or((0, 0), |kept| (kept.changes, kept.events));
        let is_full = match request.what {
            Marked::Events(_) => events >= MAX_KEPT_EVENTS || changes >= MAX_KEPT,
            Marked::UpTo { .. } => changes >= MAX_KEPT,
        };
        if is_full {
            return Err(QueryError::TooManyMarks);
        }
        let at_ms = self.now().timestamp_millis();
        let mark = NewMark { reader, mark: request.mark, at_ms };
        match &request.what {
            Marked::Events(events) => {
                let rows: Vec<(Uuid, &str)> = events
                    .iter()
                    .map(|event| (event.id, event.account_id.as_deref().unwrap_or_default()))
                    .collect();
                store.mark_events(mark, &rows).await.map_err(failed)?;
            }
            Marked::UpTo { feed, vip_only } => {
                let (until, scope) = up_to(feed, *vip_only)?;
                let arrived = arrived(store, at_ms - LATE_MS).await?;
                let watermark =
                    NewWatermark { until: &until, scope: &json(&scope), arrived: &json(&arrived) };
                store.mark_up_to(mark, watermark).await.map_err(failed)?;
            }
        }
        Ok(true)
    }

    /// Takes a mark back, for good: what is read is what it would be without it. False when the user has no such mark, or it has expired.
    ///
    /// # Errors
    /// When the user has marked too much, or it is not certain that it was undone: to undo again does no harm.
    pub async fn undo_mark(&self, reader: &Reader, mark: Uuid) -> Result<bool, QueryError> {
        let store = &self.parts().store;
        let asked = QueryError::from_store("a mark of a user");
        match store.mark_state(reader.name(), mark).await.map_err(asked)? {
            None => return Ok(false),
            Some(MarkState::Undone) => return Ok(true),
            Some(MarkState::InForce) => {}
        }
        let kept =
            store.reading_versions(&[reader.name()]).await.map_err(QueryError::from_store("what is read"))?;
        if kept.first().is_some_and(|kept| kept.changes >= MAX_KEPT) {
            return Err(QueryError::TooManyMarks);
        }
        let at_ms = self.now().timestamp_millis();
        let undone = store.undo_mark(NewMark { reader: reader.name(), mark, at_ms }).await;
        undone.map_err(QueryError::from_store("undoing a mark"))?;
        Ok(true)
    }

    /// What these users have marked by now, in their order.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn reading_versions(&self, readers: &[Reader]) -> Result<Vec<ReadingVersion>, QueryError> {
        let names: Vec<ReaderName<'_>> = readers.iter().map(Reader::name).collect();
        let found = self.parts().store.reading_versions(&names).await;
        let found = found.map_err(QueryError::from_store("what is read"))?;
        let versions: HashMap<Reader, ReadingVersion> =
            found.into_iter().map(|row| (Reader::of_row(&row), ReadingVersion::from(row))).collect();
        Ok(readers.iter().map(|reader| versions.get(reader).cloned().unwrap_or_default()).collect())
    }

    /// How much of these accounts is unread to a user, of whom it is known how much they have marked.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn unread(
        &self,
        reader: &Reader,
        version: &ReadingVersion,
        accounts: &Accounts,
    ) -> Result<Unread, QueryError> {
        let store = &self.parts().store;
        let whose = Whose::asked(None, accounts)?;
        let reading = Reading::of(store, reader, &Scope::of(None, None, &whose, false)).await?;
        let filter =
            ActivityFilter { severity: None, event_type: None, accounts: whose.filter(), vip_only: false };
        let mut unread = Unread {
            unread: 0,
            more: true,
            by_severity: UnreadBySeverity::default(),
            vip: 0,
            epoch: version.epoch.clone(),
            offset: version.offset,
        };
        let mut after = ActivityKey::NEWEST;
        for _ in 0..MAX_READS {
            let rows = store
                .unread_events(&filter, &reading.filter(reader, true), &after, READ_ROWS)
                .await
                .map_err(QueryError::from_store("unread events"))?;
            for row in rows.iter().filter(|row| row.counts) {
                let event = Asked {
                    key: &row.key,
                    event_type: &row.event_type,
                    severity: &row.severity,
                    is_vip: row.is_vip,
                    place: row.place,
                };
                if unread.unread == MAX_COUNTED {
                    return Ok(unread);
                }
                if !reading.watermarks.cover(&event) {
                    unread.count(&event);
                }
            }
            match rows.last() {
                Some(last) if rows.len() == READ_ROWS as usize => after = last.key.clone(),
                _ => return Ok(Unread { more: false, ..unread }),
            }
        }
        Ok(unread)
    }
}

impl Unread {
    fn count(&mut self, event: &Asked<'_>) {
        self.unread += 1;
        self.vip += u64::from(event.is_vip);
        match event.severity {
            "low" => self.by_severity.low += 1,
            "medium" => self.by_severity.medium += 1,
            "high" => self.by_severity.high += 1,
            "critical" => self.by_severity.critical += 1,
            _ => {}
        }
    }
}

/// Which events are in the store.
async fn arrived(store: &Store, late_from_ms: i64) -> Result<Arrived, QueryError> {
    let rows = store.activity_arrived(late_from_ms).await;
    let mut ends = Vec::new();
    for row in rows.map_err(QueryError::from_store("what has arrived"))? {
        let partition = usize::from(row.log_partition);
        if ends.len() <= partition {
            ends.resize(partition + 1, 0);
        }
        ends[partition] = row.next;
    }
    Ok(Arrived { late_from_ms, ends })
}

fn json(value: &impl Serialize) -> String {
    // Its maps have string keys, so it always serialises.
    serde_json::to_string(value).unwrap_or_default()
}
