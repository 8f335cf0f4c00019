//! The evaluator: reads metrics from the log, judges them with the alert engine, and puts what happened to alerts on the control
//! log. It asks no store, so a slow one delays no alert.
//!
//! ```text
//! kelly.metrics/p ─► lane: engine of series and conversations ─┬─► courier ─► kelly.control
//!                                                              └─► kelly.evaluator-rows
//! kelly.evaluator-rows/0 ─► lane: engine of everything together ────► courier ─► …
//! kelly.evaluator-rows/k ─► lane: engine of accounts ───────────────► courier ─► …
//! ```
//! A partition is judged by one instance, as its consumer group says, and its rows come in one order. Rules that count rows of
//! several partitions together get them from `kelly.evaluator-rows`, under the key by which they count. So every engine sees one
//! order of rows, whoever runs it and however often it is started anew.
//!
//! The courier of a partition keeps an order: what happened to alerts is decided on the control log; then rows for other engines are
//! on the log; then states are in `kelly.evaluator-state`; then the position is committed. A start takes the states up and reads on
//! from the position. Rows that a state has had change nothing; what happens a second time goes under the same id as the
//! first time, and the control log has it once.

mod backoff;
mod context;
mod courier;
mod decide;
mod ends;
mod evaluator;
mod hearing;
mod judge;
mod lane;
mod place;
mod reader;
mod restore;
mod row;
pub mod rules;
mod stats;
mod stored;
mod topics;

pub use context::Clock;
pub use decide::ControlLog;
pub use evaluator::{Evaluator, EvaluatorConfig, EvaluatorError};
pub use reader::ReadError;
pub use row::read as read_rows;
pub use rules::{InForce, RuleFiles, Thresholds};
pub use stats::{EvaluatorCounts, EvaluatorStats};
pub use topics::{GROUP, ROWS_TOPIC, STATE_TOPIC, ensure_topics};
