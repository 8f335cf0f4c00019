//! The roles that run apart, over a shared log and store: `kelly ingest`, `kelly serve`, and
//! `kelly migrate` before them.

use std::io::IsTerminal;
use std::time::Duration;

use anyhow::Context;
use indicatif::ProgressBar;
use kelly_sql::MigrationReport;

use super::http::{self, Behind, Http};
use super::monitor::{Machine, Sources};
use super::open;
use super::{Base, Beside, Ingest, directory, needs_shared, status};
use crate::config::{Config, StoreTarget};
use kelly_cli::output;

/// Moves records from the log to the store until told to stop.
pub async fn ingest(base: Base) -> anyhow::Result<()> {
    let machine = Machine::new();
    let config = &base.loaded.config;
    needs_shared("ingest", config)?;
    let store = tokio::select! {
        store = ready_store(config) => store?,
        () = base.stop.cancelled() => return Ok(()),
    };
    let log = tokio::select! {
        log = open::log(config) => log?,
        () = base.stop.cancelled() => return Ok(()),
    };
    let ingest = Ingest::start(config, &log, &store)?;
    let beside = Beside::new();
    beside.monitor(
        config,
        machine,
        Sources {
            log: log.clone(),
            ingest: Some(ingest.progress.clone()),
            latencies: None,
            data: std::env::temp_dir(),
        },
    );
    tracing::info!(log = log.describe(), store = %config.store, "kelly ingest is ready");
    if std::io::stderr().is_terminal() {
        let line = status::run(ingest.progress.clone(), base.bars.clone(), beside.stop.clone());
        beside.tasks.spawn(line);
    }
    tokio::select! {
        () = base.stop.cancelled() => {}
        () = ingest.ended() => tracing::error!("ingest ended by itself; stopping"),
    }
    beside.stop().await;
    let drained = ingest.drain().await;
    let closed = log.close().await.context("closing the log");
    drained.and(closed)
}

/// Answers over HTTP until told to stop.
pub async fn serve(base: Base) -> anyhow::Result<()> {
    let machine = Machine::new();
    let config = &base.loaded.config;
    needs_shared("serve", config)?;
    let catalogue = open::catalogue(&base.loaded)?;
    let address = http::claim(config.listen)?;
    let store = tokio::select! {
        store = ready_store(config) => store?,
        () = base.stop.cancelled() => return Ok(()),
    };
    let log = tokio::select! {
        log = open::log(config) => log?,
        () = base.stop.cancelled() => return Ok(()),
    };
    let behind = Behind { config, catalogue, log: log.clone(), store, ingest: None };
    let http = Http::start(address, behind).await?;
    let beside = Beside::new();
    beside.monitor(
        config,
        machine,
        Sources {
            log: log.clone(),
            ingest: None,
            latencies: Some(http.latencies.clone()),
            data: std::env::temp_dir(),
        },
    );
    tracing::info!(listen = %config.listen, log = log.describe(), store = %config.store, "kelly serve is ready");
    base.stop.cancelled().await;
    http.stop().await;
    beside.stop().await;
    log.close().await.context("closing the log")
}

/// Brings the tables to what this version needs.
pub async fn migrate(base: Base) -> anyhow::Result<()> {
    let config = &base.loaded.config;
    // The embedded store belongs to one process; a running `kelly up` has migrated it already.
    let _claim = match &config.store {
        StoreTarget::Embedded(directory) => Some(directory::claim(directory)?),
        StoreTarget::Server { .. } => None,
    };
    let opened = open::store(config).await?;
    tracing::info!("bringing the store's tables up to date");
    let bar =
        base.bars.add(ProgressBar::new_spinner().with_message("bringing the store's tables up to date"));
    bar.enable_steady_tick(Duration::from_millis(100));
    let report = opened
        .store
        .migrate(&open::migration_params(config))
        .await
        .with_context(|| format!("preparing the tables of the store ({})", config.store));
    bar.finish_and_clear();
    if let Some(engine) = opened.engine {
        engine.shutdown().await;
    }
    output::line(told(&report?))
}

/// A client of a store whose tables are those of this version.
async fn ready_store(config: &Config) -> anyhow::Result<kelly_sql::Store> {
    let opened = open::store(config).await?;
    opened
        .store
        .verify_schema()
        .await
        .with_context(|| format!("checking the tables of the store ({})", config.store))?;
    Ok(opened.store)
}

fn told(report: &MigrationReport) -> String {
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
    fn a_report_tells_what_changed() {
        let report = MigrationReport::default();
        assert!(told(&report).starts_with("nothing to do"));
        let report = MigrationReport { applied: vec!["0001_a", "0002_b"], ..report };
        assert_eq!(told(&report), "migrations applied: 0001_a, 0002_b");
    }
}
