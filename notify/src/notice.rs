//! What a message says, whoever it is for: numbers, names, times, links. No conversation text.

use std::collections::BTreeMap;

use kelly_control::alert::{Alert, DataReason, Severity, Status};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Most alerts a message lists; of further ones it says how many they are.
pub(crate) const MAX_LISTED: usize = 20;

/// Most alerts it names that fire elsewhere.
pub(crate) const MAX_ALSO: usize = 5;

/// Most rules a digest counts by name.
pub(crate) const MAX_RULES: usize = 15;

/// Longest explanation a message repeats, in characters; the alert itself has all of it.
const MAX_TEXT_CHARS: usize = 600;

/// Why a message is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It is the first one of its group.
    Firing,
    /// More alerts came to the group.
    MoreAlerts,
    /// It got worse.
    Worse,
    /// It got better, or some of it ended.
    Better,
    /// Somebody takes care.
    Acknowledged,
    /// Nobody takes care any more, or it is open again.
    ActiveAgain,
    /// It went up a level.
    Escalated,
    /// It is still there.
    Reminder,
    /// It is over.
    Resolved,
    /// Somebody tries whether it works.
    Test,
}

impl Reason {
    /// A word for it that does not change.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::MoreAlerts => "more_alerts",
            Self::Worse => "worse",
            Self::Better => "better",
            Self::Acknowledged => "acknowledged",
            Self::ActiveAgain => "active_again",
            Self::Escalated => "escalated",
            Self::Reminder => "reminder",
            Self::Resolved => "resolved",
            Self::Test => "test",
        }
    }
}

/// How a group of alerts is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThreadStatus {
    /// One of them is open, and nobody takes care of it.
    Firing,
    /// Somebody takes care of all that are open.
    Acknowledged,
    /// All are over.
    Resolved,
}

impl ThreadStatus {
    /// A word for it that does not change.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Acknowledged => "acknowledged",
            Self::Resolved => "resolved",
        }
    }
}

/// What a message says of one alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertFacts {
    /// Its id.
    pub id: Uuid,
    /// Its rule.
    pub rule: String,
    /// Its severity.
    pub severity: Severity,
    /// Where it is in its life.
    pub status: Status,
    /// What it is about.
    pub entity: String,
    /// Account.
    pub account_id: Option<String>,
    /// Conversation.
    pub conversation_id: Option<String>,
    /// Metric.
    pub metric: Option<String>,
    /// The newest value.
    pub value: Option<f64>,
    /// What it is held against.
    pub threshold: Option<f64>,
    /// Since when its condition holds, ms since the epoch.
    pub since_ms: i64,
    /// What is wrong.
    pub explanation: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Where to read what to do.
    pub runbook: Option<String>,
    /// Who takes care.
    pub acknowledged_by: Option<String>,
    /// Who owns it.
    pub owner: Option<String>,
    /// When it ended.
    pub ended_ms: Option<i64>,
    /// By whom or why it ended.
    pub ended_by: Option<String>,
    /// The value at its end.
    pub ended_value: Option<f64>,
    /// Where to look at it.
    pub links: Links,
}

/// Where to look.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Links {
    /// The alert.
    pub alert: Option<String>,
    /// The metric it is about, in detail.
    pub drill_down: Option<String>,
}

/// A message before it is written for somebody.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// The key under which a provider puts messages together.
    pub key: String,
    /// Why it is sent.
    pub reason: Reason,
    /// How the group is.
    pub status: ThreadStatus,
    /// The severity: the worst of what is open, at the end the worst of all.
    pub severity: Severity,
    /// What the alerts of the group have in common.
    pub group: String,
    /// Whether it stands for many groups, because there are too many.
    pub is_digest: bool,
    /// When it was made, ms since the epoch.
    pub at_ms: i64,
    /// Open alerts.
    pub open: usize,
    /// All alerts of the group.
    pub all: usize,
    /// Some of them, the worst first.
    pub alerts: Vec<AlertFacts>,
    /// What else fires for the same conversation, account or cause, the worst first.
    pub also: Vec<AlertFacts>,
    /// Of a digest: alerts a rule, the most first.
    pub rules: Vec<(String, usize)>,
}

impl AlertFacts {
    /// Of an alert as it is.
    pub(crate) fn of(alert: &Alert, public_url: Option<&str>) -> Self {
        let resolution = alert.resolution.as_ref();
        Self {
            id: alert.id,
            rule: alert.rule.clone(),
            severity: alert.severity,
            status: alert.status,
            entity: entity(alert),
            account_id: alert.account_id.clone(),
            conversation_id: alert.conversation_id.clone(),
            metric: alert.metric.clone(),
            value: alert.value,
            threshold: alert.threshold,
            since_ms: alert.since_ms,
            explanation: shortened(&alert.explanation, MAX_TEXT_CHARS),
            labels: alert.labels.clone(),
            runbook: alert.runbook.clone(),
            acknowledged_by: alert.acknowledged.as_ref().map(|by| by.actor.id.clone()),
            owner: alert.owner.as_ref().map(|owner| owner.to.clone()),
            ended_ms: resolution.map(|resolution| resolution.by.at_ms),
            ended_by: resolution.map(|resolution| match resolution.reason {
                Some(reason) => why(reason).to_owned(),
                None => resolution.by.actor.id.clone(),
            }),
            ended_value: resolution.and_then(|resolution| resolution.value),
            links: links(alert, public_url),
        }
    }
}

fn why(reason: DataReason) -> &'static str {
    match reason {
        DataReason::Recovered => "the value is back where it should be",
        DataReason::NoData => "no data came any more",
        DataReason::Vanished => "what it was about is gone",
        DataReason::RuleChanged => "the rule was changed",
        DataReason::RuleRemoved => "the rule was removed",
        DataReason::ScheduleEnded => "the rule's schedule ended",
    }
}

/// What an alert is about, in words.
fn entity(alert: &Alert) -> String {
    match (&alert.conversation_id, &alert.account_id) {
        (Some(conversation), Some(account)) => format!("conversation {conversation} of account {account}"),
        (Some(conversation), None) => format!("conversation {conversation}"),
        (None, Some(account)) => format!("account {account}"),
        (None, None) => "everything".to_owned(),
    }
}

fn links(alert: &Alert, public_url: Option<&str>) -> Links {
    let Some(base) = public_url.and_then(|url| reqwest::Url::parse(url).ok()) else {
        return Links::default();
    };
    let below = |path: &[&str]| {
        let mut url = base.clone();
        // An address that can be no base was refused when it was read.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v1", "kelly"]).extend(path);
        }
        url
    };
    let drill_down = alert.metric.as_ref().map(|metric| {
        let mut url = below(&["monitoring", "metrics", "detailed", metric]);
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("timeframe", "1h");
            for (name, value) in
                [("account_id", &alert.account_id), ("conversation_id", &alert.conversation_id)]
            {
                if let Some(value) = value {
                    query.append_pair(name, value);
                }
            }
        }
        url.to_string()
    });
    let alert = below(&["alerts", &alert.id.to_string()]).to_string();
    Links { alert: Some(alert), drill_down }
}

/// At most so many characters, with a mark where some are missing.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// A severity's word.
pub(crate) fn severity_word(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}

impl Notice {
    /// One line that says what matters.
    #[must_use]
    pub fn title(&self) -> String {
        if self.reason == Reason::Test {
            return "Test of notifications from Kelly: nothing is wrong".to_owned();
        }
        let word = match self.status {
            ThreadStatus::Firing => severity_word(self.severity).to_uppercase(),
            ThreadStatus::Acknowledged => {
                format!("{} (acknowledged)", severity_word(self.severity).to_uppercase())
            }
            ThreadStatus::Resolved => "RESOLVED".to_owned(),
        };
        if self.is_digest {
            let what =
                if self.status == ThreadStatus::Resolved { "all are over" } else { "not told of one by one" };
            return format!("{word}: {} alerts in a digest, {} open; {what}", self.all, self.open);
        }
        let Some(first) = self.alerts.first() else { return format!("{word}: {}", self.group) };
        let more = match self.all {
            0 | 1 => String::new(),
            all => format!(" and {} more", all - 1),
        };
        format!("{word}: {} for {}{}{more}", first.rule, first.entity, numbers(first))
    }

    /// A message that only shows that it arrives.
    #[must_use]
    pub fn test(key: String, at_ms: i64) -> Self {
        Self {
            key,
            reason: Reason::Test,
            status: ThreadStatus::Firing,
            severity: Severity::Info,
            group: "test".to_owned(),
            is_digest: false,
            at_ms,
            open: 0,
            all: 0,
            alerts: Vec::new(),
            also: Vec::new(),
            rules: Vec::new(),
        }
    }
}

/// `: 93.2, threshold 85`, as far as it is known.
pub(crate) fn numbers(alert: &AlertFacts) -> String {
    let ended = alert.status == Status::Resolved;
    let value = if ended { alert.ended_value.or(alert.value) } else { alert.value };
    match (value, alert.threshold) {
        (Some(value), Some(threshold)) => format!(": {}, threshold {}", number(value), number(threshold)),
        (Some(value), None) => format!(": {}", number(value)),
        (None, Some(threshold)) => format!(": threshold {}", number(threshold)),
        (None, None) => String::new(),
    }
}

/// A number as a person reads it: four digits that count.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-4..1e9).contains(&size) {
        return format!("{value:.3e}");
    }
    let whole = if size < 1.0 { 0.0 } else { size.log10().floor() };
    // From 0 to 8 digits before the point: no cast can lose anything.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 8")]
    let places = 3usize.saturating_sub(whole as usize) + usize::from(size < 1.0);
    let text = format!("{value:.places$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A time as a person reads it, in UTC.
pub(crate) fn time(ms: i64) -> String {
    chrono::DateTime::from_timestamp_millis(ms)
        .map_or_else(|| ms.to_string(), |time| time.format("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// A time as a program reads it.
pub(crate) fn rfc3339(ms: i64) -> String {
    chrono::DateTime::from_timestamp_millis(ms)
        .map_or_else(|| ms.to_string(), |time| time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, expected) in [
            (0.0, "0"),
            (0.85, "0.85"),
            (93.2, "93.2"),
            (93.204_56, "93.2"),
            (85.0, "85"),
            (1_234.56, "1235"),
            (250_000.0, "250000"),
            (0.000_51, "0.0005"),
            (0.000_001, "1.000e-6"),
            (-12.345, "-12.35"),
            (5e12, "5.000e12"),
        ] {
            assert_eq!(number(value), expected);
        }
    }

    #[test]
    fn long_text_is_marked() {
        assert_eq!(shortened("äöü", 3), "äöü");
        assert_eq!(shortened("äöüß", 3), "äö…");
    }
}
