//! What a scrape must ask others for: one look at a time, and what was seen serves whoever asks for a second. So nobody makes the log, the
//! store and the system answer more often, however often they ask.

use std::sync::Arc;
use std::time::Duration;

use kelly_api::{Health, Live, Part};
use kelly_ingest::PartitionPosition;
use kelly_schemas::Stream;
use kelly_stream::{Log, LogError};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::health::{PART_DEADLINE, PartsHealth};
use crate::metrics::{Processes, Readings};

/// [`Looks::patience`]: above what a part may take, so that none is left out for another one that hangs.
const DEADLINE: Duration = Duration::from_secs(4);
const _: () = assert!(PART_DEADLINE.as_millis() < DEADLINE.as_millis());

/// How long what was seen serves.
const SERVES: Duration = Duration::from_secs(1);

/// Whom to ask.
pub struct Looks {
    log: Arc<dyn Log>,
    live: Arc<Live>,
    health: Arc<PartsHealth>,
    processes: Processes,
    /// How long anything may take to say how it is. What takes longer is left out this time: a scrape must not wait for what is ill.
    patience: Duration,
    newest: Arc<Mutex<Newest>>,
}

/// What was seen last, and when; `None` before the first look.
type Newest = Option<(Instant, Arc<Looked>)>;

/// What was seen.
#[derive(Default)]
pub struct Looked {
    /// The parts; as they were last known, where they are late.
    pub parts: Vec<Part>,
    /// How far ingest is; `None` where there is none, or the log does not tell.
    pub positions: Option<Vec<PartitionPosition>>,
    /// Events on the log that live push has not read.
    pub feed_lag: Option<u64>,
    /// The processes.
    pub readings: Option<Readings>,
}

impl Looks {
    /// Nothing has been looked at yet.
    pub fn new(log: Arc<dyn Log>, live: Arc<Live>, health: Arc<PartsHealth>) -> Self {
        let (processes, newest) = (Processes::new(), Arc::default());
        Self { log, live, health, processes, patience: DEADLINE, newest }
    }

    /// What was seen not long ago, or is now.
    pub async fn looked(self: &Arc<Self>) -> Arc<Looked> {
        let mut newest = Arc::clone(&self.newest).lock_owned().await;
        if let Some((at, looked)) = newest.as_ref()
            && at.elapsed() < SERVES
        {
            return looked.clone();
        }
        let looks = Arc::clone(self);
        // Its own task: it goes on when whoever asked goes away, and nobody begins another one meanwhile.
        let looking = tokio::spawn(async move {
            let looked = Arc::new(looks.look().await);
            *newest = Some((Instant::now(), looked.clone()));
            looked
        });
        // A defect there was logged; what is counted here is told all the same.
        looking.await.unwrap_or_default()
    }

    async fn look(&self) -> Looked {
        let processes = self.processes.clone();
        let (parts, feed_lag, readings) = tokio::join!(
            timeout(self.patience, self.health.parts()),
            timeout(self.patience, self.feed_lag()),
            timeout(self.patience, tokio::task::spawn_blocking(move || processes.read())),
        );
        Looked {
            parts: parts.unwrap_or_else(|_| self.health.last_parts()),
            positions: self.health.last_positions(),
            feed_lag: feed_lag.ok().and_then(Result::ok),
            readings: readings.ok().and_then(Result::ok),
        }
    }

    async fn feed_lag(&self) -> Result<u64, LogError> {
        let read = self.live.feed_position();
        let ends = self.log.ends(Stream::Activity.topic()).await?;
        let behind = |(partition, ends): (usize, &kelly_stream::Watermarks)| {
            ends.high.saturating_sub(read.get(partition).copied().unwrap_or(ends.low).max(ends.low))
        };
        Ok(ends.iter().enumerate().map(behind).sum())
    }
}

#[cfg(test)]
mod tests {
    use kelly_api::LiveSettings;
    use kelly_api::PartStatus::{Degraded, Down, Starting};
    use kelly_live::{Bounds, Hub};

    use super::super::health::tests::{Silent, without_log_and_store};
    use super::*;

    #[tokio::test]
    async fn with_the_log_away_the_parts_are_told_and_one_look_serves_all_who_ask() {
        let hub = Arc::new(Hub::new(Bounds::default(), "process"));
        let live = Arc::new(Live::new(hub, LiveSettings::default()));
        let health = Arc::new(without_log_and_store(Duration::from_millis(20)));
        let patience = Duration::from_millis(500);
        let looks = Arc::new(Looks { patience, ..Looks::new(Arc::new(Silent), live, health) });
        let (one, other) = tokio::join!(looks.looked(), looks.looked());
        assert!(Arc::ptr_eq(&one, &other));
        let states: Vec<_> = one.parts.iter().map(|part| part.status).collect();
        assert_eq!(states, [Down, Down, Degraded, Starting]);
        assert_eq!((one.feed_lag, &one.positions), (None, &None));
        assert!(one.readings.is_some(), "what does not hang is told");
    }
}
