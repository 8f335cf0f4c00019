//! Retention follows the configuration: a table's TTL is altered when, and only when, it is another one.
//!
//! A part carries the times its rows expire at, under the TTL it was written with, and merges only pass them on: a longer
//! retention would lose old parts early, a shorter one keep them too long. So they are worked out anew, which takes
//! time with the amount of data. It is left to the engine to do beside everything else: a start-up does not wait. It
//! reads what the TTL depends on and rewrites no rows; a part that has expired is dropped whole by the next merge.
//! Between the change and that order a process can die: the journal of migrations tells that a change was begun.
//!
//! The journal keeps every change with its time, so it is known what a table really holds ([`history`]). A change has three
//! entries: 'started', 'applied' when its statements are sent, and 'complete' ([`Store::complete_retention`]) when every
//! part follows it and every process that writes has had time to learn of it.

mod history;
mod reader;

use std::collections::BTreeMap;
use std::time::Duration;

use clickhouse::Row;
use serde::Deserialize;

use crate::client::Store;
use crate::error::Result;
use crate::migrate::{Record, SchemaError};
use crate::tables::{ExpiryBound, Table};
use crate::template::Values;

pub use history::RetentionHistory;
use history::{Change, Stage, length_ms};
pub use reader::{RETENTION_READ_EVERY, RetentionReader};

/// A change is complete no sooner than this after it was applied. Every process that writes has read it by then, or acts
/// upon no retention any more ([`RETENTION_TRUSTED_FOR`]), and has closed the batches that it had begun before.
const NOTICE: Duration = Duration::from_secs(90);

/// How long a process that writes may act upon the retentions it has read when it cannot read them again. Then it has to
/// write every raw row, whatever its age.
pub const RETENTION_TRUSTED_FOR: Duration = Duration::from_secs(20);

/// A batch is open for so long at most, whatever is configured.
const LONGEST_BATCH: Duration = Duration::from_secs(60);

const _: () = assert!(
    RETENTION_READ_EVERY.as_secs() + RETENTION_TRUSTED_FOR.as_secs() + LONGEST_BATCH.as_secs()
        < NOTICE.as_secs()
);

/// How long the store keeps what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retentions {
    /// Raw metrics.
    pub samples: RetentionHistory,
    /// Their rollups.
    pub rollups: RetentionHistory,
    /// Activity events.
    pub events: RetentionHistory,
}

impl Retentions {
    /// Whether a change is not complete, so that [`Store::complete_retention`] may have something to do.
    #[must_use]
    pub fn are_changing(&self) -> bool {
        [&self.samples, &self.rollups, &self.events].into_iter().any(RetentionHistory::is_changing)
    }
}

impl Store {
    /// How long the store keeps what, and kept it before, by its own journal and tables.
    ///
    /// # Errors
    /// When it does not answer or lacks the tables.
    pub async fn retentions(&self) -> Result<Retentions> {
        let (journal, tables) = tokio::try_join!(self.retention_journal(), self.table_intervals())?;
        let of = |some: &[Table]| {
            let histories = some.iter().map(|table| {
                history_of(*table, &journal, &tables).ok_or_else(|| {
                    let database = self.config().database.clone();
                    SchemaError::Missing { database, missing: format!("of table {}", table.name()) }
                })
            });
            let together = histories.reduce(|one, other| Ok(one?.and(&other?)));
            together.expect("no group of tables is empty")
        };
        Ok(Retentions { samples: of(&SAMPLES)?, rollups: of(&ROLLUPS)?, events: of(&EVENTS)? })
    }

    /// Writes down which of the changes that were applied are complete by now; the names of their tables. Any process may do
    /// it; until one does, the retention before counts as in force.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn complete_retention(&self, cluster: Option<&str>) -> Result<Vec<&'static str>> {
        let (journal, tables) = tokio::try_join!(self.retention_journal(), self.table_intervals())?;
        let applied: Vec<(Table, &Entry)> = Table::ALL
            .into_iter()
            .filter_map(|table| Some((table, journal.get(table.name())?.last()?)))
            .filter(|(table, last)| {
                last.stage() == Some(Stage::Applied) && tables.get(table.name()) == Some(&last.interval)
            })
            .collect();
        let mut completed = Vec::new();
        if applied.is_empty() {
            return Ok(completed);
        }
        let now_ms = self.server_time_ms().await?;
        let behind = self.tables_behind(cluster).await?;
        for (table, last) in applied {
            let is_noticed = now_ms.saturating_sub(last.at_ms) >= NOTICE.as_millis() as i64;
            if is_noticed && !behind.iter().any(|name| name == table.name()) {
                self.record(entry(table, &last.interval, "complete")).await?;
                completed.push(table.name());
            }
        }
        Ok(completed)
    }

    /// The tables that have parts which do not follow a changed retention yet.
    async fn tables_behind(&self, cluster: Option<&str>) -> Result<Vec<String>> {
        let (mutations, not_known) = match cluster {
            Some(cluster) => (format!("clusterAllReplicas('{cluster}', system.mutations)"), ""),
            // Of a table that is on other servers too, this one cannot tell.
            None => (
                "system.mutations".to_owned(),
                "UNION DISTINCT SELECT name FROM system.tables \
                 WHERE database = {database:String} AND engine LIKE 'Replicated%'",
            ),
        };
        let client = self.outside_database();
        let query = client
            .query(&format!(
                "SELECT DISTINCT table FROM {mutations} \
                 WHERE database = {{database:String}} AND NOT is_done AND command LIKE '%MATERIALIZE TTL%' {not_known}"
            ))
            .param("database", &self.config().database);
        self.ask("look whether its parts follow the retention", query.fetch_all()).await
    }

    /// What the journal has of each table, oldest first.
    pub(crate) async fn retention_journal(&self) -> Result<BTreeMap<String, Vec<Entry>>> {
        let client = self.outside_database();
        let entries: Vec<Entry> = self
            .ask(
                "read the journal of its retentions",
                client
                    .query(&format!(
                        "SELECT name, checksum AS interval, toString(state) AS state, toUnixTimestamp64Milli(at) + 1 AS at_ms \
                         FROM {}.schema_migrations WHERE kind = 'retention' ORDER BY at",
                        self.config().database
                    ))
                    .fetch_all(),
            )
            .await?;
        let mut journal: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        for entry in entries {
            journal.entry(entry.name.clone()).or_default().push(entry);
        }
        Ok(journal)
    }

    /// The interval in the TTL of each table that has one. It asks for the tables by name: of every view besides, the engine would read
    /// and parse the definition from disk, each time.
    async fn table_intervals(&self) -> Result<BTreeMap<String, String>> {
        let client = self.outside_database();
        let names = Table::ALL.map(Table::name);
        let tables: Vec<TableText> = self
            .ask(
                "read the retention of its tables",
                client
                    .query(
                        "SELECT name, engine_full AS engine FROM system.tables \
                         WHERE database = {database:String} AND name IN {names:Array(String)}",
                    )
                    .param("database", &self.config().database)
                    .param("names", names.as_slice())
                    .fetch_all(),
            )
            .await?;
        let interval = |table: TableText| Some((table.name, ttl_interval(&table.engine)?.to_owned()));
        Ok(tables.into_iter().filter_map(interval).collect())
    }
}

const SAMPLES: [Table; 1] = [Table::SystemMetrics];
const ROLLUPS: [Table; 1] = [Table::MetricRollups];
const EVENTS: [Table; 2] = [Table::ActivityEvents, Table::ActivityFirstSeen];

#[derive(Row, Deserialize)]
struct TableText {
    name: String,
    engine: String,
}

/// An entry of the journal about a retention.
#[derive(Row, Deserialize)]
pub(crate) struct Entry {
    /// The table.
    name: String,
    /// As the TTL has it.
    interval: String,
    state: String,
    /// Rounded up.
    at_ms: i64,
}

impl Entry {
    fn stage(&self) -> Option<Stage> {
        match self.state.as_str() {
            "started" => Some(Stage::Started),
            "applied" => Some(Stage::Applied),
            "complete" => Some(Stage::Complete),
            _ => None,
        }
    }

    fn change(&self) -> Option<Change> {
        Some(Change { at_ms: self.at_ms, length_ms: length_ms(&self.interval)?, stage: self.stage()? })
    }
}

fn history_of(
    table: Table,
    journal: &BTreeMap<String, Vec<Entry>>,
    tables: &BTreeMap<String, String>,
) -> Option<RetentionHistory> {
    let entries = journal.get(table.name()).map(Vec::as_slice).unwrap_or_default();
    let changes: Vec<Change> = entries.iter().filter_map(Entry::change).collect();
    let set_to = tables.get(table.name()).and_then(|interval| length_ms(interval));
    RetentionHistory::of(&changes, set_to)
}

fn entry<'a>(table: Table, interval: &'a str, state: &'a str) -> Record<'a> {
    Record { kind: "retention", number: table as u32, name: table.name(), checksum: interval, state }
}

/// Alters the TTLs that differ from `values` or were begun to be altered; the names of the tables it altered.
pub(crate) async fn follow(store: &Store, values: &Values<'_>) -> Result<Vec<&'static str>> {
    let (journal, tables) = tokio::try_join!(store.retention_journal(), store.table_intervals())?;
    let mut changed = Vec::new();
    for table in Table::ALL {
        let wanted = interval(table, values);
        let current = tables.get(table.name()).map(String::as_str);
        let entries = journal.get(table.name()).map(Vec::as_slice).unwrap_or_default();
        let mut is_begun = entries.last().is_some_and(|last| last.stage() == Some(Stage::Started));
        if let Some(current) = current {
            // What a table was made with is where its history begins; what was set by hand is a part of it.
            if entries.is_empty() {
                store.record(entry(table, current, "complete")).await?;
            } else if is_by_hand(entries, current) {
                store.record(entry(table, current, "started")).await?;
                is_begun = true;
            }
        }
        if current == Some(wanted.as_str()) && !is_begun {
            continue;
        }
        let on_cluster = values.cluster.map(|cluster| format!("ON CLUSTER '{cluster}'")).unwrap_or_default();
        let name = table.name();
        tracing::info!(
            table = name,
            from = current.unwrap_or("none"),
            to = wanted,
            "changing the retention; the parts there are follow in the background"
        );
        let alter = format!("ALTER TABLE {}.{name} {on_cluster}", values.database);
        let statements = [
            format!("{alter} MODIFY SETTING materialize_ttl_recalculate_only = 1"),
            format!(
                "{alter} MODIFY TTL {} + {wanted} SETTINGS materialize_ttl_after_modify = 0",
                table.expiry().from
            ),
            format!("{alter} MATERIALIZE TTL SETTINGS mutations_sync = 0"),
        ];
        store.record(entry(table, &wanted, "started")).await?;
        for statement in &statements {
            store.execute(&format!("change the retention of {name}"), statement).await?;
        }
        store.record(entry(table, &wanted, "applied")).await?;
        changed.push(name);
    }
    Ok(changed)
}

/// Whether a table is set to something else than what the journal last made of it. An interval of long ago is so again when
/// it was set by hand; one that was begun since the last change may have been set before that was written down.
fn is_by_hand(entries: &[Entry], current: &str) -> bool {
    let last_made =
        entries.iter().rposition(|entry| entry.stage() > Some(Stage::Started)).unwrap_or_default();
    !entries[last_made..].iter().any(|entry| entry.interval == current)
}

fn interval(table: Table, values: &Values<'_>) -> String {
    match table.expiry().bound {
        ExpiryBound::MetricsHours => format!("toIntervalHour({})", values.metrics_retention_hours),
        ExpiryBound::Days => format!("toIntervalDay({})", values.retention_days),
        ExpiryBound::AuditDays => format!("toIntervalDay({})", values.audit_retention_days),
    }
}

/// The interval in `… TTL expression + toIntervalX(n) SETTINGS …`, as the server prints a table's engine.
fn ttl_interval(engine: &str) -> Option<&str> {
    let (_, ttl) = engine.split_once(" TTL ")?;
    let ttl = ttl.split(" SETTINGS ").next().unwrap_or(ttl);
    let start = ttl.find("toInterval")?;
    let end = start + ttl[start..].find(')')? + 1;
    Some(&ttl[start..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_in_force_long_ago_is_by_hand_now() {
        let entry = |interval: &str, state: &str| Entry {
            name: "system_metrics".to_owned(),
            interval: interval.to_owned(),
            state: state.to_owned(),
            at_ms: 0,
        };
        let made = entry("1", "complete");
        let raised = [made, entry("72", "started"), entry("72", "applied"), entry("72", "complete")];
        assert!(!is_by_hand(&raised, "72"));
        assert!(is_by_hand(&raised, "1") && is_by_hand(&raised, "2"));
        // A change that is not written down to its end has come to its statements or not.
        assert!(!is_by_hand(&raised[..2], "1") && !is_by_hand(&raised[..2], "72"));
        assert!(is_by_hand(&raised[..3], "1"));
    }

    #[test]
    fn the_interval_is_found_in_the_servers_text() {
        let engine = "MergeTree PARTITION BY toDate(timestamp) ORDER BY (a, b) TTL toDateTime(timestamp) + toIntervalHour(72) SETTINGS x = 1";
        assert_eq!(ttl_interval(engine), Some("toIntervalHour(72)"));
        assert_eq!(ttl_interval("MergeTree ORDER BY a SETTINGS x = 1"), None);
    }
}
