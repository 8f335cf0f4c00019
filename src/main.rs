//! `kelly`: one binary, one role a process. This file matches the role; the roles wire the crates.

mod cli;
mod client;
mod config;
mod demo;
mod output;
mod record;
mod replay;
mod roles;
mod rows;
mod telemetry;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use indicatif::MultiProgress;

use cli::{Cli, Command};
use replay::Summary;
use roles::Base;

/// Wrong usage or configuration, as clap's own.
const EXIT_USAGE: u8 = 2;
/// Some of the input was refused.
const EXIT_REFUSED: u8 = 3;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // The engine's process: before any thread, runtime or diagnostics exist.
    if let Command::Engine { arguments } = cli.command {
        kelly_sql::engine::run_child(arguments);
    }
    match run(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("kelly: {}", told(&error));
            let is_usage = error.is::<config::Invalid>() || error.is::<config::Usage>();
            if is_usage { ExitCode::from(EXIT_USAGE) } else { ExitCode::FAILURE }
        }
    }
}

/// The error and its causes in one line; a cause that only repeats what was said is left out.
fn told(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let words = cause.to_string();
        if text.is_empty() {
            text = words;
        } else if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
    }
    text
}

fn run(cli: Cli) -> anyhow::Result<u8> {
    let loaded = config::load(cli.settings())?;
    if let Command::Config(show) = &cli.command {
        // What `up` and `serve` would refuse is refused here too.
        roles::check_thresholds(&loaded)?;
        let text = if show.json { config::as_json(&loaded) } else { config::as_table(&loaded) };
        output::line(text.trim_end())?;
        return Ok(0);
    }
    let bars = MultiProgress::new();
    telemetry::start(loaded.config.logging, &bars);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
    let outcome = runtime.block_on(command(cli.command, loaded, bars));
    // What still runs is a blocking call nobody waits for.
    runtime.shutdown_timeout(Duration::from_millis(100));
    outcome
}

async fn command(command: Command, loaded: config::Loaded, bars: MultiProgress) -> anyhow::Result<u8> {
    let stop = roles::listen()?;
    match command {
        Command::Record(record) => record::run(&record.what, &loaded.config, bars, stop).await.map(exit_code),
        Command::Replay(arguments) => {
            replay::run(&arguments, &loaded.config, bars, stop).await.map(exit_code)
        }
        Command::Up(arguments) => roles::up(Base { loaded, bars, stop }, &arguments).await.map(|()| 0),
        Command::Ingest(_) => roles::ingest(Base { loaded, bars, stop }).await.map(|()| 0),
        Command::Serve(_) => roles::serve(Base { loaded, bars, stop }).await.map(|()| 0),
        Command::Migrate(_) => roles::migrate(Base { loaded, bars, stop }).await.map(|()| 0),
        // Answered before there was a runtime.
        Command::Config(_) | Command::Engine { .. } => Ok(0),
    }
}

fn exit_code(summary: Summary) -> u8 {
    match summary {
        Summary { stopped: true, .. } => roles::INTERRUPTED,
        Summary { bad: 1.., .. } => EXIT_REFUSED,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_once() {
        let error =
            anyhow::anyhow!("the disk is full").context("writing: the disk is full").context("saving");
        assert_eq!(told(&error), "saving: writing: the disk is full");
    }
}
