//! What a state's data say at a time: a value, and which levels it is bad for.

use super::state::{Data, Open, State};
use crate::anomaly::Surprise;
use crate::mutation::{Mutation, mutated};
use crate::rule::{Aggregation, Burn, ChangeUnit, Compiled, Direction, Judge, Level, Source, WindowShape};
use crate::window::{Percentiles, Window};

/// What the data say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Reading {
    /// The value, of the metric or of what is made of it.
    pub(crate) value: Option<f64>,
    /// What the past of the series says of it.
    pub(crate) surprise: Option<Surprise>,
    /// Which levels it is bad for; `None` where the rule does not know the level. All `None` where there is too little to judge.
    pub(super) bad: [Option<bool>; 2],
    /// Thresholds, where there are any.
    pub(super) thresholds: [Option<f64>; 2],
}

impl Reading {
    /// Nothing to judge.
    pub(super) const NOTHING: Self =
        Self { value: None, surprise: None, bad: [None; 2], thresholds: [None; 2] };

    /// Whether there was enough to judge.
    pub(super) const fn is_known(&self) -> bool {
        self.bad[0].is_some() || self.bad[1].is_some()
    }

    /// The threshold of a level, else of the mildest there is.
    pub(crate) fn threshold(&self, level: Option<Level>) -> Option<f64> {
        level
            .and_then(|level| self.thresholds[level.index()])
            .or_else(|| self.thresholds.into_iter().flatten().next())
    }

    fn simple(bad: bool, level: Level) -> Self {
        let mut levels = [None; 2];
        levels[level.index()] = Some(bad);
        Self { bad: levels, ..Self::NOTHING }
    }
}

/// Reads the data of a state at its clock.
pub(super) fn read(rule: &Compiled, state: &mut State) -> Reading {
    if state.silent {
        return Reading::NOTHING;
    }
    let open = state.alert.as_deref();
    let at_ms = state.clock_ms;
    let judge = &rule.judge;
    let judged = |value: Option<f64>, count: u64| {
        let enough = count >= u64::from(judge.min_samples) || mutated(Mutation::MinimumSamples);
        value.filter(|_| enough).map_or(Reading::NOTHING, |value| by_thresholds(judge, open, value))
    };
    match (&rule.source, &mut state.data) {
        (Source::Window(_), Data::Newest(newest)) => judged(newest.map(|(_, value)| value), 1),
        (Source::Window(shape), Data::Window(window)) => {
            if shape.settled {
                if state.first_ms > at_ms.div_euclid(shape.pane_ms) * shape.pane_ms - shape.length_ms() {
                    return Reading::NOTHING;
                }
                window.expire(shape, at_ms, 1);
                let total = window.total_of(shape, at_ms, 1);
                // A count of nothing is a count: the least number of samples is for what is measured.
                return judged(total.value_of(shape.aggregation, seconds(shape)), u64::MAX);
            }
            window.expire(shape, at_ms, 0);
            let total = window.total(shape.aggregation);
            let adds_up =
                matches!(shape.aggregation, Aggregation::Sum | Aggregation::Rate | Aggregation::Count);
            let count = if adds_up && total.count == 0 { u64::MAX } else { total.count };
            judged(total.value_of(shape.aggregation, seconds(shape)), count)
        }
        (Source::Window(shape), Data::Percentiles(window)) => {
            window.expire(shape, at_ms);
            judged(percentile(shape, window), window.count())
        }
        (Source::Change { shape, over_panes, unit }, Data::Window(window)) => {
            window.expire(shape, at_ms, *over_panes);
            let (now, before) =
                (window.total_of(shape, at_ms, 0), window.total_of(shape, at_ms, *over_panes));
            let value = |total: crate::window::Total| {
                total.value_of(shape.aggregation, seconds(shape)).filter(|_| total.count > 0)
            };
            judged(changed(value(now), value(before), *unit), now.count.min(before.count))
        }
        (Source::Burn(burn), Data::Burn(windows)) => burning(burn, judge, windows, at_ms),
        (Source::Anomaly, Data::Anomaly(_, newest)) => {
            newest.map_or(Reading::NOTHING, |(value, surprise)| surprising(judge, open, value, surprise))
        }
        (Source::OwnThresholds, Data::Own(newest)) => newest.map_or(Reading::NOTHING, |own| {
            let direction = if own.more_is_worse { Direction::AtLeast } else { Direction::AtMost };
            let judge = Judge { direction: Some(direction), thresholds: own.thresholds, ..*judge };
            by_thresholds(&judge, open, own.value)
        }),
        (Source::Composite(_) | Source::Told, Data::Told(bad, _)) => Reading::simple(*bad, judge.level),
        // Silence has no values.
        _ => Reading::NOTHING,
    }
}

fn seconds(shape: &WindowShape) -> f64 {
    shape.length_ms() as f64 / 1_000.0
}

fn percentile(shape: &WindowShape, window: &Percentiles) -> Option<f64> {
    window.value(match shape.aggregation {
        Aggregation::P50 => 0.5,
        Aggregation::P95 => 0.95,
        _ => 0.99,
    })
}

/// An alert of the condition that fires at this level or a worse one must come back across the easier threshold.
fn by_thresholds(judge: &Judge, open: Option<&Open>, value: f64) -> Reading {
    let Some(direction) = judge.direction else { return Reading::NOTHING };
    let fires = |level: Level| {
        !mutated(Mutation::Hysteresis)
            && open
                .is_some_and(|open| open.cause == crate::transition::Cause::Condition && open.level >= level)
    };
    let bad = Level::ALL.map(|level| {
        judge.thresholds[level.index()].map(|threshold| {
            let threshold =
                if fires(level) { direction.eased(threshold, judge.hysteresis) } else { threshold };
            direction.is_bad(value, threshold)
        })
    });
    Reading { value: Some(value), surprise: None, bad, thresholds: judge.thresholds }
}

fn surprising(judge: &Judge, open: Option<&Open>, value: f64, surprise: Surprise) -> Reading {
    let counts =
        judge.direction.is_none_or(|direction| direction.more_is_worse() == surprise.is_above(value));
    let by_score = Judge { direction: Some(Direction::AtLeast), ..*judge };
    let score = if counts { surprise.score } else { 0.0 };
    Reading { value: Some(value), surprise: Some(surprise), ..by_thresholds(&by_score, open, score) }
}

fn changed(now: Option<f64>, before: Option<f64>, unit: ChangeUnit) -> Option<f64> {
    let (now, before) = (now?, before?);
    match unit {
        ChangeUnit::Absolute => Some(now - before),
        // Nothing is a percentage of nothing.
        ChangeUnit::Percent => (before != 0.0).then(|| (now - before) / before.abs() * 100.0),
    }
}

fn burning(burn: &Burn, judge: &Judge, windows: &mut [(Window, Window)], at_ms: i64) -> Reading {
    let rates: Vec<Option<f64>> = burn
        .windows
        .iter()
        .zip(windows)
        .map(|(shape, (bad, total))| {
            bad.expire(shape, at_ms, 0);
            total.expire(shape, at_ms, 0);
            let (bad, total) = (bad.total(Aggregation::Sum), total.total(Aggregation::Sum));
            let enough = total.count >= u64::from(judge.min_samples) && total.value > 0.0;
            enough.then(|| bad.value / total.value / burn.budget)
        })
        .collect();
    let mut reading = Reading::NOTHING;
    for pair in &burn.pairs {
        let (Some(long), Some(short)) = (rates[pair.long], rates[pair.short]) else { continue };
        let (burns, level) = (long.min(short), pair.level.index());
        let is_bad = burns >= pair.factor;
        // The worst pair of a level speaks for it.
        if reading.bad[level] != Some(true) {
            reading.bad[level] = Some(is_bad);
            reading.thresholds[level] = Some(pair.factor);
        }
        if is_bad || reading.value.is_none() {
            reading.value = Some(reading.value.map_or(burns, |value| value.max(burns)));
        }
    }
    reading
}
