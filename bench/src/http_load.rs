//! Load over HTTP/1.1 that costs little itself, for it shares the cores: hand-written requests over a
//! bounded number of keep-alive connections, on a thread of its own, one request at a time a connection.
//!
//! Open loop: requests are due on a schedule whether or not answers came, and a latency counts from
//! when the request was due, not from when a connection was free for it: nothing is omitted because
//! the server was slow (no coordinated omission). Closed loop: each connection asks again at once.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::{Buf, Bytes, BytesMut};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::task::LocalSet;

/// Longest latency that is distinguished: a minute.
const LONGEST_MICROSECONDS: u64 = 60_000_000;
/// Requests are due in bursts this far apart: one wake-up for many requests, and harder on the server
/// than an even spread.
const BURST_EVERY: Duration = Duration::from_millis(1);
/// How long the last answers are waited for.
const LAST_ANSWERS: Duration = Duration::from_secs(30);
/// Bytes of one answer's head; more is no answer of ours.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// What is sent, and how.
#[derive(Debug, Clone)]
pub struct Load {
    /// The server.
    pub address: SocketAddr,
    /// Whole requests, sent in turn.
    pub requests: Vec<Bytes>,
    /// Connections.
    pub connections: usize,
    /// Status of a good answer; every other counts as an error.
    pub good: [u16; 2],
    /// How long is measured.
    pub measured: Duration,
    /// How long the same load runs before that, unmeasured.
    pub warm_up: Duration,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    latencies: Histogram<u64>,
    /// Good answers, warm-up included.
    pub good: u64,
    /// Those of them without a body, because the client has it (304).
    pub not_modified: u64,
    /// Bad answers and broken connections, warm-up included.
    pub errors: u64,
    /// Good answers a second, of the measured time.
    pub achieved_per_s: f64,
}

impl Outcome {
    /// Milliseconds at a quantile.
    pub fn milliseconds(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / 1000.0
    }

    /// The fields every latency has.
    pub fn json(&self, offered_per_s: Option<u64>) -> Value {
        json!({
            "offered_per_s": offered_per_s,
            "achieved_per_s": self.achieved_per_s,
            "p50_ms": self.milliseconds(0.5),
            "p99_ms": self.milliseconds(0.99),
            "p999_ms": self.milliseconds(0.999),
            "max_ms": self.latencies.max() as f64 / 1000.0,
            "errors": self.errors,
        })
    }
}

/// Who is asked, and the token that every request carries.
#[derive(Debug, Clone)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// Signs in.
    pub token: String,
}

impl Server {
    fn head(&self, method: &str, path: &str) -> String {
        let Self { address, token } = self;
        format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n")
    }

    /// A POST of JSON.
    pub fn post(&self, path: &str, body: &str) -> Bytes {
        let (head, length) = (self.head("POST", path), body.len());
        Bytes::from(format!("{head}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"))
    }

    /// A GET, with the tag of what is known already.
    pub fn get(&self, path: &str, etag: Option<&str>) -> Bytes {
        let known = etag.map(|etag| format!("if-none-match: {etag}\r\n")).unwrap_or_default();
        Bytes::from(format!("{}{known}\r\n", self.head("GET", path)))
    }
}

/// Offers `per_second` requests a second.
pub async fn open_loop(load: Load, per_second: u64) -> Result<Outcome> {
    on_own_thread(load, Some(per_second)).await
}

/// Each connection asks again when it has its answer.
pub async fn closed_loop(load: Load) -> Result<Outcome> {
    on_own_thread(load, None).await
}

async fn on_own_thread(load: Load, per_second: Option<u64>) -> Result<Outcome> {
    let (sender, outcome) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("load".to_owned()).spawn(move || {
        let result = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("starting a runtime for the load")
            .and_then(|runtime| LocalSet::new().block_on(&runtime, run(load, per_second)));
        // Whoever asked may have given up.
        let _ = sender.send(result);
    })?;
    outcome.await.context("the load broke off")?
}

struct Run {
    load: Load,
    next: Cell<usize>,
    /// When requests that no connection took yet were due; at most those of the whole run.
    due: RefCell<VecDeque<Instant>>,
    more: Notify,
    over: Cell<bool>,
    open: bool,
    counts_from: Instant,
    ends: Instant,
    latencies: RefCell<Histogram<u64>>,
    good: Cell<u64>,
    not_modified: Cell<u64>,
    good_measured: Cell<u64>,
    errors: Cell<u64>,
    last_good: Cell<Instant>,
}

async fn run(load: Load, per_second: Option<u64>) -> Result<Outcome> {
    let mut connections = Vec::with_capacity(load.connections);
    for _ in 0..load.connections {
        connections.push(Connection::open(load.address).await?);
    }
    let begun = Instant::now();
    let counts_from = begun + load.warm_up;
    let ends = counts_from + load.measured;
    let shared = Rc::new(Run {
        next: Cell::new(0),
        due: RefCell::default(),
        more: Notify::new(),
        over: Cell::new(false),
        open: per_second.is_some(),
        counts_from,
        ends,
        latencies: RefCell::new(
            Histogram::new_with_bounds(1, LONGEST_MICROSECONDS, 3).context("a histogram")?,
        ),
        good: Cell::new(0),
        not_modified: Cell::new(0),
        good_measured: Cell::new(0),
        errors: Cell::new(0),
        last_good: Cell::new(counts_from),
        load,
    });
    let workers: Vec<_> = connections
        .into_iter()
        .map(|connection| tokio::task::spawn_local(work(Rc::clone(&shared), connection)))
        .collect();
    if let Some(per_second) = per_second {
        let mut bursts = bursts(begun, ends, per_second)?;
        while let Some((due, requests)) = bursts.recv().await {
            shared.due.borrow_mut().extend(std::iter::repeat_n(due, requests));
            for _ in 0..requests.min(shared.load.connections) {
                shared.more.notify_one();
            }
        }
        shared.over.set(true);
        shared.more.notify_waiters();
    }
    let all = async {
        for worker in workers {
            worker.await.context("a connection of the load panicked")??;
        }
        anyhow::Ok(())
    };
    match tokio::time::timeout(shared.load.measured + shared.load.warm_up + LAST_ANSWERS, all).await {
        Ok(done) => done?,
        // What was not answered is an error each.
        Err(_) => shared.errors.set(shared.errors.get() + shared.due.borrow().len() as u64),
    }
    let took = shared.last_good.get().max(shared.ends).duration_since(shared.counts_from);
    let latencies = shared.latencies.borrow().clone();
    Ok(Outcome {
        latencies,
        good: shared.good.get(),
        not_modified: shared.not_modified.get(),
        errors: shared.errors.get(),
        achieved_per_s: shared.good_measured.get() as f64 / took.as_secs_f64(),
    })
}

/// The schedule, kept by a thread that only sleeps: a runtime's timers are a millisecond coarse.
/// Bursts wait in the channel while the load's own thread has no time; it holds those of a whole run.
fn bursts(begun: Instant, ends: Instant, per_second: u64) -> Result<mpsc::Receiver<(Instant, usize)>> {
    let whole_run = ends.duration_since(begun).as_millis() / BURST_EVERY.as_millis() + 1;
    let (send, receive) = mpsc::channel(usize::try_from(whole_run)?);
    std::thread::Builder::new().name("schedule".to_owned()).spawn(move || {
        let mut sent = 0;
        for burst in 1_u32.. {
            let due = begun + BURST_EVERY * burst;
            if due > ends {
                return;
            }
            let total = u64::from(burst) * per_second / (1_000 / BURST_EVERY.as_millis() as u64);
            #[expect(clippy::disallowed_methods, reason = "a schedule is kept: nothing else is waited for")]
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if total > sent && send.try_send((due, (total - sent) as usize)).is_err() {
                return;
            }
            sent = total;
        }
    })?;
    Ok(receive)
}

async fn work(shared: Rc<Run>, mut connection: Connection) -> Result<()> {
    while let Some(due) = shared.next_due().await {
        let index = shared.next.get();
        shared.next.set((index + 1) % shared.load.requests.len());
        match connection.ask(&shared.load.requests[index]).await {
            Ok(status) if shared.load.good.contains(&status) => {
                shared.not_modified.set(shared.not_modified.get() + u64::from(status == 304));
                shared.answered(due);
            }
            Ok(_) => shared.errors.set(shared.errors.get() + 1),
            Err(_) => {
                shared.errors.set(shared.errors.get() + 1);
                connection = Connection::open(shared.load.address).await?;
            }
        }
    }
    Ok(())
}

impl Run {
    /// When the next request was or is due; `None` when there is none any more.
    async fn next_due(&self) -> Option<Instant> {
        if !self.open {
            let now = Instant::now();
            return (now < self.ends).then_some(now);
        }
        loop {
            // Nothing runs between this look and the wait below but on this thread: no wake-up is lost.
            if let Some(due) = self.due.borrow_mut().pop_front() {
                return Some(due);
            }
            if self.over.get() {
                return None;
            }
            self.more.notified().await;
        }
    }

    fn answered(&self, due: Instant) {
        self.good.set(self.good.get() + 1);
        if due < self.counts_from {
            return;
        }
        let now = Instant::now();
        self.good_measured.set(self.good_measured.get() + 1);
        self.last_good.set(now);
        let microseconds = now.duration_since(due).as_micros() as u64;
        self.latencies.borrow_mut().saturating_record(microseconds);
    }
}

struct Connection {
    stream: TcpStream,
    read: BytesMut,
}

impl Connection {
    async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: BytesMut::with_capacity(16 << 10) })
    }

    /// Sends a request and reads its answer; gives the status.
    async fn ask(&mut self, request: &[u8]) -> Result<u16> {
        self.stream.write_all(request).await?;
        loop {
            if let Some(head) = Head::parse(&self.read)? {
                let whole = head.bytes + head.body;
                while self.read.len() < whole {
                    self.more().await?;
                }
                self.read.advance(whole);
                return Ok(head.status);
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Result<()> {
        if self.stream.read_buf(&mut self.read).await? == 0 {
            bail!("the server closed the connection");
        }
        Ok(())
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    bytes: usize,
    body: usize,
}

impl Head {
    /// The head of an answer, when all of it is there.
    fn parse(read: &[u8]) -> Result<Option<Self>> {
        let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") else {
            if read.len() > MAX_HEAD_BYTES {
                bail!("an answer's head is longer than {MAX_HEAD_BYTES} bytes");
            }
            return Ok(None);
        };
        let head = std::str::from_utf8(&read[..end]).context("an answer's head is no text")?;
        let mut lines = head.split("\r\n");
        let status: u16 = lines
            .next()
            .and_then(|line| line.split(' ').nth(1))
            .and_then(|status| status.parse().ok())
            .context("an answer has no status")?;
        let length = lines.find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())
        });
        let body = match length {
            Some(length) => length.context("an answer's length is no number")?,
            None if status == 304 || status == 204 => 0,
            None => bail!("an answer without content-length"),
        };
        Ok(Some(Self { status, bytes: end + 4, body }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_when_it_is_whole() {
        let answer = b"HTTP/1.1 202 Accepted\r\nContent-Length: 14\r\nx: y\r\n\r\n{\"accepted\":1}";
        assert_eq!(Head::parse(&answer[..40]).unwrap(), None);
        let head = Head::parse(answer).unwrap().unwrap();
        assert_eq!((head.status, head.bytes + head.body), (202, answer.len()));
        let unchanged = b"HTTP/1.1 304 Not Modified\r\netag: \"1\"\r\n\r\n";
        assert_eq!(Head::parse(unchanged).unwrap().unwrap().body, 0);
        assert!(Head::parse(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(Head::parse(b"nonsense\r\n\r\n").is_err());
    }

    /// A server that answers the first request late: open loop, the requests that were due meanwhile
    /// must show it too.
    #[tokio::test]
    async fn a_stall_is_in_the_latency_of_every_request_it_delayed() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut buffer, mut first) = ([0; 4096], true);
            while stream.read(&mut buffer).await.unwrap_or(0) > 0 {
                if std::mem::take(&mut first) {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                stream.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            }
        });
        let load = Load {
            address,
            requests: vec![Server { address, token: "t".to_owned() }.get("/", None)],
            connections: 1,
            good: [202, 202],
            measured: Duration::from_millis(100),
            warm_up: Duration::ZERO,
        };
        let outcome = open_loop(load, 1_000).await.unwrap();
        assert_eq!((outcome.good, outcome.errors), (100, 0));
        // All 100 were due within the stall, so even the last of them waited half of it.
        assert!(outcome.milliseconds(0.01) >= 90.0, "{:?}", outcome.latencies.min());
        server.abort();
    }
}
