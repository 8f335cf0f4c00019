//! The real store, its engine dead in the middle of a batch and its log of tokens gone: every row is in raw and in
//! every tier of the rollups once.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::future::join_all;
use kelly_harness::engine::{query, spec};
use kelly_ingest::evidence::{Evidence, Source};
use kelly_ingest::{Block, InsertError, Tables, Unanswered};
use kelly_schemas::Stream;
use kelly_sql::engine::Engine;
use kelly_sql::evidence::MarkedGeneration;
use kelly_sql::{MigrationParams, Store, StoreConfig, Table};
use kelly_stream::Log;
use tempfile::TempDir;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use crate::ledger::{Taken, first_partition};
use crate::messages::{broken, config, filled_log, rows, run_until_crash, run_until_drained};

/// The tables a batch has blocks for.
const WRITTEN: [Table; 5] = [
    Table::DeadLetters,
    Table::SystemMetrics,
    Table::MetricRollups,
    Table::ActivityFirstSeen,
    Table::ActivityEvents,
];

/// Rows of a batch: each partition of the log has a few.
const ROWS: usize = 12;

/// A store whose writer dies at the second insert into one table.
struct Dying {
    store: Store,
    table: Table,
    taken: Taken,
    inserts: AtomicUsize,
    /// The parts of a block whose rows are to be lost.
    parts: Mutex<Vec<PathBuf>>,
    crashed: Notify,
    /// One insert into the table at a time: parts that are new then are of that block, and not of one that will be confirmed.
    turn: tokio::sync::Mutex<()>,
    /// Inserts the store has begun; it ends them though nobody waits for its answer any more.
    under_way: TaskTracker,
}

#[async_trait]
impl Tables for Dying {
    async fn insert(&self, block: &Block, token: &str) -> Result<(), InsertError> {
        let _turn = if block.table == self.table { Some(self.turn.lock().await) } else { None };
        if block.table != self.table || self.inserts.fetch_add(1, Ordering::SeqCst) == 0 {
            let (store, block, token) = (self.store.clone(), block.clone(), token.to_owned());
            let insert = async move { Tables::insert(&store, &block, &token).await };
            return self.under_way.spawn(insert).await.unwrap();
        }
        match self.taken {
            Taken::Nothing => {}
            // As the store takes them: one by one, each under the token.
            Taken::Part => Tables::insert(&self.store, &first_partition(block), token).await?,
            Taken::All => Tables::insert(&self.store, block, token).await?,
            Taken::Token => {
                ask(&self.store, &format!("SYSTEM STOP MERGES {}", self.table.name())).await;
                let before = parts(&self.store, self.table).await;
                Tables::insert(&self.store, block, token).await?;
                let mut after = parts(&self.store, self.table).await;
                after.retain(|part| !before.contains(part));
                *self.parts.lock().unwrap() = after;
            }
        }
        self.crashed.notify_one();
        std::future::pending().await
    }

    async fn evidence(&self, block: &Block, source: Source<'_>) -> Result<Evidence, InsertError> {
        self.store.evidence(block, source).await
    }

    async fn marked_generations(
        &self,
        stream: Stream,
        partition: u32,
    ) -> Result<Vec<MarkedGeneration>, Unanswered> {
        Tables::marked_generations(&self.store, stream, partition).await
    }

    async fn rows_end(&self, stream: Stream, partition: u32, from: u64) -> Result<u64, Unanswered> {
        Tables::rows_end(&self.store, stream, partition, from).await
    }

    async fn token_proves_rows(&self, table: Table) -> Result<bool, InsertError> {
        Tables::token_proves_rows(&self.store, table).await
    }
}

/// A store that is not asked what it has.
struct Blind(Store);

#[async_trait]
impl Tables for Blind {
    async fn insert(&self, block: &Block, token: &str) -> Result<(), InsertError> {
        Tables::insert(&self.0, block, token).await
    }

    async fn evidence(&self, _: &Block, _: Source<'_>) -> Result<Evidence, InsertError> {
        Ok(Evidence::Unknown)
    }

    async fn marked_generations(
        &self,
        stream: Stream,
        partition: u32,
    ) -> Result<Vec<MarkedGeneration>, Unanswered> {
        Tables::marked_generations(&self.0, stream, partition).await
    }

    async fn rows_end(&self, stream: Stream, partition: u32, from: u64) -> Result<u64, Unanswered> {
        Tables::rows_end(&self.0, stream, partition, from).await
    }

    async fn token_proves_rows(&self, table: Table) -> Result<bool, InsertError> {
        Tables::token_proves_rows(&self.0, table).await
    }
}

/// A log and a database of its own on an engine that several share.
struct Scene {
    table: Table,
    taken: Taken,
    log: Arc<dyn Log>,
    store: Store,
    /// Of a block that is to lose its rows.
    parts: Vec<PathBuf>,
    _directory: TempDir,
}

impl Scene {
    /// Runs a pipeline into its crash.
    async fn play(engine: &Engine, table: Table, taken: Taken) -> Self {
        let database = format!("{}_{taken:?}", table.name()).to_lowercase();
        Self::in_store(database_on(engine, database).await, table, taken).await
    }

    async fn in_store(store: Store, table: Table, taken: Taken) -> Self {
        let directory = TempDir::new().unwrap();
        let log = filled_log(directory.path()).await;
        let parts = crash(&log, &store, table, taken).await;
        Self { table, taken, log, store, parts, _directory: directory }
    }

    async fn finish(&self) {
        run_until_drained(&self.log, Arc::new(self.store.clone()), config(ROWS)).await;
    }

    async fn violations(&self, logs: u64) -> Vec<String> {
        violations(&self.store, logs).await.into_iter().map(|what| format!("{self}: {what}")).collect()
    }
}

/// A database that keeps raw rows for as long as these tests have any.
pub async fn database_on(engine: &Engine, database: String) -> Store {
    let store = Store::new(StoreConfig { database, ..engine.store_config() }).unwrap();
    let params = MigrationParams { metrics_retention_hours: 60 * 24, ..MigrationParams::default() };
    store.migrate(&params).await.unwrap();
    store
}

/// Runs a pipeline until it dies at the second insert into a table. Returns the parts of a block that is to lose its rows.
pub async fn crash(log: &Arc<dyn Log>, store: &Store, table: Table, taken: Taken) -> Vec<PathBuf> {
    let dying = Arc::new(Dying {
        store: store.clone(),
        table,
        taken,
        inserts: AtomicUsize::new(0),
        parts: Mutex::default(),
        crashed: Notify::new(),
        turn: tokio::sync::Mutex::default(),
        under_way: TaskTracker::new(),
    });
    assert!(run_until_crash(log, Arc::clone(&dying) as _, &dying.crashed, config(ROWS)).await);
    // An insert of the other partition may still be under way. Nothing but its token guards against it, and these
    // scenes take the tokens away: both at once is what no store survives.
    dying.under_way.close();
    dying.under_way.wait().await;
    std::mem::take(&mut *dying.parts.lock().unwrap())
}

impl std::fmt::Display for Scene {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} with {:?} of its block taken", self.table.name(), self.taken)
    }
}

/// What is wrong in a store that has taken so many logs.
pub async fn violations(store: &Store, logs: u64) -> Vec<String> {
    let mut wrong = Vec::new();
    let of_tier = |what: &str, tier: &str| format!("SELECT {what} FROM metric_rollups WHERE tier = '{tier}'");
    let counted = |tier: &str| of_tier("sum(count)", tier);
    let in_histograms = |tier: &str| of_tier("sum(arraySum(mapValues(histogram)))", tier);
    let distinct = "SELECT uniqExact(log_partition, log_offset, log_row, timestamp) FROM system_metrics";
    for (question, wanted) in [
        ("SELECT count() FROM system_metrics".to_owned(), rows()),
        (distinct.to_owned(), rows()),
        (counted("minute"), rows()),
        (counted("hour"), rows()),
        (counted("account_hour"), rows()),
        (counted("conversation_day"), rows()),
        (in_histograms("minute"), rows()),
        (in_histograms("hour"), rows()),
        (in_histograms("account_day"), rows()),
        ("SELECT count() FROM activity_events".to_owned(), rows()),
        ("SELECT uniqExact(id) FROM activity_first_seen".to_owned(), rows()),
        ("SELECT count() FROM dead_letters".to_owned(), broken()),
    ] {
        let found = ask(store, &question).await;
        if found != (wanted * logs).to_string() {
            wrong.push(format!("{question} is {found}, not {}", wanted * logs));
        }
    }
    let sums = "SELECT round(sum(sum), 3) FROM metric_rollups WHERE tier = 'minute' UNION ALL SELECT round(sum(value), 3) FROM system_metrics";
    let sums = ask(store, sums).await;
    if sums.lines().collect::<std::collections::HashSet<_>>().len() != 1 {
        wrong.push(format!("minutes and raw rows do not add up alike: {sums}"));
    }
    wrong
}

/// The directories of a table's parts.
async fn parts(store: &Store, table: Table) -> Vec<PathBuf> {
    let question = format!(
        "SELECT path FROM system.parts WHERE database = currentDatabase() AND table = '{}' AND active",
        table.name()
    );
    ask(store, &question).await.lines().map(PathBuf::from).collect()
}

async fn ask(store: &Store, question: &str) -> String {
    query(store.config(), &store.config().database, question).await.unwrap()
}

/// The files in which an engine keeps the tokens it has seen.
fn token_logs(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
            if !entry.file_type().unwrap().is_dir() {
                continue;
            }
            if entry.file_name() == "deduplication_logs" {
                found.extend(std::fs::read_dir(entry.path()).unwrap().map(|file| file.unwrap().path()));
            } else {
                left.push(entry.path());
            }
        }
    }
    found
}

/// A power failure as ingest sees it: the engine is gone in the middle of a batch, and what it had not forced to disk
/// is gone with it.
async fn lose_tokens(engine: Engine, directory: &Path) -> Engine {
    // It ends as it would by a kill: nothing is written on the way out.
    engine.shutdown().await;
    let logs = token_logs(directory);
    assert!(logs.len() >= Table::ALL.len(), "the engine keeps its tokens elsewhere by now");
    for log in logs {
        std::fs::remove_file(log).unwrap();
    }
    Engine::start(spec(directory).unwrap()).await.unwrap()
}

/// Every block a batch has, wholly or partly taken when the writer and the engine die.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_log_of_tokens_is_survived_at_every_block() {
    let directory = TempDir::new().unwrap();
    let engine = Engine::start(spec(directory.path()).unwrap()).await.unwrap();
    let mut scenes = Vec::new();
    for table in WRITTEN {
        scenes.push(Scene::play(&engine, table, Taken::Part).await);
    }
    for (table, taken) in [
        (Table::DeadLetters, Taken::Nothing),
        (Table::SystemMetrics, Taken::All),
        (Table::MetricRollups, Taken::All),
        (Table::ActivityEvents, Taken::All),
    ] {
        scenes.push(Scene::play(&engine, table, taken).await);
    }
    let engine = lose_tokens(engine, directory.path()).await;
    join_all(scenes.iter().map(Scene::finish)).await;
    let mut wrong = Vec::new();
    for scene in &scenes {
        wrong.extend(scene.violations(1).await);
    }
    assert_eq!(wrong, Vec::<String>::new());
    engine.shutdown().await;
}

/// A test of the test above: without a look at the rows the same loss doubles them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_evidence_a_lost_log_of_tokens_is_noticed() {
    let directory = TempDir::new().unwrap();
    let engine = Engine::start(spec(directory.path()).unwrap()).await.unwrap();
    let scene = Scene::play(&engine, Table::MetricRollups, Taken::All).await;
    let engine = lose_tokens(engine, directory.path()).await;
    run_until_drained(&scene.log, Arc::new(Blind(scene.store.clone())), config(ROWS)).await;
    let wrong = scene.violations(1).await;
    for rows in
        ["system_metrics", "'minute'", "'hour'", "'account_hour'", "'account_day'", "'conversation_day'"]
    {
        assert!(wrong.iter().any(|what| what.contains(rows)), "{rows} was not doubled: {wrong:?}");
    }
    engine.shutdown().await;
}

/// The store writes a part and its token one beside the other: dying between, it may know the token and lack the part.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_without_its_rows_does_not_lose_them() {
    let directory = TempDir::new().unwrap();
    let engine = Engine::start(spec(directory.path()).unwrap()).await.unwrap();
    let mut scenes = Vec::new();
    for table in [Table::SystemMetrics, Table::MetricRollups, Table::ActivityFirstSeen] {
        scenes.push(Scene::play(&engine, table, Taken::Token).await);
    }
    engine.shutdown().await;
    for scene in &scenes {
        assert!(!scene.parts.is_empty(), "{scene}");
        for part in &scene.parts {
            // The engine names its files as they are from its working directory.
            std::fs::remove_dir_all(directory.path().join("engine").join(part)).unwrap();
        }
    }
    let engine = Engine::start(spec(directory.path()).unwrap()).await.unwrap();
    for scene in &scenes {
        scene.finish().await;
        assert_eq!(scene.violations(1).await, Vec::<String>::new());
    }
    engine.shutdown().await;
}

/// The window holds so many tokens and no more. And the log is made anew: its offsets begin at zero again, where the
/// store has rows of the generation before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_left_the_window_and_a_log_made_anew() {
    let directory = TempDir::new().unwrap();
    let engine = Engine::start(spec(directory.path()).unwrap()).await.unwrap();
    let scene = Scene::play(&engine, Table::MetricRollups, Taken::Part).await;
    for table in Table::ALL {
        let alter =
            format!("ALTER TABLE {} MODIFY SETTING non_replicated_deduplication_window = 2", table.name());
        ask(&scene.store, &alter).await;
    }
    // Another log into the same tables, interrupted too: its blocks push the tokens out.
    let anew = Scene::in_store(scene.store.clone(), Table::SystemMetrics, Taken::All).await;
    anew.finish().await;
    scene.finish().await;
    assert_eq!(scene.violations(2).await, Vec::<String>::new());
    engine.shutdown().await;
}
