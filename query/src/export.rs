//! Exports: a series, ranked groups, the samples of a metric, or events, as a stream of bytes the store wrote. Bounded in rows, and in memory by
//! whoever reads: the store is held back as the reader is slow.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream::{self, BoxStream, StreamExt};
use kelly_auth::Accounts;
use kelly_schemas::limits;
use kelly_sql::queries::{
    ActivityExport, Export, ExportBytes, GroupExportRow, GroupsExport, MAX_EXPORT_ROWS, SamplesExport,
};

pub use kelly_sql::queries::ExportFormat;

use crate::detailed::{DetailedRequest, check_text};
use crate::error::QueryError;
use crate::groups::{GroupsRequest, MetricGroup};
use crate::limits::TooLarge;
use crate::plan::window_asked;
use crate::range::RangeRequest;
use crate::retention::Kept;
use crate::service::{Context, QueryService, series_question};
use crate::tier::Tier;
use crate::whose::Whose;
use crate::window::Window;

/// What to export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExportRequest {
    /// The points of a drill-down.
    Series(DetailedRequest),
    /// The groups of a drill-down, a row each, without their series.
    Groups(GroupsRequest),
    /// The samples of one metric, as long as they are kept.
    Samples(DetailedRequest),
    /// Events, each once, newest first.
    Activity(ActivityExportRequest),
}

/// Which events to export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivityExportRequest {
    /// The accounts that the asker may see.
    pub accounts: Accounts,
    /// Over which time.
    pub range: RangeRequest,
    /// Only of this severity.
    pub severity: Option<String>,
    /// Only of this type.
    pub event_type: Option<String>,
    /// Only of this account, one of those.
    pub account_id: Option<String>,
}

impl ExportRequest {
    /// Refuses what no row can have, and an account that the asker may not see.
    ///
    /// # Errors
    /// Naming the parameter at fault.
    pub fn check(&self) -> Result<(), QueryError> {
        match self {
            Self::Series(request) | Self::Samples(request) => request.check(),
            Self::Groups(request) => request.check(),
            Self::Activity(request) => request.whose().map(drop),
        }
    }
}

impl ActivityExportRequest {
    /// Whose events are asked for, of a request that is not refused.
    fn whose(&self) -> Result<Whose<'_>, QueryError> {
        check_text("event_type", self.event_type.as_deref(), limits::EVENT_TYPE_CHARACTERS)?;
        check_text("account_id", self.account_id.as_deref(), limits::ACCOUNT_ID_CHARACTERS)?;
        Whose::asked(self.account_id.as_deref(), &self.accounts)
    }
}

/// An export on its way. Its first bytes are there; an error later ends the stream, which is then not whole.
pub struct ExportStream {
    /// The bytes.
    pub bytes: BoxStream<'static, Result<Bytes, QueryError>>,
    /// The time the rows are of. Of samples and events, only the part of what was asked for that is kept.
    pub window: Window,
    /// Since when everything is kept, where that is later than the time that was asked for begins.
    pub kept_from: Option<DateTime<Utc>>,
}

impl QueryService {
    /// Begins an export.
    ///
    /// # Errors
    /// When a parameter is at fault, there are more rows than one export has, or the store does not answer.
    pub async fn export(
        &self,
        request: &ExportRequest,
        format: ExportFormat,
    ) -> Result<ExportStream, QueryError> {
        let now = self.now();
        let retention = self.retention().await?;
        match request {
            ExportRequest::Series(request) => {
                let whose = request.whose()?;
                let definition = self.parts().catalogue.get(&request.metric_name);
                let context = Context { whose: &whose, definition: &definition, retention: &retention, now };
                let (plan, _) = self.planned(request, &context).await?;
                let export = Export::Series(series_question(request, &plan, &context));
                let range =
                    Range::of_tier(plan.window, plan.window_kept, retention.kept_from(plan.tier, now));
                self.begin(&export, format, range).await
            }
            ExportRequest::Groups(request) => {
                let answer = self.groups(request.clone()).await?;
                let groups: Vec<GroupExportRow<'_>> = answer.groups.iter().map(group_row).collect();
                let export = Export::Groups(GroupsExport {
                    metric: &answer.metric_name,
                    group_by: answer.group_by.name(),
                    from_ms: answer.window.from.timestamp_millis(),
                    to_ms: answer.window.to.timestamp_millis(),
                    groups: &groups,
                });
                let kept_from = retention.kept_from(answer.tier, now);
                let range = Range::of_tier(answer.window, answer.window_kept, kept_from);
                self.begin(&export, format, range).await
            }
            ExportRequest::Samples(request) => {
                let whose = request.whose()?;
                let asked = window_asked(&request.range, &retention, now)?;
                let range = Range::kept(asked, retention.kept_from(Tier::Raw, now));
                let export = Export::Samples(SamplesExport {
                    metric: &request.metric_name,
                    accounts: whose.filter(),
                    conversation: request.conversation_id.as_deref(),
                    from_ms: range.window.from.timestamp_millis(),
                    to_ms: range.window.to.timestamp_millis(),
                });
                self.begin_counted(&export, format, range).await
            }
            ExportRequest::Activity(request) => {
                let whose = request.whose()?;
                let asked = window_asked(&request.range, &retention, now)?;
                let range = Range::kept(asked, retention.events_kept_from(now));
                let export = Export::Activity(ActivityExport {
                    severity: request.severity.as_deref(),
                    event_type: request.event_type.as_deref(),
                    accounts: whose.filter(),
                    from_ms: range.window.from.timestamp_millis(),
                    to_ms: range.window.to.timestamp_millis(),
                });
                self.begin_counted(&export, format, range).await
            }
        }
    }

    async fn begin_counted(
        &self,
        export: &Export<'_>,
        format: ExportFormat,
        range: Range,
    ) -> Result<ExportStream, QueryError> {
        let rows = self.parts().store.export_rows(export).await.map_err(QueryError::from_store("export"))?;
        if rows > MAX_EXPORT_ROWS {
            return Err(too_many(rows, range.window).into());
        }
        self.begin(export, format, range).await
    }

    async fn begin(
        &self,
        export: &Export<'_>,
        format: ExportFormat,
        range: Range,
    ) -> Result<ExportStream, QueryError> {
        let failed = || QueryError::from_store("export");
        let mut rest = self.parts().store.export(export, format).await.map_err(failed())?;
        // What the store refuses at once can still be answered with a problem.
        let first = rest.next().await.map_err(failed())?;
        let rest = stream::unfold(Some(rest), next);
        let bytes = stream::iter(first.map(Ok)).chain(rest).boxed();
        Ok(ExportStream { bytes, window: range.window, kept_from: range.kept_from })
    }
}

/// The time of an export's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    window: Window,
    kept_from: Option<DateTime<Utc>>,
}

impl Range {
    /// Of rows that come as they are: what is no longer kept for certain is left out, so that the rest is whole.
    fn kept(asked: Window, kept_from: DateTime<Utc>) -> Self {
        let window = Window { from: asked.from.max(kept_from).min(asked.to), to: asked.to };
        Self { window, kept_from: (asked.from < kept_from).then_some(kept_from) }
    }

    /// Of rollups: all that there are, as in the answer they are a part of.
    fn of_tier(window: Window, kept: Kept, kept_from: DateTime<Utc>) -> Self {
        Self { window, kept_from: (kept != Kept::Whole).then_some(kept_from) }
    }
}

fn group_row(group: &MetricGroup) -> GroupExportRow<'_> {
    let change = group.comparison.as_ref();
    GroupExportRow {
        rank: group.rank,
        id: &group.id,
        value: group.value,
        count: group.count,
        sum: group.sum,
        mean: group.mean,
        min: group.min,
        max: group.max,
        p50: group.percentiles.p50,
        p95: group.percentiles.p95,
        p99: group.percentiles.p99,
        previous_value: change.and_then(|change| change.previous),
        percentage_change: change.and_then(|change| change.percentage_change),
    }
}

/// The next bytes; an error is the last.
async fn next(rest: Option<ExportBytes>) -> Option<(Result<Bytes, QueryError>, Option<ExportBytes>)> {
    let mut rest = rest?;
    match rest.next().await {
        Ok(Some(bytes)) => Some((Ok(bytes), Some(rest))),
        Ok(None) => None,
        Err(error) => Some((Err(QueryError::from_store("export")(error)), None)),
    }
}

/// The refusal, with a range that holds as many rows as one export has, were they even over the window.
fn too_many(rows: u64, window: Window) -> TooLarge {
    let length = window.to - window.from;
    let share = MAX_EXPORT_ROWS as f64 / rows as f64;
    let allowed_seconds = ((length.num_seconds() as f64 * share).floor() as i64).max(1);
    let from: DateTime<Utc> = window.to - chrono::TimeDelta::seconds(allowed_seconds);
    TooLarge::of_rows(rows, MAX_EXPORT_ROWS, Window { from, to: window.to })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_may_be_gone_are_outside_the_range_of_a_file() {
        let at = |seconds: i64| DateTime::from_timestamp(1_773_144_000 + seconds, 0).unwrap();
        let asked = Window { from: at(0), to: at(60) };
        for (kept_from, from, is_cut) in
            [(at(-9), at(0), false), (at(0), at(0), false), (at(20), at(20), true), (at(99), at(60), true)]
        {
            let range = Range::kept(asked, kept_from);
            let noted = is_cut.then_some(kept_from);
            assert_eq!(range, Range { window: Window { from, to: at(60) }, kept_from: noted });
        }
    }

    #[test]
    fn a_refusal_says_what_would_be_allowed() {
        let at = |seconds: i64| DateTime::from_timestamp(1_773_144_000 + seconds, 0).unwrap();
        let refusal = too_many(4 * MAX_EXPORT_ROWS, Window { from: at(0), to: at(3_600) });
        assert_eq!(
            refusal.to_string(),
            "`from` asks for 8000000 rows, at most 2000000 are answered at once; ask with \
             from=2026-03-10T12:45:00Z&to=2026-03-10T13:00:00Z, or for one account"
        );
    }
}
