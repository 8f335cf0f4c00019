//! What arrives at providers.

use std::sync::atomic::Ordering;

use kelly_control::alert::Severity;
use kelly_control::op::TransitionKind;
use kelly_harness::provider::{Does, Provider};
use kelly_notify::{Answer, Request, Secret, webhook_signature, webhook_signature_key};

use crate::stage::{SECRET, Stage, until};

fn hook(stub: &Provider) -> String {
    format!(
        "[[destination]]\nid = 'hook'\nkind = 'webhook'\nurl = '{}/x'\nsecret_file = 'SECRET_FILE'\nper_minute = 6000\n\
         [[route]]\nid = 'all'\ndestinations = ['hook']\nmore_seconds = 1\n",
        stub.url()
    )
}

fn reasons(stub: &Provider) -> Vec<String> {
    stub.taken().iter().map(|got| got.reason().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_is_told_of_an_alert_from_its_raise_to_its_end() {
    let (stage, stub) = (Stage::new().await, Provider::willing().await);
    let service = stage.service(&hook(&stub)).await;
    stage.transition(1, TransitionKind::Raised, Severity::Warning).await;
    until("firing", || reasons(&stub) == ["firing"]).await;
    stage.transition(1, TransitionKind::Worsened, Severity::Critical).await;
    until("worse", || reasons(&stub).len() == 2).await;
    stage.acknowledge(1).await;
    until("acknowledged", || reasons(&stub).len() == 3).await;
    stage.resolve(1).await;
    until("resolved", || reasons(&stub) == ["firing", "worse", "acknowledged", "resolved"]).await;
    let taken = stub.taken();
    let data = &taken[0].body["data"];
    assert!(taken.iter().all(|got| got.key() == taken[0].key()), "one key");
    assert_eq!(data["alerts"][0]["value"], 93.2);
    assert_eq!(data["alerts"][0]["threshold"], 85.0);
    assert_eq!(data["alerts"][0]["entity"], "account account-1");
    let drill_down = data["alerts"][0]["drill_down"].as_str().unwrap();
    assert_eq!(
        drill_down,
        "https://kelly.example.com/api/v1/kelly/monitoring/metrics/detailed/response_time?timeframe=1h&account_id=account-1"
    );
    let alert = data["alerts"][0]["link"].as_str().unwrap();
    assert_eq!(alert, "https://kelly.example.com/api/v1/kelly/alerts/00000000-0000-0000-0000-000000000001");
    // Signed over what arrived.
    let key = webhook_signature_key(&Secret::new(SECRET)).unwrap();
    for got in &taken {
        let sent_at = got.headers["webhook-timestamp"].parse().unwrap();
        assert_eq!(got.headers["webhook-signature"], webhook_signature(&key, got.id(), sent_at, &got.text));
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_silenced_is_told_when_the_silence_ends() {
    let (stage, stub) = (Stage::new().await, Provider::willing().await);
    let service = stage.service(&hook(&stub)).await;
    stage.silence("slow_answers", 5).await;
    stage.raise(1).await;
    stage.end_silence(5).await;
    until("firing", || reasons(&stub) == ["firing"]).await;
    stage.resolve(1).await;
    until("resolved", || reasons(&stub) == ["firing", "resolved"]).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn internal_addresses_are_not_sent_to_unless_allowed() {
    let (stage, stub) = (Stage::new().await, Provider::willing().await);
    for host in [format!("127.0.0.1:{}", stub.address.port()), format!("localhost:{}", stub.address.port())] {
        let text = hook(&stub).replace(&stub.address.to_string(), &host);
        let settings = stage.settings(&text);
        let service = stage.service_allowing(&text, "10.0.0.0/8").await;
        let answer = service.test(&settings.destinations[0].id).await.unwrap();
        let Answer::Ill(problem) = answer else { panic!("{answer:?}") };
        assert!(problem.contains("KELLY_NOTIFY_ALLOW_INTERNAL"), "{problem}");
        service.stop().await;
    }
    assert_eq!(stub.got().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_is_not_followed_and_a_refusal_can_be_sent_again() {
    let (stage, stub) = (Stage::new().await, Provider::start(|_| Does::Answer(302)).await);
    let service = stage.service(&hook(&stub)).await;
    stage.raise(1).await;
    let dead = || service.outbox().overview().dead;
    until("a dead letter", || dead().len() == 1).await;
    let (id, letter) = dead().pop_first().unwrap();
    assert_eq!(letter.problem, "it answered 302");
    stub.choose(|_| Does::Take);
    service.outbox().request(Request::Replay { id }).await.unwrap();
    until("firing", || reasons(&stub) == ["firing"]).await;
    until("no dead letter", || dead().is_empty()).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_that_refuses_our_secret_is_left_alone_until_a_test_finds_it_well() {
    let (stage, stub) = (Stage::new().await, Provider::start(|_| Does::Answer(401)).await);
    let service = stage.service(&hook(&stub)).await;
    for number in 1..=5 {
        stage.raise(number).await;
    }
    let ill = || service.outbox().overview().destinations.get("hook").and_then(|state| state.ill.clone());
    until("it is ill", || ill().is_some()).await;
    let tried = stub.got().len();
    assert!(tried <= 4, "{tried} tries");
    assert!(matches!(service.test("hook").await, Some(Answer::Ill(_))));
    assert_eq!(service.test("nobody").await, None);
    stub.choose(|_| Does::Take);
    assert_eq!(service.test("hook").await, Some(Answer::Accepted(None)));
    until("it is well", || ill().is_none()).await;
    until("everything", || reasons(&stub).iter().filter(|reason| *reason == "firing").count() == 5).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slack_shows_one_message_that_changes_and_its_history_below() {
    let (stage, stub) = (Stage::new().await, Provider::willing().await);
    let text = format!(
        "[[destination]]\nid = 'slack'\nkind = 'slack'\nurl = '{}'\nsecret_file = 'SECRET_FILE'\nchannel = 'C1'\nper_minute = 6000\n\
         [[route]]\nid = 'all'\ndestinations = ['slack']\n",
        stub.url()
    );
    let service = stage.service(&text).await;
    // It takes the first one and hangs up: the message is there, and nobody knows.
    let mut first = true;
    stub.choose(move |path| match path {
        "/chat.postMessage" if std::mem::take(&mut first) => Does::TakeAndReset,
        _ => Does::Take,
    });
    stage.raise(1).await;
    until("the message is found", || {
        stub.got().iter().any(|got| got.path.starts_with("/conversations.history"))
    })
    .await;
    stage.resolve(1).await;
    until("the end below it", || stub.messages().len() == 2).await;
    let messages = stub.messages();
    let [(ts, message), (_, reply)] = &messages[..] else { panic!("{messages:?}") };
    assert!(message["text"].as_str().unwrap().starts_with("RESOLVED"), "changed in place: {message}");
    assert_eq!(reply["thread_ts"], ts.as_str());
    assert!(stub.got().iter().all(|got| got.headers["authorization"] == format!("Bearer {SECRET}")));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_kept_or_shown() {
    let (stage, stub) = (Stage::new().await, Provider::start(|_| Does::Answer(400)).await);
    let pagerduty = format!(
        "[[destination]]\nid = 'pd'\nkind = 'pagerduty'\nurl = '{}/pd'\nsecret_file = 'SECRET_FILE'\n\
         [[route]]\nid = 'pd'\ndestinations = ['pd']\n",
        stub.url()
    );
    let service = stage.service(&pagerduty).await;
    stage.raise(1).await;
    until("a dead letter", || service.outbox().overview().dead.len() == 1).await;
    assert!(stub.got()[0].text.contains(SECRET), "the provider gets it");
    let seen = format!("{:?}{:?}", service.outbox().overview(), service.settings());
    assert!(!seen.contains(SECRET));
    service.stop().await;
    stage.log.close().await.unwrap();
    let mut files = vec![stage.directory.path().join("log")];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            assert!(!bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()), "{}", path.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sign_of_life_ends_when_alerts_are_not_judged() {
    let (stage, stub) = (Stage::new().await, Provider::willing().await);
    stage.is_alive.store(false, Ordering::Relaxed);
    let text = format!("[heartbeat]\nurl = '{}/alive'\nevery_seconds = 5\n", stub.url());
    let service = stage.service(&text).await;
    until("two beats are due", || stage.asked.load(Ordering::Relaxed) >= 2).await;
    assert_eq!(stub.got().len(), 0);
    stage.is_alive.store(true, Ordering::Relaxed);
    until("a beat", || !stub.got().is_empty()).await;
    assert_eq!(stub.got()[0].path, "/alive");
    service.stop().await;
}
