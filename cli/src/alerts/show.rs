//! Alerts, silences and rules as tables.

use serde_json::Value;

use super::{ask, not_done, path};
use crate::arguments::{ListAlerts, ListRules, ShowAlert, Silences};
use crate::client::{Client, Method};
use crate::output::{self, Paint, Tone, printable};

/// Characters of an explanation in a table.
const EXPLANATION_WIDTH: usize = 80;

pub(super) async fn list(client: &Client, arguments: &ListAlerts) -> anyhow::Result<u8> {
    let mut parameters = vec![("limit", arguments.limit.to_string())];
    for (name, value) in [
        ("severity", arguments.severity.map(|severity| severity.as_str().to_owned())),
        ("status", arguments.status.map(|status| status.as_str().to_owned())),
        ("account_id", arguments.account.clone()),
        ("conversation_id", arguments.conversation.clone()),
        ("metric", arguments.metric.clone()),
        ("rule", arguments.rule.clone()),
        ("mine", arguments.mine.then(|| "true".to_owned())),
    ] {
        parameters.extend(value.map(|value| (name, value)));
    }
    let page = ask(client, &["active"], &parameters).await?;
    if arguments.json {
        output::json(&page)?;
        return Ok(0);
    }
    let paint = Paint::stdout();
    let alerts: Vec<&Value> = page["alerts"].as_array().into_iter().flatten().collect();
    if !alerts.is_empty() {
        let rows = alerts.iter().map(|alert| {
            [
                text(&alert["id"]),
                severity(paint, alert),
                state(alert),
                moment(&alert["since"]),
                about(alert),
                shortened(&text(&alert["explanation"])),
            ]
        });
        output::line(output::table(["ID", "SEVERITY", "STATE", "SINCE", "ABOUT", "WHAT"], rows))?;
    }
    let counts = &page["counts"];
    let more = if page["next_cursor"].is_null() { "" } else { "; there are more, see --limit" };
    output::line(format!(
        "{} open: {} critical, {} warning, {} info; {} of them acknowledged{more}",
        counts["open"], counts["critical"], counts["warning"], counts["info"], counts["acknowledged"]
    ))?;
    Ok(0)
}

pub(super) async fn one(client: &Client, arguments: &ShowAlert) -> anyhow::Result<u8> {
    let id = arguments.id.to_string();
    let said = client.say(Method::GET, &path(&[&id]), None).await?;
    if said.status != 200 {
        return not_done(&said);
    }
    if arguments.json {
        output::json(&said.answer)?;
        return Ok(0);
    }
    let paint = Paint::stdout();
    let alert = &said.answer["alert"];
    output::line(format!("{}  {}  {}", severity(paint, alert), state(alert), text(&alert["explanation"])))?;
    for (name, value) in [
        ("id", text(&alert["id"])),
        ("rule", text(&alert["rule"])),
        ("about", about(alert)),
        ("value", number(&alert["value"])),
        ("threshold", number(&alert["threshold"])),
        ("since", moment(&alert["since"])),
        ("owner", text(&alert["owner"]["name"])),
        ("level", text(&alert["level"])),
        ("next level", moment(&alert["next_level_at"])),
        ("silenced by", text(&alert["silenced_by"])),
        ("runbook", text(&alert["runbook"])),
        ("incident", text(&alert["incident_id"])),
        ("version", text(&alert["version"])),
    ] {
        if !value.is_empty() {
            output::line(format!("  {name:<12} {value}"))?;
        }
    }
    for (name, value) in alert["labels"].as_object().into_iter().flatten() {
        output::line(format!("  {:<12} {}={}", "label", printable(name), text(value)))?;
    }
    let steps = said.answer["history"].as_array().into_iter().flatten();
    let rows = steps.map(|step| {
        [
            moment(&step["done"]["at"]),
            text(&step["step"]),
            text(&step["done"]["by"]["name"]),
            number(&step["value"]),
            shortened(&text(&step["note"])),
        ]
    });
    output::line("")?;
    output::line(output::table(["WHEN", "WHAT", "WHO", "VALUE", "NOTE"], rows))?;
    Ok(0)
}

pub(super) async fn silences(client: &Client, arguments: &Silences) -> anyhow::Result<u8> {
    let parameters = if arguments.ended { vec![("ended", "true".to_owned())] } else { Vec::new() };
    let answer = ask(client, &["silences"], &parameters).await?;
    if arguments.json {
        output::json(&answer)?;
        return Ok(0);
    }
    let silences: Vec<&Value> = answer["silences"].as_array().into_iter().flatten().collect();
    if silences.is_empty() {
        output::line(if arguments.ended { "no silence has ended" } else { "no silence is in force" })?;
        return Ok(0);
    }
    let rows = silences.into_iter().map(|silence| {
        let matched = match silence["stale"] == true {
            true => format!("{} (stale)", silence["matched"]),
            false => silence["matched"].to_string(),
        };
        [
            text(&silence["id"]),
            moment(&silence["ends_at"]),
            matched,
            text(&silence["made"]["by"]["name"]),
            matcher(&silence["matcher"]),
            shortened(&text(&silence["reason"])),
        ]
    });
    output::line(output::table(["ID", "ENDS", "MATCHED", "BY", "ALERTS", "WHY"], rows))?;
    Ok(0)
}

pub(super) async fn rules(client: &Client, arguments: &ListRules) -> anyhow::Result<u8> {
    let answer = ask(client, &["rules"], &[]).await?;
    if arguments.json {
        output::json(&answer)?;
        return Ok(0);
    }
    let rules: Vec<&Value> = answer["rules"].as_array().into_iter().flatten().collect();
    if rules.is_empty() {
        output::line("no rule was made over the API; `kelly rules builtin` prints the built-in ones")?;
        return Ok(0);
    }
    let rows = rules.into_iter().map(|rule| {
        [
            text(&rule["rule"]),
            text(&rule["document"]["kind"]),
            text(&rule["document"]["metric"]),
            text(&rule["version"]),
            text(&rule["changed"]["by"]["name"]),
            moment(&rule["changed"]["at"]),
        ]
    });
    output::line(output::table(["RULE", "KIND", "METRIC", "VERSION", "CHANGED BY", "AT"], rows))?;
    Ok(0)
}

/// What a message that is pushed says, on a line.
pub(super) fn pushed(paint: Paint, message: &Value) -> String {
    let alert = &message["data"];
    let steps: Vec<String> = message["steps"].as_array().into_iter().flatten().map(text).collect();
    let by = text(&message["by"]["name"]);
    format!(
        "{}  {}  {}  {}  {}  {}  ({by})",
        moment(&alert["changed"]["at"]),
        text(&alert["id"]),
        severity(paint, alert),
        steps.join(","),
        about(alert),
        shortened(&text(&alert["explanation"])),
    )
}

/// What is open already, on a line.
pub(super) fn open(paint: Paint, alert: &Value) -> String {
    format!(
        "{}  {}  {}  {}  {}  {}",
        moment(&alert["raised_at"]),
        text(&alert["id"]),
        severity(paint, alert),
        state(alert),
        about(alert),
        shortened(&text(&alert["explanation"])),
    )
}

fn severity(paint: Paint, alert: &Value) -> String {
    let word = text(&alert["severity"]);
    match &*word {
        "critical" => paint.tint(Tone::Bad, &word),
        "warning" => paint.tint(Tone::Warning, &word),
        _ => word,
    }
}

fn state(alert: &Value) -> String {
    let status = text(&alert["status"]);
    let who = text(&alert["acknowledged"]["by"]["name"]);
    match (&*status, alert["silenced_by"].is_null()) {
        ("acknowledged", _) if !who.is_empty() => format!("acknowledged by {who}"),
        ("active", false) => "silenced".to_owned(),
        _ => status,
    }
}

fn about(alert: &Value) -> String {
    let named = [("account_id", ""), ("conversation_id", "conversation "), ("metric", "")];
    let parts = named.into_iter().filter_map(|(field, before)| {
        let value = text(&alert[field]);
        (!value.is_empty()).then(|| format!("{before}{value}"))
    });
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() { "everything".to_owned() } else { parts.join(", ") }
}

fn matcher(matcher: &Value) -> String {
    let mut parts = Vec::new();
    for (name, value) in matcher.as_object().into_iter().flatten() {
        match value {
            Value::Object(labels) => {
                parts.extend(
                    labels.iter().map(|(name, value)| format!("{}={}", printable(name), text(value))),
                );
            }
            Value::Null => {}
            value => parts.push(format!("{name}={}", text(value))),
        }
    }
    parts.join(" ")
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => printable(text),
        other => other.to_string(),
    }
}

fn number(value: &Value) -> String {
    value.as_f64().map_or_else(String::new, |value| value.to_string())
}

/// To the second: what comes behind it says nothing to a person.
fn moment(value: &Value) -> String {
    let time = value.as_str().and_then(|text| chrono::DateTime::parse_from_rfc3339(text).ok());
    time.map_or_else(String::new, |time| time.to_utc().to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= EXPLANATION_WIDTH {
        return text.to_owned();
    }
    let begin: String = text.chars().take(EXPLANATION_WIDTH - 1).collect();
    format!("{begin}…")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_push_is_one_line_that_does_nothing_to_a_terminal() {
        let message = json!({
            "type": "alert_notification", "steps": ["raised"], "by": {"name": "evaluator", "kind": "evaluator"},
            "data": {
                "id": "7", "severity": "critical", "status": "active", "account_id": "acme", "conversation_id": null,
                "metric": "response_time", "explanation": format!("\u{1b}[2J{}", "x".repeat(100)),
                "changed": {"at": "2026-01-31T12:00:00.123Z"}, "silenced_by": null,
            }
        });
        let line = pushed(Paint::Plain, &message);
        let expected = format!(
            "2026-01-31T12:00:00Z  7  critical  raised  acme, response_time  \u{fffd}[2J{}…  (evaluator)",
            "x".repeat(75)
        );
        assert_eq!(line, expected);
    }

    #[test]
    fn a_state_says_who_has_it_and_whether_somebody_is_told() {
        let taken =
            json!({"status": "acknowledged", "acknowledged": {"by": {"name": "ada"}}, "silenced_by": "s"});
        assert_eq!(state(&taken), "acknowledged by ada");
        assert_eq!(state(&json!({"status": "active", "silenced_by": "s"})), "silenced");
        assert_eq!(state(&json!({"status": "active", "silenced_by": null})), "active");
        let all = json!({"rule": "r", "severity": null, "labels": {"team": "a"}});
        assert_eq!((matcher(&all), about(&json!({}))), ("team=a rule=r".to_owned(), "everything".to_owned()));
    }
}
