//! Writing what a user has read.

use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, DictionaryArray, FixedSizeBinaryArray, RecordBatch, StringArray, TimestampMillisecondArray,
    TimestampSecondArray,
};
use kelly_schemas::limits::LATEST_MS;
use uuid::Uuid;

use super::activity::ActivityKey;
use super::reading::ReaderName;
use crate::client::Store;
use crate::error::{Result, StoreError};
use crate::evidence::week_of;
use crate::tables::Table;

/// How far ahead of the mark an event that it is about may lie, generously.
const AHEAD_MS: i64 = 24 * 3_600_000;
const DAY_SECONDS: i64 = 24 * 3_600;

/// A mark of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewMark<'a> {
    /// The user.
    pub reader: ReaderName<'a>,
    /// Its id. The same one again changes nothing.
    pub mark: Uuid,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
}

/// What a mark of everything up to an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewWatermark<'a> {
    /// The event.
    pub until: &'a ActivityKey,
    /// Which events.
    pub scope: &'a str,
    /// Which of them are there.
    pub arrived: &'a str,
}

/// What has become of a mark that a user made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkState {
    /// It is in force.
    InForce,
    /// It was taken back, for good.
    Undone,
}

/// A row of the table, but for what all rows of a mark have in common.
struct ReadRow<'a> {
    created_at_ms: i64,
    event_id: Uuid,
    account_id: &'a str,
    scope: &'a str,
    arrived: &'a str,
}

const NOTHING: ReadRow<'_> =
    ReadRow { created_at_ms: 0, event_id: Uuid::nil(), account_id: "", scope: "", arrived: "" };

impl Store {
    /// Marks events, each an id and its account, which is empty where it has none. In force once this returns, as the two below.
    ///
    /// # Errors
    /// When it is not certain that they were marked.
    pub async fn mark_events(&self, mark: NewMark<'_>, events: &[(Uuid, &str)]) -> Result<()> {
        let row = |&(event_id, account_id)| ReadRow { event_id, account_id, ..NOTHING };
        self.write_mark(mark, "event", &events.iter().map(row).collect::<Vec<_>>()).await
    }

    /// Marks everything up to an event.
    ///
    /// # Errors
    /// When it is not certain that it was marked.
    pub async fn mark_up_to(&self, mark: NewMark<'_>, watermark: NewWatermark<'_>) -> Result<()> {
        let NewWatermark { until, scope, arrived } = watermark;
        let row = ReadRow {
            created_at_ms: until.created_at_ms,
            event_id: until.id,
            account_id: &until.account_id,
            scope,
            arrived,
        };
        self.write_mark(mark, "up_to", &[row]).await
    }

    /// Takes a mark back, for good.
    ///
    /// # Errors
    /// When it is not certain that it was taken back.
    pub async fn undo_mark(&self, mark: NewMark<'_>) -> Result<()> {
        self.write_mark(mark, "undo", &[NOTHING]).await
    }

    /// What has become of this mark of a user; `None` where they have made no such one, or it has expired.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn mark_state(&self, reader: ReaderName<'_>, mark: Uuid) -> Result<Option<MarkState>> {
        let text = format!(
            "SELECT multiIf(countIf(kind != 'undo') = 0, 0, countIf(kind = 'undo') = 0, 1, 2) FROM {}.{} \
             WHERE issuer = {{issuer:String}} AND subject = {{subject:String}} \
             AND kind IN ('event', 'undo', 'up_to') AND mark = {{mark:UUID}}",
            self.config().database,
            Table::ActivityReads.name()
        );
        let query = self
            .bounded(self.client().query_raw(&text))
            .param("issuer", reader.issuer)
            .param("subject", reader.subject)
            .param("mark", mark.to_string());
        let found: u8 = self.ask("look for a mark of a user", query.fetch_one()).await?;
        Ok(match found {
            0 => None,
            1 => Some(MarkState::InForce),
            _ => Some(MarkState::Undone),
        })
    }

    /// Under a token of the user, the mark and what becomes of it: sent again after a time-out it is there once.
    async fn write_mark(&self, mark: NewMark<'_>, kind: &str, rows: &[ReadRow<'_>]) -> Result<()> {
        let NewMark { reader: ReaderName { issuer, subject }, mark, at_ms } = mark;
        let table = Table::ActivityReads;
        let text = |values: Vec<&str>| -> ArrayRef {
            Arc::new(values.into_iter().collect::<DictionaryArray<Int32Type>>())
        };
        let all = |value| vec![value; rows.len()];
        let of = |value: fn(&ReadRow<'_>) -> i64| rows.iter().map(value).collect::<Vec<i64>>();
        let times =
            |ms: Vec<i64>| -> ArrayRef { Arc::new(TimestampMillisecondArray::from(ms).with_timezone("UTC")) };
        let ids = |ids: &mut dyn Iterator<Item = Uuid>| -> Result<ArrayRef> {
            let ids = FixedSizeBinaryArray::try_from_iter(ids.map(Uuid::into_bytes));
            Ok(Arc::new(ids.map_err(wrong)?))
        };
        let columns = vec![
            text(all(issuer)),
            Arc::new(StringArray::from_iter_values(all(subject))),
            text(all(kind)),
            ids(&mut rows.iter().map(|_| mark))?,
            times(of(|row| row.created_at_ms)),
            ids(&mut rows.iter().map(|row| row.event_id))?,
            text(rows.iter().map(|row| row.account_id).collect()),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.scope))),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.arrived))),
            times(vec![at_ms; rows.len()]),
            Arc::new(TimestampSecondArray::from(vec![ages_from(at_ms); rows.len()]).with_timezone("UTC")),
        ];
        let batch = RecordBatch::try_new(table.arrow_schema(), columns).map_err(wrong)?;
        // A subject may hold anything, so its length parts it from what follows.
        let token = format!("{kind}:{mark}:{}:{subject}:{issuer}", subject.len());
        self.insert(table, &batch, &token).await
    }
}

/// The end of the week, and a day, after the newest event that a mark may be about: when its part goes, theirs have gone.
fn ages_from(at_ms: i64) -> i64 {
    let newest = at_ms.clamp(0, LATEST_MS - 10 * DAY_SECONDS * 1_000).saturating_add(AHEAD_MS) / 1_000;
    week_of(newest) + 8 * DAY_SECONDS
}

fn wrong(error: arrow_schema::ArrowError) -> StoreError {
    StoreError::WrongBatch { table: Table::ActivityReads.name(), detail: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_lasts_longer_than_any_week_of_its_events() {
        const MONDAY: i64 = 1_714_953_600; // 2024-05-06
        for second in [0, 1, 3 * DAY_SECONDS, 7 * DAY_SECONDS - 1] {
            let at = MONDAY + second;
            let ages = ages_from(at * 1_000);
            assert!(ages > week_of(at) + 7 * DAY_SECONDS, "{second}");
            assert!(ages <= at + 15 * DAY_SECONDS, "{second}");
        }
        assert!(ages_from(LATEST_MS) <= LATEST_MS / 1_000);
    }
}
