//! What the demo's traffic takes on disk: thirty days of it through the whole product, measured table
//! by table, and from that a month of 1,000 daily active conversations.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use comfy_table::Table as TextTable;
use serde_json::json;

use crate::kelly::Kelly;
use crate::{Report, machine};

/// How long the demo's past may take.
const PATIENCE: Duration = Duration::from_secs(180);
/// The row counts have settled when two looks this far apart agree within what is live.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Live rows between two looks stay below this.
const LIVE_ROWS: f64 = 1_000.0;
const DAYS: f64 = 30.0;
const CONVERSATIONS: f64 = 1_000.0;
const TABLES: [&str; 4] = ["system_metrics", "metric_rollups", "activity_events", "activity_first_seen"];
const RAW: &str = "system_metrics";

/// What to measure.
#[derive(Debug, Default, Args)]
pub struct Options {}

/// Runs the demo with raw metrics kept for all of it.
pub async fn run(_options: &Options) -> Result<Report> {
    // Raw rows are kept for the whole month, so that all of them are measured; what a shorter retention
    // leaves is computed.
    let kelly = Kelly::start(&["up", "--demo"], &[("MONITORING_METRICS_RETENTION_HOURS", "744")]).await?;
    until_settled(&kelly).await?;
    let mut sizes = Vec::new();
    for table in TABLES {
        kelly.query(&format!("OPTIMIZE TABLE {table} FINAL")).await?;
        let part = |column: &str| {
            format!(
                "SELECT sum({column}) FROM system.parts WHERE database = 'kelly' AND table = '{table}' AND active"
            )
        };
        sizes.push((table, kelly.number(&part("rows")).await?, kelly.number(&part("bytes_on_disk")).await?));
    }
    let daily = kelly
        .number(
            "SELECT avg(conversations) FROM (SELECT uniqExact(conversation_id) AS conversations FROM \
             metric_rollups WHERE tier = 'conversation_day' AND conversation_id != '' AND t < toStartOfDay(now()) GROUP BY t)",
        )
        .await?;
    kelly.end().await?;

    let month = |bytes: f64| bytes / daily * CONVERSATIONS / 1e9;
    let mut table = TextTable::new();
    table.set_header([
        "storage, 30 days of the demo",
        "rows",
        "MB",
        "bytes a row",
        "GB a month for 1,000 daily active conversations",
    ]);
    let (mut kept, mut all, mut cases) = (0.0, 0.0, Vec::new());
    let mut raw_row = 0.0;
    for &(name, rows, bytes) in &sizes {
        all += bytes;
        // The default keeps raw metrics for three days.
        kept += if name == RAW { bytes * 3.0 / DAYS } else { bytes };
        if name == RAW {
            raw_row = bytes / rows.max(1.0);
        }
        table.add_row([
            name.to_owned(),
            format!("{rows:.0}"),
            format!("{:.2}", bytes / 1e6),
            format!("{:.1}", bytes / rows.max(1.0)),
            format!("{:.3}", month(bytes)),
        ]);
        cases.push(
            json!({"table": name, "rows": rows, "bytes": bytes, "bytes_per_row": bytes / rows.max(1.0)}),
        );
    }
    let together = |name: &str, bytes: f64| {
        [
            name.to_owned(),
            "-".to_owned(),
            format!("{:.2}", bytes / 1e6),
            "-".to_owned(),
            format!("{:.3}", month(bytes)),
        ]
    };
    table.add_row(together("all, raw kept 72 h (the default)", kept));
    table.add_row(together("all, raw kept 30 days", all));
    let json = json!({
        "bench": "storage",
        "daily_active_conversations": daily,
        "raw_bytes_per_row": raw_row,
        "gb_a_month_per_1000_daily_conversations": {"raw_72_hours": month(kept), "raw_30_days": month(all)},
        "machine": machine::describe(),
        "cases": cases,
    });
    Ok(Report { table, json, failed: false })
}

/// The demo's past is on the log when its note is written; then ingest has to have it in the store.
async fn until_settled(kelly: &Kelly) -> Result<()> {
    let begun = Instant::now();
    let mut before = -LIVE_ROWS;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let rows = kelly.number("SELECT count() FROM system_metrics").await?;
        let oldest = kelly
            .number("SELECT dateDiff('hour', (SELECT min(timestamp) FROM system_metrics), (SELECT max(timestamp) FROM system_metrics))")
            .await
            .context("how far the demo reaches")?;
        if oldest >= DAYS * 24.0 - 3.0 && rows - before < LIVE_ROWS {
            return Ok(());
        }
        before = rows;
        if begun.elapsed() > PATIENCE {
            bail!(
                "the demo's past is not there after {} s: {rows} rows over {oldest} hours",
                PATIENCE.as_secs()
            );
        }
    }
}
