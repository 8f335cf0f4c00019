//! Metrics: the live figures and the drill-down into one of them.

use axum::Json;
use axum::extract::State;
use kelly_query::{ExportRequest, Overview};
use kelly_schemas::catalogue::Definition;
use kelly_schemas::overview::OverviewFigure;
use serde::Serialize;
use utoipa::ToSchema;

use crate::answers::Question;
use crate::client::{Answered, Client};
use crate::openapi::{NotModified, PlainProblems, PlainQueryProblems, QueryProblems, examples};
use crate::parameters::{AnswerFormat, InPath, MetricName, Parameters, parameters, wrong_parameter};
use crate::routes::grouping::{DrillDown, GroupingParameters};
use crate::routes::question::MetricQuestion;
use crate::state::HandlerState;

/// Live figures
///
/// Conversations, messages, confidence, safety, load, response time and cost at one glance. Each
/// field of the answer says how it is computed and over which window, and so does
/// `/api/v1/kelly/monitoring/catalogue`; days are UTC days. A figure without samples in its
/// window is null.
#[utoipa::path(
    get, path = "/api/v1/kelly/monitoring/metrics", tag = "metrics", operation_id = "metrics_overview",
    responses(
        (status = 200, description = "The figures.", body = Overview, example = json!(examples::overview())),
        NotModified,
        PlainQueryProblems,
    )
)]
pub(crate) async fn overview(client: Client, _: Parameters<()>) -> Answered {
    client.answer(Question::Overview(client.accounts.clone())).await
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
    get, path = "/api/v1/kelly/monitoring/catalogue", tag = "metrics", operation_id = "metric_catalogue",
    responses((status = 200, description = "The definitions.", body = CatalogueAnswer, links(
            ("drill_down" = (
                operation_id = "metric_detailed",
                parameters(("metric_type" = "$response.body#/metrics/0/name")),
                description = "One of the metrics."
            ))
        )), PlainProblems)
)]
pub(crate) async fn catalogue(
    State(shared): State<HandlerState>,
    _: Parameters<()>,
) -> Json<CatalogueAnswer> {
    let catalogue = &shared.app.catalogue;
    let metrics = catalogue.definitions().cloned().collect();
    Json(CatalogueAnswer { metrics, overview: catalogue.overview().to_vec() })
}

parameters! {
    /// Of the drill-down into one metric.
    pub(crate) struct DetailedParameters {
        /// Name of the metric, e.g. conversations, messages, ai_confidence, safety_score, response_time; letters, digits
        /// and `_.:/-` (`/` as %2F).
        metric_type: InPath<MetricName>,
        question: MetricQuestion,
        grouping: GroupingParameters,
        /// csv, parquet, arrow (IPC stream) or jsonl for the points of the series as a file; with `group_by` for the
        /// groups, a row each without their series; json, which is the whole answer, unless said by this or by Accept.
        /// One series is exported without `compare`.
        format: Option<AnswerFormat>,
    }
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
    get, path = "/api/v1/kelly/monitoring/metrics/detailed/{metric_type}", tag = "metrics",
    operation_id = "metric_detailed", params(DetailedParameters),
    responses(
        (status = 200, description = "The drill-down; with `group_by` the groups.", headers(
            ("kelly-kept-from" = String, description = "Only with a file, where the range that is asked for begins before what the store keeps: since when it keeps everything. Earlier rows may be missing."),
        ), content(
            (DrillDown = "application/json", examples(
                ("whole" = (summary = "One series", value = json!(examples::one_series()))),
                ("groups" = (summary = "group_by=account&top=1", value = json!(examples::groups()))),
            )),
            (String = "text/csv"), (String = "application/vnd.apache.parquet"),
            (String = "application/vnd.apache.arrow.stream"), (String = "application/x-ndjson"),
        )),
        NotModified,
        QueryProblems,
    )
)]
pub(crate) async fn detailed(client: Client, Parameters(asked): Parameters<DetailedParameters>) -> Answered {
    let DetailedParameters { metric_type: InPath(MetricName(metric_name)), question, grouping, format } =
        asked;
    let accounts = &client.accounts;
    let groups = grouping.question(&metric_name, &question, accounts);
    let format = match format {
        Some(AnswerFormat(format)) => format,
        None => client.accepted_format(),
    };
    match (format, groups) {
        (None, None) => client.answer(Question::Detailed(question.about(metric_name, accounts))).await,
        (None, Some(groups)) => client.answer(Question::Groups(groups)).await,
        (Some(_), None) if question.compare.is_some() => Err(wrong_parameter(
            "format",
            "exports one series; ask without `compare`, for groups, or for JSON",
        )),
        (Some(format), None) => {
            let name = metric_name.clone();
            let series = ExportRequest::Series(question.about(metric_name, accounts));
            client.export(series, format, &name).await
        }
        (Some(format), Some(groups)) => {
            let name = format!("{metric_name}-by-{}", groups.group_by.name());
            client.export(ExportRequest::Groups(groups), format, &name).await
        }
    }
}
