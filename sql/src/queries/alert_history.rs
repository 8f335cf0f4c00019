//! Alerts and rules of the past, as the control log's records are kept.

use clickhouse::Row;
use serde::Deserialize;
use uuid::Uuid;

use super::accounts::AccountFilter;
use crate::client::Store;
use crate::error::Result;

/// An alert as it is kept. Times are milliseconds since 1970; 0 for one that is not there.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
pub struct KeptAlert {
    /// Its rule.
    pub rule: String,
    /// The rule's version.
    pub rule_version: u32,
    /// Its account, or "".
    pub account_id: String,
    /// Its conversation, or "".
    pub conversation_id: String,
    /// Its metric, or "".
    pub metric_name: String,
    /// Its severity.
    pub severity: String,
    /// When it was raised, in event time.
    pub raised_ms: i64,
    /// When it was resolved.
    pub resolved_ms: i64,
    /// Where it is in its life.
    pub status: String,
}

/// What was last decided about a rule.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
pub struct RuleDecision {
    /// `rule.put` or `rule.delete`.
    pub op: String,
    /// The rule as JSON; "" of one that was removed.
    pub document: String,
    /// Where on the control log.
    pub log_offset: u64,
    /// When.
    pub log_time_ms: i64,
}

/// Which alerts. All that is named must be so. Times are milliseconds since 1970, of when they were raised.
#[derive(Debug, Clone, Copy)]
pub struct AlertsMatched<'a> {
    /// Only of these accounts.
    pub accounts: AccountFilter<'a>,
    /// Rule, or "".
    pub rule: &'a str,
    /// Metric, or "".
    pub metric: &'a str,
    /// Account, or "".
    pub account: &'a str,
    /// Conversation, or "".
    pub conversation: &'a str,
    /// Severity, or "".
    pub severity: &'a str,
    /// Names of labels.
    pub label_names: &'a [&'a str],
    /// And their values.
    pub label_values: &'a [&'a str],
    /// Start, included.
    pub from_ms: i64,
    /// End, excluded.
    pub to_ms: i64,
    /// Alerts at most, the newest.
    pub max_rows: u32,
}

/// An alert that is as asked for.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
pub struct MatchedAlert {
    /// Its id.
    pub alert: String,
    /// Its rule.
    pub rule: String,
    /// Its account, or "".
    pub account_id: String,
    /// Its conversation, or "".
    pub conversation_id: String,
    /// Its metric, or "".
    pub metric_name: String,
    /// Its severity.
    pub severity: String,
    /// Where it is in its life.
    pub status: String,
    /// When it was raised, in event time.
    pub raised_ms: i64,
    /// When it was resolved; 0 if it was not.
    pub resolved_ms: i64,
    /// What was wrong.
    pub explanation: String,
    /// How often somebody was to be told of it.
    pub tellings: u64,
}

impl Store {
    /// An alert as its newest record left it; `None` where nothing of it is kept.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn alert_now(&self, alert: Uuid) -> Result<Option<KeptAlert>> {
        let query = self.view("alert_now").await?.param("alert", alert.to_string());
        self.ask("read an alert", query.fetch_optional()).await
    }

    /// What was last decided about a rule up to a time; `None` where nothing of it is kept.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn rule_decision(&self, rule: &str, at_ms: i64) -> Result<Option<RuleDecision>> {
        let query = self.view("rule_document").await?.param("rule", rule).param("at_ms", at_ms);
        self.ask("read a rule as it was", query.fetch_optional()).await
    }

    /// The alerts that are as asked for, newest first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn alerts_matched(&self, question: &AlertsMatched<'_>) -> Result<Vec<MatchedAlert>> {
        let query = self
            .view("alerts_matched")
            .await?
            .param("accounts", question.accounts.parameter())
            .param("rule", question.rule)
            .param("metric", question.metric)
            .param("account", question.account)
            .param("conversation", question.conversation)
            .param("severity", question.severity)
            .param("label_names", question.label_names)
            .param("label_values", question.label_values)
            .param("from_ms", question.from_ms)
            .param("to_ms", question.to_ms)
            .param("max_rows", question.max_rows);
        self.ask("look which alerts are as asked for", query.fetch_all()).await
    }
}
