//! Apache Kafka that dies, stays away and loses answers. Ingest goes on by itself, recording says
//! what it knows and no more, and nothing is lost or twice.

use std::time::{Duration, Instant};

use kelly_harness::BrokerOptions;
use kelly_harness::chance::{Chance, SEED_VARIABLE};
use kelly_harness::chaos::fate_of;
use kelly_harness::process::PATIENCE;
use kelly_harness::proxy::{Answers, Proxy};
use kelly_harness::truth::{Fate, Sample, Truth};
use kelly_harness::{Engine, process::Kelly};
use serde_json::Value;

use crate::apart::{Apart, Changes};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_killed_under_load_costs_nothing() {
    let stage = Apart::set(Changes::default()).await;
    let mut ingest = stage.spawn(&["ingest"]);
    stage.until_topics().await;
    let producer = stage.producer();
    for _ in 0..3 {
        stage.until_more(1_000).await;
        stage.broker.kill().expect("the broker is ours");
        tokio::task::block_in_place(|| stage.broker.restart()).expect("it starts again");
    }
    stage.until_more(1_000).await;
    stage.assert_exact(producer).await;
    assert_eq!(ingest.ended(), None, "ingest went on by itself");
    assert_eq!(ingest.terminate(), Some(0));
}

/// What the record endpoint answered: status, body, `Retry-After`.
async fn record(serve: &Kelly, rows: &[Sample]) -> (u16, Option<Value>, Option<String>) {
    let body: Value = rows.iter().map(Sample::json).collect();
    let request = serve.request(reqwest::Method::POST, "/api/v1/kelly/monitoring/metrics/record");
    let answer = request.json(&body).send().await.expect("an answer");
    let status = answer.status().as_u16();
    let retry_after =
        answer.headers().get("retry-after").and_then(|value| value.to_str().ok()).map(str::to_owned);
    (status, answer.json().await.ok(), retry_after)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_away_for_a_minute_is_reported_and_waited_for() {
    const AWAY: Duration = Duration::from_secs(60);
    let stage = Apart::set(Changes::default()).await;
    let mut ingest = stage.spawn(&["ingest"]);
    let mut serve = stage.spawn(&["serve"]);
    serve.until_ready().await;
    let now_ms = std::time::UNIX_EPOCH.elapsed().expect("the clock is past 1970").as_millis();
    let mut truth = Truth::new("chaos", now_ms as i64, 20);
    let recorded = async |serve: &Kelly, truth: &mut Truth| {
        let (request, rows) = truth.next_request();
        let (status, body, retry_after) = record(serve, &rows).await;
        let fate = fate_of(status, body.as_ref());
        truth.settle(request, fate);
        match fate {
            Fate::Acknowledged => {}
            Fate::Refused => {
                assert_eq!(status, 503, "{body:?}");
                assert!(retry_after.is_some(), "nothing was recorded, so when to try again: {body:?}");
            }
            Fate::Unknown => {
                assert_eq!(status, 503, "{body:?}");
                let code = body.as_ref().map(|body| body["code"].clone()).unwrap_or_default();
                assert_eq!(code, "record_outcome_unknown", "{body:?}");
            }
        }
        fate
    };
    for _ in 0..20 {
        assert_eq!(recorded(&serve, &mut truth).await, Fate::Acknowledged);
    }

    stage.broker.kill().expect("the broker is ours");
    let gone = Instant::now();
    // Readiness names the part; recording refuses, or says that it does not know.
    let (mut refused, mut named) = (0, false);
    while gone.elapsed() < AWAY || refused == 0 || !named {
        assert!(gone.elapsed() < PATIENCE + AWAY, "{refused} refused, readiness said: {named}");
        if let Some((503, body)) = serve.look("/readyz").await {
            named |= body["errors"]
                .as_array()
                .is_some_and(|errors| errors.iter().any(|error| error["part"] == "log"));
        }
        let fate = recorded(&serve, &mut truth).await;
        assert_ne!(fate, Fate::Acknowledged, "there is nobody to acknowledge it");
        refused += u64::from(fate == Fate::Refused);
    }
    tokio::task::block_in_place(|| stage.broker.restart()).expect("it starts again");
    serve.until_ready().await;
    let begun = Instant::now();
    let mut again = 0;
    while again < 20 {
        assert!(begun.elapsed() < PATIENCE, "recording did not come back");
        again += u32::from(recorded(&serve, &mut truth).await == Fate::Acknowledged);
    }
    stage.until_drained().await;
    let verdict = stage.verdict(&truth).await;
    eprintln!("{verdict}");
    assert!(verdict.is_exact(), "{verdict}");
    assert_eq!((ingest.ended(), serve.ended()), (None, None), "both went on by themselves");
    assert_eq!(ingest.terminate(), Some(0));
    assert_eq!(serve.terminate(), Some(0));
}

/// Cuts and lets pass, at random points.
async fn cut_at_random(proxy: &Proxy, chance: &mut Chance, cuts: u64) {
    let begun = Instant::now();
    while proxy.withheld() < cuts {
        assert!(begun.elapsed() < PATIENCE, "only {} answers were cut", proxy.withheld());
        tokio::time::sleep(chance.milliseconds(400)).await;
        proxy.set(Answers::Cut);
        tokio::time::sleep(chance.milliseconds(60)).await;
        proxy.set(Answers::Pass);
    }
}

fn chance() -> Chance {
    let chance = Chance::from_environment();
    eprintln!("play this again with {SEED_VARIABLE}={}", chance.seed());
    chance
}

/// A store that did what it was asked and was never heard: the same block goes again under the same
/// token, for as long as it takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_of_the_store_that_are_lost() {
    let mut chance = chance();
    let proxy = Proxy::start().await.expect("a port");
    proxy.lead_to(Engine::shared().store_config().url.trim_start_matches("http://"));
    let address = proxy.address();
    let stage = Apart::set(Changes { store: Some(&address), ..Changes::default() }).await;
    let mut ingest = stage.spawn(&["ingest"]);
    stage.until_topics().await;
    let producer = stage.producer();
    stage.until_more(500).await;
    cut_at_random(&proxy, &mut chance, 25).await;
    // Worse than cut: the insert is done, and nothing is heard until its deadline.
    let before = proxy.withheld();
    proxy.set(Answers::Swallow);
    let begun = Instant::now();
    while proxy.withheld() < before + 2 {
        assert!(begun.elapsed() < PATIENCE, "nothing was swallowed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    proxy.set(Answers::Pass);
    stage.assert_exact(producer).await;
    assert_eq!(ingest.ended(), None);
    assert_eq!(ingest.terminate(), Some(0));
}

/// The same between kelly and the broker: commits and appends whose answers are lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_of_the_broker_that_are_lost() {
    let mut chance = chance();
    let proxy = Proxy::start().await.expect("a port");
    let advertised = format!("PLAINTEXT://{}", proxy.address());
    let broker = BrokerOptions {
        properties: vec![("advertised.listeners".into(), advertised)],
        ..BrokerOptions::default()
    };
    let stage = Apart::set(Changes { bootstrap: Some(proxy.address()), broker, ..Changes::default() });
    let stage = stage.await;
    proxy.lead_to(stage.broker.bootstrap());
    let mut ingest = stage.spawn(&["ingest"]);
    stage.until_topics().await;
    let producer = stage.producer();
    stage.until_more(500).await;
    cut_at_random(&proxy, &mut chance, 40).await;
    stage.until_more(500).await;
    stage.assert_exact(producer).await;
    assert_eq!(ingest.ended(), None);
    assert_eq!(ingest.terminate(), Some(0));
}
