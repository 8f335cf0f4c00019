//! What rules would have done: the engine itself, driven over history.

mod budget;
mod run;
mod suggest;

pub use budget::{Budget, BudgetError};
pub use run::{Backtest, HistoryRow, MOST_TRANSITIONS, Outcome, Report, Watcher, run};
pub use suggest::{SuggestFault, Suggestion, suggest};
