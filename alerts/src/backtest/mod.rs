//! What rules would have done: the engine itself, driven over history.

mod run;
mod suggest;

pub use run::{HistoryRow, MOST_TRANSITIONS, Outcome, Report, run};
pub use suggest::{Budget, SuggestFault, Suggestion, suggest};
