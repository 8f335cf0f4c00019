//! Kelly's rule engine: rows, what is remembered, and a time in; raised and resolved alerts out.
//!
//! Pure: no I/O, no clock. So the same code decides live, in a test, in a preview and over last month, and says the same.
//!
//! - [`rule`]: rules as they are written, what is wrong with them ([`rule::check`]), and [`RuleSet`], which the engine takes;
//! - [`builtin`]: the built-in alerts, an operator's thresholds;
//! - [`step`]: decides about one rule and one entity;
//! - [`Engine`]: many rules and entities: finds those that a row concerns, keeps their timers, and says what to store;
//! - [`anomaly`]: what is usual for a series;
//! - [`backtest`]: the engine over history.

pub mod anomaly;
pub mod backtest;
pub mod builtin;
mod engine;
mod entity;
mod mutation;
mod number;
pub mod rule;
pub mod step;
mod transition;
mod window;

pub use engine::{Engine, Record, RestoreFault, StateKey, Statistics};
pub use entity::{Entity, Place, Places, Subject};
pub use rule::{Level, Rule, RuleSet};
pub use transition::{Cause, Change, Decision, End, Evaluation, Sink, Transition};
