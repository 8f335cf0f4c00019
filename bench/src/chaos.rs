//! Whether anything is lost or counted twice: kelly, its engine and the broker are killed at random
//! points under load, and in the end every table is held against what the log acknowledged.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;
use comfy_table::Table as TextTable;
use kelly_harness::chance::Chance;
use kelly_harness::chaos::{self, Blow, Plan, Under};
use serde_json::{Value, json};

use crate::ingest::{Source, progress};
use crate::{Report, machine};

/// How often to kill, at which points, and over which log.
#[derive(Debug, Args)]
pub struct Options {
    /// Deaths of kelly, over both logs; the engine and the broker die beside it
    #[arg(long, default_value_t = 200)]
    kills: u64,
    /// Seed of the random points; printed in the answer, from the clock when left out
    #[arg(long)]
    seed: Option<u64>,
    /// The log under it; both, half of the kills each, when left out
    #[arg(long)]
    source: Option<Source>,
}

impl Default for Options {
    fn default() -> Self {
        Self { kills: 200, seed: None, source: None }
    }
}

/// What may happen: kelly dies most often, for its death is what exactly-once is about.
const BLOWS: [Blow; 11] = [
    Blow::Kelly,
    Blow::Kelly,
    Blow::Kelly,
    Blow::Both,
    Blow::Both,
    Blow::Starting,
    Blow::Starting,
    Blow::Engine,
    Blow::Engine,
    Blow::Pause,
    Blow::Broker,
];

/// Runs it. The report says what was lost; [`Report::failed`] says whether anything was.
pub async fn run(options: &Options) -> Result<Report> {
    let chance = options.seed.map_or_else(Chance::from_environment, Chance::from_seed);
    let runs = match options.source {
        Some(source) => vec![(source, options.kills)],
        None => {
            vec![(Source::Kafka, options.kills.div_ceil(2)), (Source::Embedded, options.kills / 2)]
        }
    };
    let mut table = TextTable::new();
    table.set_header(["log", "table", "acknowledged and there", "found", "lost", "twice", "wrong"]);
    let (mut cases, mut total, mut is_exact) = (Vec::new(), Total::default(), true);
    for (part, (source, kills)) in runs.into_iter().enumerate() {
        let (under, name) = match source {
            Source::Kafka => (Under::Kafka, "kafka"),
            Source::Embedded => (Under::Embedded, "embedded"),
        };
        let bar = progress("killing", kills);
        let begun = Instant::now();
        let plan = Plan {
            under,
            kills,
            chance: chance.split(part as u64),
            blows: BLOWS.to_vec(),
            pace: Duration::from_millis(5),
        };
        let (done, verdict) = chaos::run(plan, |kills| bar.set_position(kills)).await?;
        bar.finish_and_clear();
        is_exact &= verdict.is_exact();
        if !verdict.is_exact() {
            eprintln!("{name}, seed {}: {verdict}", chance.seed());
        }
        let tables = verdict.json();
        for (table_name, found) in tables.as_object().into_iter().flatten() {
            let column = |key: &str| found[key].to_string();
            table.add_row([
                name.to_owned(),
                table_name.clone(),
                column("expected"),
                column("found"),
                column("lost"),
                column("twice"),
                column("wrong"),
            ]);
        }
        total.kills += done.kelly;
        total.acknowledged += verdict.acknowledged;
        total.lost += verdict.lost();
        total.twice += verdict.twice();
        total.wrong += verdict.wrong();
        cases.push(json!({
            "source": name,
            "kills": {"kelly": done.kelly, "engine": done.engine, "broker": done.broker, "pauses": done.pauses},
            "acknowledged": verdict.acknowledged,
            "refused": verdict.refused,
            "unknown": verdict.unknown,
            "tables": tables,
            "seconds": begun.elapsed().as_secs_f64(),
        }));
    }
    let Total { kills, acknowledged, lost, twice, wrong } = total;
    let json = json!({
        "bench": "chaos",
        "kills": kills,
        "seed": chance.seed(),
        "acknowledged": acknowledged,
        "lost": lost,
        "twice": twice,
        "wrong": wrong,
        "cases": Value::Array(cases),
        "machine": machine::describe(),
    });
    if acknowledged == 0 {
        bail!("nothing was acknowledged, so nothing could be lost: {json}");
    }
    Ok(Report { table, json, failed: !is_exact })
}

/// Over both logs.
#[derive(Default)]
struct Total {
    kills: u64,
    acknowledged: u64,
    lost: u64,
    twice: u64,
    wrong: u64,
}
