//! Which threshold keeps to a budget of alerts, tried out over history.

use std::collections::BTreeMap;
use std::ops::Range;

use kelly_schemas::histogram;
use thiserror::Error;

use super::budget::Budget;
use super::run::{HistoryRow, run};
use crate::engine::{Engine, Record};
use crate::rule::{Direction, Fault, Kind, Rule, RuleSet};
use crate::transition::{Evaluation, Sink, Transition};

/// A threshold that keeps to a budget.
#[derive(Debug, Clone, PartialEq)]
pub struct Suggestion {
    /// The threshold.
    pub threshold: f64,
    /// How many alerts it would have raised.
    pub alerts: u64,
    /// How many it might have.
    pub allowed: u64,
    /// Every threshold that was tried, and its alerts.
    pub tried: Vec<(f64, u64)>,
}

/// Why there is no suggestion.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SuggestFault {
    /// The rule has no threshold to move.
    #[error(
        "rules of this kind have no threshold to suggest; take a rule of the kind threshold, change or anomaly"
    )]
    NoThreshold,
    /// The rule is wrong.
    #[error("{0}")]
    Wrong(Fault),
    /// There was nothing to judge.
    #[error(
        "the history has no value that this rule judges; take a longer one, or look at metric, scope and filter"
    )]
    NoValues,
    /// Even the strictest threshold raises more.
    #[error(
        "even the largest value of the history would have raised {alerts} alerts, {allowed} are allowed; use `for` or `mute_for`"
    )]
    TooMany {
        /// Alerts at the strictest threshold.
        alerts: u64,
        /// How many there may be.
        allowed: u64,
    },
}

/// Thresholds that are tried at most.
const TRIES: usize = 12;

/// Surprises that are tried for anomalies.
const SURPRISES: [f64; 10] = [3.0, 4.0, 5.0, 5.5, 6.0, 6.2, 6.5, 7.0, 8.0, 10.0];

/// The mildest threshold whose alerts over the history keep to a budget. The rule's levels become one.
///
/// `rows` gives the history of a time (`over`) anew each time: it is gone through once for the values and once for every try.
pub fn suggest<'r, R: IntoIterator<Item = HistoryRow<'r>>>(
    rule: &Rule,
    rows: impl Fn() -> R,
    over: Range<i64>,
    budget: Budget,
) -> Result<Suggestion, SuggestFault> {
    if !matches!(rule.kind, Kind::Threshold | Kind::Change | Kind::Anomaly) {
        return Err(SuggestFault::NoThreshold);
    }
    let compiled = set_of(rule.clone())?;
    let direction = compiled.rules().first().and_then(|compiled| compiled.judge.direction);
    let more_is_worse = rule.kind == Kind::Anomaly || direction.is_none_or(Direction::more_is_worse);
    let with = |threshold: f64| Rule {
        warning: Some(threshold),
        critical: None,
        direction: if rule.kind == Kind::Anomaly { rule.direction } else { direction },
        ..rule.clone()
    };
    // Mildest first.
    let candidates = if rule.kind == Kind::Anomaly {
        SURPRISES.to_vec()
    } else {
        let mut values = values_of(with(if more_is_worse { -1e130 } else { 1e130 }), rows())?;
        if !more_is_worse {
            values.reverse();
        }
        values
    };
    if rows().into_iter().next().is_none() {
        return Err(SuggestFault::NoValues);
    }
    let mut tried = Vec::new();
    let mut alerts_at = |threshold: f64| -> Result<u64, SuggestFault> {
        let report = run(set_of(with(threshold))?, rows(), over.end);
        let alerts = report.outcomes.get(&rule.id).map_or(0, |outcome| outcome.raised);
        tried.push((threshold, alerts));
        Ok(alerts)
    };
    let Some(strictest) = candidates.last().copied() else { return Err(SuggestFault::NoValues) };
    let mut best = (strictest, alerts_at(strictest)?);
    let span_ms = (over.end - over.start).max(0) as f64;
    let allowed = (f64::from(budget.alerts) * span_ms / (budget.per.ms().max(1)) as f64).floor() as u64;
    if best.1 > allowed {
        return Err(SuggestFault::TooMany { alerts: best.1, allowed });
    }
    // Fewer alerts at a stricter threshold is the rule, not a law: what is suggested was tried.
    let (mut low, mut high) = (0, candidates.len() - 1);
    for _ in 1..TRIES {
        if low >= high {
            break;
        }
        let middle = low + (high - low) / 2;
        let alerts = alerts_at(candidates[middle])?;
        if alerts <= allowed {
            best = (candidates[middle], alerts);
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(Suggestion { threshold: best.0, alerts: best.1, allowed, tried })
}

fn set_of(rule: Rule) -> Result<RuleSet, SuggestFault> {
    let mut rule = rule;
    rule.inhibited_by.clear();
    RuleSet::new(&[rule]).map_err(|mut faults| SuggestFault::Wrong(faults.swap_remove(0)))
}

/// The values that a rule judges, smallest first, to a per cent.
fn values_of<'r>(
    rule: Rule,
    rows: impl IntoIterator<Item = HistoryRow<'r>>,
) -> Result<Vec<f64>, SuggestFault> {
    #[derive(Default)]
    struct Values(BTreeMap<i16, u64>);
    impl Sink for Values {
        fn transition(&mut self, _: Transition) {}
        fn evaluated(&mut self, evaluation: Evaluation<'_>) {
            if let Some(value) = evaluation.value {
                *self.0.entry(histogram::bucket(value)).or_default() += 1;
            }
        }
    }
    // Everything is bad for it, so that it tells every value.
    let mut engine = Engine::new(set_of(Rule { hold: None, hysteresis: None, schedule: None, ..rule })?);
    let mut values = Values::default();
    for row in rows {
        engine
            .record(&Record { place: None, log_time_ms: row.log_time_ms, metric: &row.metric }, &mut values);
    }
    Ok(values.0.into_keys().map(histogram::value).collect())
}
