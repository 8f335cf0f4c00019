//! A stage for one test: a log of either kind that can be made to misbehave, replicas over it, commands.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use kelly_control::alert::Severity;
use kelly_control::op::{Handle, Level, PutPolicy, Transition, TransitionKind};
use kelly_control::{
    Actor, ActorKind, Command, FileSnapshots, Op, Outcome, Recorded, Replica, ReplicaConfig, Verdict,
};
use kelly_harness::{KafkaBroker, unique};
use kelly_stream::{
    Committed, Consumer, ConsumerSpec, EmbeddedConfig, EmbeddedLog, KafkaConfig, KafkaLog, Log, LogError,
    LogKind, NewRecord, Position, Reader, ReaderSpec, Result, SetTo, TopicId, TopicPartition, TopicSpec,
    Watermarks,
};
use tempfile::TempDir;
use tokio::sync::oneshot;
use uuid::Uuid;

/// Longer than anything takes on a machine that is busy compiling; reaching it is a failure.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Has each of these functions try both logs.
macro_rules! both_logs {
    ($($name:ident)*) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::support::Stage::embedded()).await;
            })*
        }
        mod kafka {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::support::Stage::kafka()).await;
            })*
        }
    };
}

pub(crate) use both_logs;

pub struct Stage {
    pub log: Arc<Faulty>,
    pub topic: Arc<str>,
    pub directory: TempDir,
}

impl Stage {
    pub fn embedded() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let log = EmbeddedLog::open(EmbeddedConfig::new(directory.path().join("log"))).unwrap();
        Self::over(Arc::new(log), directory)
    }

    pub fn kafka() -> Self {
        let brokers = KafkaBroker::shared().bootstrap().to_owned();
        Self::kafka_with(KafkaConfig { brokers, ..Default::default() })
    }

    pub fn kafka_with(config: KafkaConfig) -> Self {
        Self::over(Arc::new(KafkaLog::connect(config).unwrap()), tempfile::tempdir().unwrap())
    }

    fn over(log: Arc<dyn Log>, directory: TempDir) -> Self {
        let log = Arc::new(Faulty { log, faults: Mutex::default(), is_silent: AtomicBool::new(false) });
        Self { log, topic: unique("control").into(), directory }
    }

    pub fn snapshots(&self, instance: &str) -> Arc<FileSnapshots> {
        Arc::new(FileSnapshots::new(self.directory.path().join(instance)))
    }

    pub fn config(&self, instance: &str) -> ReplicaConfig {
        ReplicaConfig {
            topic: self.topic.clone(),
            start_within: PATIENCE,
            decide_within: PATIENCE,
            ..ReplicaConfig::new(self.snapshots(instance))
        }
    }

    pub async fn replica(&self, instance: &str) -> Arc<Replica> {
        Replica::start(self.log.clone(), self.config(instance)).await.unwrap()
    }

    pub async fn append(&self, payloads: Vec<Vec<u8>>) -> Vec<Position> {
        let record = |payload: Vec<u8>| NewRecord {
            topic: self.topic.clone(),
            partition: Some(0),
            key: None,
            payload: payload.into(),
            content_type: None,
        };
        self.log.log.append(payloads.into_iter().map(record).collect()).await.unwrap()
    }
}

/// What happens to an append.
pub enum Fault {
    /// It is there, and nobody hears of it.
    AnswerLost,
    /// It is there twice.
    Twice,
    /// It comes when the sender is used; nobody hears of it.
    Late(oneshot::Receiver<()>, oneshot::Sender<u64>),
    /// It is refused.
    Refused,
}

/// A log whose appends fail as they are told to, one after the other.
pub struct Faulty {
    pub log: Arc<dyn Log>,
    faults: Mutex<VecDeque<Fault>>,
    /// No append is there, or answered.
    pub is_silent: AtomicBool,
}

impl Faulty {
    pub fn next(&self, fault: Fault) {
        self.faults.lock().unwrap().push_back(fault);
    }
}

fn unknown() -> LogError {
    LogError::Unknown { doing: "append".into(), source: None }
}

#[async_trait]
impl Log for Faulty {
    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Position>> {
        if self.is_silent.load(Ordering::Relaxed) {
            return std::future::pending().await;
        }
        let fault = self.faults.lock().unwrap().pop_front();
        match fault {
            None => self.log.append(records).await,
            Some(Fault::AnswerLost) => {
                self.log.append(records).await?;
                Err(unknown())
            }
            Some(Fault::Twice) => {
                let first = self.log.append(records.clone()).await?;
                self.log.append(records).await?;
                Ok(first)
            }
            Some(Fault::Late(now, done)) => {
                let log = self.log.clone();
                tokio::spawn(async move {
                    now.await.unwrap();
                    let positions = log.append(records).await.unwrap();
                    done.send(positions[0].offset).unwrap();
                });
                Err(unknown())
            }
            Some(Fault::Refused) => Err(LogError::Full { what: "a test's queue".into() }),
        }
    }

    async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<()> {
        self.log.ensure_topics(topics).await
    }

    async fn ensure_kept_topic(&self, topic: &str) -> Result<()> {
        self.log.ensure_kept_topic(topic).await
    }

    async fn ensure_compacted_topic(&self, topic: &str, partitions: u32) -> Result<()> {
        self.log.ensure_compacted_topic(topic, partitions).await
    }

    async fn partitions(&self, topic: &str) -> Result<u32> {
        self.log.partitions(topic).await
    }

    async fn watermarks(&self, partition: &TopicPartition) -> Result<Watermarks> {
        self.log.watermarks(partition).await
    }

    async fn ends(&self, topic: &str) -> Result<Vec<Watermarks>> {
        self.log.ends(topic).await
    }

    async fn committed(&self, group: &str, topic: &str) -> Result<Vec<Option<Committed>>> {
        self.log.committed(group, topic).await
    }

    async fn topic_id(&self, topic: &str) -> Result<Option<TopicId>> {
        self.log.topic_id(topic).await
    }

    fn consumer(&self, spec: ConsumerSpec) -> Result<Box<dyn Consumer>> {
        self.log.consumer(spec)
    }

    fn reader(&self, spec: ReaderSpec) -> Result<Box<dyn Reader>> {
        self.log.reader(spec)
    }

    async fn check(&self) -> Result<()> {
        self.log.check().await
    }

    async fn close(&self) -> Result<()> {
        self.log.close().await
    }

    fn kind(&self) -> LogKind {
        self.log.kind()
    }

    fn describe(&self) -> String {
        self.log.describe()
    }

    fn how_to_set_position(&self, group: &str, partition: &TopicPartition, to: SetTo) -> String {
        self.log.how_to_set_position(group, partition, to)
    }
}

pub fn evaluator() -> Actor {
    Actor { kind: ActorKind::Evaluator, id: "evaluator".into(), role: None }
}

pub fn raise(alert: u128) -> Command {
    let transition = Transition {
        alert: Uuid::from_u128(alert),
        kind: TransitionKind::Raised,
        reason: None,
        rule: "slow".into(),
        rule_version: 1,
        account_id: Some("a-7".into()),
        conversation_id: None,
        metric: Some("response_time".into()),
        severity: Severity::Critical,
        at_ms: now_ms(),
        since_ms: now_ms(),
        value: Some(2_100.5),
        threshold: Some(2_000.0),
        explanation: "response_time is 2,100 ms, above 2,000".into(),
        labels: BTreeMap::from([("team".into(), "chat".into())]),
        runbook: None,
        quiet: false,
        cause: None,
    };
    let id = Command::id_of_transition(&transition);
    Command { id, actor: evaluator(), op: Op::Transition(Box::new(transition)) }
}

pub fn handle(alert: u128, expected: Option<u64>) -> Handle {
    Handle { alert: Uuid::from_u128(alert), expected, note: None }
}

pub fn acknowledge(who: &str, alert: u128) -> Command {
    Command::new(Actor::person(who), Op::Acknowledge(handle(alert, None)))
}

/// Criticals come to a first level after a second, the shortest time there is.
pub fn quick_policy() -> Command {
    let policy = PutPolicy {
        policy: "quick".into(),
        matcher: kelly_control::Matcher::default(),
        severity: Severity::Critical,
        levels: vec![Level { after_ms: 1_000, notify: vec!["supervisor".into()] }],
        repeat: 0,
    };
    Command::new(Actor::person("root"), Op::PutPolicy(policy))
}

pub fn now_ms() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64
}

pub async fn decided(replica: &Replica, command: &Command) -> Recorded {
    match replica.submit(command).await.unwrap() {
        Outcome::Decided(recorded) => recorded,
        unknown => panic!("{unknown:?}"),
    }
}

pub async fn verdict(replica: &Replica, command: &Command) -> Verdict {
    decided(replica, command).await.verdict
}
