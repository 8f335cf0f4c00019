//! `kelly up`: everything in one process plus the engine's.

use std::io::IsTerminal;
use std::sync::Arc;

use anyhow::Context;
use kelly_sql::engine::Engine;
use kelly_stream::Log;

use super::http::{self, Behind, Http};
use super::monitor::{Machine, Sources};
use super::open::{self, OpenStore};
use super::{Base, Beside, Ingest, directory, status};
use crate::cli;
use crate::config::{Config, StoreTarget};
use crate::demo::{self, Demo};
use kelly_cli::output;

/// Runs everything until told to stop.
pub async fn up(base: Base, arguments: &cli::Up) -> anyhow::Result<()> {
    let machine = Machine::new();
    let config = &base.loaded.config;
    let catalogue = open::catalogue(&base.loaded)?;
    let _claim = directory::claim(&config.data)?;
    let address = http::claim(config.listen)?;
    let opened = tokio::select! {
        opened = open(config) => opened?,
        () = base.stop.cancelled() => return Ok(()),
    };
    let Opened { log, store: OpenStore { store, engine } } = opened;
    let ingest = Ingest::start(config, &log, &store)?;
    let behind = Behind { config, catalogue, log: log.clone(), store, ingest: Some(ingest.progress.clone()) };
    let http = Http::start(address, behind).await?;
    let beside = Beside::new();
    beside.monitor(
        config,
        machine,
        Sources {
            log: log.clone(),
            ingest: Some(ingest.progress.clone()),
            latencies: Some(http.latencies.clone()),
            data: config.data.clone(),
        },
    );
    output::line(banner(config, &*log))?;
    tracing::info!(listen = %config.listen, "kelly is ready");
    if std::io::stderr().is_terminal() {
        let line = status::run(ingest.progress.clone(), base.bars.clone(), beside.stop.clone());
        beside.tasks.spawn(line);
    }
    if arguments.demo {
        let demo = Demo {
            log: log.clone(),
            data: config.data.clone(),
            seed: arguments.demo_seed,
            retention_days: config.monitoring.retention_days,
            has_system_load: config.monitoring.enabled,
            bars: base.bars.clone(),
        };
        let stop = beside.stop.clone();
        beside.tasks.spawn(async move {
            if let Err(error) = demo::run(demo, stop).await {
                tracing::error!("the demo's traffic ended: {error:#}");
            }
        });
    }
    tokio::select! {
        () = base.stop.cancelled() => {}
        () = ingest.ended() => tracing::error!("ingest ended by itself; stopping"),
    }
    http.stop().await;
    beside.stop().await;
    // A failure of one does not keep the others from ending well.
    let drained = ingest.drain().await;
    let closed = close(&*log, engine).await;
    drained.and(closed)
}

struct Opened {
    log: Arc<dyn Log>,
    store: OpenStore,
}

/// Opens log and store side by side and brings the tables up to date.
async fn open(config: &Config) -> anyhow::Result<Opened> {
    let store = async {
        let opened = open::store(config).await?;
        tracing::info!("bringing the store's tables up to date");
        let report = opened
            .store
            .migrate(&open::migration_params(config))
            .await
            .with_context(|| format!("preparing the tables of the store ({})", config.store))?;
        if !report.applied.is_empty() {
            tracing::info!(migrations = report.applied.len(), "the store's tables are up to date");
        }
        if !report.retention.is_empty() {
            tracing::info!(tables = report.retention.join(", "), "retention follows the configuration");
        }
        anyhow::Ok(opened)
    };
    let (log, store) = tokio::try_join!(open::log(config), store)?;
    Ok(Opened { log, store })
}

async fn close(log: &dyn Log, engine: Option<Engine>) -> anyhow::Result<()> {
    let closed = log.close().await.context("closing the log");
    if let Some(engine) = engine {
        engine.shutdown().await;
    }
    closed
}

/// What a person reads first.
fn banner(config: &Config, log: &dyn Log) -> String {
    let base = format!("http://{}", config.listen);
    let api = format!("{base}/api/v1/kelly/monitoring");
    let store = match &config.store {
        StoreTarget::Embedded(directory) => {
            format!("embedded ClickHouse, its ports in {}", directory.join("engine.json").display())
        }
        StoreTarget::Server { url, database, .. } => format!("{url}, database {database}"),
    };
    let flag = if config.listen.to_string() == "127.0.0.1:8000" {
        String::new()
    } else {
        format!(" --server {base}")
    };
    format!(
        "\
Kelly {version} is running. Ctrl-C stops it.

  Start page      {base}/
  Live metrics    {api}/metrics
  Drill-down      {api}/metrics/detailed/system_load?timeframe=1h
  Activity feed   {api}/activity/feed
  Health          {api}/health
  API             {base}/api/docs/

  Record one      kelly record metric ai_confidence 0.85 --account acme{flag}
  Log             {log}
  Store           {store}
",
        version = env!("CARGO_PKG_VERSION"),
        log = log.describe(),
    )
}
