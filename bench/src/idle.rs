//! What `kelly up` takes when nobody uses it, and how soon it is ready.

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use comfy_table::Table as TextTable;
use serde_json::json;

use crate::kelly::{Kelly, resident_mib};
use crate::processes::CpuWatch;
use crate::{Report, machine};

/// What to measure.
#[derive(Debug, Args)]
pub struct Options {
    /// Seconds measured
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Seconds let pass before
    #[arg(long, default_value_t = 10)]
    settle: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { seconds: 30, settle: 10 }
    }
}

/// Starts one and leaves it alone; starts it again on the same directory.
pub async fn run(options: &Options) -> Result<Report> {
    let kelly = Kelly::start(&["up"], &[]).await?;
    let fresh = kelly.ready_after;
    tokio::time::sleep(Duration::from_secs(options.settle)).await;
    let (own, engine) = (kelly.pid()?, kelly.engine_pid()?);
    let cpu = CpuWatch::start(&[("kelly", own), ("engine", engine)])?;
    let begun = Instant::now();
    tokio::time::sleep(Duration::from_secs(options.seconds)).await;
    let percent = cpu.percent_of_a_core(begun.elapsed())?;
    let resident = [resident_mib(own)?, resident_mib(engine)?];
    let kelly = kelly.restart(&["up"]).await?;
    let again = kelly.ready_after;
    kelly.end().await?;

    let (total_mib, total_percent) = (resident.iter().sum::<f64>(), percent.values().sum::<f64>());
    let seconds = |duration: Duration| format!("{:.2}", duration.as_secs_f64());
    let mut table = TextTable::new();
    table.set_header([
        "idle",
        "MiB resident: kelly",
        "engine",
        "together",
        "% of a core: kelly",
        "engine",
        "together",
        "ready s, fresh directory",
        "ready s, again",
    ]);
    table.add_row([
        "kelly up".to_owned(),
        format!("{:.0}", resident[0]),
        format!("{:.0}", resident[1]),
        format!("{total_mib:.0}"),
        format!("{:.2}", percent["kelly"]),
        format!("{:.2}", percent["engine"]),
        format!("{total_percent:.2}"),
        seconds(fresh),
        seconds(again),
    ]);
    let json = json!({
        "bench": "idle",
        "seconds": options.seconds,
        "resident_mib": {"kelly": resident[0], "engine": resident[1], "together": total_mib},
        "cpu_percent_of_a_core": {"kelly": percent["kelly"], "engine": percent["engine"], "together": total_percent},
        "ready_s": {"fresh": fresh.as_secs_f64(), "again": again.as_secs_f64()},
        "machine": machine::describe(),
    });
    Ok(Report { table, json, failed: false })
}
