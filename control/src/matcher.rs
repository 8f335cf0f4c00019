//! Which alerts a silence or a policy means.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::alert::{Alert, Severity};

/// All that is named must be equal. One that names nothing means no alert: a silence of everything is a mistake.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Matcher {
    /// Rule.
    pub rule: Option<String>,
    /// Metric.
    pub metric: Option<String>,
    /// Account.
    pub account_id: Option<String>,
    /// Conversation.
    pub conversation_id: Option<String>,
    /// Exactly this severity.
    pub severity: Option<Severity>,
    /// Labels that the alert must carry.
    pub labels: BTreeMap<String, String>,
}

impl Matcher {
    /// Whether it names nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it means this alert.
    #[must_use]
    pub fn matches(&self, alert: &Alert) -> bool {
        let same = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| Some(wanted) == found)
        };
        !self.is_empty()
            && same(&self.rule, Some(&alert.rule))
            && same(&self.metric, alert.metric.as_deref())
            && same(&self.account_id, alert.account_id.as_deref())
            && same(&self.conversation_id, alert.conversation_id.as_deref())
            && self.severity.is_none_or(|severity| severity == alert.severity)
            && self.labels.iter().all(|(name, value)| alert.labels.get(name) == Some(value))
    }
}
