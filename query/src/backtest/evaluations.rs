//! What was looked at for one alert: its rule goes over the samples of its entity once more.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use kelly_alerts::rule::{CONFIGURATION, Compiled, OWN_THRESHOLDS, RuleSet, Scope, Source};
use kelly_alerts::{Decision, Evaluation, Rule, Subject};
use kelly_auth::Accounts;
use kelly_sql::queries::{AccountFilter, KeptAlert};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::answer::instant;
use super::points::{Point, Points};
use super::reading::Reading;
use super::rules::{Tried, needs, with_its_parts};
use super::trials::{Times, Trial, Work};
use crate::error::QueryError;
use crate::service::QueryService;
use crate::tier::Tier;
use crate::whose::Whose;
use crate::window::Window;

const QUESTION: &str = "what was looked at for an alert";

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;
/// A baseline knows the week once it has seen two of them.
const BASELINE_MS: i64 = 14 * DAY_MS;

/// What was looked at for one alert.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct AlertEvaluations {
    /// The alert.
    pub alert_id: Uuid,
    /// Its rule.
    pub rule: String,
    /// The version that raised it.
    pub rule_version: u32,
    /// The version that it was judged by here.
    pub judged_by_version: u32,
    /// Where that one is from.
    pub rule_is: RuleIs,
    /// The time that is shown: that of the alert, and some before and after.
    pub window: Window,
    /// The points, by time: at most 2,000.
    pub points: Vec<EvaluatedPoint>,
    /// Whether there were more. Those at which the decision changed are kept, where that is not too many.
    pub is_thinned: bool,
    /// What is to be known about it.
    pub notes: Vec<String>,
}

/// Where a rule is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleIs {
    /// As it was then: the control log has it.
    AsItWas,
    /// The one that is in force now. Files and built-in rules of the past are not kept.
    InForceNow,
    /// One of the engine's own, which never change.
    TheEngines,
    /// None is known any more: nothing could be judged.
    Gone,
}

/// A step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct EvaluatedPoint {
    /// When, in event time.
    pub at: DateTime<Utc>,
    /// What was judged; null where there was too little, and for rules without values.
    pub value: Option<f64>,
    /// The threshold it was held against.
    pub threshold: Option<f64>,
    /// What came of it.
    pub decision: EvaluatedDecision,
}

/// What came of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EvaluatedDecision {
    /// Too little to judge.
    Unknown,
    /// Good.
    Good,
    /// Bad, and `for` was not over.
    Pending,
    /// Bad for long enough, but muted, out of hours, or held back by its cause.
    HeldBack,
    /// Bad, and the alert fires.
    Firing,
    /// Good again, and `keep_firing_for` was not over.
    Recovering,
}

impl From<Decision> for EvaluatedDecision {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Unknown => Self::Unknown,
            Decision::Good => Self::Good,
            Decision::Pending => Self::Pending,
            Decision::HeldBack => Self::HeldBack,
            Decision::Firing => Self::Firing,
            Decision::Recovering => Self::Recovering,
        }
    }
}

impl QueryService {
    /// What was looked at for an alert, where its samples are kept.
    ///
    /// # Errors
    /// When there is no such alert that the asker may see, there are too many samples, or the store does not answer.
    pub async fn alert_evaluations(
        &self,
        accounts: &Accounts,
        alert: Uuid,
    ) -> Result<AlertEvaluations, QueryError> {
        let kept = self.parts().store.alert_now(alert).await.map_err(QueryError::from_store(QUESTION))?;
        let kept = kept
            .filter(|kept| accounts.sees((!kept.account_id.is_empty()).then_some(kept.account_id.as_str())));
        let kept = kept.ok_or(QueryError::NoSuchAlert)?;
        let now = self.now();
        let window = window_of(&kept, now);
        let (tried, rule_is) = self.rule_as_it_was(&kept).await?;
        let mut answer = AlertEvaluations {
            alert_id: alert,
            rule: kept.rule.clone(),
            rule_version: kept.rule_version,
            judged_by_version: tried.as_ref().map_or(0, |tried| tried.rule.version),
            rule_is,
            window,
            points: Vec::new(),
            is_thinned: false,
            notes: Vec::new(),
        };
        let Some(tried) = tried else {
            answer
                .notes
                .push("no rule of this id is known any more, so nothing could be judged again".to_owned());
            return Ok(answer);
        };
        if kept.rule == CONFIGURATION {
            answer.notes.push("this alert is about what is configured; no values were looked at".to_owned());
            return Ok(answer);
        }
        if answer.judged_by_version != kept.rule_version {
            answer.notes.push(format!(
                "the alert was raised by version {} of the rule, and is judged here by version {}",
                kept.rule_version, answer.judged_by_version
            ));
        }
        let kept_from = self.retention().await?.kept_from(Tier::Raw, now);
        if kept_from > window.from {
            answer.notes.push(format!(
                "samples are kept from {} on: what was looked at before is not known",
                crate::retention::readable(kept_from)
            ));
        }
        (answer.points, answer.is_thinned) =
            self.points_of(&kept, tried, accounts, (window, kept_from)).await?;
        Ok(answer)
    }

    /// The rule of an alert as it was when it was raised, else as it is now.
    async fn rule_as_it_was(&self, alert: &KeptAlert) -> Result<(Option<Tried>, RuleIs), QueryError> {
        if [OWN_THRESHOLDS, CONFIGURATION].contains(&alert.rule.as_str()) {
            let rule = Rule { id: alert.rule.clone(), version: alert.rule_version, ..Rule::default() };
            let set = RuleSet::new(&[]).unwrap_or_default();
            return Ok((Some(Tried { rule, set }), RuleIs::TheEngines));
        }
        let in_force = self.rules_in_force().rules();
        let decided = self.parts().store.rule_decision(&alert.rule, alert.raised_ms).await;
        let decided = decided.map_err(QueryError::from_store(QUESTION))?;
        let then = decided.and_then(|decided| serde_json::from_str::<Rule>(&decided.document).ok());
        let then = then.filter(|rule| rule.id == alert.rule && rule.version == alert.rule_version);
        if let Some(tried) = then.and_then(|rule| with_its_parts(&rule, &in_force).ok()) {
            return Ok((Some(tried), RuleIs::AsItWas));
        }
        let present = in_force.iter().find(|rule| rule.id == alert.rule);
        match present.and_then(|rule| with_its_parts(rule, &in_force).ok()) {
            Some(tried) => Ok((Some(tried), RuleIs::InForceNow)),
            None => Ok((None, RuleIs::Gone)),
        }
    }

    async fn points_of(
        &self,
        alert: &KeptAlert,
        tried: Tried,
        accounts: &Accounts,
        (window, kept_from): (Window, DateTime<Utc>),
    ) -> Result<(Vec<EvaluatedPoint>, bool), QueryError> {
        let mut needs = needs(std::iter::once(&tried));
        if alert.rule == OWN_THRESHOLDS {
            needs.metrics.insert(alert.metric_name.clone());
            needs.metadata = true;
        }
        let (shown_from, shown_to) = (window.from.timestamp_millis(), window.to.timestamp_millis());
        let from_ms = (shown_from - warm_up_ms(&tried)).max(kept_from.timestamp_millis()).min(shown_to);
        let times = Times { from_ms, raw_from_ms: from_ms, until_ms: shown_to };
        // Rules about everything, that may hold this one back or be a part of it, need the rows of all.
        let is_about_all = tried.heard().any(|rule| rule.scope == Scope::Global);
        let own = [alert.account_id.as_str()];
        let whose = Whose::asked(None, accounts)?;
        let metrics: Vec<&str> = needs.metrics.iter().map(String::as_str).collect();
        let conversation = [alert.conversation_id.as_str()];
        let reading = Reading {
            metrics: &metrics,
            accounts: match alert.account_id.is_empty() || is_about_all {
                true => whose.filter(),
                false => AccountFilter::Only(&own),
            },
            conversations: match alert.conversation_id.is_empty()
                || is_about_all
                || tried.heard().any(is_wider)
            {
                true => &[],
                false => &conversation,
            },
            with_metadata: needs.metadata,
            times,
        };
        self.count(&reading, &[], window).await?;
        let points: Arc<Mutex<Points>> = Arc::default();
        let watcher = {
            let (points, alert, rule) = (Arc::clone(&points), alert.clone(), tried.rule.id.clone());
            move |evaluation: &Evaluation<'_>| {
                let is_shown = (shown_from..shown_to).contains(&evaluation.at_ms);
                if is_shown && evaluation.rule == rule && is_about(evaluation, &alert) {
                    points.lock().unwrap_or_else(PoisonError::into_inner).push(Point {
                        at_ms: evaluation.at_ms,
                        value: evaluation.value,
                        threshold: evaluation.threshold,
                        decision: evaluation.decision,
                    });
                }
            }
        };
        let trial = Trial { tried, coarse: None, is_to_be_suggested: false, tells_everything: false };
        let work = Work { trials: vec![trial], times, budget: None, watcher: Some(Box::new(watcher)) };
        self.go_over(&reading, &[], work).await?;
        let points = std::mem::take(&mut *points.lock().unwrap_or_else(PoisonError::into_inner));
        let (points, is_thinned) = points.finish();
        let point = |point: Point| EvaluatedPoint {
            at: instant(point.at_ms),
            value: point.value,
            threshold: point.threshold,
            decision: point.decision.into(),
        };
        Ok((points.into_iter().map(point).collect(), is_thinned))
    }
}

/// The time of an alert, with a quarter of it before and after: some minutes at least, an hour at most.
fn window_of(alert: &KeptAlert, now: DateTime<Utc>) -> Window {
    let now_ms = now.timestamp_millis();
    let end_ms = if alert.resolved_ms > 0 { alert.resolved_ms } else { now_ms };
    let end_ms = end_ms.max(alert.raised_ms);
    let beside_ms = ((end_ms - alert.raised_ms) / 4).clamp(5 * MINUTE_MS, 60 * MINUTE_MS);
    let from_ms = alert.raised_ms - beside_ms;
    Window { from: instant(from_ms), to: instant((end_ms + beside_ms).min(now_ms).max(from_ms + 1)) }
}

/// How long before what is shown rows must be judged, so that the first that is shown is judged as it was.
fn warm_up_ms(tried: &Tried) -> i64 {
    let of = |rule: &Compiled| match rule.source {
        Source::Anomaly => BASELINE_MS,
        _ => {
            rule.reach_ms()
                + rule.timing.late_ms
                + rule.timing.hold_ms
                + rule.timing.keep_ms
                + rule.timing.mute_ms
        }
    };
    tried.set.rules().iter().map(|rule| of(rule)).max().unwrap_or_default() + MINUTE_MS
}

/// Whether a rule counts rows of a conversation together with others.
fn is_wider(rule: &Compiled) -> bool {
    matches!(rule.scope, Scope::Account | Scope::Global)
}

fn is_about(evaluation: &Evaluation<'_>, alert: &KeptAlert) -> bool {
    let is_part = evaluation.entity.part.is_empty() || *evaluation.entity.part == *alert.metric_name;
    is_part
        && match &evaluation.entity.subject {
            Subject::Conversation(id) => **id == *alert.conversation_id,
            Subject::Account(id) => alert.conversation_id.is_empty() && **id == *alert.account_id,
            Subject::Global => alert.conversation_id.is_empty() && alert.account_id.is_empty(),
        }
}
