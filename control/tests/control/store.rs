//! What is decided is written into the store: every record once, whoever writes.

use std::sync::Arc;
use std::time::Instant;

use kelly_control::{Actor, Command, Op, Projector, ProjectorConfig, Replica, State};
use kelly_harness::TestDatabase;

use crate::support::{PATIENCE, Stage, acknowledge, handle, raise, verdict};

fn projector(stage: &Stage, database: &TestDatabase, instance: &str) -> Projector {
    let config = ProjectorConfig {
        log: stage.log.clone(),
        topic: stage.topic.clone(),
        snapshots: stage.snapshots(instance),
        store: database.store().clone(),
    };
    Projector::start(config).unwrap()
}

/// Until the store has all that the replica has applied.
async fn written(stage: &Stage, database: &TestDatabase, replica: &Replica) {
    let id = stage.log.log.topic_id(&stage.topic).await.unwrap().unwrap();
    let life = format!("{:016x}", id.0);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let end = database.store().decisions_end(&life).await.unwrap();
        if end == Some(replica.read(State::next_offset)) {
            return;
        }
        assert!(Instant::now() < deadline, "the store is at {end:?}");
        tokio::task::yield_now().await;
    }
}

async fn stop(projector: Projector) {
    tokio::task::spawn_blocking(move || projector.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_record_is_written_once_by_whoever_writes() {
    let stage = Stage::embedded();
    let database = TestDatabase::create().await;
    let replica = stage.replica("one").await;
    let projectors = [projector(&stage, &database, "one"), projector(&stage, &database, "two")];
    for alert in 0..10 {
        verdict(&replica, &raise(alert)).await;
        verdict(&replica, &acknowledge("ada", alert)).await;
        verdict(&replica, &acknowledge("ben", alert)).await;
    }
    stage.append(vec![b"nonsense".to_vec()]).await;
    let resolve = Command::new(Actor::person("ada"), Op::Resolve(handle(3, None)));
    verdict(&replica, &resolve).await;
    written(&stage, &database, &replica).await;
    for projector in projectors {
        stop(projector).await;
    }
    let next = replica.read(State::next_offset);
    let offsets =
        "SELECT count(), uniqExact(log_offset), min(log_offset), max(log_offset) FROM control_log FINAL";
    assert_eq!(database.query(offsets).await, format!("{next}\t{next}\t0\t{}", next - 1));
    // Equal rows but for how often they were written: what two instances say of a record is the same.
    let differing = "SELECT count() FROM (SELECT log_offset FROM control_log GROUP BY log_offset \
                     HAVING uniqExact(tuple(* EXCEPT log_offset)) > 1)";
    assert_eq!(database.query(differing).await, "0");
    let chain = replica.read(State::chain).iter().map(|byte| format!("{byte:02X}")).collect::<String>();
    let last = "SELECT hex(chain) FROM control_log FINAL ORDER BY log_offset DESC LIMIT 1";
    assert_eq!(database.query(last).await, chain);
    let verdicts = "SELECT op, verdict, reason, count() FROM control_log FINAL WHERE op != 'noop' \
                    GROUP BY ALL ORDER BY ALL";
    assert_eq!(
        database.query(verdicts).await,
        "\trefused\trecord_unreadable\t1\n\
         alert.acknowledge\tapplied\t\t10\n\
         alert.acknowledge\tconflict\tacknowledged\t10\n\
         alert.resolve\tapplied\t\t1\n\
         alert.transition\tapplied\t\t10"
    );
    let conflict = "SELECT DISTINCT JSONExtractString(detail, 'by'), actor_id, actor_kind FROM control_log FINAL \
                    WHERE verdict = 'conflict'";
    assert_eq!(database.query(conflict).await, "ada\tben\tperson");
    let unread =
        "SELECT payload, hex(payload_hash) = hex(SHA256('nonsense')) FROM control_log FINAL WHERE op = ''";
    assert_eq!(database.query(unread).await, "\t1");
    let payload =
        "SELECT countIf(hex(SHA256(payload)) != hex(payload_hash)) FROM control_log FINAL WHERE op != ''";
    assert_eq!(database.query(payload).await, "0");
    // The newest row of an alert is how it stands, all of them are its history.
    let history = "SELECT steps, status, acknowledged_by, resolved_by, isNaN(resolved_value), account_id, value \
                   FROM alert_instances FINAL WHERE alert_id = toUUID('00000000-0000-0000-0000-000000000003') \
                   ORDER BY log_offset";
    assert_eq!(
        database.query(history).await,
        "raised\tactive\t\t\t1\ta-7\t2100.5\n\
         acknowledged\tacknowledged\tada\t\t1\ta-7\t2100.5\n\
         resolved\tresolved\tada\tada\t0\ta-7\t2100.5"
    );
    assert_eq!(database.query("SELECT count() FROM alert_instances FINAL").await, "21");
}

/// The store is behind the newest snapshot: what lies between is read again from the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_decided_while_the_store_was_away_is_written_later() {
    let stage = Stage::embedded();
    let database = TestDatabase::create().await;
    let replica: Arc<Replica> = stage.replica("one").await;
    for alert in 0..5 {
        verdict(&replica, &raise(alert)).await;
    }
    // A snapshot beyond what the store has, which is nothing.
    replica.stop().await;
    let replica = stage.replica("one").await;
    let writing = projector(&stage, &database, "one");
    written(&stage, &database, &replica).await;
    stop(writing).await;
    verdict(&replica, &acknowledge("ada", 1)).await;
    // And it goes on from where the store ends.
    let writing = projector(&stage, &database, "one");
    written(&stage, &database, &replica).await;
    stop(writing).await;
    let next = replica.read(State::next_offset);
    assert_eq!(database.query("SELECT count() FROM control_log").await, next.to_string());
    let rows = "SELECT steps, count() FROM alert_instances GROUP BY ALL ORDER BY ALL";
    assert_eq!(database.query(rows).await, "acknowledged\t1\nraised\t5");
}
