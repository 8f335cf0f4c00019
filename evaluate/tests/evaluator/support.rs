//! A stage for one test: an embedded log whose clock the test moves, a control log over it, evaluators that can be killed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use kelly_alerts::rule::{Scope, parse_toml};
use kelly_alerts::{Engine, Place, Record as Row, RuleSet, Transition, builtin};
use kelly_control::op::TransitionKind;
use kelly_control::{
    Alert, Command, Entry, FileSnapshots, Op, Outcome, Replica, ReplicaConfig, SubmitError, written,
};
use kelly_evaluate::rules::{Following, RuleFiles, follow};
use kelly_evaluate::{ControlLog, Evaluator, EvaluatorConfig, ROWS_TOPIC};
use kelly_schemas::decode::{self, Origin};
use kelly_schemas::{Limits, Stream};
use kelly_stream::{
    Commit, Committed, Committer, Consumer, ConsumerSpec, EmbeddedConfig, EmbeddedLog, Log, LogError,
    LogKind, NewRecord, Position, Reader, ReaderSpec, Record, RecordSink, Result, Retention, SetTo, Sink,
    TopicId, TopicPartition, TopicSpec, Watermarks,
};
use tempfile::TempDir;
use uuid::Uuid;

/// Longer than anything takes on a machine that is busy compiling; reaching it is a failure.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// How often it is looked whether something has come.
const LOOK: Duration = Duration::from_millis(20);

pub const PARTITIONS: u32 = 3;

/// Where the clocks of the tests begin.
pub const BEGIN_MS: i64 = 1_750_000_000_000;

pub struct Stage {
    pub log: Arc<EmbeddedLog>,
    pub replica: Arc<Replica>,
    pub directory: TempDir,
    /// Of the log and of evaluators.
    pub clock: Arc<AtomicI64>,
}

impl Stage {
    pub async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(AtomicI64::new(BEGIN_MS));
        let log_clock = clock.clone();
        let config = EmbeddedConfig {
            clock: Arc::new(move || log_clock.load(Ordering::SeqCst)),
            ..EmbeddedConfig::new(directory.path().join("log"))
        };
        let log = Arc::new(EmbeddedLog::open(config).unwrap());
        let metrics = TopicSpec {
            name: Stream::Metrics.topic().into(),
            partitions: PARTITIONS,
            retention: Retention::default(),
        };
        log.ensure_topics(&[metrics]).await.unwrap();
        let snapshots = Arc::new(FileSnapshots::new(directory.path().join("control")));
        let replica = Replica::start(log.clone(), ReplicaConfig::new(snapshots)).await.unwrap();
        Self { log, replica, directory, clock }
    }

    /// Lets time pass on the log and for evaluators.
    pub fn pass(&self, ms: i64) {
        self.clock.fetch_add(ms, Ordering::SeqCst);
    }

    pub async fn follow(&self, rules: &str) -> Following {
        let path = self.directory.path().join("rules.toml");
        std::fs::write(&path, rules).unwrap();
        follow(RuleFiles { thresholds: None, rules: Some(path) }, self.replica.clone()).await
    }

    pub fn config(&self, rules: &Following) -> EvaluatorConfig {
        let clock = self.clock.clone();
        EvaluatorConfig {
            save_every: Duration::from_millis(30),
            clock: Arc::new(move || clock.load(Ordering::SeqCst)),
            judged_back_ms: i64::MAX,
            ..EvaluatorConfig::new(self.replica.clone(), rules.rules(), Limits::default())
        }
    }

    pub async fn evaluator(&self, rules: &Following) -> Evaluator {
        Evaluator::start(self.log.clone(), self.config(rules)).await.unwrap()
    }

    /// Puts rows on the log as a producer does: by their key.
    pub async fn record(&self, rows: &[serde_json::Value]) {
        let records = rows.iter().map(|row| {
            let key = ["conversation_id", "account_id", "metric_name"]
                .iter()
                .find_map(|field| row[*field].as_str())
                .unwrap();
            NewRecord {
                topic: Stream::Metrics.topic().into(),
                partition: None,
                key: Some(key.to_owned().into()),
                payload: row.to_string().into(),
                content_type: None,
            }
        });
        self.log.append(records.collect()).await.unwrap();
    }

    pub fn alerts(&self) -> Vec<Alert> {
        self.replica.read(|state| state.alerts().book().iter().cloned().collect())
    }

    /// Waits until the alerts are as they should be.
    pub async fn until(&self, what: &str, is_so: impl Fn(&[Alert]) -> bool) -> Vec<Alert> {
        let begun = Instant::now();
        loop {
            let alerts = self.alerts();
            if is_so(&alerts) {
                return alerts;
            }
            assert!(begun.elapsed() < PATIENCE, "{what}: {alerts:#?}");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Everything of a topic's partition.
    pub async fn read(&self, topic: &str, partition: u32) -> Vec<(i64, u64, Vec<u8>)> {
        let topic: Arc<str> = topic.into();
        let ends = self.log.ends(&topic).await.unwrap();
        let offsets = (0..=partition as usize)
            .map(|index| if index == partition as usize { ends[index].low } else { ends[index].high })
            .collect();
        let high = ends[partition as usize].high;
        let mut reader = self.log.reader(ReaderSpec { topic, offsets }).unwrap();
        let mut all = All { partition, records: Vec::new() };
        while all.records.last().map_or(0, |last| last.1 + 1) < high {
            reader.poll(PATIENCE, 10_000, &mut all).unwrap();
        }
        all.records
    }

    /// The changes of alerts on the control log, each as often as it was decided upon.
    pub async fn decided(&self) -> BTreeMap<Change, usize> {
        let mut found = BTreeMap::new();
        let mut seen = std::collections::BTreeSet::new();
        for (_, _, payload) in self.read(kelly_control::replica::TOPIC, 0).await {
            let Ok(command) = Entry::decode(&payload).command else { panic!("a record is no command") };
            if let Op::Transition(transition) = &command.op
                && seen.insert(command.id)
            {
                *found.entry(change(&command, transition.kind)).or_default() += 1;
            }
        }
        found
    }

    /// What engines say that nobody ever ended: over the very records of the log.
    pub async fn expected(&self, rules: &RuleSet, until_ms: i64) -> BTreeMap<Change, usize> {
        let mut transitions: Vec<Transition> = Vec::new();
        for partition in 0..PARTITIONS {
            let mut engine = Engine::of_scopes(rules.clone(), &[Scope::Series, Scope::Conversation]);
            for (log_time_ms, offset, payload) in self.read(Stream::Metrics.topic(), partition).await {
                let limits = Limits::default();
                let origin = Origin { partition, offset, log_time_ms, limits: &limits };
                decode::metrics(&payload, &origin, &mut |row, metric| {
                    let place = Some(Place { partition, offset: offset as i64, row });
                    engine.record(&Row { place, log_time_ms, metric: &metric.unwrap() }, &mut transitions);
                });
            }
            engine.tick(until_ms, &mut transitions);
        }
        for partition in 0..=PARTITIONS {
            let scope = if partition == 0 { Scope::Global } else { Scope::Account };
            let mut engine = Engine::of_scopes(rules.clone(), &[scope]);
            for (log_time_ms, _, payload) in self.read(ROWS_TOPIC, partition).await {
                let is_whole = kelly_evaluate::read_rows(&payload, &mut |place, metric| {
                    engine.record(&Row { place: Some(place), log_time_ms, metric }, &mut transitions);
                });
                assert!(is_whole);
            }
            engine.tick(until_ms, &mut transitions);
        }
        let mut expected = BTreeMap::new();
        for transition in &transitions {
            let command = written(transition, 0);
            let Op::Transition(args) = &command.op else { unreachable!("it is one") };
            *expected.entry(change(&command, args.kind)).or_default() += 1;
        }
        expected
    }
}

/// What identifies a change.
pub type Change = (Uuid, TransitionKind, i64, String);

fn change(command: &Command, kind: TransitionKind) -> Change {
    let Op::Transition(args) = &command.op else { unreachable!("it is one") };
    (args.alert, kind, args.at_ms, args.rule.clone())
}

pub fn rule_set(text: &str) -> RuleSet {
    let mut rules = builtin::rules(None).unwrap();
    rules.extend(parse_toml(text).unwrap().rules);
    RuleSet::new(&rules).unwrap()
}

struct All {
    partition: u32,
    records: Vec<(i64, u64, Vec<u8>)>,
}

impl RecordSink for All {
    fn gap(&mut self, _: &TopicPartition, expected: u64, found: u64) {
        panic!("a gap from {expected} to {found}");
    }

    fn record(&mut self, record: Record<'_>) {
        if record.partition == self.partition {
            self.records.push((record.timestamp_ms, record.offset, record.payload.to_vec()));
        }
    }
}

/// A log and a control log that stop to answer, as they do to a process that is killed.
pub struct Mortal {
    pub log: Arc<EmbeddedLog>,
    pub replica: Arc<Replica>,
    pub is_dead: Arc<AtomicBool>,
    /// Appends and commands that are still done; then it is dead.
    pub lives: Arc<Mutex<Option<u32>>>,
}

impl Mortal {
    pub fn new(stage: &Stage, lives: Option<u32>) -> Arc<Self> {
        let (log, replica) = (stage.log.clone(), stage.replica.clone());
        Arc::new(Self { log, replica, is_dead: Arc::default(), lives: Arc::new(Mutex::new(lives)) })
    }

    /// Whether one more thing is done.
    fn lives_on(&self) -> bool {
        let mut lives = self.lives.lock().unwrap();
        if let Some(left) = &mut *lives {
            match left.checked_sub(1) {
                Some(fewer) => *left = fewer,
                None => self.is_dead.store(true, Ordering::SeqCst),
            }
        }
        !self.is_dead.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl ControlLog for Mortal {
    async fn submit(&self, command: &Command) -> std::result::Result<Outcome, SubmitError> {
        if !self.lives_on() {
            return std::future::pending().await;
        }
        let outcome = self.replica.submit(command).await;
        if self.is_dead.load(Ordering::SeqCst) {
            return std::future::pending().await;
        }
        outcome
    }
}

#[async_trait]
impl Log for Mortal {
    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Position>> {
        if !self.lives_on() {
            return std::future::pending().await;
        }
        let appended = self.log.append(records).await;
        if self.is_dead.load(Ordering::SeqCst) {
            return std::future::pending().await;
        }
        appended
    }

    fn consumer(&self, spec: ConsumerSpec) -> Result<Box<dyn Consumer>> {
        let consumer = self.log.consumer(spec)?;
        Ok(Box::new(MortalConsumer { consumer, is_dead: self.is_dead.clone() }))
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

struct MortalConsumer {
    consumer: Box<dyn Consumer>,
    is_dead: Arc<AtomicBool>,
}

impl Consumer for MortalConsumer {
    fn poll(&mut self, max_wait: Duration, max_records: usize, sink: &mut dyn Sink) -> Result<usize> {
        self.consumer.poll(max_wait, max_records, sink)
    }

    fn begin(&mut self, partition: &TopicPartition, position: Option<Committed>) {
        self.consumer.begin(partition, position);
    }

    fn committer(&self) -> Arc<dyn Committer> {
        Arc::new(MortalCommitter { committer: self.consumer.committer(), is_dead: self.is_dead.clone() })
    }

    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.consumer.pause(partitions)
    }

    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.consumer.resume(partitions)
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.consumer.close()
    }
}

struct MortalCommitter {
    committer: Arc<dyn Committer>,
    is_dead: Arc<AtomicBool>,
}

impl Committer for MortalCommitter {
    fn commit(&self, commits: &[Commit]) -> Result<()> {
        if self.is_dead.load(Ordering::SeqCst) {
            return Err(LogError::Closed);
        }
        self.committer.commit(commits)
    }
}
