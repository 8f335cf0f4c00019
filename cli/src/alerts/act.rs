//! What is done about alerts.

use chrono::Utc;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{NOT_DONE, not_done, path};
use crate::arguments::{Act, AlertsWhat, Matcher, Note, Silence, Unsilence};
use crate::client::{Client, Method};
use crate::output::{self, printable};

pub(super) async fn run(client: &Client, what: &AlertsWhat) -> anyhow::Result<u8> {
    match what {
        AlertsWhat::Ack(act) => many(client, "acknowledge", act, &[]).await,
        AlertsWhat::Unack(act) => many(client, "unacknowledge", act, &[]).await,
        AlertsWhat::Resolve(act) => many(client, "resolve", act, &[]).await,
        AlertsWhat::Reopen(act) => many(client, "reopen", act, &[]).await,
        AlertsWhat::Escalate(set) => many(client, "escalate", &set.act, &[("level", json!(set.level))]).await,
        AlertsWhat::Deescalate(set) => {
            many(client, "deescalate", &set.act, &[("level", json!(set.level))]).await
        }
        AlertsWhat::Assign(assign) => many(client, "assign", &assign.act, &[("to", json!(assign.to))]).await,
        AlertsWhat::Note(arguments) => note(client, arguments).await,
        AlertsWhat::Silence(arguments) => silence(client, arguments).await,
        AlertsWhat::Unsilence(arguments) => unsilence(client, arguments).await,
        // These only look.
        AlertsWhat::List(_)
        | AlertsWhat::Show(_)
        | AlertsWhat::Follow(_)
        | AlertsWhat::Silences(_)
        | AlertsWhat::Rules(_) => Ok(0),
    }
}

/// Each alert is decided upon by itself, and told on a line of its own.
async fn many(client: &Client, act: &str, arguments: &Act, more: &[(&str, Value)]) -> anyhow::Result<u8> {
    let alerts: Vec<Value> =
        arguments.ids.iter().map(|id| json!({"alert_id": id, "expected": arguments.expected})).collect();
    let mut body = json!({"act": act, "alerts": alerts, "note": arguments.note});
    for (name, value) in more {
        body[name] = value.clone();
    }
    let said = client.say(Method::POST, &path(&["bulk"]), Some(&body)).await?;
    if said.status != 200 {
        return not_done(&said);
    }
    if arguments.json {
        output::json(&said.answer)?;
    }
    let mut code = 0;
    for result in said.answer["results"].as_array().into_iter().flatten() {
        let id = result["alert_id"].as_str().unwrap_or_default();
        let is_done = result["status"] == 200;
        if !is_done {
            code = NOT_DONE;
        }
        if arguments.json {
            continue;
        }
        match is_done {
            true => output::line(format!("{id}  {}", told(&result["decided"])))?,
            false => {
                let detail = result["detail"].as_str().unwrap_or("no reason was given");
                output::line(format!("{id}  not done: {}", printable(detail)))?;
            }
        }
    }
    Ok(code)
}

fn told(decided: &Value) -> String {
    match decided["version"].as_u64() {
        Some(version) => format!("done, version {version}"),
        None => "it was so already".to_owned(),
    }
}

async fn note(client: &Client, arguments: &Note) -> anyhow::Result<u8> {
    let id = arguments.id.to_string();
    let body = json!({"text": arguments.text});
    let said = client.say(Method::POST, &path(&["note", &id]), Some(&body)).await?;
    if said.status != 200 {
        return not_done(&said);
    }
    if arguments.json {
        output::json(&said.answer)?
    } else {
        output::line(format!("{id}  noted"))?
    }
    Ok(0)
}

async fn silence(client: &Client, arguments: &Silence) -> anyhow::Result<u8> {
    let id = Uuid::now_v7().to_string();
    let ends_at = Utc::now() + arguments.lasts;
    let body = json!({
        "matcher": matcher(&arguments.matcher), "ends_at": ends_at, "reason": arguments.reason,
    });
    let said = client.say(Method::PUT, &path(&["silences", &id]), Some(&body)).await?;
    if said.status != 200 {
        return not_done(&said);
    }
    if arguments.json {
        output::json(&said.answer)?;
    } else {
        output::line(format!("{id}  in force until {}", output::time(ends_at.timestamp_millis())))?;
    }
    Ok(0)
}

fn matcher(matcher: &Matcher) -> Value {
    let mut named = Map::new();
    for (name, value) in [
        ("rule", &matcher.rule),
        ("metric", &matcher.metric),
        ("account_id", &matcher.account),
        ("conversation_id", &matcher.conversation),
    ] {
        if let Some(value) = value {
            named.insert(name.to_owned(), value.as_str().into());
        }
    }
    if let Some(severity) = matcher.severity {
        named.insert("severity".to_owned(), severity.as_str().into());
    }
    if !matcher.labels.is_empty() {
        let labels: Map<String, Value> =
            matcher.labels.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
        named.insert("labels".to_owned(), labels.into());
    }
    named.into()
}

async fn unsilence(client: &Client, arguments: &Unsilence) -> anyhow::Result<u8> {
    let id = arguments.id.to_string();
    let said = client.say(Method::DELETE, &path(&["silences", &id]), None).await?;
    if said.status != 200 {
        return not_done(&said);
    }
    if arguments.json {
        output::json(&said.answer)?;
    } else {
        output::line(format!("{id}  {}", told(&said.answer["decided"])))?;
    }
    Ok(0)
}
