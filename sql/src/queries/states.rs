//! Series from the flat views: the kept states of a metric, or of one account's, merged as they arrive.

use clickhouse::Row;
use clickhouse::query::Query;
use serde::Deserialize;

use super::merge::{Merge, Percentiles, State};
use super::series::{Series, SeriesQuestion};
use crate::client::Store;
use crate::error::Result;

const DAY_MS: i64 = 86_400_000;

impl Store {
    /// A series of a metric from the rows of `view`, which have histograms.
    pub(super) async fn series_of_metric(
        &self,
        view: &'static str,
        question: &SeriesQuestion<'_>,
    ) -> Result<Series> {
        let query = self
            .states(view)
            .await?
            .param("metric", question.metric)
            .param("previous_from", question.previous_from_ms / 1_000)
            .param("from", question.from_ms / 1_000)
            .param("to", question.to_ms / 1_000);
        let merge = async {
            let mut merge = Merge::new(question);
            let mut rows = query.fetch::<MetricState>()?;
            while let Some(row) = rows.next().await? {
                merge.add(i64::from(row.t) * 1_000, &row.state(), &row.histogram);
            }
            Ok(merge)
        };
        Ok(self.ask("read a metric's series", merge).await?.finish(Percentiles::Everywhere))
    }

    /// A series of one account: its hours, and percentiles from the histograms of its days where the window is of whole ones.
    pub(super) async fn series_of_account(
        &self,
        account: &str,
        question: &SeriesQuestion<'_>,
    ) -> Result<Series> {
        let is_of_whole_days = question.from_ms % DAY_MS == 0 && question.to_ms % DAY_MS == 0;
        let (hours, days) = tokio::try_join!(self.account_hours(account, question), async {
            if is_of_whole_days { self.account_buckets(account, question).await } else { Ok(Vec::new()) }
        })?;
        let mut merge = Merge::new(question);
        for row in hours {
            merge.add(i64::from(row.t) * 1_000, &row.state(), &[]);
        }
        for row in days {
            merge.add_bucket(i64::from(row.t) * 1_000, row.bucket, row.count);
        }
        let percentiles = match is_of_whole_days {
            true if i64::from(question.step_seconds) * 1_000 >= DAY_MS => Percentiles::Everywhere,
            true => Percentiles::OfTheWindow,
            false => Percentiles::Nowhere,
        };
        Ok(merge.finish(percentiles))
    }

    async fn account_hours(&self, account: &str, question: &SeriesQuestion<'_>) -> Result<Vec<AccountState>> {
        let query = self
            .states("account_states_1h")
            .await?
            .param("metric", question.metric)
            .param("account", account)
            .param("previous_from", question.previous_from_ms / 1_000)
            .param("to", question.to_ms / 1_000);
        self.ask("read an account's hours", query.fetch_all()).await
    }

    async fn account_buckets(
        &self,
        account: &str,
        question: &SeriesQuestion<'_>,
    ) -> Result<Vec<AccountBucket>> {
        let query = self
            .states("account_buckets_1d")
            .await?
            .param("metric", question.metric)
            .param("account", account)
            .param("from", question.from_ms / 1_000)
            .param("to", question.to_ms / 1_000);
        self.ask("read an account's histograms", query.fetch_all()).await
    }

    async fn states(&self, view: &'static str) -> Result<Query> {
        // The condition is the primary key: moving it to PREWHERE finds no row less and takes a millisecond or two.
        Ok(self.view_unchecked(view).await?.with_setting("optimize_move_to_prewhere", "0"))
    }
}

#[derive(Debug, Row, Deserialize)]
struct MetricState {
    t: u32,
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
    last: (i64, f64),
    histogram: Vec<(i16, u64)>,
}

#[derive(Debug, Row, Deserialize)]
struct AccountState {
    t: u32,
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
    last: (i64, f64),
}

#[derive(Debug, Row, Deserialize)]
struct AccountBucket {
    t: u32,
    bucket: i16,
    count: u64,
}

impl MetricState {
    fn state(&self) -> State {
        State { count: self.count, sum: self.sum, min: self.min, max: self.max, last: self.last }
    }
}

impl AccountState {
    fn state(&self) -> State {
        State { count: self.count, sum: self.sum, min: self.min, max: self.max, last: self.last }
    }
}
