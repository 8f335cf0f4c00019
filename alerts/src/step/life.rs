//! The life of the alert of one entity: raised, worsened, improved, ended.

use super::explanation::explain;
use super::machine::Step;
use super::reading::{Reading, read};
use super::state::{Data, Open};
use super::told::Told;
use crate::mutation::{Mutation, mutated};
use crate::rule::{Level, NoDataPolicy, Source};
use crate::transition::{Cause, Change, Decision, End, Identity, Transition};

impl Step<'_> {
    /// Looks at what the data say now, and changes the alert accordingly.
    pub(super) fn judge(&mut self) {
        let reading = read(self.rule, self.state);
        self.leave_hours();
        if self.state.silent {
            self.raise_silence();
            return;
        }
        self.note(&reading);
        let decision = self.decide(&reading);
        let is_near =
            self.state.alert.is_some() || matches!(decision, Decision::Pending | Decision::HeldBack);
        if is_near || self.around.wants_every_value() {
            let level = self.state.alert.as_ref().map(|alert| alert.level);
            self.tell_evaluation(reading.value, reading.threshold(level), decision);
        }
    }

    /// Since when it is bad, and since when it is good again.
    fn note(&mut self, reading: &Reading) {
        let clock_ms = self.state.clock_ms;
        let firing = self.state.alert.as_ref().map(|alert| alert.level);
        for level in Level::ALL {
            let index = level.index();
            match reading.bad[index] {
                Some(true) => {
                    self.state.bad_since[index].get_or_insert(clock_ms);
                    self.state.good_since[index] = None;
                }
                Some(false) => {
                    self.state.bad_since[index] = None;
                    if firing.is_some_and(|firing| firing >= level) {
                        self.state.good_since[index].get_or_insert(clock_ms);
                    }
                }
                None => {
                    self.state.bad_since[index] = None;
                    self.state.good_since[index] = None;
                }
            }
        }
    }

    fn decide(&mut self, reading: &Reading) -> Decision {
        if !reading.is_known() {
            self.state.held_back = false;
            return Decision::Unknown;
        }
        let early_ms = if mutated(Mutation::For) { 1_000 } else { 0 };
        let (clock_ms, hold_ms) = (self.state.clock_ms, self.rule.timing.hold_ms - early_ms);
        let bad_since = self.state.bad_since;
        let held = Level::ALL.into_iter().rev().find_map(|level| {
            bad_since[level.index()].filter(|since| clock_ms - since >= hold_ms).map(|since| (level, since))
        });
        let Some(firing) = self.state.alert.as_ref().map(|alert| alert.level) else {
            let Some((level, since_ms)) = held else {
                self.state.held_back = false;
                return if bad_since == [None; 2] { Decision::Good } else { Decision::Pending };
            };
            let cause = if matches!(self.rule.source, Source::Told) {
                Cause::Configuration
            } else {
                Cause::Condition
            };
            return if self.raise(level, cause, since_ms, reading) {
                Decision::Firing
            } else {
                Decision::HeldBack
            };
        };
        self.state.held_back = false;
        if let Some((level, _)) = held
            && level > firing
        {
            self.change_level(level, Change::Worsened, reading);
            return Decision::Firing;
        }
        // A level that the rule no longer knows is over.
        if reading.bad[firing.index()].is_some() && !self.is_over(firing) {
            return if bad_since[firing.index()].is_some() { Decision::Firing } else { Decision::Recovering };
        }
        if firing == Level::Critical
            && reading.bad[Level::Warning.index()].is_some()
            && !self.is_over(Level::Warning)
        {
            self.change_level(Level::Warning, Change::Improved, reading);
            return Decision::Firing;
        }
        self.resolve(End::Recovered, reading);
        Decision::Good
    }

    /// Whether it was good for long enough.
    fn is_over(&self, level: Level) -> bool {
        let keep_ms = if mutated(Mutation::KeepFiring) { 0 } else { self.rule.timing.keep_ms };
        self.state.good_since[level.index()].is_some_and(|since| self.state.clock_ms - since >= keep_ms)
    }

    /// An entity fell silent.
    pub(super) fn fall_silent(&mut self) {
        self.state.bad_since = [None; 2];
        self.state.good_since = [None; 2];
        self.state.held_back = false;
        let end = if self.entity.is_conversation() { End::Vanished } else { End::NoData };
        self.end(end);
        if let Data::Newest(newest) = &mut self.state.data {
            *newest = None;
        }
    }

    fn raise_silence(&mut self) {
        let alerts = self.rule.silence.policy == NoDataPolicy::Alert && !self.entity.is_conversation();
        if alerts && self.state.alert.is_none() {
            let since_ms = self.state.heard_ms;
            self.raise(self.rule.silence.level, Cause::NoData, since_ms, &Reading::NOTHING);
        }
    }

    /// A silent entity was heard again.
    pub(super) fn speak_again(&mut self) {
        self.state.held_back = false;
        if self.state.alert.as_ref().is_some_and(|alert| alert.cause == Cause::NoData) {
            self.end(End::Recovered);
        }
    }

    fn leave_hours(&mut self) {
        let is_out = self.rule.hours.as_ref().is_some_and(|hours| !hours.contain(self.state.clock_ms));
        if is_out {
            self.end(End::ScheduleEnded);
        }
    }

    /// Ends the alert, if there is one, whatever the value is.
    pub(super) fn end(&mut self, end: End) {
        let reading = if self.state.silent { Reading::NOTHING } else { read(self.rule, self.state) };
        self.resolve(end, &reading);
    }

    /// Raises an alert unless something holds it back; says whether it did.
    fn raise(&mut self, level: Level, cause: Cause, since_ms: i64, reading: &Reading) -> bool {
        let clock_ms = self.state.clock_ms;
        let is_muted =
            self.state.muted_until.is_some_and(|until| clock_ms < until) && !mutated(Mutation::Mute);
        let is_out = self.rule.hours.as_ref().is_some_and(|hours| !hours.contain(clock_ms));
        self.state.held_back = is_muted || is_out || self.around.is_held_back();
        if self.state.held_back {
            return false;
        }
        let raised_ms = if cause == Cause::NoData { self.state.now_ms } else { clock_ms };
        let version = self.rule.rule.version;
        let identity = Identity {
            rule: &self.rule.rule.id,
            version,
            entity: self.entity,
            raised_ms,
            number: self.state.alerts,
        };
        let open = Open { id: identity.id(), level, cause, raised_ms, since_ms, version };
        self.state.alerts = self.state.alerts.wrapping_add(1);
        self.state.muted_until = None;
        self.state.good_since = [None; 2];
        self.state.alert = Some(Box::new(open));
        self.tell(Change::Raised, raised_ms, reading);
        true
    }

    fn change_level(&mut self, level: Level, change: Change, reading: &Reading) {
        if let Some(alert) = &mut self.state.alert {
            alert.level = level;
        }
        if change == Change::Improved {
            self.state.good_since[Level::Critical.index()] = None;
        }
        self.tell(change, self.state.clock_ms, reading);
    }

    fn resolve(&mut self, end: End, reading: &Reading) {
        let Some(alert) = &self.state.alert else { return };
        let at_ms = if alert.cause == Cause::NoData { self.state.now_ms } else { self.state.clock_ms };
        self.tell(Change::Resolved(end), at_ms, reading);
        self.state.alert = None;
        self.state.good_since = [None; 2];
        if self.rule.timing.mute_ms > 0 {
            self.state.muted_until = Some(self.state.clock_ms.saturating_add(self.rule.timing.mute_ms));
        }
    }

    fn tell(&mut self, change: Change, at_ms: i64, reading: &Reading) {
        let Some(alert) = &self.state.alert else { return };
        let told = Told {
            rule: self.rule,
            entity: self.entity,
            alert,
            change,
            at_ms,
            reading: *reading,
            data: &self.state.data,
        };
        let transition = Transition {
            alert: alert.id,
            change,
            level: alert.level,
            cause: alert.cause,
            rule: self.rule.rule.id.clone(),
            rule_version: alert.version,
            entity: self.entity.clone(),
            account_id: match &self.entity.subject {
                crate::entity::Subject::Account(account) => account.to_string(),
                _ => self.state.account.to_string(),
            },
            metric: told.metric().to_owned(),
            at_ms,
            since_ms: alert.since_ms,
            value: reading.value,
            threshold: reading.threshold(Some(alert.level)),
            score: reading.surprise.map(|surprise| surprise.score),
            explanation: explain(&told),
            labels: self.rule.rule.labels.clone(),
            runbook: self.rule.rule.runbook.clone(),
            quiet: self.rule.rule.quiet,
            place: self.place,
        };
        self.around.transition(transition);
    }
}
