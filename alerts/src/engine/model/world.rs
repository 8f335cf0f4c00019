//! Random histories, and the engine driven through one as an evaluator would: states are stored now and then, it is ended and
//! begun anew, and what was not committed is read again.

use std::collections::{BTreeMap, BTreeSet};

use kelly_schemas::Metric;
use proptest::prelude::*;

use super::super::core::{Engine, Record};
use super::super::key::StateKey;
use crate::Level;
use crate::entity::{Entity, Place};
use crate::rule::{Rule, RuleSet, parse_toml};
use crate::transition::{Cause, Change, Transition};

pub(super) const RULES: &str = "
[[rule]]
id = 'newest'
metric = 'm'
scope = 'account'
direction = 'above'
warning = 10
critical = 20
hysteresis = 4
late = '10s'

[[rule]]
id = 'mean'
metric = 'm'
scope = 'account'
aggregation = 'avg'
window = '20s'
direction = 'above'
warning = 10
critical = 16
hysteresis = 2
for = '5s'
keep_firing_for = '5s'
mute_for = '30s'
min_samples = 2
late = '10s'

[[rule]]
id = 'few'
metric = 'm'
scope = 'global'
aggregation = 'count'
window = '20s'
direction = 'below'
warning = 2
late = '10s'

[[rule]]
id = 'sum'
metric = 'm'
scope = 'account'
aggregation = 'sum'
window = '40s'
direction = 'at_least'
warning = 40
critical = 80
late = '10s'

[[rule]]
id = 'median'
metric = 'm'
scope = 'global'
aggregation = 'p50'
window = '20s'
direction = 'above'
critical = 10.5
late = '10s'

[[rule]]
id = 'quiet'
metric = 'm'
scope = 'account'
direction = 'at_most'
warning = 6
for = '8s'
late = '10s'
no_data = { policy = 'alert', for = '30s', severity = 'critical' }

[[rule]]
id = 'silent'
metric = 'm'
kind = 'no_data'
scope = 'account'
for = '25s'
mute_for = '40s'

[[rule]]
id = 'largest'
metric = 'm'
scope = 'account'
aggregation = 'max'
window = '20s'
direction = 'at_least'
warning = 20
keep_firing_for = '3s'
late = '10s'
no_data = { policy = 'keep' }
";

/// The rules as they are written.
pub(super) fn rules() -> Vec<Rule> {
    parse_toml(RULES).expect("the rules are written well").rules
}

/// One history.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) rows: Vec<PlannedRow>,
    /// What happens before the row of the number.
    acts: Vec<(usize, Act)>,
}

/// A row, in whole seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlannedRow {
    pub(super) log_s: i64,
    pub(super) at_s: i64,
    pub(super) account: u8,
    pub(super) value: f64,
}

#[derive(Debug, Clone, Copy)]
enum Act {
    /// States are stored and the position is committed.
    Checkpoint,
    /// A rebalance: the same, and another engine goes on.
    Move,
    /// A part of the changed states is stored, nothing is committed, and another engine goes on from the last commit.
    Crash(u8),
    /// The last rows come again.
    Again(u8),
    /// Time is told, up to so many seconds after the last row.
    Tick(u8),
}

/// So long after the last row the history ends.
pub(super) const END_S: i64 = 120;

/// 2026-11-30 00:00 UTC.
const BEGIN_S: i64 = 1_796_000_000 - 1_796_000_000 % 86_400;

pub(super) fn plans() -> impl Strategy<Value = Plan> {
    let delay = prop_oneof![6 => 0..=3_i64, 3 => 4..=10_i64, 2 => 11..=45_i64];
    let pause = prop_oneof![8 => 0..=4_i64, 3 => 5..=15_i64, 1 => 16..=70_i64];
    // Runs of one mood, so that `for` has something to last through.
    let mood = prop_oneof![
        Just(&[0.0, 6.0, 8.0][..]),
        Just(&[10.0, 11.0, 12.0, 14.0][..]),
        Just(&[16.0, 18.0, 20.0, 24.0][..])
    ];
    let run = (mood, prop::collection::vec((pause, delay, 0..2_u8, any::<prop::sample::Index>()), 1..9));
    let rows = prop::collection::vec(run, 1..9).prop_map(|runs| {
        let mut log_s = BEGIN_S;
        let mut rows = Vec::new();
        for (mood, run) in runs {
            for (pause, delay, account, value) in run {
                log_s += pause;
                rows.push(PlannedRow { log_s, at_s: log_s - delay, account, value: *value.get(mood) });
            }
        }
        rows
    });
    let act = prop_oneof![
        Just(Act::Checkpoint),
        Just(Act::Move),
        any::<u8>().prop_map(Act::Crash),
        (1..6_u8).prop_map(Act::Again),
        (0..90_u8).prop_map(Act::Tick),
        (0..90_u8).prop_map(Act::Tick),
    ];
    (rows, prop::collection::vec((any::<prop::sample::Index>(), act), 0..14)).prop_map(|(rows, acts)| {
        let mut acts: Vec<_> =
            acts.into_iter().map(|(place, act)| (place.index(rows.len() + 1), act)).collect();
        acts.sort_by_key(|(place, _)| *place);
        Plan { rows, acts }
    })
}

/// What is compared of a transition.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Said {
    pub(super) rule: String,
    pub(super) entity: Entity,
    pub(super) change: Change,
    pub(super) level: Level,
    pub(super) cause: Cause,
    pub(super) alert: uuid::Uuid,
    pub(super) at_ms: i64,
    pub(super) since_ms: i64,
    pub(super) value: Option<f64>,
}

impl Said {
    fn of(transition: Transition) -> Self {
        let Transition { rule, entity, change, level, cause, alert, at_ms, since_ms, value, .. } = transition;
        Self { rule, entity, change, level, cause, alert, at_ms, since_ms, value }
    }
}

/// Each rule and entity in its own order.
pub(super) fn in_order(mut said: Vec<Said>) -> Vec<Said> {
    said.sort_by(|one, other| (&one.rule, &one.entity).cmp(&(&other.rule, &other.entity)));
    said
}

struct Evaluator {
    rules: RuleSet,
    engine: Engine,
    store: BTreeMap<StateKey, Vec<u8>>,
    /// Rows up to here are committed.
    committed: usize,
    sink: Vec<Transition>,
    /// What was told is told once: a repetition has the same id and change at the same time.
    seen: BTreeSet<(uuid::Uuid, String, i64)>,
    said: Vec<Said>,
}

/// What the engine says of a history.
pub(super) fn transitions(plan: &Plan) -> Vec<Said> {
    let mut evaluator = driven(plan);
    let end_s = plan.rows.last().map_or(BEGIN_S, |row| row.log_s) + END_S;
    evaluator.engine.tick(end_s * 1_000, &mut evaluator.sink);
    evaluator.note();
    in_order(evaluator.said)
}

/// The states that are stored after the last row of a history.
pub(super) fn stored_states(plan: &Plan) -> Vec<Vec<u8>> {
    let mut evaluator = driven(plan);
    evaluator.checkpoint(plan.rows.len());
    evaluator.store.into_values().collect()
}

fn driven(plan: &Plan) -> Evaluator {
    let rules = RuleSet::new(&rules()).expect("the rules are right");
    let mut evaluator = Evaluator {
        engine: Engine::new(rules.clone()),
        rules,
        store: BTreeMap::new(),
        committed: 0,
        sink: Vec::new(),
        seen: BTreeSet::new(),
        said: Vec::new(),
    };
    let mut acts = plan.acts.iter().peekable();
    for next in 0..=plan.rows.len() {
        while let Some((_, act)) = acts.next_if(|(place, _)| *place == next) {
            evaluator.act(*act, plan, next);
        }
        if next < plan.rows.len() {
            evaluator.feed(plan, next);
        }
    }
    evaluator
}

impl Evaluator {
    fn feed(&mut self, plan: &Plan, number: usize) {
        let row = plan.rows[number];
        let metric = Metric {
            metric_name: "m".into(),
            metric_type: "gauge".into(),
            value: row.value,
            timestamp_ms: row.at_s * 1_000,
            account_id: account(row.account).into(),
            conversation_id: "".into(),
            user_id: "".into(),
            metadata: "".into(),
        };
        let place = Some(Place { partition: 0, offset: number as i64, row: 0 });
        let record = Record { place, log_time_ms: row.log_s * 1_000, metric: &metric };
        self.engine.record(&record, &mut self.sink);
        self.note();
    }

    fn act(&mut self, act: Act, plan: &Plan, next: usize) {
        match act {
            Act::Checkpoint => self.checkpoint(next),
            Act::Move => {
                self.checkpoint(next);
                self.begin_anew();
            }
            Act::Crash(stored) => {
                for (number, (key, state)) in (0..).zip(self.engine.take_changed()) {
                    if stored >> (number % 8) & 1 == 1 {
                        self.put(key, state);
                    }
                }
                self.begin_anew();
                for number in self.committed..next {
                    self.feed(plan, number);
                }
            }
            Act::Again(count) => {
                for number in next.saturating_sub(usize::from(count))..next {
                    self.feed(plan, number);
                }
            }
            Act::Tick(seconds) => {
                let last_s = plan.rows[..next].last().map_or(BEGIN_S, |row| row.log_s);
                // Every row before this time was given.
                let bound_s = plan.rows.get(next).map_or(last_s + END_S, |row| row.log_s);
                self.engine.tick((last_s + i64::from(seconds)).min(bound_s) * 1_000, &mut self.sink);
                self.note();
            }
        }
    }

    fn checkpoint(&mut self, next: usize) {
        for (key, state) in self.engine.take_changed() {
            self.put(key, state);
        }
        self.committed = next;
    }

    fn put(&mut self, key: StateKey, state: Option<Vec<u8>>) {
        match state {
            Some(state) => drop(self.store.insert(key, state)),
            None => drop(self.store.remove(&key)),
        }
    }

    fn begin_anew(&mut self) {
        self.engine = Engine::new(self.rules.clone());
        for (key, state) in &self.store {
            let key = StateKey::from_bytes(&key.to_bytes()).expect("a key is read as it was written");
            self.engine.restore(key, state, &mut self.sink).expect("a state is read as it was written");
        }
        self.note();
    }

    fn note(&mut self) {
        for transition in std::mem::take(&mut self.sink) {
            let key = (transition.alert, format!("{:?}", transition.change), transition.at_ms);
            if self.seen.insert(key) {
                self.said.push(Said::of(transition));
            }
        }
    }
}

/// The name of an account.
pub(super) fn account(number: u8) -> String {
    format!("a{number}")
}
