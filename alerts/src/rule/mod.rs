//! Rules: as they are written, what is wrong with them, and as the engine uses them.

mod check;
mod compile;
mod compiled;
mod data;
mod expression;
mod fault;
mod file;
mod filter;
mod level;
mod own;
mod schedule;
mod set;
mod source;
mod span;

pub use check::check;
pub use compiled::{Burn, Errors, Silence, Timing};
pub use compiled::{Compiled, Judge, Part, Source, WindowShape};
pub use data::*;
pub use expression::Expression;
pub use fault::{Fault, Gravity};
pub use file::{FileFault, JSON_SCHEMA, RuleFile, parse_json, parse_toml};
pub use filter::Metadata;
pub use level::{Direction, Level};
pub use own::{CONFIGURATION, OWN_THRESHOLDS, RAISED_METRIC};
pub use schedule::Hours;
pub use set::{Elsewhere, RuleSet};
pub use span::{Span, SpanError};
