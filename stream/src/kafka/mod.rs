//! The log on Apache Kafka, through librdkafka.
//!
//! Invariants:
//! - an append is answered when all in-sync replicas have it (`acks=all`, idempotent producer);
//! - a consumer's positions are its own: librdkafka stores and commits none by itself, and never
//!   chooses a start by itself (`auto.offset.reset=error`);
//! - a partition is given up only after the commits under way for it have ended, so that no commit
//!   of this process can land after the next owner has read the position.

mod admin;
mod batch;
mod committer;
mod compacted;
mod config;
mod consumer;
mod context;
mod delivery;
mod failure;
mod kept;
mod positions;
mod producer;
mod reader;
mod topic_ids;

use std::sync::Arc;

use async_trait::async_trait;

pub use admin::TopicSettings;
pub use config::{KafkaConfig, may_be_shown};

use crate::bounds;
use crate::error::LogError;
use crate::port::{
    Committed, Consumer, ConsumerSpec, Log, LogKind, NewRecord, Position, Reader, ReaderSpec, Result,
    Retention, SetTo, TopicId, TopicPartition, TopicSpec, Watermarks,
};

/// The log on Apache Kafka.
pub struct KafkaLog {
    config: Arc<KafkaConfig>,
    producer: Arc<producer::Producer>,
    admin: Arc<admin::Admin>,
}

impl KafkaLog {
    /// Prepares the clients. Brokers are looked for in the background: a broker that is away shows
    /// in [`Log::check`] and in the calls, not here.
    pub fn connect(config: KafkaConfig) -> Result<Self> {
        config.verify()?;
        let config = Arc::new(config);
        Ok(Self {
            producer: Arc::new(producer::Producer::new(config.clone())?),
            admin: Arc::new(admin::Admin::new(config.clone())?),
            config,
        })
    }

    /// What the brokers say of these topics, in their order. For diagnosis; what Kelly relies on is verified by
    /// [`Log::ensure_topics`].
    ///
    /// # Errors
    /// When they do not answer.
    pub async fn topic_settings(&self, topics: &[&str]) -> Result<Vec<TopicSettings>> {
        self.admin.settings(topics).await
    }

    /// The log's time of the newest record of a topic, in milliseconds since 1970; `None` when it is empty. For
    /// diagnosis: it makes a client of its own.
    ///
    /// # Errors
    /// When the brokers do not answer.
    pub async fn newest_record_ms(&self, topic: &str) -> Result<Option<i64>> {
        let topic = topic.to_owned();
        self.blocking(move |admin| admin.newest_record_ms(&topic)).await
    }

    /// The offset of the first record of a partition from `from` on that a consumer gets; `None` when there is none
    /// before the end: what is left are markers of transactions and aborted records. For diagnosis: it makes a client of
    /// its own.
    ///
    /// # Errors
    /// When the brokers do not answer, or do not send that much in a few seconds.
    pub async fn first_record(&self, partition: &TopicPartition, from: u64) -> Result<Option<u64>> {
        let partition = partition.clone();
        self.blocking(move |admin| admin.first_record(&partition, from)).await
    }

    /// How many offsets of each partition no consumer gets yet, because a transaction before them is open: they count
    /// neither as there nor as behind. For diagnosis: it makes a client of its own.
    ///
    /// # Errors
    /// When the brokers do not answer.
    pub async fn held_back(&self, topic: &str) -> Result<Vec<u64>> {
        let topic = topic.to_owned();
        self.blocking(move |admin| admin.held_back(&topic)).await
    }
}

#[async_trait]
impl Log for KafkaLog {
    async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<()> {
        topics.iter().try_for_each(bounds::verify_topic)?;
        self.admin.create_missing(topics).await?;
        for topic in topics {
            let topic = topic.clone();
            self.blocking(move |admin| admin.await_known(&topic)).await?;
        }
        self.admin.verify_settings(topics).await
    }

    async fn ensure_kept_topic(&self, topic: &str) -> Result<()> {
        let spec = TopicSpec { name: topic.to_owned(), partitions: 1, retention: Retention::default() };
        bounds::verify_topic(&spec)?;
        self.admin.create_missing(std::slice::from_ref(&spec)).await?;
        self.blocking(move |admin| {
            admin.await_known(&spec)?;
            bounds::verify_single(&spec.name, admin.partitions(&spec.name)?)
        })
        .await?;
        let settings = self.admin.all_settings(topic).await?;
        let name = topic.to_owned();
        let replicas = self.blocking(move |admin| admin.replicas(&name)).await?;
        kept::verify(topic, &settings, replicas)
    }

    async fn ensure_compacted_topic(&self, topic: &str, partitions: u32) -> Result<()> {
        let spec = TopicSpec { name: topic.to_owned(), partitions, retention: Retention::default() };
        bounds::verify_topic(&spec)?;
        self.admin.create(&[(&spec, compacted::settings())]).await?;
        self.blocking(move |admin| admin.await_known(&spec)).await?;
        compacted::verify(topic, &self.admin.all_settings(topic).await?)
    }

    async fn partitions(&self, topic: &str) -> Result<u32> {
        let topic = topic.to_owned();
        self.blocking(move |admin| admin.partitions(&topic)).await
    }

    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Position>> {
        self.producer.append(records).await
    }

    async fn watermarks(&self, partition: &TopicPartition) -> Result<Watermarks> {
        let partition = partition.clone();
        self.blocking(move |admin| admin.watermarks(&partition)).await
    }

    async fn ends(&self, topic: &str) -> Result<Vec<Watermarks>> {
        let topic = topic.to_owned();
        self.blocking(move |admin| admin.ends(&topic)).await
    }

    async fn committed(&self, group: &str, topic: &str) -> Result<Vec<Option<Committed>>> {
        let (group, topic) = (group.to_owned(), topic.to_owned());
        self.blocking(move |admin| admin.committed(&group, &topic)).await
    }

    fn consumer(&self, spec: ConsumerSpec) -> Result<Box<dyn Consumer>> {
        self.admin.refuse_when_closed()?;
        bounds::verify_group(&spec.group)?;
        Ok(Box::new(consumer::KafkaConsumer::open(&self.config, spec)?))
    }

    async fn topic_id(&self, topic: &str) -> Result<Option<TopicId>> {
        let topic = topic.to_owned();
        self.blocking(move |admin| admin.topic_id(&topic)).await
    }

    fn reader(&self, spec: ReaderSpec) -> Result<Box<dyn Reader>> {
        let count = self.admin.partitions(&spec.topic)?;
        if spec.offsets.len() > count as usize {
            let topic = spec.topic.to_string();
            return Err(LogError::UnknownPartition { topic, partition: count });
        }
        Ok(Box::new(reader::KafkaReader::open(&self.config, spec)?))
    }

    async fn check(&self) -> Result<()> {
        self.blocking(|admin| admin.check()).await
    }

    async fn close(&self) -> Result<()> {
        self.admin.refuse_from_now_on();
        let (admin, producer) = (self.admin.clone(), self.producer.clone());
        run_blocking(move || {
            let outcome = producer.close();
            admin.close();
            outcome
        })
        .await
    }

    fn kind(&self) -> LogKind {
        LogKind::ApacheKafka
    }

    fn describe(&self) -> String {
        format!("{} at {}", self.kind(), self.config.brokers)
    }

    fn how_to_set_position(&self, group: &str, partition: &TopicPartition, to: SetTo) -> String {
        let to = match to {
            SetTo::Earliest => "--to-earliest".to_owned(),
            SetTo::Offset(offset) => format!("--to-offset {offset}"),
        };
        let TopicPartition { topic, partition } = partition;
        format!(
            "kafka-consumer-groups.sh --bootstrap-server {} --group {group} --topic {topic}:{partition} \
             --reset-offsets {to} --execute",
            self.config.brokers
        )
    }
}

impl KafkaLog {
    /// librdkafka's admin calls block: they get a thread of their own.
    async fn blocking<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&admin::Admin) -> Result<T> + Send + 'static,
    {
        let admin = self.admin.clone();
        run_blocking(move || work(&admin)).await
    }
}

async fn run_blocking<T, F>(work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    tokio::task::spawn_blocking(work).await.map_err(|source| LogError::Unavailable {
        doing: "run a request to Kafka".into(),
        fix: "the process is shutting down or the request panicked, see its log".into(),
        source: Some(Box::new(source)),
    })?
}
