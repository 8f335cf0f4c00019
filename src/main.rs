//! `kelly`: one binary, one role a process. This file matches the role; the roles wire the crates.

mod access;
mod cli;
mod config;
mod demo;
mod limits;
mod log_levels;
mod metrics;
mod permissions;
mod roles;
mod rows;
mod telemetry;
mod tools;
mod traces;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::{CommandFactory, Parser};
use indicatif::MultiProgress;
use kelly_cli::arguments::{Rules, RulesWhat};
use kelly_cli::{
    INTERRUPTED, Summary, Usage, alerts, backtest, completions, dead_letters, doctor, drilldown, notify,
    output, record, replay, rules, sign_in, tail,
};
use kelly_schemas::error_chain;
use kelly_sql::engine::EngineError;
use kelly_stream::LogError;
use tokio_util::sync::CancellationToken;

use cli::{Cli, Command, ConfigWhat, ShowConfig};
use roles::Process;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Wrong usage or configuration, as clap's own.
const EXIT_USAGE: u8 = 2;
/// Some of the input was refused.
const EXIT_REFUSED: u8 = 3;
/// How long a command may take to stop by itself.
const STOP_GRACE: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(said) => return show(&said),
    };
    // The engine's process: before any thread, runtime or diagnostics exist.
    if let Command::Engine { arguments } = cli.command {
        kelly_sql::engine::run_child(arguments);
    }
    kelly_stream::allocator::keep_freed_memory();
    match run(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("kelly: {}", error_chain(error.as_ref()));
            if is_usage(&error) { ExitCode::from(EXIT_USAGE) } else { ExitCode::FAILURE }
        }
    }
}

/// Shows help, version or what is wrong with the command line. What nobody could read was not shown: it failed.
fn show(said: &clap::Error) -> ExitCode {
    let shown = said.print().and_then(|()| std::io::stdout().flush());
    match shown {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("kelly: writing the help: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::from(u8::try_from(said.exit_code()).unwrap_or(EXIT_USAGE)),
    }
}

/// Whether only another command line or configuration helps. The log finds a setting of its own that
/// is wrong, and log and store find that their directories are in use, later than the configuration's reader could.
fn is_usage(error: &anyhow::Error) -> bool {
    let is_setting = |cause: &(dyn std::error::Error + 'static)| {
        matches!(cause.downcast_ref::<LogError>(), Some(LogError::Config { .. } | LogError::Locked { .. }))
            || matches!(cause.downcast_ref::<EngineError>(), Some(EngineError::InUse { .. }))
    };
    error.is::<config::Invalid>() || error.is::<Usage>() || error.chain().any(is_setting)
}

fn run(cli: Cli) -> anyhow::Result<u8> {
    cli.check_server()?;
    if let Command::Completions(completions) = &cli.command {
        completions::run(completions.shell, Cli::command())?;
        return Ok(0);
    }
    if let Command::Rules(arguments) = &cli.command
        && !matches!(arguments.what, RulesWhat::Backtest(_))
    {
        return rules::run(&arguments.what);
    }
    if let Command::Notify(arguments) = &cli.command
        && let Some(done) = notify::run_alone(&arguments.what)
    {
        return done;
    }
    if let Command::Config(ShowConfig { what: Some(ConfigWhat::Permissions), json }) = &cli.command {
        let text = if *json { permissions::as_json() } else { permissions::as_table() };
        output::line(text)?;
        return Ok(0);
    }
    let loaded = match (config::load(cli.settings()), &cli.command) {
        (Ok(loaded), _) => loaded,
        (Err(error), Command::Doctor(doctor)) if error.is::<config::Invalid>() => {
            let invalid = error.downcast::<config::Invalid>().context("reading the configuration")?;
            let faults = invalid.0.iter().map(ToString::to_string).collect();
            return doctor::of_invalid(doctor, faults);
        }
        (Err(error), _) => return Err(error),
    };
    if let Command::Config(show) = &cli.command {
        // What `up` and `serve` would refuse is refused here too.
        roles::check_thresholds(&loaded)?;
        let settings = tools::settings(&loaded, cli.server.clone())?;
        let server = config::Server {
            url: settings.server_url(),
            from: if cli.server.is_some() { "--server" } else { "default" },
        };
        let text =
            if show.json { config::as_json(&loaded, &server) } else { config::as_table(&loaded, &server) };
        output::line(text.trim_end())?;
        return Ok(0);
    }
    if let Command::Token(token) = &cli.command {
        access::token::run(&loaded.config, token)?;
        return Ok(0);
    }
    let bars = MultiProgress::new();
    let is_doctor = matches!(cli.command, Command::Doctor(_));
    let otherwise = if is_doctor { telemetry::Otherwise::Quiet } else { telemetry::Otherwise::Usual };
    let log_levels = telemetry::start(loaded.config.general.logging, otherwise, &bars);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
    let outcome = runtime.block_on(command(cli.command, cli.server, loaded, bars, log_levels));
    // What still runs is a blocking call nobody waits for.
    runtime.shutdown_timeout(Duration::from_millis(100));
    outcome
}

async fn command(
    command: Command,
    server: Option<String>,
    loaded: config::Loaded,
    bars: MultiProgress,
    log_levels: Arc<telemetry::Levels>,
) -> anyhow::Result<u8> {
    let stop = roles::listen()?;
    let settings = tools::settings(&loaded, server)?;
    match command {
        Command::Record(record) => {
            let work = record::run(&record.what, &settings, bars, stop.clone());
            or_interrupted(&stop, async { work.await.map(exit_code) }).await
        }
        Command::Replay(arguments) => {
            let work = replay::run(&arguments, &settings, bars, stop.clone());
            or_interrupted(&stop, async { work.await.map(exit_code) }).await
        }
        Command::Doctor(arguments) => {
            let work =
                Box::pin(doctor::run(&arguments, &settings, tools::local(&loaded), bars, stop.clone()));
            or_interrupted(&stop, work).await
        }
        Command::Drilldown(arguments) => {
            let work = drilldown::run(&arguments, &settings, bars, stop.clone());
            or_interrupted(&stop, work).await
        }
        Command::Rules(Rules { what: RulesWhat::Backtest(arguments) }) => {
            let work = backtest::run(&arguments, &settings, bars, stop.clone());
            or_interrupted(&stop, work).await
        }
        Command::Alerts(arguments) => {
            let work = Box::pin(alerts::run(&arguments.what, &settings, stop.clone()));
            or_interrupted(&stop, work).await
        }
        Command::SignIn(_) => {
            let work = sign_in::run(&settings, loaded.config.auth.session_time);
            or_interrupted(&stop, async { work.await.map(|()| 0) }).await
        }
        Command::Tail(arguments) => {
            let work = Box::pin(tail::run(&arguments, &settings, stop.clone()));
            or_interrupted(&stop, async { work.await.map(|()| 0) }).await
        }
        Command::DeadLetters(arguments) => {
            let work = Box::pin(dead_letters::run(&arguments.what, &settings, bars, stop.clone()));
            or_interrupted(&stop, async { work.await.map(exit_code) }).await
        }
        Command::Notify(arguments) => {
            let work = Box::pin(notify::run(&arguments.what, &settings));
            or_interrupted(&stop, work).await
        }
        Command::Up(arguments) => {
            roles::up(Process { loaded, bars, stop, log_levels }, &arguments).await.map(|()| 0)
        }
        Command::Ingest(_) => roles::ingest(Process { loaded, bars, stop, log_levels }).await.map(|()| 0),
        Command::Evaluate(_) => roles::evaluate(Process { loaded, bars, stop, log_levels }).await.map(|()| 0),
        Command::Serve(_) => roles::serve(Process { loaded, bars, stop, log_levels }).await.map(|()| 0),
        Command::Migrate(_) => {
            let work = Box::pin(roles::migrate(Process { loaded, bars, stop: stop.clone(), log_levels }));
            or_interrupted(&stop, async { work.await.map(|()| 0) }).await
        }
        // Answered before there was a runtime.
        Command::Config(_)
        | Command::Token(_)
        | Command::Rules(_)
        | Command::Completions(_)
        | Command::Engine { .. } => Ok(0),
    }
}

/// Gives a command that was told to stop a moment to do so by itself, and then no more: a server that
/// does not answer must not hold it.
async fn or_interrupted(
    stop: &CancellationToken,
    work: impl Future<Output = anyhow::Result<u8>>,
) -> anyhow::Result<u8> {
    let overdue = async {
        stop.cancelled().await;
        tokio::time::sleep(STOP_GRACE).await;
    };
    tokio::select! {
        done = work => done,
        () = overdue => {
            eprintln!("kelly: interrupted; whether what was under way is done is not known");
            Ok(INTERRUPTED)
        }
    }
}

fn exit_code(summary: Summary) -> u8 {
    match summary {
        Summary { stopped: true, .. } => INTERRUPTED,
        Summary { bad: 1.., .. } => EXIT_REFUSED,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_kafka_property_is_wrong_usage() {
        let wrong = kelly_stream::KafkaConfig {
            properties: [("sasl.pasword".to_owned(), "hunter2".to_owned())].into(),
            ..Default::default()
        };
        let error = anyhow::Error::from(wrong.verify().unwrap_err()).context("connecting to the log");
        assert!(is_usage(&error));
        assert!(
            error_chain(error.as_ref()).contains("sasl.pasword")
                && !error_chain(error.as_ref()).contains("hunter2")
        );
        let away = LogError::Unavailable { doing: "ask".into(), fix: "wait".into(), source: None };
        assert!(!is_usage(&anyhow::Error::from(away).context("connecting to the log")));
    }

    #[test]
    fn an_error_is_said_once() {
        let error =
            anyhow::anyhow!("the disk is full").context("writing: the disk is full").context("saving");
        assert_eq!(error_chain(error.as_ref()), "saving: writing: the disk is full");
    }
}
