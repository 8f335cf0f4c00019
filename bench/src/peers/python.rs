//! A straightforward Python consumer: confluent-kafka, `json.loads`, clickhouse-connect. The rollups
//! are made by the same materialised views.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use kelly_harness::unique;
use tokio::process::Command;

use super::kafka_engine::verify;
use super::views::rollups;
use super::{Figures, Topic, watch};
use crate::store::{FreshStore, Overrides};

const SCRIPT: &str = include_str!("consumer.py");

/// Reads `topic.rows` rows of the topic.
pub async fn run(topic: &Topic<'_>) -> Result<Figures> {
    let store = FreshStore::start(&Overrides::default()).await?;
    for view in rollups() {
        store.query(&view.create("system_metrics")).await?;
    }
    let config = store.store().config();
    let python = program()?;
    let mut child = Command::new(&python)
        .args(["-c", SCRIPT, topic.bootstrap, topic.name, &unique("python"), &topic.rows.to_string()])
        .args([&config.url, &config.database, &config.user])
        .env("STORE_PASSWORD", &config.password)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("starting {}", python.display()))?;
    let pid = child.id().context("the consumer's process")?;
    let output = child.stdout.take().context("the consumer's output")?;
    let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(output));
    // It says when it has imported everything and subscribes, and when the last row is committed.
    if lines.next_line().await?.as_deref() != Some("subscribing") {
        bail!("the Python consumer did not start: see above");
    }
    let mut figures =
        watch(topic.rows, &[("python", pid), ("engine", store.pid()?), ("broker", topic.broker)])?;
    while let Some(line) = lines.next_line().await? {
        if line == "done" {
            figures.finish()?;
        } else {
            figures.saw(line.parse().with_context(|| format!("the consumer said {line:?}"))?)?;
        }
        if figures.is_finished() {
            break;
        }
    }
    drop(lines);
    let ended = child.wait().await.context("waiting for the consumer")?;
    if !ended.success() || !figures.is_finished() {
        bail!("the Python consumer failed: {ended}");
    }
    verify(&store, topic.rows).await?;
    store.end().await;
    Ok(figures)
}

/// `KELLY_BENCH_PYTHON`, else what `scripts/setup bench` made.
pub fn program() -> Result<PathBuf> {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = named("KELLY_CACHE")
        .or_else(|| named("XDG_CACHE_HOME").map(|cache| cache.join("kelly")))
        .or_else(|| named("HOME").map(|home| home.join(".cache/kelly")));
    let python = named("KELLY_BENCH_PYTHON")
        .or_else(|| cache.map(|cache| cache.join("python-bench/bin/python")))
        .context("neither HOME nor KELLY_CACHE is set")?;
    if !python.is_file() {
        bail!(
            "{} is missing: run `scripts/setup bench` once, name a Python with the packages of \
             bench/requirements.txt in KELLY_BENCH_PYTHON, or leave its contender out (--help says how)",
            python.display()
        );
    }
    Ok(python)
}
