//! `kelly alerts`: alerts in a terminal.

mod act;
mod follow;
mod show;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::Settings;
use crate::arguments::AlertsWhat;
use crate::client::{Client, Said};
use crate::output;

/// Where the routes of alerts lie.
const BASE: [&str; 4] = ["api", "v1", "kelly", "alerts"];

/// Exit code where somebody else was first, or it cannot be done.
const NOT_DONE: u8 = 3;

/// Does it.
pub async fn run(what: &AlertsWhat, settings: &Settings, stop: CancellationToken) -> anyhow::Result<u8> {
    let client = settings.client()?;
    match what {
        AlertsWhat::List(arguments) => show::list(&client, arguments).await,
        AlertsWhat::Show(arguments) => show::one(&client, arguments).await,
        AlertsWhat::Silences(arguments) => show::silences(&client, arguments).await,
        AlertsWhat::Rules(arguments) => show::rules(&client, arguments).await,
        AlertsWhat::Follow(arguments) => follow::run(&client, arguments, stop).await,
        other => act::run(&client, other).await,
    }
}

/// The path of a route.
fn path<'a>(parts: &[&'a str]) -> Vec<&'a str> {
    [&BASE[..], parts].concat()
}

/// Asks a question, and gives the answer on where it is to be printed as JSON.
async fn ask(client: &Client, parts: &[&str], parameters: &[(&str, String)]) -> anyhow::Result<Value> {
    client.ask(&path(parts), parameters).await
}

/// What was said where it was not done: to stderr, and as an exit code.
fn not_done(said: &Said) -> anyhow::Result<u8> {
    let Said { status, answer } = said;
    let detail = answer["detail"].as_str().unwrap_or("no reason was given");
    match status {
        404 | 409 | 422 => {
            eprintln!("kelly: not done: {}", output::printable(detail));
            Ok(NOT_DONE)
        }
        _ => Err(said.error()),
    }
}
