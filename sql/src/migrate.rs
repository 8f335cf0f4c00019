//! Brings a database to the schema this binary works with, and tells whether it is there.
//!
//! A migration is one idempotent statement. The journal gets a 'started' record before it and an 'applied' record
//! after it, so a half-applied one is seen, and run again. Several instances may migrate at once: each statement
//! holds when it is run twice. Views are re-created when their text changed; TTLs follow the configuration, and a change of
//! one is journalled like a migration: the table says what its TTL is, not whether the parts there follow it.

use std::collections::{BTreeMap, BTreeSet};

use clickhouse::Row;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::client::Store;
use crate::embedded::{MIGRATIONS, SqlFile, VIEWS};
use crate::error::{Result, StoreError};
use crate::retention;
use crate::template::Values;

/// What the schema depends on besides the binary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationParams {
    /// Hours raw metrics are kept (`MONITORING_METRICS_RETENTION_HOURS`).
    pub metrics_retention_hours: u32,
    /// Days rollups, events and dead letters are kept (`MONITORING_DB_RETENTION_DAYS`).
    pub retention_days: u32,
    /// Days decisions and alerts are kept (`KELLY_AUDIT_RETENTION_DAYS`).
    pub audit_retention_days: u32,
    /// Cluster to create the tables on, as the servers' configuration names it; `None` for one node.
    pub cluster: Option<String>,
}

impl Default for MigrationParams {
    fn default() -> Self {
        MigrationParams {
            metrics_retention_hours: 72,
            retention_days: 90,
            audit_retention_days: 400,
            cluster: None,
        }
    }
}

/// What a migration changed; all empty when the database was as it should be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MigrationReport {
    /// Migrations applied now.
    pub applied: Vec<&'static str>,
    /// Views created or re-created now.
    pub views: Vec<&'static str>,
    /// Tables whose retention was changed now.
    pub retention: Vec<&'static str>,
}

/// Why a database cannot be used as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// Not all migrations were applied.
    #[error("database {database} lacks migration {missing}; run `kelly migrate` with this version of Kelly")]
    Missing {
        /// The database.
        database: String,
        /// First migration that is missing.
        missing: String,
    },
    /// A migration began and did not end.
    #[error(
        "migration {name} of database {database} was begun and not finished; run `kelly migrate` to finish it"
    )]
    HalfApplied {
        /// The database.
        database: String,
        /// The migration.
        name: String,
    },
    /// The database was migrated by a newer Kelly.
    #[error(
        "database {database} has migration {name} of a newer Kelly, this one knows up to {known}; \
         run that version or a newer one"
    )]
    Newer {
        /// The database.
        database: String,
        /// The newest migration found.
        name: String,
        /// The newest migration this binary carries.
        known: &'static str,
    },
    /// A migration was applied with another text than this binary's.
    #[error(
        "migration {name} was applied to database {database} with another text than this version of Kelly carries; \
         use the version that applied it, or migrate a new database and replay the log into it"
    )]
    Changed {
        /// The database.
        database: String,
        /// The migration.
        name: String,
    },
    /// A view is missing or has another text.
    #[error(
        "view {name} of database {database} is not this version's; run `kelly migrate` with this version of Kelly"
    )]
    View {
        /// The database.
        database: String,
        /// The view's file.
        name: &'static str,
    },
}

impl Store {
    /// Creates what is missing, finishes what was begun, and makes views and retention follow this binary and `params`.
    ///
    /// # Errors
    /// When the database belongs to a newer Kelly, was migrated with other texts, or a statement fails; calling it
    /// again goes on where it stopped.
    pub async fn migrate(&self, params: &MigrationParams) -> Result<MigrationReport> {
        let values = self.values(params)?;
        self.create_database(&values).await?;
        let mut report = MigrationReport::default();
        let journal = match self.read_journal().await? {
            Some(journal) => journal,
            None => {
                // The journal's own table cannot be journalled before it exists.
                self.run(&MIGRATIONS[0], &values).await?;
                Journal::default()
            }
        };
        journal.refuse_foreign(values.database)?;
        for (number, file) in (0u32..).zip(MIGRATIONS) {
            if journal.migrations.get(&number).is_some_and(|entry| entry.applied) {
                continue;
            }
            let checksum = checksum(file.text);
            self.record(Record {
                kind: "migration",
                number,
                name: file.name,
                checksum: &checksum,
                state: "started",
            })
            .await?;
            self.run(file, &values).await?;
            self.record(Record {
                kind: "migration",
                number,
                name: file.name,
                checksum: &checksum,
                state: "applied",
            })
            .await?;
            report.applied.push(file.name);
        }
        let there = self.views_there().await?;
        for (number, file) in (0u32..).zip(VIEWS) {
            let checksum = view_checksum(file, &values)?;
            if journal.views.get(file.name) == Some(&checksum) && there.contains(view_name(file)) {
                continue;
            }
            self.run(file, &values).await?;
            self.record(Record {
                kind: "view",
                number,
                name: file.name,
                checksum: &checksum,
                state: "applied",
            })
            .await?;
            report.views.push(file.name);
        }
        report.retention = retention::follow(self, &values).await?;
        Ok(report)
    }

    /// Checks that the database is at this binary's schema.
    ///
    /// # Errors
    /// [`StoreError::Schema`] says what differs; anything else means that it could not be checked.
    pub async fn verify_schema(&self) -> Result<()> {
        let database = self.config().database.clone();
        let Some(journal) = self.read_journal().await? else {
            return Err(SchemaError::Missing { database, missing: MIGRATIONS[0].name.to_owned() }.into());
        };
        journal.refuse_foreign(&database)?;
        for (number, file) in (0u32..).zip(MIGRATIONS) {
            match journal.migrations.get(&number) {
                Some(entry) if entry.applied => {}
                Some(entry) => {
                    return Err(SchemaError::HalfApplied { database, name: entry.name.clone() }.into());
                }
                None => return Err(SchemaError::Missing { database, missing: file.name.to_owned() }.into()),
            }
        }
        let there = self.views_there().await?;
        // The second half of the checksum depends on the cluster's name, which only a migration knows.
        for view in VIEWS {
            let found = journal.views.get(view.name).and_then(|checksum| checksum.split(':').next());
            if found != Some(&checksum(&view.assembled()?)) || !there.contains(view_name(view)) {
                return Err(SchemaError::View { database, name: view.name }.into());
            }
        }
        Ok(())
    }

    fn values<'a>(&'a self, params: &'a MigrationParams) -> Result<Values<'a>> {
        if params.metrics_retention_hours == 0
            || params.retention_days == 0
            || params.audit_retention_days == 0
        {
            return Err(StoreError::Configuration(
                "MONITORING_METRICS_RETENTION_HOURS, MONITORING_DB_RETENTION_DAYS and KELLY_AUDIT_RETENTION_DAYS \
                 must be at least 1"
                    .to_owned(),
            ));
        }
        let cluster = params.cluster.as_deref();
        if let Some(cluster) = cluster
            && (cluster.is_empty() || cluster.contains(['\'', '\\', '`']))
        {
            return Err(StoreError::Configuration(format!(
                "cluster name {cluster:?} is empty or holds a quote"
            )));
        }
        Ok(Values {
            database: &self.config().database,
            cluster,
            metrics_retention_hours: params.metrics_retention_hours,
            retention_days: params.retention_days,
            audit_retention_days: params.audit_retention_days,
        })
    }

    /// Creates the database unless it is there: whoever created it may have kept that right to himself.
    async fn create_database(&self, values: &Values<'_>) -> Result<()> {
        let client = self.outside_database();
        let exists: u8 = self
            .ask(
                "look for its database",
                client
                    .query("SELECT toUInt8(count() > 0) FROM system.databases WHERE name = {name:String}")
                    .param("name", values.database)
                    .fetch_one(),
            )
            .await?;
        if exists == 1 {
            return Ok(());
        }
        let file = SqlFile {
            name: "create its database",
            text: "CREATE DATABASE IF NOT EXISTS ${database} ${on_cluster}",
        };
        self.run(&file, values).await
    }

    async fn run(&self, file: &SqlFile, values: &Values<'_>) -> Result<()> {
        let statement = file.rendered(values)?;
        self.execute(&format!("apply {}", file.name), &statement).await
    }

    /// Runs a statement that changes the schema; it may take as long as it takes.
    pub(crate) async fn execute(&self, action: &str, statement: &str) -> Result<()> {
        self.outside_database()
            .query_raw(statement)
            .with_setting("max_execution_time", "0")
            .execute()
            .await
            .map_err(|error| StoreError::query(action, error))
    }

    /// The journal, or `None` when there is none yet.
    async fn read_journal(&self) -> Result<Option<Journal>> {
        let database = &self.config().database;
        let client = self.outside_database();
        let exists: u8 = self
            .ask(
                "look for the journal of migrations",
                client
                    .query(
                        "SELECT toUInt8(count() > 0) FROM system.tables \
                         WHERE database = {database:String} AND name = 'schema_migrations'",
                    )
                    .param("database", database)
                    .fetch_one(),
            )
            .await?;
        if exists == 0 {
            return Ok(None);
        }
        let records: Vec<Entry> = self
            .ask(
                "read the journal of migrations",
                client
                    .query(&format!(
                        "SELECT toString(kind) AS kind, number, name, checksum, toString(state) AS state \
                         FROM {database}.schema_migrations WHERE kind != 'retention' ORDER BY at"
                    ))
                    .fetch_all(),
            )
            .await?;
        Ok(Some(Journal::replay(records)))
    }

    /// The names of the views in the database.
    async fn views_there(&self) -> Result<BTreeSet<String>> {
        let client = self.outside_database();
        let names: Vec<String> = self
            .ask(
                "look for its views",
                client
                    .query("SELECT name FROM system.tables WHERE database = {database:String} AND engine = 'View'")
                    .param("database", &self.config().database)
                    .fetch_all(),
            )
            .await?;
        Ok(names.into_iter().collect())
    }

    pub(crate) async fn record(&self, record: Record<'_>) -> Result<()> {
        let client = self.outside_database();
        self.ask(
            "write the journal of migrations",
            client
                .query(&format!(
                    "INSERT INTO {}.schema_migrations (kind, number, name, checksum, state, kelly_version) VALUES \
                     ({{kind:String}}, {{number:UInt32}}, {{name:String}}, {{checksum:String}}, {{state:String}}, {{version:String}})",
                    self.config().database
                ))
                .param("kind", record.kind)
                .param("number", record.number)
                .param("name", record.name)
                .param("checksum", record.checksum)
                .param("state", record.state)
                .param("version", env!("CARGO_PKG_VERSION"))
                .with_setting("async_insert", "0")
                .execute(),
        )
        .await
    }
}

/// What is written into the journal.
pub(crate) struct Record<'a> {
    /// `migration`, `view` or `retention`.
    pub(crate) kind: &'a str,
    /// Its number among its kind.
    pub(crate) number: u32,
    /// Its name: a file's, or of a retention the table's.
    pub(crate) name: &'a str,
    /// Of its text; of a retention the interval itself.
    pub(crate) checksum: &'a str,
    /// `started`, `applied`, or of a retention `complete`.
    pub(crate) state: &'a str,
}

#[derive(Row, Deserialize)]
struct Entry {
    kind: String,
    number: u32,
    name: String,
    checksum: String,
    state: String,
}

/// The journal's sum: what holds after all its records, oldest first.
#[derive(Debug, Default)]
struct Journal {
    migrations: BTreeMap<u32, MigrationState>,
    /// File name of a view -> checksum of the text it was last created with.
    views: BTreeMap<String, String>,
}

#[derive(Debug)]
struct MigrationState {
    name: String,
    checksum: String,
    applied: bool,
}

impl Journal {
    fn replay(records: Vec<Entry>) -> Self {
        let mut journal = Journal::default();
        for record in records {
            if record.kind == "view" {
                journal.views.insert(record.name, record.checksum);
                continue;
            }
            let applied = record.state == "applied";
            let state = journal.migrations.entry(record.number).or_insert_with(|| MigrationState {
                name: record.name,
                checksum: String::new(),
                applied: false,
            });
            state.checksum = record.checksum;
            state.applied |= applied;
        }
        journal
    }

    /// Refuses what another version of Kelly did here.
    fn refuse_foreign(&self, database: &str) -> Result<(), SchemaError> {
        let known = MIGRATIONS[MIGRATIONS.len() - 1].name;
        if let Some((&number, entry)) = self.migrations.last_key_value()
            && number as usize >= MIGRATIONS.len()
        {
            return Err(SchemaError::Newer {
                database: database.to_owned(),
                name: entry.name.clone(),
                known,
            });
        }
        for (number, file) in (0u32..).zip(MIGRATIONS) {
            if let Some(entry) = self.migrations.get(&number)
                && entry.applied
                && entry.checksum != checksum(file.text)
            {
                return Err(SchemaError::Changed { database: database.to_owned(), name: entry.name.clone() });
            }
        }
        Ok(())
    }
}

/// Of the text with what it includes, and of what became of it here.
fn view_checksum(file: &SqlFile, values: &Values<'_>) -> Result<String> {
    Ok(format!("{}:{}", checksum(&file.assembled()?), checksum(&file.rendered(values)?)))
}

/// A view's name in the database: its file's without the number.
fn view_name(file: &SqlFile) -> &'static str {
    file.name.split_once('_').map_or(file.name, |(_, name)| name)
}

fn checksum(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u32, checksum: &str, state: &str) -> Entry {
        Entry {
            kind: "migration".into(),
            number,
            name: format!("{number:04}_x"),
            checksum: checksum.into(),
            state: state.into(),
        }
    }

    #[test]
    fn a_migration_counts_as_applied_only_after_its_second_record() {
        let own = checksum(MIGRATIONS[0].text);
        let journal = Journal::replay(vec![
            entry(0, &own, "started"),
            entry(0, &own, "applied"),
            entry(1, "x", "started"),
        ]);
        assert!(journal.migrations[&0].applied);
        assert!(!journal.migrations[&1].applied);
        // A half-applied migration of other text is not refused: it is run again with this one's.
        assert_eq!(journal.refuse_foreign("kelly"), Ok(()));
    }

    #[test]
    fn another_text_and_a_newer_schema_are_refused() {
        let changed = Journal::replay(vec![entry(0, "other", "applied")]);
        assert!(matches!(changed.refuse_foreign("kelly"), Err(SchemaError::Changed { .. })));
        let newer = Journal::replay(vec![entry(9_999, "x", "started")]);
        assert!(matches!(newer.refuse_foreign("kelly"), Err(SchemaError::Newer { .. })));
    }
}
