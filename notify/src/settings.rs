//! Where what is sent, as a person writes it: a file in TOML or JSON.

use std::collections::BTreeMap;

use kelly_control::alert::{Alert, Severity};
use serde::{Deserialize, Serialize};

use crate::secret::SecretSource;

/// Everything that is set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where can be sent to.
    #[serde(rename = "destination")]
    pub destinations: Vec<Destination>,
    /// What goes where.
    #[serde(rename = "route")]
    pub routes: Vec<Route>,
    /// What happens when there is too much.
    pub digest: Digest,
    /// A sign of life for somebody who notices when it does not come.
    pub heartbeat: Option<Heartbeat>,
}

/// A kind of destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// PagerDuty, Events API v2.
    Pagerduty,
    /// Slack, with a bot's token.
    Slack,
    /// An HTTP endpoint, with the signatures of Standard Webhooks.
    Webhook,
    /// Email over SMTP.
    Email,
}

impl Kind {
    /// Its name in the file.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Pagerduty => "pagerduty",
            Self::Slack => "slack",
            Self::Webhook => "webhook",
            Self::Email => "email",
        }
    }

    /// Messages a minute, where nobody says another number: what the provider takes, or a reader.
    pub(crate) fn usual_per_minute(self) -> u32 {
        match self {
            Self::Pagerduty => 120,
            Self::Slack => 50,
            Self::Webhook => 600,
            Self::Email => 30,
        }
    }
}

/// How SMTP is protected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encryption {
    /// It begins in plain text and must become TLS.
    #[default]
    Starttls,
    /// TLS from the first byte.
    Tls,
    /// None. A password is not sent then.
    None,
}

/// Somewhere to send to. A secret is in a file or in a variable, never here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// Its name.
    pub id: String,
    /// What it is.
    pub kind: Kind,
    /// File with the secret: PagerDuty's routing key, Slack's bot token, a webhook's signing secret (`whsec_…`), SMTP's password.
    #[serde(default)]
    pub secret_file: Option<String>,
    /// Variable with it.
    #[serde(default)]
    pub secret_variable: Option<String>,
    /// Where: a webhook's address; of PagerDuty and Slack another one than the provider's own.
    #[serde(default)]
    pub url: Option<String>,
    /// File with the address of a webhook, where the address itself is a secret.
    #[serde(default)]
    pub url_file: Option<String>,
    /// Variable with it.
    #[serde(default)]
    pub url_variable: Option<String>,
    /// Slack: the channel's id.
    #[serde(default)]
    pub channel: Option<String>,
    /// Email: host:port of the SMTP server.
    #[serde(default)]
    pub server: Option<String>,
    /// Email: how the connection is protected.
    #[serde(default)]
    pub encryption: Encryption,
    /// Email: who signs in to the server.
    #[serde(default)]
    pub user: Option<String>,
    /// Email: the sender.
    #[serde(default)]
    pub from: Option<String>,
    /// Email: the recipients.
    #[serde(default)]
    pub to: Vec<String>,
    /// Messages a minute at most.
    #[serde(default)]
    pub per_minute: Option<u32>,
}

impl Destination {
    /// Where its secret is.
    #[must_use]
    pub fn secret(&self) -> Option<SecretSource> {
        SecretSource::of(self.secret_file.as_deref(), self.secret_variable.as_deref())
    }

    /// Where its address is, when that is a secret.
    #[must_use]
    pub fn secret_url(&self) -> Option<SecretSource> {
        SecretSource::of(self.url_file.as_deref(), self.url_variable.as_deref())
    }

    /// Messages a minute at most.
    #[must_use]
    pub fn rate_per_minute(&self) -> u32 {
        self.per_minute.unwrap_or(self.kind.usual_per_minute()).max(1)
    }
}

/// By what alerts are put together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum GroupBy {
    /// Not at all.
    Alert,
    /// The incident: alerts of one cause.
    Incident,
    /// The rule.
    Rule,
    /// The account.
    Account,
    /// The conversation.
    Conversation,
    /// The metric.
    Metric,
    /// A label's value.
    Label(String),
}

impl TryFrom<String> for GroupBy {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Ok(match text.as_str() {
            "alert" => Self::Alert,
            "incident" => Self::Incident,
            "rule" => Self::Rule,
            "account" => Self::Account,
            "conversation" => Self::Conversation,
            "metric" => Self::Metric,
            other => match other.strip_prefix("label:") {
                Some(label) if !label.is_empty() => Self::Label(label.to_owned()),
                _ => {
                    return Err(format!(
                        "{other:?} is nothing to group by: write alert, incident, rule, account, conversation, metric or \
                         label:NAME"
                    ));
                }
            },
        })
    }
}

impl From<GroupBy> for String {
    fn from(by: GroupBy) -> Self {
        match by {
            GroupBy::Alert => "alert".into(),
            GroupBy::Incident => "incident".into(),
            GroupBy::Rule => "rule".into(),
            GroupBy::Account => "account".into(),
            GroupBy::Conversation => "conversation".into(),
            GroupBy::Metric => "metric".into(),
            GroupBy::Label(label) => format!("label:{label}"),
        }
    }
}

/// What goes where. Everything that is named must fit; of a list one entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Its name.
    pub id: String,
    /// Where it goes.
    pub destinations: Vec<String>,
    /// Severities.
    #[serde(default)]
    pub severity: Vec<Severity>,
    /// Labels, with their values.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Accounts.
    #[serde(default)]
    pub accounts: Vec<String>,
    /// Rules.
    #[serde(default)]
    pub rules: Vec<String>,
    /// Metrics.
    #[serde(default)]
    pub metrics: Vec<String>,
    /// Only alerts that have climbed to a level which tells this person or role.
    #[serde(default)]
    pub escalated_to: Option<String>,
    /// By what alerts are put together.
    #[serde(default = "by_incident")]
    pub group_by: Vec<GroupBy>,
    /// Seconds that a group waits for more alerts before it is told of. What ends before is not told of.
    #[serde(default)]
    pub wait_seconds: u32,
    /// Seconds between two messages about what came to a group that was told of.
    #[serde(default = "half_a_minute")]
    pub more_seconds: u32,
    /// Minutes after which it is told of again while nobody acknowledges it; 0: never.
    #[serde(default = "four_hours")]
    pub renotify_minutes: u32,
    /// Whether criticals wait as well.
    #[serde(default)]
    pub criticals_wait: bool,
    /// Whether routes behind it are not asked for what it takes.
    #[serde(default)]
    pub last: bool,
}

fn by_incident() -> Vec<GroupBy> {
    vec![GroupBy::Incident]
}

fn half_a_minute() -> u32 {
    30
}

fn four_hours() -> u32 {
    240
}

impl Route {
    /// Whether it means this alert.
    #[must_use]
    pub fn takes(&self, alert: &Alert) -> bool {
        let one_of = |wanted: &[String], found: Option<&str>| {
            wanted.is_empty() || found.is_some_and(|found| wanted.iter().any(|wanted| wanted == found))
        };
        (self.severity.is_empty() || self.severity.contains(&alert.severity))
            && self.labels.iter().all(|(name, value)| alert.labels.get(name) == Some(value))
            && one_of(&self.accounts, alert.account_id.as_deref())
            && one_of(&self.rules, Some(&alert.rule))
            && one_of(&self.metrics, alert.metric.as_deref())
            && self.escalated_to.as_ref().is_none_or(|who| alert.climb.notify.contains(who))
    }

    /// The group that it puts an alert into.
    #[must_use]
    pub fn group_of(&self, alert: &Alert) -> String {
        let or_none = |value: Option<&str>| value.unwrap_or("none").to_owned();
        let parts = self.group_by.iter().map(|by| match by {
            GroupBy::Alert => format!("alert={}", alert.id),
            GroupBy::Incident => format!("incident={}", alert.incident),
            GroupBy::Rule => format!("rule={}", alert.rule),
            GroupBy::Account => format!("account={}", or_none(alert.account_id.as_deref())),
            GroupBy::Conversation => format!("conversation={}", or_none(alert.conversation_id.as_deref())),
            GroupBy::Metric => format!("metric={}", or_none(alert.metric.as_deref())),
            GroupBy::Label(label) => {
                format!("{label}={}", or_none(alert.labels.get(label).map(String::as_str)))
            }
        });
        let group = parts.collect::<Vec<_>>().join(" ");
        if group.is_empty() { "all".to_owned() } else { group }
    }
}

/// What happens when there is too much: a destination gets one message about many alerts. Criticals are told of as ever.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Digest {
    /// New groups within the window above which further ones go into the digest.
    pub over: u32,
    /// Seconds of the window.
    pub window_seconds: u32,
    /// Seconds between two messages of the digest.
    pub every_seconds: u32,
}

impl Default for Digest {
    fn default() -> Self {
        Self { over: 30, window_seconds: 600, every_seconds: 300 }
    }
}

/// A request to an address, again and again, while alerts are judged. Whoever is behind the address tells people when none comes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// Where.
    #[serde(default)]
    pub url: Option<String>,
    /// File with the address, where that is a secret.
    #[serde(default)]
    pub url_file: Option<String>,
    /// Variable with it.
    #[serde(default)]
    pub url_variable: Option<String>,
    /// How often.
    #[serde(default = "a_minute")]
    pub every_seconds: u32,
}

fn a_minute() -> u32 {
    60
}

impl Heartbeat {
    /// Where its address is, when that is a secret.
    #[must_use]
    pub fn secret_url(&self) -> Option<SecretSource> {
        SecretSource::of(self.url_file.as_deref(), self.url_variable.as_deref())
    }
}

impl Settings {
    /// One destination.
    #[must_use]
    pub fn destination(&self, id: &str) -> Option<&Destination> {
        self.destinations.iter().find(|destination| destination.id == id)
    }

    /// One route.
    #[must_use]
    pub fn route(&self, id: &str) -> Option<&Route> {
        self.routes.iter().find(|route| route.id == id)
    }
}
