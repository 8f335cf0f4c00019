//! The end of the server, as connections see it: some at a time, so that not all clients come to another instance at one
//! instant.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;

/// Sockets that are closed at once.
const CLOSED_AT_ONCE: usize = 100;
/// The pause before the next ones.
const PAUSE_BETWEEN: Duration = Duration::from_millis(50);
/// However many there are, the last one is closed after so long.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Whether the server stops.
#[derive(Debug)]
pub(crate) struct Stop {
    is_stopping: watch::Sender<bool>,
    closed: AtomicUsize,
}

impl Default for Stop {
    fn default() -> Self {
        Self { is_stopping: watch::channel(false).0, closed: AtomicUsize::new(0) }
    }
}

impl Stop {
    pub(super) fn begin(&self) {
        self.is_stopping.send_replace(true);
    }

    pub(super) fn has_begun(&self) -> bool {
        *self.is_stopping.borrow()
    }

    pub(super) fn watch(&self) -> Stopping {
        Stopping(self.is_stopping.subscribe())
    }

    /// How long the next socket waits before it is closed.
    pub(super) fn pause_before_close(&self) -> Duration {
        let before = self.closed.fetch_add(1, Ordering::Relaxed) / CLOSED_AT_ONCE;
        PAUSE_BETWEEN.saturating_mul(u32::try_from(before).unwrap_or(u32::MAX)).min(LONGEST_PAUSE)
    }
}

/// What one connection watches.
#[derive(Debug)]
pub(super) struct Stopping(watch::Receiver<bool>);

impl Stopping {
    /// Waits for the stop.
    pub(super) async fn begun(&mut self) {
        // An error means that the server is gone already.
        let _ = self.0.wait_for(|stopping| *stopping).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_closed_some_at_a_time_and_within_a_bound() {
        let stop = Stop::default();
        let pauses: Vec<Duration> = (0..20_000).map(|_| stop.pause_before_close()).collect();
        assert!(pauses[..CLOSED_AT_ONCE].iter().all(Duration::is_zero));
        assert_eq!(pauses[CLOSED_AT_ONCE], PAUSE_BETWEEN);
        assert!(pauses.is_sorted());
        assert_eq!(pauses[19_999], LONGEST_PAUSE);
    }
}
