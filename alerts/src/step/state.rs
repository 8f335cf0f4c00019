//! What is remembered of one rule and one entity. All of it is stored: a state that was written and read again goes on as if
//! nothing had happened.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::anomaly::{Baseline, Surprise};
use crate::entity::{Entity, Places, Subject};
use crate::mutation::{Mutation, mutated};
use crate::rule::{Compiled, Level, Source};
use crate::transition::{Cause, Change, End, Transition};
use crate::window::{Percentiles, Window};

/// The form of a stored state, before it.
const FORM: u8 = 1;

/// What is remembered of one rule and one entity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// That of the rule: what it watches and how.
    pub(super) shape: u64,
    /// Rows it has had.
    pub(super) places: Places,
    /// Up to when it was brought, in logical time.
    pub(super) now_ms: i64,
    /// Event time: that of the newest row, or what has passed since without one. It never goes back.
    pub(super) clock_ms: i64,
    /// The event time of the first row.
    pub(super) first_ms: i64,
    /// The newest event time of a row.
    pub(super) newest_ms: i64,
    /// The logical time of the last row.
    pub(super) heard_ms: i64,
    /// Whether silence was noticed.
    pub(super) silent: bool,
    /// Whether an alert would be raised if nothing held it back.
    pub(super) held_back: bool,
    /// The account of a conversation, as its last row said.
    pub(super) account: Box<str>,
    /// What its rows come to.
    pub(super) data: Data,
    /// Since when it is bad without a break, by level.
    pub(super) bad_since: [Option<i64>; 2],
    /// Since when it is good without a break while an alert fires, by level.
    pub(super) good_since: [Option<i64>; 2],
    /// Until when no alert is raised.
    pub(super) muted_until: Option<i64>,
    /// The alert that fires.
    pub(super) alert: Option<Box<Open>>,
    /// Alerts so far.
    pub(super) alerts: u32,
    /// Rows that came too late to count.
    pub(super) late_rows: u32,
}

/// An alert that fires.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Open {
    /// Its id.
    pub id: Uuid,
    /// How bad it is.
    pub level: Level,
    /// What raised it.
    pub cause: Cause,
    /// When it was raised, in event time.
    pub raised_ms: i64,
    /// Since when the condition held.
    pub since_ms: i64,
    /// The version of the rule that raised it.
    pub version: u32,
}

/// What rows come to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Data {
    /// Rows are not looked into.
    Nothing,
    /// The newest value and its time.
    Newest(Option<(i64, f64)>),
    /// A window.
    Window(Window),
    /// A window of which percentiles are asked.
    Percentiles(Percentiles),
    /// What failed and how much there was, by the windows of the service level.
    Burn(Vec<(Window, Window)>),
    /// The past of the series, the newest value and what the past says of it.
    Anomaly(Box<Baseline>, Option<(f64, Surprise)>),
    /// The newest value and its own thresholds.
    Own(Option<OwnValue>),
    /// What the engine was told.
    Told(bool, Box<str>),
}

/// A value that brought its thresholds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OwnValue {
    /// When.
    pub at_ms: i64,
    /// The value.
    pub value: f64,
    /// The thresholds by [`Level::index`].
    pub thresholds: [Option<f64>; 2],
    /// Which side is bad.
    pub more_is_worse: bool,
}

impl Data {
    /// Forgets every row.
    fn forget(&mut self) {
        match self {
            Self::Window(window) => *window = Window::default(),
            Self::Percentiles(window) => *window = Percentiles::default(),
            Self::Newest(newest) => *newest = None,
            _ => {}
        }
    }
}

impl State {
    /// Of an entity of which nothing is known yet.
    #[must_use]
    pub fn new(rule: &Compiled, now_ms: i64) -> Self {
        let data = match &rule.source {
            Source::Window(shape) if shape.panes == 0 => Data::Newest(None),
            Source::Window(shape) => match shape.aggregation {
                crate::rule::Aggregation::P50
                | crate::rule::Aggregation::P95
                | crate::rule::Aggregation::P99 => Data::Percentiles(Percentiles::default()),
                _ => Data::Window(Window::default()),
            },
            Source::Change { .. } => Data::Window(Window::default()),
            Source::Silence => Data::Nothing,
            Source::Burn(burn) => Data::Burn(burn.windows.iter().map(|_| Default::default()).collect()),
            Source::Anomaly => Data::Anomaly(Box::default(), None),
            Source::OwnThresholds => Data::Own(None),
            Source::Composite(_) | Source::Told => Data::Told(false, "".into()),
        };
        Self {
            shape: rule.shape,
            places: Places::default(),
            now_ms,
            clock_ms: i64::MIN,
            first_ms: i64::MAX,
            newest_ms: i64::MIN,
            heard_ms: now_ms,
            silent: false,
            held_back: false,
            account: "".into(),
            data,
            bad_since: [None; 2],
            good_since: [None; 2],
            muted_until: None,
            alert: None,
            alerts: 0,
            late_rows: 0,
        }
    }

    /// The alert that fires.
    #[must_use]
    pub fn alert(&self) -> Option<&Open> {
        self.alert.as_deref()
    }

    /// Whether an alert would be raised if nothing held it back.
    #[must_use]
    pub const fn is_held_back(&self) -> bool {
        self.held_back
    }

    /// Rows that came too late to count.
    #[must_use]
    pub const fn late_rows(&self) -> u32 {
        self.late_rows
    }

    /// As it is stored.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let bytes = postcard::to_extend(self, vec![FORM]);
        bytes.unwrap_or_else(|error| unreachable!("a state can always be written: {error}"))
    }

    /// As it was stored. `None` where it is of another form.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (form, body) = bytes.split_first()?;
        let mut state: Self = postcard::from_bytes(body).ok().filter(|_| *form == FORM)?;
        state.forget_by_mutation();
        Some(state)
    }

    /// Whether it is one of a rule that watches the same in the same way.
    #[must_use]
    pub fn fits(&self, rule: &Compiled) -> bool {
        self.shape == rule.shape
    }

    /// Whether nothing would be lost if it were forgotten: of rules that hear no rows.
    pub(crate) fn is_blank(&self) -> bool {
        matches!(self.data, Data::Told(false, _))
            && self.alert.is_none()
            && !self.held_back
            && self.muted_until.is_none_or(|until| until <= self.clock_ms)
    }

    /// What the tests make a restored state forget.
    fn forget_by_mutation(&mut self) {
        if mutated(Mutation::RestoredSince) {
            self.bad_since = [None; 2];
        }
        if mutated(Mutation::RestoredWindow) {
            self.data.forget();
        }
        if mutated(Mutation::RestoredPlace) {
            self.places = Places::default();
        }
        if mutated(Mutation::RestoredMute) {
            self.muted_until = None;
        }
        if mutated(Mutation::RestoredSilence) {
            self.silent = false;
        }
    }
}

impl State {
    /// The end of the alert of a state whose rule is not there any more.
    pub(crate) fn orphaned(&self, rule: &str, entity: &Entity, end: End) -> Option<Transition> {
        let alert = self.alert()?;
        Some(Transition {
            alert: alert.id,
            change: Change::Resolved(end),
            level: alert.level,
            cause: alert.cause,
            rule: rule.to_owned(),
            rule_version: alert.version,
            entity: entity.clone(),
            account_id: match &entity.subject {
                Subject::Account(account) => account.to_string(),
                _ => self.account.to_string(),
            },
            metric: String::new(),
            at_ms: self.clock_ms,
            since_ms: alert.since_ms,
            value: None,
            threshold: None,
            score: None,
            explanation: format!("the rule `{rule}` was changed or removed"),
            labels: BTreeMap::new(),
            runbook: None,
            quiet: false,
            place: None,
        })
    }
}
