//! Waits between tries.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

const FIRST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(5);

/// Doubling waits between tries at the same thing.
pub(crate) struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Backoff {
    /// Waits; `false` when it is to be given up meanwhile.
    pub(crate) async fn wait(&mut self, given_up: &CancellationToken) -> bool {
        let is_over = tokio::time::timeout(self.0, given_up.cancelled()).await.is_err();
        self.0 = (self.0 * 2).min(LONGEST);
        is_over
    }
}
