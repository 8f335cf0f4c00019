//! The command line: what can be typed, and the help that says so.

#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "the doc comments here are the help texts, brackets and all"
)]

mod run;
mod token;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use kelly_cli::arguments::{
    Alerts, Completions, DeadLetters, DeadLettersWhat, Doctor, Drilldown, Notify, Record, Replay, Rules,
    StorePlace, Tail,
};

pub use run::*;
pub use token::{SignIn, Token};

use kelly_cli::Usage;

use crate::config::FromFlags;

const EXAMPLES: &str = "\
Examples:
  kelly up                          everything on this machine, data in ./kelly-data
  kelly up --demo                   the same with thirty days of believable traffic
  kelly record metric ai_confidence 0.85 --account acme
  kelly replay series.csv --metric response_time --shift-to-now
  kelly tail --metric ai_confidence live, as it becomes visible
  kelly drilldown response_time --timeframe 30d --by account
  kelly alerts list                 what is wrong now, the worst first
  kelly token --role producer       for a program that records; it sends it as a bearer token
  kelly doctor                      what is wrong, and how to fix it
  kelly config                      what is in force, and where each value came from

Settings come from a TOML file (--config, KELLY_CONFIG or ./kelly.toml), environment variables
over it, and flags over both. RUST_LOG says how much is logged, e.g. RUST_LOG=kelly=debug.

Exit codes:
  0  done
  1  failed while running, or the one row of `kelly record` was refused
  2  wrong usage or wrong configuration; nothing was started
  3  some of the input was refused or left out, the rest was done (`replay`, `record stdin`,
     `dead-letters replay`), `kelly rules check` found a rule that is wrong,
     or `kelly alerts` found that somebody else was first, or that it cannot be done
  4  `kelly doctor` found something that wants attention
  5  `kelly doctor` found something broken
  130  interrupted before the work was done";

/// Real-time monitoring, alerting and human intervention for AI conversations.
#[derive(Debug, Parser)]
#[command(name = "kelly", version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    /// Configuration file
    #[arg(long, global = true, value_name = "FILE", help_heading = "Configuration")]
    pub config: Option<PathBuf>,
    /// How diagnostics are written to stderr: text or json
    #[arg(long, global = true, value_name = "FORM", help_heading = "Configuration")]
    pub logging: Option<String>,
    /// Directory of everything Kelly keeps: the one to run in, or the one of the running Kelly [default: ./kelly-data]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Configuration")]
    pub data: Option<String>,
    /// A running Kelly [default: the one that runs in the data directory, else http:// and the listen address]
    #[arg(long, global = true, value_name = "URL", visible_alias = "url", help_heading = "Configuration")]
    pub server: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything in one process: log, store, ingest and the HTTP interface
    Up(Up),
    /// Move records from the log to the store, exactly once
    #[command(after_help = run::INGEST_EXAMPLES)]
    Ingest(Apart),
    /// Answer questions over HTTP and accept metrics and events
    #[command(after_help = run::SERVE_EXAMPLES)]
    Serve(Serve),
    /// Judge metrics by the alert rules, and raise and end alerts
    #[command(after_help = run::EVALUATE_EXAMPLES)]
    Evaluate(Evaluate),
    /// Bring the store's tables to what this version needs
    Migrate(Migrate),
    /// Print what is in force and where each value came from, secrets hidden
    Config(ShowConfig),
    /// Make a token, with which a program signs in
    Token(Token),
    /// Print a link that signs a browser in, once
    SignIn(SignIn),
    /// Send a metric or an event to a running Kelly
    Record(Record),
    /// Send a file of metrics or events, at its own pace or as fast as possible
    Replay(Replay),
    /// Look at everything Kelly stands on, and say what is wrong and how to fix it
    Doctor(Doctor),
    /// Follow metrics or events live
    Tail(Tail),
    /// One metric by account or by conversation, with sparklines
    Drilldown(Drilldown),
    /// What could not be taken from the log: list, show, send again
    DeadLetters(DeadLetters),
    /// Alerts: list, follow, acknowledge, resolve, silence …
    Alerts(Alerts),
    /// Alert rules: check files, try them over history, print the built-in ones, print the schema
    Rules(Rules),
    /// Notifications: how they go, test a destination, send again what was given up, check a file
    Notify(Notify),
    /// Print the completions of a shell
    Completions(Completions),
    /// The embedded store's own process; started by `kelly up`
    #[command(hide = true, disable_help_flag = true)]
    Engine {
        /// Handed to the engine as they are.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

impl Cli {
    /// What the flags say about the configuration.
    pub fn settings(&self) -> FromFlags {
        let mut values = Vec::new();
        let mut add = |name: &'static str, flag: &'static str, value: &Option<String>| {
            if let Some(value) = value {
                values.push((name, flag, value.clone()));
            }
        };
        add("logging", "--logging", &self.logging);
        add("data", "--data", &self.data);
        let mut place = |place: &StorePlace| add("store", "--store", &place.store);
        match &self.command {
            Command::Doctor(doctor) => {
                place(&doctor.place);
                add("log", "--log", &doctor.log);
            }
            Command::Tail(tail) => place(&tail.place),
            Command::DeadLetters(letters) => match &letters.what {
                DeadLettersWhat::List(list) => place(&list.place),
                DeadLettersWhat::Show(show) => place(&show.place),
                DeadLettersWhat::Replay(replay) => place(&replay.place),
            },
            Command::Up(up) => {
                add("listen", "--listen", &up.listen);
                add("log", "--log", &up.targets.log);
                add("store", "--store", &up.targets.store);
            }
            Command::Ingest(apart) => {
                add("log", "--log", &apart.log);
                add("store", "--store", &apart.store);
            }
            Command::Serve(serve) => {
                add("listen", "--listen", &serve.listen);
                add("log", "--log", &serve.targets.log);
                add("store", "--store", &serve.targets.store);
            }
            Command::Evaluate(evaluate) => add("log", "--log", &evaluate.log),
            Command::Migrate(migrate) => add("store", "--store", &migrate.store),
            Command::Replay(replay) => add("log", "--log", &replay.log),
            Command::Config(_)
            | Command::Token(_)
            | Command::SignIn(_)
            | Command::Record(_)
            | Command::Drilldown(_)
            | Command::Alerts(_)
            | Command::Rules(_)
            | Command::Notify(_)
            | Command::Completions(_)
            | Command::Engine { .. } => {}
        }
        FromFlags { file: self.config.clone(), values }
    }

    /// Refuses `--server` where no running Kelly is asked: it would be taken for what it is not.
    pub fn check_server(&self) -> Result<(), Usage> {
        if self.server.is_none() {
            return Ok(());
        }
        let store = |tool: &str| {
            Err(Usage(format!(
                "`kelly {tool}` reads the store itself: say --data with the directory of its Kelly, or --store, \
                 instead of --server"
            )))
        };
        let role = |role: &str| {
            Err(Usage(format!(
                "--server is the running Kelly that the tools ask, and `kelly {role}` asks none: leave it out"
            )))
        };
        match &self.command {
            Command::Tail(_) => store("tail"),
            Command::DeadLetters(letters) => match &letters.what {
                DeadLettersWhat::List(_) => store("dead-letters list"),
                DeadLettersWhat::Show(_) => store("dead-letters show"),
                DeadLettersWhat::Replay(_) => Ok(()),
            },
            Command::Up(_) => role("up"),
            Command::Ingest(_) => role("ingest"),
            Command::Serve(_) => role("serve"),
            Command::Evaluate(_) => role("evaluate"),
            Command::Migrate(_) => role("migrate"),
            Command::Token(_) => Err(Usage(
                "`kelly token` asks no running Kelly: it signs with the secret in the data directory (--data) or in \
                 KELLY_AUTH_SECRET_FILE; leave --server out"
                    .to_owned(),
            )),
            Command::Config(_)
            | Command::SignIn(_)
            | Command::Record(_)
            | Command::Replay(_)
            | Command::Doctor(_)
            | Command::Drilldown(_)
            | Command::Alerts(_)
            | Command::Rules(_)
            | Command::Notify(_)
            | Command::Completions(_)
            | Command::Engine { .. } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_become_settings() {
        let cli = Cli::parse_from(["kelly", "up", "--data", "/d", "--log", "kafka://a:1"]);
        let settings = cli.settings();
        let found: Vec<(&str, &str)> =
            settings.values.iter().map(|(_, flag, value)| (*flag, value.as_str())).collect();
        assert_eq!(found, [("--data", "/d"), ("--log", "kafka://a:1")]);
    }

    #[test]
    fn every_flag_is_of_a_setting() {
        for command in [
            &["up", "--data", "d", "--listen", "l", "--log", "g", "--store", "s", "--logging", "json"][..],
            &["serve", "--listen", "l", "--log", "g", "--store", "s"],
            &["ingest", "--log", "g", "--store", "s"],
            &["evaluate", "--log", "g"],
            &["migrate", "--data", "d", "--store", "s"],
            &["doctor", "--data", "d", "--log", "g", "--store", "s"],
            &["replay", "f", "--log", "g"],
        ] {
            let settings = Cli::parse_from([&["kelly"][..], command].concat()).settings();
            assert_eq!(settings.values.len(), command.iter().filter(|word| word.starts_with("--")).count());
            for (name, flag, _) in settings.values {
                assert!(crate::config::is_setting(name), "{flag} sets {name}, which there is not");
            }
        }
    }

    #[test]
    fn data_and_server_mean_the_same_everywhere() {
        let commands = [
            "up",
            "ingest",
            "serve",
            "evaluate",
            "migrate",
            "config",
            "token",
            "sign-in",
            "doctor",
            "tail",
            "record metric m 1",
            "record stdin",
            "record file f",
            "replay f",
            "drilldown m",
            "rules backtest f",
            "alerts list",
            "dead-letters list",
            "dead-letters show t/0/1",
            "dead-letters replay --all",
        ];
        for command in commands {
            let words = || command.split(' ').chain(["--data", "/d"]);
            let cli = Cli::try_parse_from(std::iter::once("kelly").chain(words())).expect(command);
            let is_data = |(name, flag, value): &(&'static str, &'static str, String)| {
                (*name, *flag, value.as_str()) == ("data", "--data", "/d")
            };
            assert_eq!(cli.settings().values.iter().filter(|value| is_data(value)).count(), 1, "{command}");
            let words = words().chain(["--server", "http://k:1"]);
            let cli = Cli::try_parse_from(std::iter::once("kelly").chain(words)).expect(command);
            let asks_none = [
                "up",
                "ingest",
                "serve",
                "evaluate",
                "migrate",
                "token",
                "tail",
                "dead-letters list",
                "dead-letters show t/0/1",
            ];
            assert_eq!(cli.check_server().is_err(), asks_none.contains(&command), "{command}");
        }
    }

    #[test]
    fn the_engine_gets_its_arguments_untouched() {
        let cli = Cli::parse_from(["kelly", "engine", "--path", "x", "--help"]);
        let Command::Engine { arguments } = cli.command else { panic!("another command") };
        assert_eq!(arguments, ["--path", "x", "--help"]);
    }

    #[test]
    fn wrong_usage_is_refused() {
        for wrong in [
            &["kelly", "replay"][..],
            &["kelly", "replay", "f", "--rate", "0"],
            &["kelly", "replay", "f", "--rate", "5", "--speed", "2"],
            &["kelly", "replay", "f", "--speed", "0"],
            &["kelly", "record", "metric", "m", "much"],
            &["kelly", "record", "metric", "m", "1", "--meta", "x"],
            &["kelly", "record", "metric", "m", "inf"],
            &["kelly", "record", "metric", "m", "NaN"],
            &["kelly", "record", "metric", "m", "1", "--type", "histogram"],
            &["kelly", "record", "metric", "m", "1", "--account", ""],
            &["kelly", "replay", "f", "--account", ""],
            &["kelly", "token", "--role", "root"],
            &["kelly", "token", "--ttl", "soon"],
            &["kelly", "token", "--sub", ""],
            &["kelly", "token", "--account", ""],
            &["kelly", "up", "--demo-seed", "2"],
            &["kelly", "tail", "--since", "yesterday"],
            &["kelly", "tail", "activity", "--severity", "loud"],
            &["kelly", "dead-letters", "show", "somewhere"],
            &["kelly", "dead-letters", "replay", "t/0/1", "--all"],
            &["kelly", "completions", "tcsh"],
        ] {
            assert!(Cli::try_parse_from(wrong).is_err(), "{wrong:?}");
        }
        assert!(Cli::try_parse_from(["kelly", "record", "metric", "m", "-1.5"]).is_ok());
    }
}
