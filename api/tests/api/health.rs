//! Health, readiness, liveness.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use kelly_api::{Limits, PartStatus};
use serde_json::json;
use tower::ServiceExt;

use crate::support::{Api, Setup};

const HEALTH: &str = "/api/v1/kelly/monitoring/health";

#[tokio::test]
async fn the_report_names_every_part() {
    let api = Api::new(Setup::default());
    let answer = api.get(HEALTH).await;
    assert_eq!(answer.status, 200);
    insta::assert_json_snapshot!("health", answer.json());
}

#[tokio::test]
async fn the_worst_required_part_decides() {
    use PartStatus::{Degraded, Down, Healthy, Starting};
    let cases = [
        ((Healthy, true), (Healthy, true), "healthy", 200, 200),
        ((Degraded, true), (Healthy, true), "degraded", 200, 200),
        ((Down, false), (Healthy, true), "degraded", 200, 200),
        ((Down, true), (Healthy, true), "unhealthy", 503, 503),
        ((Healthy, true), (Starting, true), "unhealthy", 503, 503),
    ];
    for (first, second, overall, status, ready) in cases {
        let api = Api::new(Setup { parts: vec![first, second], ..Setup::default() });
        let answer = api.get(HEALTH).await;
        assert_eq!(answer.json()["status"], overall);
        assert_eq!(answer.status.as_u16(), status, "{overall}");
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(api.get("/readyz").await.status.as_u16(), ready, "{overall}");
        assert_eq!(api.get("/livez").await.status, 200);
    }
}

#[tokio::test]
async fn not_ready_names_what_is_missing() {
    let parts = vec![(PartStatus::Healthy, true), (PartStatus::Starting, true)];
    let api = Api::new(Setup { parts, ..Setup::default() });
    let answer = api.get("/readyz").await;
    assert_eq!(answer.code(), "not_ready");
    insta::assert_json_snapshot!("not_ready", answer.json());
}

#[tokio::test]
async fn parts_that_do_not_answer_are_down() {
    let limits = Limits { health_timeout: Duration::from_millis(1), ..Limits::default() };
    let api = Api::new(Setup { health_answers: false, limits, ..Setup::default() });
    let answer = api.get(HEALTH).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["parts"][0]["name"], "health");
    assert_eq!(api.get("/readyz").await.code(), "not_ready");
}

#[tokio::test]
async fn what_the_parts_said_serves_whoever_asks_for_a_while() {
    let api = Api::new(Setup::default());
    let looks = || api.health.looks.load(Ordering::Relaxed);
    let answers = tokio::join!(api.get("/readyz"), api.get("/readyz"), api.get(HEALTH), api.get("/readyz"));
    assert_eq!(
        (answers.0.status, answers.2.status, looks()),
        (200.try_into().unwrap(), 200.try_into().unwrap(), 1)
    );
    api.get("/readyz").await;
    assert_eq!(looks(), 1);
    let limits = Limits { health_serves: Duration::ZERO, ..Limits::default() };
    let api = Api::new(Setup { limits, ..Setup::default() });
    api.get("/readyz").await;
    api.get("/readyz").await;
    assert_eq!(api.health.looks.load(Ordering::Relaxed), 2);
}

/// Whoever breaks off does not make the parts be asked again and again.
#[tokio::test]
async fn a_look_goes_on_when_whoever_asked_goes_away() {
    let api = Api::new(Setup { health_answers: false, ..Setup::default() });
    for _ in 0..10 {
        let asked = api
            .router()
            .oneshot(Request::get("/readyz").header("host", "localhost").body(Body::empty()).unwrap());
        assert!(tokio::time::timeout(Duration::from_millis(1), asked).await.is_err());
    }
    assert_eq!(api.health.looks.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn metrics_of_kelly_come_in_the_form_that_is_asked_for() {
    let api = Api::new(Setup::default());
    for (accept, kind, body) in [
        (None, "application/openmetrics-text; version=1.0.0; charset=utf-8", "# OpenMetrics\n"),
        (Some("text/plain"), "text/plain; version=0.0.4; charset=utf-8", "# Prometheus\n"),
    ] {
        let headers: Vec<(&str, &str)> = accept.map(|accept| ("accept", accept)).into_iter().collect();
        let answer = api.send("GET", "/metrics", &headers, Body::empty()).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, kind));
        assert_eq!((answer.body.as_ref(), answer.header("vary")), (body.as_bytes(), "accept"));
    }
}

#[tokio::test]
async fn a_log_level_is_changed_for_a_while_and_reset() {
    const LEVELS: &str = "/api/v1/kelly/log-levels";
    let api = Api::new(Setup::default());
    let ask = async |method: &str, path: &str| {
        api.send(method, &format!("{LEVELS}{path}"), &[], Body::empty()).await
    };
    assert_eq!(ask("GET", "").await.json(), json!({"configured": "info", "changed": []}));
    // Ten minutes where nobody says how long.
    let answer = ask("PUT", "/api?level=debug").await;
    let changed = json!([{"component": "api", "level": "debug", "until": "2024-09-11T15:40:45Z"}]);
    assert_eq!((answer.status.as_u16(), answer.json()["changed"].clone()), (200, changed));
    let answer = ask("PUT", "/ingest?level=trace&seconds=3600").await;
    assert_eq!(answer.json()["changed"][1]["until"], "2024-09-11T16:30:45Z");
    for wrong in [
        "/api?level=debug&seconds=3601",
        "/api?level=debug&seconds=0",
        "/api?level=off",
        "/api",
        "/web?level=debug",
    ] {
        assert_eq!(ask("PUT", wrong).await.code(), "invalid_parameter", "{wrong}");
    }
    ask("DELETE", "/api").await;
    assert_eq!(ask("GET", "").await.json()["changed"].as_array().unwrap().len(), 1);
}
