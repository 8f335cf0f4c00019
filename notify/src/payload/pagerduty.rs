//! PagerDuty, Events API v2.

use serde_json::{Value, json};

use super::{Request, Response, by_status, facts, json_of};
use crate::notice::{Notice, Reason, rfc3339, severity_word, shortened};
use crate::notifier::Answer;
use crate::notifier::Job;

const URL: &str = "https://events.pagerduty.com/v2/enqueue";

/// Longest summary, in characters.
const MAX_SUMMARY: usize = 1_024;

pub(super) fn request(url: Option<&str>, key: &str, job: &Job) -> Request {
    Request {
        url: url.unwrap_or(URL).to_owned(),
        headers: Vec::new(),
        body: body(key, &job.delivery.notice).to_string(),
    }
}

pub(super) fn body(routing_key: &str, notice: &Notice) -> Value {
    let action = match notice.reason {
        Reason::Acknowledged => "acknowledge",
        Reason::Resolved => "resolve",
        _ => "trigger",
    };
    let mut body = json!({
        "routing_key": routing_key,
        "event_action": action,
        "dedup_key": notice.key,
    });
    if action != "trigger" {
        return body;
    }
    let first = notice.alerts.first();
    let links: Vec<Value> = first
        .into_iter()
        .flat_map(facts::links)
        .map(|(text, href)| json!({ "href": href, "text": text }))
        .collect();
    body["client"] = json!("Kelly");
    if let Some(link) = first.and_then(|alert| alert.links.alert.as_ref()) {
        body["client_url"] = json!(link);
    }
    body["links"] = Value::Array(links);
    body["payload"] = json!({
        "summary": shortened(&notice.title(), MAX_SUMMARY),
        "source": first.map_or("kelly", |alert| alert.entity.as_str()),
        // Its words are critical, error, warning and info: ours are among them.
        "severity": severity_word(notice.severity),
        "timestamp": rfc3339(first.map_or(notice.at_ms, |alert| alert.since_ms)),
        "component": first.and_then(|alert| alert.metric.as_deref()),
        "group": notice.group,
        "class": first.map(|alert| alert.rule.as_str()),
        "custom_details": facts::message(notice),
    });
    body
}

pub(super) fn answer(response: &Response) -> Answer {
    let said = json_of(&response.body);
    let errors = said["errors"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let errors = shortened(&errors.collect::<Vec<_>>().join(", "), 200);
    // A wrong routing key is answered like an event of a wrong form.
    let is_about_key = errors.to_ascii_lowercase().replace('_', " ").contains("routing key");
    match response.status {
        400 if is_about_key => Answer::Ill(format!("it does not take the routing key: {errors}")),
        _ => by_status(response, &errors),
    }
}
