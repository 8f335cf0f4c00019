//! Exactly once: the pipeline over the real embedded log, with a ledger that stands in for the store where every insert
//! there is must be tried, and with the real store where faults of the store, of the clock or of messages are meant.

mod clock;
mod configuration;
mod expired;
mod full_disk;
mod ledger;
mod messages;
mod moved;
mod poison;
mod store;
mod transactions;
mod undeclared;
mod unknown;

use std::sync::{Arc, Mutex};

use kelly_ingest::{IngestConfig, lag};
use kelly_schemas::{INGEST_GROUP, Stream};
use kelly_stream::Log;
use ledger::{Contents, Ledger, Plan, Taken, violations};
use messages::{config, filled_log, run_until_crash, run_until_drained};
use undeclared::Undeclared;

/// Rows of a batch.
const ROWS: usize = 4;

/// Inserts of a run that is not disturbed, at least: so many points there are to crash at.
const INSERTS: usize = 30;

/// Points at which the tests of the tests crash.
const POINTS: usize = 14;

const FAITHFUL: Vec<String> = Vec::new();

async fn crash_at(log: &Arc<dyn Log>, contents: &Arc<Mutex<Contents>>, at: usize, taken: Taken) -> bool {
    let ledger = Arc::new(Ledger::over(contents, Plan::Crash { at, taken }));
    run_until_crash(log, Arc::clone(&ledger) as _, &ledger.crashed, config(ROWS)).await
}

async fn finish(log: &Arc<dyn Log>, ledger: Ledger) {
    run_until_drained(log, Arc::new(ledger), config(ROWS)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_arrives_once() {
    let directory = tempfile::tempdir().unwrap();
    let log = filled_log(directory.path()).await;
    let contents = Arc::default();
    finish(&log, Ledger::over(&contents, Plan::Obey)).await;
    assert_eq!(violations(&contents), FAITHFUL);
    assert_eq!(lag(&*log, INGEST_GROUP, &[Stream::Metrics]).await.unwrap(), 0);
}

/// By the token alone, by what the store shows alone, and by both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inserts_with_unknown_outcome_count_once() {
    for (deduplicates, shows) in [(true, false), (false, true), (true, true)] {
        let directory = tempfile::tempdir().unwrap();
        let log = filled_log(directory.path()).await;
        let contents = Arc::default();
        finish(&log, Ledger { deduplicates, shows, ..Ledger::over(&contents, Plan::Fail) }).await;
        assert_eq!(violations(&contents), FAITHFUL, "tokens {deduplicates}, evidence {shows}");
    }
}

/// Crashes at every insert there is, with nothing, a part or all of the block taken, or its token alone, and each time
/// a second run finishes what the first began. Every other time the store has forgotten its tokens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_insert_changes_nothing() {
    for taken in [Taken::Nothing, Taken::Part, Taken::All, Taken::Token] {
        for at in 0.. {
            let directory = tempfile::tempdir().unwrap();
            let log = filled_log(directory.path()).await;
            let contents: Arc<Mutex<Contents>> = Arc::default();
            let crashed = crash_at(&log, &contents, at, taken).await;
            let forgotten = at % 2 == 0;
            if forgotten {
                contents.lock().unwrap().forget_tokens();
            }
            finish(&log, Ledger::over(&contents, Plan::Obey)).await;
            assert_eq!(
                violations(&contents),
                FAITHFUL,
                "crash at {at}, taken: {taken:?}, tokens forgotten: {forgotten}"
            );
            if !crashed {
                assert!(at > INSERTS, "the run has no more inserts than {at}");
                break;
            }
        }
    }
}

/// Crashes at every insert there is, and the positions are gone when the second run begins: it is another group. Only
/// what the store shows is left to go on by. The second run crashes too, and the third has its position.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_positions_change_nothing() {
    const TAKEN: [(Taken, Taken); 4] = [
        (Taken::Nothing, Taken::Part),
        (Taken::Part, Taken::All),
        (Taken::All, Taken::Part),
        (Taken::All, Taken::Nothing),
    ];
    for at in 0.. {
        let (taken, then) = TAKEN[at % TAKEN.len()];
        let directory = tempfile::tempdir().unwrap();
        let log = filled_log(directory.path()).await;
        let contents: Arc<Mutex<Contents>> = Arc::default();
        let crashed = crash_at(&log, &contents, at, taken).await;
        contents.lock().unwrap().forget_tokens();
        // Its batches are cut elsewhere.
        let second = IngestConfig { group: "second".to_owned(), ..config(ROWS + 3) };
        let ledger = Arc::new(Ledger::over(&contents, Plan::Crash { at: at % 5, taken: then }));
        run_until_crash(&log, Arc::clone(&ledger) as _, &ledger.crashed, second.clone()).await;
        contents.lock().unwrap().forget_tokens();
        run_until_drained(&log, Arc::new(Ledger::over(&contents, Plan::Obey)), second).await;
        assert_eq!(violations(&contents), FAITHFUL, "crash at {at}, taken: {taken:?}, then {then:?}");
        if !crashed {
            assert!(at > INSERTS, "the run has no more inserts than {at}");
            break;
        }
    }
}

/// A replicated store whose replica lags behind shows nothing of what it was sent; nothing is sent for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_lags_doubles_nothing() {
    for at in 0..POINTS {
        let directory = tempfile::tempdir().unwrap();
        let log = filled_log(directory.path()).await;
        let contents = Arc::default();
        crash_at(&log, &contents, at, Taken::All).await;
        finish(&log, Ledger { lags: true, ..Ledger::over(&contents, Plan::Obey) }).await;
        assert_eq!(violations(&contents), FAITHFUL, "crash at {at}");
    }
}

/// A test of the tests: with a store that ignores tokens and shows nothing, the crashes above are noticed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_tokens_and_evidence_the_violations_are_found() {
    let mut noticed = 0;
    for at in 0..POINTS {
        let directory = tempfile::tempdir().unwrap();
        let log = filled_log(directory.path()).await;
        let contents = Arc::default();
        crash_at(&log, &contents, at, Taken::All).await;
        let ledger = Ledger { deduplicates: false, shows: false, ..Ledger::over(&contents, Plan::Obey) };
        finish(&log, ledger).await;
        noticed += usize::from(violations(&contents) != FAITHFUL);
    }
    // A crash at a block of `activity_first_seen` does no harm.
    assert!(noticed > POINTS / 2, "{noticed} of {POINTS} doubled blocks were noticed");
}

/// Another: where the store shows nothing, lost positions are noticed wherever they are lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_evidence_lost_positions_are_found() {
    for at in 1..POINTS {
        let directory = tempfile::tempdir().unwrap();
        let log = filled_log(directory.path()).await;
        let contents = Arc::default();
        crash_at(&log, &contents, at, Taken::All).await;
        let ledger = Ledger { shows: false, ..Ledger::over(&contents, Plan::Obey) };
        let second = IngestConfig { group: "second".to_owned(), ..config(ROWS) };
        run_until_drained(&log, Arc::new(ledger), second).await;
        assert_ne!(violations(&contents), FAITHFUL, "crash at {at}");
    }
}

/// The other: when ranges are not declared, a successor cuts its batches elsewhere, and neither tokens nor evidence
/// are asked about what was begun.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_declarations_the_violations_are_found() {
    let mut noticed = 0;
    for at in 0..POINTS {
        let directory = tempfile::tempdir().unwrap();
        let log: Arc<dyn Log> = Arc::new(Undeclared(filled_log(directory.path()).await));
        let contents = Arc::default();
        crash_at(&log, &contents, at, Taken::All).await;
        run_until_drained(&log, Arc::new(Ledger::over(&contents, Plan::Obey)), config(ROWS + 3)).await;
        noticed += usize::from(violations(&contents) != FAITHFUL);
    }
    assert!(noticed > POINTS / 2, "{noticed} of {POINTS} ranges written again were noticed");
}
