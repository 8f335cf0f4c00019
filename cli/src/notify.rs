//! `kelly notify`: looks through files of notifications, asks a running Kelly how they go, tries destinations, sends again.

use std::path::Path;

use anyhow::Context;
use kelly_notify::{JSON_SCHEMA, Settings as Notifications, SettingsFault};
use serde_json::Value;

use crate::arguments::{NotifyForm, NotifyWhat, ReplayNotifications};
use crate::client::Client;
use crate::output::{self, Paint, Tone};
use crate::{Settings, Usage};

/// Exit code of a test that was not taken.
const NOT_TAKEN: u8 = 1;

const ROUTES: &str = "api/v1/kelly/notifications";

/// Does what asks no Kelly; `None` when it is something else.
pub fn run_alone(what: &NotifyWhat) -> Option<anyhow::Result<u8>> {
    match what {
        NotifyWhat::Check(arguments) => Some(check(&arguments.file)),
        NotifyWhat::Schema => Some(output::line(JSON_SCHEMA.trim_end()).map(|()| 0)),
        _ => None,
    }
}

/// Does it.
pub async fn run(what: &NotifyWhat, settings: &Settings) -> anyhow::Result<u8> {
    if let Some(done) = run_alone(what) {
        return done;
    }
    let client = settings.client()?;
    match what {
        NotifyWhat::Status(form) => status(&client, form).await,
        NotifyWhat::Test(arguments) => test(&client, &arguments.destination).await,
        NotifyWhat::Dead(form) => dead(&client, form).await,
        NotifyWhat::Replay(arguments) => replay(&client, arguments).await,
        NotifyWhat::Check(_) | NotifyWhat::Schema => Ok(0),
    }
}

fn check(file: &Path) -> anyhow::Result<u8> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Usage(format!("reading notifications from {}: {error}", file.display())))?;
    let is_json = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let parsed = if is_json { Notifications::parse_json(&text) } else { Notifications::parse_toml(&text) };
    match parsed {
        Ok(settings) => {
            let (destinations, routes) = (settings.destinations.len(), settings.routes.len());
            output::line(format!("{destinations} destinations, {routes} routes, nothing is wrong"))?;
            Ok(0)
        }
        Err(SettingsFault::Wrong(faults)) => {
            let lines: Vec<String> = faults.iter().map(|fault| format!("\n  {fault}")).collect();
            Err(Usage(format!("{} cannot be used:{}", file.display(), lines.concat())).into())
        }
        Err(fault) => Err(Usage(format!("{}: {fault}", file.display())).into()),
    }
}

async fn status(client: &Client, form: &NotifyForm) -> anyhow::Result<u8> {
    let report = client.get(ROUTES).await?;
    if form.json {
        output::json(&report)?;
        return Ok(0);
    }
    let paint = Paint::stdout();
    for destination in list(&report, "destinations")? {
        let tone = match text(destination, "health") {
            "well" => Tone::Faint,
            "ill" => Tone::Bad,
            _ => Tone::Warning,
        };
        let problem =
            destination["problem"].as_str().map(|problem| format!("; {}", output::printable(problem)));
        output::line(format!(
            "{} {} ({}): {} waiting, {} sent, {} given up{}",
            paint.tint(tone, text(destination, "health")),
            text(destination, "id"),
            text(destination, "kind"),
            destination["waiting"],
            destination["sent"],
            destination["dead"],
            problem.unwrap_or_default(),
        ))?;
    }
    output::line(format!("{} open", report["open"]))?;
    Ok(0)
}

async fn test(client: &Client, destination: &str) -> anyhow::Result<u8> {
    let outcome = client.post(&format!("{ROUTES}/destinations/{}/test", in_path(destination)?)).await?;
    if outcome["delivered"] == true {
        output::line(format!("{destination} took the message"))?;
        return Ok(0);
    }
    let problem = output::printable(outcome["problem"].as_str().unwrap_or("it did not say why"));
    output::line(format!("{destination} did not take the message: {problem}"))?;
    Ok(NOT_TAKEN)
}

async fn dead(client: &Client, form: &NotifyForm) -> anyhow::Result<u8> {
    let report = client.get(&format!("{ROUTES}/dead")).await?;
    if form.json {
        output::json(&report)?;
        return Ok(0);
    }
    for message in list(&report, "messages")? {
        output::line(format!(
            "{}  {}  {}  {}: {}",
            text(message, "id"),
            text(message, "at"),
            text(message, "destination"),
            output::printable(text(message, "title")),
            output::printable(text(message, "problem")),
        ))?;
    }
    output::line(format!("{} given up", report["count"]))?;
    Ok(0)
}

async fn replay(client: &Client, arguments: &ReplayNotifications) -> anyhow::Result<u8> {
    let mut messages = 0;
    let paths = match &arguments.destination {
        Some(destination) => vec![format!("{ROUTES}/destinations/{}/replay", in_path(destination)?)],
        None => {
            let path = |id: &String| Ok(format!("{ROUTES}/dead/{}/replay", in_path(id)?));
            arguments.ids.iter().map(path).collect::<anyhow::Result<_>>()?
        }
    };
    for path in paths {
        messages += client.post(&path).await?["messages"].as_u64().unwrap_or(0);
    }
    output::line(format!("{messages} sent again"))?;
    Ok(0)
}

/// A name that stands in a path as it is.
fn in_path(name: &str) -> anyhow::Result<&str> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    if name.is_empty() || !name.chars().all(is_plain) {
        return Err(Usage(format!("{name:?} is no id of a destination or a message")).into());
    }
    Ok(name)
}

fn list<'a>(report: &'a Value, name: &str) -> anyhow::Result<&'a Vec<Value>> {
    report[name]
        .as_array()
        .with_context(|| format!("the answer has no {name}: is it a Kelly of this version?"))
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or("?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_looked_through() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).expect("a file");
            path
        };
        let good =
            file("a.toml", "[[destination]]\nid = 'a'\nkind = 'webhook'\nurl = 'https://x.example/'\n");
        assert_eq!(check(&good).expect("it can be used"), 0);
        let wrong = file("b.json", r#"{"route": [{"id": "all", "destinations": ["nobody"]}]}"#);
        let error = check(&wrong).expect_err("it cannot");
        assert!(
            error.is::<Usage>() && error.to_string().contains("there is no destination \"nobody\""),
            "{error}"
        );
        let broken = file("c.toml", "destination = 7");
        assert!(check(&broken).expect_err("it cannot").is::<Usage>());
        assert!(check(Path::new("/nowhere")).expect_err("it cannot").is::<Usage>());
    }

    #[test]
    fn a_name_cannot_leave_its_place() {
        assert!(in_path("slack-ops_1.b").is_ok());
        for wrong in ["", "a/b", "a?b", "a b", "%2e"] {
            assert!(in_path(wrong).is_err(), "{wrong}");
        }
    }
}
