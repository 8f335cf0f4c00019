//! Slack: one message a thread, changed in place, with what happened below it.

use serde_json::{Value, json};

use super::{Request, Response, by_status, facts, json_of, place_of};
use crate::notice::{AlertFacts, Notice, Reason, ThreadStatus, severity_word, shortened, time};
use crate::notifier::Answer;
use crate::notifier::{Act, Job, Place};

const URL: &str = "https://slack.com/api";

/// Longest text of a block; Slack takes 3,000 characters.
const MAX_BLOCK_CHARS: usize = 2_900;

/// Most alerts with a block of their own: Slack takes 50 blocks, and a message is to be read.
const MAX_ALERT_BLOCKS: usize = 8;

/// What marks a message as ours, so that it can be found again.
const EVENT: &str = "kelly_notification";

pub(super) fn request(url: Option<&str>, token: &str, channel: &str, job: &Job) -> Request {
    let notice = &job.delivery.notice;
    let act = job.delivery.acts.front().copied().unwrap_or(Act::Send);
    let mut body = match (act, place_of(job)) {
        (Act::Edit, Some(place)) => json!({ "channel": place.channel, "ts": place.message }),
        (Act::Reply, Some(place)) => json!({
            "channel": place.channel,
            "thread_ts": place.message,
            "reply_broadcast": is_for_all(notice.reason),
        }),
        _ => json!({ "channel": channel }),
    };
    let method = if body.get("ts").is_some() { "chat.update" } else { "chat.postMessage" };
    body["text"] = json!(escaped(&notice.title()));
    body["blocks"] = if body.get("thread_ts").is_some() { reply(notice) } else { blocks(notice) };
    if method == "chat.postMessage" {
        body["unfurl_links"] = json!(false);
        let mark = json!({ "delivery": job.delivery.id, "key": notice.key });
        body["metadata"] = json!({ "event_type": EVENT, "event_payload": mark });
    }
    Request { url: below(url, method), headers: vec![bearer(token)], body: body.to_string() }
}

/// The question whether a message of which nobody knows is there already. A reply is looked for below its message. Without a body:
/// what only reads is asked with GET.
pub(crate) fn look_for(url: Option<&str>, token: &str, channel: &str, job: &Job) -> Request {
    // Clocks may differ a little.
    let oldest_s = job.delivery.made_ms / 1_000 - 60;
    let rest = format!("oldest={oldest_s}&limit=200&include_all_metadata=true");
    // Channels are letters and digits, time stamps digits and a point: nothing to be escaped.
    let question = match (job.delivery.acts.front(), place_of(job)) {
        (Some(Act::Reply), Some(place)) => {
            format!("conversations.replies?channel={}&ts={}&{rest}", place.channel, place.message)
        }
        _ => format!("conversations.history?channel={channel}&{rest}"),
    };
    Request { url: below(url, &question), headers: vec![bearer(token)], body: String::new() }
}

/// Where a message is, when the answer to [`look_for`] has it; `None` when it cannot tell.
pub(crate) fn already_there(channel: &str, response: &Response, job: &Job) -> Option<Place> {
    let said = json_of(&response.body);
    let messages = said["messages"].as_array()?;
    let ours = messages.iter().find(|message| {
        let metadata = &message["metadata"];
        metadata["event_type"] == EVENT && metadata["event_payload"]["delivery"] == job.delivery.id.as_str()
    })?;
    Some(Place { channel: channel.to_owned(), message: ours["ts"].as_str()?.to_owned() })
}

pub(super) fn answer(act: Act, response: &Response) -> Answer {
    if !(200..300).contains(&response.status) {
        return by_status(response, "");
    }
    let said = json_of(&response.body);
    if said["ok"] == true {
        let text = |name: &str| said[name].as_str().map(str::to_owned);
        let place = text("channel").zip(text("ts")).map(|(channel, message)| Place { channel, message });
        return Answer::Accepted(place.filter(|_| act == Act::Send));
    }
    let code = shortened(said["error"].as_str().unwrap_or("no reason"), 100);
    let problem = format!("it answered {code}");
    match code.as_str() {
        "ratelimited" | "rate_limited" => Answer::Busy { after_ms: response.after_ms },
        "message_not_found" | "cant_update_message" | "edit_window_closed" | "thread_not_found" => {
            Answer::Lost
        }
        "invalid_auth"
        | "not_authed"
        | "token_revoked"
        | "token_expired"
        | "account_inactive"
        | "missing_scope"
        | "no_permission"
        | "org_login_required"
        | "access_denied"
        | "not_in_channel"
        | "channel_not_found"
        | "is_archived"
        | "ekm_access_denied"
        | "not_allowed_token_type" => Answer::Ill(problem),
        "internal_error"
        | "fatal_error"
        | "service_unavailable"
        | "request_timeout"
        | "team_added_to_org" => Answer::Retry { after_ms: response.after_ms, problem, is_unsure: true },
        _ => Answer::Refused(problem),
    }
}

fn below(url: Option<&str>, method: &str) -> String {
    format!("{}/{method}", url.unwrap_or(URL).trim_end_matches('/'))
}

fn bearer(token: &str) -> (&'static str, String) {
    ("authorization", format!("Bearer {token}"))
}

/// Whether a reply is also shown to the channel.
fn is_for_all(reason: Reason) -> bool {
    matches!(reason, Reason::Worse | Reason::Escalated | Reason::Reminder | Reason::ActiveAgain)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn section(text: &str) -> Value {
    json!({ "type": "section", "text": { "type": "mrkdwn", "text": shortened(text, MAX_BLOCK_CHARS) } })
}

fn mark(notice: &Notice) -> &'static str {
    match (notice.status, severity_word(notice.severity)) {
        (ThreadStatus::Resolved, _) => ":white_check_mark:",
        (ThreadStatus::Acknowledged, _) => ":eyes:",
        (ThreadStatus::Firing, "critical") => ":red_circle:",
        (ThreadStatus::Firing, "warning") => ":large_yellow_circle:",
        (ThreadStatus::Firing, _) => ":large_blue_circle:",
    }
}

fn blocks(notice: &Notice) -> Value {
    let mut blocks = vec![section(&format!("{} *{}*", mark(notice), escaped(&notice.title())))];
    if notice.is_digest {
        let rules = notice.rules.iter().map(|(rule, count)| format!("• {count} × {}", escaped(rule)));
        blocks.push(section(&rules.collect::<Vec<_>>().join("\n")));
    } else {
        blocks.extend(notice.alerts.iter().take(MAX_ALERT_BLOCKS).map(|alert| section(&of_alert(alert))));
    }
    let unlisted = notice.all.saturating_sub(notice.alerts.len().min(MAX_ALERT_BLOCKS));
    if unlisted > 0 && !notice.is_digest {
        blocks.push(section(&format!("… and {unlisted} more")));
    }
    if !notice.also.is_empty() {
        let also = notice.also.iter().map(|alert| {
            format!(
                "• {} {} for {}",
                severity_word(alert.severity),
                escaped(&alert.rule),
                escaped(&alert.entity)
            )
        });
        blocks.push(section(&format!("*Also firing*\n{}", also.collect::<Vec<_>>().join("\n"))));
    }
    let context =
        format!("{} · {} · {}", escaped(&notice.group), escaped(&facts::why(notice)), time(notice.at_ms));
    blocks.push(json!({ "type": "context", "elements": [{ "type": "mrkdwn", "text": shortened(&context, MAX_BLOCK_CHARS) }] }));
    Value::Array(blocks)
}

fn of_alert(alert: &AlertFacts) -> String {
    let mut lines: Vec<String> = facts::lines(alert).iter().map(|line| escaped(line)).collect();
    let links = facts::links(alert).into_iter().map(|(name, url)| {
        // What would end a link is written as an address has it.
        let url = escaped(url).replace('|', "%7C");
        format!("<{url}|{name}>")
    });
    let links = links.collect::<Vec<_>>().join(" · ");
    if !links.is_empty() {
        lines.push(links);
    }
    lines.join("\n")
}

fn reply(notice: &Notice) -> Value {
    let mut text = format!("{} {}", mark(notice), escaped(&facts::why(notice)));
    for alert in notice.alerts.iter().take(3) {
        text.push_str(&format!("\n{}", escaped(&facts::lines(alert).join(" · "))));
    }
    Value::Array(vec![section(&text)])
}
