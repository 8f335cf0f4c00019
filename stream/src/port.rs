//! The port every part above the log is written against. Two implementations: Apache Kafka and the
//! embedded log. Nothing above this file may be able to tell them apart.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::LogError;

/// Result of every call on the port.
pub type Result<T, E = LogError> = std::result::Result<T, E>;

/// A topic as Kelly needs it. `ensure_topics` creates what is missing and verifies what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Name on the log, e.g. `kelly.metrics`.
    pub name: String,
    /// Partitions to create; an existing topic may have more, never fewer.
    pub partitions: u32,
    /// How long and how much is kept.
    pub retention: Retention,
}

/// Retention of one topic; both bounds apply, whichever is reached first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// Records older than this may be removed. `None` keeps them for ever.
    pub time: Option<Duration>,
    /// Bytes a partition may hold before its oldest records are removed. `None` is unbounded.
    pub bytes: Option<u64>,
}

/// A record to append.
#[derive(Debug, Clone)]
pub struct NewRecord {
    /// Topic it goes to.
    pub topic: Arc<str>,
    /// Chosen partition; `None` lets the key decide (murmur2, as Kafka's own clients do), and
    /// without a key any partition.
    pub partition: Option<u32>,
    /// Key: records of one key keep their order.
    pub key: Option<Bytes>,
    /// The bytes. In a topic that is compacted, a record without any says that its key has nothing any more.
    pub payload: Bytes,
    /// The `content-type` header; `None` means JSON.
    pub content_type: Option<Arc<str>>,
}

/// Where a record came to lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Partition.
    pub partition: u32,
    /// Offset in the partition.
    pub offset: u64,
}

/// The ends of a partition for those who read it: `low` is the first offset kept, `high` the one after the last that can
/// be read. On Kafka it is the first one of an open transaction, where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermarks {
    /// First offset still there.
    pub low: u64,
    /// Offset after the last one that can be read: the one the next record gets, but for an open transaction.
    pub high: u64,
}

/// One partition of one topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// Topic.
    pub topic: Arc<str>,
    /// Partition.
    pub partition: u32,
}

/// Identifies one topic: a topic made anew under the same name has another. 64 bits are enough for the few a name ever has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TopicId(pub u64);

/// A committed position: the next offset to read, and what its committer wrote beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Next offset to read.
    pub offset: u64,
    /// Free text of the committer, at most [`MAX_COMMIT_METADATA_BYTES`].
    pub metadata: String,
}

/// Kafka's default `offset.metadata.max.bytes`; the embedded log refuses more too.
pub const MAX_COMMIT_METADATA_BYTES: usize = 4096;

/// Who reads what.
#[derive(Debug, Clone)]
pub struct ConsumerSpec {
    /// Consumer group: its members share the partitions, its positions survive it.
    pub group: String,
    /// Topics to read.
    pub topics: Vec<Arc<str>>,
    /// Where to begin in a partition without a committed position.
    pub start: Start,
}

/// Where a group begins when it has no position yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the low watermark.
    Earliest,
    /// At the high watermark.
    Latest,
}

impl Start {
    /// The offset, in a partition with these ends.
    #[must_use]
    pub fn between(self, ends: Watermarks) -> u64 {
        match self {
            Self::Earliest => ends.low,
            Self::Latest => ends.high,
        }
    }
}

/// A partition handed to this consumer.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// Which partition.
    pub partition: TopicPartition,
    /// Which generation of its topic it belongs to; `None` where the log gives its topics no ids (Kafka before 2.8).
    pub topic_id: Option<TopicId>,
    /// The committed position with its metadata, or what [`Consumer::begin`] put in its place. Reading starts there.
    pub committed: Option<Committed>,
    /// Grows with every assignment this consumer receives; a commit carries it, and one of an
    /// assignment that is over is refused.
    pub epoch: u64,
}

/// One record as it lies in the log's own buffer: borrowed, never copied.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Partition.
    pub partition: u32,
    /// Offset. Offsets grow by at least one; gaps are allowed (transaction markers).
    pub offset: u64,
    /// The log's time of the record, ms since the epoch: the same at every read.
    pub timestamp_ms: i64,
    /// Key.
    pub key: Option<&'a [u8]>,
    /// Bytes.
    pub payload: &'a [u8],
    /// The `content-type` header.
    pub content_type: Option<&'a str>,
}

/// A partition about to be handed over, of which the group has no position: it never had one, or it has expired.
#[derive(Debug, Clone)]
pub struct Unpositioned {
    /// Which partition.
    pub partition: TopicPartition,
    /// As in [`Assignment::topic_id`].
    pub topic_id: Option<TopicId>,
    /// Its ends now.
    pub ends: Watermarks,
}

/// Where reading begins in a partition of which the group has no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// Where [`ConsumerSpec::start`] says.
    AtStart,
    /// Nothing of it is read before [`Consumer::begin`] says where.
    Later,
}

/// What a poll of records reports to its caller, in the order in which it happened.
pub trait RecordSink {
    /// Retention removed `[expected, found)` before it was read; records go on at `found`.
    fn gap(&mut self, partition: &TopicPartition, expected: u64, found: u64);
    /// The next record of a partition.
    fn record(&mut self, record: Record<'_>);
    /// Everything of a partition before `next` has been handed over: behind its last record, up to there, lie offsets
    /// without records (on Kafka the markers of transactions and the records of aborted ones). Reported when nothing more
    /// is there to hand over for now, so that a position can be committed behind them.
    fn passed(&mut self, _partition: &TopicPartition, _next: u64) {}
    /// Whether another record may come now. Asked before each, so it must be cheap. Where there is no room the poll ends
    /// at once, and what it had not handed over is for the polls behind it: nothing is lost, repeated or out of order.
    /// The poll does not wait then: who polls again makes room first, or pauses what is assigned.
    fn has_room(&self) -> bool {
        true
    }
}

/// What a poll of a member of a group reports besides the records.
pub trait Sink: RecordSink {
    /// Asks where to begin in a partition of which the group has no position. It must answer at once: whoever has to
    /// look for the position answers [`Begin::Later`], looks for it between polls and calls [`Consumer::begin`]. Asked
    /// again when taking the partition over failed for another reason.
    fn without_position(&mut self, _partition: &Unpositioned) -> Begin {
        Begin::AtStart
    }
    /// Partitions were handed to this consumer; records of them follow from the committed position.
    fn assigned(&mut self, assignments: Vec<Assignment>);
    /// Partitions were taken away: nothing of them may be committed any more. Also those that wait for
    /// [`Consumer::begin`].
    fn revoked(&mut self, partitions: &[TopicPartition]);
}

/// A position to commit.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Which partition.
    pub partition: TopicPartition,
    /// The epoch of the assignment under which it was read.
    pub epoch: u64,
    /// Next offset to read.
    pub offset: u64,
    /// Text kept beside it.
    pub metadata: String,
}

/// Commits positions from any thread, beside a running poll.
pub trait Committer: Send + Sync {
    /// Commits and returns when it is durable (Kafka: acknowledged by the coordinator; embedded:
    /// on disk). Blocks. Refused with [`LogError::Fenced`] when an assignment is over.
    fn commit(&self, commits: &[Commit]) -> Result<()>;
}

/// A member of a consumer group. Blocking: it stays on a thread of its own.
pub trait Consumer: Send {
    /// Waits at most `max_wait` for the first record, then hands over what is there without waiting
    /// further, at most about `max_records` and no more than the sink has room for. Returns how many
    /// records. Must be called often enough (Kafka's `max.poll.interval.ms`), also while everything is paused.
    fn poll(&mut self, max_wait: Duration, max_records: usize, sink: &mut dyn Sink) -> Result<usize>;
    /// Says where to begin in a partition about which the sink answered [`Begin::Later`]: `position` stands for the
    /// committed one, `None` leaves it to [`ConsumerSpec::start`]. The next poll takes the partition over. One that was
    /// taken away meanwhile is ignored.
    fn begin(&mut self, partition: &TopicPartition, position: Option<Committed>);
    /// The handle that commits for this consumer.
    fn committer(&self) -> Arc<dyn Committer>;
    /// Stops handing over records of these partitions; polling goes on. Unknown ones are ignored.
    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()>;
    /// Hands them over again, from where they stopped: no record is lost or repeated by a pause.
    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()>;
    /// Leaves the group, so that others take over at once.
    fn close(self: Box<Self>) -> Result<()>;
}

/// Where the reading of a topic begins.
#[derive(Debug, Clone)]
pub struct ReaderSpec {
    /// The topic.
    pub topic: Arc<str>,
    /// The next offset of each partition, from the first one on. Partitions beyond are not read.
    pub offsets: Vec<u64>,
}

/// Reads the partitions of a topic by itself: it is in no group, shares with nobody and commits nothing, so every
/// reader gets every record. Blocking: it stays on a thread of its own; dropping it ends it.
pub trait Reader: Send {
    /// As [`Consumer::poll`]. [`LogError::Corrupt`] where a partition ends before the offset to read: the topic was made
    /// anew, or the log lost records.
    fn poll(&mut self, max_wait: Duration, max_records: usize, sink: &mut dyn RecordSink) -> Result<usize>;
}

/// Which log it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogKind {
    /// Apache Kafka.
    ApacheKafka,
    /// The store of this process.
    Embedded,
}

impl std::fmt::Display for LogKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ApacheKafka => "Apache Kafka",
            Self::Embedded => "embedded log",
        })
    }
}

/// Where a person may set a group's position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetTo {
    /// At the first offset that is there.
    Earliest,
    /// At this one.
    Offset(u64),
}

/// The ordered log.
#[async_trait]
pub trait Log: Send + Sync {
    /// Creates topics that are missing and verifies the others; an error says what differs and how to fix it.
    async fn ensure_topics(&self, topics: &[TopicSpec]) -> Result<()>;
    /// Creates a topic of exactly one partition that keeps every record for ever, or verifies that it is one: what it holds
    /// is one order of decisions, and who reads it begins at its beginning. Whatever could reorder, remove or lose a record of it
    /// is refused; the error says what differs and how to fix it.
    async fn ensure_kept_topic(&self, topic: &str) -> Result<()>;
    /// Creates a topic that is compacted, or verifies that it is one: of each key the newest record stays for ever, older ones
    /// are removed sooner or later, and so is one without payload, a day after it came or later. Offsets stay as they are: what
    /// was removed between others is no gap to who reads. An existing topic may have more partitions, never fewer.
    async fn ensure_compacted_topic(&self, topic: &str, partitions: u32) -> Result<()>;
    /// Number of partitions of a topic.
    async fn partitions(&self, topic: &str) -> Result<u32>;
    /// Appends and returns when every record is durable, in the order given. On
    /// [`LogError::Unknown`] each record's fate is unknown, on every other error none is on the log.
    /// [`LogError::Full`] when the bounded queue or the disk is full.
    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<Position>>;
    /// The ends of one partition.
    async fn watermarks(&self, partition: &TopicPartition) -> Result<Watermarks>;
    /// The ends of all partitions of a topic, by partition.
    async fn ends(&self, topic: &str) -> Result<Vec<Watermarks>>;
    /// The group's committed positions on a topic, by partition.
    async fn committed(&self, group: &str, topic: &str) -> Result<Vec<Option<Committed>>>;
    /// Which generation of a topic there is; `None` where the log gives its topics no ids (Kafka before 2.8).
    async fn topic_id(&self, topic: &str) -> Result<Option<TopicId>>;
    /// Opens a consumer.
    fn consumer(&self, spec: ConsumerSpec) -> Result<Box<dyn Consumer>>;
    /// Opens a reader. An offset below what is kept is no error: the gap is reported. Blocks.
    fn reader(&self, spec: ReaderSpec) -> Result<Box<dyn Reader>>;
    /// Fails when the log cannot be reached; what `/readyz` asks.
    async fn check(&self) -> Result<()>;
    /// Waits for what was appended, then lets go of everything. Later calls fail.
    async fn close(&self) -> Result<()>;
    /// Which of the two it is: for what is said to people.
    fn kind(&self) -> LogKind;
    /// What it is, for people: `embedded log at DIR` or `Apache Kafka at host:port`.
    fn describe(&self) -> String;
    /// What a person does to set a group's position on a partition while no member runs, as the rest of a sentence.
    fn how_to_set_position(&self, group: &str, partition: &TopicPartition, to: SetTo) -> String;
}
