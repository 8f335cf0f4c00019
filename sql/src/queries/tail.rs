//! Following a table: what became visible since the last look, each row once and none left out.
//!
//! A writer sends the batches of a log partition one after the other, and a batch becomes one part in each day (or
//! week) of the table it touches. So within such a place rows appear in the order of their offsets, and whole: a
//! position in each is exact, while one over the whole table would not be. Blocks only tell which parts are new, so that
//! a look does not read the table; they are asked for with some slack, since instances commit side by side.
//!
//! A topic that is made anew begins its offsets again. That shows in blocks that come after all that were seen and hold lower
//! offsets than were seen: from there on the place is followed anew, see [`Generation`].

use std::collections::{BTreeMap, BTreeSet};

use clickhouse::Row;
use clickhouse::query::Query;
use serde::Deserialize;
use uuid::Uuid;

use crate::client::Store;
use crate::error::{Result, StoreError};

/// Blocks before the newest that are looked at again: more than inserts that several instances have under way at once.
const BLOCK_SLACK: i64 = 16;

/// How far somebody has followed a table; the default is its beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TailCursor {
    /// Newest block by place.
    blocks: BTreeMap<String, i64>,
    /// Next offset and row by place and log partition.
    next: BTreeMap<(String, u16), (u64, u32)>,
    /// What the newest block of a place and log partition left behind: a look that takes several pages is in between.
    reached: BTreeMap<(String, u16), Reached>,
    /// Where places and log partitions began anew.
    generations: BTreeMap<(String, u16), Generation>,
}

/// How far a place and log partition was followed when all its blocks were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Reached {
    /// Next offset.
    offset: u64,
    /// Time of the newest row, in milliseconds since 1970.
    newest_ms: i64,
}

/// From where on the rows of a place and log partition are those of a topic made anew. A merge may put them into one part
/// with those of before, where nothing but their time tells them apart: of such a part those count that
/// happened after the newest of before. So a row that comes late and is merged before it is looked for is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Generation {
    /// The first block.
    floor: i64,
    /// Time of the newest row before, in milliseconds since 1970.
    end_ms: i64,
}

/// Which metrics; all that are set must match.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricTailFilter {
    /// Names; empty for all.
    pub metrics: Vec<String>,
    /// Account.
    pub account: Option<String>,
    /// Conversation.
    pub conversation: Option<String>,
    /// Least value.
    pub least: f64,
    /// Greatest value.
    pub most: f64,
}

impl Default for MetricTailFilter {
    fn default() -> Self {
        Self {
            metrics: Vec::new(),
            account: None,
            conversation: None,
            least: f64::NEG_INFINITY,
            most: f64::INFINITY,
        }
    }
}

/// Which events; all that are set must match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ActivityTailFilter {
    /// Types; empty for all.
    pub event_types: Vec<String>,
    /// Severities; empty for all.
    pub severities: Vec<String>,
    /// Account.
    pub account: Option<String>,
    /// Conversation.
    pub conversation: Option<String>,
}

/// A metric as it was stored; an absent text is empty.
#[derive(Debug, Clone, PartialEq)]
pub struct TailedMetric {
    /// Name.
    pub metric_name: String,
    /// Value.
    pub value: f64,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// Account.
    pub account_id: String,
    /// Conversation.
    pub conversation_id: String,
    /// User.
    pub user_id: String,
    /// A JSON object as text.
    pub metadata: String,
    /// Where it lies on the log: partition, offset, row of the message.
    pub place: (u16, u64, u32),
}

/// An event as it was stored; an absent text is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TailedEvent {
    /// Its id.
    pub id: Uuid,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// Type.
    pub event_type: String,
    /// One line.
    pub title: String,
    /// Account.
    pub account_id: String,
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
    /// Where it lies on the log: partition, offset, row of the message.
    pub place: (u16, u64, u32),
}

/// What a look found.
#[derive(Debug, Clone, PartialEq)]
pub struct TailPage<T> {
    /// The rows, in the order of the log within each of its partitions.
    pub rows: Vec<T>,
    /// Whether there may be more: look again at once.
    pub has_more: bool,
    /// Partitions of the log that were found made anew: their offsets begin again, and so do their rows.
    pub made_anew: BTreeSet<u16>,
}

/// The tables that can be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tailed {
    /// Metrics.
    Metrics,
    /// Events.
    Activity,
}

impl TailCursor {
    fn advance_to(&mut self, heads: Vec<Head>) {
        for Head { place, log_partition, block, log_offset, newest, .. } in heads {
            let last = self.blocks.entry(place.clone()).or_default();
            *last = block.max(*last);
            let key = (place, log_partition);
            let offset = log_offset.saturating_add(1);
            let reached = self.reached.entry(key.clone()).or_default();
            *reached =
                Reached { offset: offset.max(reached.offset), newest_ms: newest.max(reached.newest_ms) };
            self.advance(key, (offset, 0));
        }
    }

    fn advance(&mut self, key: (String, u16), to: (u64, u32)) {
        let next = self.next.entry(key).or_default();
        *next = to.max(*next);
    }

    /// Begins anew where new blocks hold lower offsets than were seen, and says of which partitions of the log.
    fn begin_anew(&mut self, heads: &[Head]) -> BTreeSet<u16> {
        let mut made_anew = BTreeSet::new();
        for Head { place, log_partition, lowest, .. } in heads {
            let key = (place.clone(), *log_partition);
            let Some(reached) = self.reached.get_mut(&key) else { continue };
            if lowest.is_none_or(|lowest| lowest >= reached.offset) {
                continue;
            }
            let floor = self.blocks.get(place).map_or(0, |block| block + 1);
            self.generations.insert(key.clone(), Generation { floor, end_ms: reached.newest_ms });
            *reached = Reached::default();
            self.next.insert(key, (0, 0));
            made_anew.insert(*log_partition);
        }
        made_anew
    }

    /// What both views of a table ask for.
    fn bind(&self, query: Query) -> Query {
        let (places, blocks): (Vec<&str>, Vec<i64>) =
            self.blocks.iter().map(|(place, block)| (place.as_str(), block - BLOCK_SLACK)).unzip();
        let keys: Vec<String> =
            self.next.keys().map(|(place, partition)| format!("{place}/{partition}")).collect();
        let (floors, ends): (Vec<i64>, Vec<i64>) = self
            .next
            .keys()
            .map(|key| {
                self.generations.get(key).map_or((0, 0), |generation| (generation.floor, generation.end_ms))
            })
            .unzip();
        query
            .param("places", places)
            .param("blocks", blocks)
            .param("keys", keys)
            .param("floors", floors)
            .param("ends", ends)
    }

    fn bind_heads(&self, query: Query) -> Query {
        let seen: Vec<i64> = self.blocks.values().copied().collect();
        self.bind(query).param("seen", seen)
    }

    fn bind_rows(&self, query: Query) -> Query {
        let (offsets, rows): (Vec<u64>, Vec<u32>) = self.next.values().copied().unzip();
        self.bind(query).param("offsets", offsets).param("rows", rows)
    }
}

impl Store {
    /// Moves the cursor behind everything that is visible now.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn skip_to_end(&self, tailed: Tailed, cursor: &mut TailCursor) -> Result<()> {
        let heads = self.heads(tailed, cursor).await?;
        cursor.advance_to(heads);
        Ok(())
    }

    /// At most `max_rows` metrics behind the cursor that happened since `since_ms`, and moves it behind them.
    ///
    /// # Errors
    /// When the store does not answer; the cursor then stays.
    pub async fn follow_metrics(
        &self,
        filter: &MetricTailFilter,
        since_ms: i64,
        cursor: &mut TailCursor,
        max_rows: u32,
    ) -> Result<TailPage<TailedMetric>> {
        let mut moved = cursor.clone();
        let (heads, made_anew) = self.news(Tailed::Metrics, &mut moved).await?;
        let query = moved
            .bind_rows(self.view("tail_metrics").await?)
            .param("since_ms", since_ms)
            .param("metrics", &filter.metrics)
            .param("account", filter.account.as_deref().unwrap_or_default())
            .param("conversation", filter.conversation.as_deref().unwrap_or_default())
            .param("least", filter.least)
            .param("most", filter.most)
            .param("max_rows", max_rows);
        let found: Vec<MetricRow> = self.ask("read new metrics", query.fetch_all()).await?;
        let has_more = found.len() >= max_rows as usize;
        let mut rows = Vec::with_capacity(found.len());
        for row in found {
            moved.advance((row.place, row.log_partition), (row.log_offset, row.log_row.saturating_add(1)));
            rows.push(TailedMetric {
                metric_name: row.metric_name,
                value: row.value,
                at_ms: row.timestamp,
                account_id: row.account_id,
                conversation_id: row.conversation_id,
                user_id: row.user_id,
                metadata: row.metadata,
                place: (row.log_partition, row.log_offset, row.log_row),
            });
        }
        if !has_more {
            moved.advance_to(heads);
        }
        *cursor = moved;
        Ok(TailPage { rows, has_more, made_anew })
    }

    /// At most `max_rows` events behind the cursor that happened since `since_ms`, and moves it behind them. One
    /// that only records another again is left out.
    ///
    /// # Errors
    /// When the store does not answer; the cursor then stays.
    pub async fn follow_activity(
        &self,
        filter: &ActivityTailFilter,
        since_ms: i64,
        cursor: &mut TailCursor,
        max_rows: u32,
    ) -> Result<TailPage<TailedEvent>> {
        let mut moved = cursor.clone();
        let (heads, made_anew) = self.news(Tailed::Activity, &mut moved).await?;
        let query = moved
            .bind_rows(self.view("tail_activity").await?)
            .param("since_ms", since_ms)
            .param("event_types", &filter.event_types)
            .param("severities", &filter.severities)
            .param("account", filter.account.as_deref().unwrap_or_default())
            .param("conversation", filter.conversation.as_deref().unwrap_or_default())
            .param("max_rows", max_rows);
        let found: Vec<EventRow> = self.ask("read new events", query.fetch_all()).await?;
        let has_more = found.len() >= max_rows as usize;
        let mut rows = Vec::with_capacity(found.len());
        for row in found {
            moved.advance(
                (row.place.clone(), row.log_partition),
                (row.log_offset, row.log_row.saturating_add(1)),
            );
            if row.counts != 0 {
                rows.push(row.event()?);
            }
        }
        if !has_more {
            moved.advance_to(heads);
        }
        *cursor = moved;
        Ok(TailPage { rows, has_more, made_anew })
    }

    /// How far the table reaches, as the cursor is to follow it: begun anew where it must.
    async fn news(&self, tailed: Tailed, cursor: &mut TailCursor) -> Result<(Vec<Head>, BTreeSet<u16>)> {
        let heads = self.heads(tailed, cursor).await?;
        let made_anew = cursor.begin_anew(&heads);
        // What was read of such a place is of the rows before, too.
        let heads = if made_anew.is_empty() { heads } else { self.heads(tailed, cursor).await? };
        Ok((heads, made_anew))
    }

    async fn heads(&self, tailed: Tailed, cursor: &TailCursor) -> Result<Vec<Head>> {
        let view = match tailed {
            Tailed::Metrics => "tail_heads_metrics",
            Tailed::Activity => "tail_heads_activity",
        };
        let query = cursor.bind_heads(self.view(view).await?);
        self.ask("look for new rows", query.fetch_all()).await
    }
}

#[derive(Debug, Row, Deserialize)]
struct Head {
    place: String,
    log_partition: u16,
    block: i64,
    log_offset: u64,
    newest: i64,
    /// Of parts that were not there before, none where there are none.
    lowest: Option<u64>,
}

#[derive(Debug, Row, Deserialize)]
struct MetricRow {
    place: String,
    log_partition: u16,
    log_offset: u64,
    log_row: u32,
    metric_name: String,
    value: f64,
    timestamp: i64,
    account_id: String,
    conversation_id: String,
    user_id: String,
    metadata: String,
}

#[derive(Debug, Row, Deserialize)]
struct EventRow {
    place: String,
    log_partition: u16,
    log_offset: u64,
    log_row: u32,
    id: String,
    created_at: i64,
    event_type: String,
    title: String,
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
    fn event(self) -> Result<TailedEvent> {
        let id = Uuid::parse_str(&self.id).map_err(|error| StoreError::Unexpected {
            action: "read new events".to_owned(),
            detail: format!("an event's id is no UUID: {error}"),
        })?;
        Ok(TailedEvent {
            id,
            at_ms: self.created_at,
            event_type: self.event_type,
            title: self.title,
            account_id: self.account_id,
            conversation_id: self.conversation_id,
            user_id: self.user_id,
            severity: self.severity,
            category: self.category,
            is_vip: self.is_vip != 0,
            metadata: self.metadata,
            place: (self.log_partition, self.log_offset, self.log_row),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(place: &str, log_partition: u16, block: i64, log_offset: u64) -> Head {
        Head { place: place.to_owned(), log_partition, block, log_offset, newest: 0, lowest: None }
    }

    #[test]
    fn a_cursor_only_goes_forward_in_each_place() {
        let mut cursor = TailCursor::default();
        cursor.advance_to(vec![head("0/20260101", 0, 7, 40), head("0/20260102", 0, 8, 41)]);
        cursor.advance_to(vec![head("0/20260101", 0, 6, 30), head("0/20260101", 1, 9, 0)]);
        assert_eq!(cursor.blocks, [("0/20260101".to_owned(), 9), ("0/20260102".to_owned(), 8)].into());
        let next: Vec<(u64, u32)> = cursor.next.values().copied().collect();
        assert_eq!(next, [(41, 0), (1, 0), (42, 0)]);
        // Behind a row of a message whose other rows are still to come.
        cursor.advance(("0/20260102".to_owned(), 0), (50, 3));
        assert_eq!(cursor.next[&("0/20260102".to_owned(), 0)], (50, 3));
    }

    #[test]
    fn only_lower_offsets_in_new_blocks_begin_a_place_anew() {
        let mut cursor = TailCursor::default();
        cursor.advance_to(vec![Head { newest: 99, ..head("p", 0, 7, 40) }, head("p", 1, 8, 5)]);
        let before = cursor.clone();
        let higher = Head { lowest: Some(41), ..head("p", 0, 9, 50) };
        let unknown = Head { lowest: Some(0), ..head("q", 0, 1, 3) };
        assert!(cursor.begin_anew(&[higher, unknown, head("p", 1, 9, 2)]).is_empty());
        assert_eq!(cursor, before);
        assert_eq!(cursor.begin_anew(&[Head { lowest: Some(40), ..head("p", 0, 9, 50) }]), [0].into());
        let key = ("p".to_owned(), 0);
        assert_eq!(
            (cursor.next[&key], cursor.generations[&key]),
            ((0, 0), Generation { floor: 9, end_ms: 99 })
        );
        assert_eq!(cursor.next[&("p".to_owned(), 1)], (6, 0), "the other partition goes on");
    }
}
