//! The engine over history.

use std::collections::{BTreeMap, HashSet};

use kelly_schemas::Metric;
use serde::Serialize;
use uuid::Uuid;

use crate::builtin;
use crate::engine::{Engine, Record, Statistics};
use crate::entity::Place;
use crate::rule::RuleSet;
use crate::transition::{Change, Evaluation, Sink, Transition};

/// A row of history.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryRow<'r> {
    /// Where it stood on the log, where that is known. The ids of alerts do not depend on it.
    pub place: Option<Place>,
    /// The log's time; where it is not known, the row's own.
    pub log_time_ms: i64,
    /// The row.
    pub metric: Metric<'r>,
}

/// Transitions that a report keeps at most. Beyond, they are counted in [`Report::outcomes`] and not kept.
pub const MOST_TRANSITIONS: usize = 100_000;

/// What rules would have done.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// The transitions, in their order; the first [`MOST_TRANSITIONS`], or as many as were to be kept.
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
    /// Rows that came too late to count, by rule, of the entities that were remembered at the end.
    pub late_rows: BTreeMap<String, u64>,
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
pub fn run<'r>(rules: RuleSet, rows: impl IntoIterator<Item = HistoryRow<'r>>, until_ms: i64) -> Report {
    let mut backtest = Backtest::new(rules);
    for row in rows {
        backtest.record(&Record { place: row.place, log_time_ms: row.log_time_ms, metric: &row.metric });
    }
    backtest.finish(until_ms)
}

/// An engine that is given history row by row, so that several go over the same rows at once and none needs all of them.
#[derive(Debug)]
pub struct Backtest {
    engine: Engine,
    history: History,
    begun: bool,
}

/// Sees every value that is looked at.
pub type Watcher = Box<dyn FnMut(&Evaluation<'_>) + Send>;

impl Backtest {
    /// Of rules, before the first row.
    #[must_use]
    pub fn new(rules: RuleSet) -> Self {
        Self { engine: Engine::new(rules), history: History::default(), begun: false }
    }

    /// The same, whose report keeps only what happened to the first so many alerts of one rule, and all of that.
    #[must_use]
    pub fn keeping(mut self, rule: &str, most_alerts: usize) -> Self {
        self.history.shown = Some(Shown { rule: rule.to_owned(), most: most_alerts, alerts: HashSet::new() });
        self
    }

    /// Shows every value that is looked at from now on.
    pub fn watch(&mut self, watcher: Watcher) {
        self.history.watcher = Some(watcher);
    }

    /// The same, whose history begins at a time: rows of rules about everything are waited for from then on.
    #[must_use]
    pub fn beginning_at(mut self, at_ms: i64) -> Self {
        self.begin(at_ms);
        self
    }

    fn begin(&mut self, at_ms: i64) {
        if !std::mem::replace(&mut self.begun, true) {
            self.history.report.from_ms = at_ms;
            self.engine.expect_rows(at_ms, &mut self.history);
        }
    }

    /// Takes the next row, in the order of their log times.
    pub fn record(&mut self, record: &Record<'_>) {
        self.begin(record.log_time_ms);
        self.engine.record(record, &mut self.history);
        self.history.count_raised(&mut self.engine);
    }

    /// Lets time pass up to the end, and says what was.
    #[must_use]
    pub fn finish(mut self, until_ms: i64) -> Report {
        self.engine.tick(until_ms, &mut self.history);
        self.history.count_raised(&mut self.engine);
        let late_rows =
            self.engine.late_rows().into_iter().map(|(rule, rows)| (rule.to_owned(), rows)).collect();
        self.history.end(self.engine.statistics(), late_rows, until_ms)
    }
}

/// Alerts whose transitions are kept.
#[derive(Debug)]
struct Shown {
    rule: String,
    most: usize,
    alerts: HashSet<Uuid>,
}

impl Shown {
    fn takes(&mut self, transition: &Transition) -> bool {
        let is_new = transition.change == Change::Raised && transition.rule == self.rule;
        if is_new && self.alerts.len() < self.most {
            self.alerts.insert(transition.alert);
        }
        self.alerts.contains(&transition.alert)
    }
}

#[derive(Default)]
struct History {
    report: Report,
    shown: Option<Shown>,
    watcher: Option<Watcher>,
    /// Alerts that fire: since when, and whose.
    open: BTreeMap<Uuid, (i64, String)>,
    /// Raised since the volume was last counted.
    raised: Vec<i64>,
}

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("History")
            .field("report", &self.report)
            .field("open", &self.open)
            .finish_non_exhaustive()
    }
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

    fn end(mut self, statistics: Statistics, late_rows: BTreeMap<String, u64>, until_ms: i64) -> Report {
        for (since_ms, rule) in std::mem::take(&mut self.open).into_values() {
            self.add_time(&rule, until_ms - since_ms);
        }
        Report { statistics, late_rows, until_ms, ..self.report }
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
        let is_kept = match &mut self.shown {
            Some(shown) => shown.takes(&transition),
            None => self.report.transitions.len() < MOST_TRANSITIONS,
        };
        if is_kept {
            self.report.transitions.push(transition);
        } else {
            self.report.not_kept += 1;
        }
    }

    fn evaluated(&mut self, evaluation: Evaluation<'_>) {
        if let Some(watcher) = &mut self.watcher {
            watcher(&evaluation);
        }
    }

    fn wants_every_value(&self) -> bool {
        self.watcher.is_some()
    }
}
