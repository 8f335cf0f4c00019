//! Traces: a span a request reaches a collector, and a collector that is away or does not answer holds nobody up.

use std::time::{Duration, Instant};

use kelly_harness::process::free_address;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use reqwest::Method;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::collector::{Collector, attribute, hex};
use crate::kelly_process::{Kelly, PATIENCE, Start};

const BASE: &str = "/api/v1/kelly/monitoring";
const PARENT: &str = "00f067aa0ba902b7";

async fn up(data: &std::path::Path, environment: &[(&str, &str)]) -> Kelly {
    let quiet = [("KELLY_MONITORING_ENABLED", "false")];
    let environment: Vec<(&str, &str)> = quiet.iter().chain(environment).copied().collect();
    Kelly::start(Start { arguments: &["up"], environment: &environment, data }).await
}

/// Asks with this `traceparent`; gives the status, the trace id in the header and the body.
async fn ask(kelly: &Kelly, path: &str, traceparent: Option<&str>) -> (u16, String, Value) {
    let mut request = kelly.request(Method::GET, path);
    if let Some(traceparent) = traceparent {
        request = request.header("traceparent", traceparent);
    }
    let answer = request.send().await.expect("an answer");
    let trace = answer.headers()["x-trace-id"].to_str().expect("a text").to_owned();
    (answer.status().as_u16(), trace, answer.json().await.unwrap_or_default())
}

/// What became of spans, as Kelly's own metrics tell.
async fn outcome(kelly: &Kelly, outcome: &str) -> u64 {
    let metrics = kelly.text("/metrics").await;
    let start = format!("kelly_trace_spans_total{{outcome=\"{outcome}\"}} ");
    let value = metrics.lines().find_map(|line| line.strip_prefix(&start)).expect("the metric is there");
    value.parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_span_of_a_request_has_the_trace_id_that_its_answer_names() {
    let directory = tempfile::tempdir().expect("a directory");
    let collector = Collector::start("127.0.0.1:0").await;
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=of%20the%20collector"),
    ];
    let kelly = up(directory.path(), &environment).await;

    // One that the caller does not record comes first, so that it would be there by the end.
    let unsampled = "11111111111111111111111111111111";
    ask(&kelly, "/livez", Some(&format!("00-{unsampled}-{PARENT}-00"))).await;
    let sampled = "22222222222222222222222222222222";
    let path = format!("{BASE}/metrics/detailed/secret_metric?timeframe=never");
    let (status, trace, problem) = ask(&kelly, &path, Some(&format!("00-{sampled}-{PARENT}-01"))).await;
    assert_eq!((status, trace.as_str()), (400, sampled));
    assert_eq!(problem["trace_id"], sampled);
    let span = collector.span(sampled).await;
    assert_eq!(hex(&span.parent_span_id), PARENT);
    assert_eq!((span.kind(), span.span_id.len()), (SpanKind::Server, 8));
    assert_eq!(span.name, format!("GET {BASE}/metrics/detailed/{{metric_type}}"));
    assert_eq!(attribute(&span, "http.response.status_code").as_deref(), Some("400"));
    assert_eq!(attribute(&span, "kelly.problem.code").as_deref(), Some("invalid_parameter"));
    assert!(span.status.is_none() && span.end_time_unix_nano > span.start_time_unix_nano);

    // Without a caller's trace, the one that the problem names is begun.
    let (status, trace, problem) = ask(&kelly, &format!("{BASE}/no-such"), None).await;
    assert_eq!((status, &problem["trace_id"]), (404, &Value::from(trace.clone())));
    let span = collector.span(&trace).await;
    assert!(span.parent_span_id.is_empty());
    assert_eq!(span.name, "GET unmatched");
    assert_eq!(collector.resource("service.name").as_deref(), Some("kelly"));

    // What waits when Kelly is told to stop is sent.
    let (_, last, _) = ask(&kelly, &format!("{BASE}/metrics"), None).await;
    assert_eq!(kelly.terminate(), Some(0));
    collector.span(&last).await;
    assert!(collector.spans().iter().all(|span| hex(&span.trace_id) != unsampled));
    for post in collector.posts() {
        let head = post.head.to_ascii_lowercase();
        assert!(head.starts_with("post /v1/traces http/1.1"), "{head}");
        assert!(
            head.contains("content-type: application/x-protobuf")
                && head.contains("api-key: of the collector")
        );
        // Nothing that a client made up but the ids of the trace.
        let text = String::from_utf8_lossy(&post.body);
        for word in ["secret_metric", "never", "no-such", "127.0.0.1"] {
            assert!(!text.contains(word), "{word} was exported");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_away_holds_nobody_up_and_is_found_when_it_comes() {
    let directory = tempfile::tempdir().expect("a directory");
    let address = free_address();
    let endpoint = format!("http://{address}");
    let kelly = up(directory.path(), &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]).await;
    let begun = Instant::now();
    while outcome(&kelly, "failed").await == 0 {
        assert_eq!(ask(&kelly, "/livez", None).await.0, 200);
        assert!(begun.elapsed() < PATIENCE, "no span was given up");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(kelly.has_logged("does not take spans"));
    let collector = Collector::start(&address).await;
    let (_, trace, _) = ask(&kelly, "/livez", None).await;
    collector.span(&trace).await;
    while outcome(&kelly, "sent").await == 0 {
        assert!(begun.elapsed() < 2 * PATIENCE, "no span was counted as sent");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(kelly.terminate(), Some(0));
}

/// It takes connections and never answers: the end of Kelly does not wait for it either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_does_not_answer_holds_nobody_up() {
    let directory = tempfile::tempdir().expect("a directory");
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}", silent.local_addr().expect("it is bound"));
    let kelly = up(directory.path(), &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]).await;
    let (_connection, _) = silent.accept().await.expect("Kelly sends a span");
    for _ in 0..100 {
        assert_eq!(ask(&kelly, "/livez", None).await.0, 200);
    }
    assert_eq!(kelly.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_trace_is_begun_at_a_ratio_of_nothing_but_a_callers_is_followed() {
    let directory = tempfile::tempdir().expect("a directory");
    let collector = Collector::start("127.0.0.1:0").await;
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()), ("KELLY_TRACES_RATIO", "0")];
    let kelly = up(directory.path(), &environment).await;
    ask(&kelly, "/livez", None).await;
    let sampled = "33333333333333333333333333333333";
    ask(&kelly, "/livez", Some(&format!("00-{sampled}-{PARENT}-01"))).await;
    collector.span(sampled).await;
    assert_eq!(kelly.terminate(), Some(0));
    assert_eq!(collector.spans().len(), 1);
}
