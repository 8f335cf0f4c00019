//! Alerts from the first row to the store: the real processes, killed at any time, raise, worsen and end each alert once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kelly_control::alert::Status;
use kelly_control::{FileSnapshots, Replica, ReplicaConfig};
use kelly_harness::KafkaBroker;
use kelly_harness::chance::{Chance, SEED_VARIABLE};
use kelly_schemas::Stream;
use kelly_stream::{KafkaConfig, KafkaLog, Log, NewRecord};
use serde_json::{Value, json};

use crate::kelly_process::{Kelly, PATIENCE, Start};
use crate::tools::BASE;

/// Conversations whose alerts are followed through their lives.
const CONVERSATIONS: usize = 60;

const STEPS: usize = 5;

/// As the built-in rule, with an end that need not be waited for.
const RULES: &str = r#"
    [[rule]]
    id = "soon_over"
    metric = "safety_score"
    direction = "below"
    warning = 0.8
    critical = 0.6
    keep_firing_for = "1s"
    late = "1s"
"#;

/// The built-in rule.
const BUILTIN: &str = "safety_score_drop";

/// One row of each conversation: good, bad, worse, good, and still good; every third one stays bad.
fn rows(step: usize) -> Vec<Value> {
    (0..CONVERSATIONS)
        .filter(|conversation| step < 3 || !stays(*conversation))
        .map(|conversation| {
            let value = [0.95, 0.75, 0.5, 0.97, 0.98][step];
            json!({
                "metric_name": "safety_score", "value": value, "account_id": format!("a-{}", conversation % 4),
                "conversation_id": format!("c-{conversation}"),
            })
        })
        .collect()
}

fn stays(conversation: usize) -> bool {
    conversation.is_multiple_of(3)
}

/// Steps of the alerts of a rule about a conversation, in their order.
type Lives = BTreeMap<(String, String), Vec<String>>;

/// What has to be found of each conversation.
fn expected() -> Lives {
    let life = |rule: &str, conversation| {
        let mut life = vec!["raised".to_owned(), "worsened".to_owned()];
        if rule != BUILTIN && !stays(conversation) {
            life.push("data_resolved".to_owned());
        }
        life
    };
    let of = |rule: &'static str| {
        (0..CONVERSATIONS).map(move |conversation| {
            ((rule.to_owned(), format!("c-{conversation}")), life(rule, conversation))
        })
    };
    of(BUILTIN).chain(of("soon_over")).collect()
}

/// Without the ends of the built-in rule's alerts, which come when they come.
fn but_its_end(mut lives: Lives) -> Lives {
    for ((rule, _), life) in &mut lives {
        if rule == BUILTIN && life.last().is_some_and(|step| step == "data_resolved") {
            life.pop();
        }
    }
    lives
}

fn seeded() -> Chance {
    let chance = Chance::from_environment();
    eprintln!("play this again with {SEED_VARIABLE}={}", chance.seed());
    chance
}

async fn stored(kelly: &Kelly) -> Lives {
    let query = "SELECT rule, conversation_id, groupArray(steps) FROM (SELECT rule, conversation_id, steps FROM alert_instances \
                 FINAL WHERE conversation_id != '' ORDER BY log_offset) GROUP BY rule, conversation_id FORMAT JSONCompactEachRow";
    let answer = kelly.sql(query).await;
    let rows = answer.lines().map(|line| serde_json::from_str(line).expect(line));
    let lives = rows.map(|(rule, conversation, steps)| ((rule, conversation), steps));
    but_its_end(lives.collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_kelly_that_is_killed_every_alert_is_raised_and_ended_once() {
    let mut chance = seeded();
    let directory = tempfile::tempdir().expect("a directory");
    let rules = directory.path().join("rules.toml");
    std::fs::write(&rules, RULES).expect("the directory is ours");
    let environment =
        [("KELLY_MONITORING_ENABLED", "false"), ("KELLY_ALERT_RULES", rules.to_str().expect("a plain path"))];
    let start = || Start { arguments: &["up"], environment: &environment, data: directory.path() };
    let mut kelly = Kelly::start(start()).await;
    let path = format!("{BASE}/metrics/record");
    for step in 0..STEPS {
        for some in rows(step).chunks(20) {
            // What was perhaps recorded is recorded again: the same value twice is no news.
            while !matches!(kelly.post(&path, &some.into()).await, Some((202, _))) {
                kelly.kill();
                kelly = Kelly::start(start()).await;
            }
            tokio::time::sleep(chance.milliseconds(400)).await;
            if chance.below(4) == 0 {
                kelly.kill();
                kelly = Kelly::start(start()).await;
            }
        }
    }
    kelly.kill();
    let kelly = Kelly::start(start()).await;
    let expected = expected();
    let begun = Instant::now();
    loop {
        let found = stored(&kelly).await;
        if found == expected {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{found:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let evaluator = kelly.part("evaluator").await.expect("the evaluator's health");
    assert_eq!(evaluator["status"], "healthy", "{evaluator}");
    assert_eq!(evaluator["details"]["lag"], 0, "{evaluator}");
    let metrics = kelly.text("/metrics").await;
    assert!(metrics.contains("kelly_evaluate_partitions 5"), "two of metrics, three of rows: {metrics}");
    // A stop stores what is known, and the next start finds nothing new.
    assert_eq!(kelly.terminate(), Some(0));
    let kelly = Kelly::start(start()).await;
    assert_eq!(stored(&kelly).await, expected);
    assert_eq!(kelly.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evaluators_over_kafka_take_over_from_each_other() {
    let mut chance = seeded();
    let broker = KafkaBroker::start().expect("a Kafka broker");
    let directories: Vec<_> = (0..3).map(|_| tempfile::tempdir().expect("a directory")).collect();
    let properties = directories[0].path().join("kafka.properties");
    // A killed instance is missed sooner than by default.
    std::fs::write(&properties, "session.timeout.ms=2000\nheartbeat.interval.ms=500\n")
        .expect("the directory is ours");
    let rules = directories[0].path().join("rules.toml");
    std::fs::write(&rules, RULES).expect("the directory is ours");
    let log_url = format!("kafka://{}", broker.bootstrap());
    let environment = [
        ("KELLY_LOG", log_url.as_str()),
        ("KELLY_KAFKA_PROPERTIES", properties.to_str().expect("a plain path")),
        ("KELLY_LOG_PARTITIONS", "4"),
        ("KELLY_ALERT_RULES", rules.to_str().expect("a plain path")),
    ];
    let start = |at: usize| {
        let data = directories[at].path();
        Kelly::spawn(Start { arguments: &["evaluate"], environment: &environment, data })
    };
    let mut running = vec![start(0), start(1)];
    let log: Arc<dyn Log> =
        Arc::new(KafkaLog::connect(KafkaConfig::new(broker.bootstrap())).expect("the broker"));
    let begun = Instant::now();
    while log.partitions(kelly_evaluate::STATE_TOPIC).await.is_err() {
        assert!(begun.elapsed() < PATIENCE, "no evaluator made the topics");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let snapshots = Arc::new(FileSnapshots::new(directories[2].path().join("control")));
    let replica = Replica::start(log.clone(), ReplicaConfig::new(snapshots)).await.expect("the control log");
    for step in 0..STEPS {
        for some in rows(step).chunks(10) {
            let records = some.iter().map(|row| NewRecord {
                topic: Stream::Metrics.topic().into(),
                partition: None,
                key: row["conversation_id"].as_str().map(|key| Bytes::from(key.to_owned())),
                payload: row.to_string().into(),
                content_type: None,
            });
            log.append(records.collect()).await.expect("acknowledged");
            tokio::time::sleep(chance.milliseconds(300)).await;
        }
        if step == 1 || step == 3 {
            // One is killed while it works; another one comes after a while.
            let at = step / 2;
            running.remove(0).kill();
            tokio::time::sleep(chance.milliseconds(1_000)).await;
            running.push(start(at));
        }
    }
    let expected = expected();
    let begun = Instant::now();
    loop {
        let found = but_its_end(replica.read(|state| {
            let book = state.alerts().book();
            let about_conversations = book.iter().filter_map(|alert| {
                let steps = book.history(&alert.id).map(|entry| entry.step.code().to_owned());
                Some(((alert.rule.clone(), alert.conversation_id.clone()?), steps.collect()))
            });
            about_conversations.collect()
        }));
        if found == expected {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{found:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (alerts, open) = replica.read(|state| {
        let book = state.alerts().book();
        let of_rule = || book.iter().filter(|alert| alert.rule == "soon_over");
        (of_rule().count(), of_rule().filter(|alert| alert.status != Status::Resolved).count())
    });
    assert_eq!((alerts, open), (CONVERSATIONS, CONVERSATIONS.div_ceil(3)), "none is there twice");
    replica.stop().await;
    for evaluator in running {
        assert_eq!(evaluator.terminate(), Some(0));
    }
}
