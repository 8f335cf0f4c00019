//! Sockets of many users, and when each event was sent and came.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::kelly::Kelly;

/// The type of the events that are counted.
const EVENT_TYPE: &str = "bench_live";
/// Sockets of one user: as many as one may have.
const SOCKETS_OF_A_USER: usize = 10;
/// Sockets that are opened at once.
const OPENED_AT_ONCE: usize = 50;
/// How long the last event may take to reach everybody.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Where the sockets are.
const PATH: &str = "/ws/kelly/monitoring";

/// When an event was sent and came, in microseconds since the beginning.
#[derive(Default)]
struct Times {
    sent: AtomicU64,
    first: AtomicU64,
    last: AtomicU64,
    came: AtomicU64,
}

/// The events of a case.
pub struct Events {
    begun: Instant,
    times: Vec<Times>,
}

impl Events {
    pub fn new(count: u64) -> Arc<Self> {
        Arc::new(Self { begun: Instant::now(), times: (0..count).map(|_| Times::default()).collect() })
    }

    pub fn count(&self) -> usize {
        self.times.len()
    }

    /// The row of an event, which is being sent now.
    pub fn send(&self, number: usize) -> Value {
        if let Some(times) = self.times.get(number) {
            times.sent.store(self.now(), Ordering::Release);
        }
        row(&format!("number {number}"), number)
    }

    fn now(&self) -> u64 {
        self.begun.elapsed().as_micros() as u64
    }

    /// Notes that one came, and which; `None` for what is none of them.
    pub fn note(&self, text: &str) -> Option<usize> {
        let now = self.now();
        // Reading the whole message a thousand times for each event would measure the reader.
        let (_, rest) = text.split_once(r#""title":"number "#)?;
        let number = rest.split_once('"')?.0.parse::<usize>().ok()?;
        let times = self.times.get(number)?;
        let _ = times.first.compare_exchange(0, now, Ordering::AcqRel, Ordering::Relaxed);
        times.last.fetch_max(now, Ordering::AcqRel);
        times.came.fetch_add(1, Ordering::AcqRel);
        Some(number)
    }

    /// Waits until every event has come to so many sockets.
    pub async fn have_come(&self, sockets: usize, ends: &mut mpsc::Receiver<String>) -> Result<()> {
        let waiting = Instant::now();
        while self.times.iter().any(|times| times.came.load(Ordering::Acquire) < sockets as u64) {
            if let Ok(error) = ends.try_recv() {
                bail!("a socket ended: {error}");
            }
            if waiting.elapsed() > PATIENCE {
                bail!("events did not reach every socket within {} s", PATIENCE.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Of those behind the first few, microseconds from sent to the last recipient, and from the first to the last.
    pub fn latencies(&self, leave_out: usize) -> Result<(Histogram<u64>, Histogram<u64>)> {
        let (mut from_sent, mut spread) = (Histogram::<u64>::new(3)?, Histogram::<u64>::new(3)?);
        for times in self.times.iter().skip(leave_out) {
            let [sent, first, last] =
                [&times.sent, &times.first, &times.last].map(|time| time.load(Ordering::Acquire));
            from_sent.record(last.saturating_sub(sent))?;
            spread.record(last.saturating_sub(first))?;
        }
        Ok((from_sent, spread))
    }
}

/// An event as producers send them.
pub fn row(title: &str, number: usize) -> Value {
    json!({
        "event_type": EVENT_TYPE, "title": title, "severity": "low",
        "account_id": format!("account-{}", number % 7), "conversation_id": format!("conversation-{}", number % 100),
        "description": "x".repeat(200),
    })
}

pub fn milliseconds(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1e3
}

pub type Socket = WebSocketStream<TcpStream>;

/// Where a socket goes, as whom, and how much the system keeps of what it does not read.
#[derive(Clone)]
pub struct Way {
    url: String,
    address: SocketAddr,
    token: String,
    receive_buffer: Option<u32>,
}

impl Way {
    /// Of the socket with this number: a user has so many and no more.
    pub fn of(kelly: &Kelly, number: usize) -> Result<Self> {
        Self::for_user(kelly, number / SOCKETS_OF_A_USER)
    }

    /// Of a socket of the user with this number.
    pub fn for_user(kelly: &Kelly, user: usize) -> Result<Self> {
        let token = kelly.token_of(user)?;
        Ok(Self { url: kelly.url(PATH), address: kelly.address(), token, receive_buffer: None })
    }

    /// The same with the least the system keeps for it.
    pub fn narrow(self) -> Self {
        Self { receive_buffer: Some(4 << 10), ..self }
    }

    pub async fn connect(&self) -> Result<Socket> {
        let mut request = self.url.replacen("http", "ws", 1).into_client_request()?;
        request.headers_mut().insert("authorization", format!("Bearer {}", self.token).parse()?);
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        let stream = socket.connect(self.address).await.context("connecting")?;
        stream.set_nodelay(true)?;
        let config = WebSocketConfig::default().read_buffer_size(4 << 10).write_buffer_size(0);
        let (socket, _) =
            client_async_with_config(request, stream, Some(config)).await.context("opening a WebSocket")?;
        Ok(socket)
    }

    /// A socket that is in the room of all events.
    async fn enter(&self) -> Result<Socket> {
        let mut socket = self.connect().await?;
        socket.send(Message::text(r#"{"type":"subscribe","rooms":["activity_feed"]}"#)).await?;
        while let Some(message) = socket.next().await {
            if let Message::Text(text) = message?
                && text.contains("activity_snapshot")
            {
                return Ok(socket);
            }
        }
        bail!("a WebSocket ended before it was in its room")
    }
}

/// Opens sockets some at a time, and does with each what is to be done.
pub async fn open(ways: impl IntoIterator<Item = Way>, mut take: impl FnMut(Socket)) -> Result<()> {
    let mut opening = JoinSet::new();
    for way in ways {
        if opening.len() >= OPENED_AT_ONCE
            && let Some(opened) = opening.join_next().await
        {
            take(opened.context("opening a socket panicked")??);
        }
        opening.spawn(async move { way.enter().await });
    }
    while let Some(opened) = opening.join_next().await {
        take(opened.context("opening a socket panicked")??);
    }
    Ok(())
}

/// Notes what comes of a socket, until it ends.
pub async fn follow(mut socket: Socket, events: Arc<Events>, ended: mpsc::Sender<String>) {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => drop(events.note(&text)),
            Some(Ok(Message::Close(frame))) => {
                let _ = ended.try_send(format!("{frame:?}"));
                return;
            }
            Some(Ok(_)) => {}
            other => {
                let _ = ended.try_send(format!("{other:?}"));
                return;
            }
        }
    }
}

/// Records events over HTTP, one at each tick, whether or not the one before is acknowledged.
pub async fn record(kelly: &Kelly, per_second: u64, events: &Arc<Events>) -> Result<()> {
    let client = kelly.client()?;
    let url = kelly.url("/api/v1/kelly/monitoring/activity/record");
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / per_second as f64));
    let mut sending = JoinSet::new();
    for number in 0..events.count() {
        ticks.tick().await;
        let request = client.post(&url).json(&events.send(number));
        sending.spawn(async move { request.send().await?.error_for_status().map(drop) });
    }
    while let Some(sent) = sending.join_next().await {
        sent?.context("recording an event")?;
    }
    Ok(())
}

/// Fills the feed, so that snapshots are as they are in use.
pub async fn fill(kelly: &Kelly) -> Result<()> {
    let rows: Vec<Value> = (0..100).map(|number| row(&format!("before {number}"), number)).collect();
    let url = kelly.url("/api/v1/kelly/monitoring/activity/record");
    let answer = kelly.client()?.post(url).json(&rows).send().await?;
    answer.error_for_status().context("recording what is there before")?;
    Ok(())
}
