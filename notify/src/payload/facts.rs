//! The facts of a message in words and as JSON, for all who send them.

use serde_json::{Map, Value, json};

use crate::notice::{AlertFacts, Notice, Reason, number, numbers, rfc3339, severity_word, time};

/// Why it is sent, in words.
pub(super) fn why(notice: &Notice) -> String {
    let count = |count: usize| if count == 1 { "1 alert".to_owned() } else { format!("{count} alerts") };
    match notice.reason {
        Reason::Firing => format!("{} firing", count(notice.open)),
        Reason::MoreAlerts => format!("more alerts: {} open now", count(notice.open)),
        Reason::Worse => format!("worse: {} now", severity_word(notice.severity)),
        Reason::Better => format!("better: {} open, {}", count(notice.open), severity_word(notice.severity)),
        Reason::Acknowledged => match acknowledger(notice) {
            Some(who) => format!("acknowledged by {who}"),
            None => "acknowledged".to_owned(),
        },
        Reason::ActiveAgain => format!("active again: {} open", count(notice.open)),
        Reason::Escalated => "escalated: nobody has acknowledged it, or somebody asked for more".to_owned(),
        Reason::Reminder => {
            format!("still there, and nobody has acknowledged it: {} open", count(notice.open))
        }
        Reason::Resolved => "resolved".to_owned(),
        Reason::Test => "somebody tries whether notifications arrive".to_owned(),
    }
}

fn acknowledger(notice: &Notice) -> Option<&str> {
    notice.alerts.iter().find_map(|alert| alert.acknowledged_by.as_deref())
}

/// One alert in lines.
pub(super) fn lines(alert: &AlertFacts) -> Vec<String> {
    let mut lines = vec![
        format!("{} {} for {}{}", severity_word(alert.severity), alert.rule, alert.entity, numbers(alert)),
        format!("since {}", time(alert.since_ms)),
    ];
    if !alert.explanation.is_empty() {
        lines.push(alert.explanation.clone());
    }
    if let Some(owner) = &alert.owner {
        lines.push(format!("owner: {owner}"));
    }
    if let Some(who) = &alert.acknowledged_by {
        lines.push(format!("acknowledged by {who}"));
    }
    if let Some(ended_ms) = alert.ended_ms {
        let value = alert.ended_value.map(|value| format!(" at {}", number(value))).unwrap_or_default();
        let by = alert.ended_by.as_deref().unwrap_or("unknown");
        lines.push(format!("ended {}{value}: {by}", time(ended_ms)));
    }
    lines
}

/// The links of an alert, with their names.
pub(super) fn links(alert: &AlertFacts) -> Vec<(&'static str, &str)> {
    [
        ("Alert", alert.links.alert.as_deref()),
        ("Drill-down", alert.links.drill_down.as_deref()),
        (
            "Runbook",
            alert.runbook.as_deref().filter(|url| url.starts_with("https://") || url.starts_with("http://")),
        ),
    ]
    .into_iter()
    .filter_map(|(name, link)| Some((name, link?)))
    .collect()
}

/// Alerts that the message does not list.
pub(super) fn unlisted(notice: &Notice) -> usize {
    notice.all.saturating_sub(notice.alerts.len())
}

/// One alert as JSON.
pub(super) fn alert(alert: &AlertFacts) -> Value {
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| {
        if !value.is_null() {
            object.insert(name.to_owned(), value);
        }
    };
    put("id", json!(alert.id));
    put("rule", json!(alert.rule));
    put("severity", json!(alert.severity));
    put("status", json!(alert.status));
    put("entity", json!(alert.entity));
    put("account_id", json!(alert.account_id));
    put("conversation_id", json!(alert.conversation_id));
    put("metric", json!(alert.metric));
    put("value", json!(alert.value));
    put("threshold", json!(alert.threshold));
    put("since", json!(rfc3339(alert.since_ms)));
    put("explanation", json!(alert.explanation));
    put("labels", json!(alert.labels));
    put("runbook", json!(alert.runbook));
    put("acknowledged_by", json!(alert.acknowledged_by));
    put("owner", json!(alert.owner));
    put("ended_at", json!(alert.ended_ms.map(rfc3339)));
    put("ended_by", json!(alert.ended_by));
    put("ended_value", json!(alert.ended_value));
    put("link", json!(alert.links.alert));
    put("drill_down", json!(alert.links.drill_down));
    Value::Object(object)
}

/// A message as JSON.
pub(super) fn message(notice: &Notice) -> Value {
    let rules: Vec<Value> =
        notice.rules.iter().map(|(rule, count)| json!({ "rule": rule, "alerts": count })).collect();
    json!({
        "key": notice.key,
        "title": notice.title(),
        "reason": notice.reason,
        "status": notice.status,
        "severity": notice.severity,
        "group": notice.group,
        "digest": notice.is_digest,
        "open": notice.open,
        "all": notice.all,
        "not_listed": unlisted(notice),
        "alerts": notice.alerts.iter().map(alert).collect::<Vec<_>>(),
        "also_firing": notice.also.iter().map(alert).collect::<Vec<_>>(),
        "rules": rules,
    })
}
