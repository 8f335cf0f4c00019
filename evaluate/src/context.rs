//! What every partition that is judged needs.

use std::sync::Arc;
use std::time::Duration;

use kelly_schemas::Limits;
use kelly_stream::{Committer, Log};

use crate::decide::ControlLog;
use crate::place::Partitions;
use crate::stats::EvaluatorStats;

/// Gives the time, ms since the epoch.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The evaluator's connections and settings.
pub(crate) struct Context {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) control: Arc<dyn ControlLog>,
    pub(crate) committer: Arc<dyn Committer>,
    pub(crate) stats: Arc<EvaluatorStats>,
    pub(crate) partitions: Partitions,
    pub(crate) limits: Limits,
    pub(crate) rows_topic: Arc<str>,
    pub(crate) clock: Clock,
    pub(crate) save_every: Duration,
    pub(crate) judged_back_ms: i64,
}
