//! What alert rules would have done over history: the engine that judges live, over samples while they are kept and over rollups before.
//!
//! Pure: `rules` (which rules are tried together and what rows they need), `rollups` (what a rollup says to a rule, and to which it says
//! nothing), `trials` (the engines over the rows), `kept_rows` (rows that are gone through several times), `points`, `answer`. I/O: `history`
//! (reads rows and hands them to the engines), `service` (previews), `evaluations` (one alert).

mod answer;
mod evaluations;
mod history;
mod kept_rows;
mod points;
mod reading;
mod rollups;
mod rules;
mod service;
mod trials;

pub use answer::{
    BesideOutcome, JudgedPart, Preview, PreviewHistory, PreviewOutcome, PreviewedAlert, RulePreview,
    SuggestedThreshold, TriedThreshold,
};
pub use evaluations::{AlertEvaluations, EvaluatedDecision, EvaluatedPoint, RuleIs};
pub use history::MAX_HISTORY_ROWS;
pub use rules::{Beside, MAX_TRIED_RULES, PreviewRequest};
