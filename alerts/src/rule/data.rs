//! A rule as it is written: TOML or JSON, one flat table. What its fields mean together is settled in
//! [`check`](super::check()) and [`compile`](super::compile).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Direction, Level, Span};

/// One rule. Fields that its kind does not know are faults, not ignored.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// Its name: letters, digits and `_ . : / -`.
    pub id: String,
    /// Counts its changes, from 1. A part of the identity of its alerts.
    #[serde(default = "first_version")]
    pub version: u32,
    /// What it watches for, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What decides.
    pub kind: Kind,
    /// The metric it watches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// What has an alert of its own.
    pub scope: Scope,
    /// Only rows whose fields have one of these values: `account_id`, `user_id`, `metric_type`, `metadata.NAME`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub filter: BTreeMap<String, Values>,
    /// No row whose field has one of these values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub exclude: BTreeMap<String, Values>,
    /// How the rows of the window become one value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aggregation: Option<Aggregation>,
    /// How far back rows count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Span>,
    /// Which side of the thresholds is bad.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// From here on it is a warning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<f64>,
    /// From here on it is critical.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub critical: Option<f64>,
    /// How far to the good side of its threshold a value must come before an alert is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hysteresis: Option<f64>,
    /// How long it must be bad without a break.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub hold: Option<Span>,
    /// How long it must be good again without a break.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_firing_for: Option<Span>,
    /// How long after an alert ended no new one is raised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mute_for: Option<Span>,
    /// What silence means.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_data: Option<NoData>,
    /// How long after its time a row may come and still count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late: Option<Span>,
    /// Fewer samples than this in the window are not judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_samples: Option<u32>,
    /// When it may raise; always, if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// For routing and for people.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Where it says what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runbook: Option<String>,
    /// How many entities it watches at most. Reaching it is an alert of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_entities: Option<u32>,
    /// Rules whose firing alert about the same entity, or about everything, holds back alerts of this one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inhibited_by: Vec<String>,
    /// A part of other rules only: its alerts tell nobody.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub quiet: bool,
    /// Kind `change`: what a value is compared with is this much older.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over: Option<Span>,
    /// Kind `change`: in the metric's unit, or in percent of the older value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<ChangeUnit>,
    /// Kind `burn_rate`: what is promised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slo: Option<Slo>,
    /// Kind `composite`: rules joined by `and`, `or`, `not` and brackets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Kinds without thresholds: how bad it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Level>,
}

const fn first_version() -> u32 {
    1
}

/// What decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A value beyond a threshold.
    #[default]
    Threshold,
    /// A value that changed by more than a threshold.
    Change,
    /// No row for too long.
    NoData,
    /// Errors use up what a service level allows too fast.
    BurnRate,
    /// A value that the series' own past does not explain.
    Anomaly,
    /// Alerts of other rules about the same entity.
    Composite,
}

/// What has an alert of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The narrowest thing a row is about: its conversation, else its account, else the metric as a whole. Rows of one series
    /// are in one partition of the log.
    #[default]
    Series,
    /// Each conversation; rows of none do not count.
    Conversation,
    /// Each account; rows of none do not count.
    Account,
    /// All rows together.
    Global,
}

/// How the rows of the window become one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregation {
    /// The newest value.
    #[default]
    Last,
    /// The mean.
    Avg,
    /// The least.
    Min,
    /// The largest.
    Max,
    /// The sum.
    Sum,
    /// The sum a second.
    Rate,
    /// How many rows.
    Count,
    /// The median, within a per cent.
    P50,
    /// Of a hundred values five are larger.
    P95,
    /// Of a hundred values one is larger.
    P99,
}

/// One value or several, of which any may be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Values {
    /// One.
    One(Scalar),
    /// Any of them.
    Any(Vec<Scalar>),
}

impl Values {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Scalar] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Any(values) => values,
        }
    }
}

/// A value of a filter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    /// `true` or `false`.
    Flag(bool),
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
}

/// What silence means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoData {
    /// What to do.
    pub policy: NoDataPolicy,
    /// After how much of it.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Span>,
    /// How bad an alert about silence is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Level>,
}

/// What to do about silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoDataPolicy {
    /// An alert that fires ends. The default: who is silent does not suffer from what was measured.
    Resolve,
    /// An alert that fires goes on until the entity is forgotten.
    Keep,
    /// Silence is an alert.
    Alert,
}

/// When a rule may raise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// On these days; all, if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<Day>,
    /// From this time of day on, `HH:MM`.
    pub from: String,
    /// Until this time of day; earlier than `from` means on the next day.
    pub until: String,
    /// How far the clock on the wall is ahead of UTC, `+02:00`. Fixed: no summer time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utc_offset: Option<String>,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "they say it")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// The unit of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeUnit {
    /// Of the metric.
    #[default]
    Absolute,
    /// Of the older value.
    Percent,
}

/// A service level objective.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slo {
    /// Which part is to be good, such as 0.999.
    pub objective: f64,
    /// The metric that counts everything, when the rule's metric counts what failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<String>,
    /// Without `total`: a row with more than this failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bad_above: Option<f64>,
    /// Without `total`: a row with less than this failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bad_below: Option<f64>,
    /// Pairs of windows, of which any decides. Without them those of the usual practice for thirty days.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pairs: Vec<BurnPair>,
}

/// Two windows that must both burn.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BurnPair {
    /// The long window: that it matters.
    pub long: Span,
    /// The short window: that it goes on.
    pub short: Span,
    /// How many times faster than allowed.
    pub factor: f64,
    /// How bad that is.
    pub severity: Level,
}
