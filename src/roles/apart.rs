//! The roles that run apart, over a shared log and store: `kelly ingest`, `kelly serve`, `kelly evaluate`, and
//! `kelly migrate` before them.

use std::sync::Arc;
use std::time::Duration;

use indicatif::ProgressBar;
use kelly_api::LatencyBook;
use kelly_cli::output;
use kelly_sql::MigrationReport;
use tokio_util::sync::CancellationToken;

use super::http::{self, Backends};
use super::monitor::{self, Machine, Sources};
use super::parts::{self, Part, Parts};
use super::{
    Process, control, directory, live, needs_shared, needs_shared_log, notify, open, retention, rules,
    status, traces,
};
use crate::access::{self, SecretPlace};
use crate::config::StoreTarget;

/// Moves records from the log to the store until told to stop.
pub async fn ingest(process: Process) -> anyhow::Result<()> {
    parts::run(&process.stop, async |parts| Box::pin(start_ingest(&process, parts)).await).await
}

async fn start_ingest(process: &Process, parts: &Parts) -> anyhow::Result<()> {
    let machine = Machine::new();
    let config = &process.loaded.config;
    needs_shared("ingest", config)?;
    let store = parts.start(open::store(config)).await?;
    open::verify_tables(config, &store).await?;
    let log = parts.start(open::log(config)).await?;
    parts.start(control::keep(config, &log, &store)).await?;
    let started = parts.start(Box::pin(super::ingest::start(config, &log, &store))).await?;
    parts.add(retention::part(config, &store, started.raw_retention));
    let progress = started.progress;
    let sources = Sources {
        log: log.clone(),
        ingest: Some(progress.clone()),
        latencies: None,
        data: std::env::temp_dir(),
    };
    parts.add(monitor::part(config, machine, sources));
    tracing::info!(log = log.describe(), store = %config.store, "kelly ingest is ready");
    parts.start(status::start(progress, process.bars.clone())).await
}

/// Answers over HTTP until told to stop.
pub async fn serve(process: Process) -> anyhow::Result<()> {
    parts::run(&process.stop, async |parts| Box::pin(start_serve(&process, parts)).await).await
}

async fn start_serve(process: &Process, parts: &Parts) -> anyhow::Result<()> {
    let machine = Machine::new();
    let config = &process.loaded.config;
    needs_shared("serve", config)?;
    let catalogue = open::catalogue(&process.loaded)?;
    let access = access::open(&process.loaded, SecretPlace::Shared).await?;
    let address = http::claim(config.general.listen)?;
    let store = parts.start(open::store(config)).await?;
    open::verify_tables(config, &store).await?;
    let log = parts.start(open::log(config)).await?;
    let decisions = parts.start(Box::pin(control::start(config, &log))).await?;
    let notifications = parts.start(Box::pin(notify::start(config, &log, &decisions))).await?;
    let rules = parts.start(rules::start(config, &decisions)).await?;
    let latencies = Arc::new(LatencyBook::default());
    let sources = Sources {
        log: log.clone(),
        ingest: None,
        latencies: Some(latencies.clone()),
        data: std::env::temp_dir(),
    };
    parts.add(monitor::part(config, machine, sources));
    let export = parts.start(traces::start(&config.tracing)).await?;
    let log_levels = process.log_levels.clone();
    parts.add(Part::task("log levels", |stop| log_levels.clone().keep_ends(stop)));
    let live = parts.start(live::start(config, &log)).await?;
    parts.add(live::push_alerts(&*log, &live, &decisions));
    let backends = Backends {
        config,
        catalogue,
        log: log.clone(),
        store,
        ingest: None,
        latencies,
        export,
        log_levels,
        live,
        decisions,
        evaluator: None,
        notifications,
        access: &access,
        rules: Arc::new(rules),
    };
    parts.start(http::start(address, backends)).await?;
    tracing::info!(listen = %config.general.listen, log = log.describe(), store = %config.store, "kelly serve is ready");
    Ok(())
}

/// Judges metrics by the alert rules until told to stop.
pub async fn evaluate(process: Process) -> anyhow::Result<()> {
    parts::run(&process.stop, async |parts| Box::pin(start_evaluate(&process, parts)).await).await
}

async fn start_evaluate(process: &Process, parts: &Parts) -> anyhow::Result<()> {
    let config = &process.loaded.config;
    needs_shared_log("evaluate", config)?;
    let log = parts.start(open::log(config)).await?;
    let decisions = parts.start(Box::pin(control::start(config, &log))).await?;
    let rules = parts.start(rules::start(config, &decisions)).await?;
    parts.start(Box::pin(super::evaluate::start(config, &log, &decisions, rules))).await?;
    tracing::info!(log = log.describe(), "kelly evaluate is ready");
    Ok(())
}

/// Brings the tables to what this version needs, and ends.
pub async fn migrate(process: Process) -> anyhow::Result<()> {
    let done = CancellationToken::new();
    let work = parts::run(&done, async |parts| {
        let report = Box::pin(start_migrate(&process, parts)).await?;
        done.cancel();
        output::line(describe(&report))
    });
    work.await
}

async fn start_migrate(process: &Process, parts: &Parts) -> anyhow::Result<MigrationReport> {
    let config = &process.loaded.config;
    // The embedded store belongs to one process; a running `kelly up` has migrated it already.
    if let StoreTarget::Embedded(directory) = &config.store {
        parts.add(directory::claim(directory).await?.into_part());
    }
    let store = parts.start(open::store(config)).await?;
    tracing::info!("bringing the store's tables up to date");
    let bar =
        process.bars.add(ProgressBar::new_spinner().with_message("bringing the store's tables up to date"));
    bar.enable_steady_tick(Duration::from_millis(100));
    let report = open::migrate(config, &store).await;
    bar.finish_and_clear();
    report
}

fn describe(report: &MigrationReport) -> String {
    let parts: Vec<String> = [
        ("migrations applied", &report.applied),
        ("views made", &report.views),
        ("retention changed", &report.retention),
    ]
    .into_iter()
    .filter(|(_, names)| !names.is_empty())
    .map(|(what, names)| format!("{what}: {}", names.join(", ")))
    .collect();
    match parts.is_empty() {
        true => "nothing to do: the tables are those of this version".to_owned(),
        false => parts.join("\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_changed() {
        let report = MigrationReport::default();
        assert!(describe(&report).starts_with("nothing to do"));
        let report = MigrationReport { applied: vec!["0001_a", "0002_b"], ..report };
        assert_eq!(describe(&report), "migrations applied: 0001_a, 0002_b");
    }
}
