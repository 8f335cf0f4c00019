//! Errors that no handler makes: routing, panics, the host check, bounds.

use std::collections::BTreeMap;

use axum::body::Body;
use kelly_api::{Code, Limits};

use crate::support::{Api, Fate, Setup, TRACE_ID};

#[tokio::test]
async fn an_unknown_route_is_a_problem() {
    let api = Api::new(Setup::default());
    let answer = api.get("/no/such/%3Cscript%3E").await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.code(), "route_not_found");
    insta::assert_json_snapshot!("route_not_found", answer.json());
    assert_eq!(api.get("/api/docs/no-such-file").await.code(), "route_not_found");
}

#[tokio::test]
async fn a_near_miss_names_the_route_and_nothing_of_the_path() {
    let api = Api::new(Setup::default());
    for (path, expected) in [
        ("/api/v1/kelly/monitoring/metrics/", "/api/v1/kelly/monitoring/metrics"),
        ("/api/v1/kelly/monitoring/activity/feeds", "/api/v1/kelly/monitoring/activity/feed"),
        ("/metrics/detailed/secret", "/api/v1/kelly/monitoring/metrics/detailed/{metric_type}"),
        ("/livez/", "/livez"),
        ("/api/openapi.jso", "/api/openapi.json"),
    ] {
        let answer = api.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (404, "route_not_found"), "{path}");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(&format!("did you mean {expected}?")), "{path}: {detail}");
        assert!(!detail.contains("secret"), "{detail}");
    }
}

#[tokio::test]
async fn a_wrong_method_says_which_are_right() {
    let api = Api::new(Setup::default());
    let answer = api.send("DELETE", "/api/v1/kelly/monitoring/metrics", &[], Body::empty()).await;
    assert_eq!(answer.status, 405);
    assert_eq!(answer.header("allow"), "GET,HEAD");
    assert_eq!(answer.code(), "method_not_allowed");
    insta::assert_json_snapshot!("method_not_allowed", answer.json());
    let own = api.send(&"BREW".repeat(50), "/livez", &[], Body::empty()).await.json();
    assert_eq!(own["detail"], format!("This route does not take {}; use GET, HEAD.", "BREW".repeat(10)));
    let answer = api.get("/api/v1/kelly/monitoring/metrics/record").await;
    assert_eq!(answer.header("allow"), "POST");
}

#[tokio::test]
async fn a_panic_is_a_problem_without_its_words() {
    let api = Api::new(Setup { queries: Fate::Panic, ..Setup::default() });
    let answer = api.get("/api/v1/kelly/monitoring/metrics").await;
    assert_eq!(answer.status, 500);
    assert_eq!(answer.code(), "internal");
    insta::assert_json_snapshot!("internal", answer.json());
}

#[tokio::test]
async fn foreign_host_names_are_refused_everywhere() {
    let api = Api::new(Setup::default());
    for path in ["/", "/livez", "/api/v1/kelly/monitoring/metrics", "/no/such"] {
        let answer = api.send("GET", path, &[("host", "evil.example")], Body::empty()).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (403, "host_not_allowed"), "{path}");
    }
}

#[tokio::test]
async fn the_trace_id_is_the_callers_or_a_new_one() {
    let api = Api::new(Setup::default());
    assert_eq!(api.get("/livez").await.header("x-trace-id"), TRACE_ID);
    let broken = [("traceparent", "00-xyz")];
    // Two `traceparent` headers: the first is the valid one of the client.
    assert_eq!(api.send("GET", "/livez", &broken, Body::empty()).await.header("x-trace-id"), TRACE_ID);
}

#[tokio::test]
async fn beyond_the_bound_on_requests_only_what_is_open_answers() {
    let limits = Limits { max_requests: 0, ..Limits::default() };
    let api = Api::new(Setup { limits, ..Setup::default() });
    let answer = api.get("/api/v1/kelly/monitoring/metrics").await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, "server_busy"));
    assert_eq!(answer.header("retry-after"), "1");
    for open in ["/livez", "/readyz", "/"] {
        assert_eq!(api.get(open).await.status, 200, "{open}");
    }
    let limits = Limits { max_open_requests: 0, ..Limits::default() };
    let api = Api::new(Setup { limits, ..Setup::default() });
    assert_eq!(api.get("/readyz").await.code(), "server_busy");
    assert_eq!(api.get("/livez").await.status, 200);
}

#[tokio::test]
async fn every_answer_has_the_common_headers() {
    let api = Api::new(Setup::default());
    for path in ["/", "/livez", "/no/such", "/api/openapi.json", "/api/docs/"] {
        let answer = api.get(path).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("x-frame-options"), "DENY", "{path}");
        assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin", "{path}");
        assert_eq!(answer.header("x-trace-id"), TRACE_ID, "{path}");
    }
}

#[tokio::test]
async fn requests_are_observed_by_route_not_by_path() {
    let api = Api::new(Setup { queries: Fate::Panic, ..Setup::default() });
    api.get("/api/v1/kelly/monitoring/metrics/detailed/secret?timeframe=1h").await;
    api.get("/livez").await;
    api.get("/no/such").await;
    api.send("BREW", "/livez", &[], Body::empty()).await;
    api.send("GET", "/livez", &[("host", "evil.example")], Body::empty()).await;
    let mut counts = BTreeMap::<_, u64>::new();
    for sample in api.latencies.take().samples {
        *counts.entry(sample.class).or_default() += 1;
    }
    let counts: Vec<String> = counts
        .into_iter()
        .map(|(class, count)| format!("{} {} {}xx {count}", class.method, class.route, class.status_class))
        .collect();
    assert_eq!(
        counts,
        [
            "GET /api/v1/kelly/monitoring/metrics/detailed/{metric_type} 5xx 1",
            "GET /livez 2xx 1",
            "OTHER /livez 4xx 1",
            "GET unmatched 4xx 2",
        ]
    );
}

#[tokio::test]
async fn the_table_of_codes_is_served() {
    let api = Api::new(Setup::default());
    let table = api.get("/api/problems").await;
    insta::assert_json_snapshot!("codes", table.json());
    for (index, code) in Code::ALL.iter().enumerate() {
        let one = api.get(&format!("/api/problems/{}", code.name())).await;
        assert_eq!(one.json(), table.json()[index]);
    }
    assert_eq!(api.get("/api/problems/no_such").await.code(), "not_found");
}
