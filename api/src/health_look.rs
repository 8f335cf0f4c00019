//! Looks at the parts behind the API: one look at a time, and what was seen serves whoever asks for a while
//! ([`crate::Limits::health_serves`]). So nobody makes the store and the log answer more often than that, however often they ask.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::ports::{Health, Part, PartStatus};

/// The newest look.
#[derive(Debug, Default)]
pub(crate) struct HealthLook {
    newest: Arc<Mutex<Option<Looked>>>,
}

/// How to look.
pub(crate) struct Looking {
    /// Whom to ask.
    pub(crate) health: Arc<dyn Health>,
    /// How long it may take.
    pub(crate) within: Duration,
    /// How long what was seen serves.
    pub(crate) serves: Duration,
    /// The clock.
    pub(crate) clock: fn() -> DateTime<Utc>,
}

/// What was seen.
#[derive(Debug, Clone)]
pub(crate) struct Looked {
    at: Instant,
    /// When it was looked, by the clock.
    pub(crate) time: DateTime<Utc>,
    /// The parts.
    pub(crate) parts: Arc<[Part]>,
}

impl HealthLook {
    /// The parts as they were not long ago, or are now.
    pub(crate) async fn parts(&self, looking: Looking) -> Looked {
        let mut newest = Arc::clone(&self.newest).lock_owned().await;
        if let Some(looked) = newest.as_ref().filter(|looked| looked.at.elapsed() < looking.serves) {
            return looked.clone();
        }
        // Its own task: it goes on when whoever asked goes away, and nobody begins another one meanwhile.
        let looking = tokio::spawn(async move {
            let looked = looking.look().await;
            *newest = Some(looked.clone());
            looked
        });
        match looking.await {
            Ok(looked) => looked,
            // It panicked.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

impl Looking {
    async fn look(&self) -> Looked {
        let parts = tokio::time::timeout(self.within, self.health.parts()).await.unwrap_or_else(|_| {
            vec![Part {
                name: "health".to_owned(),
                status: PartStatus::Down,
                since: (self.clock)(),
                required: true,
                summary: format!(
                    "the parts did not say within {} s how they are; Kelly's log says what hangs",
                    self.within.as_secs_f64()
                ),
                details: BTreeMap::new(),
            }]
        });
        Looked { at: Instant::now(), time: (self.clock)(), parts: parts.into() }
    }
}
