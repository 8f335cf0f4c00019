//! The finished series of the views, which dashboards read, and the series merged from kept states, which the API
//! reads, are the same.

use crate::support::{BASE_MS, long_retention};
use kelly_harness::TestDatabase;
use kelly_sql::queries::{Aggregate, Series, SeriesInterval, SeriesQuestion, SeriesSource};

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;
const MIDNIGHT_MS: i64 = BASE_MS / DAY_MS * DAY_MS;

/// 20,000 samples of sixteen days, of every magnitude and both signs and now and then 0, as each rollup keeps them: one row a
/// sample, so that nothing was merged before it is asked for.
async fn record(database: &TestDatabase) {
    let samples = format!(
        "SELECT number, fromUnixTimestamp64Milli({MIDNIGHT_MS} - toInt64(cityHash64(number, 1) % ({DAY_MS} * 16)), 'UTC') AS at,
            if(number % 97 = 0, 0, if(number % 3 = 0, -1, 1) * exp((cityHash64(number, 2) % 60000) / 1000. - 30)) AS value,
            concat('account-', toString(number % 3)) AS account,
            toInt16(if(value = 0, 0, sign(value) * (ceil(log(abs(value)) / 0.020000666706669435) + 15500))) AS bucket
        FROM numbers(20000)"
    );
    let state = "1, value, value, value, (at, value)";
    let last = "CAST(map(bucket, 1), 'Map(Int16, UInt64)')";
    for statement in [
        format!("metrics_1m SELECT 'm', toStartOfMinute(at), {state}, {last} FROM ({samples})"),
        format!("metrics_1h SELECT 'm', toStartOfHour(at), {state}, {last} FROM ({samples})"),
        format!("account_metrics_1h SELECT 'm', account, toStartOfHour(at), {state} FROM ({samples})"),
        format!(
            "account_metrics_1d (metric_name, account_id, t, histogram) SELECT 'm', account, toDateTime(toDate(at)), {last} FROM ({samples})"
        ),
    ] {
        // A block of its own for some rows of each interval: the states of an interval lie in several parts.
        let settings = "SETTINGS max_block_size = 3000, max_insert_block_size = 3000, min_insert_block_size_rows = 0, min_insert_block_size_bytes = 0, max_partitions_per_insert_block = 0";
        database.query(&format!("INSERT INTO {statement} {settings}")).await;
    }
}

/// What is compared: a tier and its view, start and end of the window in minutes before midnight, the step.
type Case<'a> = (SeriesSource<'a>, &'a str, Option<&'a str>, i64, i64, u32);

/// The answer of the view that is made for dashboards.
async fn finished(
    database: &TestDatabase,
    view: &str,
    account: Option<&str>,
    asked: &SeriesQuestion<'_>,
) -> Series {
    let aggregate = match asked.aggregate {
        Aggregate::Mean => "mean",
        Aggregate::Sum => "sum",
        Aggregate::Last => "last",
        Aggregate::Max => "max",
    };
    let account = account.map(|account| format!(", account = '{account}'")).unwrap_or_default();
    let SeriesQuestion { metric, previous_from_ms, from_ms, to_ms, compared_to_ms, step_seconds, .. } = asked;
    let text = database
        .query(&format!(
            "SELECT section, toInt64(toUnixTimestamp(t)) * 1000, count, value, min, max, p50, p95, p99, toUnixTimestamp64Milli(newest), compared_count, compared_value, percentage_change
            FROM {view}(metric = '{metric}', aggregate = '{aggregate}', step_s = {step_seconds}, previous_from_ms = {previous_from_ms}, from_ms = {from_ms}, to_ms = {to_ms}, compared_to_ms = {compared_to_ms}{account})"
        ))
        .await;
    let mut series = Series::default();
    for row in text.lines() {
        let fields: Vec<&str> = row.split('\t').collect();
        let number = |index: usize| fields[index].parse::<f64>().ok();
        let interval = SeriesInterval {
            start_ms: fields[1].parse().unwrap(),
            count: fields[2].parse().unwrap(),
            value: number(3).unwrap(),
            min: number(4).unwrap(),
            max: number(5).unwrap(),
            percentiles: number(6).map(|p50| [p50, number(7).unwrap(), number(8).unwrap()]),
            newest_ms: fields[9].parse().unwrap(),
        };
        match fields[0] {
            "point" => series.points.push(interval),
            "previous" => series.previous = Some(interval),
            _ => {
                series.window = Some(interval);
                series.compared = number(11)
                    .map(|value| kelly_sql::queries::Compared { count: fields[10].parse().unwrap(), value });
                series.percentage_change = number(12);
            }
        }
    }
    series
}

fn assert_close(found: f64, expected: f64, what: &str) {
    // Sums are of the same numbers in another order.
    let slack = 1e-9 * expected.abs().max(1e-30);
    assert!((found - expected).abs() <= slack, "{what}: {found}, {expected} expected");
}

fn assert_same_interval(found: &SeriesInterval, expected: &SeriesInterval, what: &str) {
    assert_eq!((found.count, found.newest_ms), (expected.count, expected.newest_ms), "{what}");
    assert_eq!((found.min, found.max), (expected.min, expected.max), "{what}");
    assert_close(found.value, expected.value, what);
    let pairs = found.percentiles.into_iter().flatten().zip(expected.percentiles.into_iter().flatten());
    assert_eq!(found.percentiles.is_some(), expected.percentiles.is_some(), "{what}");
    for (found, expected) in pairs {
        assert_close(found, expected, what);
    }
}

fn assert_same(found: &Series, expected: &Series, what: &str) {
    let starts = |series: &Series| series.points.iter().map(|point| point.start_ms).collect::<Vec<_>>();
    assert_eq!(starts(found), starts(expected), "{what}");
    for (found, expected) in found.points.iter().zip(&expected.points) {
        assert_same_interval(found, expected, &format!("{what}, point {}", expected.start_ms));
    }
    assert_same_interval(&found.window.unwrap(), &expected.window.unwrap(), what);
    let (found_previous, expected_previous) = (found.previous.unwrap(), expected.previous.unwrap());
    // The view computes percentiles of the window before too; nobody is told them.
    let expected_previous = SeriesInterval { percentiles: None, ..expected_previous };
    assert_same_interval(&found_previous, &expected_previous, &format!("{what}, previous"));
    let (found_compared, expected_compared) = (found.compared.unwrap(), expected.compared.unwrap());
    assert_eq!(found_compared.count, expected_compared.count, "{what}");
    assert_close(found_compared.value, expected_compared.value, what);
    // None where the value before is 0.
    assert_eq!(found.percentage_change.is_some(), expected.percentage_change.is_some(), "{what}");
    if let (Some(found), Some(expected)) = (found.percentage_change, expected.percentage_change) {
        assert_close(found, expected, what);
    }
}

#[tokio::test]
async fn merged_states_are_the_finished_view() {
    let database = TestDatabase::create_empty();
    database.store().migrate(&long_retention()).await.unwrap();
    record(&database).await;
    let account = "account-1";
    let cases: [Case<'_>; 6] = [
        (SeriesSource::Minute, "metric_series_1m", None, 24 * 60 - 7, 0, 900),
        (SeriesSource::Minute, "metric_series_1m", None, 3 * 60, 30, 60),
        (SeriesSource::Hour, "metric_series_1h", None, 7 * 24 * 60, 0, 21_600),
        (SeriesSource::Hour, "metric_series_1h", None, (7 * 24 + 5) * 60, 120, 10_800),
        (SeriesSource::AccountDay { account }, "account_series_1d", Some(account), 8 * 24 * 60, 0, 86_400),
        (SeriesSource::AccountDay { account }, "account_series_1d", Some(account), 29 * 60, 60, 3_600),
    ];
    for (source, view, account, from, to, step_seconds) in cases {
        for aggregate in [Aggregate::Mean, Aggregate::Sum, Aggregate::Last, Aggregate::Max] {
            let (from_ms, to_ms) = (MIDNIGHT_MS - from * MINUTE_MS, MIDNIGHT_MS - to * MINUTE_MS);
            let compared_to_ms = to_ms - 60 * MINUTE_MS;
            let asked = SeriesQuestion {
                source,
                metric: "m",
                previous_from_ms: from_ms - (compared_to_ms - from_ms),
                from_ms,
                to_ms,
                compared_to_ms,
                step_seconds,
                aggregate,
            };
            let found = database.store().series(&asked).await.unwrap();
            let expected = finished(&database, view, account, &asked).await;
            assert!(expected.points.len() > 3, "{view}: {expected:?}");
            assert_same(&found, &expected, &format!("{view} {aggregate:?} {step_seconds}"));
        }
    }
}
