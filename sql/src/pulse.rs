//! Whether the store responds at all. A question may take its time, and a store that stands still (stopped, swapped out, its
//! disk away) answers as little: so while an answer is awaited the store is asked for a trivial one beside it.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use crate::client::Store;
use crate::error::{Result, StoreError};

/// How long an answer is awaited before the store is asked whether it responds.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the trivial answer may take. It takes milliseconds; a store that is overloaded responds more slowly.
const RESPONSE_DEADLINE: Duration = Duration::from_secs(5);

/// The same once it did not respond: nobody waits as long again. Shorter than [`FRESH`], so that who asks right after it was
/// found silent learns of it without asking again.
const PATIENCE_WHILE_SILENT: Duration = Duration::from_millis(500);

/// How long a response, or that there was none, serves everybody who waits.
const FRESH: Duration = Duration::from_secs(1);

/// What is known of it, shared by all handles of a store.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    /// When it was asked last, and whether it responded. Locked while it is asked: one question serves all who wait.
    last: Mutex<Option<(Instant, bool)>>,
    is_silent: AtomicBool,
}

impl Store {
    /// Awaits an answer for as long as the store responds, `action` (an infinitive: "read the feed") saying what it is for.
    pub(crate) async fn while_it_responds<T>(
        &self,
        action: &str,
        answer: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let mut answer = pin!(answer);
        let is_silent = self.pulse.is_silent.load(Ordering::Relaxed);
        let mut patience = if is_silent { PATIENCE_WHILE_SILENT } else { PATIENCE };
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return answer,
                () = sleep(patience) => {}
            }
            patience = PATIENCE;
            tokio::select! {
                biased;
                answer = &mut answer => return answer,
                responds = self.responds() => {
                    if !responds {
                        return Err(StoreError::NotResponding {
                            action: action.to_owned(),
                            seconds: RESPONSE_DEADLINE.as_secs(),
                        });
                    }
                }
            }
        }
    }

    async fn responds(&self) -> bool {
        let mut last = self.pulse.last.lock().await;
        if let Some((asked, responded)) = *last
            && asked.elapsed() < FRESH
        {
            return responded;
        }
        let client = self.outside_database();
        let question = client.query("SELECT 1").fetch_one::<u8>();
        // An error is a response too, or the end of the connection, which the answer that is awaited has met as well.
        let responded = timeout(RESPONSE_DEADLINE, question).await.is_ok();
        let was_silent = self.pulse.is_silent.swap(!responded, Ordering::Relaxed);
        match (was_silent, responded) {
            (false, false) => tracing::warn!(url = self.config().url, "the store does not respond"),
            (true, true) => tracing::info!(url = self.config().url, "the store responds again"),
            _ => {}
        }
        *last = Some((Instant::now(), responded));
        responded
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::StoreConfig;

    #[tokio::test]
    async fn an_answer_that_takes_long_is_awaited_while_the_store_responds() {
        let engine = kelly_harness::Engine::shared().store_config();
        let store = Store::new(StoreConfig {
            url: engine.url.clone(),
            database: engine.database.clone(),
            user: engine.user.clone(),
            password: engine.password.clone(),
            inserts_yield: false,
        })
        .unwrap();
        let answer = async {
            sleep(PATIENCE + Duration::from_millis(300)).await;
            Ok(7)
        };
        assert_eq!(store.while_it_responds("wait", answer).await.unwrap(), 7);
        let asked = store.pulse.last.lock().await.expect("it was asked meanwhile");
        assert!(asked.1, "and responded");
    }
}
