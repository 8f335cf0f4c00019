//! What the store's part in `…/performance` is: how fast it answers, how new its rows are, what it holds and by how much
//! that grows.

use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use kelly_sql::queries::{NewestRows, TableGrowth, TableStorage};
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::QueryError;
use crate::service::QueryService;

/// Whole days that growth is the mean of.
const GROWTH_DAYS: u32 = 7;
/// How far back the newest rows are looked for.
const NEWEST_WITHIN: TimeDelta = TimeDelta::days(7);
/// Questions [`QueryService::store_performance`] asks the store at once.
pub const PERFORMANCE_AT_ONCE: usize = 3;
/// Days of a month, as growth is reported.
const MONTH_DAYS: f64 = 30.0;

/// The store's figures.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct StorePerformance {
    /// Time to the answer of a trivial question, milliseconds.
    pub round_trip_ms: f64,
    /// When the newest metric of the last seven days happened.
    pub newest_metric: Option<DateTime<Utc>>,
    /// How old it is, seconds: from the event to where questions see it, when producers send at once.
    pub newest_metric_age_seconds: Option<f64>,
    /// When the newest event of the last seven days happened.
    pub newest_event: Option<DateTime<Utc>>,
    /// Bytes on disk, all tables.
    pub bytes_on_disk: u64,
    /// Rows, all tables.
    pub rows: u64,
    /// Active parts, all tables.
    pub parts: u64,
    /// Bytes a day adds, all tables: by when rows happened, as they lie on the disk now. Null while a table
    /// that holds rows has no whole day: what it adds is not known.
    pub growth_bytes_a_day: Option<f64>,
    /// Thirty such days. What is kept stops growing once it is as old as its retention.
    pub growth_bytes_a_month: Option<f64>,
    /// The tables.
    pub tables: Vec<TablePerformance>,
}

/// One table.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TablePerformance {
    /// Its name.
    pub table: String,
    /// Its rows.
    pub rows: u64,
    /// Its bytes on disk.
    pub bytes_on_disk: u64,
    /// Its active parts.
    pub parts: u64,
    /// Rows a day adds; null while there is no whole day.
    pub rows_a_day: Option<f64>,
    /// Bytes a day adds; null while there is no whole day.
    pub bytes_a_day: Option<f64>,
    /// Whole days (UTC) the two are the mean of; at most seven.
    pub growth_days: u32,
}

impl QueryService {
    /// The store's figures.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn store_performance(&self) -> Result<StorePerformance, QueryError> {
        let store = &self.parts().store;
        let now = self.now();
        let began = Instant::now();
        store.ping().await.map_err(QueryError::from_store("performance"))?;
        let round_trip_ms = began.elapsed().as_secs_f64() * 1_000.0;
        let (held, growth, newest) = tokio::try_join!(
            store.storage(),
            store.storage_growth(now.timestamp_millis(), GROWTH_DAYS),
            store.newest_rows((now - NEWEST_WITHIN).timestamp_millis())
        )
        .map_err(QueryError::from_store("performance"))?;
        Ok(figures(round_trip_ms, held, &growth, newest, now))
    }
}

fn figures(
    round_trip_ms: f64,
    held: Vec<TableStorage>,
    growth: &[TableGrowth],
    newest: NewestRows,
    now: DateTime<Utc>,
) -> StorePerformance {
    let newest_metric = newest.metric.and_then(DateTime::from_timestamp_millis);
    let tables: Vec<TablePerformance> = held
        .into_iter()
        .map(|table| {
            let growth = growth.iter().find(|growth| growth.table == table.table);
            TablePerformance {
                rows_a_day: growth.and_then(|growth| growth.rows_a_day),
                bytes_a_day: growth.and_then(|growth| growth.bytes_a_day),
                growth_days: growth.map_or(0, |growth| growth.days),
                table: table.table,
                rows: table.rows,
                bytes_on_disk: table.bytes_on_disk,
                parts: table.parts,
            }
        })
        .collect();
    let growth_bytes_a_day = match growth {
        [] => None,
        tables => tables.iter().map(|table| table.bytes_a_day).sum(),
    };
    StorePerformance {
        round_trip_ms,
        newest_metric,
        newest_metric_age_seconds: newest_metric
            .map(|newest| (now - newest).num_milliseconds().max(0) as f64 / 1_000.0),
        newest_event: newest.event.and_then(DateTime::from_timestamp_millis),
        bytes_on_disk: tables.iter().map(|table| table.bytes_on_disk).sum(),
        rows: tables.iter().map(|table| table.rows).sum(),
        parts: tables.iter().map(|table| table.parts).sum(),
        growth_bytes_a_day,
        growth_bytes_a_month: growth_bytes_a_day.map(|bytes| bytes * MONTH_DAYS),
        tables,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_null_and_growth_is_the_sum() {
        let held =
            |table: &str| TableStorage { table: table.to_owned(), rows: 10, bytes_on_disk: 100, parts: 2 };
        let growth = |table: &str, bytes_a_day: Option<f64>| TableGrowth {
            table: table.to_owned(),
            days: if bytes_a_day.is_some() { 3 } else { 0 },
            rows_a_day: bytes_a_day.map(|bytes| bytes / 10.0),
            bytes_a_day,
        };
        let now = DateTime::from_timestamp_millis(1_773_146_096_789).unwrap();
        let newest = NewestRows { metric: Some(1_773_146_095_789), event: None };
        let figures_of = |growths: [TableGrowth; 2]| {
            // The last is Kelly's own book, of which no growth is reported.
            let held = vec![held("system_metrics"), held("metric_rollups"), held("schema_migrations")];
            figures(1.5, held, &growths, newest, now)
        };
        let whole = figures_of([growth("system_metrics", Some(50.0)), growth("metric_rollups", Some(5.0))]);
        assert_eq!((whole.bytes_on_disk, whole.rows, whole.parts), (300, 30, 6));
        assert_eq!((whole.growth_bytes_a_day, whole.growth_bytes_a_month), (Some(55.0), Some(1_650.0)));
        assert_eq!((whole.newest_metric_age_seconds, whole.newest_event), (Some(1.0), None));
        let part = figures_of([growth("system_metrics", Some(50.0)), growth("metric_rollups", None)]);
        assert_eq!((part.growth_bytes_a_day, part.growth_bytes_a_month), (None, None));
        assert_eq!((part.tables[0].bytes_a_day, part.tables[1].bytes_a_day), (Some(50.0), None));
        let empty = figures(1.5, Vec::new(), &[], NewestRows { metric: None, event: None }, now);
        assert_eq!((empty.growth_bytes_a_day, empty.newest_metric_age_seconds), (None, None));
    }
}
