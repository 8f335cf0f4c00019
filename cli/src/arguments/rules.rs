//! `kelly rules`: what can be done with files of alert rules.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use kelly_alerts::backtest::{Budget, BudgetError};

use super::parse::{Since, since};

/// `kelly rules`.
#[derive(Debug, Args)]
pub struct Rules {
    /// What to do with rules.
    #[command(subcommand)]
    pub what: RulesWhat,
}

/// What to do with rules.
#[derive(Debug, Subcommand)]
pub enum RulesWhat {
    /// Look through files of rules, and say everything that is wrong, where, and how to fix it
    Check(CheckRules),
    /// Print the built-in rules, as TOML to begin with
    Builtin,
    /// Print the JSON Schema of a file of rules
    Schema,
    /// Try rules over what was recorded, beside those that are in force
    Backtest(BacktestRules),
}

/// `kelly rules backtest`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kelly rules backtest alerts.toml --last 30d                 every rule of the file
  kelly rules backtest alerts.toml --rule slow_answers --last 7d --alerts 50
  kelly rules backtest alerts.toml --last 30d --against old.toml
  kelly rules backtest alerts.toml --rule slow_answers --last 30d --suggest 2/week
  kelly rules backtest alerts.toml --json | jq '.rules[].outcome'

The Kelly that is asked goes over its samples while they are kept, and over rollups before; what that means for each rule is said. Each
rule stands beside the one of the same id that is in force. Nothing is changed, and nobody is told of anything.

Exit codes: 0 done, 2 a file cannot be read as rules, 3 a rule is wrong, 130 interrupted")]
pub struct BacktestRules {
    /// A file of rules, TOML or (by its name) JSON
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Only this rule of the file; may be given several times
    #[arg(long = "rule", value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    pub rules: Vec<String>,
    /// Over what time until now: 12h, 30d, or since a time
    #[arg(long, value_name = "AGE", default_value = "24h", value_parser = since)]
    pub last: Since,
    /// Beside the rules of this file, in place of those in force
    #[arg(long, value_name = "FILE")]
    pub against: Option<PathBuf>,
    /// Beside nothing
    #[arg(long, conflicts_with = "against")]
    pub alone: bool,
    /// Suggest a threshold for so many alerts in a time: 2/week, 5/day, 1/12h
    #[arg(long, value_name = "BUDGET", value_parser = budget)]
    pub suggest: Option<Budget>,
    /// Alerts of each rule that are listed, at most
    #[arg(long, value_name = "NUMBER", default_value_t = 10, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub alerts: u8,
    /// Print the answer as one JSON document
    #[arg(long)]
    pub json: bool,
}

fn budget(text: &str) -> Result<Budget, String> {
    text.parse().map_err(|error: BudgetError| error.to_string())
}

/// `kelly rules check`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kelly rules check alerts.toml
  kelly rules check alerts.toml more.json --json

Files that are checked together are one set: ids differ, and rules may name each other. It asks no Kelly.

Exit codes: 0 nothing is wrong (what is only doubtful is said), 2 a file cannot be read as rules, 3 a rule is wrong")]
pub struct CheckRules {
    /// Files of rules, TOML or (by their name) JSON
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Print what was found as one JSON document
    #[arg(long)]
    pub json: bool,
}
