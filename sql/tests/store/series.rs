//! The finished series of the views, which dashboards read, and the series merged from kept states, which the API
//! reads, are the same.

use crate::support::{BASE_MS, long_retention};
use kelly_harness::TestDatabase;
use kelly_sql::queries::{Aggregate, Series, SeriesInterval, SeriesQuestion, SeriesSource};

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;
const MIDNIGHT_MS: i64 = BASE_MS / DAY_MS * DAY_MS;

/// 20,000 samples of sixteen days, of every magnitude and both signs and now and then 0, as each tier keeps them: one row a
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
    let nothing = "0, 0, inf, -inf, (0, -inf)";
    let histogram = "CAST(map(bucket, 1), 'Map(Int16, UInt64)')";
    let none = "CAST(map(), 'Map(Int16, UInt64)')";
    for row in [
        format!("'minute', '', 'm', '', toStartOfMinute(at), {state}, {histogram}"),
        format!("'hour', '', 'm', '', toStartOfHour(at), {state}, {histogram}"),
        format!("'account_hour', '', 'm', account, toStartOfHour(at), {state}, {none}"),
        format!("'account_day', '', 'm', account, toDateTime(toDate(at)), {nothing}, {histogram}"),
        format!("'conversation_day', 'c', 'm', account, toDateTime(toDate(at)), {state}, {none}"),
    ] {
        // A block of its own for some rows of each interval: the states of an interval lie in several parts.
        let settings = "SETTINGS max_block_size = 3000, max_insert_block_size = 3000, min_insert_block_size_rows = 0, min_insert_block_size_bytes = 0, max_partitions_per_insert_block = 0, optimize_on_insert = 0";
        database.query(&format!("INSERT INTO metric_rollups SELECT {row} FROM ({samples}) {settings}")).await;
    }
}

/// The answer of the view that is made for dashboards.
async fn finished(
    database: &TestDatabase,
    view: &str,
    accounts: &[&str],
    asked: &SeriesQuestion<'_>,
) -> Series {
    let aggregate = match asked.aggregate {
        Aggregate::Mean => "mean",
        Aggregate::Sum => "sum",
        Aggregate::Last => "last",
        Aggregate::Max => "max",
    };
    let accounts = if accounts.is_empty() { String::new() } else { format!(", accounts = {accounts:?}") };
    let accounts = accounts.replace('"', "'");
    let SeriesQuestion { metric, previous_from_ms, from_ms, to_ms, compared_to_ms, step_seconds, .. } = asked;
    let text = database
        .query(&format!(
            "SELECT section, toInt64(toUnixTimestamp(t)) * 1000, count, value, min, max, p50, p95, p99, toUnixTimestamp64Milli(newest), compared_count, compared_value, percentage_change
            FROM {view}(metric = '{metric}', aggregate = '{aggregate}', step_s = {step_seconds}, previous_from_ms = {previous_from_ms}, from_ms = {from_ms}, to_ms = {to_ms}, compared_to_ms = {compared_to_ms}{accounts})"
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
    assert_same_part(found.window, expected.window, &format!("{what}, window"));
    assert_same_part(found.previous, expected.previous, &format!("{what}, previous"));
    assert_eq!(found.compared.map(|part| part.count), expected.compared.map(|part| part.count), "{what}");
    if let (Some(found), Some(expected)) = (found.compared, expected.compared) {
        assert_close(found.value, expected.value, what);
    }
    // None where the value before is 0.
    assert_eq!(found.percentage_change.is_some(), expected.percentage_change.is_some(), "{what}");
    if let (Some(found), Some(expected)) = (found.percentage_change, expected.percentage_change) {
        assert_close(found, expected, what);
    }
}

fn assert_same_part(found: Option<SeriesInterval>, expected: Option<SeriesInterval>, what: &str) {
    assert_eq!(found.is_some(), expected.is_some(), "{what}");
    if let (Some(found), Some(expected)) = (found, expected) {
        assert_same_interval(&found, &expected, what);
    }
}

const ONE: &[&str] = &["account-1"];
const TWO: &[&str] = &["account-0", "account-2", "account-none"];

/// What is merged here, its view and its accounts.
const SOURCES: [(SeriesSource<'_>, &str, &[&str]); 4] = [
    (SeriesSource::Minute, "metric_series_minute", &[]),
    (SeriesSource::Hour, "metric_series_hour", &[]),
    (SeriesSource::AccountHour { accounts: ONE }, "account_series_hour", ONE),
    (SeriesSource::AccountHour { accounts: TWO }, "account_series_hour", TWO),
];

/// A window, a part of it that is compared, as much time before, a step: whatever the plan may ask, and more. Account windows
/// are of whole hours, every other one of whole days, which alone have percentiles.
fn random_question(number: u32, random: &mut impl FnMut(i64) -> i64) -> (usize, SeriesQuestion<'static>) {
    const AGGREGATES: [Aggregate; 4] = [Aggregate::Mean, Aggregate::Sum, Aggregate::Last, Aggregate::Max];
    const STEPS: [u32; 9] = [60, 300, 900, 3_600, 10_800, 21_600, 43_200, 86_400, 7 * 86_400];
    let of = number as usize % SOURCES.len();
    let round = number / SOURCES.len() as u32;
    let (unit_ms, longest) = match SOURCES[of].0 {
        SeriesSource::Minute => (MINUTE_MS, 2_000),
        _ if round.is_multiple_of(2) => (DAY_MS, 12),
        _ => (60 * MINUTE_MS, 200),
    };
    let length = 1 + random(longest);
    let from_ms = MIDNIGHT_MS - (length + random(3 * DAY_MS / unit_ms)) * unit_ms;
    let to_ms = from_ms + length * unit_ms;
    let compared_to_ms = from_ms + random(length + 1) * unit_ms;
    let least = if unit_ms == MINUTE_MS { 0 } else { 3 };
    let question = SeriesQuestion {
        source: SOURCES[of].0,
        metric: "m",
        previous_from_ms: from_ms - (compared_to_ms - from_ms),
        from_ms,
        to_ms,
        compared_to_ms,
        step_seconds: STEPS[least + random((STEPS.len() - least) as i64) as usize],
        aggregate: AGGREGATES[random(4) as usize],
    };
    (of, question)
}

#[tokio::test]
async fn merged_states_are_the_finished_view() {
    const QUESTIONS: u32 = 160;
    let database = TestDatabase::create_empty();
    database.store().migrate(&long_retention()).await.unwrap();
    record(&database).await;
    // Marsaglia's xorshift: the same questions in every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: i64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below.max(1) as u64) as i64
    };
    let (mut with_percentiles, mut without) = ([0; SOURCES.len()], [0; SOURCES.len()]);
    for number in 0..QUESTIONS {
        let (of, asked) = random_question(number, &mut random);
        let (_, view, accounts) = SOURCES[of];
        let found = database.store().series(&asked).await.unwrap();
        let expected = finished(&database, view, accounts, &asked).await;
        assert_same(&found, &expected, &format!("{view}, {asked:?}"));
        let has = expected.window.is_some_and(|window| window.percentiles.is_some());
        if has { with_percentiles[of] += 1 } else { without[of] += 1 }
    }
    assert!(with_percentiles.iter().all(|count| *count > 10), "{with_percentiles:?} of {SOURCES:?}");
    assert!(without[2] > 10 && without[3] > 10, "windows of other than whole days: {without:?}");
}
