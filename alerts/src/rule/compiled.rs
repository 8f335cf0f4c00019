//! A rule as the engine uses it: every default settled, every text read.

use kelly_schemas::Metric;
use sha2::{Digest, Sha256};

use super::data::{Aggregation, ChangeUnit, NoDataPolicy, Rule, Scope};
use super::filter::Filter;
use super::schedule::Hours;
use super::{Direction, Expression, Level};

/// A rule that was checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Compiled {
    /// As it was written.
    pub rule: Rule,
    /// What has an alert of its own.
    pub scope: Scope,
    /// Which rows count.
    pub filter: Filter,
    /// Where its value comes from.
    pub source: Source,
    /// Which values are bad.
    pub judge: Judge,
    /// How long things must last.
    pub timing: Timing,
    /// What silence means.
    pub silence: Silence,
    /// When it may raise.
    pub hours: Option<Hours>,
    /// How many entities it watches at most.
    pub max_entities: usize,
    /// A hash of what is watched and how it becomes a value. A state goes on only under a rule of the same shape, whatever its
    /// thresholds are.
    pub(crate) shape: u64,
}

/// Where a rule's value comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// The newest value, or the window's aggregate.
    Window(WindowShape),
    /// The aggregate of the window, compared with an older one.
    Change {
        /// Panes of both windows and of what lies between.
        shape: WindowShape,
        /// How many panes older.
        over_panes: i64,
        /// The unit of the difference.
        unit: ChangeUnit,
    },
    /// How long there was no row.
    Silence,
    /// Errors against what the objective allows.
    Burn(Burn),
    /// The series' own past.
    Anomaly,
    /// Alerts of other rules.
    Composite(Expression),
    /// A row's own thresholds, in its metadata.
    OwnThresholds,
    /// Something that is right or wrong, told by the engine itself.
    Told,
}

/// How a window is cut.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WindowShape {
    /// How the rows become one value.
    pub aggregation: Aggregation,
    /// Length of a pane, by which the window moves.
    pub pane_ms: i64,
    /// Panes of the window; none for the newest value without a window.
    pub panes: i64,
    /// Whether only a whole window that can no longer change is judged. Else it is judged at each row.
    pub settled: bool,
}

impl WindowShape {
    /// The length of the window.
    #[must_use]
    pub const fn length_ms(&self) -> i64 {
        self.pane_ms * self.panes
    }
}

/// A service level and its pairs of windows.
#[derive(Debug, Clone, PartialEq)]
pub struct Burn {
    /// What may fail, as a part of everything.
    pub budget: f64,
    /// How errors are told from the rest.
    pub errors: Errors,
    /// The lengths of windows there are, each once, shortest first.
    pub windows: Vec<WindowShape>,
    /// The pairs.
    pub pairs: Vec<Pair>,
}

/// How errors are told from the rest.
#[derive(Debug, Clone, PartialEq)]
pub enum Errors {
    /// The rule's metric counts errors, this one counts everything.
    Counted {
        /// The metric that counts everything.
        total: String,
    },
    /// Every row counts, and those beyond the boundary failed.
    Beyond(Direction, f64),
}

/// Two windows that must both burn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// Place of the long one in the list of windows.
    pub long: usize,
    /// Place of the short one.
    pub short: usize,
    /// How many times faster than allowed.
    pub factor: f64,
    /// How bad that is.
    pub level: Level,
}

/// Which values are bad.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judge {
    /// Which side; `None` for both (anomalies).
    pub direction: Option<Direction>,
    /// Thresholds by [`Level::index`].
    pub thresholds: [Option<f64>; 2],
    /// How far back across its threshold a value must come.
    pub hysteresis: f64,
    /// How bad it is where there is no threshold.
    pub level: Level,
    /// Fewer samples than this are not judged.
    pub min_samples: u32,
}

/// How long things must last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How long it must be bad.
    pub hold_ms: i64,
    /// How long it must be good again.
    pub keep_ms: i64,
    /// How long after an alert ended no new one is raised.
    pub mute_ms: i64,
    /// How long after its time a row may come and still count.
    pub late_ms: i64,
}

/// What silence means, and when what is silent is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silence {
    /// What to do.
    pub policy: NoDataPolicy,
    /// After how much of it.
    pub after_ms: i64,
    /// How bad an alert about it is.
    pub level: Level,
}

/// A conversation of which nothing was heard for so long has ended, and its state goes, unless the rule looks back further.
pub const CONVERSATION_FORGOTTEN_MS: i64 = 6 * 3_600_000;

/// Any other entity: two of the weeks that a baseline knows.
pub const FORGOTTEN_MS: i64 = 14 * 86_400_000;

impl Compiled {
    /// After how much silence an entity is forgotten.
    #[must_use]
    pub fn forgotten_after_ms(&self, is_conversation: bool) -> i64 {
        let usual = if is_conversation { CONVERSATION_FORGOTTEN_MS } else { FORGOTTEN_MS };
        let needed = self.reach_ms() + self.timing.late_ms + self.timing.hold_ms + self.timing.keep_ms;
        usual.max(2 * needed).max(2 * self.silence.after_ms)
    }

    /// How far back its rows count.
    #[must_use]
    pub fn reach_ms(&self) -> i64 {
        match &self.source {
            Source::Window(shape) | Source::Change { shape, .. } => shape.length_ms(),
            Source::Burn(burn) => burn.windows.iter().map(WindowShape::length_ms).max().unwrap_or(0),
            _ => 0,
        }
    }

    /// The metrics whose rows it takes.
    pub fn metrics(&self) -> impl Iterator<Item = &str> {
        let total = match &self.source {
            Source::Burn(Burn { errors: Errors::Counted { total }, .. }) => Some(total.as_str()),
            _ => None,
        };
        self.rule.metric.as_deref().into_iter().chain(total)
    }

    /// With its shape.
    pub(super) fn with_shape(self) -> Self {
        let Self { scope, filter, source, .. } = &self;
        let settled = format!("{:?} {scope:?} {filter:?} {source:?}", self.rule.metric);
        let digest: [u8; 32] = Sha256::digest(settled.as_bytes()).into();
        let shape = digest.iter().take(8).fold(0, |shape, byte| shape << 8 | u64::from(*byte));
        Self { shape, ..self }
    }

    /// What a row is to this rule: a value, and for service levels which of its two counts. `None` when it does not count.
    #[must_use]
    pub fn takes(&self, metric: &Metric<'_>) -> Option<Part> {
        match &self.source {
            Source::Burn(Burn { errors: Errors::Counted { total }, .. }) => {
                let is_total = metric.metric_name == total.as_str();
                let is_bad = self.rule.metric.as_deref() == Some(&*metric.metric_name);
                (is_total || is_bad).then_some(if is_total { Part::Total } else { Part::Bad })
            }
            _ => Some(Part::Value),
        }
    }
}

/// What the value of a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The value that is watched.
    Value,
    /// How many failed.
    Bad,
    /// How many there were.
    Total,
}
