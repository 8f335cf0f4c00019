//! A producer of transactions: their markers and what they abort take offsets and are no records. They are written by
//! nobody, lag nobody, and may lie at the end of a range that was declared.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use kelly_harness::{KafkaBroker, unique};
use kelly_ingest::{BatchBounds, IngestConfig, Pipeline, lag, positions};
use kelly_schemas::{INGEST_GROUP, Stream};
use kelly_sql::Table;
use kelly_stream::{KafkaConfig, KafkaLog, Log, Retention, TopicPartition, TopicSpec};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

use crate::ledger::{Contents, Ledger, Plan, Taken};
use crate::messages::{config, run_until_crash, run_until_drained};

/// Longer than anything here takes; reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(60);

struct Transactions(ThreadedProducer<DefaultProducerContext>);

impl Transactions {
    fn start(broker: &KafkaBroker) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", broker.bootstrap()).set("transactional.id", unique("transaction"));
        let producer: ThreadedProducer<DefaultProducerContext> = config.create().unwrap();
        producer.init_transactions(PATIENCE).unwrap();
        Self(producer)
    }

    /// Begins one, and has the broker take a metric in it.
    fn begin(&self, value: u32) {
        self.0.begin_transaction().unwrap();
        let payload = format!(r#"{{"metric_name":"m","value":{value}}}"#);
        let record = BaseRecord::<str, str>::to(Stream::Metrics.topic()).payload(&payload).key("k");
        self.0.send(record).map_err(|(error, _)| error).unwrap();
        self.0.flush(PATIENCE).unwrap();
    }

    async fn commit(&self, log: &KafkaLog) {
        self.0.commit_transaction(PATIENCE).unwrap();
        until_marked(log).await;
    }

    async fn abort(&self, log: &KafkaLog) {
        self.0.abort_transaction(PATIENCE).unwrap();
        until_marked(log).await;
    }
}

/// The coordinator answers before the marker of a transaction's end is on the partition.
async fn until_marked(log: &KafkaLog) {
    let marked = async {
        while log.held_back(Stream::Metrics.topic()).await.unwrap() != [0] {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, marked).await.expect("the transaction ends");
}

async fn log_of(broker: &KafkaBroker) -> Arc<KafkaLog> {
    let log = KafkaLog::connect(KafkaConfig::new(broker.bootstrap())).unwrap();
    let topic = |stream: Stream| TopicSpec {
        name: stream.topic().to_owned(),
        partitions: 1,
        retention: Retention::default(),
    };
    log.ensure_topics(&Stream::ALL.map(topic)).await.unwrap();
    Arc::new(log)
}

fn values(contents: &Mutex<Contents>) -> Vec<f64> {
    contents.lock().unwrap().values(Table::SystemMetrics, "value")
}

async fn committed(log: &dyn Log) -> Option<u64> {
    positions(log, INGEST_GROUP, &[Stream::Metrics]).await.unwrap()[0].committed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn markers_and_aborted_records_are_not_behind() {
    let broker = KafkaBroker::start().expect("a Kafka broker");
    let log = log_of(&broker).await;
    let place = TopicPartition { topic: Stream::Metrics.topic().into(), partition: 0 };
    let producer = Transactions::start(&broker);
    let contents: Arc<Mutex<Contents>> = Arc::default();
    let drain = || async {
        let ledger = Arc::new(Ledger::over(&contents, Plan::Obey));
        run_until_drained(&(Arc::clone(&log) as _), ledger, config(7)).await;
    };

    // Aborted records and nothing else, where the group has no position yet.
    producer.begin(0);
    producer.abort(&log).await;
    drain().await;
    assert_eq!((values(&contents), committed(&*log).await), (Vec::new(), Some(2)));

    producer.begin(1);
    producer.commit(&log).await;
    drain().await;
    assert_eq!((values(&contents), committed(&*log).await), (vec![1.0], Some(4)));

    producer.begin(2);
    producer.abort(&log).await;
    // Nobody reads now. What is left holds no record, which a doctor can see.
    assert_eq!(log.first_record(&place, 4).await.unwrap(), None);
    drain().await;
    assert_eq!((values(&contents), committed(&*log).await), (vec![1.0], Some(6)));

    // What is in an open transaction is neither read nor behind before it ends.
    producer.begin(3);
    drain().await;
    assert_eq!((values(&contents), committed(&*log).await), (vec![1.0], Some(6)));
    assert_eq!(log.held_back(Stream::Metrics.topic()).await.unwrap(), [1]);
    producer.commit(&log).await;
    assert_eq!(log.first_record(&place, 6).await.unwrap(), Some(6));
    drain().await;
    assert_eq!((values(&contents), committed(&*log).await), (vec![1.0, 3.0], Some(8)));
    assert_eq!(lag(&*log, INGEST_GROUP, &Stream::ALL).await.unwrap(), 0);
}

/// The range that is declared ends behind a marker, and the process dies at the insert: whoever takes it up finds its end
/// although no record follows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_declared_range_that_ends_with_a_marker_is_finished() {
    let broker = KafkaBroker::start().expect("a Kafka broker");
    let log = log_of(&broker).await;
    let producer = Transactions::start(&broker);
    producer.begin(1);
    producer.commit(&log).await;
    producer.begin(2);
    producer.abort(&log).await;
    let contents: Arc<Mutex<Contents>> = Arc::default();
    // Time enough to learn what lies behind the record before the batch is closed.
    let bounds = BatchBounds { max_age: Duration::from_secs(3), ..BatchBounds::default() };
    let patient = || IngestConfig { bounds, ..config(7) };
    let ledger = Arc::new(Ledger::over(&contents, Plan::Crash { at: 0, taken: Taken::All }));
    let of_port: Arc<dyn Log> = Arc::clone(&log) as _;
    assert!(run_until_crash(&of_port, Arc::clone(&ledger) as _, &ledger.crashed, patient()).await);
    let position = log.committed(INGEST_GROUP, Stream::Metrics.topic()).await.unwrap().remove(0).unwrap();
    assert_eq!(position.offset, 0);
    assert!(position.metadata.contains(";end=4;"), "{}", position.metadata);

    let ledger = Arc::new(Ledger::over(&contents, Plan::Obey));
    let pipeline = Pipeline::start(Arc::clone(&of_port), ledger, patient()).unwrap();
    let finished = async {
        while committed(&*log).await != Some(4) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, finished).await.expect("the range is finished");
    pipeline.shutdown().await.unwrap();
    assert_eq!(values(&contents), [1.0]);
}
