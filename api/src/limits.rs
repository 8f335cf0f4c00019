//! Every bound of the API, with what happens at it. Tests lower them; the defaults are what runs.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kelly_query::cache::CacheBounds;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::caller::Caller;
use crate::exports::{Exports, NoPlace, Place, ReadingPace};
use crate::problem::{Code, Problem};
use crate::rates::Quotas;

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
    /// Requests being worked on, `/livez` aside. At it: 503 `server_busy` with Retry-After.
    pub max_requests: usize,
    /// Queries running on the store at once; a question that asks several at once takes a turn for each. At it: the next one
    /// waits. A question that takes more turns than there are runs alone.
    pub max_running_queries: usize,
    /// Queries waiting for their turn. At it: 503 `server_busy` with Retry-After.
    pub max_waiting_queries: usize,
    /// Time of one query, waiting included. At it: 504 `query_timeout`.
    pub query_timeout: Duration,
    /// Exports on their way. At it: 503 `server_busy` with Retry-After.
    pub max_exports: usize,
    /// Of these, exports of one caller. At it: the same.
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
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            quotas: Quotas::default(),
            max_requests: 1_024,
            max_running_queries: 16,
            max_waiting_queries: 128,
            query_timeout: Duration::from_secs(30),
            max_exports: 4,
            max_exports_of_a_caller: 3,
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
        }
    }
}

/// What the limits count: shared by all requests of one router.
#[derive(Debug)]
pub(crate) struct Gates {
    limits: Limits,
    requests: Arc<Semaphore>,
    queries_admitted: Semaphore,
    queries_running: Semaphore,
    /// Turns there are; a question never waits for more.
    all_turns: u32,
    buffered: Arc<Semaphore>,
    decompressing: Arc<Semaphore>,
    exports: Arc<Exports>,
}

/// Bodies are accounted for in units of this size: a semaphore counts in u32.
const BUFFER_UNIT: usize = 1_024;

/// Bodies that are decompressed at once, each with memory for twice the largest body and a window. At it: the next one waits.
const DECOMPRESSED_AT_ONCE: usize = 4;

impl Gates {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            requests: Arc::new(Semaphore::new(limits.max_requests)),
            queries_admitted: Semaphore::new(limits.max_running_queries + limits.max_waiting_queries),
            queries_running: Semaphore::new(limits.max_running_queries),
            all_turns: u32::try_from(limits.max_running_queries).unwrap_or(u32::MAX),
            exports: Arc::new(Exports::new(limits.max_exports, limits.max_exports_of_a_caller)),
            buffered: Arc::new(Semaphore::new(limits.max_buffered_bytes / BUFFER_UNIT)),
            decompressing: Arc::new(Semaphore::new(DECOMPRESSED_AT_ONCE)),
            limits,
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A place among the requests being worked on.
    pub(crate) fn enter(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.requests)
            .try_acquire_owned()
            .map_err(|_| busy("too many requests are being worked on"))
    }

    /// A place among the exports on their way, for as long as bytes are to come.
    pub(crate) fn export(&self, caller: Caller) -> Result<Place, Problem> {
        self.exports.take(caller).map_err(|reason| match reason {
            NoPlace::AllTaken => busy("too many exports are on their way"),
            NoPlace::ShareTaken => busy("too many exports of yours are on their way"),
        })
    }

    /// Room for a body of at most `bytes`.
    pub(crate) fn buffer(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let units = bytes.div_ceil(BUFFER_UNIT).max(1);
        u32::try_from(units)
            .ok()
            .and_then(|units| Arc::clone(&self.buffered).try_acquire_many_owned(units).ok())
            .ok_or_else(|| busy("too many bodies are being taken in"))
    }

    /// A turn to decompress a body, waited for no longer than that.
    pub(crate) async fn decompress(&self, patience: Duration) -> Result<OwnedSemaphorePermit, Problem> {
        let turn = tokio::time::timeout(patience, Arc::clone(&self.decompressing).acquire_owned()).await;
        // The semaphore is never closed.
        turn.ok().and_then(Result::ok).ok_or_else(|| busy("too many bodies are being decompressed"))
    }

    /// Runs a query in its turn and within its time; `turns` is how many questions it asks the store at once.
    pub(crate) async fn query<T>(&self, turns: usize, query: impl Future<Output = T>) -> Result<T, Problem> {
        let _admitted =
            self.queries_admitted.try_acquire().map_err(|_| busy("too many queries are waiting"))?;
        let turns = u32::try_from(turns).unwrap_or(u32::MAX).min(self.all_turns);
        let has_begun = AtomicBool::new(false);
        let in_turn = async {
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

fn busy(what: &str) -> Problem {
    Problem::new(
        Code::ServerBusy,
        format!("This server is busy: {what}. Nothing was done; try again after a moment."),
    )
    .retry_after(Duration::from_secs(1))
}
