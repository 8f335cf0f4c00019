//! `kelly up`: everything in one process plus the engine's.

use std::sync::Arc;

use kelly_api::LatencyBook;
use kelly_cli::output;
use kelly_schemas::error_chain;
use kelly_stream::Log;

use super::door::url_for_people;
use super::http::{self, Backends};
use super::monitor::{self, Machine, Sources};
use super::parts::{self, Part, Parts};
use super::{
    Process, control, directory, evaluate, ingest, live, notify, open, retention, rules, status, traces,
};
use crate::access::{self, SecretPlace};
use crate::cli;
use crate::config::{Config, StoreTarget};
use crate::demo::{self, Demo};

/// Runs everything until told to stop.
pub async fn up(process: Process, arguments: &cli::Up) -> anyhow::Result<()> {
    parts::run(&process.stop, async |parts| Box::pin(start(&process, arguments, parts)).await).await
}

async fn start(process: &Process, arguments: &cli::Up, parts: &Parts) -> anyhow::Result<()> {
    let machine = Machine::new();
    let config = &process.loaded.config;
    let catalogue = open::catalogue(&process.loaded)?;
    // The port first: where it is taken, no directory is made.
    let address = http::claim(config.general.listen)?;
    parts.add(directory::claim(&config.general.data).await?.into_part());
    let access = access::open(&process.loaded, SecretPlace::Directory(&config.general.data)).await?;
    let store = parts.start(open::store(config));
    let log = parts.start(open::log(config));
    let store = async {
        let store = store.await?;
        open::update_tables(config, &store).await?;
        anyhow::Ok(store)
    };
    let (store, log) = tokio::try_join!(store, log)?;
    let decisions = parts.start(Box::pin(control::start(config, &log))).await?;
    let notifications = parts.start(Box::pin(notify::start(config, &log, &decisions))).await?;
    parts.start(control::keep(config, &log, &store)).await?;
    let rules = parts.start(rules::start(config, &decisions)).await?;
    let evaluating = parts.start(Box::pin(evaluate::start(config, &log, &decisions, rules.clone()))).await?;
    let started = parts.start(Box::pin(ingest::start(config, &log, &store))).await?;
    parts.add(retention::part(config, &store, started.raw_retention));
    let progress = started.progress;
    let latencies = Arc::new(LatencyBook::default());
    let sources = Sources {
        log: log.clone(),
        ingest: Some(progress.clone()),
        latencies: Some(latencies.clone()),
        data: config.general.data.clone(),
    };
    parts.add(monitor::part(config, machine, sources));
    let export = parts.start(traces::start(&config.tracing)).await?;
    let log_levels = process.log_levels.clone();
    parts.add(Part::task("log levels", |stop| log_levels.clone().keep_ends(stop)));
    // It begins below what a person reads first, and goes on until no more is taken over HTTP.
    let demo = parts.start(demo::start(arguments.demo.then(|| Demo {
        log: log.clone(),
        data: config.general.data.clone(),
        seed: arguments.demo_seed,
        retention_days: config.monitoring.retention_days,
        has_system_load: config.monitoring.enabled,
        bars: process.bars.clone(),
    })));
    let line = parts.start(status::start(progress.clone(), process.bars.clone()));
    let live = parts.start(live::start(config, &log)).await?;
    parts.add(live::push_alerts(&*log, &live, &decisions));
    let code = access.gate.as_ref().map(|gate| gate.owners_link()).transpose()?;
    let banner = banner(config, &*log, code.as_deref());
    let backends = Backends {
        config,
        catalogue,
        log: log.clone(),
        store,
        ingest: Some(progress),
        latencies,
        export,
        log_levels,
        live,
        decisions,
        evaluator: Some(evaluating),
        notifications,
        access: &access,
        rules: Arc::new(rules),
    };
    parts.start(http::start(address, backends)).await?;
    if let Err(error) = directory::note_address(&config.general.data, config.general.listen) {
        tracing::warn!(
            error = format!("{error:#}"),
            "tools that look for this Kelly in its data directory will not find it: give them --server http://{}",
            config.general.listen
        );
    }
    output::line(banner)?;
    match log.check().await {
        Ok(()) => tracing::info!(listen = %config.general.listen, "kelly is ready"),
        Err(error) => tracing::warn!(
            listen = %config.general.listen,
            "kelly runs and is not ready, it records nothing: {}",
            error_chain(&error)
        ),
    }
    line.await?;
    demo.await
}

/// What a person reads first.
fn banner(config: &Config, log: &dyn Log, sign_in_code: Option<&str>) -> String {
    let base = url_for_people(config);
    let api = format!("{base}/api/v1/kelly/monitoring");
    let store = match &config.store {
        StoreTarget::Embedded(directory) => {
            format!("embedded ClickHouse, its ports in {}", directory.join("engine.json").display())
        }
        StoreTarget::Server { url, database, .. } => format!("{url}, database {database}"),
    };
    let flag = if config.general.listen.to_string() == "127.0.0.1:8000" {
        String::new()
    } else {
        format!(" --server {base}")
    };
    let start = match sign_in_code {
        Some(code) => format!(
            "Sign in         {base}/#sign-in={code}\n                  (in a browser; the link works once, within 15 minutes; `kelly sign-in` prints another)"
        ),
        None => format!("Start page      {base}/\n                  (authentication is off: KELLY_AUTH=off)"),
    };
    format!(
        "\
Kelly {version} is running. Ctrl-C stops it.

  {start}
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
