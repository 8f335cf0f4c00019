//! What of a declared range is already in the store.
//!
//! Deduplication by token rests on a log of tokens that the store keeps beside the data: bounded, not forced to disk,
//! and not written in one step with the part it speaks of. Whoever takes up a range that may have been written therefore
//! looks at the rows themselves. A raw row carries its place on the log. Rollups do not, so every block of them carries,
//! in each of the table's partitions it touches, a **marker**: a row of a tier of its own that belongs to one generation of one
//! partition of the log, counts nothing and keeps, as a maximum, the end of the newest range. The store adds a part whole
//! or not at all, so a marker is there exactly when the rows of its week are.

use clickhouse::Row;
use serde::Deserialize;

use crate::client::Store;
use crate::error::Result;
use crate::tables::{RollupTier, Table};

const SECONDS_A_DAY: i64 = 24 * 3600;

/// 1970-01-01 was a Thursday.
const DAYS_FROM_MONDAY_TO_EPOCH: i64 = 3;

/// How a table shows which blocks it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Its rows carry their place on the log and, in the column named, a time.
    Rows {
        /// The column of the time.
        time: &'static str,
    },
    /// Its blocks carry a marker a partition of the table, which is a week.
    Marker,
    /// It shows nothing and need not: the same block a second time changes nothing.
    Idempotent,
}

impl Table {
    /// How it shows which blocks it has.
    pub fn proof(self) -> Proof {
        match self {
            Table::SystemMetrics => Proof::Rows { time: "timestamp" },
            Table::ActivityEvents => Proof::Rows { time: "created_at" },
            Table::DeadLetters => Proof::Rows { time: "log_time" },
            Table::MetricRollups => Proof::Marker,
            Table::ActivityFirstSeen
            | Table::DeadLetterReplays
            | Table::ActivityReads
            | Table::ControlLog
            | Table::AlertInstances => Proof::Idempotent,
        }
    }
}

/// The metric name of the markers of one generation of one partition of the log.
pub fn marker_name(topic: &str, partition: u32, generation: impl std::fmt::Display) -> String {
    format!("{topic}:{partition}:{generation}")
}

/// The Monday on which the week of an instant begins, both in seconds since 1970: what the rollups are partitioned by.
pub fn week_of(seconds: i64) -> i64 {
    let day = seconds.div_euclid(SECONDS_A_DAY);
    // The store has no days before 1970.
    ((day - (day + DAYS_FROM_MONDAY_TO_EPOCH).rem_euclid(7)) * SECONDS_A_DAY).max(0)
}

/// Offsets of one partition of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRange<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Partition, as the tables number it.
    pub partition: u16,
    /// First offset.
    pub start: u64,
    /// First offset after it.
    pub end: u64,
    /// Earliest and latest time of its rows, ms: the store looks no further.
    pub times_ms: (i64, i64),
}

/// Identity of a row of the log in the store. The time is part of it: offsets begin anew when a topic is made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Row, Deserialize)]
pub struct RowOrigin {
    /// Offset of its message.
    pub offset: u64,
    /// Row in the message.
    pub row: u32,
    /// The row's time, ms.
    pub time_ms: i64,
}

/// What a marker says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Row, Deserialize)]
pub struct MarkedEnd {
    /// The week it speaks of, as [`week_of`] gives it.
    pub week: i64,
    /// Every block of a range that ends here or before is in that week.
    pub end: u64,
}

/// What the markers of one generation of a partition of the log say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkedGeneration {
    /// The generation, as [`marker_name`] was given it.
    pub generation: String,
    /// Where its newest range begins; `None` where its marker does not tell.
    pub start: Option<u64>,
    /// Where its newest range ends.
    pub end: u64,
}

#[derive(Row, Deserialize)]
struct GenerationRow {
    generation: String,
    end: u64,
    last_end: i64,
    last_start: f64,
}

impl Store {
    /// The newest range of each generation of a partition of the log, by its markers.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn marked_generations(&self, topic: &str, partition: u32) -> Result<Vec<MarkedGeneration>> {
        let prefix = marker_name(topic, partition, "");
        let query = self
            .client()
            .query(&format!(
                "SELECT substring(toString(metric_name), 1 + length({{prefix:String}})) AS generation, \
                   toUInt64(max(max)) AS `end`, toUnixTimestamp64Milli(tupleElement(max(last) AS newest, 'at')) AS last_end, \
                   tupleElement(newest, 'value') AS last_start \
                 FROM {} AND startsWith(metric_name, {{prefix:String}}) GROUP BY metric_name ORDER BY generation",
                self.markers()
            ))
            .param("prefix", prefix);
        let rows: Vec<GenerationRow> =
            self.ask("look for what was written of a partition", query.fetch_all()).await?;
        let generation = |GenerationRow { generation, end, last_end, last_start }| {
            let start = (u64::try_from(last_end) == Ok(end)).then_some(last_start as u64);
            MarkedGeneration { generation, start, end }
        };
        Ok(rows.into_iter().map(generation).collect())
    }

    /// The offset after the newest row of `table`, or dead letter, of a partition of the log, of those from `from` on; 0
    /// when there is none. Of whatever generation of the topic.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn rows_end(&self, table: Table, topic: &str, partition: u16, from: u64) -> Result<u64> {
        let of_table = |table: Table, condition: &str| {
            format!(
                "SELECT if(count() = 0, 0, max(log_offset) + 1) AS next FROM {} \
                 WHERE log_partition = {{partition:UInt16}} AND log_offset >= {{from:UInt64}} {condition}",
                self.rows_of(table)
            )
        };
        let query = self
            .client()
            .query(&format!(
                "SELECT max(next) FROM ({} UNION ALL {})",
                of_table(table, ""),
                of_table(Table::DeadLetters, "AND topic = {topic:String}")
            ))
            .param("topic", topic)
            .param("partition", partition)
            .param("from", from);
        self.ask("look for the newest row of a partition", query.fetch_one()).await
    }

    /// The rows of a range that `table` has: as many as the range became, once for each generation of the topic.
    /// `time` is the table's [`Proof::Rows`].
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn rows_of_range(
        &self,
        table: Table,
        time: &'static str,
        range: LogRange<'_>,
    ) -> Result<Vec<RowOrigin>> {
        // A log's time may be anything a producer wrote, also what the store cannot compare; its rows are few.
        let narrowed = if table == Table::DeadLetters {
            "AND topic = {topic:String}".to_owned()
        } else {
            format!(
                "AND {time} >= fromUnixTimestamp64Milli({{first:Int64}}, 'UTC') \
                 AND {time} <= fromUnixTimestamp64Milli({{last:Int64}}, 'UTC')"
            )
        };
        let query = self
            .client()
            .query(&format!(
                "SELECT log_offset AS `offset`, log_row AS `row`, toUnixTimestamp64Milli({time}) AS time_ms FROM {} \
                 WHERE log_partition = {{partition:UInt16}} AND log_offset >= {{start:UInt64}} \
                   AND log_offset < {{end:UInt64}} {narrowed}",
                self.rows_of(table)
            ))
            .param("topic", range.topic)
            .param("first", range.times_ms.0)
            .param("last", range.times_ms.1)
            .param("partition", range.partition)
            .param("start", range.start)
            .param("end", range.end);
        self.ask("look for rows of a range that was begun", query.fetch_all()).await
    }

    /// What the markers of this name say.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn marked_ends(&self, marker: &str) -> Result<Vec<MarkedEnd>> {
        let query = self
            .client()
            .query(&format!(
                "SELECT toInt64(toUnixTimestamp(toDateTime(toMonday(t), 'UTC'))) AS week, toUInt64(max(max)) AS `end` \
                 FROM {} AND metric_name = {{marker:String}} GROUP BY week",
                self.markers()
            ))
            .param("marker", marker);
        self.ask("look for the markers of a range that was begun", query.fetch_all()).await
    }

    /// The markers, as what stands behind a FROM.
    fn markers(&self) -> String {
        format!("{} AND conversation_id = '' AND account_id = ''", self.rollups_of(RollupTier::Marker))
    }

    /// The rollups of one tier, as what stands behind a FROM: no text in Rust reads them otherwise.
    fn rollups_of(&self, tier: RollupTier) -> String {
        let (database, table, tier) = (&self.config().database, Table::MetricRollups.name(), tier.name());
        format!("{database}.{table} WHERE tier = '{tier}'")
    }

    /// A table whose rows carry their place on the log, as what stands behind a FROM.
    fn rows_of(&self, table: Table) -> String {
        debug_assert!(
            matches!(table.proof(), Proof::Rows { .. }),
            "{} shows no rows of the log",
            table.name()
        );
        format!("{}.{}", self.config().database, table.name())
    }

    /// Whether a token that `table` remembers proves that it has the rows. A replicated table commits both in one step of
    /// Keeper's; any other writes the one beside the other and, dying between, may know a token and lack its rows.
    ///
    /// # Errors
    /// When the store does not answer, or has no such table.
    pub async fn token_proves_rows(&self, table: Table) -> Result<bool> {
        let query = self
            .client()
            .query("SELECT engine FROM system.tables WHERE database = {database:String} AND name = {table:String}")
            .param("database", &self.config().database)
            .param("table", table.name());
        let engine: String = self.ask("name a table's engine", query.fetch_one()).await?;
        Ok(is_replicated(&engine))
    }
}

fn is_replicated(engine: &str) -> bool {
    engine.starts_with("Replicated") || engine.starts_with("Shared")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_that_commit_a_token_with_its_part() {
        for (engine, replicated) in [
            ("MergeTree", false),
            ("AggregatingMergeTree", false),
            ("ReplicatedMergeTree", true),
            ("ReplicatedAggregatingMergeTree", true),
            ("SharedMergeTree", true),
        ] {
            assert_eq!(is_replicated(engine), replicated, "{engine}");
        }
    }

    #[test]
    fn a_week_begins_on_its_monday() {
        const MONDAY: i64 = 1_714_953_600; // 2024-05-06
        for (seconds, week) in [
            (MONDAY, MONDAY),
            (MONDAY + 7 * SECONDS_A_DAY - 1, MONDAY),
            (MONDAY + 7 * SECONDS_A_DAY, MONDAY + 7 * SECONDS_A_DAY),
            (MONDAY - 1, MONDAY - 7 * SECONDS_A_DAY),
            (0, 0),
            (4 * SECONDS_A_DAY - 1, 0),
            (4 * SECONDS_A_DAY, 4 * SECONDS_A_DAY),
        ] {
            assert_eq!(week_of(seconds), week, "{seconds}");
        }
    }

    #[test]
    fn a_marker_is_named_after_its_generation() {
        assert_eq!(marker_name("kelly.metrics", 3, "00c0ffee"), "kelly.metrics:3:00c0ffee");
    }
}
