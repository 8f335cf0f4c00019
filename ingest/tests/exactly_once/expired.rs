//! The group's positions are gone: deleted as Kafka deletes them when a group was away for too long, or with a topic that
//! is made anew. What the store has tells where to go on.

use std::sync::Arc;

use kelly_harness::KafkaBroker;
use kelly_harness::engine::spec;
use kelly_schemas::{INGEST_GROUP, Stream};
use kelly_sql::Table;
use kelly_sql::engine::Engine;
use kelly_stream::{KafkaConfig, KafkaLog, Log};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use tempfile::TempDir;

use crate::ledger::Taken;
use crate::messages::{config, fill, run_until_drained};
use crate::store::{crash, database_on, violations};

const NONE: Vec<String> = Vec::new();

fn connect(broker: &KafkaBroker) -> Arc<dyn Log> {
    Arc::new(KafkaLog::connect(KafkaConfig::new(broker.bootstrap())).unwrap())
}

async fn lose_positions(broker: &KafkaBroker, log: &dyn Log) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", broker.bootstrap()).create().unwrap();
    // It is empty: the one member there was has left.
    let deleted = admin.delete_groups(&[INGEST_GROUP], &AdminOptions::new()).await.unwrap();
    assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
    for topic in [Stream::Metrics.topic(), Stream::Activity.topic()] {
        let positions = log.committed(INGEST_GROUP, topic).await.unwrap();
        assert!(positions.iter().all(Option::is_none), "{positions:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_that_kafka_forgot_lose_and_repeat_nothing() {
    let broker = KafkaBroker::start().expect("a Kafka broker");
    let directory = TempDir::new().unwrap();
    let engine = Engine::start(spec(directory.path()).unwrap()).await.unwrap();
    let drain = |log: Arc<dyn Log>, store: kelly_sql::Store, rows: usize| async move {
        run_until_drained(&log, Arc::new(store), config(rows)).await;
    };
    for (table, taken) in [
        (Table::SystemMetrics, Taken::Part),
        (Table::MetricRollups, Taken::Part),
        (Table::MetricRollups, Taken::All),
        (Table::ActivityEvents, Taken::Part),
    ] {
        let scene = format!("{}_{taken:?}", table.name()).to_lowercase();
        let store = database_on(&engine, scene.clone()).await;
        let log = connect(&broker);
        fill(&*log).await;
        crash(&log, &store, table, taken).await;
        lose_positions(&broker, &*log).await;
        drain(Arc::clone(&log), store.clone(), 5).await;
        assert_eq!(violations(&store, 1).await, NONE, "{scene}: lost in the middle of a range");

        lose_positions(&broker, &*log).await;
        drain(Arc::clone(&log), store.clone(), 5).await;
        assert_eq!(violations(&store, 1).await, NONE, "{scene}: lost with nothing under way");

        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", broker.bootstrap()).create().unwrap();
        let all = [Stream::Metrics.topic(), Stream::Activity.topic()];
        let deleted = admin.delete_topics(&all, &AdminOptions::new()).await.unwrap();
        assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
        log.close().await.unwrap();
        let anew = connect(&broker);
        fill(&*anew).await;
        drain(Arc::clone(&anew), store.clone(), 5).await;
        assert_eq!(violations(&store, 2).await, NONE, "{scene}: made anew");
        // The next scene has a store of its own, and so must not find these.
        let deleted = admin.delete_topics(&all, &AdminOptions::new()).await.unwrap();
        assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
        anew.close().await.unwrap();
    }
    engine.shutdown().await;
}
