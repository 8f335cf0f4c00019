//! One metric a request over HTTP, durable when it is answered: 10,000 requests offered a second, open
//! loop, against a `kelly up` whose ingest runs.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use clap::Args;
use comfy_table::Table as TextTable;
use kelly_harness::{BrokerOptions, KafkaBroker};
use serde_json::json;
use std::time::{Duration, Instant};

use crate::http_load::{self, Load, Server};
use crate::ingest::Source;
use crate::kelly::{Kelly, RECORD_PATH};
use crate::processes::CpuWatch;
use crate::{Report, machine, traffic};

/// Different requests; they are sent in turn.
const REQUESTS: u64 = 5_000;
/// How long ingest may take to have what was accepted in the store.
const PATIENCE: Duration = Duration::from_secs(60);

/// What to measure.
#[derive(Debug, Args)]
pub struct Options {
    /// Requests offered a second
    #[arg(long, default_value_t = 10_000)]
    per_second: u64,
    /// Seconds measured, after five of warm-up
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Keep-alive connections, one request at a time on each
    #[arg(long, default_value_t = 128)]
    connections: usize,
    /// The log behind it: fsynced by itself, or Apache Kafka with acks=all
    #[arg(long, default_value = "embedded")]
    source: Source,
    /// Partitions of the topics; Kelly's own default when left out
    #[arg(long)]
    partitions: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self { per_second: 10_000, seconds: 20, connections: 128, source: Source::Embedded, partitions: None }
    }
}

/// Offers the load.
pub async fn run(options: &Options) -> Result<Report> {
    let broker = match options.source {
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
    let server = Server { address: kelly.address(), token: kelly.token()? };
    let requests = (0..REQUESTS)
        .map(|number| server.post(RECORD_PATH, &traffic::untimed_metric_json(number)))
        .collect::<Vec<Bytes>>();
    let mut watched =
        vec![("kelly", kelly.pid()?), ("engine", kelly.engine_pid()?), ("load", std::process::id())];
    watched.extend(broker.as_ref().and_then(KafkaBroker::pid).map(|pid| ("broker", pid)));
    let cpu = CpuWatch::start(&watched)?;
    let begun = Instant::now();
    let load = Load {
        address: kelly.address(),
        requests,
        connections: options.connections,
        good: [202, 202],
        measured: Duration::from_secs(options.seconds),
        warm_up: Duration::from_secs(5),
    };
    let outcome = http_load::open_loop(load, options.per_second).await?;
    let cpu_percent = cpu.percent_of_a_core(begun.elapsed())?;

    // Every accepted metric, and none twice. Those of an error may be there or not.
    let begun = Instant::now();
    let question = format!("SELECT count() FROM system_metrics WHERE user_id = '{}'", traffic::UNTIMED_USER);
    loop {
        let stored = kelly.number(&question).await? as u64;
        if stored > outcome.good + outcome.errors {
            bail!("{} metrics were accepted, {stored} are stored", outcome.good);
        }
        if stored >= outcome.good {
            break;
        }
        if begun.elapsed() > PATIENCE {
            bail!(
                "{} metrics were accepted, {stored} are stored after {} s",
                outcome.good,
                PATIENCE.as_secs()
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    kelly.end().await.context("ending kelly")?;

    let mut table = TextTable::new();
    table.set_header([
        "record, log",
        "offered/s",
        "achieved/s",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "errors",
        "connections",
        "% of a core: kelly",
        "engine",
        "broker",
        "load",
    ]);
    let percent =
        |name: &str| cpu_percent.get(name).map_or_else(|| "-".to_owned(), |percent| format!("{percent:.0}"));
    table.add_row([
        if broker.is_some() { "kafka" } else { "embedded" }.to_owned(),
        options.per_second.to_string(),
        format!("{:.0}", outcome.achieved_per_s),
        format!("{:.2}", outcome.milliseconds(0.5)),
        format!("{:.2}", outcome.milliseconds(0.99)),
        format!("{:.2}", outcome.milliseconds(0.999)),
        outcome.errors.to_string(),
        options.connections.to_string(),
        percent("kelly"),
        percent("engine"),
        percent("broker"),
        percent("load"),
    ]);
    let mut json = outcome.json(Some(options.per_second));
    json["bench"] = json!("record");
    json["source"] = json!(if broker.is_some() { "kafka" } else { "embedded" });
    json["connections"] = json!(options.connections);
    json["cpu_percent_of_a_core"] = json!(cpu_percent);
    json["machine"] = machine::describe();
    Ok(Report { table, json, failed: false })
}
