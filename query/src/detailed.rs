//! The answer of `metrics/detailed/{metric}`: one metric over one range.

use chrono::{DateTime, Utc};
use kelly_auth::Accounts;
use kelly_schemas::catalogue::{self, Definition};
use kelly_schemas::limits;
use kelly_sql::queries::{Aggregate, SeriesSource};
use serde::Serialize;
use utoipa::ToSchema;

pub use crate::percentiles::Percentiles;
pub use crate::tier::Tier;
pub use crate::window::{Resolution, Window};

use crate::comparison::{Compare, Comparison};
use crate::error::QueryError;
use crate::plan::{Asked, Scope};
use crate::range::RangeRequest;
use crate::retention::Kept;
use crate::whose::Whose;

/// What to answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DetailedRequest {
    /// Any metric name; one never seen answers empty.
    pub metric_name: String,
    /// Over which time.
    pub range: RangeRequest,
    /// The accounts that the asker may see.
    pub accounts: Accounts,
    /// Only this account, one of those.
    pub account_id: Option<String>,
    /// Only this conversation, as far as it belongs to one of those accounts.
    pub conversation_id: Option<String>,
    /// The length of a point, one of those [`crate::parse_step`] reads; `None` for what suits the range.
    pub step_seconds: Option<u32>,
    /// What the window is compared with; `None` for nothing beyond the trend.
    pub compare: Option<Compare>,
}

/// One metric over one range. An empty range has empty lists and nulls, never zeros.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Detailed {
    /// The metric.
    pub metric_name: String,
    /// The value of the newest interval of `historical_data`; of a metric that is summed, of the newest that is not
    /// `partial`, for a part of a sum looks like a fall. Where every interval is partial, the newest all the same.
    pub current_value: Option<f64>,
    /// The series, oldest first; an interval without samples has no entry.
    pub historical_data: Vec<Point>,
    /// Percentiles of every sample in the window: the value at rank ceil(q * n) of the sorted samples. Null where the
    /// tier has none: for a conversation's days, and for an account's hours unless the window covers whole UTC days.
    pub percentile_data: Percentiles,
    /// Where the metric becomes worrying.
    pub thresholds: Thresholds,
    /// The window's part that is over against as much time before it.
    pub trend_analysis: TrendAnalysis,
    /// The period before and what changed since, where it is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
    /// The account asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    /// The conversation asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<String>,
    /// The time answered: the range asked for, widened to whole units of the tier.
    pub window: Window,
    /// How much of `window` the store still keeps; `notes` says since when.
    pub window_kept: Kept,
    /// The length of the intervals of `historical_data`.
    pub resolution: Resolution,
    /// The table that answered.
    pub tier: Tier,
    /// How old the newest sample is.
    pub freshness: Freshness,
    /// Samples in the window.
    pub sample_count: u64,
    /// Largest relative error of a percentile, of magnitudes from `percentile_least_magnitude` on: 0.01 from histograms, 0
    /// where samples were sorted, null where there are no percentiles whatever the samples.
    pub percentile_error_bound: Option<f64>,
    /// Samples of a smaller magnitude count as 0 in percentiles, so that these are off by less than it: 1e-130 from
    /// histograms, 0 where samples were sorted, null where there are no percentiles.
    pub percentile_least_magnitude: Option<f64>,
    /// What the metric means.
    pub definition: MetricDefinition,
    /// What the answer lacks and why, for people; empty when it lacks nothing.
    pub notes: Vec<String>,
}

/// One interval of a series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Point {
    /// Start of the interval; the first is cut at the window's start.
    pub timestamp: DateTime<Utc>,
    /// Whether part of the interval lies outside the window or in the time to come, so that a sum or a count is not
    /// that of a whole one.
    pub partial: bool,
    /// The samples under the metric's own aggregate (`definition.aggregate`).
    pub value: f64,
    /// Samples in the interval.
    pub count: u64,
    /// Smallest sample.
    pub min: f64,
    /// Largest sample.
    pub max: f64,
    /// Median of the interval; null where the tier has no percentiles at this resolution.
    pub p50: Option<f64>,
    /// 95th percentile of the interval.
    pub p95: Option<f64>,
    /// 99th percentile of the interval.
    pub p99: Option<f64>,
}

/// Where a metric becomes worrying, in the direction that is bad for it.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, ToSchema)]
pub struct Thresholds {
    /// First worry.
    pub warning: Option<f64>,
    /// Act now.
    pub critical: Option<f64>,
}

/// How old the newest sample of an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, ToSchema)]
pub struct Freshness {
    /// Time of the newest sample in the window.
    pub newest_sample: Option<DateTime<Utc>>,
    /// Its age when the answer was made.
    pub age_seconds: Option<f64>,
    /// When the answer was made. Equal questions share an answer for up to five seconds.
    pub computed_at: DateTime<Utc>,
}

/// A window compared with the one of the same length before it. Only whole units of time are compared, on both sides
/// as many: the minute, hour or day (see `tier`) that is running is left out, so that a steady sum is flat.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct TrendAnalysis {
    /// Which way the metric went; null with too little data.
    pub direction: Option<Direction>,
    /// Change in percent of the previous value's size; null with too little data and when that value is 0.
    pub percentage_change: Option<f64>,
    /// Whether somebody should look: the whole window's value is past the critical threshold, or went the way that is bad for the
    /// metric (`definition.bad_direction`) far or near the warning threshold. Past critical is reported without a window
    /// before too, when the window itself has `samples_needed`.
    pub is_concerning: bool,
    /// Whether one of the two windows has fewer samples than `samples_needed`.
    pub insufficient_data: bool,
    /// Samples each window needs before a trend is given.
    pub samples_needed: u64,
    /// The metric's aggregate over `current_window`.
    pub current: Option<f64>,
    /// The same over `previous_window`.
    pub previous: Option<f64>,
    /// Samples in `current_window`.
    pub current_samples: u64,
    /// Samples in `previous_window`.
    pub previous_samples: u64,
    /// The part of the answer's window that is compared: its whole units that are over. Empty when none is.
    pub current_window: Window,
    /// The window compared with, as long as `current_window` and directly before it.
    pub previous_window: Window,
}

/// Which way a metric went; within one percent it is flat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// It rose.
    Up,
    /// It fell.
    Down,
    /// It stayed.
    Flat,
}

/// What a metric means; an unknown name has the catalogue's defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct MetricDefinition {
    /// Unit, e.g. `ms`; empty when it has none.
    pub unit: String,
    /// `gauge` or `counter`.
    pub kind: String,
    /// How samples of an interval become its value: `mean`, `sum`, `last` or `max`.
    pub aggregate: String,
    /// The direction that is bad: `up`, `down` or `neither`.
    pub bad_direction: String,
    /// What it measures.
    pub description: String,
}

impl DetailedRequest {
    /// Refuses what no sample can have, which would answer empty for ever and mislead, and an account that the asker may not
    /// see.
    ///
    /// # Errors
    /// Naming the parameter at fault.
    pub fn check(&self) -> Result<(), QueryError> {
        self.whose().map(drop)
    }

    /// Whose samples are asked for, of a question that is not refused.
    pub(crate) fn whose(&self) -> Result<Whose<'_>, QueryError> {
        let bounded = [
            ("metric_type", Some(&self.metric_name), limits::METRIC_NAME_CHARACTERS),
            ("account_id", self.account_id.as_ref(), limits::ACCOUNT_ID_CHARACTERS),
            ("conversation_id", self.conversation_id.as_ref(), limits::CONVERSATION_ID_CHARACTERS),
        ];
        for (parameter, text, most) in bounded {
            check_text(parameter, text.map(String::as_str), most)?;
        }
        Whose::asked(self.account_id.as_deref(), &self.accounts)
    }

    pub(crate) fn asked(&self, whose: &Whose<'_>) -> Asked {
        let scope = match (&self.conversation_id, whose) {
            (Some(_), _) => Scope::Conversation,
            (None, Whose::Of(_)) => Scope::Account,
            (None, Whose::Everybodys) => Scope::Everything,
        };
        Asked { range: self.range, scope, step_seconds: self.step_seconds }
    }

    pub(crate) fn source<'a>(&'a self, whose: &'a Whose<'a>, tier: Tier) -> SeriesSource<'a> {
        match (tier, &self.conversation_id) {
            (Tier::Minute, _) => SeriesSource::Minute,
            (Tier::Hour, _) => SeriesSource::Hour,
            (Tier::Raw, Some(conversation)) => {
                SeriesSource::ConversationRaw { conversation, accounts: whose.filter() }
            }
            (Tier::Raw, None) => SeriesSource::AccountRaw { accounts: whose.accounts() },
            (Tier::AccountHour, _) => SeriesSource::AccountHour { accounts: whose.accounts() },
            (Tier::ConversationDay, conversation) => SeriesSource::ConversationDay {
                conversation: conversation.as_deref().unwrap_or_default(),
                accounts: whose.filter(),
            },
        }
    }
}

impl Freshness {
    pub(crate) fn of(newest_sample: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Self {
        // A producer's clock may run ahead; its sample is as new as can be, not from the future.
        let age = |newest: DateTime<Utc>| (now - newest).num_milliseconds().max(0) as f64 / 1_000.0;
        Self { newest_sample, age_seconds: newest_sample.map(age), computed_at: now }
    }
}

/// Refuses an empty or overlong identifier.
pub(crate) fn check_text(parameter: &'static str, text: Option<&str>, most: usize) -> Result<(), QueryError> {
    match text {
        Some("") => Err(QueryError::bad(parameter, "is empty; leave it out or give a value")),
        Some(text) if text.chars().count() > most => {
            Err(QueryError::bad(parameter, format!("is longer than the {most} characters one may have")))
        }
        _ => Ok(()),
    }
}

pub(crate) fn aggregate(definition: &Definition) -> Aggregate {
    match definition.aggregate {
        catalogue::Aggregate::Mean => Aggregate::Mean,
        catalogue::Aggregate::Sum => Aggregate::Sum,
        catalogue::Aggregate::Last => Aggregate::Last,
        catalogue::Aggregate::Max => Aggregate::Max,
    }
}
