//! The broker's error codes, injected by librdkafka's mock cluster: what the port makes of each, and
//! that nothing is lost or read twice when it says that it goes on.
//!
//! The mock has no CreateTopics and no transactions worth the name; what needs those is tried on the
//! real broker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kelly_harness::unique;
use kelly_stream::{
    Commit, Consumer, ConsumerSpec, KafkaConfig, KafkaLog, Log, LogError, Start, TopicPartition,
};
use rdkafka::mocking::{MockCluster, MockCoordinator};
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Native};

use super::support::{Diary, PATIENCE, group_of, place, poll_until, read, record};

/// Brokers of a cluster: leaders and coordinators can move.
const BROKERS: i32 = 3;

/// What the port is to answer, or not to notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Done,
    Unavailable,
    Unknown,
    Fenced,
    Refused,
    TooLarge,
    UnknownTopic,
}

fn answer<T: std::fmt::Debug>(outcome: &Result<T, LogError>) -> Answer {
    match outcome {
        Ok(_) => Answer::Done,
        Err(LogError::Unavailable { .. }) => Answer::Unavailable,
        Err(LogError::Unknown { .. }) => Answer::Unknown,
        Err(LogError::Fenced { .. }) => Answer::Fenced,
        Err(LogError::Refused { .. }) => Answer::Refused,
        Err(LogError::TooLarge { .. }) => Answer::TooLarge,
        Err(LogError::UnknownTopic { .. }) => Answer::UnknownTopic,
        other => panic!("no case of this table: {other:?}"),
    }
}

/// A cluster of the test's own with one topic.
struct Cluster {
    mock: MockCluster<'static, DefaultProducerContext>,
    log: Arc<KafkaLog>,
    topic: Arc<str>,
}

impl Cluster {
    fn start(partitions: i32) -> Self {
        Self::start_with(partitions, |_| ())
    }

    fn start_with(partitions: i32, change: impl FnOnce(&mut KafkaConfig)) -> Self {
        let mock = MockCluster::new(BROKERS).unwrap();
        let topic: Arc<str> = unique("topic").into();
        mock.create_topic(&topic, partitions, BROKERS).unwrap();
        let mut config = KafkaConfig {
            brokers: mock.bootstrap_servers(),
            request_timeout: Duration::from_secs(20),
            delivery_timeout: PATIENCE,
            ..KafkaConfig::default()
        };
        // The mock rebalances for as long as a session lasts.
        config.properties.insert("session.timeout.ms".into(), "3000".into());
        config.properties.insert("heartbeat.interval.ms".into(), "200".into());
        change(&mut config);
        let log = Arc::new(KafkaLog::connect(config).unwrap());
        Self { mock, log, topic }
    }

    async fn append(&self, text: &str) -> Result<Vec<kelly_stream::Position>, LogError> {
        self.log.append(vec![record(&self.topic, Some(0), text.to_owned())]).await
    }

    /// A member that has read so many records.
    fn member(&self, spec: ConsumerSpec, records: usize) -> (Box<dyn Consumer>, Diary) {
        let mut consumer = self.log.consumer(spec).unwrap();
        let mut diary = Diary::default();
        poll_until(&mut [(&mut consumer, &mut diary)], |diaries| !diaries[0].assignments.is_empty());
        read(&mut consumer, &mut diary, records);
        (consumer, diary)
    }

    fn group(&self) -> ConsumerSpec {
        group_of(&self.topic, Start::Earliest)
    }
}

fn commit_of(partition: TopicPartition, epoch: u64, offset: u64) -> Commit {
    Commit { partition, epoch, offset, metadata: "v1".into() }
}

/// Runs cases at once, each on a thread of its own: a cluster is bound to its thread, and most of the
/// time is spent waiting for groups and retries.
async fn side_by_side<F: Future<Output = ()>>(
    cases: impl IntoIterator<Item = impl FnOnce() -> F + Send + 'static>,
) {
    let runtime = tokio::runtime::Handle::current();
    let running: Vec<_> = cases
        .into_iter()
        .map(|case| {
            let runtime = runtime.clone();
            tokio::task::spawn_blocking(move || runtime.block_on(case()))
        })
        .collect();
    for case in running {
        case.await.unwrap();
    }
}

/// The same code so many times in a row.
fn times(code: Native, count: usize) -> Vec<Native> {
    vec![code; count]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_broker_says_to_an_append() {
    use Native::*;
    let cases = [
        // Nothing is wrong that time does not fix: tried again underneath, appended once.
        (times(RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, 3), Answer::Done),
        (times(RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, 3), Answer::Done),
        (times(RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, 3), Answer::Done),
        (times(RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, 3), Answer::Done),
        (times(RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND, 2), Answer::Done),
        (times(RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, 2), Answer::Done),
        (times(RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR, 2), Answer::Done),
        (times(RD_KAFKA_RESP_ERR__TRANSPORT, 3), Answer::Done),
        // For good, and said so.
        (times(RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, 1), Answer::TooLarge),
        (times(RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE, 1), Answer::TooLarge),
        (times(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, 1), Answer::Refused),
        (times(RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, 1), Answer::Refused),
        (times(RD_KAFKA_RESP_ERR_POLICY_VIOLATION, 1), Answer::Refused),
        (times(RD_KAFKA_RESP_ERR_INVALID_RECORD, 1), Answer::Refused),
        (times(RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT, 1), Answer::Refused),
        (times(RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP, 1), Answer::Refused),
        // It lost its place: what was under way may be there, a new producer goes on.
        (times(RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, 1), Answer::Unknown),
    ];
    side_by_side(cases.map(|(codes, expected)| move || append_meets(codes, expected))).await;
}

async fn append_meets(codes: Vec<Native>, expected: Answer) {
    let cluster = Cluster::start(1);
    cluster.append("before").await.unwrap();
    cluster.mock.request_errors(Api::Produce, &codes);
    let outcome = cluster.append("during").await;
    assert_eq!(answer(&outcome), expected, "{codes:?}: {outcome:?}");
    cluster.mock.clear_request_errors(Api::Produce);
    let begun = Instant::now();
    while let Err(error) = cluster.append("after").await {
        // A right that was granted takes a moment to be noticed.
        assert!(matches!(error, LogError::Refused { .. }), "after {codes:?}: {error:?}");
        assert!(begun.elapsed() < PATIENCE, "after {codes:?}: {error:?}");
    }
    let (_consumer, diary) = cluster.member(cluster.group(), if expected == Answer::Done { 3 } else { 2 });
    let texts = diary.texts();
    match expected {
        Answer::Done => assert_eq!(texts, ["before", "during", "after"], "{codes:?}"),
        Answer::Unknown => assert!(texts.contains(&"after".to_owned()), "{codes:?}: {texts:?}"),
        _ => assert_eq!(texts, ["before", "after"], "{codes:?}: it was refused"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_that_nobody_answers_is_unknown_or_was_never_sent() {
    let cluster = Cluster::start_with(1, |config| config.delivery_timeout = Duration::from_secs(3));
    cluster.append("before").await.unwrap();
    // The broker takes it and does not answer in time.
    cluster.mock.broker_round_trip_time(-1, Duration::from_secs(10)).unwrap();
    let outcome = cluster.append("sent").await;
    assert_eq!(answer(&outcome), Answer::Unknown, "{outcome:?}");
    cluster.mock.broker_round_trip_time(-1, Duration::ZERO).unwrap();
    // Nobody is there to take it: it was not sent, and that is known.
    cluster.mock.broker_down(-1).unwrap();
    loop {
        let outcome = cluster.append("not sent").await;
        match answer(&outcome) {
            // What was on its way when the broker went.
            Answer::Unknown => {}
            Answer::Unavailable => break,
            other => panic!("{other:?}: {outcome:?}"),
        }
    }
    cluster.mock.broker_up(-1).unwrap();
    while let Err(error) = cluster.append("after").await {
        assert!(error.is_retryable(), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_coordinator_says_to_a_commit() {
    use Native::*;
    let cases = [
        (RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE, Answer::Done),
        (RD_KAFKA_RESP_ERR_NOT_COORDINATOR, Answer::Done),
        (RD_KAFKA_RESP_ERR__TRANSPORT, Answer::Done),
        (RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, Answer::Done),
        (RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, Answer::Done),
        (RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS, Answer::Unavailable),
        (RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, Answer::Unavailable),
        (RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, Answer::Fenced),
        (RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, Answer::Refused),
        (RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, Answer::Refused),
        (RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE, Answer::Refused),
    ];
    side_by_side(cases.map(|(code, expected)| move || commit_meets(code, expected))).await;
}

async fn commit_meets(code: Native, expected: Answer) {
    let cluster = Cluster::start(1);
    for text in ["0", "1", "2"] {
        cluster.append(text).await.unwrap();
    }
    let group = cluster.group();
    let (mut consumer, mut diary) = cluster.member(group.clone(), 3);
    let committer = consumer.committer();
    let first = commit_of(place(&cluster.topic, 0), diary.assignment(0).epoch, 1);
    committer.commit(&[first]).unwrap();
    let epoch = diary.assignment(0).epoch;

    cluster.mock.request_errors(Api::OffsetCommit, &[code]);
    let second = commit_of(place(&cluster.topic, 0), epoch, 2);
    let outcome = committer.commit(std::slice::from_ref(&second));
    assert_eq!(answer(&outcome), expected, "{code:?}: {outcome:?}");
    cluster.mock.clear_request_errors(Api::OffsetCommit);
    // As ingest does: the same commit until it is done, or the assignment is over.
    let begun = Instant::now();
    loop {
        match committer.commit(std::slice::from_ref(&second)) {
            Ok(()) => break,
            Err(LogError::Fenced { .. }) => {
                // Thrown out: it comes back, under another epoch, at what was committed.
                poll_until(&mut [(&mut consumer, &mut diary)], |diaries| {
                    diaries[0].assignments.first().is_some_and(|assignment| assignment.epoch > epoch)
                });
                let assignment = diary.assignment(0);
                assert_eq!(
                    assignment.committed.as_ref().map(|committed| committed.offset),
                    Some(1),
                    "{code:?}"
                );
                committer.commit(&[commit_of(place(&cluster.topic, 0), assignment.epoch, 2)]).unwrap();
                break;
            }
            Err(error) => {
                assert!(error.is_retryable(), "{code:?}: {error:?}");
                assert!(begun.elapsed() < PATIENCE, "{code:?}: {error:?}");
                consumer.poll(Duration::from_millis(50), 10, &mut diary).unwrap();
            }
        }
    }
    let committed = cluster.log.committed(&group.group, &cluster.topic).await.unwrap();
    assert_eq!(committed[0].as_ref().map(|committed| committed.offset), Some(2), "{code:?}");
    // Records are read on, each once in an assignment.
    cluster.append("3").await.unwrap();
    poll_until(&mut [(&mut consumer, &mut diary)], |diaries| diaries[0].texts().contains(&"3".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_broker_says_to_a_reader() {
    use Native::*;
    let cases = [
        // The reader goes on by itself and every record comes once.
        (Api::Fetch, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, Answer::Done),
        (Api::Fetch, RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR, Answer::Done),
        (Api::Fetch, RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE, Answer::Done),
        (Api::Fetch, RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE, Answer::Done),
        (Api::Fetch, RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE, Answer::Done),
        (Api::Fetch, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, Answer::Done),
        (Api::Fetch, RD_KAFKA_RESP_ERR__TRANSPORT, Answer::Done),
        (Api::OffsetFetch, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, Answer::Done),
        (Api::OffsetFetch, RD_KAFKA_RESP_ERR_NOT_COORDINATOR, Answer::Done),
        (Api::FindCoordinator, RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE, Answer::Done),
        (Api::JoinGroup, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, Answer::Done),
        (Api::JoinGroup, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, Answer::Done),
        (Api::SyncGroup, RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS, Answer::Done),
        (Api::Heartbeat, RD_KAFKA_RESP_ERR_NOT_COORDINATOR, Answer::Done),
        (Api::Heartbeat, RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, Answer::Done),
        (Api::Heartbeat, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, Answer::Done),
        (Api::ListOffsets, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, Answer::Done),
        (Api::Metadata, RD_KAFKA_RESP_ERR__TRANSPORT, Answer::Done),
        // For good, and said so.
        (Api::Fetch, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, Answer::Refused),
        (Api::FindCoordinator, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, Answer::Refused),
        (Api::JoinGroup, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, Answer::Refused),
    ];
    side_by_side(cases.map(|(api, code, expected)| move || reader_meets(api, code, expected))).await;
}

async fn reader_meets(api: Api, code: Native, expected: Answer) {
    const RECORDS: usize = 60;
    let cluster = Cluster::start(1);
    for number in 0..RECORDS / 2 {
        cluster.append(&number.to_string()).await.unwrap();
    }
    cluster.mock.request_errors(api, &times(code, 3));
    let mut consumer = cluster.log.consumer(cluster.group()).unwrap();
    let mut diary = Diary::default();
    let begun = Instant::now();
    let mut appended = RECORDS / 2;
    let mut newest = None;
    let mut last_fault = None;
    loop {
        match consumer.poll(Duration::from_millis(20), 5, &mut diary) {
            Ok(_) => {}
            // What ingest does.
            Err(fault) if fault.is_retryable() => last_fault = Some((begun.elapsed(), fault)),
            Err(fault) => {
                assert_eq!(answer::<()>(&Err(fault)), expected, "{api:?} {code:?}");
                return;
            }
        }
        newest = diary.records().last().map(|record| record.offset as usize + 1).max(newest);
        // Records go on coming while it meets the error.
        if appended < RECORDS && newest.is_some_and(|read| read + 3 > appended) {
            cluster.append(&appended.to_string()).await.unwrap();
            appended += 1;
        }
        if newest == Some(RECORDS) {
            break;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "{api:?} {code:?}: {newest:?} of {RECORDS}, {last_fault:?} {diary:?}"
        );
    }
    assert_eq!(expected, Answer::Done, "{api:?} {code:?} went unnoticed");
    // Nothing was committed: each assignment reads from the start, and leaves nothing out.
    let texts = diary.texts();
    let last = texts.iter().rposition(|text| text == "0").unwrap();
    let all: Vec<String> = (0..RECORDS).map(|number| number.to_string()).collect();
    assert_eq!(texts[last..], all, "{api:?} {code:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_metadata_says_of_a_topic() {
    use Native::*;
    for (code, expected) in [
        (RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, Answer::Unavailable),
        (RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, Answer::UnknownTopic),
        (RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, Answer::Refused),
        (RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, Answer::Refused),
    ] {
        let cluster = Cluster::start(2);
        cluster.mock.topic_error(&cluster.topic, code).unwrap();
        let outcome = cluster.log.partitions(&cluster.topic).await;
        assert_eq!(answer(&outcome), expected, "{code:?}: {outcome:?}");
        cluster.mock.topic_error(&cluster.topic, RD_KAFKA_RESP_ERR_NO_ERROR).unwrap();
        assert_eq!(cluster.log.partitions(&cluster.topic).await.unwrap(), 2, "{code:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_and_coordinators_move_under_load() {
    const RECORDS: usize = 300;
    let cluster = Cluster::start(2);
    let group = cluster.group();
    let (mut consumer, mut diary) = cluster.member(group.clone(), 0);
    let mut committed = [0_u64; 2];
    for number in 0..RECORDS {
        let partition = (number % 2) as u32;
        let batch = vec![record(&cluster.topic, Some(partition), number.to_string())];
        cluster.log.append(batch).await.unwrap();
        if number % 40 == 17 {
            let broker = number as i32 / 40 % BROKERS + 1;
            cluster.mock.partition_leader(&cluster.topic, partition as i32, Some(broker)).unwrap();
            let coordinator = MockCoordinator::Group(group.group.clone());
            cluster.mock.coordinator(coordinator, broker % BROKERS + 1).unwrap();
        }
        if number % 20 == 19 {
            consumer.poll(Duration::from_millis(20), 1_000, &mut diary).unwrap();
            // A move of the coordinator may throw the member out, who then begins at what is committed.
            for assignment in diary.assignments.clone() {
                let at = assignment.partition.partition;
                let read = diary
                    .records()
                    .iter()
                    .rev()
                    .find(|record| record.partition == at)
                    .map(|record| record.offset + 1);
                let Some(read) = read else { continue };
                match consumer.committer().commit(&[commit_of(assignment.partition, assignment.epoch, read)])
                {
                    Ok(()) => committed[at as usize] = read,
                    Err(LogError::Fenced { .. }) => {}
                    Err(error) => assert!(error.is_retryable(), "{error:?}"),
                }
            }
        }
    }
    let has_all = |diary: &Diary| {
        let mut numbers: Vec<usize> = diary.texts().iter().map(|text| text.parse().unwrap()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.len() == RECORDS
    };
    poll_until(&mut [(&mut consumer, &mut diary)], |diaries| has_all(diaries[0]));
    assert!(committed.iter().all(|offset| *offset > 0), "{committed:?}");
    let positions = cluster.log.committed(&group.group, &cluster.topic).await.unwrap();
    for (partition, offset) in committed.into_iter().enumerate() {
        let position = positions[partition].as_ref().map_or(0, |position| position.offset);
        assert!(position >= offset, "{partition}: {position} is before {offset}, which was acknowledged");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_broker_is_slow_and_no_more() {
    let cluster = Cluster::start_with(1, |config| config.request_timeout = Duration::from_secs(2));
    cluster.mock.broker_round_trip_time(-1, Duration::from_millis(300)).unwrap();
    for number in 0..5 {
        cluster.append(&number.to_string()).await.unwrap();
    }
    cluster.log.check().await.unwrap();
    let group = cluster.group();
    let (consumer, diary) = cluster.member(group.clone(), 5);
    assert_eq!(diary.texts(), ["0", "1", "2", "3", "4"]);
    let commit = commit_of(place(&cluster.topic, 0), diary.assignment(0).epoch, 5);
    consumer.committer().commit(&[commit]).unwrap();
    // Slower than what a question may take: it counts as a broker that is away.
    cluster.mock.broker_round_trip_time(-1, Duration::from_secs(20)).unwrap();
    let outcome = cluster.log.check().await;
    assert_eq!(answer(&outcome), Answer::Unavailable, "{outcome:?}");
    cluster.mock.broker_round_trip_time(-1, Duration::ZERO).unwrap();
    while let Err(error) = cluster.log.check().await {
        assert!(error.is_retryable(), "{error:?}");
    }
}
