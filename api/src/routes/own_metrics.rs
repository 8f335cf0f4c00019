//! Kelly's own metrics, for Prometheus.

use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};

use crate::openapi::{MetricsText, PlainProblems};
use crate::parameters::Parameters;
use crate::ports::MetricsForm;
use crate::state::HandlerState;

/// Kelly's own metrics
///
/// What Prometheus scrapes: OpenMetrics 1.0, with trace ids as exemplars of the response times. Who accepts only `text/plain` gets
/// Prometheus' older text format. docs/metrics-of-kelly.md lists every metric.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "health",
    operation_id = "own_metrics",
    responses(MetricsText, PlainProblems)
)]
pub(crate) async fn own_metrics(
    State(shared): State<HandlerState>,
    headers: HeaderMap,
    _: Parameters<()>,
) -> Response {
    let accept = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let form = chosen(accept);
    let text = shared.app.own_metrics.metrics(form).await;
    let kind = HeaderValue::from_static(form.media_type());
    ([(CONTENT_TYPE, kind), (VARY, HeaderValue::from_static("accept"))], text).into_response()
}

impl MetricsForm {
    /// What `Content-Type` says of it.
    pub(crate) const fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// OpenMetrics, unless the client likes plain text better. What it accepts otherwise is not looked at: it gets OpenMetrics too.
fn chosen<'a>(accept: impl Iterator<Item = &'a str>) -> MetricsForm {
    let (mut open_metrics, mut prometheus) = (0.0_f32, 0.0_f32);
    for range in accept.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let quality =
            parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |text| text.parse().ok());
        let quality: f32 = quality.unwrap_or(0.0);
        match name.as_str() {
            "application/openmetrics-text" | "application/*" | "*/*" => {
                open_metrics = open_metrics.max(quality)
            }
            "text/plain" | "text/*" => prometheus = prometheus.max(quality),
            _ => {}
        }
    }
    if prometheus > open_metrics { MetricsForm::Prometheus } else { MetricsForm::OpenMetrics }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_for_those_who_like_it_better() {
        use MetricsForm::{OpenMetrics, Prometheus};
        for (accept, expected) in [
            (&[][..], OpenMetrics),
            (&["*/*"], OpenMetrics),
            (&["text/plain"], Prometheus),
            (&["text/plain;version=0.0.4"], Prometheus),
            (&["Text/Plain; version=0.0.4; q=0.9, */*;q=0.1"], Prometheus),
            (&["text/plain", "application/openmetrics-text"], OpenMetrics),
            (&["text/plain;q=0.5,application/openmetrics-text;version=1.0.0;q=0.4"], Prometheus),
            (&["application/json"], OpenMetrics),
            (&["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"], OpenMetrics),
            (&["text/plain;q=x"], OpenMetrics),
            // What Prometheus sends.
            (
                &[
                    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                   text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                ],
                OpenMetrics,
            ),
        ] {
            assert_eq!(chosen(accept.iter().copied()), expected, "{accept:?}");
        }
    }
}
