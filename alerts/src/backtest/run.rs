//! The engine over history.

use std::collections::BTreeMap;

use kelly_schemas::Metric;
use serde::Serialize;
use uuid::Uuid;

use crate::builtin;
use crate::engine::{Engine, Record, Statistics};
use crate::entity::Place;
use crate::rule::RuleSet;
use crate::transition::{Change, Sink, Transition};

/// A row of history.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryRow {
    /// Where it stood on the log, where that is known. The ids of alerts do not depend on it.
    pub place: Option<Place>,
    /// The log's time; where it is not known, the row's own.
    pub log_time_ms: i64,
    /// The row.
    pub metric: Metric<'static>,
}

/// Transitions that a report keeps at most. Beyond, they are counted in [`Report::outcomes`] and not kept.
pub const MOST_TRANSITIONS: usize = 100_000;

/// What rules would have done.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// The transitions, in their order; the first [`MOST_TRANSITIONS`].
    pub transitions: Vec<Transition>,
    /// How many were not kept.
    pub not_kept: u64,
    /// By rule.
    pub outcomes: BTreeMap<String, Outcome>,
    /// The logical times of the first row and of the end.
    pub from_ms: i64,
    /// The logical time of the end.
    pub until_ms: i64,
    /// What the engine did.
    pub statistics: Statistics,
}

/// What one rule would have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Outcome {
    /// Alerts.
    pub raised: u64,
    /// From a warning to critical.
    pub worsened: u64,
    /// From critical to a warning.
    pub improved: u64,
    /// Alerts that ended.
    pub resolved: u64,
    /// How long alerts fired, all together.
    pub firing_ms: i64,
    /// How long the longest fired.
    pub longest_ms: i64,
}

impl Outcome {
    /// What would have been told to somebody: raises, worsenings, ends. How routes and groups make fewer of them is not known here.
    #[must_use]
    pub const fn notifications(&self) -> u64 {
        self.raised + self.worsened + self.resolved
    }
}

/// Drives an engine over rows in the order of their log times, up to a time.
#[must_use]
pub fn run(rules: RuleSet, rows: impl IntoIterator<Item = HistoryRow>, until_ms: i64) -> Report {
    let mut engine = Engine::new(rules);
    let mut history = History::default();
    let mut begun = false;
    for row in rows {
        if !begun {
            begun = true;
            history.report.from_ms = row.log_time_ms;
            engine.expect_rows(row.log_time_ms, &mut history);
        }
        engine.record(
            &Record { place: row.place, log_time_ms: row.log_time_ms, metric: &row.metric },
            &mut history,
        );
        history.count_raised(&mut engine);
    }
    engine.tick(until_ms, &mut history);
    history.count_raised(&mut engine);
    history.end(engine.statistics(), until_ms)
}

#[derive(Default)]
struct History {
    report: Report,
    /// Alerts that fire: since when, and whose.
    open: BTreeMap<Uuid, (i64, String)>,
    /// Raised since the volume was last counted.
    raised: Vec<i64>,
}

impl History {
    /// Alerts are rows themselves, for the rule of excessive volume.
    fn count_raised(&mut self, engine: &mut Engine) {
        let raised = std::mem::take(&mut self.raised);
        if engine.rules().counts_alerts() {
            self.count(engine, raised);
        }
    }

    fn count(&mut self, engine: &mut Engine, raised: Vec<i64>) {
        for at_ms in raised {
            let metric = builtin::raised_row(at_ms);
            engine.record(&Record { place: None, log_time_ms: at_ms, metric: &metric }, self);
        }
    }

    fn end(mut self, statistics: Statistics, until_ms: i64) -> Report {
        for (since_ms, rule) in std::mem::take(&mut self.open).into_values() {
            self.add_time(&rule, until_ms - since_ms);
        }
        Report { statistics, until_ms, ..self.report }
    }

    fn add_time(&mut self, rule: &str, fired_ms: i64) {
        let outcome = self.report.outcomes.entry(rule.to_owned()).or_default();
        outcome.firing_ms += fired_ms.max(0);
        outcome.longest_ms = outcome.longest_ms.max(fired_ms);
    }
}

impl Sink for History {
    fn transition(&mut self, transition: Transition) {
        let outcome = self.report.outcomes.entry(transition.rule.clone()).or_default();
        match transition.change {
            Change::Raised => {
                outcome.raised += 1;
                self.open.insert(transition.alert, (transition.at_ms, transition.rule.clone()));
                if transition.rule != builtin::EXCESSIVE_VOLUME && !transition.quiet {
                    self.raised.push(transition.at_ms);
                }
            }
            Change::Worsened => outcome.worsened += 1,
            Change::Improved => outcome.improved += 1,
            Change::Resolved(_) => {
                outcome.resolved += 1;
                if let Some((since_ms, rule)) = self.open.remove(&transition.alert) {
                    self.add_time(&rule, transition.at_ms - since_ms);
                }
            }
        }
        if self.report.transitions.len() < MOST_TRANSITIONS {
            self.report.transitions.push(transition);
        } else {
            self.report.not_kept += 1;
        }
    }
}
