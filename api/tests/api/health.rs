//! Health, readiness, liveness.

use std::time::Duration;

use kelly_api::{Limits, PartStatus};

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
