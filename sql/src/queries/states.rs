//! Series from the flat views: the kept states of a metric, or of some accounts', merged as they arrive.

use clickhouse::Row;
use serde::Deserialize;

use super::accounts::AccountFilter;
use super::merge::{Merge, Percentiles, State};
use super::series::{Series, SeriesQuestion, SeriesSource};
use crate::client::Store;
use crate::error::Result;

const DAY_MS: i64 = 86_400_000;

impl Store {
    /// A series from the rows of `view`, which are states as they are kept.
    pub(super) async fn series_of_states(
        &self,
        view: &'static str,
        question: &SeriesQuestion<'_>,
    ) -> Result<Series> {
        let percentiles = percentiles(question);
        let (from, to) = (question.from_ms / 1_000, question.to_ms / 1_000);
        let query = self
            .view_unchecked(view)
            .await?
            // The condition is the primary key: moving it to PREWHERE finds no row less and takes a millisecond or two.
            .with_setting("optimize_move_to_prewhere", "0")
            .param("metric", question.metric)
            .param("previous_from", question.previous_from_ms / 1_000)
            .param("from", from)
            .param("to", to);
        let query = match question.source {
            SeriesSource::AccountHour { accounts } => query
                .param("accounts", AccountFilter::Only(accounts).parameter())
                .param("days_from", from)
                .param("days_to", if percentiles == Percentiles::Nowhere { from } else { to }),
            _ => query,
        };
        let merge = async {
            let mut merge = Merge::new(question);
            let mut rows = query.fetch::<StateRow>()?;
            while let Some(row) = rows.next().await? {
                merge.add(i64::from(row.t) * 1_000, &row.state(), &row.histogram);
            }
            Ok(merge)
        };
        Ok(self.ask("read a metric's series", merge).await?.finish(percentiles))
    }
}

/// Which intervals have percentiles: the histograms of an account are of whole days.
fn percentiles(question: &SeriesQuestion<'_>) -> Percentiles {
    let is_of_whole_days = question.from_ms % DAY_MS == 0 && question.to_ms % DAY_MS == 0;
    let has_whole_days = i64::from(question.step_seconds) * 1_000 >= DAY_MS;
    match question.source {
        SeriesSource::AccountHour { .. } if !is_of_whole_days => Percentiles::Nowhere,
        SeriesSource::AccountHour { .. } if !has_whole_days => Percentiles::OfTheWindow,
        _ => Percentiles::Everywhere,
    }
}

#[derive(Debug, Row, Deserialize)]
struct StateRow {
    t: u32,
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
    last: (i64, f64),
    histogram: Vec<(i16, u64)>,
}

impl StateRow {
    fn state(&self) -> State {
        State { count: self.count, sum: self.sum, min: self.min, max: self.max, last: self.last }
    }
}
