//! A log, the decisions on it, and what notifies of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use kelly_control::alert::Severity;
use kelly_control::op::{Handle, Transition, TransitionKind};
use kelly_control::{Actor, ActorKind, Command, FileSnapshots, Op, Outcome, Replica, ReplicaConfig};
use kelly_harness::{KafkaBroker, unique};
use kelly_notify::{Allowed, OutboxConfig, Sender, SenderConfig, Service, ServiceConfig, Settings};
use kelly_stream::{EmbeddedConfig, EmbeddedLog, KafkaConfig, KafkaLog, Log};
use tempfile::TempDir;
use uuid::Uuid;

/// Longer than anything takes on a machine that is busy compiling; reaching it is a failure.
pub const PATIENCE: Duration = Duration::from_secs(120);

pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

pub fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

pub struct Stage {
    pub log: Arc<dyn Log>,
    pub replica: Arc<Replica>,
    pub directory: TempDir,
    /// The topics of decisions and of notifications, and the group.
    names: [Arc<str>; 3],
    /// Whether alerts are judged.
    pub is_alive: Arc<AtomicBool>,
    /// How often that was asked.
    pub asked: Arc<AtomicUsize>,
}

impl Stage {
    /// Over the embedded log.
    pub async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let log = EmbeddedLog::open(EmbeddedConfig::new(directory.path().join("log"))).unwrap();
        Self::over(Arc::new(log), directory).await
    }

    /// Over Apache Kafka.
    pub async fn kafka() -> Self {
        let brokers = KafkaBroker::shared().bootstrap().to_owned();
        let log = KafkaLog::connect(KafkaConfig { brokers, ..Default::default() }).unwrap();
        Self::over(Arc::new(log), tempfile::tempdir().unwrap()).await
    }

    async fn over(log: Arc<dyn Log>, directory: TempDir) -> Self {
        std::fs::write(directory.path().join("secret"), SECRET).unwrap();
        let names = ["control", "notifications", "notify"].map(|name| unique(name).into());
        let replica = Self::start_replica(&log, &directory, &names[0]).await;
        Self {
            log,
            replica,
            directory,
            names,
            is_alive: Arc::new(AtomicBool::new(true)),
            asked: Arc::default(),
        }
    }

    async fn start_replica(log: &Arc<dyn Log>, directory: &TempDir, topic: &Arc<str>) -> Arc<Replica> {
        let snapshots = Arc::new(FileSnapshots::new(directory.path().join("control")));
        let config = ReplicaConfig {
            topic: topic.clone(),
            start_within: PATIENCE,
            decide_within: PATIENCE,
            ..ReplicaConfig::new(snapshots)
        };
        Replica::start(log.clone(), config).await.unwrap()
    }

    /// Another replica, which begins with a snapshot: it does not tell again what is in that.
    pub async fn new_replica(&mut self) {
        self.replica.stop().await;
        self.replica = Self::start_replica(&self.log, &self.directory, &self.names[0]).await;
    }

    pub fn settings(&self, text: &str) -> Arc<Settings> {
        let secret = self.directory.path().join("secret");
        Arc::new(Settings::parse_toml(&text.replace("SECRET_FILE", &secret.display().to_string())).unwrap())
    }

    pub fn sender(settings: &Arc<Settings>, allowed: &str) -> Sender {
        let config = SenderConfig {
            answer_time: Duration::from_secs(2),
            ..SenderConfig::new(allowed.parse::<Allowed>().unwrap(), now_ms)
        };
        Sender::new(settings.clone(), config).unwrap()
    }

    pub async fn service(&self, text: &str) -> Arc<Service> {
        self.service_allowing(text, "127.0.0.0/8,::1").await
    }

    pub async fn service_allowing(&self, text: &str, allowed: &str) -> Arc<Service> {
        let settings = self.settings(text);
        let (is_alive, asked) = (self.is_alive.clone(), self.asked.clone());
        let config = ServiceConfig {
            sender: Arc::new(Self::sender(&settings, allowed)),
            settings,
            public_url: Some("https://kelly.example.com".into()),
            outbox: OutboxConfig {
                topic: self.names[1].clone(),
                group: self.names[2].to_string(),
                ..OutboxConfig::new(self.log.clone(), "test".into())
            },
            replica: self.replica.clone(),
            clock: now_ms,
            is_alive: Arc::new(move || {
                asked.fetch_add(1, Ordering::Relaxed);
                is_alive.load(Ordering::Relaxed)
            }),
        };
        Service::start(config).await.unwrap()
    }

    async fn submit(&self, actor: Actor, op: Op) {
        let command = Command::new(actor, op);
        let outcome = self.replica.submit(&command).await.unwrap();
        assert!(
            matches!(&outcome, Outcome::Decided(recorded) if recorded.verdict.is_applied()),
            "{outcome:?}"
        );
    }

    pub async fn transition(&self, number: u128, kind: TransitionKind, severity: Severity) {
        let transition = Transition {
            alert: Uuid::from_u128(number),
            kind,
            reason: (kind == TransitionKind::Resolved).then_some(kelly_control::alert::DataReason::Recovered),
            rule: "slow_answers".into(),
            rule_version: 1,
            account_id: Some(format!("account-{number}")),
            conversation_id: None,
            metric: Some("response_time".into()),
            severity,
            at_ms: now_ms(),
            since_ms: now_ms() - 60_000,
            value: Some(93.2),
            threshold: Some(85.0),
            explanation: "response_time is above 85".into(),
            labels: BTreeMap::new(),
            runbook: None,
            quiet: false,
            cause: None,
        };
        let evaluator = Actor { kind: ActorKind::Evaluator, id: "evaluator".into(), role: None };
        self.submit(evaluator, Op::Transition(Box::new(transition))).await;
    }

    pub async fn raise(&self, number: u128) {
        self.transition(number, TransitionKind::Raised, Severity::Critical).await;
    }

    pub async fn resolve(&self, number: u128) {
        self.transition(number, TransitionKind::Resolved, Severity::Critical).await;
    }

    pub async fn acknowledge(&self, number: u128) {
        let handle = Handle { alert: Uuid::from_u128(number), expected: None, note: None };
        self.submit(Actor::person("ada"), Op::Acknowledge(handle)).await;
    }

    pub async fn silence(&self, rule: &str, silence: u128) {
        let matcher = kelly_control::Matcher { rule: Some(rule.into()), ..Default::default() };
        let op = kelly_control::op::PutSilence {
            silence: Uuid::from_u128(silence),
            matcher,
            ends_ms: now_ms() + 3_600_000,
            reason: "maintenance".into(),
        };
        self.submit(Actor::person("ada"), Op::PutSilence(op)).await;
    }

    pub async fn end_silence(&self, silence: u128) {
        let op = kelly_control::op::EndSilence { silence: Uuid::from_u128(silence) };
        self.submit(Actor::person("ada"), Op::EndSilence(op)).await;
    }
}

/// Waits until something is so. Looks again every few milliseconds: what is looked at announces nothing.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = tokio::time::Instant::now() + PATIENCE;
    while !is_so() {
        assert!(tokio::time::Instant::now() < end, "never came: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
