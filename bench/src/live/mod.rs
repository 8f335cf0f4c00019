//! Live push: many sockets and few broadcasts, many that are held, some that do not read, all that come back at once, and the
//! way of an event through Kafka beside a load of metrics.

mod produced;
mod sockets;
mod storm;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use comfy_table::Table as TextTable;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

pub use self::sockets::Way;
use self::sockets::{Events, Socket, milliseconds};
use crate::kelly::{Kelly, resident_mib};
use crate::processes::CpuWatch;
use crate::{Report, machine};

const WARM_UP_SECONDS: u64 = 2;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Case {
    /// Ten events a second
    Ten,
    /// Fifty events a second
    Fifty,
    /// Ten times as many sockets, one event a second
    Held,
    /// Fifty events a second, and one more socket in a hundred that does not read
    Stalled,
    /// All are cut at once and come back
    Storm,
    /// Events appended to Kafka beside 10,000 metrics a second, to ten sockets
    Produced,
}

/// What to measure.
#[derive(Debug, Args)]
pub struct Options {
    /// Only these; all when left out
    #[arg(long = "case", value_delimiter = ',', value_name = "CASE,CASE")]
    cases: Vec<Case>,
    /// Sockets, each in the room of all events
    #[arg(long, default_value_t = 1_000)]
    sockets: usize,
    /// Seconds measured in each case, after two of warm-up
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Metrics a second beside the events that are appended to Kafka
    #[arg(long, default_value_t = 10_000)]
    metrics: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { cases: Vec::new(), sockets: 1_000, seconds: 20, metrics: 10_000 }
    }
}

/// Runs every case asked for.
pub async fn run(options: &Options) -> Result<Report> {
    allow_files()?;
    let mut table = TextTable::new();
    table.set_header([
        "case",
        "sockets",
        "events/s",
        "p50 ms",
        "p99 ms",
        "first to last recipient, p99 ms",
        "KiB a socket, idle",
        "loaded",
        "% of a core: kelly",
        "load",
        "else",
    ]);
    let (sockets, seconds) = (options.sockets, options.seconds);
    let mut cases = Vec::new();
    for case in Case::value_variants() {
        if !options.cases.is_empty() && !options.cases.contains(case) {
            continue;
        }
        let broadcast = Broadcast { name: "", sockets, stalled: 0, per_second: 50, seconds };
        let found = match case {
            Case::Ten => Broadcast { name: "ten", per_second: 10, ..broadcast }.run().await,
            Case::Fifty => Broadcast { name: "fifty", ..broadcast }.run().await,
            Case::Held => {
                Broadcast { name: "held", sockets: 10 * sockets, per_second: 1, ..broadcast }.run().await
            }
            Case::Stalled => {
                Broadcast { name: "stalled", stalled: sockets.div_ceil(100), ..broadcast }.run().await
            }
            Case::Storm => storm::run(sockets).await,
            Case::Produced => produced::run(options.metrics, seconds).await,
        };
        let found = found.with_context(|| format!("the case {case:?}"))?;
        table.add_row(cells(&found));
        cases.push(found);
    }
    let json = json!({"bench": "live", "machine": machine::describe(), "cases": cases});
    Ok(Report { table, json, failed: false })
}

fn cells(case: &Value) -> Vec<String> {
    let figure = |value: &Value| value.as_f64().map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"));
    let rest = match case["case"].as_str() {
        Some("storm") => format!(
            "all had resumed after {} ms; {} refused, {} reset, {} missed, {} twice",
            figure(&case["all_resumed_ms"]),
            case["refused"],
            case["resets"],
            case["missed"],
            case["repeated"]
        ),
        Some("stalled") => {
            format!("{} do not read, {} of them were closed", case["stalled"], case["stalled_closed"])
        }
        Some("held") => format!("opened in {} s", figure(&case["opened_in_s"])),
        Some("produced") => format!("{} metrics/s beside", figure(&case["metrics_achieved_per_s"])),
        _ => String::new(),
    };
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let cpu = &case["cpu_percent_of_a_core"];
    vec![
        text(&case["case"]),
        text(&case["sockets"]),
        text(&case["offered_per_s"]),
        figure(&case["p50_ms"]),
        figure(&case["p99_ms"]),
        figure(&case["first_to_last_p99_ms"]),
        figure(&case["kib_a_socket_idle"]),
        figure(&case["kib_a_socket_loaded"]),
        figure(&cpu["kelly"]),
        figure(&cpu["load"]),
        rest,
    ]
}

/// Events to many sockets.
#[derive(Clone, Copy)]
struct Broadcast {
    name: &'static str,
    sockets: usize,
    /// Beside them, sockets that do not read.
    stalled: usize,
    per_second: u64,
    seconds: u64,
}

impl Broadcast {
    async fn run(self) -> Result<Value> {
        let places = (self.sockets + self.stalled).to_string();
        let kelly = Kelly::start(&["up"], &[("WEBSOCKET_MAX_CONNECTIONS", &places)]).await?;
        sockets::fill(&kelly).await?;
        let before = resident_mib(kelly.pid()?)?;
        let events = Events::new(self.per_second * (WARM_UP_SECONDS + self.seconds));
        let (ended, mut ends) = mpsc::channel(1);
        let mut following = JoinSet::new();
        let begun = Instant::now();
        let ways = (0..self.sockets).map(|number| Way::of(&kelly, number)).collect::<Result<Vec<_>>>()?;
        sockets::open(ways, |socket| {
            following.spawn(sockets::follow(socket, events.clone(), ended.clone()));
        })
        .await?;
        let opened_in = begun.elapsed();
        let with_sockets = resident_mib(kelly.pid()?)?;
        let mut stalled = Vec::new();
        let ways = (self.sockets..self.sockets + self.stalled)
            .map(|number| Way::of(&kelly, number).map(Way::narrow))
            .collect::<Result<Vec<_>>>()?;
        sockets::open(ways, |socket| stalled.push(socket)).await?;
        let cpu = CpuWatch::start(&[("kelly", kelly.pid()?), ("load", std::process::id())])?;
        let measured = Instant::now();
        sockets::record(&kelly, self.per_second, &events).await?;
        events.have_come(self.sockets, &mut ends).await?;
        let percent = cpu.percent_of_a_core(measured.elapsed())?;
        let loaded = resident_mib(kelly.pid()?)?;
        let mut closed = 0;
        for socket in stalled {
            closed += usize::from(was_closed(socket).await);
        }
        kelly.end().await.context("ending kelly")?;

        let (from_sent, spread) = events.latencies((self.per_second * WARM_UP_SECONDS) as usize)?;
        let kib_a_socket = |rss: f64| (rss - before).max(0.0) * 1_024.0 / self.sockets as f64;
        Ok(json!({
            "case": self.name,
            "sockets": self.sockets,
            "stalled": self.stalled,
            "stalled_closed": closed,
            "offered_per_s": self.per_second,
            "events": events.count(),
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
        }))
    }
}

/// Whether the server ended a socket that did not read, as it says once it is read.
async fn was_closed(mut socket: Socket) -> bool {
    let reading = async {
        loop {
            match socket.next().await {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return true,
                Some(Ok(_)) => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(2), reading).await.unwrap_or(false)
}

/// The clients are files of this process.
fn allow_files() -> Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get a valid pointer to a local.
    let outcome = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit)
    };
    if outcome != 0 {
        return Err(std::io::Error::last_os_error()).context("raising the limit on open files");
    }
    Ok(())
}
