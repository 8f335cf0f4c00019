//! When a state must be looked at although nothing comes.

use super::state::{Data, State};
use crate::entity::Entity;
use crate::mutation::{Mutation, mutated};
use crate::rule::{Compiled, Level, NoDataPolicy, Source};

/// Whether a rule hears rows, so that silence is one.
pub(super) const fn is_heard(rule: &Compiled) -> bool {
    !matches!(rule.source, Source::Composite(_) | Source::Told)
}

/// Whether anything happens when an entity falls silent.
pub(super) fn notices_silence(rule: &Compiled) -> bool {
    rule.silence.policy != NoDataPolicy::Keep && !mutated(Mutation::NoData)
}

/// The next logical time, after that of the state, at which time alone may change something.
#[must_use]
pub fn next_due(rule: &Compiled, entity: &Entity, state: &State) -> Option<i64> {
    let mut next = Next { now_ms: state.now_ms, due_ms: i64::MAX };
    if is_heard(rule) {
        next.at(state.heard_ms.saturating_add(rule.forgotten_after_ms(entity.is_conversation())));
        if !state.silent && notices_silence(rule) {
            next.at(state.heard_ms.saturating_add(rule.silence.after_ms));
        }
    }
    let late_ms = rule.timing.late_ms;
    let level_of_alert = state.alert().map(|alert| alert.level);
    for level in Level::ALL {
        if let Some(since) = state.bad_since[level.index()]
            && level_of_alert.is_none_or(|firing| firing < level)
        {
            next.after(since.saturating_add(rule.timing.hold_ms), state.clock_ms, late_ms);
        }
        if let Some(since) = state.good_since[level.index()] {
            next.after(since.saturating_add(rule.timing.keep_ms), state.clock_ms, late_ms);
        }
    }
    if state.held_back
        && let Some(muted_until) = state.muted_until
    {
        next.after(muted_until, state.clock_ms, late_ms);
    }
    if let Some(hours) = &rule.hours
        && (state.held_back || state.alert.is_some())
        && state.clock_ms > i64::MIN
    {
        next.after(hours.next_change(state.clock_ms), state.clock_ms, late_ms);
    }
    if let Some(moves_ms) = next_move(rule, state) {
        next.after(moves_ms, state.clock_ms, late_ms);
    }
    (next.due_ms < i64::MAX).then_some(next.due_ms)
}

/// When the value of a window may change without a row, in event time.
fn next_move(rule: &Compiled, state: &State) -> Option<i64> {
    let next_pane = |pane_ms: i64| (state.clock_ms.div_euclid(pane_ms) + 1) * pane_ms;
    match (&rule.source, &state.data) {
        _ if state.silent => None,
        (Source::Window(shape), Data::Window(window)) => {
            if shape.settled {
                // Without a row in it, it stays what it was judged to be when the last one left.
                return (!window.is_empty()).then(|| next_pane(shape.pane_ms));
            }
            window.next_expiry_ms(shape)
        }
        (Source::Window(shape), Data::Percentiles(window)) => window.next_expiry_ms(shape),
        (Source::Change { shape, .. }, Data::Window(window)) => {
            (!window.is_empty()).then(|| next_pane(shape.pane_ms))
        }
        (Source::Burn(burn), Data::Burn(windows)) => burn
            .windows
            .iter()
            .zip(windows)
            .flat_map(|(shape, (bad, total))| [bad.next_expiry_ms(shape), total.next_expiry_ms(shape)])
            .flatten()
            .min(),
        _ => None,
    }
}

struct Next {
    now_ms: i64,
    due_ms: i64,
}

impl Next {
    /// A logical time.
    fn at(&mut self, due_ms: i64) {
        if due_ms > self.now_ms {
            self.due_ms = self.due_ms.min(due_ms);
        }
    }

    /// An event time that the clock has not reached.
    fn after(&mut self, event_ms: i64, clock_ms: i64, late_ms: i64) {
        if event_ms > clock_ms {
            self.at(event_ms.saturating_add(late_ms));
        }
    }
}
