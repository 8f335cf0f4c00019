//! What a user has read, and the feed as the user sees it.

use clickhouse::Row;
use clickhouse::query::Query;
use serde::Deserialize;
use uuid::Uuid;

use super::activity::{ActivityFilter, ActivityKey, ActivityRow};
use crate::client::Store;
use crate::error::{Result, StoreError};

/// Bytes of users' names in one question: they travel in its address, which has a bound. At it: the rest is asked by another one.
const NAME_BYTES_AT_ONCE: usize = 32 << 10;

/// A user: who issued the token, and whom it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReaderName<'a> {
    /// The issuer.
    pub issuer: &'a str,
    /// The subject, unique within it.
    pub subject: &'a str,
}

/// How often a user has marked anything.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
pub struct ReadingVersion {
    /// The user's issuer.
    pub issuer: String,
    /// The user's subject.
    pub subject: String,
    /// Rows that are kept of the user's marks.
    pub changes: u64,
    /// Of these, rows of single events.
    pub events: u64,
    /// The oldest of the marks that are kept: another one once some have expired.
    pub first: String,
}

/// A mark of everything up to an event. What scope and arrived say is for who wrote them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatermarkRow {
    /// The event.
    pub until: ActivityKey,
    /// Which events it is about.
    pub scope: String,
    /// Which of them were there.
    pub arrived: String,
}

/// How far events reach in a partition of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Row, Deserialize)]
pub struct ArrivedRow {
    /// The partition.
    pub log_partition: u16,
    /// The offset after the newest.
    pub next: u64,
}

/// What one mark of everything up to an event covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Covered<'a> {
    /// The event.
    pub until: &'a ActivityKey,
    /// What happened before it, in milliseconds since 1970, is covered whenever it came.
    pub late_from_ms: i64,
    /// What happened later is covered if it lies before these offsets, by partition.
    pub ends: &'a [u64],
}

/// Which events of the feed, for a user who reads.
#[derive(Debug, Clone)]
pub struct ReaderFilter<'a> {
    /// The user.
    pub reader: ReaderName<'a>,
    /// Whether what is marked, or covered, is left out.
    pub unread_only: bool,
    /// What is older than this, in milliseconds since 1970, is left out.
    pub from_ms: i64,
    /// A mark whose events are left out with `unread_only`; the user's other ones are for the caller to look at.
    pub covered: Option<Covered<'a>>,
}

/// An event, and what it takes to say whether the user has read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadableRow {
    /// The event.
    pub event: ActivityRow,
    /// Its place on the log: partition and offset.
    pub place: (u16, u64),
    /// Whether the user marked it.
    pub is_marked: bool,
}

/// An event that may be unread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadRow {
    /// Where it stands in the feed.
    pub key: ActivityKey,
    /// Type.
    pub event_type: String,
    /// Severity.
    pub severity: String,
    /// Whether it belongs to the VIP feed.
    pub is_vip: bool,
    /// Its place on the log: partition and offset.
    pub place: (u16, u64),
    /// As [`ActivityRow::counts`].
    pub counts: bool,
}

impl Store {
    /// The versions of what these users have read. Who has read nothing is left out.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn reading_versions(&self, readers: &[ReaderName<'_>]) -> Result<Vec<ReadingVersion>> {
        let mut found = Vec::new();
        let mut rest = readers;
        while !rest.is_empty() {
            let (asked, others) = rest.split_at(at_once(rest));
            rest = others;
            let issuers: Vec<&str> = asked.iter().map(|reader| reader.issuer).collect();
            let subjects: Vec<&str> = asked.iter().map(|reader| reader.subject).collect();
            let query =
                self.view("reading_versions").await?.param("issuers", issuers).param("subjects", subjects);
            let rows: Vec<ReadingVersion> = self.ask("look what users have read", query.fetch_all()).await?;
            found.extend(rows);
        }
        Ok(found)
    }

    /// At most `max_rows` of a user's marks of everything up to an event, those of the newest events first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn read_watermarks(&self, reader: ReaderName<'_>, max_rows: u32) -> Result<Vec<WatermarkRow>> {
        let query = of_reader(self.view("read_watermarks").await?, reader).param("max_rows", max_rows);
        let rows: Vec<MarkRow> = self.ask("look what a user has read", query.fetch_all()).await?;
        let row = |MarkRow { created_at, id, account_id, scope, arrived }| {
            let until = ActivityKey { created_at_ms: created_at, id: uuid(&id)?, account_id };
            Ok(WatermarkRow { until, scope, arrived })
        };
        rows.into_iter().map(row).collect()
    }

    /// How far the events reach that happened since an instant, in milliseconds since 1970.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn activity_arrived(&self, since_ms: i64) -> Result<Vec<ArrivedRow>> {
        let query = self.view("activity_arrived").await?.param("since_ms", since_ms);
        self.ask("look how far the events reach", query.fetch_all()).await
    }

    /// As [`Store::activity_page`], for a user.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn activity_page_of_reader(
        &self,
        filter: &ActivityFilter<'_>,
        reader: &ReaderFilter<'_>,
        after: &ActivityKey,
        max_rows: u32,
    ) -> Result<Vec<ReadableRow>> {
        let view = self.view("activity_page_of_reader").await?;
        let query = reader.parameters(filter.parameters(view, after, max_rows));
        let query = query.param("unread_only", u8::from(reader.unread_only));
        let rows: Vec<ReadableEventRow> =
            self.ask("read the activity feed of a user", query.fetch_all()).await?;
        rows.into_iter().map(ReadableEventRow::row).collect()
    }

    /// The same events with `unread_only`, as far as it takes to count them.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn unread_events(
        &self,
        filter: &ActivityFilter<'_>,
        reader: &ReaderFilter<'_>,
        after: &ActivityKey,
        max_rows: u32,
    ) -> Result<Vec<UnreadRow>> {
        let view = self.view("unread_events").await?;
        let query = reader.parameters(filter.parameters(view, after, max_rows));
        let rows: Vec<UnreadEventRow> = self.ask("count unread events", query.fetch_all()).await?;
        let row = |row: UnreadEventRow| {
            Ok(UnreadRow {
                key: ActivityKey {
                    created_at_ms: row.created_at,
                    id: uuid(&row.id)?,
                    account_id: row.account_id,
                },
                event_type: row.event_type,
                severity: row.severity,
                is_vip: row.is_vip != 0,
                place: (row.log_partition, row.log_offset),
                counts: row.counts != 0,
            })
        };
        rows.into_iter().map(row).collect()
    }
}

impl ReaderFilter<'_> {
    fn parameters(&self, query: Query) -> Query {
        // Before every event, so that it covers none.
        let nothing = ActivityKey { created_at_ms: -1, id: Uuid::nil(), account_id: String::new() };
        let none = Covered { until: &nothing, late_from_ms: 0, ends: &[] };
        let Covered { until, late_from_ms, ends } = self.covered.as_ref().unwrap_or(&none);
        of_reader(query, self.reader)
            .param("from_ms", self.from_ms)
            .param("until_ms", until.created_at_ms)
            .param("until_id", until.id.to_string())
            .param("until_account", &until.account_id)
            .param("late_from_ms", *late_from_ms)
            .param("ends", *ends)
    }
}

/// How many users one question names: one at least.
fn at_once(readers: &[ReaderName<'_>]) -> usize {
    let mut bytes = 0;
    let fits = readers.iter().take_while(|reader| {
        bytes += reader.issuer.len() + reader.subject.len();
        bytes <= NAME_BYTES_AT_ONCE
    });
    fits.count().max(1)
}

fn of_reader(query: Query, reader: ReaderName<'_>) -> Query {
    query.param("issuer", reader.issuer).param("subject", reader.subject)
}

fn uuid(text: &str) -> Result<Uuid> {
    Uuid::parse_str(text).map_err(|error| StoreError::Unexpected {
        action: "look what a user has read".to_owned(),
        detail: format!("an id is no UUID: {error}"),
    })
}

#[derive(Debug, Row, Deserialize)]
struct MarkRow {
    created_at: i64,
    id: String,
    account_id: String,
    scope: String,
    arrived: String,
}

#[derive(Debug, Row, Deserialize)]
struct UnreadEventRow {
    id: String,
    created_at: i64,
    event_type: String,
    account_id: String,
    severity: String,
    is_vip: u8,
    log_partition: u16,
    log_offset: u64,
    counts: u8,
}

#[derive(Debug, Row, Deserialize)]
struct ReadableEventRow {
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
    log_partition: u16,
    log_offset: u64,
    is_marked: u8,
    counts: u8,
}

impl ReadableEventRow {
    fn row(self) -> Result<ReadableRow> {
        let key =
            ActivityKey { created_at_ms: self.created_at, id: uuid(&self.id)?, account_id: self.account_id };
        let event = ActivityRow {
            key,
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
        };
        let place = (self.log_partition, self.log_offset);
        Ok(ReadableRow { event, place, is_marked: self.is_marked != 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_names_as_many_users_as_its_address_takes() {
        let name = |length: usize| "x".repeat(length);
        let (short, long) = (name(NAME_BYTES_AT_ONCE / 4 - 1), name(NAME_BYTES_AT_ONCE));
        let [short, long] = [&short, &long].map(|subject| ReaderName { issuer: "i", subject });
        assert_eq!(at_once(&[short; 9]), 4);
        assert_eq!(at_once(&[long, short]), 1);
        assert_eq!(at_once(&[short, long]), 1);
    }
}
