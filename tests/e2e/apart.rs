//! A stage for the roles apart: a broker of the test's own, the shared engine with a database of the
//! test's own, and instances of kelly that come and go while a producer goes on.

use std::time::{Duration, Instant};

use kelly_harness::chaos::Producer;
use kelly_harness::process::{Kelly, PATIENCE, Start, run};
use kelly_harness::truth::{Truth, Verdict};
use kelly_harness::{BrokerOptions, Engine, KafkaBroker, engine, unique};
use kelly_schemas::{INGEST_GROUP, Stream};
use kelly_stream::{KafkaConfig, KafkaLog};
use tempfile::TempDir;

/// How a stage differs from the usual one.
#[derive(Default)]
pub struct Changes<'a> {
    /// Where kelly thinks the store is, `host:port`; the engine itself when left out.
    pub store: Option<&'a str>,
    /// Where kelly and the producer think the broker is; the broker itself when left out.
    pub bootstrap: Option<String>,
    /// Of the broker.
    pub broker: BrokerOptions,
    /// Settings over the usual ones.
    pub environment: &'a [(&'a str, &'a str)],
}

/// The stage.
pub struct Apart {
    pub broker: KafkaBroker,
    /// Asks the broker, past kelly.
    pub log: KafkaLog,
    bootstrap: String,
    database: String,
    directory: TempDir,
    environment: Vec<(String, String)>,
}

impl Apart {
    /// Sets it: the broker runs, the tables are there.
    pub async fn set(changes: Changes<'_>) -> Self {
        let broker = KafkaBroker::start_with(&changes.broker).expect("a Kafka broker");
        let directory = tempfile::tempdir().expect("a directory");
        let properties = directory.path().join("kafka.properties");
        // A member that is gone is missed sooner than by default.
        std::fs::write(&properties, "session.timeout.ms=2000\nheartbeat.interval.ms=500\n")
            .expect("the directory is ours");
        let store = Engine::shared().store_config();
        let database = unique("apart").replace('-', "_");
        let address = changes.store.unwrap_or_else(|| store.url.trim_start_matches("http://")).to_owned();
        let bootstrap = changes.bootstrap.unwrap_or_else(|| broker.bootstrap().to_owned());
        let mut environment = vec![
            ("KELLY_LOG".to_owned(), format!("kafka://{bootstrap}")),
            ("KELLY_STORE".to_owned(), format!("http://{}@{address}/{database}", store.user)),
            ("KELLY_STORE_PASSWORD".to_owned(), store.password.clone()),
            ("KELLY_KAFKA_PROPERTIES".to_owned(), properties.display().to_string()),
            ("KELLY_MONITORING_ENABLED".to_owned(), "false".to_owned()),
            // Two for each of three instances.
            ("KELLY_LOG_PARTITIONS".to_owned(), "6".to_owned()),
            ("KELLY_INGEST_BATCH_ROWS".to_owned(), "2000".to_owned()),
            ("KELLY_INGEST_BATCH_MILLISECONDS".to_owned(), "100".to_owned()),
        ];
        for (name, value) in changes.environment {
            environment.retain(|(there, _)| there != name);
            environment.push(((*name).to_owned(), (*value).to_owned()));
        }
        let log = KafkaLog::connect(KafkaConfig::new(&bootstrap)).expect("the broker");
        let stage = Self { broker, log, bootstrap, database, directory, environment };
        let (code, _, stderr) = run(&["migrate"], &stage.environment(), stage.directory.path());
        assert_eq!(code, Some(0), "{stderr}");
        stage
    }

    fn environment(&self) -> Vec<(&str, &str)> {
        self.environment.iter().map(|(name, value)| (&**name, &**value)).collect()
    }

    /// Starts a role and does not wait.
    pub fn spawn(&self, arguments: &[&str]) -> Kelly {
        let environment = self.environment();
        Kelly::spawn(Start { arguments, environment: &environment, data: self.directory.path() })
    }

    /// Starts a role that listens there and does not wait.
    pub fn spawn_at(&self, listen: &str, arguments: &[&str]) -> Kelly {
        let environment = self.environment();
        Kelly::spawn_at(listen, Start { arguments, environment: &environment, data: self.directory.path() })
    }

    /// A file of the test's own.
    pub fn file(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    /// A steady producer on the topic, which an instance must have made.
    pub fn producer(&self) -> Producer {
        Producer::on_kafka(&self.bootstrap, Duration::from_millis(8)).expect("a producer")
    }

    /// The store's answer to a query.
    pub async fn sql(&self, query: &str) -> String {
        engine::query(Engine::shared().store_config(), &self.database, query).await.expect("an answer")
    }

    /// Waits until so many rows more than now are written.
    pub async fn until_more(&self, rows: u64) {
        let count = async || -> u64 {
            self.sql("SELECT count() FROM system_metrics").await.parse().expect("a number")
        };
        let wanted = count().await + rows;
        let begun = Instant::now();
        loop {
            let found = count().await;
            if found >= wanted {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "only {found} of {wanted} rows came");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the topics are there: the first instance makes them.
    pub async fn until_topics(&self) {
        use kelly_stream::Log;
        let begun = Instant::now();
        for topic in Stream::ALL.map(Stream::topic) {
            while self.log.partitions(topic).await.is_err() {
                assert!(begun.elapsed() < PATIENCE, "nobody made the topics");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// Waits until everything on the log is confirmed.
    pub async fn until_drained(&self) {
        let (mut begun, mut before) = (Instant::now(), None);
        loop {
            let lag = kelly_ingest::lag(&self.log, INGEST_GROUP, &Stream::ALL).await.ok();
            if lag == Some(0) {
                return;
            }
            if lag.is_some() && lag != before {
                (begun, before) = (Instant::now(), lag);
            }
            assert!(begun.elapsed() < PATIENCE, "{before:?} records were not confirmed");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// What the store holds of the truth.
    pub async fn verdict(&self, truth: &Truth) -> Verdict {
        truth.compare(async |query| Ok(self.sql(&query).await)).await.expect("the store answers")
    }

    /// Ends the producer, waits for the rest, and demands that everything is there once.
    pub async fn assert_exact(&self, producer: Producer) -> Truth {
        let truth = producer.stop().await.expect("the log takes everything");
        self.until_drained().await;
        let verdict = self.verdict(&truth).await;
        eprintln!("{verdict}");
        assert!(verdict.acknowledged > 0 && verdict.events > 0 && truth.poison() > 0, "nothing was produced");
        assert!(verdict.is_exact(), "{verdict}");
        truth
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        // Before the engine is asked anything more by instances that are still there.
        let (config, database) = (Engine::shared().store_config().clone(), self.database.clone());
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(engine::query(
                &config,
                "default",
                &format!("DROP DATABASE IF EXISTS {database} SYNC"),
            ))
        });
        let _ = dropping.join();
    }
}
