//! Every bound of the API, with what happens at it. Tests lower them; the defaults are what runs.

use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use kelly_query::cache::CacheBounds;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::caller::Caller;
use crate::exports::ReadingPace;
use crate::problem::{Code, Problem};
use crate::rates::Quotas;
use crate::shares::{Bound, Bounds, Kind, NoPlace, Place, Share, Shares, Turn};

/// Open connections; the next one waits in the kernel's backlog until one closes.
pub const MAX_CONNECTIONS: usize = 2_048;
/// A connection on which nothing was read or written for so long is closed.
pub const IDLE_CONNECTION: Duration = Duration::from_secs(75);
/// A request's head, from its first byte to its last. At it the connection is closed.
pub const HEAD_TIME: Duration = Duration::from_secs(20);
/// How long requests in flight may go on after shutdown began; then their connections are cut.
pub const DRAIN_TIME: Duration = Duration::from_secs(10);
/// Bad rows shown in one problem document; the total is always named.
pub const MAX_ROW_FAULTS: usize = 100;

/// The bounds that act on single requests.
#[derive(Debug, Clone)]
pub struct Limits {
    /// What callers may use in a minute. At it: 429 `too_many_requests` with Retry-After.
    pub quotas: Quotas,
    /// One caller has at most one part of so many of the requests, bodies and queries below, and never less than one (of the
    /// memory for bodies, never less than one body). At it: 429 `too_many_at_once` with Retry-After. 1 where callers are not
    /// told apart.
    pub parts_of_a_share: NonZeroUsize,
    /// Requests of who is signed in being worked on. At it: 503 `server_busy` with Retry-After.
    pub max_requests: usize,
    /// Requests to emergency routes being worked on, beside those: no other traffic takes their places. At it: the same.
    pub max_emergency_requests: usize,
    /// Requests for what is open to everybody being worked on, beside those, `/livez` aside. `/readyz` waits for the parts, and
    /// strangers who ask it take no place of those who are signed in. At it: the same.
    pub max_open_requests: usize,
    /// Sign-ins being worked on, beside those, once their body is there: a body that does not come takes no place. At it: the same.
    pub max_sign_ins: usize,
    /// Queries running on the store at once; a question that asks several at once takes a turn for each. At it: the next one
    /// waits. A question that takes more turns than there are runs alone. Half of the turns are one caller's at most; the next
    /// query of theirs waits.
    pub max_running_queries: usize,
    /// Queries waiting for their turn. At it: 503 `server_busy` with Retry-After.
    pub max_waiting_queries: usize,
    /// Time of one query, waiting included. At it: 504 `query_timeout`.
    pub query_timeout: Duration,
    /// Exports on their way. At it: 503 `server_busy` with Retry-After.
    pub max_exports: usize,
    /// Of these, exports of one caller. At it: 429 `too_many_at_once` with Retry-After.
    pub max_exports_of_a_caller: usize,
    /// How slowly an export may be read. Below it: the connection is cut.
    pub export_pace: ReadingPace,
    /// Answers kept for equal questions. At it: the one that ends first makes room.
    pub kept_answers: CacheBounds,
    /// Size of one recorded body, as it is sent and once it is decompressed. At it: 413 `body_too_large`, unread where Content-Length tells.
    pub max_body_bytes: usize,
    /// Bytes of recorded bodies held in memory at once. At it: 503 `server_busy` with Retry-After.
    pub max_buffered_bytes: usize,
    /// Time for a client to send its body. At it: 408 `body_timeout`.
    pub body_timeout: Duration,
    /// Time for the log to make a body durable. At it: 503 `record_outcome_unknown`.
    pub record_timeout: Duration,
    /// Time for all parts to say how they are. At it: the report says that they did not answer.
    pub health_timeout: Duration,
    /// How long what they said serves whoever asks: so nobody makes the store and the log answer more often.
    pub health_serves: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            quotas: Quotas::default(),
            parts_of_a_share: NonZeroUsize::MIN.saturating_add(3),
            max_requests: 1_024,
            max_emergency_requests: 64,
            max_open_requests: 128,
            max_sign_ins: 32,
            max_running_queries: 16,
            max_waiting_queries: 128,
            query_timeout: Duration::from_secs(30),
            max_exports: 4,
            max_exports_of_a_caller: 2,
            // A slow line takes more; the leeway is what the system may keep of a connection.
            export_pace: ReadingPace {
                bytes_per_second: 32.0 * 1_024.0,
                leeway_bytes: 4.0 * 1_024.0 * 1_024.0,
            },
            kept_answers: CacheBounds::default(),
            max_body_bytes: 4 << 20,
            max_buffered_bytes: 64 << 20,
            body_timeout: Duration::from_secs(30),
            record_timeout: Duration::from_secs(30),
            health_timeout: Duration::from_secs(5),
            health_serves: Duration::from_secs(1),
        }
    }
}

/// What the limits count: shared by all requests of one router.
#[derive(Debug)]
pub(crate) struct Gates {
    limits: Limits,
    shares: Arc<Shares>,
    queries_running: Semaphore,
    /// Turns there are; a question never waits for more.
    all_turns: u32,
    decompressing: Arc<Semaphore>,
}

/// Bodies are accounted for in units of this size.
const BUFFER_UNIT: usize = 1_024;

/// Bodies that are decompressed at once, each with memory for twice the largest body and a window. At it: the next one waits.
const DECOMPRESSED_AT_ONCE: usize = 4;
/// Of the turns of queries, one caller has one part of so many.
const PARTS_OF_TURNS: u32 = 2;

impl Gates {
    pub(crate) fn new(limits: Limits) -> Self {
        let all_turns = u32::try_from(limits.max_running_queries).unwrap_or(u32::MAX);
        Self {
            shares: Arc::new(Shares::new(bounds(&limits, all_turns))),
            queries_running: Semaphore::new(limits.max_running_queries),
            decompressing: Arc::new(Semaphore::new(DECOMPRESSED_AT_ONCE)),
            all_turns,
            limits,
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The share of a caller.
    pub(crate) fn share_of(&self, caller: Caller) -> Share {
        self.shares.of(caller)
    }

    /// A place among the requests of this kind that are being worked on.
    pub(crate) fn enter(&self, caller: Caller, kind: Kind) -> Result<Place, Problem> {
        let what = match kind {
            Kind::SignIns => "sign-ins",
            Kind::Emergency => "requests to emergency routes",
            _ => "requests",
        };
        self.share_of(caller).take(kind, 1).map_err(|reason| no_place(reason, what, "being worked on"))
    }

    /// A place among the exports on their way, for as long as bytes are to come.
    pub(crate) fn export(&self, caller: Caller) -> Result<Place, Problem> {
        let place = self.share_of(caller).take(Kind::Exports, 1);
        place.map_err(|reason| no_place(reason, "exports", "on their way"))
    }

    /// Room for a body of at most `bytes`.
    pub(crate) fn buffer(&self, share: &Share, bytes: usize) -> Result<Place, Problem> {
        let room = share.take(Kind::Buffer, units(bytes));
        room.map_err(|reason| no_place(reason, "bodies", "being taken in"))
    }

    /// A place among the queries that run or wait.
    pub(crate) fn admit(&self, caller: Caller) -> Result<Place, Problem> {
        let place = self.share_of(caller).take(Kind::Queries, 1);
        place.map_err(|reason| no_place(reason, "queries", "running or waiting"))
    }

    /// A turn to decompress a body, waited for no longer than that.
    pub(crate) async fn decompress(&self, patience: Duration) -> Result<OwnedSemaphorePermit, Problem> {
        let turn = tokio::time::timeout(patience, Arc::clone(&self.decompressing).acquire_owned()).await;
        // The semaphore is never closed.
        turn.ok().and_then(Result::ok).ok_or_else(|| busy("too many bodies are being decompressed"))
    }

    /// Runs a query in its turn and within its time; `turns` is how many questions it asks the store at once.
    pub(crate) async fn query<T>(
        &self,
        admitted: Place,
        turns: usize,
        query: impl Future<Output = T>,
    ) -> Result<T, Problem> {
        let (_, nobody) = mpsc::channel(1);
        self.shared_query(Waiting { first: admitted, others: nobody }, turns, query).await
    }

    /// The same for a query that several callers wait for.
    pub(crate) async fn shared_query<T>(
        &self,
        waiting: Waiting,
        turns: usize,
        query: impl Future<Output = T>,
    ) -> Result<T, Problem> {
        let turns = u32::try_from(turns).unwrap_or(u32::MAX).min(self.all_turns);
        let has_begun = AtomicBool::new(false);
        let in_turn = async {
            // Among the caller's own first, so that only few of theirs stand before the others' in the line.
            let _own = waiting.first_turn(turns).await;
            // The semaphore is never closed; without a permit the query would only run unbounded.
            let _running = self.queries_running.acquire_many(turns).await.ok();
            has_begun.store(true, Ordering::Relaxed);
            query.await
        };
        tokio::time::timeout(self.limits.query_timeout, in_turn).await.map_err(|_| {
            if !has_begun.load(Ordering::Relaxed) {
                return busy("the queries that came before took all the time");
            }
            Problem::new(
                Code::QueryTimeout,
                format!(
                    "The query did not finish within {} s. Ask for a shorter timeframe, or \
                         for one account, and try again.",
                    self.limits.query_timeout.as_secs_f64()
                ),
            )
        })
    }
}

/// Who waits for one query.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// The place of whoever asked first.
    pub(crate) first: Place,
    /// The places of others who came to wait for it, until it has its turn.
    pub(crate) others: mpsc::Receiver<Place>,
}

impl Waiting {
    /// The turn of whichever of them has one first: nobody waits behind another caller's queries. The places of the rest are given
    /// back.
    async fn first_turn(mut self, turns: u32) -> Turn {
        let mut waiting = FuturesUnordered::from_iter([self.first.into_turn(turns)]);
        loop {
            tokio::select! {
                // It ends with the first one, so there is always one.
                Some(turn) = waiting.next() => return turn,
                Some(place) = self.others.recv() => waiting.push(place.into_turn(turns)),
            }
        }
    }
}

/// What there is of each kind, in the order of their declaration.
fn bounds(limits: &Limits, all_turns: u32) -> Bounds {
    let parts = limits.parts_of_a_share;
    let shared = |all: usize| Bound { all, share: (all / parts).max(1) };
    let buffer = shared(limits.max_buffered_bytes / BUFFER_UNIT);
    let exports = Bound { all: limits.max_exports, share: limits.max_exports_of_a_caller };
    Bounds {
        kinds: [
            shared(limits.max_requests),
            shared(limits.max_emergency_requests),
            shared(limits.max_open_requests),
            shared(limits.max_sign_ins),
            Bound { share: buffer.share.max(units(limits.max_body_bytes)), ..buffer },
            shared(limits.max_running_queries + limits.max_waiting_queries),
            exports,
        ],
        turns: match parts {
            NonZeroUsize::MIN => all_turns,
            _ => all_turns.div_ceil(PARTS_OF_TURNS),
        },
    }
}

fn units(bytes: usize) -> usize {
    bytes.div_ceil(BUFFER_UNIT).max(1)
}

fn no_place(reason: NoPlace, what: &str, doing: &str) -> Problem {
    match reason {
        NoPlace::AllTaken => busy(&format!("too many {what} are {doing}")),
        NoPlace::ShareTaken => Problem::new(
            Code::TooManyAtOnce,
            format!(
                "Too many {what} of yours are {doing}: one caller has a share of what there is. Nothing was done; send this again \
                 once one of them has ended."
            ),
        )
        .retry_after(Duration::from_secs(1)),
    }
}

fn busy(what: &str) -> Problem {
    Problem::new(
        Code::ServerBusy,
        format!("This server is busy: {what}. Nothing was done; try again after a moment."),
    )
    .retry_after(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn address(last: u8) -> Caller {
        Caller::Address(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)))
    }

    #[test]
    fn no_other_traffic_takes_the_places_of_emergency_routes() {
        let gates = Gates::new(Limits::default());
        let mut held = Vec::new();
        for caller in 0..8 {
            while let Ok(place) = gates.enter(address(caller), Kind::Requests) {
                held.push(place);
            }
            for kind in [Kind::Open, Kind::SignIns] {
                while let Ok(place) = gates.enter(address(caller), kind) {
                    held.push(place);
                }
            }
        }
        let Limits { max_requests, max_open_requests, max_sign_ins, .. } = *gates.limits();
        assert_eq!(held.len(), max_requests + max_open_requests + max_sign_ins);
        let all_taken = gates.enter(address(9), Kind::Requests).unwrap_err();
        assert_eq!(all_taken.code(), Code::ServerBusy);
        assert!(gates.enter(address(9), Kind::Emergency).is_ok());
    }

    #[test]
    fn a_share_is_a_quarter_and_takes_a_whole_body_and_one_of_everything() {
        let gates = Gates::new(Limits::default());
        let own = (0..).map_while(|_| gates.enter(address(1), Kind::Requests).ok());
        assert_eq!(own.take(2_000).collect::<Vec<_>>().len(), 256);
        let few = Limits {
            max_requests: 1,
            max_running_queries: 1,
            max_waiting_queries: 0,
            max_buffered_bytes: 5 << 20,
            ..Limits::default()
        };
        let gates = Gates::new(few);
        assert!(gates.enter(address(1), Kind::Requests).is_ok() && gates.admit(address(1)).is_ok());
        let share = gates.share_of(address(1));
        let _body = gates.buffer(&share, 4 << 20).unwrap();
        assert_eq!(gates.buffer(&share, 1).unwrap_err().code(), Code::TooManyAtOnce);
        let together = Gates::new(Limits { parts_of_a_share: NonZeroUsize::MIN, ..Limits::default() });
        let all = (0..).map_while(|_| together.enter(address(1), Kind::Requests).ok());
        assert_eq!(all.take(2_000).collect::<Vec<_>>().len(), 1_024);
    }

    /// A flood of one caller's heavy queries leaves turns to the others at once.
    #[tokio::test]
    async fn one_callers_queries_leave_turns_to_others() {
        let gates = Arc::new(Gates::new(Limits::default()));
        let mut flood = Vec::new();
        while let Ok(admitted) = gates.admit(address(1)) {
            let gates = Arc::clone(&gates);
            let endless = async move { gates.query(admitted, 1, std::future::pending::<()>()).await };
            flood.push(tokio::spawn(endless));
        }
        assert_eq!(flood.len(), 36);
        tokio::task::yield_now().await;
        let admitted = gates.admit(address(2)).unwrap();
        // Were it in the line, it would wait for the end of a query that has none.
        let mut other = std::pin::pin!(gates.query(admitted, 4, async { "answered" }));
        assert_eq!(
            futures_util::poll!(&mut other).map(|answer| answer.unwrap()),
            std::task::Poll::Ready("answered")
        );
        flood.iter().for_each(tokio::task::JoinHandle::abort);
    }
}
