//! What the evaluator has done since it started, readable at any time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::place::Place;

/// Counters of one evaluator.
#[derive(Debug, Default)]
pub struct EvaluatorStats {
    pub(crate) records: AtomicU64,
    pub(crate) rows: AtomicU64,
    pub(crate) skipped: AtomicU64,
    pub(crate) passed_on: AtomicU64,
    pub(crate) transitions: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) put_off: AtomicU64,
    pub(crate) unknown: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) states_written: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) rules: AtomicU64,
    pub(crate) problems: AtomicU64,
    pub(crate) behind: AtomicU64,
    pub(crate) committed_ms: AtomicI64,
    lanes: Mutex<BTreeMap<Place, LaneCounts>>,
    error: Mutex<Option<String>>,
}

/// How one lane is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LaneCounts {
    pub(crate) states: u64,
    pub(crate) firing: u64,
    pub(crate) late_rows: u64,
    pub(crate) over_cap: u64,
    pub(crate) is_ready: bool,
}

/// The counters at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EvaluatorCounts {
    /// Messages read.
    pub records: u64,
    /// Rows judged.
    pub rows: u64,
    /// Rows and messages that are none; ingest keeps them as dead letters.
    pub skipped: u64,
    /// Rows passed on to engines that count rows of several partitions.
    pub passed_on: u64,
    /// Changes of alerts that the control log decided about.
    pub transitions: u64,
    /// Changes of alerts that the control log refused for good.
    pub dropped: u64,
    /// Alerts that wait because as many are open as can be.
    pub put_off: u64,
    /// Answers of the control log that did not come in time and were asked for again.
    pub unknown: u64,
    /// Appends and commits that had to be tried again.
    pub retries: u64,
    /// States written.
    pub states_written: u64,
    /// Offsets that the log's retention removed before they were read.
    pub lost: u64,
    /// Rules in force.
    pub rules: u64,
    /// Things about rules and thresholds that are wrong.
    pub problems: u64,
    /// Records on the log that are not judged yet, of the partitions that this instance reads.
    pub behind: u64,
    /// Partitions that this instance judges.
    pub partitions: u64,
    /// Those of them that still take up their states.
    pub starting: u64,
    /// States in memory.
    pub states: u64,
    /// Alerts that fire.
    pub firing: u64,
    /// Rows that came too late to count, of the entities in memory.
    pub late_rows: u64,
    /// Rows that were not judged because their rule watches as many entities as it may.
    pub over_cap: u64,
    /// When a position was committed last, ms since the epoch; `None` before the first.
    pub committed_ms: Option<i64>,
    /// The last thing that went wrong, while it has not gone right since.
    pub last_error: Option<String>,
}

impl EvaluatorStats {
    /// The counters now.
    pub fn counts(&self) -> EvaluatorCounts {
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = |of: fn(&LaneCounts) -> u64| lanes.values().map(of).sum();
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let committed_ms = self.committed_ms.load(Ordering::Relaxed);
        EvaluatorCounts {
            records: load(&self.records),
            rows: load(&self.rows),
            skipped: load(&self.skipped),
            passed_on: load(&self.passed_on),
            transitions: load(&self.transitions),
            dropped: load(&self.dropped),
            put_off: load(&self.put_off),
            unknown: load(&self.unknown),
            retries: load(&self.retries),
            states_written: load(&self.states_written),
            lost: load(&self.lost),
            rules: load(&self.rules),
            problems: load(&self.problems),
            behind: load(&self.behind),
            partitions: lanes.len() as u64,
            starting: lanes.values().filter(|lane| !lane.is_ready).count() as u64,
            states: sum(|lane| lane.states),
            firing: sum(|lane| lane.firing),
            late_rows: sum(|lane| lane.late_rows),
            over_cap: sum(|lane| lane.over_cap),
            committed_ms: (committed_ms > 0).then_some(committed_ms),
            last_error: self.error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    pub(crate) fn lane(&self, place: Place, counts: LaneCounts) {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).insert(place, counts);
    }

    pub(crate) fn note_rules(&self, rules: usize, problems: usize) {
        self.rules.store(rules as u64, Ordering::Relaxed);
        self.problems.store(problems as u64, Ordering::Relaxed);
    }

    pub(crate) fn lane_gone(&self, place: Place) {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).remove(&place);
    }

    pub(crate) fn failed(&self, what: &str) {
        add(&self.retries, 1);
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(what.to_owned());
    }

    pub(crate) fn recovered(&self) {
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}
