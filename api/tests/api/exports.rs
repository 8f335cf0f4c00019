//! Exports: which form, under which name, and that a failure on the way shows.

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use kelly_api::Limits;
use kelly_auth::Refusal;
use tower::ServiceExt;

use crate::support::{Api, Fate, Setup, TOKEN, settle};

const DETAILED: &str = "/api/v1/kelly/monitoring/metrics/detailed/ai_confidence";
const SAMPLES: &str = "/api/v1/kelly/monitoring/metrics/samples/ai_confidence";
const ACTIVITY: &str = "/api/v1/kelly/monitoring/activity/export";

#[tokio::test]
async fn a_series_and_samples_are_files_in_the_form_asked_for() {
    let api = Api::new(Setup::default());
    let cases = [
        (
            format!("{DETAILED}?format=csv"),
            "",
            "text/csv",
            "ai_confidence-20240911T153045Z-20240911T153045Z.csv",
        ),
        (
            DETAILED.to_owned(),
            "application/vnd.apache.parquet",
            "application/vnd.apache.parquet",
            "ai_confidence-20240911T153045Z-20240911T153045Z.parquet",
        ),
        (
            format!("{DETAILED}?group_by=account&compare=previous&format=parquet"),
            "",
            "application/vnd.apache.parquet",
            "ai_confidence-by-account-20240911T153045Z-20240911T153045Z.parquet",
        ),
        (SAMPLES.to_owned(), "", "text/csv", "ai_confidence-samples-20240911T153045Z-20240911T153045Z.csv"),
        (
            format!("{SAMPLES}?format=arrow"),
            "text/csv",
            "application/vnd.apache.arrow.stream",
            "ai_confidence-samples-20240911T153045Z-20240911T153045Z.arrows",
        ),
    ];
    for (path, accept, media_type, file) in cases {
        let answer = api.send("GET", &path, &[("accept", accept)], Body::empty()).await;
        assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, media_type), "{path}");
        assert_eq!(answer.header("content-disposition"), format!("attachment; filename=\"kelly-{file}\""));
        assert_eq!((answer.header("cache-control"), &answer.body[..]), ("no-store", &b"a\nb\n"[..]));
    }
    // Each is asked anew: a stream is nobody else's.
    assert_eq!(api.queries.asked.lock().unwrap().len(), 5);
    let whole = api.send("GET", DETAILED, &[("accept", "application/json")], Body::empty()).await;
    assert_eq!(whole.header("content-type"), "application/json");
}

#[tokio::test]
async fn a_file_that_begins_later_than_was_asked_for_says_since_when() {
    let api = Api::new(Setup::default());
    let cut = api.get(&format!("{SAMPLES}?timeframe=7d")).await;
    assert_eq!((cut.status, cut.header("kelly-kept-from")), (StatusCode::OK, "2024-09-11T15:30:45.000Z"));
    let whole = api.get(SAMPLES).await;
    assert_eq!((whole.status, whole.header("kelly-kept-from")), (StatusCode::OK, ""));
}

#[tokio::test]
async fn what_cannot_be_exported_is_refused_by_name() {
    let api = Api::new(Setup::default());
    for path in [
        format!("{DETAILED}?format=xlsx"),
        format!("{DETAILED}?format=csv&compare=previous"),
        format!("{SAMPLES}?format=xlsx"),
        format!("{ACTIVITY}?format=xlsx"),
    ] {
        let answer = api.get(&path).await;
        assert_eq!(answer.code(), "invalid_parameter", "{path}");
        assert_eq!(answer.json()["errors"][0]["parameter"], "format", "{path}");
    }
}

/// The fake's export of this type of event fails after its first piece.
#[tokio::test]
async fn a_failure_on_the_way_breaks_the_body_off() {
    let api = Api::new(Setup::default());
    let request = Request::get(format!("{ACTIVITY}?event_type=cut_off"))
        .header("host", "localhost")
        .header("authorization", format!("Bearer {TOKEN}"))
        .body(Body::empty())
        .unwrap();
    let response = api.router().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(to_bytes(response.into_body(), usize::MAX).await.is_err(), "a part was taken for the whole");
}

#[tokio::test]
async fn a_place_is_held_until_the_bytes_are_out() {
    let api = Api::new(Setup { limits: Limits { max_exports: 1, ..Limits::default() }, ..Setup::default() });
    let ask = || {
        let request = Request::get(SAMPLES).header("host", "localhost");
        request.header("authorization", format!("Bearer {TOKEN}")).body(Body::empty()).unwrap()
    };
    let held = api.router().oneshot(ask()).await.unwrap();
    let refused = api.get(SAMPLES).await;
    assert_eq!((refused.code().as_str(), refused.header("retry-after")), ("server_busy", "1"));
    drop(held);
    // The task that holds the place sees a moment later that nobody reads.
    let mut answer = api.get(SAMPLES).await;
    while answer.status != StatusCode::OK {
        assert_eq!(answer.code(), "server_busy");
        tokio::task::yield_now().await;
        answer = api.get(SAMPLES).await;
    }
}

/// While it waits for its turn, and while it is read.
#[tokio::test]
async fn an_export_ends_when_its_reader_is_signed_out() {
    let ask = || {
        let request = Request::get(format!("{ACTIVITY}?event_type=endless")).header("host", "localhost");
        request.header("authorization", format!("Bearer {TOKEN}")).body(Body::empty()).unwrap()
    };
    let api = Api::new(Setup::default());
    let response = api.router().oneshot(ask()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let reading = tokio::spawn(to_bytes(response.into_body(), usize::MAX));
    settle().await;
    assert!(!reading.is_finished());
    api.authenticate.refuse_all(Refusal::Revoked);
    assert!(reading.await.unwrap().is_err(), "a part was taken for the whole");

    let api = Api::new(Setup { queries: Fate::Never, ..Setup::default() });
    let waiting = tokio::spawn(api.router().oneshot(ask()));
    settle().await;
    assert!(!waiting.is_finished());
    api.authenticate.refuse_all(Refusal::Expired);
    let response = waiting.await.unwrap().unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let problem = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    assert!(String::from_utf8_lossy(&problem).contains("token_expired"));
}
