//! The tools a person types: `record`, `replay`, `tail`, `drilldown`, `dead-letters`, `doctor`, `alerts`, `rules`,
//! `completions`.
//!
//! Most of them ask a running Kelly over HTTP. `doctor`, `tail` and `dead-letters` also ask the log and the store
//! themselves, because they are for the time when no Kelly answers. None of them knows how a Kelly is configured or run:
//! the binary hands them [`Settings`].

pub mod alerts;
pub mod arguments;
pub mod backtest;
pub mod client;
pub mod completions;
pub mod credentials;
pub mod dead_letters;
pub mod doctor;
pub mod drilldown;
mod input;
pub mod notify;
pub mod output;
pub mod record;
pub mod replay;
pub mod rules;
mod settings;
pub mod sign_in;
pub mod tail;

pub use replay::Summary;
pub use settings::{LocalServer, LogAddress, Settings, StoreAddress, StoreTarget};

/// Exit code of a command that was interrupted before its work was done.
pub const INTERRUPTED: u8 = 130;

/// A command line that makes no sense, by itself or with the configuration as it is.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);
