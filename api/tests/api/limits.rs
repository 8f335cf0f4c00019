//! What a caller may use in a minute.

use std::num::NonZeroU32;

use axum::body::Body;
use kelly_api::Limits;
use kelly_api::rates::Quotas;

use crate::support::{Answer, Api, OTHER_TOKEN, Setup, TOKEN};

const METRICS: &str = "/api/v1/kelly/monitoring/metrics";
const RECORD: &str = "/api/v1/kelly/monitoring/metrics/record";
const ROW: &str = r#"{"metric_name":"ai_confidence","value":0.85}"#;

fn api(quotas: Quotas) -> Api {
    Api::new(Setup { limits: Limits { quotas, ..Limits::default() }, ..Setup::default() })
}

fn two_requests() -> Quotas {
    Quotas { requests: NonZeroU32::new(2).unwrap(), ..Quotas::default() }
}

async fn ask(api: &Api, token: &str, path: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    api.send("GET", path, &[("authorization", &bearer)], Body::empty()).await
}

#[tokio::test]
async fn a_user_who_asks_too_often_is_told_when_to_come_back() {
    let api = api(two_requests());
    let mut left = Vec::new();
    for _ in 0..2 {
        let answer = ask(&api, TOKEN, METRICS).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("ratelimit-policy"), "\"requests\";q=2;w=60");
        left.push(answer.header("ratelimit").split(';').nth(1).unwrap().to_owned());
    }
    assert_eq!(left, ["r=1", "r=0"]);
    let asked = api.queries.asked.lock().unwrap().len();
    let refused = ask(&api, TOKEN, METRICS).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (429, "too_many_requests"));
    let pause: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=30).contains(&pause), "{pause}");
    assert!(refused.header("ratelimit").starts_with("\"requests\";r=0;t="));
    assert_eq!(api.queries.asked.lock().unwrap().len(), asked, "nothing was asked");
    // Neither another user nor what needs no sign-in is touched.
    assert_eq!(ask(&api, OTHER_TOKEN, METRICS).await.status, 200);
    assert_eq!(api.get("/livez").await.status, 200);
}

#[tokio::test]
async fn recording_pays_for_rows_and_bytes_and_not_for_requests() {
    let kib = NonZeroU32::new(3).unwrap();
    let api = api(Quotas { recorded_kib: kib, ..two_requests() });
    for _ in 0..3 {
        assert_eq!(api.post(RECORD, "application/json", ROW).await.status, 202);
    }
    let taken = api.accept.taken.lock().unwrap().len();
    let refused = api.post(RECORD, "application/json", ROW).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (429, "too_many_requests"));
    assert!(refused.json()["detail"].as_str().unwrap().contains("too many bytes"));
    assert_eq!(api.accept.taken.lock().unwrap().len(), taken, "nothing was recorded");
    assert_eq!(api.get(METRICS).await.status, 200);
}

#[tokio::test]
async fn what_is_forbidden_is_paid_for_too() {
    let api = api(two_requests());
    for _ in 0..2 {
        assert_eq!(api.get("/api/v1/kelly/monitoring/metrics/detailed/x?timeframe=1y").await.status, 400);
    }
    assert_eq!(api.get(METRICS).await.status, 429);
}
