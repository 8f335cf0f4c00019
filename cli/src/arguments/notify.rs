//! `kelly notify`: what can be done about notifications.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `kelly notify`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kelly notify check notifications.toml
  kelly notify test slack-ops
  kelly notify dead
  kelly notify replay --destination slack-ops

Exit codes: 0 done, 1 it did not work, a test that was not taken too, 2 wrong usage or a file that cannot be used")]
pub struct Notify {
    /// What to do about notifications.
    #[command(subcommand)]
    pub what: NotifyWhat,
}

/// What to do about notifications.
#[derive(Debug, Subcommand)]
pub enum NotifyWhat {
    /// How each destination is, and what waits
    Status(NotifyForm),
    /// Have a running Kelly send a message that says it is a test
    Test(TestDestination),
    /// List the messages that were given up
    Dead(NotifyForm),
    /// Have messages that were given up sent again
    Replay(ReplayNotifications),
    /// Look through a file of destinations and routes; asks no Kelly
    Check(CheckNotifications),
    /// Print the JSON Schema of such a file
    Schema,
}

/// In which form to answer.
#[derive(Debug, Args)]
pub struct NotifyForm {
    /// Print it as one JSON document
    #[arg(long)]
    pub json: bool,
}

/// `kelly notify test`.
#[derive(Debug, Args)]
pub struct TestDestination {
    /// The destination's id
    pub destination: String,
}

/// `kelly notify replay`.
#[derive(Debug, Args)]
pub struct ReplayNotifications {
    /// Ids of messages, as `kelly notify dead` lists them
    #[arg(value_name = "ID", required_unless_present = "destination")]
    pub ids: Vec<String>,
    /// All messages to this destination
    #[arg(long, value_name = "DESTINATION", conflicts_with = "ids")]
    pub destination: Option<String>,
}

/// `kelly notify check`.
#[derive(Debug, Args)]
pub struct CheckNotifications {
    /// The file, TOML or (by its name) JSON
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}
