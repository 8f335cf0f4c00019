//! One partition's engine: records in, changes of alerts, rows for other engines and states to store out. No I/O, no clock.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use kelly_alerts::rule::{CONFIGURATION, RAISED_METRIC};
use kelly_alerts::{Engine, Place as RowPlace, StateKey, Transition};
use kelly_schemas::decode::{self, ARROW_STREAM, ArrowMessage, Origin, Rendering};
use kelly_schemas::{Limits, Metric};
use kelly_stream::Record;

use crate::place::{Feed, GLOBAL_ROWS, Partitions, Place};
use crate::restore::States;
use crate::row::{self, Rows};
use crate::rules::InForce;

/// What it did since it was last asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Work {
    pub(crate) records: u64,
    pub(crate) rows: u64,
    pub(crate) skipped: u64,
    pub(crate) passed_on: u64,
}

/// What a judge is of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Court {
    pub(crate) place: Place,
    pub(crate) partitions: Partitions,
    pub(crate) limits: Limits,
    /// Records with an earlier log time are not judged: of a group that begins, those of long ago.
    pub(crate) from_ms: i64,
}

/// The engine of one partition.
pub(crate) struct Judge {
    court: Court,
    engine: Engine,
    transitions: Vec<Transition>,
    rows: Rows,
    work: Work,
    /// What waits until the engine knows a time.
    heard: VecDeque<Transition>,
    /// As it judges now, or is about to.
    newest: Arc<InForce>,
    rules: Option<Arc<InForce>>,
    problems: Option<Arc<InForce>>,
    expects_rows: bool,
}

impl Judge {
    /// With what was stored of it.
    pub(crate) fn new(court: Court, rules: &Arc<InForce>, states: States) -> Self {
        let mut engine = Engine::of_scopes(rules.set.clone(), court.place.scopes());
        let mut transitions = Vec::new();
        for (key, state) in states {
            if let Err(fault) = engine.restore(key, &state, &mut transitions) {
                tracing::error!(%fault, "an alert state is skipped");
            }
        }
        let is_global = court.place.is_global();
        Self {
            court,
            engine,
            transitions,
            rows: Rows::default(),
            work: Work::default(),
            heard: VecDeque::new(),
            newest: rules.clone(),
            rules: None,
            problems: is_global.then(|| rules.clone()),
            expects_rows: is_global,
        }
    }

    /// Of the states that were just taken up those that are to be written: the ones that are gone.
    pub(crate) fn take_gone(&mut self) -> Vec<(StateKey, Option<Vec<u8>>)> {
        let mut changed = self.engine.take_changed();
        changed.retain(|(_, state)| state.is_none());
        changed
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn engine_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// What happened to alerts since this was last asked.
    pub(crate) fn take_transitions(&mut self) -> Vec<Transition> {
        std::mem::take(&mut self.transitions)
    }

    /// Rows for other engines.
    pub(crate) fn rows_mut(&mut self) -> &mut Rows {
        &mut self.rows
    }

    /// What was done since this was last asked.
    pub(crate) fn take_work(&mut self) -> Work {
        std::mem::take(&mut self.work)
    }

    /// Takes a record of the log.
    pub(crate) fn record(&mut self, record: &Record<'_>) {
        self.work.records += 1;
        if record.timestamp_ms < self.court.from_ms {
            self.work.skipped += 1;
            return;
        }
        match self.court.place.feed {
            Feed::Metrics => self.message(record),
            Feed::Rows => {
                let is_whole = row::read(record.payload, &mut |place, metric| {
                    self.row(place, record.timestamp_ms, metric);
                });
                self.work.skipped += u64::from(!is_whole);
            }
        }
        self.settle();
    }

    /// Lets time pass: every record with an earlier log time was taken.
    pub(crate) fn tick(&mut self, now_ms: i64) {
        if self.engine.now_ms().is_none_or(|before| before < now_ms) {
            self.engine.tick(now_ms, &mut self.transitions);
        }
        self.settle();
    }

    /// Hears of an alert that another engine raised or ended.
    pub(crate) fn hear(&mut self, transition: &Transition) {
        if self.court.place.hears(&transition.entity, self.court.partitions) {
            self.heard.push_back(transition.clone());
            self.settle();
        }
    }

    /// Other rules from now on.
    pub(crate) fn set_rules(&mut self, rules: &Arc<InForce>) {
        if Arc::ptr_eq(&self.newest, rules) {
            return;
        }
        self.newest = rules.clone();
        self.rules = Some(rules.clone());
        if self.court.place.is_global() {
            self.problems = Some(rules.clone());
        }
        self.settle();
    }

    /// Does what waited for a time.
    fn settle(&mut self) {
        let Some(now_ms) = self.engine.now_ms() else { return };
        if let Some(rules) = self.rules.take() {
            self.engine.replace_rules(rules.set.clone(), now_ms, &mut self.transitions);
            // A rule may watch for silence that was not there before.
            self.expects_rows = self.court.place.is_global();
        }
        while let Some(transition) = self.heard.pop_front() {
            self.engine.hear(&transition, now_ms, &mut self.transitions);
        }
        if std::mem::take(&mut self.expects_rows) {
            self.engine.expect_rows(now_ms, &mut self.transitions);
        }
        if let Some(rules) = self.problems.take() {
            self.tell(&rules, now_ms);
        }
    }

    /// Says what is wrong with rules and thresholds, and what no longer is.
    fn tell(&mut self, rules: &InForce, now_ms: i64) {
        let now: BTreeSet<&str> = rules.problems.iter().map(|problem| problem.what.as_str()).collect();
        let over: Vec<String> = self
            .engine
            .firing()
            .filter(|(rule, entity, _)| {
                *rule == CONFIGURATION && InForce::tells_of(&entity.part) && !now.contains(&*entity.part)
            })
            .map(|(_, entity, _)| entity.part.to_string())
            .collect();
        for what in over {
            self.engine.configuration(&what, None, now_ms, &mut self.transitions);
        }
        for problem in &rules.problems {
            self.engine.configuration(&problem.what, Some(&problem.problem), now_ms, &mut self.transitions);
        }
    }

    /// A message of metrics, decoded as ingest does it. What is none is ingest's to keep.
    fn message(&mut self, record: &Record<'_>) {
        let limits = self.court.limits;
        let origin = Origin {
            partition: record.partition,
            offset: record.offset,
            log_time_ms: record.timestamp_ms,
            limits: &limits,
        };
        let place = |row| RowPlace {
            partition: record.partition,
            offset: i64::try_from(record.offset).unwrap_or(i64::MAX),
            row,
        };
        match form(record.content_type.unwrap_or_default()) {
            Some(Form::Json) => {
                decode::metrics(record.payload, &origin, &mut |row, result| match result {
                    Ok(metric) => self.row(place(row), record.timestamp_ms, &metric),
                    Err(_) => self.work.skipped += 1,
                });
            }
            Some(Form::Arrow) => match ArrowMessage::read(record.payload, &limits) {
                Ok(message) => {
                    let mut rendering = Rendering::none();
                    for columns in message.batches() {
                        columns.rows(&origin, &mut rendering, &mut |row, result| match result {
                            Ok(metric) => self.row(place(row), record.timestamp_ms, &metric.to_metric()),
                            Err(_) => self.work.skipped += 1,
                        });
                    }
                }
                Err(_) => self.work.skipped += 1,
            },
            None => self.work.skipped += 1,
        }
    }

    fn row(&mut self, place: RowPlace, log_time_ms: i64, metric: &Metric<'_>) {
        self.work.rows += 1;
        let record = kelly_alerts::Record { place: Some(place), log_time_ms, metric };
        self.engine.record(&record, &mut self.transitions);
        // What a producer calls so is no alert that was raised.
        if self.court.place.feed == Feed::Rows || metric.metric_name == RAISED_METRIC {
            return;
        }
        let elsewhere = self.engine.rules().elsewhere(metric);
        if elsewhere.globally {
            self.rows.push(GLOBAL_ROWS, place, metric);
        }
        if elsewhere.by_account {
            self.rows.push(self.court.partitions.of_account(&metric.account_id), place, metric);
        }
        self.work.passed_on += u64::from(elsewhere.globally) + u64::from(elsewhere.by_account);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Arrow,
}

/// The form that a content type names; JSON where there is none, as for ingest.
fn form(content_type: &str) -> Option<Form> {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if essence.is_empty() || essence.eq_ignore_ascii_case("application/json") {
        Some(Form::Json)
    } else if essence.eq_ignore_ascii_case(ARROW_STREAM) {
        Some(Form::Arrow)
    } else {
        None
    }
}
