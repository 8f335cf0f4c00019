//! The engine: rows and time in; what happened to alerts, and what to store, out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use kelly_schemas::Metric;

use super::key::{RestoreFault, StateKey};
use super::own_thresholds::own_thresholds;
use super::slots::{Slots, Stored};
use crate::entity::{Entity, Place, Subject, SubjectRef};
use crate::rule::{Compiled, Level, Metadata, Part, RuleSet, Scope, Source};
use crate::step::{After, Around, Input, News, Row, State, step};
use crate::transition::{Change, End, Evaluation, Sink, Transition};

/// A row of the log.
#[derive(Debug, Clone, Copy)]
pub struct Record<'r> {
    /// Where it stood; `None` for a row that cannot come twice.
    pub place: Option<Place>,
    /// The log's time of its message.
    pub log_time_ms: i64,
    /// The row.
    pub metric: &'r Metric<'r>,
}

/// What an engine has done and holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Rows it was given.
    pub rows: u64,
    /// How often a row was given to a rule.
    pub evaluations: u64,
    /// How often time alone was looked at.
    pub wakes: u64,
    /// Rows that were not judged because their rule watches as many entities as it may.
    pub over_cap: u64,
    /// States it holds.
    pub states: usize,
}

/// Many rules and many entities: those of one part of the log, whose rows come in one order.
///
/// Time in it is logical: the largest log time or tick so far. What is due happens at exactly its time and before the row that
/// shows that the time has passed. So two engines with the same rows do the same, however often they are ticked.
#[derive(Debug)]
pub struct Engine {
    rules: Arc<RuleSet>,
    scopes: Vec<Scope>,
    slots: Slots,
    now_ms: i64,
    /// Alerts of engines elsewhere that rules here depend on.
    elsewhere: HashMap<(u32, Entity), Level>,
    /// Rules that watch as many entities as they may.
    capped: BTreeSet<u32>,
    statistics: Statistics,
}

impl Engine {
    /// Of rules, with nothing remembered.
    #[must_use]
    pub fn new(rules: RuleSet) -> Self {
        Self::of_scopes(rules, &[Scope::Series, Scope::Conversation, Scope::Account, Scope::Global])
    }

    /// Of the rules of some scopes, which are those that see all their rows here. It hears of the others' alerts.
    #[must_use]
    pub fn of_scopes(rules: RuleSet, scopes: &[Scope]) -> Self {
        Self {
            scopes: scopes.to_vec(),
            slots: Slots::of_rules(rules.rules().len()),
            rules: Arc::new(rules),
            now_ms: i64::MIN,
            elsewhere: HashMap::new(),
            capped: BTreeSet::new(),
            statistics: Statistics::default(),
        }
    }

    /// The rules.
    #[must_use]
    pub fn rules(&self) -> &Arc<RuleSet> {
        &self.rules
    }

    /// Takes a row.
    pub fn record(&mut self, record: &Record<'_>, sink: &mut dyn Sink) {
        self.advance(record.log_time_ms, sink);
        self.statistics.rows += 1;
        let metric = record.metric;
        let rules = Arc::clone(&self.rules);
        let mut metadata = Metadata::of(&metric.metadata);
        for &index in rules.of_metric(&metric.metric_name) {
            let rule = rules.rule(index);
            if !self.scopes.contains(&rule.scope) {
                continue;
            }
            let Some(subject) = subject_of(rule.scope, metric) else { continue };
            let Some(part) = rule.takes(metric).filter(|_| rule.filter.takes(metric, &mut metadata)) else {
                continue;
            };
            let row = row_of(record, part);
            self.row(index, subject, "", row, sink);
        }
        if self.scopes.contains(&Scope::Series)
            && let Some(own) = own_thresholds(&metric.metric_name, &metric.metadata, &mut metadata)
        {
            self.own_thresholds(record, own, sink);
        }
    }

    /// Lets time pass. The caller has given it every row of its part of the log with an earlier log time: who is not at the
    /// end of the log ticks with the log's time that was read so far.
    pub fn tick(&mut self, now_ms: i64, sink: &mut dyn Sink) {
        self.advance(now_ms, sink);
    }

    /// When time alone may change something next.
    #[must_use]
    pub fn next_due_ms(&self) -> Option<i64> {
        self.slots.next_wake_ms()
    }

    /// Begins to wait for rows of rules about everything, which may never come: for those that watch silence. Call it on the one
    /// engine that gets these rules' rows.
    pub fn expect_rows(&mut self, now_ms: i64, sink: &mut dyn Sink) {
        self.advance(now_ms, sink);
        let rules = Arc::clone(&self.rules);
        for (rule, index) in rules.rules().iter().zip(0..) {
            let waits = rule.scope == Scope::Global && matches!(rule.source, Source::Silence);
            let waits = waits && self.scopes.contains(&Scope::Global);
            if waits && self.slots.find(index, SubjectRef::Global, "").is_none() {
                let place = self.slots.insert(index, Entity::global(), State::new(rule, self.now_ms));
                self.slots.touch(place, &rules);
            }
        }
    }

    /// Says that something is configured wrongly, or (`None`) no longer is: an alert of its own.
    pub fn configuration(&mut self, what: &str, problem: Option<&str>, now_ms: i64, sink: &mut dyn Sink) {
        self.advance(now_ms, sink);
        self.tell_configuration(what, problem, None, sink);
    }

    /// Hears what happened to an alert of another engine, for rules here that consist of its rule or are held back by it.
    pub fn hear(&mut self, transition: &Transition, now_ms: i64, sink: &mut dyn Sink) {
        self.advance(now_ms, sink);
        let Some(rule) = self.rules.index(&transition.rule) else { return };
        let is_needed = !self.rules.composites_of(rule).is_empty() || !self.rules.effects_of(rule).is_empty();
        let is_own =
            self.slots.find(rule, transition.entity.subject.borrowed(), &transition.entity.part).is_some();
        if !is_needed || is_own {
            return;
        }
        let key = (rule, transition.entity.clone());
        let changed = match transition.change {
            Change::Resolved(_) => self.elsewhere.remove(&key).is_some(),
            _ => self.elsewhere.insert(key, transition.level).is_none(),
        };
        if changed {
            self.cascade(rule, &transition.entity, sink);
        }
    }

    /// The states that changed since this was last called, and (`None`) those that are gone. Store them, and then commit up to
    /// where rows were given. What happened to alerts must be durable before.
    #[must_use]
    pub fn take_changed(&mut self) -> Vec<Stored> {
        self.slots.take_changed(&self.rules, usize::MAX)
    }

    /// As [`take_changed`](Self::take_changed), at most so many states that are there, those that wait longest first; what is gone
    /// is always among it. A state is as it is now, which may be newer than where rows were given when somebody began to take.
    #[must_use]
    pub fn take_some_changed(&mut self, most: usize) -> Vec<Stored> {
        self.slots.take_changed(&self.rules, most)
    }

    /// How many states wait to be taken, those that are gone among them, at most.
    #[must_use]
    pub fn changed(&self) -> usize {
        self.slots.changed()
    }

    /// Logical time: the largest log time or tick so far; `None` before the first.
    #[must_use]
    pub fn now_ms(&self) -> Option<i64> {
        (self.now_ms > i64::MIN).then_some(self.now_ms)
    }

    /// Takes up a stored state. Rows that it has had are recognised when they come again, so reading may begin anywhere before
    /// them. An alert whose rule is gone, or watches something else now, ends.
    pub fn restore(&mut self, key: StateKey, bytes: &[u8], sink: &mut dyn Sink) -> Result<(), RestoreFault> {
        let fault = || RestoreFault::State { rule: key.rule.clone(), entity: key.entity.to_string() };
        let state = State::from_bytes(bytes).ok_or_else(fault)?;
        let rules = Arc::clone(&self.rules);
        let index = rules.index(&key.rule);
        match index.filter(|index| state.fits(rules.rule(*index))) {
            Some(index) => {
                if let Some(known) = self.slots.find(index, key.entity.subject.borrowed(), &key.entity.part) {
                    self.slots.remove(known, &rules);
                }
                let place = self.slots.insert(index, key.entity, state);
                self.slots.touch(place, &rules);
            }
            None => {
                let end = if index.is_some() { End::RuleChanged } else { End::RuleRemoved };
                sink_orphan(&key, &state, end, sink);
                self.slots.add_gone([key]);
            }
        }
        Ok(())
    }

    /// Other rules from now on. What a rule remembers stays as long as it watches the same in the same way, whatever its thresholds
    /// are; else its alerts end.
    pub fn replace_rules(&mut self, rules: RuleSet, now_ms: i64, sink: &mut dyn Sink) {
        self.advance(now_ms, sink);
        let old = std::mem::replace(&mut self.rules, Arc::new(rules));
        let rules = Arc::clone(&self.rules);
        let renamed = |index: u32| rules.index(&old.rule(index).rule.id);
        let (slots, gone) =
            std::mem::replace(&mut self.slots, Slots::of_rules(rules.rules().len())).into_parts();
        self.slots.add_gone(gone);
        self.capped = self.capped.iter().filter_map(|index| renamed(*index)).collect();
        let elsewhere = std::mem::take(&mut self.elsewhere);
        self.elsewhere = elsewhere
            .into_iter()
            .filter_map(|((index, entity), level)| Some(((renamed(index)?, entity), level)))
            .collect();
        let mut ended = Vec::new();
        for slot in slots {
            let index = renamed(slot.rule);
            match index.filter(|index| slot.state.fits(rules.rule(*index))) {
                Some(index) => {
                    let place = self.slots.insert(index, slot.entity, slot.state);
                    self.slots.touch(place, &rules);
                }
                None => {
                    let end = if index.is_some() { End::RuleChanged } else { End::RuleRemoved };
                    ended.push((slot, end));
                }
            }
        }
        let places: Vec<u32> = self.slots.places().map(|(place, _)| place).collect();
        for (mut slot, end) in ended {
            let rule = old.rule(slot.rule);
            let mut around = Surroundings { sink, is_held_back: false };
            let _ = step(rule, &slot.entity, &mut slot.state, Input::Ended(end), self.now_ms, &mut around);
            self.slots.add_gone([StateKey { rule: rule.rule.id.clone(), entity: slot.entity }]);
        }
        for place in places {
            self.run(place, Input::Again, self.now_ms, sink);
        }
    }

    /// What it has done and holds.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        Statistics { states: self.slots.len(), ..self.statistics }
    }

    /// The alerts that fire, by rule and entity.
    pub fn firing(&self) -> impl Iterator<Item = (&str, &Entity, &crate::step::Open)> {
        self.slots.places().filter_map(|(_, slot)| {
            let rule = self.rules.rule(slot.rule);
            slot.state.alert().map(|alert| (rule.rule.id.as_str(), &slot.entity, alert))
        })
    }

    /// Rows that came too late to count, by rule, of the entities that are remembered.
    #[must_use]
    pub fn late_rows(&self) -> BTreeMap<&str, u64> {
        let mut late = BTreeMap::new();
        for (_, slot) in self.slots.places().filter(|(_, slot)| slot.state.late_rows() > 0) {
            *late.entry(self.rules.rule(slot.rule).rule.id.as_str()).or_default() +=
                u64::from(slot.state.late_rows());
        }
        late
    }

    fn advance(&mut self, now_ms: i64, sink: &mut dyn Sink) {
        while let Some((due_ms, place)) = self.slots.wake(now_ms) {
            self.now_ms = self.now_ms.max(due_ms);
            self.statistics.wakes += 1;
            self.run(place, Input::Time, self.now_ms, sink);
        }
        self.now_ms = self.now_ms.max(now_ms);
    }

    fn row(&mut self, index: u32, subject: SubjectRef<'_>, part: &str, row: Row<'_>, sink: &mut dyn Sink) {
        self.statistics.evaluations += 1;
        let place = match self.slots.find(index, subject, part) {
            Some(place) => place,
            None => {
                match self.begin(index, Entity { subject: subject.to_owned(), part: part.into() }, sink) {
                    Some(place) => place,
                    None => return,
                }
            }
        };
        self.run(place, Input::Row(row), self.now_ms, sink);
    }

    /// Begins to watch an entity, unless its rule watches as many as it may.
    fn begin(&mut self, index: u32, entity: Entity, sink: &mut dyn Sink) -> Option<u32> {
        let rules = Arc::clone(&self.rules);
        let rule = rules.rule(index);
        if self.slots.count_of(index) >= rule.max_entities {
            self.statistics.over_cap += 1;
            if self.capped.insert(index) {
                let most = rule.max_entities;
                let problem = format!(
                    "it watches {most} entities, as many as `max_entities` allows; further ones are not watched"
                );
                self.tell_configuration(&format!("rule `{}`", rule.rule.id), Some(&problem), None, sink);
            }
            return None;
        }
        let state = State::new(rule, self.now_ms);
        Some(self.slots.insert(index, entity, state))
    }

    fn own_thresholds(
        &mut self,
        record: &Record<'_>,
        own: Result<([Option<f64>; 2], bool), String>,
        sink: &mut dyn Sink,
    ) {
        let metric = record.metric;
        let what = format!("thresholds in the metadata of `{}`", metric.metric_name);
        match own {
            Ok(own) => {
                self.tell_configuration(&what, None, record.place, sink);
                let Some(subject) = subject_of(Scope::Series, metric) else { return };
                let row = Row { own: Some(own), ..row_of(record, Part::Value) };
                self.row(self.rules.own_thresholds(), subject, &metric.metric_name, row, sink);
            }
            Err(problem) => self.tell_configuration(&what, Some(&problem), record.place, sink),
        }
    }

    fn tell_configuration(
        &mut self,
        what: &str,
        problem: Option<&str>,
        place_of_row: Option<Place>,
        sink: &mut dyn Sink,
    ) {
        let index = self.rules.configuration();
        let known = self.slots.find(index, SubjectRef::Global, what);
        let place = match (known, problem) {
            (Some(place), _) => place,
            (None, None) => return,
            (None, Some(_)) => {
                let rule = Arc::clone(self.rules.rule(index));
                if self.slots.count_of(index) >= rule.max_entities {
                    return;
                }
                let entity = Entity { subject: Subject::Global, part: what.into() };
                self.slots.insert(index, entity, State::new(&rule, self.now_ms))
            }
        };
        let news = News { is_so: problem.is_some(), why: problem.unwrap_or_default(), place: place_of_row };
        self.run(place, Input::Told(news), self.now_ms, sink);
    }

    /// One step of one state, and what follows from it for others.
    fn run(&mut self, place: u32, input: Input<'_>, now_ms: i64, sink: &mut dyn Sink) {
        let rules = Arc::clone(&self.rules);
        let Some(slot) = self.slots.get(place) else { return };
        let index = slot.rule;
        let is_held_back = rules.causes_of(index).iter().any(|cause| self.fires(*cause, &slot.entity));
        let rule: &Compiled = rules.rule(index);
        let Some(slot) = self.slots.get_mut(place) else { return };
        let fired = slot.state.alert().is_some();
        let mut around = Surroundings { sink, is_held_back };
        let after = step(rule, &slot.entity, &mut slot.state, input, now_ms, &mut around);
        let fires = slot.state.alert().is_some();
        let is_blank = slot.state.is_blank();
        let needed = !rules.composites_of(index).is_empty() || !rules.effects_of(index).is_empty();
        let entity = (fired != fires && needed).then(|| slot.entity.clone());
        if after == After::Forgotten || is_blank {
            self.slots.remove(place, &rules);
            self.uncap(index, sink);
        } else {
            self.slots.touch(place, &rules);
        }
        if let Some(entity) = entity {
            self.cascade(index, &entity, sink);
        }
    }

    /// A rule that watches clearly fewer entities than it may watches new ones again, and says so.
    fn uncap(&mut self, index: u32, sink: &mut dyn Sink) {
        let rules = Arc::clone(&self.rules);
        let rule = rules.rule(index);
        if self.capped.contains(&index)
            && self.slots.count_of(index) < rule.max_entities - rule.max_entities / 10
        {
            self.capped.remove(&index);
            self.tell_configuration(&format!("rule `{}`", rule.rule.id), None, None, sink);
        }
    }

    /// Whether the alert of a rule fires about an entity, or about everything.
    fn fires(&self, rule: u32, entity: &Entity) -> bool {
        let of = |subject: SubjectRef<'_>, part: &str| {
            let own = self.slots.find(rule, subject, part).and_then(|place| self.slots.get(place));
            own.is_some_and(|slot| slot.state.alert().is_some())
        };
        of(entity.subject.borrowed(), &entity.part)
            || (self.rules.rule(rule).scope == Scope::Global && of(SubjectRef::Global, ""))
            || (!self.elsewhere.is_empty()
                && (self.elsewhere.contains_key(&(rule, entity.clone()))
                    || (self.rules.rule(rule).scope == Scope::Global
                        && self.elsewhere.contains_key(&(rule, Entity::global())))))
    }

    /// An alert of a rule began or ended: composites of it and rules it holds back look again.
    fn cascade(&mut self, index: u32, entity: &Entity, sink: &mut dyn Sink) {
        let rules = Arc::clone(&self.rules);
        let everything = rules.rule(index).scope == Scope::Global;
        for &composite in rules.composites_of(index) {
            let Source::Composite(expression) = &rules.rule(composite).source else { continue };
            if !self.scopes.contains(&rules.rule(composite).scope) {
                continue;
            }
            for entity in self.concerned(composite, entity, everything, &rules) {
                let holds =
                    expression.holds(&mut |id| rules.index(id).is_some_and(|part| self.fires(part, &entity)));
                let place = match self.slots.find(composite, entity.subject.borrowed(), &entity.part) {
                    Some(place) => Some(place),
                    None if holds => self.begin(composite, entity, sink),
                    None => None,
                };
                if let Some(place) = place {
                    self.run(
                        place,
                        Input::Told(News { is_so: holds, why: "", place: None }),
                        self.now_ms,
                        sink,
                    );
                }
            }
        }
        for &effect in rules.effects_of(index) {
            let held: Vec<u32> = if everything {
                let held = |slot: &super::slots::Slot| slot.rule == effect && slot.state.is_held_back();
                self.slots.places().filter(|(_, slot)| held(slot)).map(|(place, _)| place).collect()
            } else {
                self.slots.find(effect, entity.subject.borrowed(), &entity.part).into_iter().collect()
            };
            for place in held {
                self.run(place, Input::Again, self.now_ms, sink);
            }
        }
    }

    /// The entities about which a composite may have to say something else, in their order.
    fn concerned(
        &self,
        composite: u32,
        entity: &Entity,
        everything: bool,
        rules: &RuleSet,
    ) -> BTreeSet<Entity> {
        if !everything || rules.rule(composite).scope == Scope::Global {
            return BTreeSet::from([entity.clone()]);
        }
        let Source::Composite(expression) = &rules.rule(composite).source else { return BTreeSet::new() };
        let parts: Vec<u32> = expression.rules().into_iter().filter_map(|id| rules.index(id)).collect();
        let is_near = |slot: &super::slots::Slot| {
            slot.rule == composite
                || (parts.contains(&slot.rule) && rules.rule(slot.rule).scope != Scope::Global)
        };
        self.slots.places().filter(|(_, slot)| is_near(slot)).map(|(_, slot)| slot.entity.clone()).collect()
    }
}

/// The sink, with whether a cause holds the alert back.
struct Surroundings<'s> {
    sink: &'s mut dyn Sink,
    is_held_back: bool,
}

impl Sink for Surroundings<'_> {
    fn transition(&mut self, transition: Transition) {
        self.sink.transition(transition);
    }

    fn evaluated(&mut self, evaluation: Evaluation<'_>) {
        self.sink.evaluated(evaluation);
    }

    fn wants_every_value(&self) -> bool {
        self.sink.wants_every_value()
    }
}

impl Around for Surroundings<'_> {
    fn is_held_back(&self) -> bool {
        self.is_held_back
    }
}

/// What a row is about, to a rule of a scope.
fn subject_of<'m>(scope: Scope, metric: &'m Metric<'_>) -> Option<SubjectRef<'m>> {
    let conversation =
        (!metric.conversation_id.is_empty()).then_some(SubjectRef::Conversation(&metric.conversation_id));
    let account = (!metric.account_id.is_empty()).then_some(SubjectRef::Account(&metric.account_id));
    match scope {
        Scope::Series => conversation.or(account).or(Some(SubjectRef::Global)),
        Scope::Conversation => conversation,
        Scope::Account => account,
        Scope::Global => Some(SubjectRef::Global),
    }
}

fn row_of<'r>(record: &Record<'r>, part: Part) -> Row<'r> {
    let metric = record.metric;
    Row {
        place: record.place,
        at_ms: metric.timestamp_ms,
        value: metric.value,
        part,
        account: &metric.account_id,
        own: None,
    }
}

/// Ends an alert whose rule is gone.
fn sink_orphan(key: &StateKey, state: &State, end: End, sink: &mut dyn Sink) {
    if let Some(transition) = state.orphaned(&key.rule, &key.entity, end) {
        sink.transition(transition);
    }
}
