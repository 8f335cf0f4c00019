//! What waits for the writer: appends bounded by their bytes, commits by the number of committers
//! (each waits for its own).

use std::collections::VecDeque;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;

use super::groups::LockedGroup;
use crate::bounds;
use crate::error::LogError;
use crate::port::{Commit, NewRecord, Position, Result};

/// Most bytes of appends written and synced at once: bounds how long a commit behind them waits.
const MAX_GROUP_BYTES: usize = 8 * 1024 * 1024;

/// What a record costs in the queue besides its key and payload.
const RECORD_OVERHEAD_BYTES: usize = 128;

/// Something to be written.
pub(super) enum Job {
    Append(Append),
    Commit(Committing),
}

pub(super) struct Append {
    /// Each has its partition.
    pub(super) records: Vec<NewRecord>,
    pub(super) reply: oneshot::Sender<Result<Vec<Position>>>,
}

pub(super) struct Committing {
    pub(super) group: Arc<LockedGroup>,
    pub(super) commits: Vec<Commit>,
    pub(super) reply: SyncSender<Result<()>>,
}

/// The bounded queue.
pub(super) struct Queue {
    limit_bytes: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<(Job, usize)>,
    bytes: usize,
    closed: bool,
}

impl Queue {
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self { limit_bytes, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Takes the job or refuses it: it never waits for room.
    pub(super) fn push(&self, job: Job) -> Result<()> {
        let bytes = match &job {
            Job::Append(append) => {
                append.records.iter().map(|record| bounds::size_of(record) + RECORD_OVERHEAD_BYTES).sum()
            }
            Job::Commit(_) => 0,
        };
        if bytes > self.limit_bytes {
            return Err(LogError::TooLarge { what: "an append".into(), bytes, limit: self.limit_bytes });
        }
        let mut state = self.lock();
        if state.closed {
            return Err(LogError::Closed);
        }
        if state.bytes + bytes > self.limit_bytes {
            return Err(LogError::Full {
                what: format!("{} bytes wait for the disk, at most {} may", state.bytes, self.limit_bytes),
            });
        }
        state.bytes += bytes;
        state.jobs.push_back((job, bytes));
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for jobs, at most until the deadline, and takes what is there, up to a bound: they
    /// become durable together. `None` when the queue is closed and empty.
    pub(super) fn take_group(&self, deadline: Option<Instant>) -> Option<Vec<Job>> {
        let mut state = self.lock();
        while state.jobs.is_empty() {
            if state.closed {
                return None;
            }
            state = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => return Some(Vec::new()),
                Some(left) => {
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        let mut group = Vec::new();
        let mut group_bytes = 0;
        while let Some((_, bytes)) = state.jobs.front() {
            if !group.is_empty() && group_bytes + bytes > MAX_GROUP_BYTES {
                break;
            }
            if let Some((job, bytes)) = state.jobs.pop_front() {
                group_bytes += bytes;
                state.bytes -= bytes;
                group.push(job);
            }
        }
        Some(group)
    }

    /// Takes nothing more; what is in it is still written.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(bytes: usize) -> Job {
        let record = NewRecord {
            topic: "t".into(),
            partition: Some(0),
            key: None,
            payload: vec![0; bytes].into(),
            content_type: None,
        };
        Job::Append(Append { records: vec![record], reply: oneshot::channel().0 })
    }

    #[test]
    fn refuses_what_is_beyond_its_bound_and_takes_more_when_there_is_room() {
        let queue = Queue::new(1_000);
        assert!(matches!(queue.push(append(1_000)), Err(LogError::TooLarge { .. })));
        queue.push(append(500)).unwrap();
        assert!(matches!(queue.push(append(500)), Err(LogError::Full { .. })));
        assert_eq!(queue.take_group(None).unwrap().len(), 1);
        queue.push(append(500)).unwrap();
        queue.close();
        assert!(matches!(queue.push(append(1)), Err(LogError::Closed)));
        assert_eq!(queue.take_group(None).unwrap().len(), 1, "what was taken is still written");
        assert!(queue.take_group(None).is_none());
    }

    #[test]
    fn a_group_is_bounded() {
        let queue = Queue::new(10 * MAX_GROUP_BYTES);
        for _ in 0..3 {
            queue.push(append(MAX_GROUP_BYTES / 2)).unwrap();
        }
        queue.push(append(2 * MAX_GROUP_BYTES)).unwrap();
        let sizes: Vec<usize> = (0..4).map(|_| queue.take_group(None).unwrap().len()).collect();
        assert_eq!(sizes, [1, 1, 1, 1]);
    }
}
