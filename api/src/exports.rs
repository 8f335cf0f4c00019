//! Exports on their way: each holds its place for as long as the reader keeps up a minimum pace and is signed in. The place is given
//! back when the last byte is out, the reader goes away, falls behind, or is signed out.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Bytes;
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use kelly_auth::Refusal;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::shares::Place;

/// Bytes handed to a connection at once: what a slow reader has taken shows early.
const PIECE_BYTES: usize = 64 << 10;

/// How slowly an export may be read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReadingPace {
    /// Bytes a second, on average over the time in which the reader is waited for.
    pub bytes_per_second: f64,
    /// Bytes a reader may be behind that average. More than the system keeps of a connection, which a reader empties in leaps.
    pub leeway_bytes: f64,
}

/// Why an export ended before its end. For the log; the reader sees a connection that breaks off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended<E> {
    /// The store did not go on.
    #[error(transparent)]
    Store(E),
    /// The reader did not keep up.
    #[error("the reader fell behind the minimum pace")]
    TooSlow,
    /// The reader may not go on.
    #[error("the reader is not signed in any more: {0}")]
    SignedOut(Refusal),
}

/// The same bytes in small pieces, for as long as the reader keeps up, and until it is signed out. Reading goes on in a task of its
/// own, which watches the reader also while nobody asks for more: when it falls behind or is signed out, the place is given back and
/// the store let go of.
pub(crate) fn paced<E: std::error::Error + Send + 'static>(
    bytes: BoxStream<'static, Result<Bytes, E>>,
    pace: ReadingPace,
    place: Place,
    signed_out: impl Future<Output = Refusal> + Send + 'static,
) -> impl Stream<Item = Result<Bytes, Ended<E>>> + Send {
    // One piece waits while another is sent.
    let (sender, receiver) = mpsc::channel(1);
    let refused = Arc::new(OnceLock::new());
    let refusal = Arc::clone(&refused);
    tokio::spawn(async move {
        let _place = place;
        tokio::select! {
            () = pass_on(bytes, pace, &sender) => {}
            // The reader has gone away.
            () = sender.closed() => {}
            refusal = signed_out => drop(refused.set(refusal)),
        }
    });
    stream::unfold(Some(receiver), move |receiver| {
        let refusal = Arc::clone(&refusal);
        async move {
            let mut receiver = receiver?;
            match receiver.recv().await {
                // The end is a message of its own: a channel that closes without it is an export that was cut.
                Some(Ok(None)) => None,
                Some(Ok(Some(piece))) => Some((Ok(piece), Some(receiver))),
                Some(Err(error)) => Some((Err(Ended::Store(error)), None)),
                None => Some((Err(refusal.get().map_or(Ended::TooSlow, |why| Ended::SignedOut(*why))), None)),
            }
        }
    })
}

async fn pass_on<E>(
    mut bytes: BoxStream<'static, Result<Bytes, E>>,
    pace: ReadingPace,
    sender: &mpsc::Sender<Result<Option<Bytes>, E>>,
) {
    let mut credit = Credit::new(pace);
    loop {
        let mut rest = match bytes.next().await {
            Some(Ok(rest)) => rest,
            end => {
                if let Ok(Ok(room)) = timeout(credit.left(), sender.reserve()).await {
                    room.send(end.transpose().map(|_| None));
                }
                return;
            }
        };
        while !rest.is_empty() {
            let asked = Instant::now();
            let Ok(Ok(room)) = timeout(credit.left(), sender.reserve()).await else { return };
            let piece = rest.split_to(rest.len().min(PIECE_BYTES));
            credit.took(piece.len(), asked.elapsed());
            room.send(Ok(Some(piece)));
        }
    }
}

/// How far a reader may still fall behind: pure.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Credit {
    pace: ReadingPace,
    bytes: f64,
}

impl Credit {
    fn new(pace: ReadingPace) -> Self {
        Self { pace, bytes: pace.leeway_bytes }
    }

    /// Bytes that a reader took for which it was waited for so long.
    fn took(&mut self, bytes: usize, waited: Duration) {
        let left = self.bytes - self.pace.bytes_per_second * waited.as_secs_f64() + bytes as f64;
        self.bytes = left.min(self.pace.leeway_bytes);
    }

    /// How long it may still be waited for.
    fn left(&self) -> Duration {
        let seconds = (self.bytes / self.pace.bytes_per_second).max(0.0);
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::Caller;
    use crate::shares::{Kind, NoPlace, Shares, shares_of};

    fn take(shares: &Arc<Shares>) -> Result<Place, NoPlace> {
        shares.of(Caller::Internal).take(Kind::Exports, 1)
    }

    fn never() -> std::future::Pending<Refusal> {
        std::future::pending()
    }

    #[test]
    fn a_pace_is_kept_on_average() {
        let mut credit = Credit::new(ReadingPace { bytes_per_second: 100.0, leeway_bytes: 1_000.0 });
        let seconds = Duration::from_secs;
        assert_eq!(credit.left(), seconds(10));
        // What comes fast is no credit for later.
        credit.took(1_000_000, Duration::ZERO);
        assert_eq!(credit.left(), seconds(10));
        // Leaps of a reader that keeps up: nothing for nine seconds, then all of it.
        for _ in 0..100 {
            credit.took(900, seconds(9));
            assert_eq!(credit.left(), seconds(10));
        }
        // Half the pace.
        for left in [95, 90, 85] {
            credit.took(50, seconds(1));
            assert_eq!(credit.left(), Duration::from_millis(left * 100));
        }
        credit.took(0, seconds(60));
        assert_eq!(credit.left(), Duration::ZERO);
    }

    #[derive(Debug, thiserror::Error)]
    #[error("the store failed")]
    struct Failed;

    fn source(pieces: usize, end: Option<Failed>) -> BoxStream<'static, Result<Bytes, Failed>> {
        let piece = || Ok(Bytes::from(vec![7; PIECE_BYTES + 1]));
        stream::iter((0..pieces).map(move |_| piece()).chain(end.map(Err))).boxed()
    }

    const GENEROUS: ReadingPace = ReadingPace { bytes_per_second: 1.0, leeway_bytes: 1e9 };

    #[tokio::test]
    async fn everything_comes_and_an_error_stays_one() {
        let exports = shares_of(1, 1);
        let passed: Vec<_> =
            paced(source(3, None), GENEROUS, take(&exports).unwrap(), never()).collect().await;
        let lengths: Vec<usize> = passed.into_iter().map(|piece| piece.unwrap().len()).collect();
        assert_eq!(lengths, [PIECE_BYTES, 1, PIECE_BYTES, 1, PIECE_BYTES, 1]);
        while take(&exports).is_err() {
            tokio::task::yield_now().await;
        }
        let mut broken = Box::pin(paced(source(1, Some(Failed)), GENEROUS, take(&exports).unwrap(), never()));
        assert!(broken.next().await.unwrap().is_ok() && broken.next().await.unwrap().is_ok());
        assert!(matches!(broken.next().await, Some(Err(Ended::Store(Failed)))));
        assert!(broken.next().await.is_none());
    }

    #[tokio::test]
    async fn a_reader_that_takes_nothing_loses_its_place_and_the_rest() {
        let exports = shares_of(1, 1);
        let pace = ReadingPace { bytes_per_second: 1e9, leeway_bytes: 1e6 };
        let mut slow = Box::pin(paced(source(100, None), pace, take(&exports).unwrap(), never()));
        // Not asked for anything meanwhile.
        while take(&exports).is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let mut end = slow.next().await;
        while matches!(end, Some(Ok(_))) {
            end = slow.next().await;
        }
        assert!(matches!(end, Some(Err(Ended::TooSlow))), "a part was taken for the whole");
    }

    #[tokio::test]
    async fn a_reader_that_goes_away_gives_its_place_back() {
        let exports = shares_of(1, 1);
        let endless = stream::pending::<Result<Bytes, Failed>>().boxed();
        drop(paced(endless, GENEROUS, take(&exports).unwrap(), never()));
        while take(&exports).is_err() {
            tokio::task::yield_now().await;
        }
    }
    #[tokio::test]
    async fn who_is_signed_out_gets_no_more_and_is_told_from_who_is_slow() {
        let exports = shares_of(1, 1);
        let (sign_out, signed_out) = tokio::sync::oneshot::channel();
        let endless = stream::repeat_with(|| Ok::<_, Failed>(Bytes::from_static(b"row"))).boxed();
        let signed_out = async { signed_out.await.unwrap() };
        let mut reading = Box::pin(paced(endless, GENEROUS, take(&exports).unwrap(), signed_out));
        assert!(reading.next().await.unwrap().is_ok());
        sign_out.send(Refusal::Revoked).unwrap();
        // Also while nobody reads.
        while take(&exports).is_err() {
            tokio::task::yield_now().await;
        }
        let mut end = reading.next().await;
        while matches!(end, Some(Ok(_))) {
            end = reading.next().await;
        }
        assert!(matches!(end, Some(Err(Ended::SignedOut(Refusal::Revoked)))));
        assert!(reading.next().await.is_none());
    }
}
