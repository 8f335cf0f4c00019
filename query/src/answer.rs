//! From the store's rows to the answer about a metric. Pure.

use chrono::{DateTime, Utc};
use kelly_schemas::catalogue::{self, Definition};
use kelly_sql::queries::{Series, SeriesInterval};

use crate::detailed::{
    Detailed, DetailedRequest, Freshness, MetricDefinition, Point, Thresholds, TrendAnalysis,
};
use crate::percentiles::Percentiles;
use crate::plan::{self, Plan};
use crate::trend::{self, Comparison};
use crate::window::Resolution;

/// Puts what the store found into the answer.
pub(crate) fn answer(
    request: &DetailedRequest,
    plan: &Plan,
    definition: &Definition,
    series: &Series,
    now: DateTime<Utc>,
) -> Detailed {
    let thresholds = Thresholds { warning: definition.warning, critical: definition.critical };
    let newest_sample = series.window.and_then(|window| instant(window.newest_ms));
    let points: Vec<Point> = series.points.iter().filter_map(|interval| point(interval, plan, now)).collect();
    Detailed {
        metric_name: request.metric_name.clone(),
        current_value: current_value(&points, definition.aggregate),
        historical_data: points,
        percentile_data: series.window.as_ref().map(percentiles).unwrap_or_default(),
        thresholds,
        trend_analysis: trend_analysis(plan, definition, &thresholds, series),
        account_id: request.account_id.clone(),
        conversation_id: request.conversation_id.clone(),
        window: plan.window,
        resolution: Resolution::of_seconds(plan.step_seconds),
        tier: plan.tier,
        freshness: Freshness::of(newest_sample, now),
        comparison: None,
        window_kept: plan.window_kept,
        notes: Vec::new(),
        sample_count: series.window.map_or(0, |window| window.count),
        percentile_error_bound: plan::percentile_error_bound(plan),
        percentile_least_magnitude: plan::percentile_least_magnitude(plan),
        definition: MetricDefinition::from(definition),
    }
}

impl From<&Definition> for MetricDefinition {
    fn from(definition: &Definition) -> Self {
        Self {
            unit: definition.unit.clone(),
            kind: definition.kind.as_str().to_owned(),
            aggregate: match definition.aggregate {
                catalogue::Aggregate::Mean => "mean",
                catalogue::Aggregate::Sum => "sum",
                catalogue::Aggregate::Last => "last",
                catalogue::Aggregate::Max => "max",
            }
            .to_owned(),
            bad_direction: match definition.bad {
                catalogue::Bad::Up => "up",
                catalogue::Bad::Down => "down",
                catalogue::Bad::Neither => "neither",
            }
            .to_owned(),
            description: definition.description.clone(),
        }
    }
}

fn trend_analysis(
    plan: &Plan,
    definition: &Definition,
    thresholds: &Thresholds,
    series: &Series,
) -> TrendAnalysis {
    let previous = series.previous.filter(|_| plan.previous_is_kept);
    let comparison = Comparison {
        whole: series.window.map(|window| window.value),
        whole_samples: series.window.map_or(0, |window| window.count),
        current: series.compared.map(|compared| compared.value),
        previous: previous.map(|window| window.value),
        current_samples: series.compared.map_or(0, |compared| compared.count),
        previous_samples: previous.map_or(0, |window| window.count),
        percentage_change: series.percentage_change,
    };
    let verdict = trend::judge(&comparison, definition.bad, thresholds);
    TrendAnalysis {
        direction: verdict.direction,
        percentage_change: verdict.percentage_change,
        is_concerning: verdict.is_concerning,
        insufficient_data: verdict.insufficient_data,
        samples_needed: trend::SAMPLES_NEEDED,
        current: comparison.current,
        previous: comparison.previous,
        current_samples: comparison.current_samples,
        previous_samples: comparison.previous_samples,
        current_window: plan.compared,
        previous_window: plan.previous,
    }
}

fn current_value(points: &[Point], aggregate: catalogue::Aggregate) -> Option<f64> {
    let whole = match aggregate {
        catalogue::Aggregate::Sum => points.iter().rfind(|point| !point.partial),
        catalogue::Aggregate::Mean | catalogue::Aggregate::Last | catalogue::Aggregate::Max => None,
    };
    whole.or(points.last()).map(|point| point.value)
}

fn point(interval: &SeriesInterval, plan: &Plan, now: DateTime<Utc>) -> Option<Point> {
    let Percentiles { p50, p95, p99 } = percentiles(interval);
    Some(Point {
        timestamp: instant(interval.start_ms)?,
        partial: plan::is_partial(interval.start_ms, plan, now),
        value: interval.value,
        count: interval.count,
        min: interval.min,
        max: interval.max,
        p50,
        p95,
        p99,
    })
}

fn percentiles(interval: &SeriesInterval) -> Percentiles {
    Percentiles::of(interval.percentiles)
}

/// An instant of the store, whose times all lie between 1970 and 2106.
fn instant(milliseconds: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(milliseconds)
}

#[cfg(test)]
mod tests {
    use kelly_auth::Accounts;
    use kelly_schemas::Catalogue;
    use kelly_sql::queries::Compared;

    use super::*;
    use crate::range::RangeRequest;
    use crate::retention::Retention;
    use crate::timeframe::Timeframe;

    fn asked(account_id: Option<&str>, series: &Series) -> Detailed {
        asked_of("ai_confidence", account_id, series)
    }

    fn asked_of(metric: &str, account_id: Option<&str>, series: &Series) -> Detailed {
        let now = DateTime::parse_from_rfc3339("2026-03-10T12:34:56.789Z").unwrap().to_utc();
        let request = DetailedRequest {
            metric_name: metric.to_owned(),
            range: RangeRequest::Last(Timeframe::OneHour),
            accounts: Accounts::All,
            account_id: account_id.map(str::to_owned),
            conversation_id: None,
            step_seconds: None,
            compare: None,
        };
        let retention = Retention::of(72, 90);
        let asked = request.asked(&request.whose().unwrap());
        let plan = plan::plan(&asked, &retention, now).unwrap();
        answer(&request, &plan, &Catalogue::builtin().get(metric), series, now)
    }

    fn interval(start_ms: i64, count: u64, value: f64) -> SeriesInterval {
        SeriesInterval {
            start_ms,
            count,
            value,
            min: 0.25,
            max: 1.0,
            percentiles: Some([0.5, 0.75, 0.875]),
            newest_ms: 1_773_146_090_500,
        }
    }

    #[test]
    fn the_answer_has_the_fields_of_the_specification() {
        let series = Series {
            points: vec![interval(1_773_145_980_000, 60, 0.5), interval(1_773_146_040_000, 6, 0.625)],
            window: Some(interval(0, 66, 0.5)),
            compared: Some(Compared { count: 60, value: 0.5 }),
            previous: Some(interval(0, 70, 0.8)),
            percentage_change: Some(-37.5),
        };
        insta::assert_json_snapshot!(asked(None, &series));
    }

    #[test]
    fn an_empty_answer_is_of_nulls() {
        insta::assert_json_snapshot!(asked(Some("acme"), &Series::default()));
    }

    #[test]
    fn a_sum_is_given_for_the_newest_whole_interval() {
        // The window is 11:34 to 12:35; it is 12:34:56.
        let minute = |minute: i64, value| interval(1_773_144_000_000 + minute * 60_000, 6, value);
        let full = [minute(32, 5.0), minute(33, 6.0), minute(34, 1.0)];
        for (metric, points, expected) in [
            ("messages", &full[..], Some(6.0)),
            ("messages", &full[2..], Some(1.0)),
            ("messages", &[], None),
            ("ai_confidence", &full[..], Some(1.0)),
        ] {
            let series = Series { points: points.to_vec(), ..Series::default() };
            let answer = asked_of(metric, None, &series);
            assert_eq!(answer.current_value, expected, "{metric} {}", points.len());
        }
        let series = Series { points: full.to_vec(), ..Series::default() };
        let partial: Vec<bool> =
            asked(None, &series).historical_data.iter().map(|point| point.partial).collect();
        assert_eq!(partial, [false, false, true]);
    }

    #[test]
    fn a_clock_that_runs_ahead_makes_no_negative_age() {
        let future = SeriesInterval { newest_ms: 1_773_149_999_000, ..interval(0, 1, 1.0) };
        let series = Series { window: Some(future), ..Series::default() };
        assert_eq!(asked(None, &series).freshness.age_seconds, Some(0.0));
    }
}
