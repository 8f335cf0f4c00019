//! One user floods: requests beyond the quota, sockets and slow readers, bodies that never end, bad tokens from the same
//! address. Beside it another user asks and records at a steady, modest rate, as before the flood; the ratio counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use comfy_table::Table as TextTable;
use futures_util::SinkExt;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_tungstenite::tungstenite::Message;

use crate::kelly::{Kelly, RECORD_PATH};
use crate::live::Way;
use crate::processes::CpuWatch;
use crate::{Report, machine};

/// What is asked.
const POLLED_PATH: &str = "/api/v1/kelly/monitoring/metrics/detailed/response_time?timeframe=1h";
/// Numbers of the two users.
const QUIET_USER: usize = 0;
const FLOODING_USER: usize = 1;
/// Questions a second of the quiet user: within the quota of a minute, for ever.
const ASKED_A_SECOND: u64 = 10;
/// Metrics a second of the quiet producer.
const RECORDED_A_SECOND: u64 = 50;
/// Sockets that the flooding user has open and does not read: as many as one user may have.
const SLOW_READERS: usize = 10;
/// Requests of the flood that are under way at once.
const UNDER_WAY: usize = 64;
/// Bodies that are begun and never end.
const ENDLESS_BODIES: usize = 16;
const WARM_UP: Duration = Duration::from_secs(3);
const LONGEST_MICROSECONDS: u64 = 60_000_000;

/// What to measure.
#[derive(Debug, Args)]
pub struct Options {
    /// Seconds measured, once without the flood and once with it
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Requests a second of the flood, beyond any quota
    #[arg(long, default_value_t = 1_000)]
    requests: u64,
    /// Bad tokens a second, from the same address
    #[arg(long, default_value_t = 200)]
    bad_tokens: u64,
    /// Sockets a second that are tried beyond those one user may have
    #[arg(long, default_value_t = 50)]
    sockets: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { seconds: 30, requests: 1_000, bad_tokens: 200, sockets: 50 }
    }
}

/// Runs both stretches.
pub async fn run(options: &Options) -> Result<Report> {
    // As it comes: with the limits a user has by default.
    let kelly = Kelly::start_with_own_limits(&["up"], &[]).await?;
    let duration = Duration::from_secs(options.seconds);
    measure(&kelly, WARM_UP).await?;
    let quiet = measure(&kelly, duration).await?;
    let flood = Flood::start(&kelly, options).await?;
    tokio::time::sleep(WARM_UP).await;
    let before = flood.counts.take();
    let cpu = CpuWatch::start(&[
        ("kelly", kelly.pid()?),
        ("engine", kelly.engine_pid()?),
        ("load", std::process::id()),
    ])?;
    let begun = Instant::now();
    let flooded = measure(&kelly, duration).await?;
    let percent = cpu.percent_of_a_core(begun.elapsed())?;
    let counts = flood.counts.since(&before);
    drop(flood);
    kelly.end().await.context("ending kelly")?;

    let mut table = TextTable::new();
    table.set_header([
        "beside a flood",
        "quiet p50 ms",
        "p99 ms",
        "flooded p50 ms",
        "p99 ms",
        "p99 ratio",
        "refused",
    ]);
    let mut cases = Vec::new();
    for (name, quiet, flooded) in
        [("polled", &quiet.polled, &flooded.polled), ("record", &quiet.recorded, &flooded.recorded)]
    {
        let figure = |series: &Series, quantile| series.latencies.value_at_quantile(quantile) as f64 / 1e3;
        let ratio = |quantile| figure(flooded, quantile) / figure(quiet, quantile).max(0.001);
        table.add_row([
            name.to_owned(),
            format!("{:.2}", figure(quiet, 0.5)),
            format!("{:.2}", figure(quiet, 0.99)),
            format!("{:.2}", figure(flooded, 0.5)),
            format!("{:.2}", figure(flooded, 0.99)),
            format!("{:.2}", ratio(0.99)),
            flooded.refused.to_string(),
        ]);
        cases.push(json!({
            "case": name,
            "quiet": {"p50_ms": figure(quiet, 0.5), "p99_ms": figure(quiet, 0.99), "requests": quiet.latencies.len()},
            "flooded": {"p50_ms": figure(flooded, 0.5), "p99_ms": figure(flooded, 0.99), "requests": flooded.latencies.len()},
            "p50_ratio": ratio(0.5),
            "p99_ratio": ratio(0.99),
            "errors": quiet.refused + flooded.refused,
        }));
    }
    let json = json!({
        "bench": "flood",
        "seconds": options.seconds,
        "flood": counts,
        "cpu_percent_of_a_core": percent,
        "machine": machine::describe(),
        "cases": cases,
    });
    Ok(Report { table, json, failed: false })
}

/// Answers to one kind of request.
struct Series {
    latencies: Histogram<u64>,
    /// Answers that were none.
    refused: u64,
}

struct Measured {
    polled: Series,
    recorded: Series,
}

/// The quiet user and the quiet producer, at their rates.
async fn measure(kelly: &Kelly, duration: Duration) -> Result<Measured> {
    let asking = kelly.client_with(&kelly.token_of(QUIET_USER)?)?;
    // The token of an administrator records as a producer's does, with a budget of its own.
    let recording = kelly.client()?;
    let (asked, recorded) = (kelly.url(POLLED_PATH), kelly.url(RECORD_PATH));
    let body = json!({"metric_name": "response_time", "value": 180.5, "account_id": "quiet"});
    let (polled, recorded) = tokio::join!(
        steadily(ASKED_A_SECOND, duration, || asking.get(&asked)),
        steadily(RECORDED_A_SECOND, duration, || recording.post(&recorded).json(&body)),
    );
    Ok(Measured { polled: polled?, recorded: recorded? })
}

/// Sends a request at each tick, whether or not the one before is answered; its latency counts from when it was due.
async fn steadily(
    per_second: u64,
    duration: Duration,
    request: impl Fn() -> reqwest::RequestBuilder,
) -> Result<Series> {
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / per_second as f64));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut under_way = JoinSet::new();
    for _ in 0..per_second * duration.as_secs() {
        let due = ticks.tick().await;
        let request = request();
        under_way.spawn(async move {
            let answer = request.send().await?;
            let is_answered = answer.status().is_success();
            answer.bytes().await?;
            Ok::<_, reqwest::Error>((due.elapsed(), is_answered))
        });
    }
    let mut series =
        Series { latencies: Histogram::new_with_bounds(1, LONGEST_MICROSECONDS, 3)?, refused: 0 };
    while let Some(answered) = under_way.join_next().await {
        match answered.context("a request panicked")? {
            Ok((latency, true)) => series.latencies.saturating_record(latency.as_micros() as u64),
            Ok((_, false)) | Err(_) => series.refused += 1,
        }
    }
    Ok(series)
}

/// What the flood has sent, and how much of it was refused.
#[derive(Default)]
struct Counts {
    requests: AtomicU64,
    requests_refused: AtomicU64,
    bad_tokens: AtomicU64,
    bad_tokens_limited: AtomicU64,
    sockets_refused: AtomicU64,
    sockets_opened: AtomicU64,
    bodies_begun: AtomicU64,
}

impl Counts {
    fn named(&self) -> [(&'static str, &AtomicU64); 7] {
        [
            ("requests", &self.requests),
            ("requests_refused", &self.requests_refused),
            ("bad_tokens", &self.bad_tokens),
            ("bad_tokens_limited", &self.bad_tokens_limited),
            ("sockets_opened", &self.sockets_opened),
            ("sockets_refused", &self.sockets_refused),
            ("endless_bodies_begun", &self.bodies_begun),
        ]
    }

    fn take(&self) -> Vec<u64> {
        self.named().iter().map(|(_, count)| count.load(Ordering::Relaxed)).collect()
    }

    fn since(&self, before: &[u64]) -> Value {
        let now = self.named();
        let counted = now.iter().zip(before);
        counted
            .map(|((name, count), before)| {
                ((*name).to_owned(), json!(count.load(Ordering::Relaxed) - before))
            })
            .collect()
    }
}

/// The flood; it ends when this is dropped.
struct Flood {
    counts: Arc<Counts>,
    _tasks: JoinSet<()>,
}

impl Flood {
    async fn start(kelly: &Kelly, options: &Options) -> Result<Self> {
        let counts = Arc::new(Counts::default());
        let mut tasks = JoinSet::new();
        let token = kelly.token_of(FLOODING_USER)?;
        let client = kelly.client_with(&token)?;
        let url = kelly.url(POLLED_PATH);
        let (own, count) = (counts.clone(), options.requests);
        tasks.spawn(async move {
            at_a_rate(count, || {
                let (request, counts) = (client.get(&url), own.clone());
                async move {
                    counts.requests.fetch_add(1, Ordering::Relaxed);
                    if request.send().await.is_ok_and(|answer| answer.status() == 429) {
                        counts.requests_refused.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
            .await;
        });
        let bad = kelly.client_with("not.a.token")?;
        let url = kelly.url(POLLED_PATH);
        let (own, count) = (counts.clone(), options.bad_tokens);
        tasks.spawn(async move {
            at_a_rate(count, || {
                let (request, counts) = (bad.get(&url), own.clone());
                async move {
                    counts.bad_tokens.fetch_add(1, Ordering::Relaxed);
                    if request.send().await.is_ok_and(|answer| answer.status() == 429) {
                        counts.bad_tokens_limited.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
            .await;
        });
        let way = Way::for_user(kelly, FLOODING_USER)?.narrow();
        let mut slow = Vec::new();
        for _ in 0..SLOW_READERS {
            let mut socket = way.connect().await?;
            socket
                .send(Message::text(
                    r#"{"type":"subscribe","rooms":["activity_feed","monitoring_dashboard"]}"#,
                ))
                .await?;
            slow.push(socket);
        }
        let (own, count) = (counts.clone(), options.sockets);
        tasks.spawn(async move {
            // Held for as long as the flood goes on.
            let _slow = slow;
            at_a_rate(count, || {
                let (way, counts) = (way.clone(), own.clone());
                async move {
                    let count = match way.connect().await {
                        Ok(_) => &counts.sockets_opened,
                        Err(_) => &counts.sockets_refused,
                    };
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
            .await;
        });
        for _ in 0..ENDLESS_BODIES {
            let (counts, address, producer) =
                (counts.clone(), kelly.address(), kelly.producers_token(FLOODING_USER)?);
            tasks.spawn(async move {
                loop {
                    counts.bodies_begun.fetch_add(1, Ordering::Relaxed);
                    // The server ends it at the bound on bodies, or does not begin to read it.
                    let _ = endless_body(address, &producer).await;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            });
        }
        Ok(Self { counts, _tasks: tasks })
    }
}

/// Does something so many times a second; at the bound on what is under way the rest is left out.
async fn at_a_rate<F: Future<Output = ()> + Send + 'static>(per_second: u64, work: impl Fn() -> F) {
    if per_second == 0 {
        return;
    }
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / per_second as f64));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut under_way = JoinSet::new();
    loop {
        ticks.tick().await;
        while under_way.try_join_next().is_some() {}
        if under_way.len() < UNDER_WAY {
            under_way.spawn(work());
        }
    }
}

/// A chunked body of which a little comes now and then, until the server ends it.
async fn endless_body(address: std::net::SocketAddr, token: &str) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let head = format!(
        "POST {RECORD_PATH} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n1\r\n[\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        stream.write_all(b"1\r\n \r\n").await?;
    }
}
