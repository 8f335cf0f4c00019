//! The naive reference: it keeps every row, looks at everything every second, and works out each value and each duration anew
//! from all that was ever judged. It knows neither panes that are added up, nor timers, nor what a state is.

use std::collections::BTreeMap;

use kelly_schemas::histogram;

use super::world::{END_S, Plan, Said, account, in_order, rules};
use crate::entity::{Entity, Subject};
use crate::rule::{Aggregation, Direction, Kind, Level, NoDataPolicy, Rule, Scope};
use crate::transition::{Cause, Change, End, Identity};

/// What the engine should say of a history.
pub(super) fn transitions(plan: &Plan) -> Vec<Said> {
    let mut said = Vec::new();
    for rule in rules() {
        let mut watched: BTreeMap<Entity, Watched<'_>> = BTreeMap::new();
        let Some(first) = plan.rows.first() else { continue };
        let last_s = plan.rows.last().map_or(first.log_s, |row| row.log_s) + END_S;
        let mut rows = plan.rows.iter().peekable();
        for now_s in first.log_s..=last_s {
            for (entity, watched) in &mut watched {
                watched.look(entity, now_s * 1_000, &mut said);
            }
            while let Some(row) = rows.next_if(|row| row.log_s == now_s) {
                let entity = match rule.scope {
                    Scope::Global => Entity::global(),
                    _ => Entity { subject: Subject::Account(account(row.account).into()), part: "".into() },
                };
                let watched = watched.entry(entity.clone()).or_insert_with(|| Watched::new(&rule));
                watched.row(&entity, now_s * 1_000, (row.at_s * 1_000, row.value), &mut said);
            }
        }
    }
    in_order(said)
}

struct Watched<'r> {
    rule: &'r Rule,
    /// Rows that count.
    rows: Vec<(i64, f64)>,
    heard_ms: i64,
    silent: bool,
    /// Everything that was ever judged.
    judged: Vec<Judged>,
    alert: Option<Firing>,
    /// When the last one ended, in event time.
    ended_ms: Option<i64>,
    alerts: u32,
}

#[derive(Clone, Copy)]
struct Judged {
    clock_ms: i64,
    bad: [Option<bool>; 2],
    /// The level of the alert that fired at that time.
    firing: Option<Level>,
}

#[derive(Clone, Copy)]
struct Firing {
    level: Level,
    cause: Cause,
    raised_ms: i64,
    since_ms: i64,
    number: u32,
}

impl<'r> Watched<'r> {
    fn new(rule: &'r Rule) -> Self {
        Self {
            rule,
            rows: vec![],
            heard_ms: 0,
            silent: false,
            judged: vec![],
            alert: None,
            ended_ms: None,
            alerts: 0,
        }
    }

    fn late_ms(&self) -> i64 {
        if self.rule.kind == Kind::NoData { 0 } else { self.rule.late.expect("each says it").ms() }
    }

    fn clock_ms(&self, now_ms: i64) -> i64 {
        if self.is_judged_when_whole() {
            return now_ms - self.late_ms();
        }
        let newest = self.rows.iter().map(|row| row.0).max().unwrap_or(i64::MIN);
        newest.max(now_ms - self.late_ms())
    }

    fn row(&mut self, entity: &Entity, now_ms: i64, row: (i64, f64), said: &mut Vec<Said>) {
        let is_late = row.0 < self.clock_ms(now_ms) - self.late_ms() && self.rule.kind != Kind::NoData;
        self.heard_ms = now_ms;
        let was_silent = std::mem::take(&mut self.silent);
        if !is_late {
            self.rows.push(row);
        }
        if was_silent && self.alert.is_some_and(|alert| alert.cause == Cause::NoData) {
            self.end(End::Recovered, entity, now_ms, None, said);
        }
        if !is_late && !self.is_judged_when_whole() {
            self.judge(entity, now_ms, said);
        }
    }

    /// Too little of what is added up is judged when its window is over.
    fn is_judged_when_whole(&self) -> bool {
        let adds_up =
            matches!(self.rule.aggregation, Some(Aggregation::Count | Aggregation::Sum | Aggregation::Rate));
        adds_up && matches!(self.rule.direction, Some(Direction::Below | Direction::AtMost))
    }

    /// Time passed.
    fn look(&mut self, entity: &Entity, now_ms: i64, said: &mut Vec<Said>) {
        let (policy, after_ms) = self.silence();
        if policy != NoDataPolicy::Keep && !self.silent && now_ms - self.heard_ms >= after_ms {
            self.silent = true;
            self.judged.clear();
            let value = self.value(now_ms);
            let _ = value;
            self.end(End::NoData, entity, now_ms, None, said);
            if self.rule.aggregation.unwrap_or_default() == Aggregation::Last {
                self.rows.iter_mut().for_each(|row| row.1 = f64::NAN);
            }
        }
        self.judge(entity, now_ms, said);
    }

    fn silence(&self) -> (NoDataPolicy, i64) {
        if self.rule.kind == Kind::NoData {
            return (NoDataPolicy::Alert, self.rule.hold.expect("it says so").ms());
        }
        match &self.rule.no_data {
            Some(no_data) => (no_data.policy, no_data.hold.map_or(600_000, |hold| hold.ms())),
            None if matches!(self.rule.aggregation, Some(Aggregation::Count | Aggregation::Sum)) => {
                (NoDataPolicy::Keep, 0)
            }
            None => (NoDataPolicy::Resolve, 600_000),
        }
    }

    /// The value of the window at a time, from all rows.
    fn value(&self, now_ms: i64) -> Option<f64> {
        if self.rule.kind == Kind::NoData {
            return None;
        }
        let aggregation = self.rule.aggregation.unwrap_or_default();
        let clock_ms = self.clock_ms(now_ms);
        let Some(window) = self.rule.window else {
            let newest = self.rows.iter().map(|row| row.0).max()?;
            let value = self.rows.iter().rfind(|row| row.0 == newest)?.1;
            return (!value.is_nan()).then_some(value);
        };
        let panes = if aggregation == Aggregation::P50 { 10 } else { 20 };
        let pane_ms = window.ms() / panes;
        let mut last = clock_ms.div_euclid(pane_ms);
        if self.is_judged_when_whole() {
            last -= 1;
            let begins_ms = (last - panes + 1) * pane_ms;
            if self.rows.iter().all(|row| row.0 > begins_ms) {
                return None;
            }
        }
        let inside: Vec<f64> = self
            .rows
            .iter()
            .filter(|row| (last - panes + 1..=last).contains(&row.0.div_euclid(pane_ms)))
            .map(|row| row.1)
            .collect();
        if inside.is_empty() {
            return matches!(aggregation, Aggregation::Count | Aggregation::Sum).then_some(0.0);
        }
        if inside.len() < self.rule.min_samples.unwrap_or(1) as usize && !self.is_judged_when_whole() {
            return None;
        }
        let sum: f64 = inside.iter().sum();
        Some(match aggregation {
            Aggregation::Avg => sum / inside.len() as f64,
            Aggregation::Count => inside.len() as f64,
            Aggregation::Sum => sum,
            Aggregation::Max => inside.iter().copied().fold(f64::MIN, f64::max),
            Aggregation::P50 => {
                let mut buckets: Vec<i16> = inside.iter().map(|value| histogram::bucket(*value)).collect();
                buckets.sort_unstable();
                histogram::value(buckets[buckets.len().div_ceil(2) - 1])
            }
            other => unreachable!("no rule of the plan has {other:?}"),
        })
    }

    fn judge(&mut self, entity: &Entity, now_ms: i64, said: &mut Vec<Said>) {
        if self.silent {
            let (policy, _) = self.silence();
            if policy == NoDataPolicy::Alert && self.alert.is_none() && !self.is_muted(now_ms) {
                let level =
                    self.rule.no_data.as_ref().and_then(|no_data| no_data.severity).unwrap_or(Level::Warning);
                let since_ms = self.heard_ms;
                self.raise((level, Cause::NoData, since_ms), entity, now_ms, None, said);
            }
            return;
        }
        let value = self.value(now_ms);
        let clock_ms = self.clock_ms(now_ms);
        let firing = self.alert.map(|alert| alert.level);
        let direction = self.rule.direction;
        let bad = Level::ALL.map(|level| {
            let threshold = [self.rule.warning, self.rule.critical][level.index()]?;
            let direction = direction?;
            let eased = firing.is_some_and(|firing| firing >= level);
            let distance = if eased { self.rule.hysteresis.unwrap_or(0.0) } else { 0.0 };
            Some(match direction {
                Direction::Above => value? > threshold - distance,
                Direction::AtLeast => value? >= threshold - distance,
                Direction::Below => value? < threshold + distance,
                Direction::AtMost => value? <= threshold + distance,
            })
        });
        self.judged.push(Judged { clock_ms, bad, firing });
        if bad == [None; 2] {
            return;
        }
        let hold_ms = self.rule.hold.unwrap_or_default().ms();
        let held = [Level::Critical, Level::Warning].into_iter().find_map(|level| {
            let since_ms = self.run_since(|judged| judged.bad[level.index()] == Some(true))?;
            (clock_ms - since_ms >= hold_ms).then_some((level, since_ms))
        });
        match (firing, held) {
            (None, Some((level, since_ms))) => {
                if !self.is_muted(now_ms) {
                    self.raise((level, Cause::Condition, since_ms), entity, now_ms, value, said);
                }
            }
            (None, None) => {}
            (Some(Level::Warning), Some((Level::Critical, _))) => {
                self.move_to(Level::Critical, Change::Worsened, entity, now_ms, value, said);
            }
            (Some(firing), _) => {
                if !self.is_over(firing, clock_ms) {
                    return;
                }
                let has_warning = bad[Level::Warning.index()].is_some();
                if firing == Level::Critical && has_warning && !self.is_over(Level::Warning, clock_ms) {
                    self.move_to(Level::Warning, Change::Improved, entity, now_ms, value, said);
                } else {
                    self.end(End::Recovered, entity, now_ms, value, said);
                }
            }
        }
    }

    /// Since when the last judgements were all of a kind.
    fn run_since(&self, is_it: impl Fn(&Judged) -> bool) -> Option<i64> {
        self.judged.iter().rev().take_while(|judged| is_it(judged)).last().map(|judged| judged.clock_ms)
    }

    fn is_over(&self, level: Level, clock_ms: i64) -> bool {
        let keep_ms = self.rule.keep_firing_for.unwrap_or_default().ms();
        let since = self.run_since(|judged| {
            judged.bad[level.index()] == Some(false) && judged.firing.is_some_and(|firing| firing >= level)
        });
        since.is_some_and(|since_ms| clock_ms - since_ms >= keep_ms)
    }

    fn is_muted(&self, now_ms: i64) -> bool {
        let mute_ms = self.rule.mute_for.unwrap_or_default().ms();
        mute_ms > 0 && self.ended_ms.is_some_and(|ended_ms| self.clock_ms(now_ms) < ended_ms + mute_ms)
    }

    fn raise(
        &mut self,
        (level, cause, since_ms): (Level, Cause, i64),
        entity: &Entity,
        now_ms: i64,
        value: Option<f64>,
        said: &mut Vec<Said>,
    ) {
        let raised_ms = if cause == Cause::NoData { now_ms } else { self.clock_ms(now_ms) };
        self.alert = Some(Firing { level, cause, raised_ms, since_ms, number: self.alerts });
        self.alerts += 1;
        self.say(Change::Raised, entity, raised_ms, value, said);
    }

    fn move_to(
        &mut self,
        level: Level,
        change: Change,
        entity: &Entity,
        now_ms: i64,
        value: Option<f64>,
        said: &mut Vec<Said>,
    ) {
        if let Some(alert) = &mut self.alert {
            alert.level = level;
        }
        let clock_ms = self.clock_ms(now_ms);
        self.say(change, entity, clock_ms, value, said);
    }

    fn end(&mut self, end: End, entity: &Entity, now_ms: i64, value: Option<f64>, said: &mut Vec<Said>) {
        let Some(alert) = self.alert else { return };
        let at_ms = if alert.cause == Cause::NoData { now_ms } else { self.clock_ms(now_ms) };
        self.say(Change::Resolved(end), entity, at_ms, value, said);
        self.alert = None;
        self.ended_ms = Some(self.clock_ms(now_ms));
    }

    fn say(&self, change: Change, entity: &Entity, at_ms: i64, value: Option<f64>, said: &mut Vec<Said>) {
        let Some(alert) = self.alert else { return };
        let identity = Identity {
            rule: &self.rule.id,
            version: 1,
            entity,
            raised_ms: alert.raised_ms,
            number: alert.number,
        };
        said.push(Said {
            rule: self.rule.id.clone(),
            entity: entity.clone(),
            change,
            level: alert.level,
            cause: alert.cause,
            alert: identity.id(),
            at_ms,
            since_ms: alert.since_ms,
            value,
        });
    }
}
