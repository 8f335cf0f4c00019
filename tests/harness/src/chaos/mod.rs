//! A run of kills: `kelly up` is killed at random points and started again while a steady producer goes on, and
//! in the end the store is held against what the log acknowledged. The end-to-end tests and
//! `kelly-bench chaos` make the same run, of different length.

mod producer;

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result};
use kelly_stream::{EmbeddedConfig, EmbeddedLog, Log};
use tempfile::TempDir;

use crate::chance::Chance;
use crate::process::{Kelly, Start, free_address};
use crate::truth::{Truth, Verdict};
use crate::{BrokerOptions, KafkaBroker};

pub use producer::{Producer, fate_of};

/// Small batches and short ages: many declarations, inserts and confirmations for a kill to fall between.
pub const SMALL_BATCHES: [(&str, &str); 3] = [
    ("KELLY_INGEST_BATCH_ROWS", "400"),
    ("KELLY_INGEST_BATCH_MILLISECONDS", "20"),
    ("KELLY_MONITORING_ENABLED", "false"),
];

/// A killed member is missed after a second: by default it would keep its partitions for ten, and the
/// next kills would find a kelly without work.
pub const SHORT_SESSIONS: &str = "session.timeout.ms=1000\nheartbeat.interval.ms=300\n";

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

/// What is killed, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    /// SIGKILL to kelly while it works.
    Kelly,
    /// SIGKILL to kelly while it starts: in recovery, in a migration, in a rebalance.
    Starting,
    /// SIGKILL to the engine under load; kelly goes on.
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

/// Makes the run. `report` is called with the number of kills after each.
///
/// # Errors
/// When the run could not be made; what the store lacks is in the verdict.
///
/// # Panics
/// When a kelly does not become ready, or does not drain.
pub async fn run(mut plan: Plan, report: impl Fn(u64)) -> Result<(Blows, Verdict)> {
    let stage = Stage::set(plan.under)?;
    // The first process makes the topics.
    let mut alive = Some(stage.spawn());
    let first = alive.as_mut().context("it was just spawned")?;
    first.until_ready().await;
    let producer = match &stage.broker {
        Some(broker) => Producer::on_kafka(broker.bootstrap(), plan.pace)?,
        None => Producer::over_http(&stage.address, stage.directory.path(), plan.pace),
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
            report(done.kelly);
        }
        if alive.is_none() && plan.under == Under::Embedded && plan.chance.below(4) == 0 {
            stage.fill_embedded(producer.truth()).await?;
        }
        let mut kelly = alive.take().unwrap_or_else(|| stage.spawn());
        if blow == Blow::Starting {
            tokio::time::sleep(plan.chance.milliseconds(1_200)).await;
            kelly.kill();
            done.kelly += 1;
            report(done.kelly);
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
        report(done.kelly);
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
            producer::append(&log, truth).await?;
        }
        log.close().await.context("closing the embedded log")
    }
}
