//! Topics, watermarks and positions. What is not `async` blocks and belongs on a blocking thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kelly_schemas::Stream;
use rdkafka::Offset;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;

use super::batch;
use super::config::{KafkaConfig, MAX_MESSAGE_BYTES};
use super::context::LoggingContext;
use super::failure::failure;
use super::positions::PositionClients;
use super::topic_ids::TopicIds;
use crate::error::LogError;
use crate::port::{Committed, Result, TopicId, TopicPartition, TopicSpec, Watermarks};

/// `-1` lets the broker's `default.replication.factor` decide.
const BROKERS_REPLICATION: i32 = -1;

/// How long a readiness question may take. It is asked under a time of three seconds: its own end, which names the brokers and the
/// cause, has to come first.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// How often a topic just created is asked for until every broker knows it.
const PROPAGATION_INTERVAL: Duration = Duration::from_millis(50);

/// Name under which records are looked at. Nothing is committed under it.
const LOOKING_GROUP: &str = "kelly-look";

/// A topic's settings as the brokers have them; `None` where they say nothing, or have no bound.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicSettings {
    /// How long records are kept.
    pub retention_ms: Option<u64>,
    /// Bytes a partition keeps.
    pub retention_bytes: Option<u64>,
    /// `LogAppendTime` or `CreateTime`.
    pub timestamp_type: Option<String>,
    /// `delete`, `compact` or both.
    pub cleanup_policy: Option<String>,
    /// Largest batch of records.
    pub max_message_bytes: Option<u64>,
}

/// Settings of a topic by their names.
pub(super) type Settings = Vec<(&'static str, String)>;

/// Requests about the log, not through it.
pub(super) struct Admin {
    config: Arc<KafkaConfig>,
    client: AdminClient<LoggingContext>,
    positions: PositionClients,
    closed: AtomicBool,
}

impl Admin {
    pub(super) fn new(config: Arc<KafkaConfig>) -> Result<Self> {
        let client = config
            .admin()
            .create_with_context(LoggingContext)
            .map_err(|error| config.not_created("create a Kafka client", error))?;
        let positions = PositionClients::new(config.clone());
        Ok(Self { config, client, positions, closed: AtomicBool::new(false) })
    }

    pub(super) fn refuse_from_now_on(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    pub(super) fn close(&self) {
        self.refuse_from_now_on();
        self.positions.close();
    }

    pub(super) fn refuse_when_closed(&self) -> Result<()> {
        if self.closed.load(Ordering::SeqCst) { Err(LogError::Closed) } else { Ok(()) }
    }

    pub(super) fn partitions(&self, topic: &str) -> Result<u32> {
        self.refuse_when_closed()?;
        let doing = || format!("ask for the partitions of {topic}");
        let metadata = self
            .client
            .inner()
            .fetch_metadata(Some(topic), self.config.request_timeout)
            .map_err(|error| failure(doing(), error))?;
        let unknown = || LogError::UnknownTopic { topic: topic.into() };
        let found = metadata.topics().iter().find(|found| found.name() == topic).ok_or_else(unknown)?;
        match found.error() {
            None => {}
            Some(
                RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
                | RDKafkaRespErr::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC,
            ) => return Err(unknown()),
            Some(code) => return Err(failure(doing(), KafkaError::MetadataFetch(code.into()))),
        }
        u32::try_from(found.partitions().len()).ok().filter(|count| *count > 0).ok_or_else(unknown)
    }

    /// The id the brokers gave the topic when it was made.
    pub(super) fn topic_id(&self, topic: &str) -> Result<Option<TopicId>> {
        self.refuse_when_closed()?;
        let place = TopicPartition { topic: topic.into(), partition: 0 };
        let asked =
            TopicIds::ask(self.client.inner(), std::slice::from_ref(&place), self.config.request_timeout);
        match asked {
            Ok(ids) => Ok(ids.of(&place)),
            Err(KafkaError::AdminOp(Code::UnknownTopicOrPartition)) => {
                Err(LogError::UnknownTopic { topic: topic.into() })
            }
            Err(error) => Err(failure(format!("ask for the id of {topic}"), error)),
        }
    }

    pub(super) fn watermarks(&self, partition: &TopicPartition) -> Result<Watermarks> {
        self.refuse_when_closed()?;
        let count = self.partitions(&partition.topic)?;
        if partition.partition >= count {
            return Err(LogError::UnknownPartition {
                topic: partition.topic.to_string(),
                partition: partition.partition,
            });
        }
        let (low, high) = batch::ends_of(
            self.client.inner(),
            &partition.topic,
            native(partition.partition),
            self.config.request_timeout,
        )
        .map_err(|error| {
            failure(format!("ask for the ends of {}/{}", partition.topic, partition.partition), error)
        })?;
        Ok(Watermarks { low, high })
    }

    /// The ends of all partitions in two requests to each broker, however many partitions there are.
    pub(super) fn ends(&self, topic: &str) -> Result<Vec<Watermarks>> {
        let count = self.partitions(topic)?;
        let doing = || format!("ask for the ends of {topic}");
        let ask = |end| -> Result<Vec<u64>> {
            let mut list = all_partitions(topic, count);
            list.set_all_offsets(end).map_err(|error| failure(doing(), error))?;
            batch::offsets_at(self.client.inner(), &list, self.config.request_timeout)
                .map_err(|error| failure(doing(), error))
        };
        let (lows, highs) = (ask(Offset::Beginning)?, ask(Offset::End)?);
        Ok(lows.into_iter().zip(highs).map(|(low, high)| Watermarks { low, high }).collect())
    }

    pub(super) fn committed(&self, group: &str, topic: &str) -> Result<Vec<Option<Committed>>> {
        let count = self.partitions(topic)?;
        let doing = || format!("ask for the positions of group {group} on {topic}");
        let list = all_partitions(topic, count);
        let list = self.positions.ask(group, list)?.map_err(|error| failure(doing(), error))?;
        let mut positions = vec![None; count as usize];
        for (partition, committed) in batch::committed_of(&list).map_err(|error| failure(doing(), error))? {
            if let Some(slot) = positions.get_mut(partition.partition as usize) {
                *slot = committed;
            }
        }
        Ok(positions)
    }

    pub(super) fn check(&self) -> Result<()> {
        self.refuse_when_closed()?;
        // One topic that need not exist: an answer is what counts, and it stays small.
        self.client
            .inner()
            .fetch_metadata(Some(Stream::Metrics.topic()), CHECK_TIMEOUT.min(self.config.request_timeout))
            .map(drop)
            .map_err(|error| failure(format!("reach Kafka at {}", self.config.brokers), error))
    }

    pub(super) async fn create_missing(&self, topics: &[TopicSpec]) -> Result<()> {
        let topics: Vec<(&TopicSpec, Settings)> =
            topics.iter().map(|topic| (topic, settings_of(topic).into())).collect();
        self.create(&topics).await
    }

    /// Creates those that are missing, with these settings.
    pub(super) async fn create(&self, topics: &[(&TopicSpec, Settings)]) -> Result<()> {
        self.refuse_when_closed()?;
        let wanted: Vec<NewTopic<'_>> = topics
            .iter()
            .map(|(topic, settings)| {
                let new = NewTopic::new(
                    &topic.name,
                    native(topic.partitions),
                    TopicReplication::Fixed(BROKERS_REPLICATION),
                );
                settings.iter().fold(new, |new, (name, value)| new.set(name, value))
            })
            .collect();
        let options = AdminOptions::new()
            .request_timeout(Some(self.config.request_timeout))
            .operation_timeout(Some(self.config.request_timeout));
        let outcomes = self
            .client
            .create_topics(&wanted, &options)
            .await
            .map_err(|error| failure("create topics", error))?;
        for outcome in outcomes {
            match outcome {
                Ok(topic) => tracing::info!(topic, "created topic"),
                Err((_, Code::TopicAlreadyExists)) => {}
                Err((topic, code)) => {
                    // Without the right to create, a topic somebody else created will do.
                    if code != Code::TopicAuthorizationFailed && code != Code::ClusterAuthorizationFailed {
                        return Err(failure(format!("create topic {topic}"), KafkaError::Global(code)));
                    }
                    tracing::debug!(topic, "may not create topics here");
                }
            }
        }
        Ok(())
    }

    /// Waits until the topic shows with its partitions, and compares their number.
    #[expect(clippy::disallowed_methods, reason = "a broker announces nothing that could be awaited")]
    pub(super) fn await_known(&self, topic: &TopicSpec) -> Result<()> {
        let deadline = Instant::now() + self.config.request_timeout;
        let found = loop {
            match self.partitions(&topic.name) {
                Ok(found) => break found,
                Err(LogError::UnknownTopic { .. }) if Instant::now() < deadline => {
                    std::thread::sleep(PROPAGATION_INTERVAL);
                }
                Err(error) => return Err(error),
            }
        };
        if found < topic.partitions {
            return Err(LogError::TopicMismatch {
                topic: topic.name.clone(),
                found: format!("{found} partitions"),
                wanted: format!("{} or more", topic.partitions),
                fix: format!(
                    "add them with kafka-topics.sh --alter --topic {} --partitions {}, or configure {found}",
                    topic.name, topic.partitions
                ),
            });
        }
        Ok(())
    }

    /// What the brokers say of topics that are there; one whose settings may not be read has none.
    pub(super) async fn settings(&self, topics: &[&str]) -> Result<Vec<TopicSettings>> {
        self.refuse_when_closed()?;
        let resources: Vec<ResourceSpecifier<'_>> =
            topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
        let options = AdminOptions::new().request_timeout(Some(self.config.request_timeout));
        let answers = self
            .client
            .describe_configs(&resources, &options)
            .await
            .map_err(|error| failure("read the settings of topics", error))?;
        let settings = answers.into_iter().map(|answer| {
            let resource = answer.ok();
            let value = |name: &str| resource.as_ref()?.get(name)?.value.clone();
            let number = |name: &str| value(name)?.parse::<u64>().ok();
            TopicSettings {
                retention_ms: number("retention.ms"),
                retention_bytes: number("retention.bytes"),
                timestamp_type: value("message.timestamp.type"),
                cleanup_policy: value("cleanup.policy"),
                max_message_bytes: number("max.message.bytes"),
            }
        });
        Ok(settings.collect())
    }

    /// The log's time of the last record of a topic, if one is there. Blocks.
    pub(super) fn newest_record_ms(&self, topic: &str) -> Result<Option<i64>> {
        let doing = || format!("read the newest record of {topic}");
        let last = |(partition, ends): (usize, Watermarks)| {
            (ends.low < ends.high).then(|| (partition as u32, ends.high - 1))
        };
        let lasts: Vec<(u32, u64)> = self.ends(topic)?.into_iter().enumerate().filter_map(last).collect();
        if lasts.is_empty() {
            return Ok(None);
        }
        let reader = self.read_from(topic, &lasts, doing)?;
        let deadline = Instant::now() + CHECK_TIMEOUT;
        let mut newest = None;
        // Each partition ends with its last record, or with a marker of a transaction behind it.
        let mut open = lasts.len();
        while open > 0 && Instant::now() < deadline {
            match reader.poll(PROPAGATION_INTERVAL) {
                Some(Ok(record)) => newest = newest.max(record.timestamp().to_millis()),
                Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
                Some(Err(error)) => return Err(failure(doing(), error)),
                None => {}
            }
        }
        Ok(newest)
    }

    /// Reads a topic's partitions from offsets on; their ends are reported.
    fn read_from(
        &self,
        topic: &str,
        starts: &[(u32, u64)],
        doing: impl Fn() -> String,
    ) -> Result<BaseConsumer<LoggingContext>> {
        let mut config = self.config.position_client(LOOKING_GROUP);
        config.set("enable.partition.eof", "true").set("fetch.wait.max.ms", "50");
        let reader: BaseConsumer<LoggingContext> = config
            .create_with_context(LoggingContext)
            .map_err(|error| self.config.not_created(doing(), error))?;
        let mut list = TopicPartitionList::new();
        for (partition, offset) in starts {
            let offset = Offset::Offset(i64::try_from(*offset).unwrap_or(i64::MAX));
            list.add_partition_offset(topic, native(*partition), offset)
                .map_err(|error| failure(doing(), error))?;
        }
        reader.assign(&list).map_err(|error| failure(doing(), error))?;
        Ok(reader)
    }

    /// The offset of the first record from `from` on that a consumer gets; `None` when there is none before the end. Blocks.
    pub(super) fn first_record(&self, partition: &TopicPartition, from: u64) -> Result<Option<u64>> {
        self.refuse_when_closed()?;
        let doing = || format!("look for records of {}/{}", partition.topic, partition.partition);
        let reader = self.read_from(&partition.topic, &[(partition.partition, from)], doing)?;
        let deadline = Instant::now() + CHECK_TIMEOUT;
        while Instant::now() < deadline {
            match reader.poll(PROPAGATION_INTERVAL) {
                Some(Ok(record)) => return Ok(u64::try_from(record.offset()).ok()),
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(None),
                Some(Err(error)) => return Err(failure(doing(), error)),
                None => {}
            }
        }
        Err(failure(doing(), KafkaError::MessageConsumption(Code::OperationTimedOut)))
    }

    /// Records and markers of each partition that no consumer gets yet: from the first record of a transaction that is
    /// open. Blocks.
    pub(super) fn held_back(&self, topic: &str) -> Result<Vec<u64>> {
        let doing = || format!("ask for open transactions on {topic}");
        let count = self.partitions(topic)?;
        let mut config = self.config.position_client(LOOKING_GROUP);
        config.set("isolation.level", "read_uncommitted");
        let reader: BaseConsumer<LoggingContext> = config
            .create_with_context(LoggingContext)
            .map_err(|error| self.config.not_created(doing(), error))?;
        let mut list = all_partitions(topic, count);
        list.set_all_offsets(Offset::End).map_err(|error| failure(doing(), error))?;
        let all = batch::offsets_at(reader.client(), &list, self.config.request_timeout)
            .map_err(|error| failure(doing(), error))?;
        // Asked after it, so that what is committed in between does not look held back.
        let committed = self.ends(topic)?;
        Ok(all.into_iter().zip(committed).map(|(end, ends)| end.saturating_sub(ends.high)).collect())
    }

    /// Every setting of a topic, as the brokers have it. One whose settings may not be read is refused.
    pub(super) async fn all_settings(&self, topic: &str) -> Result<BTreeMap<String, String>> {
        let doing = || format!("read the settings of topic {topic}");
        let options = AdminOptions::new().request_timeout(Some(self.config.request_timeout));
        let answers = self
            .client
            .describe_configs(&[ResourceSpecifier::Topic(topic)], &options)
            .await
            .map_err(|error| failure(doing(), error))?;
        let code = match answers.into_iter().next() {
            Some(Ok(resource)) => {
                let settings = resource.entries.into_iter();
                return Ok(settings.filter_map(|entry| Some((entry.name, entry.value?))).collect());
            }
            Some(Err(code)) => code,
            None => Code::UnknownTopicOrPartition,
        };
        Err(failure(doing(), KafkaError::AdminOp(code)))
    }

    /// How many brokers keep a topic's first partition.
    pub(super) fn replicas(&self, topic: &str) -> Result<usize> {
        let metadata = self
            .client
            .inner()
            .fetch_metadata(Some(topic), self.config.request_timeout)
            .map_err(|error| failure(format!("ask for the replicas of {topic}"), error))?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let partition = found.and_then(|found| found.partitions().first());
        Ok(partition.map_or(0, |partition| partition.replicas().len()))
    }

    pub(super) async fn verify_settings(&self, topics: &[TopicSpec]) -> Result<()> {
        let resources: Vec<ResourceSpecifier<'_>> =
            topics.iter().map(|topic| ResourceSpecifier::Topic(&topic.name)).collect();
        let options = AdminOptions::new().request_timeout(Some(self.config.request_timeout));
        let answers = self
            .client
            .describe_configs(&resources, &options)
            .await
            .map_err(|error| failure("read the settings of topics", error))?;
        for (topic, answer) in topics.iter().zip(answers) {
            let resource = match answer {
                Ok(resource) => resource,
                Err(code) => {
                    tracing::warn!(topic = topic.name, %code, "could not read the topic's settings, so they are not verified");
                    continue;
                }
            };
            let value =
                |name: &str| resource.get(name).and_then(|entry| entry.value.clone()).unwrap_or_default();
            verify_topic(topic, &value)?;
        }
        Ok(())
    }
}

/// What Kelly relies on. Retention is the operator's: a difference is logged, not refused.
fn verify_topic(topic: &TopicSpec, value: &dyn Fn(&str) -> String) -> Result<()> {
    let mismatch = |found: String, wanted: &str, setting: &str| LogError::TopicMismatch {
        topic: topic.name.clone(),
        found,
        wanted: wanted.into(),
        fix: format!(
            "set it with kafka-configs.sh --alter --entity-type topics --entity-name {} --add-config {setting}",
            topic.name
        ),
    };
    let time = value("message.timestamp.type");
    if time != "LogAppendTime" {
        return Err(mismatch(
            format!("message.timestamp.type={time}"),
            "LogAppendTime (the broker's time, which no producer can bend)",
            "message.timestamp.type=LogAppendTime",
        ));
    }
    let cleanup = value("cleanup.policy");
    if cleanup.contains("compact") {
        return Err(mismatch(
            format!("cleanup.policy={cleanup}"),
            "delete (compaction removes records of one key that are still to be read)",
            "cleanup.policy=delete",
        ));
    }
    if let Ok(limit) = value("max.message.bytes").parse::<usize>()
        && limit < MAX_MESSAGE_BYTES
    {
        tracing::warn!(
            topic = topic.name,
            limit_bytes = limit,
            "the topic takes smaller records than Kelly would send; larger ones will be refused by the broker"
        );
    }
    for (name, wanted) in settings_of(topic).into_iter().filter(|(name, _)| name.starts_with("retention.")) {
        let found = value(name);
        if found != wanted {
            tracing::info!(
                topic = topic.name,
                setting = name,
                found,
                configured = wanted,
                "the topic keeps its own retention"
            );
        }
    }
    Ok(())
}

fn settings_of(topic: &TopicSpec) -> [(&'static str, String); 5] {
    let time = topic.retention.time.map_or("-1".into(), |time| time.as_millis().to_string());
    let bytes = topic.retention.bytes.map_or("-1".into(), |bytes| bytes.to_string());
    [
        ("retention.ms", time),
        ("retention.bytes", bytes),
        ("cleanup.policy", "delete".into()),
        ("message.timestamp.type", "LogAppendTime".into()),
        ("max.message.bytes", MAX_MESSAGE_BYTES.to_string()),
    ]
}

fn all_partitions(topic: &str, count: u32) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(count as usize);
    for partition in 0..count {
        list.add_partition(topic, native(partition));
    }
    list
}

/// Kafka counts partitions in an i32; a larger number is one that does not exist.
pub(super) fn native(partition: u32) -> i32 {
    i32::try_from(partition).unwrap_or(i32::MAX)
}
