//! A run of kills: `kelly up` lives and dies at random points while a steady producer goes on, and
//! in the end the store is held against what the log acknowledged. The end-to-end tests and
//! `kelly-bench chaos` make the same run, of different length.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use kelly_schemas::topics;
use kelly_stream::{EmbeddedConfig, EmbeddedLog, KafkaConfig, KafkaLog, Log, LogError, NewRecord, Position};
use serde_json::Value;
use tempfile::TempDir;

use crate::chance::Chance;
use crate::process::{Kelly, Start, free_address};
use crate::truth::{Fate, Sample, Truth, Verdict};
use crate::{BrokerOptions, KafkaBroker};

/// Small batches and short ages: many declarations, inserts and confirmations for a kill to fall between.
pub const SMALL_BATCHES: [(&str, &str); 3] = [
    ("KELLY_INGEST_BATCH_ROWS", "400"),
    ("KELLY_INGEST_BATCH_MILLISECONDS", "20"),
    ("KELLY_MONITORING_ENABLED", "false"),
];

/// A killed member is missed after a second: by default it would keep its partitions for ten, and the
/// next kills would find a kelly without work.
pub const SHORT_SESSIONS: &str = "session.timeout.ms=1000\nheartbeat.interval.ms=300\n";

/// A message nothing can be made of: it must become a dead letter, once.
pub const POISON: &str = r#"{"metric_name":"chaos.0","value":"#;

const ROWS_A_REQUEST: u64 = 60;
/// Every so many requests on Kafka one message is [`POISON`].
const POISON_EVERY: usize = 23;
/// Requests put on the embedded log at once while nobody has it open.
const BACKLOG_REQUESTS: usize = 40;

/// Which log is under the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Under {
    /// The embedded log; the producer speaks HTTP.
    Embedded,
    /// Apache Kafka, a broker of the run's own; the producer writes to the topic.
    Kafka,
}

/// What is done to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    /// SIGKILL to kelly while it works.
    Kelly,
    /// SIGKILL to kelly while it starts: in recovery, in a migration, in a rebalance.
    Starting,
    /// SIGKILL to the engine under load; kelly lives on.
    Engine,
    /// SIGKILL to both at once.
    Both,
    /// SIGSTOP, and SIGCONT later: a zombie wakes.
    Pause,
    /// SIGKILL to the broker, which is started again at once. With the embedded log: nothing.
    Broker,
}

/// A run.
#[derive(Debug)]
pub struct Plan {
    /// The log.
    pub under: Under,
    /// How often kelly is killed; blows to others come on top.
    pub kills: u64,
    /// The points.
    pub chance: Chance,
    /// What may happen, each as often as it is named.
    pub blows: Vec<Blow>,
    /// The producer's pause between two requests.
    pub pace: Duration,
}

/// What was done.
#[derive(Debug, Clone, Copy, Default)]
pub struct Blows {
    /// Times kelly was killed.
    pub kelly: u64,
    /// Times the engine was killed.
    pub engine: u64,
    /// Times kelly was suspended.
    pub pauses: u64,
    /// Times the broker was killed.
    pub broker: u64,
}

/// Makes the run. `told` is called with the number of kills after each.
///
/// # Errors
/// When the run could not be made; what the store lacks is in the verdict.
///
/// # Panics
/// When a kelly does not become ready, or does not drain.
pub async fn run(mut plan: Plan, told: impl Fn(u64)) -> Result<(Blows, Verdict)> {
    let stage = Stage::set(plan.under)?;
    // The first life makes the topics.
    let mut alive = Some(stage.spawn());
    let first = alive.as_mut().context("it was just spawned")?;
    first.until_ready().await;
    let producer = match &stage.broker {
        Some(broker) => Producer::on_kafka(broker.bootstrap(), plan.pace)?,
        None => Producer::over_http(&stage.address, plan.pace),
    };
    let mut done = Blows::default();
    while done.kelly < plan.kills {
        let blow = *plan.chance.one_of(&plan.blows);
        if blow == Blow::Starting
            && let Some(kelly) = alive.take()
        {
            // It is to be met while it starts.
            kelly.kill();
            done.kelly += 1;
            told(done.kelly);
        }
        if alive.is_none() && plan.under == Under::Embedded && plan.chance.below(4) == 0 {
            stage.fill_embedded(&producer.truth).await?;
        }
        let mut kelly = alive.take().unwrap_or_else(|| stage.spawn());
        if blow == Blow::Starting {
            tokio::time::sleep(plan.chance.milliseconds(1_200)).await;
            kelly.kill();
            done.kelly += 1;
            told(done.kelly);
            continue;
        }
        kelly.until_ready().await;
        kelly.until_assigned().await;
        tokio::time::sleep(plan.chance.milliseconds(500)).await;
        match blow {
            Blow::Kelly | Blow::Starting => {
                kelly.kill();
                done.kelly += 1;
            }
            Blow::Both => {
                done.engine += u64::from(kelly.kill_engine());
                kelly.kill();
                done.kelly += 1;
            }
            Blow::Engine => {
                done.engine += u64::from(kelly.kill_engine());
                tokio::time::sleep(plan.chance.milliseconds(500)).await;
                alive = Some(kelly);
            }
            Blow::Pause => {
                kelly.suspend();
                tokio::time::sleep(plan.chance.milliseconds(2_500)).await;
                kelly.wake();
                done.pauses += 1;
                tokio::time::sleep(plan.chance.milliseconds(300)).await;
                alive = Some(kelly);
            }
            Blow::Broker => {
                if let Some(broker) = &stage.broker {
                    broker.kill()?;
                    tokio::task::block_in_place(|| broker.restart())?;
                    done.broker += 1;
                }
                alive = Some(kelly);
            }
        }
        told(done.kelly);
    }
    let mut last = match alive {
        Some(kelly) => kelly,
        None => stage.spawn(),
    };
    last.until_ready().await;
    let truth = producer.stop().await?;
    last.until_assigned().await;
    last.until_drained().await;
    let verdict = truth.compare(async |query| Ok(last.sql(&query).await)).await?;
    last.terminate();
    Ok((done, verdict))
}

/// Where a run takes place.
struct Stage {
    directory: TempDir,
    broker: Option<KafkaBroker>,
    address: String,
    environment: Vec<(String, String)>,
}

impl Stage {
    fn set(under: Under) -> Result<Self> {
        let directory = tempfile::tempdir().context("making a directory for the run")?;
        let mut environment: Vec<(String, String)> =
            SMALL_BATCHES.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let broker = match under {
            Under::Embedded => None,
            Under::Kafka => {
                let broker = KafkaBroker::start_with(&BrokerOptions::default())?;
                let properties = directory.path().join("kafka.properties");
                std::fs::write(&properties, SHORT_SESSIONS).context("writing kafka.properties")?;
                environment.push(("KELLY_LOG".into(), format!("kafka://{}", broker.bootstrap())));
                environment.push(("KELLY_KAFKA_PROPERTIES".into(), properties.display().to_string()));
                Some(broker)
            }
        };
        Ok(Self { directory, broker, address: free_address(), environment })
    }

    fn spawn(&self) -> Kelly {
        let environment: Vec<(&str, &str)> =
            self.environment.iter().map(|(name, value)| (&**name, &**value)).collect();
        let start = Start { arguments: &["up"], environment: &environment, data: self.directory.path() };
        Kelly::spawn_at(&self.address, start)
    }

    /// Puts a backlog and poison on the embedded log, which nobody has open now.
    async fn fill_embedded(&self, truth: &Mutex<Truth>) -> Result<()> {
        let directory: &Path = self.directory.path();
        let log = EmbeddedLog::open(EmbeddedConfig::new(directory.join("log")))
            .context("opening the embedded log of a kelly that was killed")?;
        for _ in 0..BACKLOG_REQUESTS {
            let (request, samples) = lock(truth).next_request();
            let poison_at = (request % POISON_EVERY == 0).then_some(0);
            append(&log, truth, request, &samples, poison_at).await?;
        }
        log.close().await.context("closing the embedded log")
    }
}

/// A producer that goes on at its pace whatever happens around it.
#[derive(Debug)]
pub struct Producer {
    truth: Arc<Mutex<Truth>>,
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Result<()>>,
}

impl Producer {
    /// Writes to the topic of metrics, poison among them. The log must take everything: a broker that
    /// is away is waited for.
    ///
    /// # Errors
    /// When no client can be made.
    pub fn on_kafka(bootstrap: &str, pace: Duration) -> Result<Self> {
        let log = KafkaLog::connect(KafkaConfig {
            // A broker that is killed is back before an append is given up.
            delivery_timeout: Duration::from_secs(300),
            ..KafkaConfig::new(bootstrap)
        })?;
        Ok(Self::spawn(|truth, stop| async move { write(log, &truth, &stop, pace).await }))
    }

    /// Records over HTTP at the address, whoever listens there and whether anybody does.
    pub fn over_http(address: &str, pace: Duration) -> Self {
        let url = format!("http://{address}");
        Self::spawn(|truth, stop| async move { post(&url, &truth, &stop, pace).await })
    }

    fn spawn<F>(work: impl FnOnce(Arc<Mutex<Truth>>, Arc<AtomicBool>) -> F) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let now_ms = std::time::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_millis());
        let truth = Arc::new(Mutex::new(Truth::new("chaos", now_ms as i64, ROWS_A_REQUEST)));
        let stop = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(work(truth.clone(), stop.clone()));
        Self { truth, stop, task }
    }

    /// Rows acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        lock(&self.truth).rows(Fate::Acknowledged)
    }

    /// Ends it, when its last request is answered, and gives what it was told.
    ///
    /// # Errors
    /// When the log did not take what it must take.
    pub async fn stop(self) -> Result<Truth> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.context("the producer ended unexpectedly")??;
        Arc::into_inner(self.truth)
            .context("the producer has ended and still holds its notes")?
            .into_inner()
            .map_err(|_| anyhow::anyhow!("the producer panicked"))
    }
}

async fn write(log: KafkaLog, truth: &Mutex<Truth>, stop: &AtomicBool, pace: Duration) -> Result<()> {
    while !stop.load(Ordering::Relaxed) {
        let (request, samples) = lock(truth).next_request();
        let poison_at = (request % POISON_EVERY == 0).then_some(request % samples.len());
        append(&log, truth, request, &samples, poison_at).await?;
        tokio::time::sleep(pace).await;
    }
    log.close().await.context("closing the producer")
}

/// Appends a request: half of its rows each as a message of its own, the others together, and poison
/// among them. The log must take it.
async fn append(
    log: &dyn Log,
    truth: &Mutex<Truth>,
    request: usize,
    samples: &[Sample],
    poison_at: Option<usize>,
) -> Result<()> {
    let (single, together) = samples.split_at(samples.len() / 2);
    let record = |key: &str, payload: String| NewRecord {
        topic: topics::METRICS.into(),
        partition: None,
        key: Some(Bytes::from(key.to_owned())),
        payload: Bytes::from(payload),
        content_type: None,
    };
    let mut records: Vec<NewRecord> =
        single.iter().map(|sample| record(&sample.conversation, sample.json().to_string())).collect();
    if let Some(last) = together.last() {
        let rows: Value = together.iter().map(Sample::json).collect();
        records.push(record(&last.conversation, rows.to_string()));
    }
    let poison_at = poison_at.map(|at| at % (records.len() + 1));
    if let Some(at) = poison_at {
        records.insert(at, record("poison", POISON.to_owned()));
    }
    let positions: Vec<Position> = loop {
        match log.append(records.clone()).await {
            Ok(positions) => break positions,
            // Nothing was taken.
            Err(LogError::Full { .. }) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(error) => return Err(error).context("appending to the log"),
        }
    };
    let mut truth = lock(truth);
    truth.settle(request, Fate::Acknowledged);
    if let Some(at) = poison_at {
        truth.poisoned(positions[at]);
    }
    Ok(())
}

/// Sends requests over HTTP, to whoever listens now.
async fn post(url: &str, truth: &Mutex<Truth>, stop: &AtomicBool, pace: Duration) -> Result<()> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(20))
        .build()
        .context("making an HTTP client")?;
    while !stop.load(Ordering::Relaxed) {
        let (request, samples) = lock(truth).next_request();
        let rows: Value = samples.iter().map(Sample::json).collect();
        let sent =
            client.post(format!("{url}/api/v1/kelly/monitoring/metrics/record")).json(&rows).send().await;
        let fate = match sent {
            Err(error) if error.is_connect() => Fate::Refused,
            Err(_) => Fate::Unknown,
            Ok(answer) => fate_of(answer.status().as_u16(), answer.json().await.ok().as_ref()),
        };
        lock(truth).settle(request, fate);
        let pause = if fate == Fate::Acknowledged { pace } else { Duration::from_millis(20) };
        tokio::time::sleep(pause).await;
    }
    Ok(())
}

/// What an answer to a recording says about its rows.
pub fn fate_of(status: u16, body: Option<&Value>) -> Fate {
    let code = body.and_then(|body| body["code"].as_str());
    match (status, code) {
        (202, _) => Fate::Acknowledged,
        (503, Some("log_full" | "log_unavailable" | "server_busy")) | (400..500, _) => Fate::Refused,
        _ => Fate::Unknown,
    }
}

fn lock(truth: &Mutex<Truth>) -> std::sync::MutexGuard<'_, Truth> {
    truth.lock().unwrap_or_else(PoisonError::into_inner)
}
