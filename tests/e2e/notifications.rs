//! People are told of alerts: the real binary is killed again and again, its provider fails in every way it can, and in the end
//! everything was told, once, to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kelly_control::alert::{DataReason, Severity};
use kelly_control::op::{Transition, TransitionKind};
use kelly_control::{Actor, ActorKind, Command, Op};
use kelly_harness::KafkaBroker;
use kelly_harness::chance::{Chance, SEED_VARIABLE};
use kelly_harness::provider::{Does, Provider};
use kelly_stream::{KafkaConfig, KafkaLog, Log, NewRecord};
use uuid::Uuid;

use crate::kelly_process::{Kelly, PATIENCE, Start, run};

const ALERTS: u128 = 40;
const KILLS: u64 = 6;

/// Writes what data say of an alert, as an evaluator does.
async fn say(log: &KafkaLog, number: u128, kind: TransitionKind) {
    let now_ms = chrono::Utc::now().timestamp_millis();
    let transition = Transition {
        alert: Uuid::from_u128(number),
        kind,
        reason: (kind == TransitionKind::Resolved).then_some(DataReason::Recovered),
        rule: "slow_answers".into(),
        rule_version: 1,
        account_id: Some(format!("account-{number}")),
        conversation_id: None,
        metric: Some("response_time".into()),
        severity: Severity::Critical,
        at_ms: now_ms,
        since_ms: now_ms,
        value: Some(93.2),
        threshold: Some(85.0),
        explanation: "response_time is above 85".into(),
        labels: BTreeMap::new(),
        runbook: None,
        quiet: false,
        cause: None,
    };
    let evaluator = Actor { kind: ActorKind::Evaluator, id: "evaluator".into(), role: None };
    let command = Command::new(evaluator, Op::Transition(Box::new(transition)));
    let record = NewRecord {
        topic: kelly_control::TOPIC.into(),
        partition: Some(0),
        key: None,
        payload: command.encode().expect("it is within its bounds").into(),
        content_type: None,
    };
    log.append(vec![record]).await.expect("the log takes it");
}

/// By key, in order, what somebody has who takes each id once.
fn told(provider: &Provider) -> BTreeMap<String, Vec<String>> {
    let mut seen = BTreeSet::new();
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for got in provider.taken() {
        if got.reason() != "test" && seen.insert(got.id().to_owned()) {
            told.entry(got.key().to_owned()).or_default().push(got.reason().to_owned());
        }
    }
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_told_once_and_to_its_end_whatever_is_killed() {
    let chance = Chance::from_environment();
    eprintln!("play this again with {SEED_VARIABLE}={}", chance.seed());
    let moods = Arc::new(Mutex::new(chance.split(1)));
    let mut chance = chance;
    let provider = Provider::start(move |_| match moods.lock().expect("nobody panics").below(30) {
        0 => Does::Busy(1),
        1 => Does::Answer(500),
        2 => Does::Reset,
        3 | 4 => Does::TakeAndReset,
        5 => Does::Hang,
        6 => Does::Answer(401),
        _ => Does::Take,
    })
    .await;
    let broker = KafkaBroker::start().expect("a Kafka broker");
    let directory = tempfile::tempdir().expect("a directory");
    let notifications = directory.path().join("notifications.toml");
    std::fs::write(
        &notifications,
        format!(
            "[[destination]]\nid = 'hook'\nkind = 'webhook'\nurl = '{}/x'\nsecret_variable = 'HOOK_SECRET'\nper_minute = 6000\n\
             [[route]]\nid = 'all'\ndestinations = ['hook']\ngroup_by = ['alert']\n",
            provider.url()
        ),
    )
    .expect("the directory is ours");
    let properties = directory.path().join("kafka.properties");
    std::fs::write(&properties, "session.timeout.ms=2000\nheartbeat.interval.ms=500\n").expect("it is ours");
    let log_url = format!("kafka://{}", broker.bootstrap());
    let environment = [
        ("KELLY_LOG", log_url.as_str()),
        ("KELLY_KAFKA_PROPERTIES", properties.to_str().expect("a plain path")),
        ("KELLY_MONITORING_ENABLED", "false"),
        ("KELLY_NOTIFICATIONS", notifications.to_str().expect("a plain path")),
        ("KELLY_NOTIFY_ALLOW_INTERNAL", "127.0.0.1"),
        ("KELLY_PUBLIC_URL", "https://kelly.example.com"),
        ("HOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    ];
    let start = || Start { arguments: &["up"], environment: &environment, data: directory.path() };
    let mut kelly = Kelly::start(start()).await;
    let log = KafkaLog::connect(KafkaConfig::new(broker.bootstrap())).expect("the broker");
    // From then on it is kept how far decisions were read.
    say(&log, 1, TransitionKind::Raised).await;
    let begun = Instant::now();
    while provider.taken().is_empty() {
        assert!(begun.elapsed() < PATIENCE, "the first one never came");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (mut next, mut open) = (2, vec![1]);
    for _ in 0..KILLS {
        for _ in 0..ALERTS / u128::from(KILLS) {
            say(&log, next, TransitionKind::Raised).await;
            open.push(next);
            next += 1;
            if chance.below(2) == 0 {
                let at = chance.below(open.len() as u64) as usize;
                say(&log, open.swap_remove(at), TransitionKind::Resolved).await;
            }
            tokio::time::sleep(chance.milliseconds(80)).await;
        }
        kelly.kill();
        kelly = Kelly::spawn(start());
        if chance.below(2) == 0 {
            kelly.until_ready().await;
        }
    }
    for number in open {
        say(&log, number, TransitionKind::Resolved).await;
    }
    kelly.until_ready().await;
    // A provider that did not know us is left alone until somebody tries it.
    provider.choose(|_| Does::Take);
    let data = directory.path().to_str().expect("a plain path");
    let (code, said, problem) =
        run(&["notify", "test", "hook", "--data", data], &environment, directory.path());
    assert_eq!(code, Some(0), "{said}{problem}");
    let raised = usize::try_from(next - 1).expect("a few");
    let begun = Instant::now();
    let is_whole = || {
        let told = told(&provider);
        told.len() == raised
            && told.values().all(|reasons| reasons.last().is_some_and(|last| last == "resolved"))
    };
    while !is_whole() {
        assert!(begun.elapsed() < PATIENCE, "{} of {raised}: {:?}", told(&provider).len(), told(&provider));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for (key, reasons) in told(&provider) {
        assert_eq!(reasons, ["firing", "resolved"], "{key}");
    }
    let (code, said, _) = run(&["notify", "dead", "--data", data], &environment, directory.path());
    assert_eq!((code, said.trim()), (Some(0), "0 given up"));
    assert_eq!(kelly.terminate(), Some(0));
}
