//! `kelly-bench`: benchmarks against the targets of the design. Each prints a table for people on
//! standard error and one JSON object as the last line of standard output.

mod chaos;
mod ingest;
mod machine;
mod processes;
mod query;
mod traffic;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
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
    /// Drain a backlog of JSON metrics into the store, rollups on
    Ingest(ingest::Options),
    /// Answer the detailed endpoint's question over 30 days, 60 metrics and 200 accounts
    Query(query::Options),
    /// Kill everything at random points and look whether a row is lost or there twice
    Chaos(chaos::Options),
    /// Every benchmark with its defaults
    All,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    let reports = match &cli.bench {
        Bench::Ingest(options) => vec![ingest::run(options).await?],
        Bench::Query(options) => vec![query::run(options).await?],
        Bench::Chaos(options) => vec![chaos::run(options).await?],
        Bench::All => vec![
            ingest::run(&ingest::Options::default()).await?,
            query::run(&query::Options::default()).await?,
            chaos::run(&chaos::Options::default()).await?,
        ],
    };
    let failed = reports.iter().any(|report| report.failed);
    for report in reports {
        if !cli.json {
            eprintln!("{}", report.table);
        }
        print_json(&report.json);
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What a benchmark found.
struct Report {
    table: comfy_table::Table,
    json: Value,
    /// What must hold does not, and the exit code says so.
    failed: bool,
}

#[expect(clippy::print_stdout, reason = "the JSON object on standard output is this program's answer")]
fn print_json(json: &Value) {
    println!("{json}");
}
