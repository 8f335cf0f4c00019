//! `kelly-bench`: benchmarks against the targets of the design. Each prints a table for people on
//! standard error and one JSON object as the last line of standard output.

mod alert_latency;
mod anomaly_events;
mod chaos;
mod evaluate;
mod flood;
mod freshness;
mod http_load;
mod idle;
mod ingest;
mod kelly;
mod live;
mod machine;
mod nab;
mod peers;
mod processes;
mod query;
mod record;
mod results;
mod series;
mod storage;
mod store;
mod traffic;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde_json::Value;

/// Benchmarks of Kelly's pipeline and queries, on real engines and real Apache Kafka
#[derive(Parser)]
#[command(name = "kelly-bench", version)]
struct Cli {
    /// Print nothing but the JSON object
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// Drain a backlog of metrics, as JSON and as Arrow, into the store, rollups on
    Ingest(ingest::Options),
    /// Drain one Kafka topic with Kelly, with ClickHouse's Kafka engine, and with a Python consumer
    Peers(peers::Options),
    /// Record one metric a request over HTTP, 10,000 offered a second, open loop
    Record(record::Options),
    /// How old a metric is when it can be queried, and what a steady rate costs
    Freshness(freshness::Options),
    /// Answer the detailed endpoint's question over 30 days, 60 metrics and 200 accounts
    Query(query::Options),
    /// Broadcast events to a thousand WebSockets, hold ten thousand, cut and stall them
    Live(live::Options),
    /// Ask and record while another user floods
    Flood(flood::Options),
    /// Judge metrics with twenty rules on one core, and what a series takes in memory
    Evaluate(evaluate::Options),
    /// From a bad row on Kafka to the decision that its alert is raised, beside a steady rate
    AlertLatency(alert_latency::Options),
    /// Find anomalies in the open files of the Numenta Anomaly Benchmark, scored as Numenta does
    Nab(nab::Options),
    /// Find labelled events in real service telemetry, beside a constant threshold and HalfSpaceTrees
    AnomalyEvents(anomaly_events::Options),
    /// Memory, CPU time and readiness of a `kelly up` nobody uses
    Idle(idle::Options),
    /// Bytes of thirty days of the demo's traffic
    Storage(storage::Options),
    /// Kill everything at random points and look whether a row is lost or there twice
    Chaos(chaos::Options),
    /// Every benchmark with its defaults; what each found goes into the results file
    All(All),
}

#[derive(Args)]
struct All {
    /// Only these
    #[arg(long, value_delimiter = ',', value_name = "NAME,NAME")]
    only: Option<Vec<Name>>,
    /// All but these
    #[arg(long, value_delimiter = ',', value_name = "NAME,NAME")]
    skip: Vec<Name>,
    /// Where results.json and results.md are
    #[arg(long, default_value = "bench/results", value_name = "DIR")]
    results: PathBuf,
}

/// Benchmarks in the order in which all of them run.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    Idle,
    Ingest,
    Peers,
    Record,
    Freshness,
    Query,
    Live,
    Flood,
    Evaluate,
    AlertLatency,
    Nab,
    AnomalyEvents,
    Storage,
    Chaos,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    let report = match &cli.bench {
        Bench::Ingest(options) => ingest::run(options).await?,
        Bench::Peers(options) => peers::run(options).await?,
        Bench::Record(options) => record::run(options).await?,
        Bench::Freshness(options) => freshness::run(options).await?,
        Bench::Query(options) => query::run(options).await?,
        Bench::Live(options) => live::run(options).await?,
        Bench::Flood(options) => flood::run(options).await?,
        Bench::Evaluate(options) => evaluate::run(options).await?,
        Bench::AlertLatency(options) => alert_latency::run(options).await?,
        Bench::Nab(options) => nab::run(options).await?,
        Bench::AnomalyEvents(options) => anomaly_events::run(options).await?,
        Bench::Idle(options) => idle::run(options).await?,
        Bench::Storage(options) => storage::run(options).await?,
        Bench::Chaos(options) => chaos::run(options).await?,
        Bench::All(options) => return all(options, cli.json).await,
    };
    Ok(show(&report, cli.json))
}

/// One after the other. One that fails is reported and does not keep the others from running.
async fn all(options: &All, only_json: bool) -> Result<ExitCode> {
    let stamp = results::Stamp::take().await?;
    let mut code = ExitCode::SUCCESS;
    for &name in Name::value_variants() {
        if options.skip.contains(&name) || options.only.as_ref().is_some_and(|only| !only.contains(&name)) {
            continue;
        }
        let text = name.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        let begun = std::time::Instant::now();
        let report = match name {
            Name::Idle => idle::run(&idle::Options::default()).await,
            Name::Ingest => ingest::run(&ingest::Options::default()).await,
            Name::Peers => peers::run(&peers::Options::default()).await,
            Name::Record => record::run(&record::Options::default()).await,
            Name::Freshness => freshness::run(&freshness::Options::default()).await,
            Name::Query => query::run(&query::Options::default()).await,
            Name::Live => live::run(&live::Options::default()).await,
            Name::Flood => flood::run(&flood::Options::default()).await,
            Name::Evaluate => evaluate::run(&evaluate::Options::default()).await,
            Name::AlertLatency => alert_latency::run(&alert_latency::Options::default()).await,
            Name::Nab => nab::run(&nab::Options::default()).await,
            Name::AnomalyEvents => anomaly_events::run(&anomaly_events::Options::default()).await,
            Name::Storage => storage::run(&storage::Options::default()).await,
            Name::Chaos => chaos::run(&chaos::Options::default()).await,
        };
        match report {
            Ok(report) => {
                results::write(&options.results, &text, &report, &stamp)?;
                if show(&report, only_json) == ExitCode::FAILURE {
                    code = ExitCode::FAILURE;
                }
            }
            Err(error) => {
                eprintln!("{text} failed: {error:#}");
                code = ExitCode::FAILURE;
            }
        }
        eprintln!("{text}: {} s", begun.elapsed().as_secs());
    }
    Ok(code)
}

fn show(report: &Report, only_json: bool) -> ExitCode {
    if !only_json {
        eprintln!("{}", report.table);
    }
    print_json(&report.json);
    if report.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// What a benchmark found.
struct Report {
    table: comfy_table::Table,
    json: Value,
    /// What must hold does not, and the exit code says so.
    failed: bool,
}

impl Report {
    /// The table as Markdown.
    fn markdown(&self) -> String {
        let mut table = self.table.clone();
        table.load_style(comfy_table::presets::ASCII_MARKDOWN);
        table.to_string()
    }
}

#[expect(clippy::print_stdout, reason = "the JSON object on standard output is this program's answer")]
fn print_json(json: &Value) {
    println!("{json}");
}
