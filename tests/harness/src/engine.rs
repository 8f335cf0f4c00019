//! The real embedded engine for tests: one process per test program, a database of its own for each test.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kelly_sql::engine::{self, EngineSpec, LibraryPlaces};
use kelly_sql::{MigrationParams, Store, StoreConfig};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::unique;

/// How long dropping a test's database may take before the test goes on without.
const DROP_DEADLINE: Duration = Duration::from_secs(30);

/// An engine with a directory of its own, both gone when it is dropped.
pub struct Engine {
    config: StoreConfig,
    /// Of its own: the runtime of the test that started it ends before the others. `None` only while
    /// it is dropped.
    runtime: Option<Runtime>,
    parts: Mutex<Option<Parts>>,
}

struct Parts {
    engine: engine::Engine,
    directory: TempDir,
}

impl Engine {
    /// The engine of this test program, started when it is first asked for and ended with the program.
    ///
    /// # Panics
    /// When it cannot be started; the message says what is missing.
    pub fn shared() -> &'static Engine {
        static SHARED: OnceLock<Engine> = OnceLock::new();
        extern "C" fn end() {
            if let Some(engine) = SHARED.get() {
                engine.end();
            }
        }
        SHARED.get_or_init(|| {
            let engine =
                Engine::start().unwrap_or_else(|error| panic!("no engine to test against: {error:#}"));
            // SAFETY: `end` takes no arguments and touches only a static. Statics are not dropped at exit, so this
            // is what removes the engine's directory; the process itself would end without it.
            unsafe { libc::atexit(end) };
            engine
        })
    }

    /// An engine of this caller's own.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start() -> Result<Engine> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("starting a runtime for the engine")?;
        let directory =
            TempDir::with_prefix("kelly-test-engine-").context("creating the engine's directory")?;
        let spec = spec(directory.path())?;
        let (sender, started) = sync_channel(1);
        // Not block_on: the caller may be inside a runtime.
        runtime.spawn(async move {
            let _ = sender.send(engine::Engine::start(spec).await);
        });
        let engine = started.recv().context("the engine's start was cut off")??;
        let config = engine.store_config();
        Ok(Engine { config, runtime: Some(runtime), parts: Mutex::new(Some(Parts { engine, directory })) })
    }

    /// How to reach it as the application's user; the database is the default one.
    pub fn store_config(&self) -> &StoreConfig {
        &self.config
    }

    /// Its process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        match *parts.as_ref()?.engine.state().borrow() {
            engine::EngineState::Ready { pid } => Some(pid),
            _ => None,
        }
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.runtime {
            runtime.spawn(work);
        }
    }

    fn end(&self) {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Parts { engine, directory }) = parts {
            let (sender, ended) = sync_channel(1);
            self.spawn(async move {
                engine.shutdown().await;
                let _ = sender.send(());
            });
            let _ = ended.recv_timeout(DROP_DEADLINE);
            drop(directory);
        }
    }

    /// Runs `statement` on the engine's own runtime, for places that cannot wait for a future.
    fn run_blocking(&self, statement: String) -> Result<()> {
        let (sender, done) = sync_channel(1);
        let config = self.config.clone();
        self.spawn(async move {
            let _ = sender.send(query(&config, "default", &statement).await.map(drop));
        });
        match done.recv_timeout(DROP_DEADLINE) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => bail!("no answer within {DROP_DEADLINE:?}"),
            Err(RecvTimeoutError::Disconnected) => bail!("the engine's runtime has ended"),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.end();
        if let Some(runtime) = self.runtime.take() {
            // The value may be dropped inside another runtime, where nothing may be waited for.
            runtime.shutdown_background();
        }
    }
}

/// A fresh, migrated database on the shared engine; dropped with this value.
pub struct TestDatabase {
    engine: &'static Engine,
    store: Store,
}

impl TestDatabase {
    /// A database migrated with the default retention.
    ///
    /// # Panics
    /// When the engine is missing or the migration fails.
    pub async fn create() -> Self {
        let database = Self::create_empty();
        let migrated = database.store.migrate(&MigrationParams::default()).await;
        migrated.unwrap_or_else(|error| panic!("migrating a test's database: {error}"));
        database
    }

    /// The name of a database that does not exist yet.
    ///
    /// # Panics
    /// When the engine is missing.
    pub fn create_empty() -> Self {
        let engine = Engine::shared();
        let config = StoreConfig { database: unique("test").replace('-', "_"), ..engine.config.clone() };
        let store = Store::new(config).unwrap_or_else(|error| panic!("a store for a test: {error}"));
        TestDatabase { engine, store }
    }

    /// Its store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.store.config().database
    }

    /// The answer to `sql` as tab-separated text, its last newline cut off. Table names need no database.
    ///
    /// # Panics
    /// When the engine refuses it.
    pub async fn query(&self, sql: &str) -> String {
        let answer = query(self.store.config(), self.name(), sql).await;
        answer.unwrap_or_else(|error| panic!("{sql}: {error:#}"))
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let dropped = self.engine.run_blocking(format!("DROP DATABASE IF EXISTS {} SYNC", self.name()));
        if let Err(error) = dropped {
            eprintln!("the database {} of a test was left behind: {error:#}", self.name());
        }
    }
}

/// What an engine for tests is started with, in `directory`.
///
/// # Errors
/// When libchdb or the program is missing; the message says how to get it.
pub fn spec(directory: &Path) -> Result<EngineSpec> {
    let library = engine::find_library(&LibraryPlaces::from_environment())?;
    Ok(EngineSpec::new(directory.to_owned(), library, program("kelly-engine")?, Vec::new()))
}

/// The answer of a store to `sql`, as text.
///
/// # Errors
/// When it refuses, with its message.
pub async fn query(config: &StoreConfig, database: &str, sql: &str) -> Result<String> {
    let response = reqwest::Client::new()
        .post(&config.url)
        .header("X-ClickHouse-Database", database)
        .header("X-ClickHouse-User", &config.user)
        .header("X-ClickHouse-Key", &config.password)
        .body(sql.to_owned())
        .send()
        .await
        .context("asking the engine")?;
    let accepted = response.status().is_success();
    let text = response.text().await.context("reading the engine's answer")?;
    if !accepted {
        bail!("{}", text.trim());
    }
    Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
}

/// A program of the workspace, which cargo puts beside the directory of the test programs.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("finding this test program")?;
    let directories = own.ancestors().skip(1).take(2);
    let mut candidates = directories.map(|directory| directory.join(name));
    candidates.find(|path| path.is_file()).with_context(|| {
        format!(
            "the program {name} is not built beside {}; run `cargo build --workspace --bins` first, \
             in the same profile",
            own.display()
        )
    })
}
