//! A range is finished under the configuration it was declared with, whatever is configured by then.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use arrow_array::cast::AsArray;
use arrow_array::types::{UInt16Type, UInt32Type, UInt64Type};
use kelly_ingest::Journal;
use kelly_schemas::{INGEST_GROUP, Stream};
use kelly_sql::Table;
use kelly_stream::Log;

use crate::ledger::{Contents, Ledger, Plan, Taken};
use crate::messages::{self, DAY_MS, config, config_keeping, filled_log, run_until_crash, run_until_drained};
use crate::{INSERTS, ROWS};

/// Of the rows on the log, which are of today, one week and two weeks old, those of two weeks are older than this.
const SHORTER_RAW_RETENTION_MS: i64 = 10 * DAY_MS;

/// Crashes at every insert under one retention of raw metrics and goes on under a shorter one: rows of ranges that were
/// declared before are raw rows all the same, those of later ranges are not if they are too old.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_declared_range_is_finished_under_its_own_retention() {
    let mut old_rows_of_declared_ranges = 0;
    for at in 0.. {
        let directory = tempfile::tempdir().unwrap();
        let log = filled_log(directory.path()).await;
        let contents: Arc<Mutex<Contents>> = Arc::default();
        let ledger = Arc::new(Ledger::over(&contents, Plan::Crash { at, taken: Taken::Nothing }));
        let crashed = run_until_crash(&log, Arc::clone(&ledger) as _, &ledger.crashed, config(ROWS)).await;
        let declared = declared_ends(&*log).await;

        let second = config_keeping(SHORTER_RAW_RETENTION_MS, ROWS);
        run_until_drained(&log, Arc::new(Ledger::over(&contents, Plan::Obey)), second).await;

        let mut expected = BTreeSet::new();
        for row in messages::metrics() {
            let is_declared = declared[row.partition as usize].is_some_and(|end| row.offset < end);
            let is_old = row.age_ms > SHORTER_RAW_RETENTION_MS;
            old_rows_of_declared_ranges += usize::from(is_declared && is_old);
            if is_declared || !is_old {
                expected.insert((row.partition, row.offset, row.row));
            }
        }
        assert_eq!(raw_rows(&contents), expected, "crash at {at}, ranges declared up to {declared:?}");
        if !crashed {
            assert!(at > INSERTS, "the run has no more inserts than {at}");
            break;
        }
    }
    assert!(
        old_rows_of_declared_ranges > 0,
        "no declared range had a row that the shorter retention leaves out"
    );
}

/// Up to where the ranges of each partition of the metrics are confirmed or declared.
async fn declared_ends(log: &dyn Log) -> Vec<Option<u64>> {
    let committed = log.committed(INGEST_GROUP, Stream::Metrics.topic()).await.unwrap();
    let end = |committed: &kelly_stream::Committed| match Journal::parse(&committed.metadata).unwrap() {
        Some(Journal::Declared { end, .. }) => end,
        Some(Journal::Idle { .. }) | None => committed.offset,
    };
    committed.iter().map(|committed| committed.as_ref().map(end)).collect()
}

/// The places on the log of the raw metrics; a row that is there twice fails.
fn raw_rows(contents: &Mutex<Contents>) -> BTreeSet<(u32, u64, u32)> {
    let contents = contents.lock().unwrap();
    let mut places = BTreeSet::new();
    for rows in contents.blocks(Table::SystemMetrics) {
        let partitions = rows["log_partition"].as_primitive::<UInt16Type>();
        let offsets = rows["log_offset"].as_primitive::<UInt64Type>();
        let numbers = rows["log_row"].as_primitive::<UInt32Type>();
        for at in 0..rows.num_rows() {
            let place = (u32::from(partitions.value(at)), offsets.value(at), numbers.value(at));
            assert!(places.insert(place), "{place:?} is there twice");
        }
    }
    places
}
