//! A migration whose connection to the store breaks at every statement there is, before the store has it and after.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kelly_harness::TestDatabase;
use kelly_sql::{MigrationParams, MigrationReport, Store, StoreConfig, StoreError, Table};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What a migration asks before its first statement: is there a database, a journal, and what does that say.
const QUESTIONS: usize = 3;

/// How many further requests a run may make at most: two questions, and the record, three statements and record of a
/// change of retention.
const STEPS: usize = 8;

/// Stands before a store and passes so many requests on. The one after them is lost, or its answer is.
struct Cutter {
    url: String,
    left: Arc<AtomicUsize>,
    is_forwarded: bool,
    accepting: tokio::task::JoinHandle<()>,
}

impl Cutter {
    async fn before(upstream: &str, passes: usize, last_is_forwarded: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let upstream = upstream.trim_start_matches("http://").to_owned();
        let left = Arc::new(AtomicUsize::new(passes + 1));
        let requests = Arc::clone(&left);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let left = requests
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| Some(left.saturating_sub(1)));
                match left.unwrap() {
                    0 => {}
                    1 if !last_is_forwarded => {}
                    left => {
                        let answer = exchange(client, &upstream).await;
                        if let Some((mut client, answer)) = answer
                            && left > 1
                        {
                            let _ = client.write_all(&answer).await;
                        }
                    }
                }
            }
        });
        Self { url, left, is_forwarded: last_is_forwarded, accepting }
    }

    fn has_cut(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Passes one request on and gives its answer: each has a connection of its own.
async fn exchange(mut client: TcpStream, upstream: &str) -> Option<(TcpStream, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.ok()?);
    }
    let text = String::from_utf8(head).unwrap();
    let (first, rest) = text.split_once("\r\n").unwrap();
    let mut server = TcpStream::connect(upstream).await.unwrap();
    server.write_all(format!("{first}\r\nConnection: close\r\n{rest}").as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    let (mut from_client, _) = client.split();
    let (mut from_server, mut to_server) = server.split();
    // The client keeps its side open; the server's end is the end.
    tokio::select! {
        _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
        _ = from_server.read_to_end(&mut answer) => {}
    }
    Some((client, answer))
}

/// One run that is cut off, and whether it was.
async fn migrate_until(
    database: &TestDatabase,
    params: &MigrationParams,
    passes: usize,
    forwarded: bool,
) -> bool {
    let direct = database.store().config();
    let cutter = Cutter::before(&direct.url, passes, forwarded).await;
    let store = Store::new(StoreConfig { url: cutter.url.clone(), ..direct.clone() }).unwrap();
    let outcome = store.migrate(params).await;
    if cutter.has_cut() {
        let error = outcome.expect_err("a request was lost");
        assert!(
            matches!(error, StoreError::Unreachable { .. }),
            "forwarded: {}: {error}",
            cutter.is_forwarded
        );
        return true;
    }
    outcome.unwrap();
    false
}

/// Every point at which a migration can be cut off is one of these runs': each goes on where the one before it stopped.
async fn migrate_in_pieces(
    database: &TestDatabase,
    params: &MigrationParams,
    after_each: impl AsyncFn(),
) -> usize {
    for run in 0.. {
        // The more it may do the later it is cut off, now before a statement and now after it.
        let (steps, forwarded) = (run % STEPS, (run / STEPS).is_multiple_of(2));
        if !migrate_until(database, params, QUESTIONS + steps, forwarded).await {
            return run;
        }
        after_each().await;
    }
    unreachable!("the runs do not end")
}

#[tokio::test]
async fn a_migration_cut_off_at_every_statement_is_finished() {
    let database = TestDatabase::create_empty();
    let params = MigrationParams::default();
    let runs = migrate_in_pieces(&database, &params, async || {
        // What a start of Kelly would say meanwhile. The last run's request may have been the last of all.
        match database.store().verify_schema().await {
            Ok(()) => {}
            Err(StoreError::Schema(error)) => assert!(error.to_string().contains("kelly migrate"), "{error}"),
            Err(error) => panic!("{error}"),
        }
    })
    .await;
    assert!(runs > Table::ALL.len() * 2, "cut off only {runs} times");
    database.store().verify_schema().await.unwrap();
    assert_eq!(database.store().migrate(&params).await.unwrap(), MigrationReport::default());
}

/// Between the change of a TTL and the order that the parts there follow it, too.
#[tokio::test]
async fn a_change_of_retention_cut_off_at_every_statement_is_finished() {
    let database = TestDatabase::create().await;
    let params = MigrationParams {
        metrics_retention_hours: 48,
        retention_days: 30,
        audit_retention_days: 30,
        cluster: None,
    };
    let runs = migrate_in_pieces(&database, &params, async || {}).await;
    assert!(runs > Table::ALL.len() * 2, "cut off only {runs} times");
    for table in Table::ALL {
        let name = table.name();
        let was_ordered = database
            .query(&format!(
                "SELECT count() > 0 FROM system.mutations WHERE database = currentDatabase() AND table = '{name}' AND command LIKE '%MATERIALIZE TTL%'"
            ))
            .await;
        assert_eq!(was_ordered, "1", "the parts of {name} were never ordered to follow");
    }
    assert_eq!(database.store().migrate(&params).await.unwrap(), MigrationReport::default());
}
