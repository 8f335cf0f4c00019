//! What goes over the wire, and what comes back.

use std::collections::{BTreeMap, VecDeque};

use kelly_control::alert::{Severity, Status};
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::notice::{AlertFacts, Links, Notice, Reason, ThreadStatus};
use crate::notifier::Delivery;
use crate::settings::Settings;

const T0: i64 = 1_800_000_000_000;

fn facts(number: u128, severity: Severity) -> AlertFacts {
    AlertFacts {
        id: Uuid::from_u128(number),
        rule: "slow_answers".into(),
        severity,
        status: Status::Active,
        entity: "account acme & <co>".into(),
        account_id: Some("acme & <co>".into()),
        conversation_id: None,
        metric: Some("response_time".into()),
        value: Some(93.204_56),
        threshold: Some(85.0),
        since_ms: T0 - 60_000,
        explanation: "response_time is above 85 for a minute".into(),
        labels: BTreeMap::from([("team".into(), "voice".into())]),
        runbook: Some("https://wiki.example.com/slow|answers".into()),
        acknowledged_by: None,
        owner: Some("ada".into()),
        ended_ms: None,
        ended_by: None,
        ended_value: None,
        links: Links {
            alert: Some("https://kelly.example.com/api/v1/kelly/monitoring/alerts/1".into()),
            drill_down: Some("https://kelly.example.com/d?timeframe=1h&account_id=acme".into()),
        },
    }
}

fn notice(reason: Reason) -> Notice {
    let mut also = facts(9, Severity::Warning);
    also.rule = "many_errors".into();
    Notice {
        key: "k1".into(),
        reason,
        status: ThreadStatus::Firing,
        severity: Severity::Critical,
        group: "incident=7".into(),
        is_digest: false,
        at_ms: T0,
        open: 25,
        all: 25,
        alerts: vec![facts(1, Severity::Critical), facts(2, Severity::Warning)],
        also: vec![also],
        rules: Vec::new(),
    }
}

fn resolved() -> Notice {
    let mut notice = notice(Reason::Resolved);
    notice.status = ThreadStatus::Resolved;
    notice.alerts.truncate(1);
    notice.alerts[0].status = Status::Resolved;
    notice.alerts[0].ended_ms = Some(T0);
    notice.alerts[0].ended_by = Some("the value is back where it should be".into());
    notice.alerts[0].ended_value = Some(71.0);
    notice.also.clear();
    Notice { open: 0, all: 1, ..notice }
}

fn digest() -> Notice {
    Notice {
        is_digest: true,
        rules: vec![("slow_answers".into(), 20), ("many_errors".into(), 5)],
        also: Vec::new(),
        ..notice(Reason::MoreAlerts)
    }
}

fn job(notice: Notice, act: Act, place: Option<Place>) -> Job {
    Job {
        thread: notice.key.clone(),
        destination: "d".into(),
        delivery: Delivery {
            id: "d1".into(),
            acts: VecDeque::from([act]),
            notice,
            made_ms: T0,
            attempts: 0,
            not_before_ms: T0,
            problem: None,
            is_unsure: false,
        },
        place,
    }
}

fn place() -> Option<Place> {
    Some(Place { channel: "C1".into(), message: "1800000000.000100".into() })
}

fn body(request: &Request) -> Value {
    serde_json::from_str(&request.body).unwrap()
}

#[test]
fn pagerduty_gets_an_event() {
    let asked = |notice| body(&pagerduty::request(None, "R0UTING", &job(notice, Act::Send, None)));
    insta::assert_json_snapshot!("pagerduty_trigger", asked(notice(Reason::Firing)));
    let acknowledge = json!({ "routing_key": "R0UTING", "event_action": "acknowledge", "dedup_key": "k1" });
    assert_eq!(asked(notice(Reason::Acknowledged)), acknowledge);
    let resolve = json!({ "routing_key": "R0UTING", "event_action": "resolve", "dedup_key": "k1" });
    assert_eq!(asked(resolved()), resolve);
}

#[test]
fn slack_gets_a_message_that_is_changed_with_replies_below() {
    let asked = |notice, act, place| slack::request(None, "xoxb-1", "C1", &job(notice, act, place));
    let post = asked(notice(Reason::Firing), Act::Send, None);
    assert_eq!(post.url, "https://slack.com/api/chat.postMessage");
    assert_eq!(post.headers, [("authorization", "Bearer xoxb-1".to_owned())]);
    insta::assert_json_snapshot!("slack_post", body(&post));
    let edit = asked(resolved(), Act::Edit, place());
    assert_eq!(edit.url, "https://slack.com/api/chat.update");
    insta::assert_json_snapshot!("slack_edit", body(&edit));
    let reply = asked(notice(Reason::Worse), Act::Reply, place());
    assert_eq!(reply.url, "https://slack.com/api/chat.postMessage");
    insta::assert_json_snapshot!("slack_reply", body(&reply));
    insta::assert_json_snapshot!("slack_digest", body(&asked(digest(), Act::Send, None)));
    // Without a place to change it is posted.
    assert!(asked(resolved(), Act::Edit, None).url.ends_with("chat.postMessage"));
    // The largest message stays below what Slack takes.
    let mut large = notice(Reason::Firing);
    let mut one = facts(3, Severity::Critical);
    one.explanation = "&".repeat(600);
    large.alerts = vec![one; 20];
    let large = body(&asked(large, Act::Send, None));
    let blocks = large["blocks"].as_array().unwrap();
    assert!(blocks.len() <= 50);
    assert!(blocks.iter().all(|block| block["text"]["text"].as_str().unwrap_or("").chars().count() <= 3_000));
}

#[test]
fn a_message_that_may_be_there_is_found() {
    let post = job(notice(Reason::Firing), Act::Send, None);
    let look = slack::look_for(None, "t", "C1", &post);
    assert_eq!(
        look.url,
        "https://slack.com/api/conversations.history?channel=C1&oldest=1799999940&limit=200&include_all_metadata=true"
    );
    let message = |delivery: &str| json!({ "ts": "5.6", "metadata": { "event_type": "kelly_notification", "event_payload": { "delivery": delivery, "key": "k1" } } });
    let response = |delivery| Response {
        status: 200,
        after_ms: None,
        body: json!({ "ok": true, "messages": [{ "ts": "1.1" }, message("other"), message(delivery)] })
            .to_string(),
    };
    let found = already_there("C1", &response("d1"), &post);
    assert_eq!(found, Some(Place { channel: "C1".into(), message: "5.6".into() }));
    assert_eq!(already_there("C1", &response("d2"), &post), None);
    let cannot =
        Response { status: 200, after_ms: None, body: r#"{"ok":false,"error":"missing_scope"}"#.into() };
    assert_eq!(already_there("C1", &cannot, &post), None);
    let reply = slack::look_for(None, "t", "C1", &job(notice(Reason::Worse), Act::Reply, place()));
    assert!(
        reply.url.contains("conversations.replies?channel=C1&ts=1800000000.000100&oldest="),
        "{}",
        reply.url
    );
}

#[test]
fn a_webhook_is_signed_as_the_standard_says() {
    // The example of the standard's own documentation.
    let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let key = webhook_signature_key(&secret).unwrap();
    let signature =
        webhook_signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
    assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    for wrong in ["hunter2", "whsec_", "whsec_aGk=", "whsec_?"] {
        let fault = webhook_signature_key(&Secret::new(wrong)).unwrap_err();
        assert!(!fault.contains("hunter2"), "{fault}");
    }
    let settings =
        Settings::parse_toml("[[destination]]\nid = 'd'\nkind = 'webhook'\nurl = 'https://x.example/'")
            .unwrap();
    let means = Means {
        destination: &settings.destinations[0],
        secret: Some(&secret),
        url: Some("https://x.example/"),
        now_s: 1_614_265_330,
    };
    let asked = request(&means, &job(notice(Reason::Firing), Act::Send, None)).unwrap();
    let names: Vec<_> = asked.headers.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["webhook-id", "webhook-timestamp", "webhook-signature"]);
    assert_eq!(asked.headers[2].1, webhook_signature(&key, "msg_d1", 1_614_265_330, &asked.body));
    insta::assert_json_snapshot!("webhook", body(&asked));
}

#[test]
fn an_email_reads_well_and_stays_in_its_thread() {
    let settings = Settings::parse_toml(
        "[[destination]]\nid = 'd'\nkind = 'email'\nserver = 'localhost:25'\nfrom = 'Kelly <kelly@example.com>'\nto = ['ops@example.com']",
    )
    .unwrap();
    let written = |notice| {
        let mail = mail(&settings.destinations[0], &job(notice, Act::Send, None)).unwrap();
        String::from_utf8(mail.formatted()).unwrap()
    };
    let first = written(notice(Reason::Firing));
    assert!(first.contains("Message-ID: <k1@example.com>\r\n") && !first.contains("In-Reply-To"), "{first}");
    assert!(first.contains("Auto-Submitted: auto-generated\r\n"), "{first}");
    let last = written(resolved());
    assert!(last.contains("Message-ID: <d1@example.com>\r\n"), "{last}");
    assert!(
        last.contains("In-Reply-To: <k1@example.com>\r\n")
            && last.contains("References: <k1@example.com>\r\n"),
        "{last}"
    );
    insta::assert_snapshot!("email", email::text(&notice(Reason::Firing)));
    insta::assert_snapshot!("email_resolved", email::text(&resolved()));
    insta::assert_snapshot!("email_digest", email::text(&digest()));
    // Nothing that an alert says can begin a header.
    let mut sly = notice(Reason::Firing);
    sly.alerts[0].entity = "x\r\nBcc: all@example.com".into();
    let sly = written(sly).to_lowercase();
    let (head, _) = sly.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("\r\nsubject:") && !head.contains("\r\nbcc:"), "{head}");
}

#[test]
fn answers_are_told_apart() {
    let response = |status: u16, body: &str| Response { status, after_ms: Some(3_000), body: body.into() };
    let word = |answer: &Answer| match answer {
        Answer::Accepted(None) => "accepted",
        Answer::Accepted(Some(_)) => "placed",
        Answer::Retry { after_ms: Some(3_000), .. } => "retry",
        Answer::Retry { .. } => "retry without a time",
        Answer::Busy { after_ms: Some(3_000) } => "busy",
        Answer::Busy { .. } => "busy without a time",
        Answer::Ill(_) => "ill",
        Answer::Gone(_) => "gone",
        Answer::Refused(_) => "refused",
        Answer::Lost => "lost",
    };
    let key =
        r#"{"status":"invalid event","message":"Event object is invalid","errors":["Invalid routing key"]}"#;
    let form = r#"{"status":"invalid event","errors":["'payload.summary' is missing or blank"]}"#;
    for (kind, act, status, body, expected) in [
        (Kind::Pagerduty, Act::Send, 202, "{}", "accepted"),
        (Kind::Pagerduty, Act::Send, 400, form, "refused"),
        (Kind::Pagerduty, Act::Send, 400, key, "ill"),
        (Kind::Pagerduty, Act::Send, 429, "", "busy"),
        (Kind::Pagerduty, Act::Send, 503, "", "retry"),
        (Kind::Webhook, Act::Send, 204, "", "accepted"),
        (Kind::Webhook, Act::Send, 302, "", "refused"),
        (Kind::Webhook, Act::Send, 401, "", "ill"),
        (Kind::Webhook, Act::Send, 403, "", "ill"),
        (Kind::Webhook, Act::Send, 404, "", "refused"),
        (Kind::Webhook, Act::Send, 408, "", "retry"),
        (Kind::Webhook, Act::Send, 410, "", "gone"),
        (Kind::Webhook, Act::Send, 500, "", "retry"),
        (Kind::Slack, Act::Send, 200, r#"{"ok":true,"channel":"C1","ts":"1.2"}"#, "placed"),
        (Kind::Slack, Act::Reply, 200, r#"{"ok":true,"channel":"C1","ts":"1.3"}"#, "accepted"),
        (Kind::Slack, Act::Edit, 200, r#"{"ok":true,"channel":"C1","ts":"1.2"}"#, "accepted"),
        (Kind::Slack, Act::Edit, 200, r#"{"ok":false,"error":"message_not_found"}"#, "lost"),
        (Kind::Slack, Act::Send, 200, r#"{"ok":false,"error":"invalid_auth"}"#, "ill"),
        (Kind::Slack, Act::Send, 200, r#"{"ok":false,"error":"channel_not_found"}"#, "ill"),
        (Kind::Slack, Act::Send, 200, r#"{"ok":false,"error":"ratelimited"}"#, "busy"),
        (Kind::Slack, Act::Send, 200, r#"{"ok":false,"error":"internal_error"}"#, "retry"),
        (Kind::Slack, Act::Send, 200, r#"{"ok":false,"error":"invalid_blocks"}"#, "refused"),
        (Kind::Slack, Act::Send, 200, "<html>", "refused"),
        (Kind::Slack, Act::Send, 429, "", "busy"),
        (Kind::Slack, Act::Send, 502, "", "retry"),
    ] {
        assert_eq!(
            word(&answer(kind, act, &response(status, body))),
            expected,
            "{kind:?} {act:?} {status} {body}"
        );
    }
    for (code, expected) in [
        (Some(535), "ill"),
        (Some(530), "ill"),
        (Some(550), "refused"),
        (Some(451), "retry without a time"),
        (None, "retry without a time"),
    ] {
        assert_eq!(word(&smtp_answer(code, "x".into())), expected, "{code:?}");
    }
}
