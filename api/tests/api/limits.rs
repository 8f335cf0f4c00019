//! What a caller may use in a minute, and what they may have under way at once.

use std::convert::Infallible;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::Request;
use futures_util::stream;
use kelly_api::Limits;
use kelly_api::rates::Quotas;
use tokio::sync::Semaphore;
use tower::ServiceExt;

use crate::support::{Answer, Api, Fate, OTHER_TOKEN, SLOW_TOKEN, Setup, TOKEN, settle};

const METRICS: &str = "/api/v1/kelly/monitoring/metrics";
/// Of one turn.
const DETAILED: &str = "/api/v1/kelly/monitoring/metrics/detailed/ai_confidence";
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

const FEED: &str = "/api/v1/kelly/monitoring/activity/feed";
const SIGN_IN: &str = "/api/v1/kelly/sign-in";

/// A body that does not come.
fn no_body() -> Body {
    Body::from_stream(stream::pending::<Result<Bytes, Infallible>>())
}

/// Sends a request of whoever has this token, whose answer is not waited for.
async fn send_and_wait(api: &Api, token: &str, (method, path): (&str, &str), body: Body) {
    let request = Request::builder().method(method).uri(path).header("host", "localhost");
    let request = request.header("authorization", format!("Bearer {token}"));
    let request = request.header("content-type", "application/json").body(body).unwrap();
    let answering = tokio::spawn(api.router().oneshot(request));
    settle().await;
    assert!(!answering.is_finished(), "it is answered: {:?}", answering.await);
}

async fn send(api: &Api, token: &str, (method, path): (&str, &str), body: Body) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    api.send(method, path, &headers, body).await
}

fn assert_share_taken(answer: &Answer, what: &str) {
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (429, "too_many_at_once"));
    assert_eq!(answer.header("retry-after"), "1");
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains(&format!("Too many {what} of yours")), "{detail}");
}

#[tokio::test]
async fn one_caller_does_not_hold_every_place() {
    let limits = Limits { max_requests: 8, ..Limits::default() };
    let api = Api::new(Setup { queries: Fate::Never, limits, ..Setup::default() });
    for limit in 1..=2 {
        send_and_wait(&api, TOKEN, ("GET", &format!("{FEED}?limit={limit}")), Body::empty()).await;
    }
    assert_share_taken(&ask(&api, TOKEN, SIGN_IN).await, "requests");
    assert_eq!(ask(&api, OTHER_TOKEN, SIGN_IN).await.status, 200);
    assert_eq!(api.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn one_caller_does_not_hold_all_memory_for_bodies() {
    let limits = Limits { max_body_bytes: 1_024, max_buffered_bytes: 16 << 10, ..Limits::default() };
    let api = Api::new(Setup { limits, ..Setup::default() });
    for _ in 0..4 {
        // Of a body whose length nobody says it is counted what it may become.
        send_and_wait(&api, TOKEN, ("POST", RECORD), no_body()).await;
    }
    assert_share_taken(&send(&api, TOKEN, ("POST", RECORD), ROW.into()).await, "bodies");
    assert_eq!(send(&api, OTHER_TOKEN, ("POST", RECORD), ROW.into()).await.status, 202);
}

#[tokio::test]
async fn one_caller_does_not_take_every_turn_of_queries() {
    let limits = Limits { max_running_queries: 2, max_waiting_queries: 6, ..Limits::default() };
    let api = Api::new(Setup { queries: Fate::Never, limits, ..Setup::default() });
    let feed = |limit: u32| format!("{FEED}?limit={limit}");
    let asked = || api.queries.asked.lock().unwrap().len();
    for limit in 1..=2 {
        send_and_wait(&api, TOKEN, ("GET", &feed(limit)), Body::empty()).await;
    }
    assert_eq!(asked(), 1, "the second waits for the first, though there is another turn");
    assert_share_taken(&ask(&api, TOKEN, &feed(3)).await, "queries");
    // Another one's question has that turn at once, also where it is the one that was refused.
    send_and_wait(&api, OTHER_TOKEN, ("GET", &feed(3)), Body::empty()).await;
    assert_eq!(asked(), 2);
    // Whoever asks the same as is asked already takes nothing.
    send_and_wait(&api, TOKEN, ("GET", &feed(3)), Body::empty()).await;
}

/// Whoever sees a question waiting for another one's turns does not wait for those.
#[tokio::test]
async fn one_callers_queries_do_not_hold_up_what_others_ask_too() {
    let limits = Limits { max_running_queries: 2, max_waiting_queries: 6, ..Limits::default() };
    let gate = Arc::new(Semaphore::new(0));
    let queries = Fate::HeldWith("feed", Arc::clone(&gate));
    let api = Arc::new(Api::new(Setup { queries, limits, ..Setup::default() }));
    let asked = || api.queries.asked.lock().unwrap().len();
    let asking = |token: &'static str| {
        let api = Arc::clone(&api);
        tokio::spawn(async move { ask(&api, token, DETAILED).await.status })
    };
    // The first has its one turn in use, and its share of the places.
    send_and_wait(&api, TOKEN, ("GET", FEED), Body::empty()).await;
    let first = asking(TOKEN);
    settle().await;
    assert!(asked() == 1 && !first.is_finished(), "it waits for its own query");
    let again = asking(TOKEN);
    settle().await;
    assert!(asked() == 1 && !again.is_finished(), "though it asks twice");
    let other = asking(OTHER_TOKEN);
    settle().await;
    assert_eq!(asked(), 2, "the other one has turns");
    for asking in [first, again, other] {
        assert!(asking.is_finished());
        assert_eq!(asking.await.unwrap(), 200);
    }
    // What the other one brought is given back: they have their whole share again.
    for limit in 1..=2 {
        send_and_wait(&api, OTHER_TOKEN, ("GET", &format!("{FEED}?limit={limit}")), Body::empty()).await;
    }
}

/// The body of a sign-in that is opened, and of one whose issuer does not answer.
fn with_token(token: &str) -> Body {
    Body::from(serde_json::json!({ "token": token }).to_string())
}

#[tokio::test]
async fn sign_ins_that_do_not_go_on_keep_nobody_from_anything_else() {
    let limits = Limits { max_sign_ins: 8, max_requests: 4, ..Limits::default() };
    let api = Api::new(Setup { limits, ..Setup::default() });
    // Bodies that do not come take no place of a sign-in, nor room for bodies.
    for _ in 0..20 {
        send_and_wait(&api, "", ("POST", SIGN_IN), no_body()).await;
    }
    assert_eq!(send(&api, "", ("POST", SIGN_IN), with_token(TOKEN)).await.status, 200);
    for _ in 0..2 {
        send_and_wait(&api, "", ("POST", SIGN_IN), with_token(SLOW_TOKEN)).await;
    }
    assert_share_taken(&send(&api, "", ("POST", SIGN_IN), with_token(TOKEN)).await, "sign-ins");
    assert_eq!(api.get("/readyz").await.status, 200);
    assert_eq!(ask(&api, TOKEN, METRICS).await.status, 200);
}

#[tokio::test]
async fn bodies_of_strangers_take_no_room_of_recorded_ones() {
    let limits = Limits {
        max_body_bytes: 16 << 10,
        max_buffered_bytes: 16 << 10,
        parts_of_a_share: NonZeroUsize::MIN,
        ..Limits::default()
    };
    let api = Api::new(Setup { limits, ..Setup::default() });
    for _ in 0..8 {
        send_and_wait(&api, "", ("POST", SIGN_IN), no_body()).await;
    }
    assert_eq!(send(&api, TOKEN, ("POST", RECORD), ROW.into()).await.status, 202);
}

/// While the parts hang, so does whoever asks whether they are ready.
#[tokio::test]
async fn strangers_who_wait_for_the_parts_take_no_place_of_requests() {
    let limits = Limits {
        max_requests: 1,
        max_open_requests: 1,
        parts_of_a_share: NonZeroUsize::MIN,
        ..Limits::default()
    };
    let api = Api::new(Setup { health_answers: false, limits, ..Setup::default() });
    send_and_wait(&api, "", ("GET", "/readyz"), Body::empty()).await;
    assert_eq!(api.get("/readyz").await.code(), "server_busy");
    assert_eq!(ask(&api, TOKEN, METRICS).await.status, 200);
    assert_eq!(send(&api, TOKEN, ("POST", RECORD), ROW.into()).await.status, 202);
}
