//! The rules in force: built-in ones, those of files, those made over the API, the later over the earlier where they have one name.
//!
//! What is wrong keeps nobody from being watched: a file that is broken leaves its rules of before in force, a rule of the API that
//! cannot be used is left out, and each is a problem that becomes a configuration alert.

mod files;
mod follow;
mod merge;

pub use files::{RuleFiles, Thresholds};
pub use follow::{Following, follow};
pub use merge::{InForce, Origin, Problem, Sourced};
