//! How old a metric is when it can be queried, at a steady rate, and what keeping up costs.
//!
//! Two stretches, because asking costs the engine something: in the first the store is asked many
//! times a second which probes it has (a probe is a metric among the others; the time it was handed to
//! the log, before any acknowledgement, is noted); in the second nobody asks, and CPU time is read.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use clap::Args;
use comfy_table::Table as TextTable;
use hdrhistogram::Histogram;
use kelly_harness::{BrokerOptions, KafkaBroker};
use kelly_schemas::Stream;
use kelly_stream::partitioner::partition_of;
use kelly_stream::{KafkaConfig, KafkaLog, Log, NewRecord};
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

use crate::ingest::Source;
use crate::kelly::{Kelly, RECORD_PATH};
use crate::processes::CpuWatch;
use crate::{Report, machine, traffic};

const PROBE: &str = "freshness_probe";
/// Metrics are handed over this often, so many at a time as the rate asks for.
const SEND_EVERY: Duration = Duration::from_millis(10);
/// Every so many sends one metric is a probe: 20 a second.
const SENDS_A_PROBE: u64 = 5;
/// Bounds how much later than it was queryable a probe is seen.
const ASK_EVERY: Duration = Duration::from_millis(25);
const COUNT_PARTS_EVERY: Duration = Duration::from_secs(5);
const WARM_UP: Duration = Duration::from_secs(5);
/// How long the last probes are waited for.
const PATIENCE: Duration = Duration::from_secs(30);
const LONGEST_MICROSECONDS: u64 = 60_000_000;

/// What to measure.
#[derive(Debug, Args)]
pub struct Options {
    /// Where producers write; both when left out. Kafka: one metric a message. Embedded: over HTTP
    #[arg(long)]
    source: Option<Source>,
    /// Metrics a second
    #[arg(long, default_value_t = 10_000)]
    per_second: u64,
    /// Partitions of the topics; Kelly's own default when left out
    #[arg(long)]
    partitions: Option<u32>,
    /// Seconds in which latency is measured
    #[arg(long, default_value_t = 20)]
    latency_seconds: u64,
    /// Seconds in which CPU time is measured and nobody asks
    #[arg(long, default_value_t = 60)]
    cpu_seconds: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { source: None, per_second: 10_000, partitions: None, latency_seconds: 20, cpu_seconds: 60 }
    }
}

/// Runs every case asked for.
pub async fn run(options: &Options) -> Result<Report> {
    let sources = match options.source {
        Some(source) => vec![source],
        None => vec![Source::Kafka, Source::Embedded],
    };
    let mut table = TextTable::new();
    table.set_header([
        "freshness, producers write",
        "metrics/s",
        "p50 ms",
        "p99 ms",
        "max ms",
        "% of a core: kelly",
        "engine",
        "kelly + engine",
        "broker",
        "parts: most in all",
        "most in one table",
        "inserts/s",
    ]);
    let mut cases = Vec::new();
    for source in sources {
        let case = run_case(source, options).await?;
        let number = |value: &Value, digits: usize| {
            value.as_f64().map_or_else(|| "-".to_owned(), |number| format!("{number:.digits$}"))
        };
        let cpu = &case["cpu_percent_of_a_core"];
        table.add_row([
            if source == Source::Kafka {
                "to Kafka, one a message"
            } else {
                "over HTTP to the embedded log, 100 a request"
            }
            .to_owned(),
            number(&case["achieved_per_s"], 0),
            number(&case["p50_ms"], 0),
            number(&case["p99_ms"], 0),
            number(&case["max_ms"], 0),
            number(&cpu["kelly"], 1),
            number(&cpu["engine"], 1),
            number(&case["kelly_and_engine_percent"], 1),
            number(&cpu["broker"], 1),
            case["parts"]["most"].to_string(),
            case["parts"]["most_in_one_table"].to_string(),
            number(&case["inserts_per_s"], 1),
        ]);
        cases.push(case);
    }
    let json = match <[Value; 1]>::try_from(cases) {
        Ok([case]) => case,
        Err(cases) => json!({"bench": "freshness", "machine": machine::describe(), "cases": cases}),
    };
    Ok(Report { table, json, failed: false })
}

async fn run_case(source: Source, options: &Options) -> Result<Value> {
    let broker = match source {
        Source::Embedded => None,
        Source::Kafka => Some(KafkaBroker::start_with(&BrokerOptions {
            heap_mb: 1024,
            quick_start: false,
            ..BrokerOptions::default()
        })?),
    };
    let log = broker.as_ref().map(|broker| format!("kafka://{}", broker.bootstrap()));
    let mut arguments = vec!["up"];
    if let Some(log) = &log {
        arguments.extend(["--log", log]);
    }
    let kelly = Kelly::start_with_partitions(&arguments, options.partitions).await?;
    let way = match &broker {
        Some(broker) => {
            let log = KafkaLog::connect(KafkaConfig::new(broker.bootstrap()))?;
            let partitions = log.partitions(Stream::Metrics.topic()).await?;
            Way::Kafka { log: Arc::new(log), partitions }
        }
        None => Way::Http { client: kelly.client()?, url: kelly.url(RECORD_PATH) },
    };
    let probes = Arc::new(Probes::default());
    let sending = Sending::start(way, options.per_second, traffic::metric_json, Some(Arc::clone(&probes)));
    tokio::time::sleep(WARM_UP).await;

    let latencies = measure_latency(&kelly, &probes, Duration::from_secs(options.latency_seconds)).await?;

    let mut watched = vec![("kelly", kelly.pid()?), ("engine", kelly.engine_pid()?)];
    watched.extend(broker.as_ref().and_then(KafkaBroker::pid).map(|pid| ("broker", pid)));
    let inserts = "SELECT value FROM system.events WHERE event = 'InsertQuery'";
    let (inserts_before, sent_before) = (kelly.number(inserts).await?, sending.sent());
    let cpu = CpuWatch::start(&watched)?;
    let begun = Instant::now();
    let mut parts = Vec::new();
    while begun.elapsed() < Duration::from_secs(options.cpu_seconds) {
        tokio::time::sleep(COUNT_PARTS_EVERY).await;
        let counted = kelly
            .query(
                "SELECT sum(parts), max(parts) FROM (SELECT count() AS parts FROM system.parts WHERE active \
                 AND database = 'kelly' GROUP BY table)",
            )
            .await?;
        let numbers: Vec<u64> = counted.split('\t').filter_map(|number| number.parse().ok()).collect();
        let &[all, one] = numbers.as_slice() else { bail!("parts were counted as {counted:?}") };
        parts.push((all, one));
    }
    let elapsed = begun.elapsed();
    let percent = cpu.percent_of_a_core(elapsed)?;
    let inserts = (kelly.number(inserts).await? - inserts_before) / elapsed.as_secs_f64();
    let achieved = (sending.sent() - sent_before) as f64 / elapsed.as_secs_f64();
    sending.end().await?;
    kelly.end().await?;
    let milliseconds = |quantile: f64| latencies.value_at_quantile(quantile) as f64 / 1000.0;
    Ok(json!({
        "bench": "freshness",
        "source": if broker.is_some() { "kafka" } else { "embedded" },
        "offered_per_s": options.per_second,
        "achieved_per_s": achieved,
        "probes": latencies.len(),
        "asked_every_ms": ASK_EVERY.as_millis() as u64,
        "p50_ms": milliseconds(0.5),
        "p99_ms": milliseconds(0.99),
        "p999_ms": milliseconds(0.999),
        "max_ms": latencies.max() as f64 / 1000.0,
        "errors": 0,
        "cpu_seconds": elapsed.as_secs_f64(),
        "cpu_percent_of_a_core": percent,
        "kelly_and_engine_percent": percent["kelly"] + percent["engine"],
        "inserts_per_s": inserts,
        "parts": {
            "most": parts.iter().map(|(all, _)| all).max(),
            "most_in_one_table": parts.iter().map(|(_, one)| one).max(),
            "every_5_s": parts.iter().map(|(all, _)| all).collect::<Vec<_>>(),
        },
        "machine": machine::describe(),
    }))
}

/// Probes that were sent: when, and whether they were seen. As many as there are in a run.
#[derive(Default)]
struct Probes {
    sent: Mutex<Vec<Instant>>,
}

impl Probes {
    /// Notes one that is being handed over; gives its number.
    fn send(&self) -> usize {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.push(Instant::now());
        sent.len() - 1
    }

    fn sent(&self) -> Vec<Instant> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn measure_latency(kelly: &Kelly, probes: &Probes, measured: Duration) -> Result<Histogram<u64>> {
    let mut latencies = Histogram::new_with_bounds(1, LONGEST_MICROSECONDS, 3).context("a histogram")?;
    let first = probes.sent().len();
    let begun = Instant::now();
    let mut last = None;
    let mut seen = std::collections::BTreeSet::new();
    let mut ticks = tokio::time::interval(ASK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // Only probes of the last half minute: a few granules, whatever else there is.
        let answer = kelly
            .query(&format!(
                "SELECT toUInt64(value) FROM system_metrics WHERE metric_name = '{PROBE}' \
                 AND account_id = '{PROBE}' AND timestamp > now64(3) - 30 AND value >= {first}"
            ))
            .await?;
        let now = Instant::now();
        let sent = probes.sent();
        for number in answer.lines().filter_map(|line| line.parse::<usize>().ok()) {
            if last.is_none_or(|last| number < last) && seen.insert(number) {
                let at = sent.get(number).context("a probe that was never sent")?;
                latencies.saturating_record(now.duration_since(*at).as_micros() as u64);
            }
        }
        match last {
            None if begun.elapsed() >= measured => last = Some(sent.len()),
            Some(last) if seen.len() == last - first => return Ok(latencies),
            _ => {}
        }
        if begun.elapsed() > measured + PATIENCE {
            bail!("only {} of {} probes can be queried", seen.len(), sent.len() - first);
        }
    }
}

enum Way {
    Kafka { log: Arc<KafkaLog>, partitions: u32 },
    Http { client: reqwest::Client, url: String },
}

impl Way {
    async fn send(&self, metrics: Vec<(String, String)>) -> Result<()> {
        match self {
            Self::Kafka { log, partitions } => {
                let topic: Arc<str> = Stream::Metrics.topic().into();
                let records = metrics.into_iter().map(|(key, metric)| NewRecord {
                    topic: Arc::clone(&topic),
                    partition: Some(partition_of(key.as_bytes(), *partitions)),
                    key: Some(Bytes::from(key)),
                    payload: Bytes::from(metric),
                    content_type: None,
                });
                log.append(records.collect()).await?;
            }
            Self::Http { client, url } => {
                let rows: Vec<String> = metrics.into_iter().map(|(_, metric)| metric).collect();
                let answer = client
                    .post(url)
                    .header("content-type", "application/json")
                    .body(format!("[{}]", rows.join(",")))
                    .send()
                    .await?;
                if !answer.status().is_success() {
                    bail!("recording was refused: {}", answer.status());
                }
            }
        }
        Ok(())
    }
}

/// A steady producer.
pub struct Sending {
    sent: Arc<std::sync::atomic::AtomicU64>,
    stop: tokio::sync::watch::Sender<bool>,
    task: tokio::task::JoinHandle<Result<()>>,
}

impl Sending {
    fn start(
        way: Way,
        per_second: u64,
        metric_json: fn(u64, i64) -> String,
        probes: Option<Arc<Probes>>,
    ) -> Self {
        let sent = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let (stop, mut stopped) = tokio::sync::watch::channel(false);
        let counter = Arc::clone(&sent);
        let task = tokio::spawn(async move {
            let way = Arc::new(way);
            let mut under_way = tokio::task::JoinSet::new();
            let mut ticks = tokio::time::interval(SEND_EVERY);
            // What was missed is made up for: the rate holds.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let a_send = per_second / (1000 / SEND_EVERY.as_millis() as u64);
            for send in 0_u64.. {
                tokio::select! {
                    _ = stopped.changed() => break,
                    _ = ticks.tick() => {}
                }
                let now_ms = chrono::Utc::now().timestamp_millis();
                let mut metrics: Vec<_> = (send * a_send..(send + 1) * a_send)
                    .map(|number| {
                        let key = format!("conv-{}", traffic::conversation(number));
                        (key, metric_json(number, now_ms))
                    })
                    .collect();
                if let Some(probes) = &probes
                    && send % SENDS_A_PROBE == 0
                {
                    let number = probes.send();
                    let probe = format!(
                        r#"{{"metric_name":"{PROBE}","value":{number},"timestamp":{now_ms},"account_id":"{PROBE}"}}"#
                    );
                    // In the place of one: spread over the partitions as the others are.
                    if let Some(last) = metrics.last_mut() {
                        last.1 = probe;
                    }
                }
                // Not awaited: the next send is due whether or not this one is acknowledged. A second's
                // worth may be under way; beyond that the log does not keep up, which is an error.
                if under_way.len() > 100 {
                    bail!("the log does not keep up with {per_second} metrics a second");
                }
                let (way, counter) = (Arc::clone(&way), Arc::clone(&counter));
                under_way.spawn(async move {
                    way.send(metrics).await?;
                    counter.fetch_add(a_send, std::sync::atomic::Ordering::Relaxed);
                    anyhow::Ok(())
                });
                while let Some(done) = under_way.try_join_next() {
                    done.context("a send panicked")??;
                }
            }
            while let Some(done) = under_way.join_next().await {
                done.context("a send panicked")??;
            }
            Ok(())
        });
        Self { sent, stop, task }
    }

    /// A steady producer to Kafka, one metric a message, for what is measured beside it.
    pub async fn to_kafka(
        log: Arc<KafkaLog>,
        per_second: u64,
        metric_json: fn(u64, i64) -> String,
    ) -> Result<Self> {
        let partitions = log.partitions(Stream::Metrics.topic()).await?;
        Ok(Self::start(Way::Kafka { log, partitions }, per_second, metric_json, None))
    }

    /// A steady producer over HTTP to `kelly`, for what is measured beside it; of a number and a time comes a metric.
    pub fn beside(kelly: &Kelly, per_second: u64, metric_json: fn(u64, i64) -> String) -> Result<Self> {
        let client = kelly.client()?;
        let way = Way::Http { client, url: kelly.url(RECORD_PATH) };
        Ok(Self::start(way, per_second, metric_json, None))
    }

    /// Metrics acknowledged so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Stops it; tells whether all went well.
    pub async fn end(self) -> Result<()> {
        // It ends by itself when it failed.
        let _ = self.stop.send(true);
        self.task.await.context("the producer panicked")?
    }
}
