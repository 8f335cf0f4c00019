//! Where the partitions end, asked again and again: who has read up to an end knows that nothing with an earlier log time will come.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kelly_schemas::Stream;
use kelly_stream::{Log, Watermarks};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::context::Clock;
use crate::place::{Feed, Place};
use crate::topics::ROWS_TOPIC;

/// How often it is asked.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// How long before the question everything was surely shown that has an earlier log time: the log gives a record its time before it
/// shows it, and its clock may differ from this one. A record that comes later all the same is judged as late as it comes.
pub(crate) const SHOWN_WITHIN_MS: i64 = 2_000;

/// What was answered last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ends {
    /// When it was asked.
    pub(crate) asked_ms: i64,
    metrics: Vec<Watermarks>,
    rows: Vec<Watermarks>,
}

impl Ends {
    /// The ends of a partition.
    pub(crate) fn of(&self, place: Place) -> Option<Watermarks> {
        let ends = match place.feed {
            Feed::Metrics => &self.metrics,
            Feed::Rows => &self.rows,
        };
        ends.get(place.partition as usize).copied()
    }
}

/// The newest answer, for who reads.
pub(crate) type Newest = Arc<Mutex<Ends>>;

/// Asks until it is stopped.
pub(crate) async fn ask(log: Arc<dyn Log>, newest: Newest, clock: Clock, stop: CancellationToken) {
    let mut asks = tokio::time::interval(ASK_EVERY);
    asks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = asks.tick() => {}
        }
        let asked_ms = clock();
        let (metrics, rows) = (log.ends(Stream::Metrics.topic()).await, log.ends(ROWS_TOPIC).await);
        if let (Ok(metrics), Ok(rows)) = (metrics, rows) {
            *newest.lock().unwrap_or_else(PoisonError::into_inner) = Ends { asked_ms, metrics, rows };
        }
    }
}
