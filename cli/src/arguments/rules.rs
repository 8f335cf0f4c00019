//! `kelly rules`: what can be done with files of alert rules.

use std::path::PathBuf;

use clap::{Args, Subcommand};

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
