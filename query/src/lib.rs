//! Questions and answers: detailed metrics, percentiles, trends, the overview and the activity feed.
//!
//! The crate has two halves. Pure: [`range`] (what is asked), `plan` (which tier answers it, over which
//! aligned window, in which steps), `step` (how long points are), `trend` (what a change means), [`comparison`] (with
//! what a window is compared), `answer` and `group_answer` (rows into an answer), `cursor` (where a feed goes on),
//! [`cache`] (how long an answer holds), `whose` (of which accounts), `reading` (what a user has read), most of [`backtest`] (what alert rules would have done).
//! I/O: [`QueryService`], which hands plans to the typed queries of `kelly_sql` and puts their rows into
//! the answers of [`detailed`], [`groups`], [`overview`], [`feed`] and [`health`]. There is no SQL here and no HTTP.
//!
//! Every question says which accounts its asker may see ([`Accounts`]), and is answered of those only.

mod answer;
pub mod backtest;
pub mod cache;
#[cfg(test)]
mod clock_jumps;
pub mod comparison;
pub mod cursor;
pub mod detailed;
mod error;
pub mod export;
pub mod feed;
mod group_answer;
mod group_service;
pub mod groups;
pub mod health;
pub mod limits;
mod metadata;
mod notes;
pub mod overview;
mod percentiles;
pub mod performance;
mod plan;
pub mod range;
mod reader;
mod reading;
mod reading_service;
mod retention;
mod rules_in_force;
mod service;
pub mod several;
pub mod silence_preview;
mod step;
mod tier;
mod timeframe;
mod trend;
mod whose;
mod window;

pub use backtest::{AlertEvaluations, Beside, Preview, PreviewRequest};
pub use detailed::{Detailed, DetailedRequest};
pub use error::{QueryError, RuleFault};
pub use export::{ActivityExportRequest, ExportFormat, ExportRequest, ExportStream};
pub use feed::{FeedPage, FeedRequest};
pub use groups::{GroupsRequest, MetricGroups};
pub use health::DatabaseHealth;
pub use kelly_auth::Accounts;
pub use kelly_sql::StoreError;
pub use kelly_sql::queries::ActivityKey;
pub use metadata::Metadata;
pub use overview::Overview;
pub use performance::{PERFORMANCE_AT_ONCE, StorePerformance};
pub use range::{RangeRequest, Timeframe};
pub use reader::{Reader, ReaderView, ReadingVersion};
pub use reading_service::{EventName, MAX_MARKED, MarkRequest, Marked, Unread, UnreadBySeverity};
pub use rules_in_force::{BuiltinRules, RulesInForce};
pub use service::{HEALTH_AT_ONCE, OVERVIEW_AT_ONCE, QueryService, QueryServiceParts};
pub use several::{METRICS_AT_ONCE, Several, SeveralRequest};
pub use silence_preview::{SilenceMatcher, SilencePreview, SilencePreviewRequest};
pub use step::{parse_step, step_names};
