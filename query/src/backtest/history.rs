//! Reads history from the store and hands it to the engines as it comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kelly_sql::StoreError;
use kelly_sql::queries::RuleRollup;
use tokio::sync::mpsc::{Sender, channel};

use super::reading::Reading;
use super::trials::{Piece, Tested, Work, run};
use crate::error::QueryError;
use crate::limits::TooLarge;
use crate::service::QueryService;
use crate::window::Window;

/// Samples and rollups of one history at most: beyond, it is refused before any is read.
pub const MAX_HISTORY_ROWS: u64 = 2_000_000;

/// Rows that are handed on at once.
const ROWS_OF_A_PIECE: usize = 2_048;

/// Pieces that wait for the engines. At it, the store is held back.
const PIECES_WAITING: usize = 4;

const QUESTION: &str = "history for rules";

/// Ends the work on the thread of the engines when nobody waits for it any more.
struct EndsWhenDropped(Arc<AtomicBool>);

impl Drop for EndsWhenDropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How much was read.
pub(super) struct Counted {
    pub(super) samples: u64,
    pub(super) rollups: u64,
}

impl QueryService {
    /// How many rows a history has, if that is not too many.
    pub(super) async fn count(
        &self,
        reading: &Reading<'_>,
        rollups: &[RuleRollup],
        asked: Window,
    ) -> Result<Counted, QueryError> {
        let store = &self.parts().store;
        let failed = || QueryError::from_store(QUESTION);
        let mut counted = Counted { samples: 0, rollups: 0 };
        if let Some(history) = reading.samples() {
            counted.samples = store.rule_rows_count(&history).await.map_err(failed())?;
        }
        for rollup in rollups {
            let history = reading.rollups(*rollup);
            counted.rollups += store.rule_buckets_count(*rollup, &history).await.map_err(failed())?;
        }
        let rows = counted.samples + counted.rollups;
        if rows > MAX_HISTORY_ROWS {
            return Err(TooLarge::of_history(rows, MAX_HISTORY_ROWS, asked).into());
        }
        Ok(counted)
    }

    /// Runs the engines on a thread of their own, and hands them the rows as the store sends them.
    pub(super) async fn go_over(
        &self,
        reading: &Reading<'_>,
        rollups: &[RuleRollup],
        work: Work,
    ) -> Result<Vec<Tested>, QueryError> {
        let (sender, pieces) = channel(PIECES_WAITING);
        let is_cancelled = Arc::new(AtomicBool::new(false));
        let ends = EndsWhenDropped(Arc::clone(&is_cancelled));
        let working = tokio::task::spawn_blocking(move || run(work, pieces, &is_cancelled));
        self.send(reading, rollups, sender).await.map_err(QueryError::from_store(QUESTION))?;
        let tested = match working.await {
            Ok(tested) => tested,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => None,
            },
        };
        drop(ends);
        // All rows were sent, so it ends early only where the process does.
        tested.ok_or(QueryError::BrokenOff { question: QUESTION })
    }

    async fn send(
        &self,
        reading: &Reading<'_>,
        rollups: &[RuleRollup],
        sender: Sender<Piece>,
    ) -> Result<(), StoreError> {
        let store = &self.parts().store;
        for rollup in rollups {
            let mut buckets = store.rule_buckets(*rollup, &reading.rollups(*rollup)).await?;
            loop {
                let piece = buckets.next(ROWS_OF_A_PIECE).await?;
                if piece.is_empty() {
                    break;
                }
                // Nobody takes it: the engines ended, which whoever waits for them is told.
                if sender.send(Piece::Buckets(*rollup, piece)).await.is_err() {
                    return Ok(());
                }
            }
        }
        if let Some(history) = reading.samples() {
            let mut rows = store.rule_rows(&history).await?;
            loop {
                let piece = rows.next(ROWS_OF_A_PIECE).await?;
                if piece.is_empty() {
                    break;
                }
                if sender.send(Piece::Rows(piece)).await.is_err() {
                    return Ok(());
                }
            }
        }
        let _ = sender.send(Piece::End).await;
        Ok(())
    }
}
