//! A log that is not what it was: an instance refuses to decide upon it.

use std::time::{Duration, Instant};

use kelly_control::{
    Command, Decision, Health, Op, Outcome, Position, Replica, ReplicaConfig, ReplicaError, Snapshot,
    Snapshots, State, SubmitError,
};
use kelly_harness::{KafkaBroker, unique};
use kelly_schemas::error_chain;
use kelly_stream::KafkaConfig;
use uuid::Uuid;

use crate::support::{PATIENCE, Stage, acknowledge, both_logs, raise, verdict};

both_logs! {
    a_log_that_went_back_is_refused
    another_log_under_the_name_is_refused
    a_newer_version_of_commands_ends_it
}

/// What is sent meanwhile is refused or unknown, never half done: afterwards all instances know the same of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_dies_holds_decisions_up_and_loses_none() {
    let broker = KafkaBroker::start().unwrap();
    let brokers = broker.bootstrap().to_owned();
    let stage = Stage::kafka_with(KafkaConfig {
        brokers,
        request_timeout: Duration::from_secs(2),
        delivery_timeout: Duration::from_secs(3),
        ..Default::default()
    });
    let config = |instance| ReplicaConfig { decide_within: Duration::from_secs(5), ..stage.config(instance) };
    let one = Replica::start(stage.log.clone(), config("one")).await.unwrap();
    let two = Replica::start(stage.log.clone(), config("two")).await.unwrap();
    assert!(verdict(&one, &raise(1)).await.is_applied());
    broker.kill().unwrap();
    let command = acknowledge("ada", 1);
    match one.submit(&command).await {
        Err(SubmitError::NotSent(_)) | Ok(Outcome::Unknown { .. }) => {}
        other => panic!("{other:?}"),
    }
    broker.restart().unwrap();
    let deadline = Instant::now() + PATIENCE;
    for replica in [&one, &two] {
        while let Err(error) = replica.barrier().await {
            assert!(Instant::now() < deadline, "{}", error_chain(&error));
        }
    }
    assert_eq!(one.status(&command.id), two.status(&command.id));
    let is_applied = one.status(&command.id).is_some_and(|recorded| recorded.verdict.is_applied());
    let after = loop {
        match two.submit(&acknowledge("ben", 1)).await {
            Ok(Outcome::Decided(recorded)) => break recorded.verdict,
            other => assert!(Instant::now() < deadline, "{other:?}"),
        }
    };
    assert_eq!(after.code(), if is_applied { "conflict" } else { "applied" });
    assert!(one.read(|state| state.alerts().book().get(&Uuid::from_u128(1)).is_some()));
}

/// A snapshot goes further than the log.
async fn a_log_that_went_back_is_refused(stage: Stage) {
    let one = stage.replica("one").await;
    verdict(&one, &raise(1)).await;
    one.stop().await;
    let id = stage.log.log.topic_id(&stage.topic).await.unwrap().map(|id| id.0);
    let mut state = one.read(State::clone);
    let next = state.next_offset();
    let lost = acknowledge("ada", 1).encode().unwrap();
    Decision::make(&mut state, Position { offset: next, log_time_ms: 0 }, &lost);
    stage.snapshots("one").write(next + 1, &Snapshot { topic_id: id, state }.to_bytes()).unwrap();
    let refused = Replica::start(stage.log.clone(), stage.config("one")).await.map(drop).unwrap_err();
    assert!(
        matches!(refused, ReplicaError::WentBack { end, applied, .. } if end == next && applied == next + 1),
        "{refused:?}"
    );
    let words = error_chain(&refused);
    assert!(words.contains("went back") && words.contains("remove the snapshots"), "{words}");
    // Without that snapshot it begins at the beginning.
    assert!(matches!(stage.replica("fresh").await.health(), Health::Following));
}

async fn another_log_under_the_name_is_refused(mut stage: Stage) {
    let one = stage.replica("one").await;
    verdict(&one, &raise(1)).await;
    one.stop().await;
    stage.topic = unique("control").into();
    let refused = Replica::start(stage.log.clone(), stage.config("one")).await.map(drop).unwrap_err();
    assert!(matches!(refused, ReplicaError::OtherTopic { .. }), "{refused:?}");
}

/// A newer Kelly has put a version of commands in force that this one does not know: it cannot judge what follows.
async fn a_newer_version_of_commands_ends_it(stage: Stage) {
    let one = stage.replica("one").await;
    let upgrade = Op::Upgrade(kelly_control::op::Upgrade { version: 2 });
    let upgrade = Command::new(kelly_control::Actor::system(), upgrade);
    // It is decided; what comes behind it is not judged here.
    let outcome = one.submit(&upgrade).await.unwrap();
    assert!(matches!(outcome, Outcome::Decided(_)), "{outcome:?}");
    let ended = async {
        let mut watcher = one.watch(None);
        while watcher.next().await.is_ok() {}
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("it ends");
    let Health::Stopped(why) = one.health() else { panic!("{:?}", one.health()) };
    assert!(why.contains("version 2") && why.contains("newer version"), "{why}");
    let refused = Replica::start(stage.log.clone(), stage.config("two")).await.map(drop).unwrap_err();
    assert!(error_chain(&refused).contains("version 2"), "{refused:?}");
}
