//! Several metrics at once.

use kelly_query::{Several, SeveralRequest};

use crate::answers::Question;
use crate::client::{Answered, Client};
use crate::openapi::{NotModified, QueryProblems};
use crate::parameters::{MetricNames, Parameters, Required, parameters};
use crate::routes::question::MetricQuestion;

parameters! {
    /// Of the drill-down into several metrics.
    pub(crate) struct SeveralParameters {
        /// Names of metrics with commas between them, each once, 12 at most.
        metrics: Required<MetricNames>,
        question: MetricQuestion,
    }
}

/// Drill-down into several metrics
///
/// One answer a metric, each as the drill-down into that metric alone would give it, over one range. Names that the
/// catalogue does not have and of which nothing is kept are listed apart.
#[utoipa::path(
    get, path = "/api/v1/kelly/monitoring/metrics/detailed", tag = "metrics",
    operation_id = "metrics_detailed", params(SeveralParameters),
    responses((status = 200, description = "The answers.", body = Several), NotModified, QueryProblems)
)]
pub(crate) async fn detailed(client: Client, Parameters(asked): Parameters<SeveralParameters>) -> Answered {
    let Required(MetricNames(metric_names)) = asked.metrics;
    let request =
        SeveralRequest { metric_names, each: asked.question.about(String::new(), &client.accounts) };
    client.answer(Question::Several(request)).await
}
