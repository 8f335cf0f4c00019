//! A log on which nothing is ever declared: positions are committed, ranges that are begun are not declared. For the test
//! that such a pipeline is found out.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kelly_ingest::Journal;
use kelly_stream::{
    Commit, Committed, Committer, Consumer, ConsumerSpec, Log, LogError, LogKind, NewRecord, Position,
    Reader, ReaderSpec, SetTo, Sink, TopicId, TopicPartition, TopicSpec, Watermarks,
};

type Result<T> = std::result::Result<T, LogError>;

pub struct Undeclared(pub Arc<dyn Log>);

struct UndeclaredConsumer(Box<dyn Consumer>);

struct UndeclaredCommitter(Arc<dyn Committer>);

impl Committer for UndeclaredCommitter {
    fn commit(&self, commits: &[Commit]) -> Result<()> {
        let mut commits = commits.to_vec();
        for commit in &mut commits {
            let journal = Journal::parse(&commit.metadata).unwrap().expect("every commit has a journal");
            commit.metadata = Journal::Idle { nonce: journal.nonce(), doubtful_to: None }.to_string();
        }
        self.0.commit(&commits)
    }
}

impl Consumer for UndeclaredConsumer {
    fn poll(&mut self, max_wait: Duration, max_records: usize, sink: &mut dyn Sink) -> Result<usize> {
        self.0.poll(max_wait, max_records, sink)
    }

    fn committer(&self) -> Arc<dyn Committer> {
        Arc::new(UndeclaredCommitter(self.0.committer()))
    }

    fn begin(&mut self, partition: &TopicPartition, position: Option<Committed>) {
        self.0.begin(partition, position);
    }

    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.0.pause(partitions)
    }

    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.0.resume(partitions)
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.0.close()
    }
}

#[async_trait]
impl Log for Undeclared {
    async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<()> {
        self.0.ensure_topics(topics).await
    }

    async fn ensure_kept_topic(&self, topic: &str) -> Result<()> {
        self.0.ensure_kept_topic(topic).await
    }

    async fn ensure_compacted_topic(&self, topic: &str, partitions: u32) -> Result<()> {
        self.0.ensure_compacted_topic(topic, partitions).await
    }

    async fn partitions(&self, topic: &str) -> Result<u32> {
        self.0.partitions(topic).await
    }

    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Position>> {
        self.0.append(records).await
    }

    async fn watermarks(&self, partition: &TopicPartition) -> Result<Watermarks> {
        self.0.watermarks(partition).await
    }

    async fn ends(&self, topic: &str) -> Result<Vec<Watermarks>> {
        self.0.ends(topic).await
    }

    async fn committed(&self, group: &str, topic: &str) -> Result<Vec<Option<Committed>>> {
        self.0.committed(group, topic).await
    }

    async fn topic_id(&self, topic: &str) -> Result<Option<TopicId>> {
        self.0.topic_id(topic).await
    }

    fn reader(&self, spec: ReaderSpec) -> Result<Box<dyn Reader>> {
        self.0.reader(spec)
    }

    fn consumer(&self, spec: ConsumerSpec) -> Result<Box<dyn Consumer>> {
        Ok(Box::new(UndeclaredConsumer(self.0.consumer(spec)?)))
    }

    async fn check(&self) -> Result<()> {
        self.0.check().await
    }

    async fn close(&self) -> Result<()> {
        self.0.close().await
    }

    fn kind(&self) -> LogKind {
        self.0.kind()
    }

    fn describe(&self) -> String {
        self.0.describe()
    }

    fn how_to_set_position(&self, group: &str, partition: &TopicPartition, to: SetTo) -> String {
        self.0.how_to_set_position(group, partition, to)
    }
}
