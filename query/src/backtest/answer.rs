//! What a preview answers, and how it is made of what the engines said.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use kelly_alerts::backtest::{Budget, Outcome, Report, Suggestion};
use kelly_alerts::{Change, End, Rule, Subject, Transition};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::trials::{NoSuggestion, Tested, Times, Trial};
use crate::tier::Tier;
use crate::window::Window;

/// What rules would have done.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Preview {
    /// The time that was gone over.
    pub window: Window,
    /// When it was worked out.
    pub computed_at: DateTime<Utc>,
    /// What it was worked out from.
    pub history: PreviewHistory,
    /// The rules that were tried, in their order.
    pub rules: Vec<RulePreview>,
    /// What is to be known about all of it.
    pub notes: Vec<String>,
}

/// What a preview was worked out from.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct PreviewHistory {
    /// Since when there are samples; null where there are none in the window.
    pub samples_from: Option<DateTime<Utc>>,
    /// How many.
    pub samples: u64,
    /// How many rollups stand for those before.
    pub rollups: u64,
}

/// What one rule would have done.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct RulePreview {
    /// Its id.
    pub rule: String,
    /// Its version.
    pub version: u32,
    /// Which parts of the window it was judged over, and by what.
    pub judged: Vec<JudgedPart>,
    /// Why it was not judged over the part of the window whose samples are gone.
    pub not_judged: Option<String>,
    /// What it would have done.
    pub outcome: PreviewOutcome,
    /// What the rule beside it would have done over the same history; null where there is none.
    pub beside: Option<BesideOutcome>,
    /// Its first alerts, at most 100.
    pub alerts: Vec<PreviewedAlert>,
    /// How many alerts are not shown.
    pub more_alerts: u64,
    /// Rows that came too late to count, of what was remembered at the end.
    pub late_rows: u64,
    /// Rows that were not judged because the rule watches as many entities as it may.
    pub unwatched_rows: u64,
    /// A threshold for the budget; null where none was asked for.
    pub suggestion: Option<SuggestedThreshold>,
}

/// A part of the window.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct JudgedPart {
    /// First instant.
    pub from: DateTime<Utc>,
    /// End.
    pub to: DateTime<Utc>,
    /// Where its rows come from.
    pub tier: Tier,
    /// What that means for the rule.
    pub means: String,
}

/// How often and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct PreviewOutcome {
    /// Alerts.
    pub alerts: u64,
    /// How often one went from a warning to critical.
    pub worsened: u64,
    /// How often one went from critical to a warning.
    pub improved: u64,
    /// How many ended.
    pub resolved: u64,
    /// How many fired at the end.
    pub still_firing: u64,
    /// What would have been told to somebody: alerts, worsenings, ends. Groups and routes make fewer of them. 0 for a quiet rule.
    pub notifications: u64,
    /// How long alerts fired, all together.
    pub firing_seconds: f64,
    /// How long the longest fired.
    pub longest_seconds: f64,
}

/// What the rule beside would have done.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct BesideOutcome {
    /// Its version.
    pub version: u32,
    /// What it would have done.
    pub outcome: PreviewOutcome,
    /// Why it was not judged over the part of the window whose samples are gone.
    pub not_judged: Option<String>,
}

/// An alert that would have fired.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct PreviewedAlert {
    /// The id that it would have had, or had.
    pub alert_id: Uuid,
    /// The worst it was: `warning` or `critical`.
    #[schema(example = "warning")]
    pub severity: String,
    /// Its account.
    pub account_id: Option<String>,
    /// Its conversation.
    pub conversation_id: Option<String>,
    /// When it was raised.
    pub raised_at: DateTime<Utc>,
    /// When it ended; null where it still fires.
    pub resolved_at: Option<DateTime<Utc>>,
    /// For how long it fired, or has fired.
    pub seconds: f64,
    /// The value that raised it.
    pub value: Option<f64>,
    /// The threshold.
    pub threshold: Option<f64>,
    /// All of it as a sentence.
    pub explanation: String,
    /// Why it ended: `recovered`, `no_data`, `vanished`, `schedule_ended`.
    pub end: Option<String>,
}

/// The mildest threshold that keeps to a budget.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct SuggestedThreshold {
    /// The budget.
    #[schema(example = "2/week")]
    pub budget: String,
    /// How many alerts it allows over the history.
    pub allowed: Option<u64>,
    /// The threshold, in place of the rule's levels; null where there is none.
    pub threshold: Option<f64>,
    /// How many alerts it would have raised.
    pub alerts: Option<u64>,
    /// What was tried.
    pub tried: Vec<TriedThreshold>,
    /// Why there is none, and what to do.
    pub problem: Option<String>,
}

/// A threshold that was tried.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct TriedThreshold {
    /// The threshold.
    pub threshold: f64,
    /// Its alerts.
    pub alerts: u64,
}

/// What is said of one rule beside what the engine said.
pub(super) struct About<'a> {
    pub(super) trial: &'a Trial,
    /// Why it was given no rollups, where there were some to give.
    pub(super) not_judged: Option<&'a str>,
    pub(super) times: Times,
    pub(super) budget: Option<Budget>,
}

impl RulePreview {
    pub(super) fn of(about: &About<'_>, tested: Tested) -> Self {
        let rule = &about.trial.tried.rule;
        let Tested { report, suggestion } = tested;
        let outcome = PreviewOutcome::of(rule, &report);
        let alerts = alerts(rule, &report, about.times.until_ms);
        Self {
            rule: rule.id.clone(),
            version: rule.version,
            judged: about.judged(),
            not_judged: about.not_judged.map(str::to_owned),
            more_alerts: outcome.alerts.saturating_sub(alerts.len() as u64),
            outcome,
            beside: None,
            alerts,
            late_rows: report.late_rows.get(&rule.id).copied().unwrap_or_default(),
            unwatched_rows: report.statistics.over_cap,
            suggestion: suggestion.zip(about.budget).map(|(found, budget)| suggested(budget, found)),
        }
    }
}

impl BesideOutcome {
    pub(super) fn of(about: &About<'_>, tested: &Tested) -> Self {
        let rule = &about.trial.tried.rule;
        Self {
            version: rule.version,
            outcome: PreviewOutcome::of(rule, &tested.report),
            not_judged: about.not_judged.map(str::to_owned),
        }
    }
}

impl About<'_> {
    fn judged(&self) -> Vec<JudgedPart> {
        let Times { from_ms, raw_from_ms, until_ms } = self.times;
        let coarse = self.trial.coarse.as_ref().filter(|_| from_ms < raw_from_ms).map(|coarse| JudgedPart {
            from: instant(from_ms),
            to: instant(raw_from_ms.min(until_ms)),
            tier: match coarse.rollup {
                kelly_sql::queries::RuleRollup::Minute => Tier::Minute,
                kelly_sql::queries::RuleRollup::AccountHour => Tier::AccountHour,
            },
            means: coarse.means(),
        });
        let raw = (raw_from_ms < until_ms).then(|| JudgedPart {
            from: instant(raw_from_ms),
            to: instant(until_ms),
            tier: Tier::Raw,
            means: "the samples themselves, as they were heard".to_owned(),
        });
        coarse.into_iter().chain(raw).collect()
    }
}

impl PreviewOutcome {
    fn of(rule: &Rule, report: &Report) -> Self {
        let outcome: Outcome = report.outcomes.get(&rule.id).copied().unwrap_or_default();
        Self {
            alerts: outcome.raised,
            worsened: outcome.worsened,
            improved: outcome.improved,
            resolved: outcome.resolved,
            still_firing: outcome.raised.saturating_sub(outcome.resolved),
            notifications: if rule.quiet { 0 } else { outcome.notifications() },
            firing_seconds: seconds(outcome.firing_ms),
            longest_seconds: seconds(outcome.longest_ms),
        }
    }
}

fn alerts(rule: &Rule, report: &Report, until_ms: i64) -> Vec<PreviewedAlert> {
    let mut alerts: Vec<PreviewedAlert> = Vec::new();
    let mut places: BTreeMap<Uuid, usize> = BTreeMap::new();
    for transition in report.transitions.iter().filter(|transition| transition.rule == rule.id) {
        match (transition.change, places.get(&transition.alert)) {
            (Change::Raised, _) => {
                places.insert(transition.alert, alerts.len());
                alerts.push(raised(transition, until_ms));
            }
            (Change::Worsened, Some(place)) => {
                transition.level.as_str().clone_into(&mut alerts[*place].severity);
            }
            (Change::Resolved(end), Some(place)) => {
                let alert = &mut alerts[*place];
                let resolved_at = instant(transition.at_ms);
                alert.resolved_at = Some(resolved_at);
                alert.seconds = seconds((resolved_at - alert.raised_at).num_milliseconds());
                alert.end = Some(name_of(end).to_owned());
            }
            _ => {}
        }
    }
    alerts
}

fn raised(transition: &Transition, until_ms: i64) -> PreviewedAlert {
    PreviewedAlert {
        alert_id: transition.alert,
        severity: transition.level.as_str().to_owned(),
        account_id: (!transition.account_id.is_empty()).then(|| transition.account_id.clone()),
        conversation_id: match &transition.entity.subject {
            Subject::Conversation(id) => Some(id.to_string()),
            _ => None,
        },
        raised_at: instant(transition.at_ms),
        resolved_at: None,
        seconds: seconds((until_ms - transition.at_ms).max(0)),
        value: transition.value,
        threshold: transition.threshold,
        explanation: transition.explanation.clone(),
        end: None,
    }
}

const fn name_of(end: End) -> &'static str {
    match end {
        End::Recovered => "recovered",
        End::NoData => "no_data",
        End::Vanished => "vanished",
        End::RuleChanged => "rule_changed",
        End::RuleRemoved => "rule_removed",
        End::ScheduleEnded => "schedule_ended",
    }
}

fn suggested(budget: Budget, found: Result<Suggestion, NoSuggestion>) -> SuggestedThreshold {
    let nothing = SuggestedThreshold {
        budget: budget.to_string(),
        allowed: None,
        threshold: None,
        alerts: None,
        tried: Vec::new(),
        problem: None,
    };
    match found {
        Ok(found) => SuggestedThreshold {
            allowed: Some(found.allowed),
            threshold: Some(found.threshold),
            alerts: Some(found.alerts),
            tried: found
                .tried
                .iter()
                .map(|(threshold, alerts)| TriedThreshold { threshold: *threshold, alerts: *alerts })
                .collect(),
            ..nothing
        },
        Err(problem) => SuggestedThreshold { problem: Some(problem.to_string()), ..nothing },
    }
}

pub(super) fn instant(ms: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::milliseconds(ms)
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1_000.0
}
