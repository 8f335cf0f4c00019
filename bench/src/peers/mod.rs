//! Kelly against what one would otherwise take: the same Kafka topic, the same broker, the same tables,
//! an engine of its own for each contender, one after the other in one run.

mod kafka_engine;
mod python;
mod views;

pub use python::program as python_program;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use comfy_table::Table as TextTable;
use serde_json::json;

use self::kafka_engine::{Setup, Until};
use crate::ingest::{self, Backlog, Format, Source};
use crate::processes::CpuWatch;
use crate::store::{FreshStore, Overrides};
use crate::{Report, machine};

/// The share of the rows at which a contender's steady rate is read: what it does at the end of a
/// backlog, where a block waits for its flush interval, is left out of that.
const STEADY_SHARE: f64 = 0.6;

/// What to measure.
#[derive(Debug, Args)]
pub struct Options {
    /// Metrics on the topic
    #[arg(long, default_value_t = 4_000_000)]
    rows: u64,
    /// Metrics the Python consumer reads; 0 leaves it out
    #[arg(long, default_value_t = 800_000)]
    python_rows: u64,
    /// Partitions of the topic
    #[arg(long, default_value_t = 4)]
    partitions: u32,
    /// Leave out the search for the Kafka engine's best setting
    #[arg(long)]
    no_search: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { rows: 4_000_000, python_rows: 800_000, partitions: 2, no_search: false }
    }
}

/// What every contender reads.
pub struct Topic<'a> {
    bootstrap: &'a str,
    name: &'a str,
    rows: u64,
    broker: u32,
}

/// What a run took.
pub struct Figures {
    rows: u64,
    begun: Instant,
    cpu: CpuWatch,
    /// When the steady share was first there, and how many rows that were.
    steady: Option<(Duration, u64)>,
    whole: Option<Duration>,
    used: Vec<(&'static str, Duration)>,
    seen: u64,
}

/// Starts the clock.
fn watch(rows: u64, watched: &[(&'static str, u32)]) -> Result<Figures> {
    let cpu = CpuWatch::start(watched)?;
    Ok(Figures { rows, begun: Instant::now(), cpu, steady: None, whole: None, used: Vec::new(), seen: 0 })
}

impl Figures {
    /// Notes that so many rows are in the store.
    fn saw(&mut self, rows: u64) -> Result<()> {
        self.saw_at(rows, self.begun.elapsed())
    }

    /// Notes that so many rows were in the store at a time since the beginning.
    fn saw_at(&mut self, rows: u64, at: Duration) -> Result<()> {
        self.seen = rows;
        if self.steady.is_none() && rows as f64 >= self.rows as f64 * STEADY_SHARE {
            self.steady = Some((at, rows));
            self.used = self.cpu.used()?;
        }
        Ok(())
    }

    fn is_steady(&self) -> bool {
        self.steady.is_some()
    }

    fn finish(&mut self) -> Result<()> {
        self.finish_at(self.begun.elapsed())
    }

    fn finish_at(&mut self, at: Duration) -> Result<()> {
        self.saw_at(self.rows, at)?;
        self.whole = Some(at);
        self.used = self.cpu.used()?;
        Ok(())
    }

    fn is_finished(&self) -> bool {
        self.whole.is_some()
    }

    /// Rows a second up to the steady share.
    fn steady_rate(&self) -> f64 {
        self.steady.map_or(0.0, |(took, rows)| rows as f64 / took.as_secs_f64())
    }

    fn whole_rate(&self) -> Option<f64> {
        self.whole.map(|took| self.rows as f64 / took.as_secs_f64())
    }

    /// Microseconds a row of one process; the rows are those that were there when it was read.
    fn cpu(&self, name: &str) -> Option<f64> {
        let rows = if self.whole.is_some() { self.rows } else { self.steady?.1 };
        let (_, used) = self.used.iter().find(|(process, _)| *process == name)?;
        Some(used.as_secs_f64() * 1e6 / rows as f64)
    }

    /// Microseconds a row of whoever reads and of the engine; the broker is the same for all.
    fn cpu_of_reader_and_engine(&self) -> f64 {
        ["kelly", "python", "engine"].iter().filter_map(|name| self.cpu(name)).sum()
    }
}

/// One line of the table.
struct Entry {
    contender: &'static str,
    setting: String,
    figures: Figures,
}

/// Runs every contender.
pub async fn run(options: &Options) -> Result<Report> {
    if options.python_rows > 0 {
        // The last contender must not be found missing when the others have run.
        python::program()?;
    }
    let backlog = Backlog {
        source: Source::Kafka,
        format: Format::Json,
        rows: options.rows,
        rows_a_message: 1,
        partitions: options.partitions,
    };
    let prepared = ingest::prepare(&backlog).await?;
    let broker = prepared.broker.as_ref().context("a backlog on Kafka has a broker")?;
    let topic = Topic {
        bootstrap: broker.bootstrap(),
        name: kelly_schemas::Stream::Metrics.topic(),
        rows: options.rows,
        broker: broker.pid().context("the broker's process")?,
    };
    let mut entries = Vec::new();
    let mut enter = |contender, setting: String, figures: Figures| {
        eprintln!("{contender} ({setting}): {:.0} rows/s steady", figures.steady_rate());
        entries.push(Entry { contender, setting, figures });
    };

    enter("kelly", "as it is".to_owned(), kelly(&prepared, &topic, "peers-first").await?);
    let documented = Setup::documented();
    let figures = kafka_engine::run(&documented, &topic, Until::Drained).await?;
    let mut best = (documented.clone(), figures.steady_rate());
    enter("kafka engine", documented.to_string(), figures);
    if !options.no_search {
        let mut step = 0;
        while let Some(setups) = best.0.alternatives(step, options.partitions) {
            for setup in setups {
                let figures = kafka_engine::run(&setup, &topic, Until::Steady).await?;
                if figures.steady_rate() > best.1 {
                    best = (setup.clone(), figures.steady_rate());
                }
                enter("kafka engine, tried", setup.to_string(), figures);
            }
            step += 1;
        }
        let figures = kafka_engine::run(&best.0, &topic, Until::Drained).await?;
        enter("kafka engine at its best", best.0.to_string(), figures);
    }
    if options.python_rows > 0 {
        let topic = Topic { rows: options.python_rows.min(options.rows), ..topic };
        enter("python", "confluent-kafka, clickhouse-connect".to_owned(), python::run(&topic).await?);
    }
    // Once more at the end: what the machine did meanwhile must not decide.
    enter("kelly", "again".to_owned(), kelly(&prepared, &topic, "peers-again").await?);
    prepared.log.close().await?;
    Ok(report(options, &entries))
}

async fn kelly(prepared: &ingest::Prepared, topic: &Topic<'_>, group: &str) -> Result<Figures> {
    let store = FreshStore::start(&Overrides::default()).await?;
    let watched = [("kelly", std::process::id()), ("engine", store.pid()?), ("broker", topic.broker)];
    let drain = ingest::Drain { group: Some(group.to_owned()), batch_rows: None };
    let mut figures = None;
    ingest::drain(prepared, store.store(), &drain, |seen| {
        match seen {
            ingest::Seen::Begins => figures = Some(watch(topic.rows, &watched)?),
            ingest::Seen::Rows(rows) => figures.as_mut().map_or(Ok(()), |figures| figures.saw(rows))?,
            ingest::Seen::Done => figures.as_mut().map_or(Ok(()), Figures::finish)?,
        }
        Ok(())
    })
    .await?;
    kafka_engine::verify(&store, topic.rows).await?;
    store.end().await;
    figures.context("the drain never began")
}

fn report(options: &Options, entries: &[Entry]) -> Report {
    // The worse of Kelly's two runs stands for it.
    let of = |contender: &str| {
        let runs = entries.iter().filter(|entry| entry.contender == contender).map(|entry| &entry.figures);
        runs.min_by(|one, other| one.steady_rate().total_cmp(&other.steady_rate()))
    };
    let kelly = of("kelly");
    let whole = |figures: &Figures| figures.whole_rate().unwrap_or_else(|| figures.steady_rate());
    let ratio = |peer: &Figures| kelly.map(|kelly| kelly.steady_rate() / peer.steady_rate());
    let mut table = TextTable::new();
    table.set_header([
        "contender",
        "setting",
        "rows",
        "rows/s to the last row",
        "rows/s steady",
        "kelly is faster by (steady)",
        "us CPU a row: reader",
        "engine",
        "broker",
        "reader + engine",
    ]);
    let shown = |number: Option<f64>, digits: usize| {
        number.map_or_else(|| "-".to_owned(), |number| format!("{number:.digits$}"))
    };
    let mut cases = Vec::new();
    for Entry { contender, setting, figures } in entries {
        let reader = figures.cpu("kelly").or_else(|| figures.cpu("python"));
        table.add_row([
            (*contender).to_owned(),
            setting.clone(),
            figures.rows.to_string(),
            shown(figures.whole_rate(), 0),
            shown(Some(figures.steady_rate()), 0),
            if *contender == "kelly" { "-".to_owned() } else { shown(ratio(figures), 2) },
            shown(reader, 2),
            shown(figures.cpu("engine"), 2),
            shown(figures.cpu("broker"), 2),
            shown(Some(figures.cpu_of_reader_and_engine()), 2),
        ]);
        cases.push(json!({
            "bench": "peers",
            "contender": contender,
            "setting": setting,
            "source": "kafka",
            "format": "json",
            "rows": figures.rows,
            "rows_per_s": figures.whole_rate(),
            "steady_rows_per_s": figures.steady_rate(),
            "cpu_us_per_row": {
                "kelly": figures.cpu("kelly"), "python": figures.cpu("python"),
                "engine": figures.cpu("engine"), "broker": figures.cpu("broker"),
            },
        }));
    }
    let against = |contender: &str| {
        let (kelly, peer) = (kelly?, of(contender)?);
        Some(json!({
            "steady": kelly.steady_rate() / peer.steady_rate(),
            "to_the_last_row": whole(kelly) / whole(peer),
            "cpu_a_row": peer.cpu_of_reader_and_engine() / kelly.cpu_of_reader_and_engine(),
        }))
    };
    let json = json!({
        "bench": "peers",
        "rows": options.rows,
        "partitions": options.partitions,
        "machine": machine::describe(),
        "ratios": {
            "kafka_engine_documented": against("kafka engine"),
            "kafka_engine_best": against("kafka engine at its best"),
            "python": against("python"),
        },
        "cases": cases,
    });
    Report { table, json, failed: false }
}
