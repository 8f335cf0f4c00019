//! Shared answers: who asks the same at the same time is answered by one question to the store.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::body::Body;
use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use kelly_api::Limits;
use kelly_query::cache::CacheBounds;
use kelly_query::{QueryError, StoreError};
use tokio::sync::Semaphore;

use crate::support::{Answer, Api, Fate, Setup, now, settle};

const METRICS: &str = "/api/v1/kelly/monitoring/metrics";
const DETAILED: &str = "/api/v1/kelly/monitoring/metrics/detailed/ai_confidence";

fn asked(api: &Api) -> usize {
    api.queries.asked.lock().unwrap().len()
}

/// An API whose store answers once the gate is opened.
fn held() -> (Arc<Api>, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let api = Api::new(Setup { queries: Fate::Held(Arc::clone(&gate)), ..Setup::default() });
    (Arc::new(api), gate)
}

#[tokio::test]
async fn many_who_ask_at_once_share_one_question() {
    let (api, gate) = held();
    let askers: Vec<_> = (0..200)
        .map(|number| {
            let api = Arc::clone(&api);
            // The same question, however it is written.
            let path = if number % 2 == 0 { DETAILED.to_owned() } else { format!("{DETAILED}?timeframe=1h") };
            tokio::spawn(async move { api.get(&path).await })
        })
        .collect();
    settle().await;
    gate.add_permits(1);
    let mut bodies = Vec::new();
    for asker in askers {
        let answer = asker.await.unwrap();
        assert_eq!(answer.status, StatusCode::OK);
        bodies.push(answer.body);
    }
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(asked(&api), 1);
}

#[tokio::test]
async fn who_asked_first_may_go_away() {
    let (api, gate) = held();
    let ask = |api: Arc<Api>| tokio::spawn(async move { api.get(DETAILED).await });
    let first = ask(Arc::clone(&api));
    settle().await;
    let second = ask(Arc::clone(&api));
    settle().await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    settle().await;
    gate.add_permits(1);
    assert_eq!(second.await.unwrap().status, StatusCode::OK);
    assert_eq!(asked(&api), 1);
}

#[tokio::test]
async fn a_question_nobody_waits_for_is_given_up() {
    let (api, gate) = held();
    let only = Arc::clone(&api);
    let only = tokio::spawn(async move { only.get(DETAILED).await });
    settle().await;
    only.abort();
    assert!(only.await.unwrap_err().is_cancelled());
    settle().await;
    gate.add_permits(1);
    // It left nothing behind that the next one would wait for.
    assert_eq!(api.get(DETAILED).await.status, StatusCode::OK);
    assert_eq!(asked(&api), 2);
}

#[tokio::test]
async fn different_questions_never_share() {
    let api = Api::new(Setup::default());
    let questions = [
        "",
        "?account_id=acme",
        "?account_id=globex",
        "?conversation_id=acme",
        "?timeframe=6h",
        "?group_by=account",
        "?group_by=account&account_id=acme",
    ];
    for (number, question) in questions.into_iter().enumerate() {
        for _ in 0..2 {
            api.get(&format!("{DETAILED}{question}")).await;
        }
        if number < 6 {
            assert_eq!(asked(&api), number + 1, "{question}");
        }
    }
    let before = asked(&api);
    for path in ["activity/feed", "activity/vip", "activity/feed?account_id=acme", "metrics"] {
        api.get(&format!("/api/v1/kelly/monitoring/{path}")).await;
    }
    assert_eq!(asked(&api), before + 4);
}

static TIME_MS: AtomicI64 = AtomicI64::new(0);

fn moving() -> DateTime<Utc> {
    now() + TimeDelta::milliseconds(TIME_MS.load(Ordering::Relaxed))
}

fn cache_headers(answer: &Answer) -> (String, String) {
    (answer.header("age").to_owned(), answer.header("cache-control").to_owned())
}

#[tokio::test]
async fn an_answer_is_used_until_its_bucket_ends_and_says_so() {
    let api = Api::new(Setup { clock: moving, ..Setup::default() });
    let path = format!("{DETAILED}?timeframe=30d");
    // The bucket of five seconds began when the clock of these tests begins.
    for (at_ms, questions, age, max_age) in [
        (700, 1, 0, 4),
        (1_800, 1, 1, 4),
        (4_999, 1, 4, 4),
        (5_000, 2, 0, 5),
        (9_000, 2, 4, 5),
        (4_000, 3, 0, 1),
    ] {
        TIME_MS.store(at_ms, Ordering::Relaxed);
        let answer = api.get(&path).await;
        let expected = (age.to_string(), format!("private, max-age={max_age}"));
        assert_eq!(cache_headers(&answer), expected, "{at_ms}");
        assert_eq!(asked(&api), questions, "{at_ms}");
    }
}

#[tokio::test]
async fn what_a_client_has_is_not_sent_again() {
    let api = Api::new(Setup::default());
    for path in [METRICS, DETAILED, "/api/v1/kelly/monitoring/activity/feed"] {
        let first = api.get(path).await;
        let tag = first.header("etag").to_owned();
        assert!(tag.len() > 10, "{tag}");
        let again = api.send("GET", path, &[("if-none-match", &tag)], Body::empty()).await;
        assert_eq!((again.status, again.body.len()), (StatusCode::NOT_MODIFIED, 0));
        assert_eq!(again.header("etag"), tag);
        assert_eq!(cache_headers(&again), cache_headers(&first));
        let other = api.send("GET", path, &[("if-none-match", "\"other\"")], Body::empty()).await;
        assert_eq!((other.status, other.body), (StatusCode::OK, first.body));
    }
}

static TAGGED_MS: AtomicI64 = AtomicI64::new(0);

fn tagged() -> DateTime<Utc> {
    now() + TimeDelta::milliseconds(TAGGED_MS.load(Ordering::Relaxed))
}

#[tokio::test]
async fn unchanged_data_is_not_sent_again_in_the_next_bucket() {
    let api = Api::new(Setup { clock: tagged, ..Setup::default() });
    let first = api.get(DETAILED).await;
    let tag = first.header("etag").to_owned();
    assert!(tag.starts_with("W/\""), "{tag}");
    TAGGED_MS.store(7_000, Ordering::Relaxed);
    let later = api.send("GET", DETAILED, &[("if-none-match", &tag)], Body::empty()).await;
    assert_eq!((later.status, later.header("etag"), asked(&api)), (StatusCode::NOT_MODIFIED, &*tag, 2));
    let whole = api.get(DETAILED).await;
    assert_eq!((whole.status, whole.header("etag")), (StatusCode::OK, &*tag));
    assert_ne!(whole.body, first.body, "the clock readings are the later ones");
}

static FLYING_MS: AtomicI64 = AtomicI64::new(0);

fn flying() -> DateTime<Utc> {
    now() + TimeDelta::milliseconds(FLYING_MS.load(Ordering::Relaxed))
}

#[tokio::test]
async fn who_asks_in_a_later_bucket_does_not_wait_for_an_earlier_answer() {
    let gate = Arc::new(Semaphore::new(0));
    let queries = Fate::Held(Arc::clone(&gate));
    let api = Arc::new(Api::new(Setup { queries, clock: flying, ..Setup::default() }));
    let mut askers = Vec::new();
    for (at_ms, questions) in [(0, 1), (900, 1), (1_000, 2), (1_900, 2)] {
        FLYING_MS.store(at_ms, Ordering::Relaxed);
        let api_of_asker = Arc::clone(&api);
        askers.push(tokio::spawn(async move { api_of_asker.get(DETAILED).await }));
        settle().await;
        assert_eq!(asked(&api), questions, "{at_ms}");
    }
    gate.add_permits(1);
    for asker in askers {
        assert_eq!(asker.await.unwrap().status, StatusCode::OK);
    }
    // The later answer is kept, whichever landed last.
    api.get(DETAILED).await;
    assert_eq!(asked(&api), 2);
}

#[tokio::test]
async fn several_metrics_take_as_many_turns_as_they_ask_at_once() {
    let several = "/api/v1/kelly/monitoring/metrics/detailed?metrics=a,b,c,d,e";
    for (turns, running_beside) in [(5, 2), (4, 1), (2, 1)] {
        let gate = Arc::new(Semaphore::new(0));
        let limits =
            Limits { parts_of_a_share: NonZeroUsize::MIN, max_running_queries: turns, ..Limits::default() };
        let queries = Fate::Held(Arc::clone(&gate));
        let api = Arc::new(Api::new(Setup { queries, limits, ..Setup::default() }));
        let mut askers = Vec::new();
        for path in [several, DETAILED] {
            let api = Arc::clone(&api);
            askers.push(tokio::spawn(async move { api.get(path).await }));
            settle().await;
        }
        assert_eq!(asked(&api), running_beside, "{turns} turns");
        gate.add_permits(1);
        for asker in askers {
            assert_eq!(asker.await.unwrap().status, StatusCode::OK);
        }
        assert_eq!(asked(&api), 2);
    }
}

#[tokio::test]
async fn an_error_is_given_to_all_who_wait_and_not_kept() {
    let away = || QueryError::StoreUnavailable {
        question: "detailed metric",
        source: StoreError::TimedOut { action: "read".to_owned() },
    };
    let api = Api::new(Setup { queries: Fate::Fail(away), ..Setup::default() });
    let answers = tokio::join!(api.get(DETAILED), api.get(DETAILED));
    for answer in [answers.0, answers.1] {
        assert_eq!(
            (answer.code().as_str(), answer.header("cache-control")),
            ("store_unavailable", "no-store")
        );
    }
    let before = asked(&api);
    api.get(DETAILED).await;
    assert_eq!(asked(&api), before + 1);
}

#[tokio::test]
async fn without_room_every_question_is_asked() {
    let limits = Limits { kept_answers: CacheBounds { answers: 9, bytes: 10 }, ..Limits::default() };
    let api = Api::new(Setup { limits, ..Setup::default() });
    api.get(DETAILED).await;
    api.get(DETAILED).await;
    assert_eq!(asked(&api), 2);
}

static LATER_MS: AtomicI64 = AtomicI64::new(0);

fn later() -> DateTime<Utc> {
    now() + TimeDelta::milliseconds(LATER_MS.load(Ordering::Relaxed))
}

#[tokio::test]
async fn performance_tells_what_was_measured_and_null_for_the_rest() {
    let path = "/api/v1/kelly/monitoring/performance";
    let api = Api::new(Setup { clock: later, ..Setup::default() });
    for _ in 0..6 {
        api.get(METRICS).await;
    }
    let mut before = api.get(path).await.json();
    assert_eq!(before["http"]["routes"], serde_json::json!([]), "the first ten seconds are not over");
    LATER_MS.store(15_000, Ordering::Relaxed);
    let after = api.get(path).await.json();
    let routes = after["http"]["routes"].as_array().unwrap();
    let metrics = routes.iter().find(|route| route["route"] == METRICS).unwrap();
    assert_eq!((&metrics["requests"], &metrics["requests_per_second"]), (&6.into(), &0.1.into()));
    assert!(metrics["p50_ms"].as_f64().unwrap() > 0.0);
    before["http"]["routes"] = serde_json::json!([]);
    insta::assert_json_snapshot!(before);

    let away = || QueryError::StoreUnavailable {
        question: "performance",
        source: StoreError::TimedOut { action: "read".to_owned() },
    };
    let api = Api::new(Setup { queries: Fate::Fail(away), ..Setup::default() });
    let answer = api.get(path).await;
    assert_eq!((answer.status, &answer.json()["store"]), (StatusCode::OK, &serde_json::Value::Null));
    // Neither here nor by the client: a store that is back is seen at once.
    assert_eq!(answer.header("cache-control"), "no-store");
    api.get(path).await;
    assert_eq!(asked(&api), 2);
}
