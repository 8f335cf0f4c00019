//! A store for one contender: a fresh engine in a fresh directory, migrated, so that nobody inherits
//! another's parts, merges or caches.

use std::path::Path;

use anyhow::{Context, Result, bail};
use kelly_harness::engine::{query, spec};
use kelly_sql::engine::{Engine, EngineState};
use kelly_sql::{MigrationParams, Store};
use tempfile::TempDir;

/// Laid over the engine's own configuration; empty for the one Kelly runs with.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Elements of the server's configuration.
    pub server: String,
    /// Settings of the profile that the application and background inserts run with.
    pub profile: String,
}

/// An engine with Kelly's tables.
pub struct FreshStore {
    engine: Engine,
    store: Store,
    _directory: TempDir,
}

impl FreshStore {
    /// Starts and migrates one.
    pub async fn start(overrides: &Overrides) -> Result<Self> {
        let directory =
            TempDir::with_prefix("kelly-bench-engine-").context("creating the engine's directory")?;
        lay_over(directory.path(), "kelly-config", &overrides.server)?;
        let profile = format!("<profiles><default>{}</default></profiles>", overrides.profile);
        lay_over(directory.path(), "kelly-users", if overrides.profile.is_empty() { "" } else { &profile })?;
        let engine = Engine::start(spec(directory.path())?).await?;
        let store = Store::new(engine.store_config())?;
        store.migrate(&MigrationParams::default()).await?;
        Ok(Self { engine, store, _directory: directory })
    }

    /// The typed client.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The engine's process.
    pub fn pid(&self) -> Result<u32> {
        match *self.engine.state().borrow() {
            EngineState::Ready { pid } => Ok(pid),
            ref state => bail!("the engine is not running: {state:?}"),
        }
    }

    /// The answer to `sql` as text.
    pub async fn query(&self, sql: &str) -> Result<String> {
        query(self.store.config(), &self.store.config().database, sql)
            .await
            .with_context(|| format!("asking: {sql}"))
    }

    /// The answer to `sql`, one number.
    pub async fn number(&self, sql: &str) -> Result<u64> {
        let answer = self.query(sql).await?;
        answer.parse().with_context(|| format!("{sql} answered {answer:?}"))
    }

    /// Does now what the store does by itself once a week that is over has been quiet for minutes: every table that asks
    /// for it gets one part a week. A month written in seconds would otherwise be asked for in more parts than one that
    /// was written as it passed.
    pub async fn merge_past_weeks(&self) -> Result<()> {
        let parts = self
            .query(
                "SELECT DISTINCT table, partition FROM system.parts WHERE active AND database = currentDatabase() \
                 AND partition != toString(toMonday(now('UTC'))) AND table IN (SELECT name FROM system.tables WHERE \
                 database = currentDatabase() AND create_table_query LIKE '%min_age_to_force_merge_seconds%') FORMAT TSV",
            )
            .await?;
        for (table, partition) in parts.lines().filter_map(|line| line.split_once('\t')) {
            self.query(&format!("OPTIMIZE TABLE {table} PARTITION '{partition}' FINAL")).await?;
        }
        Ok(())
    }

    /// Ends the engine and waits for it, so that it takes nothing of the next contender's time.
    pub async fn end(self) {
        self.engine.shutdown().await;
    }
}

/// ClickHouse merges every file of the directory `NAME.d` beside a configuration file into it.
fn lay_over(directory: &Path, name: &str, elements: &str) -> Result<()> {
    if elements.is_empty() {
        return Ok(());
    }
    let directory = directory.join("engine").join(format!("{name}.d"));
    std::fs::create_dir_all(&directory).context("creating a directory for configuration")?;
    std::fs::write(directory.join("bench.xml"), format!("<clickhouse>{elements}</clickhouse>\n"))
        .context("writing configuration")
}
