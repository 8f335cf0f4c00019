//! What a doctor asks of the store. These questions stand on the server's own tables and need neither Kelly's tables nor
//! its views: they are asked of a store that may be of another version, half migrated, or empty.

use clickhouse::Row;
use serde::Deserialize;

use crate::client::Store;
use crate::error::Result;

/// A table of Kelly's database.
#[derive(Debug, Clone, PartialEq, Row, Deserialize)]
pub struct TableState {
    /// Its name.
    pub name: String,
    /// Engine, keys, TTL and settings, as ClickHouse prints them.
    pub engine: String,
    /// Active parts.
    pub parts: u64,
    /// Active parts of the partition that has most.
    pub parts_of_a_partition: u64,
    /// Rows.
    pub rows: u64,
    /// Bytes on disk.
    pub bytes_on_disk: u64,
    /// Bytes a day the newest partition grows by, from how much of its time is over.
    pub bytes_a_day: f64,
}

/// A disk of the server.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
pub struct DiskState {
    /// Its name.
    pub name: String,
    /// Bytes left.
    pub free: u64,
    /// Bytes in all.
    pub total: u64,
}

/// The server's work in the background.
#[derive(Debug, Clone, Copy, PartialEq, Row, Deserialize)]
pub struct BackgroundState {
    /// Merges under way in Kelly's tables.
    pub merges: u64,
    /// Seconds the longest of them has run.
    pub longest_merge_s: f64,
    /// Mutations of Kelly's tables that are not done.
    pub mutations: u64,
    /// Of these, such as failed at least once.
    pub failing_mutations: u64,
    /// Parts of one partition above which inserts are slowed down.
    pub parts_to_delay: u64,
    /// Parts of one partition above which inserts are refused.
    pub parts_to_throw: u64,
}

/// A right the user of the store needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreRight {
    /// To answer questions.
    Read,
    /// To store rows.
    Write,
    /// To migrate.
    Migrate,
}

impl StoreRight {
    /// Every right.
    pub const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Migrate];

    /// The right as ClickHouse names it, for GRANT.
    pub fn privileges(self) -> &'static str {
        match self {
            Self::Read => "SELECT",
            Self::Write => "INSERT",
            Self::Migrate => "CREATE TABLE, CREATE VIEW, DROP VIEW, ALTER",
        }
    }
}

impl Store {
    /// The server's clock, in milliseconds since 1970.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn server_time_ms(&self) -> Result<i64> {
        let client = self.outside_database();
        let query = client.query("SELECT toUnixTimestamp64Milli(now64(3))");
        self.ask("tell its time", query.fetch_one()).await
    }

    /// Whether the user has a right in Kelly's database.
    ///
    /// # Errors
    /// When the store does not answer, or is too old to be asked.
    pub async fn has_right(&self, right: StoreRight) -> Result<bool> {
        let client = self.outside_database();
        let text = format!("CHECK GRANT {} ON {}.*", right.privileges(), self.config().database);
        let answer: u8 = self.ask("tell its user's rights", client.query(&text).fetch_one()).await?;
        Ok(answer != 0)
    }

    /// Kelly's tables on the server asked; views are left out.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn table_states(&self) -> Result<Vec<TableState>> {
        // A partition is a day (system_metrics) or a week, and named by its first day. An hour at least is taken to be
        // over, so that a partition that has just begun does not seem to grow beyond measure.
        let query = self
            .outside_database()
            .query(
                "SELECT t.name AS name, t.engine_full AS engine, p.all_parts AS parts, p.most_parts AS parts_of_a_partition, \
                        p.all_rows AS rows, p.all_bytes AS bytes_on_disk, p.daily AS bytes_a_day \
                 FROM system.tables AS t LEFT JOIN ( \
                   SELECT table, sum(count) AS all_parts, max(count) AS most_parts, sum(held) AS all_rows, sum(bytes) AS all_bytes, \
                          toFloat64(sumIf(bytes, is_current)) / greatest(1 / 24, maxIf(days, is_current)) AS daily \
                   FROM ( \
                     SELECT table, partition, count() AS count, sum(rows) AS held, sum(bytes_on_disk) AS bytes, \
                            (toUnixTimestamp(now()) - toUnixTimestamp(toDateTime(toDateOrZero(partition), 'UTC'))) / 86400 AS days, \
                            partition IN (toString(toDate(now(), 'UTC')), toString(toMonday(toDate(now(), 'UTC')))) AS is_current \
                     FROM system.parts WHERE database = {database:String} AND active GROUP BY table, partition) \
                   GROUP BY table) AS p ON p.table = t.name \
                 WHERE t.database = {database:String} AND t.engine != 'View' ORDER BY name",
            )
            .param("database", &self.config().database);
        self.ask("look at its tables", query.fetch_all()).await
    }

    /// The server's disks.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn disks(&self) -> Result<Vec<DiskState>> {
        let query = self.outside_database().query(
            "SELECT name, free_space AS free, total_space AS total FROM system.disks WHERE total_space > 0 ORDER BY name",
        );
        self.ask("look at its disks", query.fetch_all()).await
    }

    /// Merges and mutations of Kelly's tables.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn background(&self) -> Result<BackgroundState> {
        let query = self
            .outside_database()
            .query(
                "SELECT merges, longest_merge_s, mutations, failing_mutations, parts_to_delay, parts_to_throw FROM \
                   (SELECT count() AS merges, max(elapsed) AS longest_merge_s FROM system.merges WHERE database = {database:String}) AS a, \
                   (SELECT count() AS mutations, countIf(latest_fail_reason != '') AS failing_mutations FROM system.mutations \
                    WHERE database = {database:String} AND NOT is_done) AS b, \
                   (SELECT maxIf(toUInt64OrZero(value), name = 'parts_to_delay_insert') AS parts_to_delay, \
                           maxIf(toUInt64OrZero(value), name = 'parts_to_throw_insert') AS parts_to_throw \
                    FROM system.merge_tree_settings) AS c",
            )
            .param("database", &self.config().database);
        self.ask("look at its merges", query.fetch_one()).await
    }
}
