//! A stage for one test: a log of either kind, and a sink that writes down what is reported to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kelly_harness::{KafkaBroker, unique};
use kelly_stream::{
    Assignment, Begin, Consumer, ConsumerSpec, EmbeddedConfig, EmbeddedLog, KafkaConfig, KafkaLog, Log,
    NewRecord, Record, RecordSink, Retention, Sink, Start, TopicPartition, TopicSpec, Unpositioned,
};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tempfile::TempDir;

/// Longer than anything takes on a machine that is busy compiling; reaching it is a failure.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// A log to test.
pub struct Stage {
    pub log: Arc<dyn Log>,
    kind: Kind,
}

enum Kind {
    Kafka,
    Embedded { log: Arc<EmbeddedLog>, _directory: TempDir },
}

impl Stage {
    pub fn embedded() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let log = Arc::new(EmbeddedLog::open(EmbeddedConfig::new(directory.path().join("log"))).unwrap());
        Self { log: log.clone(), kind: Kind::Embedded { log, _directory: directory } }
    }

    pub fn kafka() -> Self {
        let brokers = KafkaBroker::shared().bootstrap().to_owned();
        let log = KafkaLog::connect(KafkaConfig { brokers, ..Default::default() }).unwrap();
        Self { log: Arc::new(log), kind: Kind::Kafka }
    }

    /// A topic of this test's own.
    pub async fn topic(&self, partitions: u32) -> Arc<str> {
        let name = unique("topic");
        self.log.ensure_topics(&[spec(&name, partitions)]).await.unwrap();
        name.into()
    }

    /// Compacts what is to be compacted, where that can be asked for. Kafka does it when it likes.
    pub fn compact(&self) {
        if let Kind::Embedded { log, .. } = &self.kind {
            log.compact().unwrap();
        }
    }

    /// Has retention remove all of a topic's first partition but the last append.
    pub async fn remove_all_but_the_last(&self, topic: &Arc<str>) {
        match &self.kind {
            Kind::Embedded { log, .. } => {
                let retention = Retention { bytes: Some(1), time: None };
                log.ensure_topics(&[TopicSpec { retention, ..spec(topic, 1) }]).await.unwrap();
                log.enforce_retention().unwrap();
            }
            Kind::Kafka => {
                let high = self.log.watermarks(&place(topic, 0)).await.unwrap().high;
                let mut list = TopicPartitionList::new();
                list.add_partition_offset(topic, 0, Offset::Offset(high as i64 - 1)).unwrap();
                admin().delete_records(&list, &AdminOptions::new()).await.unwrap();
            }
        }
    }
}

/// A client of the shared broker that goes past the port.
pub fn admin() -> AdminClient<DefaultClientContext> {
    client_config().create().unwrap()
}

pub fn client_config() -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", KafkaBroker::shared().bootstrap());
    config
}

pub fn spec(name: &str, partitions: u32) -> TopicSpec {
    TopicSpec { name: name.into(), partitions, retention: Retention::default() }
}

pub fn place(topic: &Arc<str>, partition: u32) -> TopicPartition {
    TopicPartition { topic: topic.clone(), partition }
}

pub fn record(topic: &Arc<str>, partition: Option<u32>, payload: impl Into<Bytes>) -> NewRecord {
    NewRecord { topic: topic.clone(), partition, key: None, payload: payload.into(), content_type: None }
}

pub fn group_of(topic: &Arc<str>, start: Start) -> ConsumerSpec {
    ConsumerSpec { group: unique("group"), topics: vec![topic.clone()], start }
}

/// A record, kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub partition: u32,
    pub offset: u64,
    pub timestamp_ms: i64,
    pub key: Option<Vec<u8>>,
    pub payload: Vec<u8>,
    pub content_type: Option<String>,
}

impl Kept {
    fn of(record: &Record<'_>) -> Self {
        Self {
            partition: record.partition,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key: record.key.map(<[u8]>::to_vec),
            payload: record.payload.to_vec(),
            content_type: record.content_type.map(str::to_owned),
        }
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.payload.clone()).unwrap()
    }
}

/// What was reported to a consumer, in its order.
#[derive(Debug, Clone)]
pub enum Event {
    Assigned(Vec<Assignment>),
    Revoked,
    Gap { expected: u64, found: u64 },
    Record(Kept),
    Passed(u64),
}

/// Writes everything down, and keeps the assignments as a pipeline does.
#[derive(Debug, Default, Clone)]
pub struct Diary {
    pub events: Vec<Event>,
    pub assignments: Vec<Assignment>,
    last: BTreeMap<TopicPartition, u64>,
}

impl Diary {
    pub fn records(&self) -> Vec<Kept> {
        let kept = |event: &Event| match event {
            Event::Record(record) => Some(record.clone()),
            _ => None,
        };
        self.events.iter().filter_map(kept).collect()
    }

    pub fn has_gaps(&self) -> bool {
        self.events.iter().any(|event| matches!(event, Event::Gap { .. }))
    }

    pub fn texts(&self) -> Vec<String> {
        self.records().iter().map(Kept::text).collect()
    }

    pub fn assignment(&self, partition: u32) -> Assignment {
        self.assignments
            .iter()
            .find(|assignment| assignment.partition.partition == partition)
            .unwrap()
            .clone()
    }
}

impl Sink for Diary {
    fn assigned(&mut self, assignments: Vec<Assignment>) {
        for assignment in &assignments {
            // A new owner goes on at the committed position, whatever was read before.
            self.last.remove(&assignment.partition);
        }
        self.assignments.extend(assignments.clone());
        self.events.push(Event::Assigned(assignments));
    }

    fn revoked(&mut self, partitions: &[TopicPartition]) {
        self.assignments.retain(|assignment| !partitions.contains(&assignment.partition));
        self.events.push(Event::Revoked);
    }
}

impl RecordSink for Diary {
    fn gap(&mut self, _partition: &TopicPartition, expected: u64, found: u64) {
        self.events.push(Event::Gap { expected, found });
    }

    fn record(&mut self, record: Record<'_>) {
        let owned = |assignment: &&Assignment| {
            &*assignment.partition.topic == record.topic && assignment.partition.partition == record.partition
        };
        let assignment =
            self.assignments.iter().find(owned).expect("a record of a partition that is not assigned");
        let before = self.last.insert(assignment.partition.clone(), record.offset);
        assert!(
            before.is_none_or(|before| before < record.offset),
            "{before:?} was read before {}",
            record.offset
        );
        self.events.push(Event::Record(Kept::of(&record)));
    }

    fn passed(&mut self, _partition: &TopicPartition, next: u64) {
        self.events.push(Event::Passed(next));
    }
}

/// A diary with room for so many records more.
#[derive(Debug, Default)]
pub struct Narrow {
    pub diary: Diary,
    pub room: usize,
}

impl Sink for Narrow {
    fn assigned(&mut self, assignments: Vec<Assignment>) {
        self.diary.assigned(assignments);
    }

    fn revoked(&mut self, partitions: &[TopicPartition]) {
        self.diary.revoked(partitions);
    }
}

impl RecordSink for Narrow {
    fn gap(&mut self, partition: &TopicPartition, expected: u64, found: u64) {
        self.diary.gap(partition, expected, found);
    }

    fn record(&mut self, record: Record<'_>) {
        self.room -= 1;
        self.diary.record(record);
    }

    fn has_room(&self) -> bool {
        self.room > 0
    }
}

/// What a reader in no group was told.
#[derive(Debug, Default)]
pub struct Notes(pub Diary);

impl RecordSink for Notes {
    fn gap(&mut self, partition: &TopicPartition, expected: u64, found: u64) {
        self.0.gap(partition, expected, found);
    }

    fn record(&mut self, record: Record<'_>) {
        self.0.events.push(Event::Record(Kept::of(&record)));
    }

    fn passed(&mut self, _partition: &TopicPartition, next: u64) {
        self.0.events.push(Event::Passed(next));
    }
}

/// The same with room for so many records more.
#[derive(Debug, Default)]
pub struct NarrowNotes {
    pub notes: Notes,
    pub room: usize,
}

impl RecordSink for NarrowNotes {
    fn gap(&mut self, partition: &TopicPartition, expected: u64, found: u64) {
        self.notes.gap(partition, expected, found);
    }

    fn record(&mut self, record: Record<'_>) {
        self.room -= 1;
        self.notes.record(record);
    }

    fn has_room(&self) -> bool {
        self.room > 0
    }
}

/// A diary that says where to begin later, between polls.
#[derive(Debug, Default)]
pub struct Later {
    pub diary: Diary,
    pub asked: Vec<Unpositioned>,
}

impl Sink for Later {
    fn without_position(&mut self, partition: &Unpositioned) -> Begin {
        self.asked.push(partition.clone());
        Begin::Later
    }

    fn assigned(&mut self, assignments: Vec<Assignment>) {
        self.diary.assigned(assignments);
    }

    fn revoked(&mut self, partitions: &[TopicPartition]) {
        self.diary.revoked(partitions);
    }
}

impl RecordSink for Later {
    fn gap(&mut self, partition: &TopicPartition, expected: u64, found: u64) {
        self.diary.gap(partition, expected, found);
    }

    fn record(&mut self, record: Record<'_>) {
        self.diary.record(record);
    }
}

/// Polls all consumers in turn until their diaries are as wanted.
pub fn poll_until(
    members: &mut [(&mut Box<dyn Consumer>, &mut Diary)],
    mut done: impl FnMut(&[&Diary]) -> bool,
) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let diaries: Vec<&Diary> = members.iter().map(|(_, diary)| &**diary).collect();
        if done(&diaries) {
            return;
        }
        assert!(Instant::now() < deadline, "waited in vain; it saw {diaries:#?}");
        for (consumer, diary) in members.iter_mut() {
            consumer.poll(Duration::from_millis(50), 10_000, *diary).unwrap();
        }
    }
}

/// Polls until so many records have come in all.
pub fn read(consumer: &mut Box<dyn Consumer>, diary: &mut Diary, records: usize) {
    poll_until(&mut [(consumer, diary)], |diaries| diaries[0].records().len() >= records);
}
