//! How fast ingest writes: its counters looked at every few seconds, so that a rate of the last minute is known.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use kelly_api::{IngestPerformance, Measure};
use kelly_ingest::IngestCounts;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::progress::Progress;

/// How often the counters are looked at.
const EVERY: Duration = Duration::from_secs(5);
/// Looks that are kept: a minute of them. At it the oldest goes.
const LOOKS: usize = 13;

/// [`Measure`] of the ingest of this process, where it has one.
pub struct IngestRates {
    ingest: Option<Arc<Progress>>,
    looks: Mutex<VecDeque<Look>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Look {
    at: DateTime<Utc>,
    rows: u64,
    batches: u64,
}

impl IngestRates {
    /// Looks from now on, until told to stop.
    pub fn start(ingest: Option<Arc<Progress>>, stop: CancellationToken) -> Arc<Self> {
        let rates = Arc::new(Self { ingest, looks: Mutex::default() });
        if let Some(ingest) = rates.ingest.clone() {
            let looking = Arc::clone(&rates);
            tokio::spawn(async move {
                let mut ticks = tokio::time::interval(EVERY);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
                loop {
                    tokio::select! {
                        () = stop.cancelled() => return,
                        _ = ticks.tick() => looking.look(&ingest.counts(), Utc::now()),
                    }
                }
            });
        }
        rates
    }

    fn look(&self, counts: &IngestCounts, at: DateTime<Utc>) {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        if looks.len() == LOOKS {
            looks.pop_front();
        }
        looks.push_back(Look { at, rows: counts.rows, batches: counts.batches });
    }

    fn oldest(&self) -> Option<Look> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner).front().copied()
    }
}

#[async_trait]
impl Measure for IngestRates {
    async fn ingest(&self) -> Option<IngestPerformance> {
        let ingest = self.ingest.as_ref()?;
        let lag = ingest.lag().await.ok();
        Some(figures(self.oldest(), &ingest.counts(), lag, Utc::now()))
    }
}

fn figures(
    oldest: Option<Look>,
    counts: &IngestCounts,
    lag: Option<u64>,
    now: DateTime<Utc>,
) -> IngestPerformance {
    // Over less than a second, or when the clock was set back, a rate would be noise.
    let since = oldest.filter(|look| (now - look.at).num_milliseconds() >= 1_000);
    let seconds = since.map(|look| (now - look.at).num_milliseconds() as f64 / 1_000.0);
    let a_second = |now: u64, then: fn(&Look) -> u64| {
        since.zip(seconds).map(|(look, seconds)| now.saturating_sub(then(&look)) as f64 / seconds)
    };
    IngestPerformance {
        window_seconds: seconds,
        rows_per_second: a_second(counts.rows, |look| look.rows),
        batches_per_second: a_second(counts.batches, |look| look.batches),
        rows_since_start: counts.rows,
        dead_letters_since_start: counts.dead_letters,
        retries_since_start: counts.retries,
        lag_records: lag,
        last_write_age_seconds: counts
            .last_written_ms
            .map(|written| (now.timestamp_millis() - written).max(0) as f64 / 1_000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_of_what_was_seen_and_null_before() {
        let at = |seconds| DateTime::from_timestamp(1_726_068_645 + seconds, 0).unwrap();
        let counts = IngestCounts { rows: 700, batches: 14, ..IngestCounts::default() };
        let none = figures(None, &counts, None, at(0));
        assert_eq!((none.rows_per_second, none.window_seconds, none.lag_records), (None, None, None));
        let rates = IngestRates { ingest: None, looks: Mutex::default() };
        for look in 0..20 {
            let counts = IngestCounts { rows: look * 10, batches: look, ..IngestCounts::default() };
            rates.look(&counts, at(look as i64 * 5));
        }
        let oldest = rates.oldest().unwrap();
        assert_eq!(oldest, Look { at: at(35), rows: 70, batches: 7 });
        let answer = figures(Some(oldest), &counts, Some(3), at(98));
        assert_eq!((answer.rows_per_second, answer.batches_per_second), (Some(10.0), Some(7.0 / 63.0)));
        assert_eq!((answer.window_seconds, answer.lag_records), (Some(63.0), Some(3)));
        assert_eq!(figures(Some(oldest), &counts, None, at(35)).rows_per_second, None);
    }
}
