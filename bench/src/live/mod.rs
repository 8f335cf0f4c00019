//! Live push: many sockets, few broadcasts. Events are recorded over HTTP at a fixed rate, whatever comes of them, and each
//! socket notes when it has which.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use comfy_table::Table as TextTable;
use futures_util::{SinkExt, StreamExt};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::kelly::{Kelly, resident_mib};
use crate::processes::CpuWatch;
use crate::{Report, machine};

/// Where events are recorded.
const RECORD_PATH: &str = "/api/v1/kelly/monitoring/activity/record";
/// The type of the events that are counted.
const EVENT_TYPE: &str = "bench_live";
/// How long the last event may take to reach everybody.
const PATIENCE: Duration = Duration::from_secs(60);
/// Sockets of one user: as many as one may have.
const SOCKETS_OF_A_USER: usize = 10;
/// Sockets that are opened at once.
const OPENED_AT_ONCE: usize = 50;

/// What to measure.
#[derive(Debug, Args)]
pub struct Options {
    /// Sockets, each in the room of all events
    #[arg(long, default_value_t = 1_000)]
    sockets: usize,
    /// Events recorded a second
    #[arg(long, default_value_t = 10)]
    per_second: u64,
    /// Seconds measured, after two of warm-up
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { sockets: 1_000, per_second: 10, seconds: 20 }
    }
}

const WARM_UP_SECONDS: u64 = 2;

/// When an event was sent and came, in microseconds since the beginning.
#[derive(Default)]
struct Times {
    sent: AtomicU64,
    last: AtomicU64,
    first: AtomicU64,
    came: AtomicU64,
}

/// Offers the load.
pub async fn run(options: &Options) -> Result<Report> {
    let sockets = options.sockets.to_string();
    let kelly = Kelly::start(&["up"], &[("WEBSOCKET_MAX_CONNECTIONS", &sockets)]).await?;
    let before = resident_mib(kelly.pid()?)?;
    let events = options.per_second * (WARM_UP_SECONDS + options.seconds);
    let times: Arc<Vec<Times>> = Arc::new((0..events).map(|_| Times::default()).collect());
    let begun = Instant::now();
    let (ended, mut end) = mpsc::channel(1);
    let mut opening = tokio::task::JoinSet::new();
    for number in 0..options.sockets {
        if opening.len() >= OPENED_AT_ONCE {
            follow(opening.join_next().await, &times, begun, &ended)?;
        }
        // A user has so many sockets and no more.
        let token = kelly.token_of(number / SOCKETS_OF_A_USER)?;
        opening.spawn(open(kelly.url("/ws/kelly/monitoring"), kelly.address(), token));
    }
    while let Some(opened) = opening.join_next().await {
        follow(Some(opened), &times, begun, &ended)?;
    }
    let opened_in = begun.elapsed();
    let with_sockets = resident_mib(kelly.pid()?)?;
    let cpu = CpuWatch::start(&[("kelly", kelly.pid()?), ("load", std::process::id())])?;
    let measured = Instant::now();
    produce(&kelly, options.per_second, &times, begun).await?;
    let all = options.sockets as u64;
    let waiting = Instant::now();
    while times.iter().any(|times| times.came.load(Ordering::Acquire) < all) {
        if let Ok(error) = end.try_recv() {
            bail!("a socket ended: {error}");
        }
        if waiting.elapsed() > PATIENCE {
            bail!("events did not reach every socket within {} s", PATIENCE.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let percent = cpu.percent_of_a_core(measured.elapsed())?;
    let loaded = resident_mib(kelly.pid()?)?;
    kelly.end().await.context("ending kelly")?;

    let (mut from_sent, mut spread) = (Histogram::<u64>::new(3)?, Histogram::<u64>::new(3)?);
    for times in times.iter().skip((options.per_second * WARM_UP_SECONDS) as usize) {
        let [sent, first, last] =
            [&times.sent, &times.first, &times.last].map(|time| time.load(Ordering::Acquire));
        from_sent.record(last.saturating_sub(sent))?;
        spread.record(last.saturating_sub(first))?;
    }
    let milliseconds =
        |histogram: &Histogram<u64>, quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
    let kib_a_socket = |rss: f64| (rss - before).max(0.0) * 1_024.0 / options.sockets as f64;
    let mut table = TextTable::new();
    table.set_header([
        "sockets",
        "events/s",
        "sent to last recipient, p50 ms",
        "p99 ms",
        "first to last recipient, p50 ms",
        "p99 ms",
        "KiB a socket, idle",
        "loaded",
        "% of a core: kelly",
        "load",
    ]);
    let figure = |value: f64| format!("{value:.1}");
    table.add_row([
        options.sockets.to_string(),
        options.per_second.to_string(),
        figure(milliseconds(&from_sent, 0.5)),
        figure(milliseconds(&from_sent, 0.99)),
        figure(milliseconds(&spread, 0.5)),
        figure(milliseconds(&spread, 0.99)),
        figure(kib_a_socket(with_sockets)),
        figure(kib_a_socket(loaded)),
        figure(percent["kelly"]),
        figure(percent["load"]),
    ]);
    let json = json!({
        "bench": "live",
        "sockets": options.sockets,
        "offered_per_s": options.per_second,
        "events": events,
        "opened_in_s": opened_in.as_secs_f64(),
        "p50_ms": milliseconds(&from_sent, 0.5),
        "p99_ms": milliseconds(&from_sent, 0.99),
        "first_to_last_p50_ms": milliseconds(&spread, 0.5),
        "first_to_last_p99_ms": milliseconds(&spread, 0.99),
        "kib_a_socket_idle": kib_a_socket(with_sockets),
        "kib_a_socket_loaded": kib_a_socket(loaded),
        "rss_mib": {"before": before, "with_sockets": with_sockets, "loaded": loaded},
        "cpu_percent_of_a_core": percent,
        "errors": 0,
        "machine": machine::describe(),
    });
    Ok(Report { table, json, failed: false })
}

type Socket = WebSocketStream<TcpStream>;

/// A socket that is in the room.
async fn open(url: String, address: std::net::SocketAddr, token: String) -> Result<Socket> {
    let mut request = url.replacen("http", "ws", 1).into_client_request()?;
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse()?);
    let stream = TcpStream::connect(address).await.context("connecting")?;
    stream.set_nodelay(true)?;
    let config = WebSocketConfig::default().read_buffer_size(4 << 10).write_buffer_size(0);
    let (mut socket, _) =
        client_async_with_config(request, stream, Some(config)).await.context("opening a WebSocket")?;
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

/// Notes what comes of a socket that was opened.
fn follow(
    opened: Option<std::result::Result<Result<Socket>, tokio::task::JoinError>>,
    times: &Arc<Vec<Times>>,
    begun: Instant,
    ended: &mpsc::Sender<String>,
) -> Result<()> {
    let Some(opened) = opened else { return Ok(()) };
    let mut socket = opened??;
    let (times, ended) = (times.clone(), ended.clone());
    tokio::spawn(async move {
        loop {
            match socket.next().await {
                Some(Ok(Message::Text(text))) => note(&text, &times, begun),
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
    });
    Ok(())
}

fn note(text: &str, times: &[Times], begun: Instant) {
    let now = begun.elapsed().as_micros() as u64;
    // Reading the whole message a thousand times for each event would measure the reader.
    let Some(number) = text
        .split_once(r#""title":"number "#)
        .and_then(|(_, rest)| rest.split_once('"'))
        .and_then(|(number, _)| number.parse::<usize>().ok())
    else {
        return;
    };
    let Some(times) = times.get(number) else { return };
    let _ = times.first.compare_exchange(0, now, Ordering::AcqRel, Ordering::Relaxed);
    times.last.fetch_max(now, Ordering::AcqRel);
    times.came.fetch_add(1, Ordering::AcqRel);
}

/// Records an event at each tick, whether or not the one before is acknowledged.
async fn produce(kelly: &Kelly, per_second: u64, times: &Arc<Vec<Times>>, begun: Instant) -> Result<()> {
    let client = kelly.client()?;
    let url = kelly.url(RECORD_PATH);
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / per_second as f64));
    let mut sending = tokio::task::JoinSet::new();
    for number in 0..times.len() {
        ticks.tick().await;
        let row: Value = json!({
            "event_type": EVENT_TYPE, "title": format!("number {number}"), "severity": "low",
            "account_id": format!("account-{}", number % 7), "conversation_id": format!("conversation-{}", number % 100),
            "description": "x".repeat(200),
        });
        times[number].sent.store(begun.elapsed().as_micros() as u64, Ordering::Release);
        let request = client.post(&url).json(&row);
        sending.spawn(async move { request.send().await?.error_for_status().map(drop) });
    }
    while let Some(sent) = sending.join_next().await {
        sent?.context("recording an event")?;
    }
    Ok(())
}
