//! What a silence would have hidden: alerts of the past that it means.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use kelly_auth::Accounts;
use kelly_sql::queries::{AlertsMatched, MatchedAlert};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::error::QueryError;
use crate::plan::window_asked;
use crate::range::RangeRequest;
use crate::service::QueryService;
use crate::whose::Whose;
use crate::window::Window;

/// Alerts that are looked at, the newest of the window. Beyond, the answer says that there are more.
pub const MAX_SILENCED_ALERTS: u32 = 10_000;

/// Alerts that are shown.
pub const MAX_SHOWN_SILENCED: usize = 100;

/// Rules and accounts that are listed with their counts.
const MAX_LISTED: usize = 20;

/// Which alerts a silence would mean, and over which time to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SilencePreviewRequest {
    /// The accounts that the asker may see.
    pub accounts: Accounts,
    /// Over which time.
    pub range: RangeRequest,
    /// Which alerts.
    pub matched: SilenceMatcher,
}

/// What alerts must be like; what is `None` may be anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SilenceMatcher {
    /// Rule.
    pub rule: Option<String>,
    /// Metric.
    pub metric: Option<String>,
    /// Account.
    pub account_id: Option<String>,
    /// Conversation.
    pub conversation_id: Option<String>,
    /// Exactly this severity.
    pub severity: Option<String>,
    /// Labels that the alert carries.
    pub labels: BTreeMap<String, String>,
}

/// What a silence would have hidden.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct SilencePreview {
    /// The time in which alerts were raised.
    pub window: Window,
    /// How many alerts.
    pub alerts: u64,
    /// Whether there are older ones that were not looked at.
    pub more: bool,
    /// How many of them are critical.
    pub critical: u64,
    /// How many are not resolved: those it would hide from now on.
    pub open: u64,
    /// How often somebody was to be told of them.
    pub notifications: u64,
    /// By rule, those with most alerts first, at most 20.
    pub by_rule: Vec<SilencedCount>,
    /// By account, the same; of no account under an empty name.
    pub by_account: Vec<SilencedCount>,
    /// The newest of them, at most 100.
    pub newest: Vec<SilencedAlert>,
}

/// How many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct SilencedCount {
    /// Of what.
    pub name: String,
    /// Alerts.
    pub alerts: u64,
}

/// An alert that it would have hidden.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct SilencedAlert {
    /// Its id.
    pub alert_id: Uuid,
    /// Its rule.
    pub rule: String,
    /// Its severity.
    #[schema(example = "warning")]
    pub severity: String,
    /// `active`, `acknowledged` or `resolved`.
    #[schema(example = "resolved")]
    pub status: String,
    /// Its account.
    pub account_id: Option<String>,
    /// Its conversation.
    pub conversation_id: Option<String>,
    /// Its metric.
    pub metric_name: Option<String>,
    /// When it was raised.
    pub raised_at: DateTime<Utc>,
    /// When it was resolved.
    pub resolved_at: Option<DateTime<Utc>>,
    /// What was wrong.
    pub explanation: String,
}

impl SilenceMatcher {
    /// Whether it names nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl QueryService {
    /// What a silence would have hidden, of alerts that the asker may see.
    ///
    /// # Errors
    /// When a parameter is at fault or the store does not answer.
    pub async fn preview_silence(
        &self,
        request: SilencePreviewRequest,
    ) -> Result<SilencePreview, QueryError> {
        let SilencePreviewRequest { accounts, range, matched } = request;
        if matched.is_empty() {
            return Err(QueryError::bad("matcher", "names nothing; a silence of everything is a mistake"));
        }
        let whose = Whose::asked(matched.account_id.as_deref(), &accounts)?;
        let window = window_asked(&range, &self.retention().await?, self.now())?;
        let (label_names, label_values): (Vec<&str>, Vec<&str>) =
            matched.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).unzip();
        let question = AlertsMatched {
            accounts: whose.filter(),
            rule: matched.rule.as_deref().unwrap_or_default(),
            metric: matched.metric.as_deref().unwrap_or_default(),
            account: matched.account_id.as_deref().unwrap_or_default(),
            conversation: matched.conversation_id.as_deref().unwrap_or_default(),
            severity: matched.severity.as_deref().unwrap_or_default(),
            label_names: &label_names,
            label_values: &label_values,
            from_ms: window.from.timestamp_millis(),
            to_ms: window.to.timestamp_millis(),
            max_rows: MAX_SILENCED_ALERTS + 1,
        };
        let found = self.parts().store.alerts_matched(&question).await;
        let mut found = found.map_err(QueryError::from_store("what a silence would have hidden"))?;
        let more = found.len() > MAX_SILENCED_ALERTS as usize;
        found.truncate(MAX_SILENCED_ALERTS as usize);
        Ok(summed_up(window, &found, more))
    }
}

fn summed_up(window: Window, found: &[MatchedAlert], more: bool) -> SilencePreview {
    let count = |is_so: fn(&MatchedAlert) -> bool| found.iter().filter(|alert| is_so(alert)).count() as u64;
    SilencePreview {
        window,
        alerts: found.len() as u64,
        more,
        critical: count(|alert| alert.severity == "critical"),
        open: count(|alert| alert.status != "resolved"),
        notifications: found.iter().map(|alert| alert.tellings).sum(),
        by_rule: counted(found.iter().map(|alert| alert.rule.as_str())),
        by_account: counted(found.iter().map(|alert| alert.account_id.as_str())),
        newest: found.iter().take(MAX_SHOWN_SILENCED).map(shown).collect(),
    }
}

fn counted<'a>(names: impl Iterator<Item = &'a str>) -> Vec<SilencedCount> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    names.for_each(|name| *counts.entry(name).or_default() += 1);
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, alerts)| std::cmp::Reverse(*alerts));
    counts
        .into_iter()
        .take(MAX_LISTED)
        .map(|(name, alerts)| SilencedCount { name: name.to_owned(), alerts })
        .collect()
}

fn shown(alert: &MatchedAlert) -> SilencedAlert {
    let named = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let instant = |ms: i64| DateTime::UNIX_EPOCH + TimeDelta::milliseconds(ms);
    SilencedAlert {
        alert_id: Uuid::try_parse(&alert.alert).unwrap_or_default(),
        rule: alert.rule.clone(),
        severity: alert.severity.clone(),
        status: alert.status.clone(),
        account_id: named(&alert.account_id),
        conversation_id: named(&alert.conversation_id),
        metric_name: named(&alert.metric_name),
        raised_at: instant(alert.raised_ms),
        resolved_at: (alert.resolved_ms > 0).then(|| instant(alert.resolved_ms)),
        explanation: alert.explanation.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_are_counted_by_what_they_are() {
        let alert = |number: u128, rule: &str, severity: &str, status: &str| MatchedAlert {
            alert: Uuid::from_u128(number).to_string(),
            rule: rule.to_owned(),
            account_id: String::new(),
            conversation_id: "c".to_owned(),
            metric_name: "m".to_owned(),
            severity: severity.to_owned(),
            status: status.to_owned(),
            raised_ms: 1_800_000_000_000,
            resolved_ms: if status == "resolved" { 1_800_000_060_000 } else { 0 },
            explanation: "m is 9".to_owned(),
            tellings: 2,
        };
        let window = Window { from: DateTime::UNIX_EPOCH, to: DateTime::UNIX_EPOCH };
        let found = [
            alert(1, "b", "warning", "resolved"),
            alert(2, "a", "critical", "active"),
            alert(3, "a", "warning", "acknowledged"),
        ];
        let preview = summed_up(window, &found, false);
        assert_eq!((preview.alerts, preview.critical, preview.open, preview.notifications), (3, 1, 2, 6));
        let names: Vec<(&str, u64)> =
            preview.by_rule.iter().map(|count| (count.name.as_str(), count.alerts)).collect();
        assert_eq!(names, [("a", 2), ("b", 1)]);
        assert_eq!((preview.by_account.len(), preview.newest.len()), (1, 3));
        let first = &preview.newest[0];
        assert_eq!((first.alert_id, first.account_id.as_deref()), (Uuid::from_u128(1), None));
        assert_eq!(first.resolved_at.unwrap() - first.raised_at, TimeDelta::minutes(1));
        assert_eq!(preview.newest[1].resolved_at, None);
    }
}
