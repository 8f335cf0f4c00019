//! Following what is decided, from an offset on.

use std::sync::{Arc, PoisonError};

use tokio::sync::watch;

use super::ring::Found;
use super::{Health, Progress, Shared};
use crate::decision::Decision;

/// A follower was too slow, or came too late: what lies between is not kept. It reads the state and goes on at `oldest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed {
    /// The first offset from which it can go on.
    pub oldest: u64,
}

/// Why there is no next decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchEnd {
    /// Decisions were missed.
    Missed(Missed),
    /// This instance does not follow the log any more.
    Stopped(String),
}

/// Follows the decisions. It has no queue: a place among those kept for all, so a slow one costs nothing.
pub struct Watcher {
    shared: Arc<Shared>,
    progress: watch::Receiver<Progress>,
    next: u64,
}

impl Watcher {
    pub(super) fn new(shared: Arc<Shared>, progress: watch::Receiver<Progress>, next: u64) -> Self {
        Self { shared, progress, next }
    }

    /// The offset from which it goes on.
    #[must_use]
    pub fn next_offset(&self) -> u64 {
        self.next
    }

    /// The next decision; waits for it. Can be dropped while it waits: nothing is lost.
    ///
    /// # Errors
    /// When decisions were missed; the call after it goes on behind them. When there will be none any more.
    pub async fn next(&mut self) -> Result<Arc<Decision>, WatchEnd> {
        loop {
            // Before the look at the ring, so that what comes between the two wakes it.
            let health = self.progress.borrow_and_update().health.clone();
            let found = self.shared.ring.lock().unwrap_or_else(PoisonError::into_inner).from(self.next);
            match found {
                Found::Decision(decision) => {
                    self.next = decision.at.offset + 1;
                    return Ok(decision);
                }
                Found::Missed(oldest) => {
                    self.next = oldest;
                    return Err(WatchEnd::Missed(Missed { oldest }));
                }
                Found::NotYet => {}
            }
            if let Health::Stopped(why) = health {
                return Err(WatchEnd::Stopped(why));
            }
            if self.progress.changed().await.is_err() {
                return Err(WatchEnd::Stopped("it was told to stop".into()));
            }
        }
    }
}
