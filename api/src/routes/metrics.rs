//! Metrics: the live figures and the drill-down into one of them.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use kelly_query::cache::{SHORT_LIFETIME, lifetime};
use kelly_query::{ExportRequest, Overview};
use kelly_schemas::catalogue::Definition;
use kelly_schemas::overview::OverviewFigure;
use serde::Serialize;
use utoipa::ToSchema;

use crate::answers::{Question, answer};
use crate::openapi::{NotModified, PlainProblems, PlainQueryProblems, QueryProblems};
use crate::parameters::Parameters;
use crate::problem::Problem;
use crate::routes::export::{export, export_format};
use crate::routes::grouping::{DrillDown, GROUPING_PARAMETERS, grouping};
use crate::routes::question::{MetricQuestion, QUESTION_PARAMETERS, read_metric_name};
use crate::state::Shared;

/// Live figures
///
/// Conversations, messages, confidence, safety, load, response time and cost at one glance. Each
/// field of the answer says how it is computed and over which window, and so does
/// `/api/v1/kelly/monitoring/catalogue`; days are UTC days. A figure without samples in its
/// window is null.
#[utoipa::path(
    get,
    path = "/api/v1/kelly/monitoring/metrics",
    tag = "metrics",
    operation_id = "metrics_overview",
    responses(
        (status = 200, description = "The figures.", body = Overview, example = json!({
            "conversations_active": 45, "conversations_total_today": 234, "messages_processed": 1567,
            "ai_confidence_avg": 0.85, "safety_score_avg": 0.96, "human_interventions": 3, "alert_count": 2,
            "system_load": 67.5, "response_time_avg": 145.2, "claude_requests_today": 892,
            "claude_cost_today": 12.45, "timestamp": "2024-09-11T15:30:45Z"
        })),
        NotModified,
        PlainQueryProblems,
    )
)]
pub(crate) async fn overview(
    State(shared): State<Shared>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    Parameters::read(&uri, &[]).finish()?;
    let queries = Arc::clone(&shared.app.queries);
    let ask = async move { queries.overview().await };
    let answer = answer(&shared, Question::Overview, SHORT_LIFETIME, ask).await?;
    Ok(answer.respond(&headers, (shared.app.settings.clock)()))
}

/// What Kelly knows of metrics, and how the live figures are made of them.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CatalogueAnswer {
    /// The metrics known by name, with the thresholds that are in force. Others work too: a gauge without a unit, averaged.
    metrics: Vec<Definition>,
    /// The figures of `/api/v1/kelly/monitoring/metrics`, in the order of that answer. All times are UTC.
    overview: Vec<OverviewFigure>,
}

/// Metric catalogue
///
/// The metrics Kelly knows by name (unit, kind, how rows become a point, which direction is worse, thresholds), and
/// the definition of every live figure: of which metric, what is computed, over which window.
#[utoipa::path(
    get,
    path = "/api/v1/kelly/monitoring/catalogue",
    tag = "metrics",
    operation_id = "metric_catalogue",
    responses(
        (status = 200, description = "The definitions.", body = CatalogueAnswer),
        PlainProblems,
    )
)]
pub(crate) async fn catalogue(
    State(shared): State<Shared>,
    uri: Uri,
) -> Result<Json<CatalogueAnswer>, Problem> {
    Parameters::read(&uri, &[]).finish()?;
    let catalogue = &shared.app.catalogue;
    let metrics = catalogue.definitions().cloned().collect();
    Ok(Json(CatalogueAnswer { metrics, overview: catalogue.overview().to_vec() }))
}

/// Drill-down into one metric
///
/// Current value, series, percentiles, thresholds and trend of one metric, over a timeframe that ends
/// now or between two instants. The answer says from which tier it comes, at which resolution, how
/// fresh it is and by how much its percentiles may be off. A range without samples answers with empty
/// lists and nulls, never zeros; a name never seen is such a range.
///
/// Equal questions share an answer for a second, from six hours on for five: `freshness.computed_at` and the headers
/// Age and Cache-Control say how old it is. With If-None-Match an answer that is known is not sent again.
///
/// With `group_by` the answer is by account or by conversation instead: the first groups in their order with their own
/// figures, percentiles and series, how many there are in all, and what the others add up to.
#[utoipa::path(
    get,
    path = "/api/v1/kelly/monitoring/metrics/detailed/{metric_type}",
    tag = "metrics",
    operation_id = "metric_detailed",
    params(
        ("metric_type" = String, Path, description = "Name of the metric, e.g. conversations, messages, ai_confidence, safety_score, response_time; letters, digits and `_.:/-` (`/` as %2F).", example = "ai_confidence", max_length = 100),
        ("timeframe" = inline(Option<kelly_query::Timeframe>), Query, description = "Length of time that ends now; 1h unless said. Not together with `from`.", example = "24h"),
        ("from" = Option<String>, Query, description = "First instant, included: RFC 3339 or milliseconds since 1970."),
        ("to" = Option<String>, Query, description = "End, excluded; now unless said. Needs `from`."),
        ("account_id" = Option<String>, Query, description = "Only this account.", max_length = 50),
        ("conversation_id" = Option<String>, Query, description = "Only this conversation. Not together with `group_by`.", max_length = 100),
        ("step" = Option<String>, Query, description = "Length of a point: 1s, 5s, 15s, 1m, 5m, 15m, 1h, 3h, 6h, 12h or 1d, at most 1440 points; what suits the range unless said. Steps below an hour are answered from minutes over any range, of an account or a conversation only while its samples are kept. Not together with `group_by`."),
        ("compare" = inline(Option<kelly_query::comparison::Compare>), Query, description = "`previous`: the same figures over as much time before, and its series to lay under this one; of groups what changed of each."),
        ("group_by" = inline(Option<kelly_query::groups::GroupBy>), Query, description = "By account or by conversation."),
        ("top" = Option<u32>, Query, description = "With `group_by`: groups shown at most; 10 unless said.", minimum = 1, maximum = 100),
        ("order_by" = inline(Option<kelly_query::groups::OrderBy>), Query, description = "With `group_by`: by what groups are ranked; the metric's own aggregate unless said. Conversations older than samples are kept have no percentiles."),
        ("order" = inline(Option<kelly_query::groups::Order>), Query, description = "With `group_by`: smallest (asc) or greatest (desc) first. Unless said, most samples and greatest sums first, and by any other figure the worst first, in the metric's own direction."),
        ("format" = Option<String>, Query, description = "csv, parquet, arrow (IPC stream) or jsonl for the points of the series as a file; with `group_by` for the groups, a row each without their series; json, which is the whole answer, unless said by this or by Accept. One series is exported without `compare`."),
    ),
    responses(
        (status = 200, description = "The drill-down; with `group_by` the groups.", content((DrillDown = "application/json", examples(("whole" = (summary = "One series", value = json!({
            "metric_name": "ai_confidence",
            "current_value": 0.85,
            "historical_data": [
                {"timestamp": "2024-09-11T15:00:00Z", "partial": false, "value": 0.83, "count": 61, "min": 0.41, "max": 0.99, "p50": 0.84, "p95": 0.95, "p99": 0.98},
                {"timestamp": "2024-09-11T15:05:00Z", "partial": true, "value": 0.87, "count": 58, "min": 0.52, "max": 0.99, "p50": 0.88, "p95": 0.96, "p99": 0.98}
            ],
            "percentile_data": {"p50": 0.82, "p95": 0.94, "p99": 0.98},
            "thresholds": {"warning": 0.6, "critical": 0.4},
            "trend_analysis": {
                "direction": "up", "percentage_change": 5.2, "is_concerning": false, "insufficient_data": false,
                "samples_needed": 5, "current": 0.85, "previous": 0.808, "current_samples": 119, "previous_samples": 240,
                "current_window": {"from": "2024-09-11T14:30:00Z", "to": "2024-09-11T15:30:00Z"},
                "previous_window": {"from": "2024-09-11T13:30:00Z", "to": "2024-09-11T14:30:00Z"}
            },
            "window": {"from": "2024-09-11T14:30:00Z", "to": "2024-09-11T15:30:00Z"},
            "resolution": {"seconds": 300, "label": "5m"},
            "tier": "minute",
            "freshness": {"newest_sample": "2024-09-11T15:29:58Z", "age_seconds": 1.4, "computed_at": "2024-09-11T15:29:59.400Z"},
            "sample_count": 119,
            "percentile_error_bound": 0.01,
            "definition": {"unit": "", "kind": "gauge", "aggregate": "mean", "bad_direction": "down", "description": "How sure the AI is of its replies."}
        }))), ("groups" = (summary = "group_by=account&top=1", value = json!({
            "metric_name": "response_time", "group_by": "account", "order_by": "mean", "order": "desc", "top": 1, "group_count": 212,
            "groups": [{
                "id": "account123", "rank": 1, "value": 812.5, "count": 40, "sum": 32500.0, "mean": 812.5, "min": 120.0, "max": 2900.0,
                "last": 640.0, "newest_sample": "2024-09-11T15:29:58Z", "percentiles": {"p50": 700.0, "p95": 2100.0, "p99": 2900.0},
                "share_of_count": 0.02, "share_of_sum": null,
                "series": [{"timestamp": "2024-09-10T00:00:00Z", "partial": false, "value": 790.0, "count": 25, "min": 120.0, "max": 2900.0}]
            }],
            "remainder": {"groups": 211, "count": 1950, "sum": 409500.0, "mean": 210.0, "share_of_count": 0.975, "share_of_sum": null},
            "unassigned": {"count": 10, "sum": 1500.0, "mean": 150.0, "share_of_count": 0.005, "share_of_sum": null},
            "total": {"value": 221.75, "count": 2000, "sum": 443500.0, "mean": 221.75, "min": 12.0, "max": 2900.0, "last": 640.0},
            "thresholds": {"warning": 2000.0, "critical": 5000.0},
            "definition": {"unit": "ms", "kind": "gauge", "aggregate": "mean", "bad_direction": "up", "description": "Time to answer."},
            "window": {"from": "2024-09-04T00:00:00Z", "to": "2024-09-12T00:00:00Z"},
            "resolution": {"seconds": 86400, "label": "1d"},
            "tier": "account_hour",
            "freshness": {"newest_sample": "2024-09-11T15:29:58Z", "age_seconds": 1.4, "computed_at": "2024-09-11T15:29:59.400Z"},
            "percentile_error_bound": 0.01, "notes": []
        }))))), (String = "text/csv"), (String = "application/vnd.apache.parquet"), (String = "application/vnd.apache.arrow.stream"), (String = "application/x-ndjson"))),
        NotModified,
        QueryProblems,
    )
)]
pub(crate) async fn detailed(
    State(shared): State<Shared>,
    metric_type: Result<Path<String>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let known = [&QUESTION_PARAMETERS[..], &GROUPING_PARAMETERS, &["format"]].concat();
    let mut parameters = Parameters::read(&uri, &known);
    let metric_name = read_metric_name(metric_type, &mut parameters);
    let asked = MetricQuestion::read(&mut parameters)?;
    let grouping = grouping(&mut parameters);
    if grouping.is_some() {
        if asked.conversation_id.is_some() {
            parameters.fault("conversation_id", "leaves one group; ask without `group_by`".to_owned());
        }
        if asked.step_seconds.is_some() {
            let reason = "is chosen by the range where there is `group_by`; ask without the one or the other";
            parameters.fault("step", reason.to_owned());
        }
    }
    let format = export_format(&mut parameters, &headers);
    if format.is_some() && grouping.is_none() && asked.compare.is_some() {
        let reason = "exports one series; ask without `compare`, for groups, or for JSON";
        parameters.fault("format", reason.to_owned());
    }
    // After this every fault has been told, so what stands in for a wrong parameter is never asked.
    parameters.finish()?;

    if let Some(format) = format {
        let (name, request) = match grouping {
            Some(grouping) => {
                let name = format!("{metric_name}-by-{}", grouping.by.name());
                (name, ExportRequest::Groups(grouping.of(metric_name, asked)))
            }
            None => (metric_name.clone(), ExportRequest::Series(asked.about(metric_name))),
        };
        return export(&shared, request, format, &name).await;
    }
    let queries = Arc::clone(&shared.app.queries);
    let now = (shared.app.settings.clock)();
    let lifetime = lifetime(&asked.range, now);
    let answer = if let Some(grouping) = grouping {
        let request = grouping.of(metric_name, asked);
        let question = Question::Groups(request.clone());
        let ask =
            async move { queries.groups(request).await.map(|groups| DrillDown::Groups(Box::new(groups))) };
        answer(&shared, question, lifetime, ask).await?
    } else {
        let request = asked.about(metric_name);
        let question = Question::Detailed(request.clone());
        let ask =
            async move { queries.detailed(request).await.map(|whole| DrillDown::Whole(Box::new(whole))) };
        answer(&shared, question, lifetime, ask).await?
    };
    Ok(answer.respond(&headers, (shared.app.settings.clock)()))
}
