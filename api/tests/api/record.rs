//! Recording: what bodies are taken, and every way in which one is not.

use std::time::Duration;

use axum::body::Body;
use kelly_api::{BodyForm, Limits, MAX_ROW_FAULTS, NotAccepted, RowFault, RowKind};

use crate::support::{Api, Failure, Fate, Setup};

const METRICS: &str = "/api/v1/kelly/monitoring/metrics/record";
const ACTIVITY: &str = "/api/v1/kelly/monitoring/activity/record";

#[tokio::test]
async fn rows_are_handed_on_as_they_came() {
    let api = Api::new(Setup::default());
    let cases = [
        (METRICS, "application/json", RowKind::Metrics, BodyForm::Json),
        (METRICS, "application/json; charset=UTF-8", RowKind::Metrics, BodyForm::Json),
        (METRICS, "Application/X-NDJSON", RowKind::Metrics, BodyForm::Ndjson),
        (METRICS, "application/jsonl", RowKind::Metrics, BodyForm::Ndjson),
        (METRICS, "Application/vnd.apache.arrow.stream", RowKind::Metrics, BodyForm::Arrow),
        (ACTIVITY, "application/ndjson", RowKind::Activity, BodyForm::Ndjson),
    ];
    for (path, content_type, kind, form) in cases {
        let answer = api.post(path, content_type, "{\"a\":1}").await;
        assert_eq!(answer.status, 202);
        let expected = match kind {
            RowKind::Metrics => serde_json::json!({"accepted": 1}),
            RowKind::Activity => {
                serde_json::json!({"accepted": 1, "ids": ["0198f3c2-a4b7-8e21-b0c3-d9a1f2e4c6d8"]})
            }
        };
        assert_eq!(answer.json(), expected);
        let taken = api.accept.taken.lock().unwrap().pop().unwrap();
        assert_eq!((taken.kind, taken.form), (kind, form), "{content_type}");
        assert_eq!(taken.body, "{\"a\":1}");
    }
    // Clients made from the document may write lines as the array that describes them.
    for body in ["[{\"a\":1}]", "\u{feff} \n[]"] {
        assert_eq!(api.post(METRICS, "application/x-ndjson", body).await.status, 202);
        assert_eq!(api.accept.taken.lock().unwrap().pop().unwrap().form, BodyForm::Json, "{body:?}");
    }
    let answer = api.send("POST", METRICS, &[], Body::from("{}")).await;
    assert_eq!(answer.status, 202);
    assert_eq!(api.accept.taken.lock().unwrap()[0].form, BodyForm::Detect);
}

#[tokio::test]
async fn other_types_are_refused() {
    let api = Api::new(Setup::default());
    let cases: [&[(&str, &str)]; 4] = [
        &[("content-type", "application/x-www-form-urlencoded")],
        &[("content-type", "text/plain")],
        &[("content-type", "application/json; charset=latin1")],
        &[("content-type", "")],
    ];
    let mut details = Vec::new();
    for headers in cases {
        let answer = api.send("POST", METRICS, headers, Body::from("{}")).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (415, "unsupported_media_type"));
        details.push(format!("{headers:?}\n  {}", answer.json()["detail"]));
    }
    assert_eq!(api.accept.taken.lock().unwrap().len(), 0);
    let arrow = [("content-type", "application/vnd.apache.arrow.stream")];
    let answer = api.send("POST", ACTIVITY, &arrow, Body::from("")).await;
    assert_eq!(answer.status, 415, "events have no Arrow form");
    details.push(format!("events as Arrow\n  {}", answer.json()["detail"]));
    insta::assert_snapshot!("unsupported_types", details.join("\n"));
}

#[tokio::test]
async fn each_refusal_of_the_log_has_its_problem() {
    let cases: [Failure<NotAccepted>; 6] = [
        (
            "malformed",
            || NotAccepted::Malformed { reason: "line 1, column 2: expected `:`".to_owned() },
            400,
            "",
        ),
        ("refused", || NotAccepted::Refused { rows: vec![fault(0), fault(3)], total: 2 }, 422, ""),
        (
            "too_large",
            || NotAccepted::TooLarge {
                reason: "it has more than 10000 rows; split them over several requests".to_owned(),
            },
            413,
            "",
        ),
        (
            "full",
            || NotAccepted::Full { reason: "the disk".into(), retry_after: Duration::from_millis(2_100) },
            503,
            "3",
        ),
        ("unavailable", || NotAccepted::Unavailable { reason: "secret-of-the-house".to_owned() }, 503, "5"),
        (
            "outcome_unknown",
            || NotAccepted::OutcomeUnknown { reason: "secret-of-the-house".to_owned() },
            503,
            "",
        ),
    ];
    for (name, refusal, status, retry_after) in cases {
        let api = Api::new(Setup { accept: Fate::Fail(refusal), ..Setup::default() });
        let answer = api.post(METRICS, "application/json", "[]").await;
        assert_eq!(answer.status.as_u16(), status, "{name}");
        assert_eq!(answer.header("retry-after"), retry_after, "{name}");
        answer.code();
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(!text.contains("secret-of-the-house"), "{text}");
        insta::assert_json_snapshot!(format!("record_{name}"), answer.json());
    }
}

fn fault(row: u64) -> RowFault {
    RowFault {
        row,
        line: None,
        code: "missing_field".to_owned(),
        reason: "`value` is missing; give a finite number".to_owned(),
    }
}

#[tokio::test]
async fn the_list_of_bad_rows_is_bounded_and_the_total_given() {
    let refusal = || NotAccepted::Refused { rows: (0..500).map(fault).collect(), total: 9_000 };
    let api = Api::new(Setup { accept: Fate::Fail(refusal), ..Setup::default() });
    let problem = api.post(METRICS, "application/json", "[]").await.json();
    assert_eq!(problem["errors"].as_array().unwrap().len(), MAX_ROW_FAULTS);
    assert_eq!(problem["error_count"], 9_000);
    assert_eq!(
        problem["detail"],
        "9000 rows are bad, so nothing of the body was recorded. `errors` shows the first 100."
    );
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_announced_or_not() {
    let limits = Limits { max_body_bytes: 10, ..Limits::default() };
    let api = Api::new(Setup { limits, ..Setup::default() });
    let json = ("content-type", "application/json");
    let announced = [json, ("content-length", "11")];
    for headers in [&announced[..], &[json]] {
        let answer = api.send("POST", METRICS, headers, Body::from("[1,2,3,4,5]")).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (413, "body_too_large"));
        assert_eq!(
            answer.json()["detail"],
            "A body may have at most 10 bytes here, also once it is decompressed. Nothing was done; send it in parts."
        );
    }
    assert_eq!(api.accept.taken.lock().unwrap().len(), 0);
    assert_eq!(api.post(METRICS, "application/json", "[12345678]").await.status, 202);
}

#[tokio::test]
async fn bodies_beyond_the_memory_for_them_are_refused_at_once() {
    let limits = Limits { max_buffered_bytes: 4_096, ..Limits::default() };
    let api = Api::new(Setup { accept: Fate::Never, limits, ..Setup::default() });
    let headers = [("content-type", "application/json"), ("content-length", "3000")];
    let body = || Body::from(" ".repeat(3_000));
    let (first, second) =
        (api.send("POST", METRICS, &headers, body()), api.send("POST", METRICS, &headers, body()));
    tokio::select! {
        biased;
        _ = first => panic!("it never ends"),
        answer = second => assert_eq!(answer.code(), "server_busy"),
    }
}

#[tokio::test]
async fn time_limits_tell_what_became_of_the_rows() {
    let brief = Duration::from_millis(1);
    let limits = Limits { record_timeout: brief, ..Limits::default() };
    let api = Api::new(Setup { accept: Fate::Never, limits, ..Setup::default() });
    let answer = api.post(METRICS, "application/json", "{}").await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, "record_outcome_unknown"));
}

#[tokio::test]
async fn pages_of_other_origins_may_not_record() {
    let api = Api::new(Setup::default());
    let json = ("content-type", "application/json");
    let foreign = [json, ("origin", "http://evil.example")];
    let answer = api.send("POST", METRICS, &foreign, Body::from("{}")).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (403, "origin_not_allowed"));
    assert_eq!(api.accept.taken.lock().unwrap().len(), 0);
    let own = [json, ("origin", "http://localhost:8000")];
    assert_eq!(api.send("POST", METRICS, &own, Body::from("{}")).await.status, 202);
}
