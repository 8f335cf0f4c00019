//! The one function that decides: a rule, what is remembered of one entity, what happened, and the time, in; the changed
//! memory and what is to be told, out. It reads no clock and does no I/O, so that live, in a test and over history it says
//! the same.
//!
//! There are two clocks. **Logical time** is when things were heard: the log's time of a row, or what a tick said. Silence is
//! counted in it. **Event time** is when things happened; a state's clock is that of its newest row, or what has passed
//! since without one, less the allowance for late rows. Windows, `for`, `keep_firing_for`, `mute_for` and hours are counted in it.
//! So a producer that is a minute behind is judged as one that is not, and one that stops does not stop the clock.

use super::due::{self, next_due};
use super::state::{Data, OwnValue, State};
use crate::entity::{Entity, Place};
use crate::mutation::{Mutation, mutated};
use crate::rule::{Burn, Compiled, Errors, Part, Source};
use crate::transition::{Evaluation, Sink, Transition};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Input<'a> {
    /// A row that the rule counts.
    Row(Row<'a>),
    /// Time passed.
    Time,
    /// What holds alerts back may have changed.
    Again,
    /// Whether the rules of a composite fire as it says, or something is configured wrongly.
    Told(News<'a>),
    /// The rule ended: it is gone, or watches something else.
    Ended(crate::transition::End),
}

/// What a rule without rows is told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct News<'a> {
    /// Whether it is so.
    pub is_so: bool,
    /// Why.
    pub why: &'a str,
    /// The row that says so, which may come again; `None` where none does.
    pub place: Option<Place>,
}

/// A row that the rule counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row<'a> {
    /// Where it stood on the log; a row without a place is never taken for one that was had.
    pub place: Option<Place>,
    /// When it happened.
    pub at_ms: i64,
    /// Its value.
    pub value: f64,
    /// What the value is to the rule.
    pub part: Part,
    /// The account it names, or "".
    pub account: &'a str,
    /// The thresholds it brings, for the rule of such rows: by level, and whether more is worse.
    pub own: Option<([Option<f64>; 2], bool)>,
}

/// What is around one state: whom it is about, what holds it back, and where to tell.
pub trait Around: Sink {
    /// Whether the alert of a cause fires, so that this one is held back.
    fn is_held_back(&self) -> bool;
}

impl Around for Vec<Transition> {
    fn is_held_back(&self) -> bool {
        false
    }
}

/// What [`step`] is done with.
pub(crate) struct Step<'s> {
    pub(crate) rule: &'s Compiled,
    pub(crate) entity: &'s Entity,
    pub(crate) state: &'s mut State,
    pub(crate) around: &'s mut dyn Around,
    /// The row that is being judged.
    pub(crate) place: Option<Place>,
}

/// Whether an entity is still remembered after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum After {
    /// It is.
    Remembered,
    /// Nothing was heard of it for so long that it is to be forgotten.
    Forgotten,
}

/// Brings a state to a time, and takes what happened then. What was due before happens first, at its own time.
pub fn step(
    rule: &Compiled,
    entity: &Entity,
    state: &mut State,
    input: Input<'_>,
    now_ms: i64,
    around: &mut dyn Around,
) -> After {
    let mut step = Step { rule, entity, state, around, place: None };
    while let Some(due_ms) = next_due(rule, entity, step.state).filter(|due_ms| *due_ms <= now_ms) {
        step.state.now_ms = due_ms;
        if step.time() == After::Forgotten {
            // What happens to it now begins anew.
            if matches!(input, Input::Time | Input::Again | Input::Ended(_)) {
                return After::Forgotten;
            }
            *step.state = State::new(rule, now_ms);
        }
    }
    step.state.now_ms = step.state.now_ms.max(now_ms);
    match input {
        Input::Time => {}
        Input::Again => {
            step.tick_clock();
            step.judge();
        }
        Input::Row(row) => step.row(&row),
        Input::Told(news) => step.told(&news),
        Input::Ended(end) => step.end(end),
    }
    After::Remembered
}

impl Step<'_> {
    /// Whatever was due at this time.
    fn time(&mut self) -> After {
        let now_ms = self.state.now_ms;
        self.tick_clock();
        let is_silent_for = |ms: i64| now_ms - self.state.heard_ms >= ms;
        if due::is_heard(self.rule) {
            if is_silent_for(self.rule.forgotten_after_ms(self.entity.is_conversation())) {
                self.end(crate::transition::End::Vanished);
                return After::Forgotten;
            }
            if !self.state.silent
                && due::notices_silence(self.rule)
                && is_silent_for(self.rule.silence.after_ms)
            {
                self.state.silent = true;
                self.fall_silent();
            }
        }
        self.judge();
        After::Remembered
    }

    fn tick_clock(&mut self) {
        let passed_ms = self.state.now_ms.saturating_sub(self.rule.timing.late_ms);
        // A window that is judged when it is settled waits for late rows, however new the newest one is.
        let newest_ms = if self.is_settled() { i64::MIN } else { self.state.newest_ms };
        self.state.clock_ms = self.state.clock_ms.max(newest_ms).max(passed_ms);
    }

    fn told(&mut self, news: &News<'_>) {
        let state = &mut *self.state;
        if news.place.is_some_and(|place| !state.places.take(place)) {
            return;
        }
        self.place = news.place;
        state.heard_ms = state.now_ms;
        state.clock_ms = state.clock_ms.max(state.now_ms);
        state.data = Data::Told(news.is_so, news.why.into());
        self.judge();
    }

    fn row(&mut self, row: &Row<'_>) {
        let state = &mut *self.state;
        if row.place.is_some_and(|place| !state.places.take(place)) {
            return;
        }
        self.place = row.place;
        state.heard_ms = state.now_ms;
        if !row.account.is_empty() && *state.account != *row.account && self.entity.is_conversation() {
            state.account = row.account.into();
        }
        // A clock that is ahead must not bring the end of windows before their time.
        let at_ms = row.at_ms.min(state.now_ms);
        let was_silent = std::mem::take(&mut state.silent);
        self.tick_clock();
        let earliest_ms = self.state.clock_ms - self.rule.timing.late_ms;
        let too_late = at_ms < earliest_ms
            && !mutated(Mutation::LateData)
            && !matches!(self.rule.source, Source::Silence);
        if !too_late {
            self.state.first_ms = self.state.first_ms.min(at_ms);
            self.state.newest_ms = self.state.newest_ms.max(at_ms);
            self.tick_clock();
        }
        if was_silent {
            self.speak_again();
        }
        if too_late {
            self.state.late_rows = self.state.late_rows.saturating_add(1);
            return;
        }
        self.add(row, at_ms);
        if !self.is_settled() {
            self.judge();
        }
    }

    fn is_settled(&self) -> bool {
        matches!(&self.rule.source, Source::Window(shape) if shape.settled)
    }

    fn add(&mut self, row: &Row<'_>, at_ms: i64) {
        let clock_ms = self.state.clock_ms;
        match (&self.rule.source, &mut self.state.data) {
            (Source::Window(_), Data::Newest(newest)) => {
                let is_newest = newest.is_none_or(|(newest_ms, _)| at_ms >= newest_ms);
                *newest = if is_newest { Some((at_ms, row.value)) } else { *newest };
            }
            (Source::Window(shape), Data::Window(window)) => {
                window.expire(shape, clock_ms, i64::from(shape.settled));
                if !is_out(shape.pane_ms, shape.panes + i64::from(shape.settled), at_ms, clock_ms) {
                    window.add(shape, at_ms, row.value);
                }
            }
            (Source::Window(shape), Data::Percentiles(window)) => {
                window.expire(shape, clock_ms);
                if !is_out(shape.pane_ms, shape.panes, at_ms, clock_ms) {
                    window.add(shape, at_ms, row.value);
                }
            }
            (Source::Change { shape, over_panes, .. }, Data::Window(window)) => {
                window.expire(shape, clock_ms, *over_panes);
                if !is_out(shape.pane_ms, shape.panes + over_panes, at_ms, clock_ms) {
                    window.add(shape, at_ms, row.value);
                }
            }
            (Source::Burn(burn), Data::Burn(windows)) => add_to_burn(burn, windows, row, at_ms, clock_ms),
            (Source::Anomaly, Data::Anomaly(baseline, newest)) => {
                if let Some(surprise) = baseline.observe(at_ms, row.value) {
                    *newest = Some((row.value, surprise));
                }
            }
            (Source::OwnThresholds, Data::Own(newest)) => {
                if let Some((thresholds, more_is_worse)) = row.own
                    && newest.is_none_or(|newest| at_ms >= newest.at_ms)
                {
                    *newest = Some(OwnValue { at_ms, value: row.value, thresholds, more_is_worse });
                }
            }
            _ => {}
        }
    }

    /// Tells of a value that was looked at, if an alert is near or fires.
    pub(super) fn tell_evaluation(
        &mut self,
        value: Option<f64>,
        threshold: Option<f64>,
        decision: crate::transition::Decision,
    ) {
        self.around.evaluated(Evaluation {
            rule: &self.rule.rule.id,
            entity: self.entity,
            alert: self.state.alert.as_ref().map(|alert| alert.id),
            at_ms: self.state.clock_ms,
            value,
            threshold,
            decision,
        });
    }
}

/// Whether a time is before the oldest of so many panes.
const fn is_out(pane_ms: i64, panes: i64, at_ms: i64, clock_ms: i64) -> bool {
    at_ms.div_euclid(pane_ms) <= clock_ms.div_euclid(pane_ms) - panes
}

fn add_to_burn(
    burn: &Burn,
    windows: &mut [(crate::window::Window, crate::window::Window)],
    row: &Row<'_>,
    at_ms: i64,
    clock_ms: i64,
) {
    let (bad, total) = match (&burn.errors, row.part) {
        (Errors::Counted { .. }, Part::Bad) => (Some(row.value), None),
        (Errors::Counted { .. }, _) => (None, Some(row.value)),
        (Errors::Beyond(direction, boundary), _) => {
            (direction.is_bad(row.value, *boundary).then_some(1.0), Some(1.0))
        }
    };
    for (shape, windows) in burn.windows.iter().zip(windows) {
        windows.0.expire(shape, clock_ms, 0);
        windows.1.expire(shape, clock_ms, 0);
        if is_out(shape.pane_ms, shape.panes, at_ms, clock_ms) {
            continue;
        }
        if let Some(bad) = bad {
            windows.0.add(shape, at_ms, bad);
        }
        if let Some(total) = total {
            windows.1.add(shape, at_ms, total);
        }
    }
}
