//! What was read of the retentions, kept for a bounded time, so that another role's change is seen.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::Retentions;
use crate::client::Store;
use crate::error::Result;

/// Who acts upon the retentions reads them again after so long at most.
pub const RETENTION_READ_EVERY: Duration = Duration::from_secs(5);

/// The retentions as they were read last.
#[derive(Debug, Default)]
pub struct RetentionReader {
    /// Held while they are read: who asks meanwhile waits for the same outcome.
    last: Mutex<Option<Reading>>,
}

#[derive(Debug)]
struct Reading {
    begun: Instant,
    ended: Instant,
    outcome: Result<Retentions>,
}

impl Reading {
    /// Whether it answers, at `now`, who asked at `asked`. A failure answers those who waited for it and nobody else: a
    /// store that does not respond is found out once, not by one after the other.
    fn serves(&self, asked: Instant, now: Instant) -> bool {
        let is_recent = now.saturating_duration_since(self.begun) < RETENTION_READ_EVERY;
        self.ended > asked || (self.outcome.is_ok() && is_recent)
    }
}

impl RetentionReader {
    /// What the store keeps, as it was [`RETENTION_READ_EVERY`] and the time of one reading ago at most.
    ///
    /// # Errors
    /// When they must be read and the store does not answer.
    pub async fn get(&self, store: &Store) -> Result<Retentions> {
        self.get_by(|| store.retentions()).await
    }

    async fn get_by(&self, read: impl AsyncFnOnce() -> Result<Retentions>) -> Result<Retentions> {
        let asked = Instant::now();
        let mut last = self.last.lock().await;
        if let Some(reading) = &*last
            && reading.serves(asked, Instant::now())
        {
            return reading.outcome.clone();
        }
        let begun = Instant::now();
        // Seldom done, and large: every question would carry it.
        let outcome = Box::pin(read()).await;
        *last = Some(Reading { begun, ended: Instant::now(), outcome: outcome.clone() });
        outcome
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use tokio::task::yield_now;

    use super::*;
    use crate::error::StoreError;
    use crate::retention::RetentionHistory;

    fn retentions() -> Result<Retentions> {
        let history = RetentionHistory::unchanged(1);
        Ok(Retentions { samples: history.clone(), rollups: history.clone(), events: history })
    }

    fn silence() -> Result<Retentions> {
        Err(StoreError::NotResponding { action: "read the retention".to_owned(), seconds: 5 })
    }

    /// How many readings it takes to answer twelve who ask at once.
    async fn readings_for_twelve(reader: &RetentionReader, outcome: Result<Retentions>) -> usize {
        let readings = AtomicUsize::new(0);
        let ask = || {
            reader.get_by(async || {
                readings.fetch_add(1, Ordering::Relaxed);
                // Every other one asks meanwhile.
                yield_now().await;
                outcome.clone()
            })
        };
        let answers = join_all((0..12).map(|_| ask())).await;
        assert!(answers.iter().all(|answer| answer.is_ok() == outcome.is_ok()), "{answers:?}");
        readings.into_inner()
    }

    #[tokio::test]
    async fn who_waits_for_a_reading_takes_its_outcome_whatever_it_is() {
        let reader = RetentionReader::default();
        assert_eq!(readings_for_twelve(&reader, silence()).await, 1);
        assert_eq!(readings_for_twelve(&reader, silence()).await, 1, "who comes after a failure asks again");
        assert_eq!(readings_for_twelve(&reader, retentions()).await, 1);
        assert_eq!(readings_for_twelve(&reader, retentions()).await, 0, "what was read is still recent");
    }

    #[test]
    fn a_reading_serves_for_a_bounded_time() {
        let begun = Instant::now();
        let after = |seconds| begun + Duration::from_secs(seconds);
        // One that took longer than what is read is taken for recent.
        let slow = Reading { begun, ended: after(7), outcome: retentions() };
        assert!(slow.serves(after(6), after(7)), "it ended after that was asked");
        assert!(!slow.serves(after(8), after(8)));
        let quick = Reading { begun, ended: begun, outcome: retentions() };
        assert!(quick.serves(after(4), after(4)) && !quick.serves(after(5), after(5)));
        let failed = Reading { begun, ended: after(1), outcome: silence() };
        assert!(failed.serves(begun, after(1)) && !failed.serves(after(1), after(1)));
    }
}
