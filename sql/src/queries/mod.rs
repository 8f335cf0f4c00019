//! The questions the store answers. Each is a parameterised view (`sql/views`), which Grafana and the command line
//! may use too, and a typed function here. Parameters go to the server as parameters, never into the text.

mod accounts;
mod activity;
mod alert_history;
mod control;
mod csv_floats;
mod dead_letters;
mod diagnosis;
mod export;
mod export_groups;
mod groups;
mod merge;
mod overview;
mod reading;
mod reading_rows;
mod rule_history;
mod seen;
mod series;
mod states;
mod storage;
mod tail;
mod view;

pub use accounts::AccountFilter;
pub use activity::{ActivityFilter, ActivityKey, ActivityRow};
pub use alert_history::{AlertsMatched, KeptAlert, MatchedAlert, RuleDecision};
pub use control::{AlertRow, DecisionRow};
pub use dead_letters::{DeadLetter, LetterFilter, LetterPlace, LetterReason, ReplayMark, ReplayState};
pub use diagnosis::{BackgroundState, DiskState, StoreRight, TableState};
pub use export::{ActivityExport, Export, ExportBytes, ExportFormat, MAX_EXPORT_ROWS, SamplesExport};
pub use export_groups::{GroupExportRow, GroupsExport};
pub use groups::{
    Counted, Group, GroupFigures, GroupKey, GroupPoint, GroupSeries, GroupSeriesQuestion, GroupSource,
    Ranking, RankingQuestion,
};
pub use overview::{AccountMetricSince, CountedFrom, FigureRow, MetricSince};
pub use reading::{
    ArrivedRow, Covered, ReadableRow, ReaderFilter, ReaderName, ReadingVersion, UnreadRow, WatermarkRow,
};
pub use reading_rows::{MarkState, NewMark, NewWatermark};
pub use rule_history::{RuleBucket, RuleHistory, RuleRollup, RuleRow, RuleRows, RuleSubjects};
pub use series::{Aggregate, Compared, Series, SeriesInterval, SeriesQuestion, SeriesSource};
pub(crate) use view::ViewTexts;

pub use storage::{DeadLetterCounts, NewestRows, TableGrowth, TableStorage};
pub use tail::{
    ActivityTailFilter, MetricTailFilter, TailCursor, TailPage, Tailed, TailedEvent, TailedMetric,
};
