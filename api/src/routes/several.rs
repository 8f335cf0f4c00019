//! Several metrics at once.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use kelly_query::cache::lifetime;
use kelly_query::{Several, SeveralRequest};

use crate::answers::{Question, answer};
use crate::openapi::{NotModified, QueryProblems};
use crate::parameters::Parameters;
use crate::problem::Problem;
use crate::routes::question::{MetricQuestion, QUESTION_PARAMETERS, check_metric_name};
use crate::state::Shared;

/// Drill-down into several metrics
///
/// One answer a metric, each as the drill-down into that metric alone would give it, over one range. Names that the
/// catalogue does not have and of which nothing is kept are listed apart.
#[utoipa::path(
    get,
    path = "/api/v1/kelly/monitoring/metrics/detailed",
    tag = "metrics",
    operation_id = "metrics_detailed",
    params(
        ("metrics" = String, Query, description = "Names of metrics with commas between them, each once, 12 at most.", example = "ai_confidence,response_time"),
        ("timeframe" = inline(Option<kelly_query::Timeframe>), Query, description = "Length of time that ends now; 1h unless said. Not together with `from`.", example = "24h"),
        ("from" = Option<String>, Query, description = "First instant, included: RFC 3339 or milliseconds since 1970."),
        ("to" = Option<String>, Query, description = "End, excluded; now unless said. Needs `from`."),
        ("account_id" = Option<String>, Query, description = "Only this account.", max_length = 50),
        ("conversation_id" = Option<String>, Query, description = "Only this conversation.", max_length = 100),
        ("step" = Option<String>, Query, description = "Length of a point, as of the drill-down into one metric."),
        ("compare" = inline(Option<kelly_query::comparison::Compare>), Query, description = "`previous`: of each metric the same figures over as much time before."),
    ),
    responses(
        (status = 200, description = "The answers.", body = Several),
        NotModified,
        QueryProblems,
    )
)]
pub(crate) async fn detailed(
    State(shared): State<Shared>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let known = [&["metrics"], &QUESTION_PARAMETERS[..]].concat();
    let mut parameters = Parameters::read(&uri, &known);
    if !parameters.has("metrics") {
        let reason = "is missing; give the names of metrics with commas between them".to_owned();
        parameters.fault("metrics", reason);
    }
    let metric_names = parameters.parse("metrics", |text| {
        text.split(',').map(|name| check_metric_name(name).map(|()| name.to_owned())).collect()
    });
    let asked = MetricQuestion::read(&mut parameters)?;
    parameters.finish()?;

    let lifetime = lifetime(&asked.range, (shared.app.settings.clock)());
    let metric_names: Vec<String> = metric_names.unwrap_or_default();
    let request = SeveralRequest { metric_names, each: asked.about(String::new()) };
    let question = Question::Several(request.clone());
    let queries = Arc::clone(&shared.app.queries);
    let answer = answer(&shared, question, lifetime, async move { queries.several(request).await }).await?;
    Ok(answer.respond(&headers, (shared.app.settings.clock)()))
}
