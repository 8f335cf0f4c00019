//! What only Kafka can do to us: brokers away, foreign topics, transactions, foreign producers.

use std::sync::Arc;
use std::time::Duration;

use super::support::{
    self, Diary, Event, Notes, Stage, admin, client_config, group_of, place, poll_until, read, record, spec,
};
use kelly_harness::{KafkaBroker, free_port, unique};
use kelly_stream::{Commit, Consumer, KafkaConfig, KafkaLog, Log, LogError, ReaderSpec, Start};
use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

fn connect(brokers: &str, change: impl FnOnce(&mut KafkaConfig)) -> KafkaLog {
    let mut config = KafkaConfig { brokers: brokers.into(), ..Default::default() };
    change(&mut config);
    KafkaLog::connect(config).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_away_shows_in_the_calls() {
    let log = connect(&format!("127.0.0.1:{}", free_port()), |config| {
        config.request_timeout = Duration::from_secs(1);
        config.delivery_timeout = Duration::from_secs(2);
        config.queue_bytes = 2_000;
    });
    let error = log.check().await.unwrap_err();
    assert!(matches!(error, LogError::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains("reach Kafka at 127.0.0.1"), "{error}");
    assert!(error.is_retryable());

    let topic: Arc<str> = "t".into();
    let log = Arc::new(log);
    let first = {
        let (log, topic) = (log.clone(), topic.clone());
        tokio::spawn(async move { log.append(vec![record(&topic, Some(0), vec![0; 1_500])]).await })
    };
    // The first waits for the broker; the queue has no room for a second.
    loop {
        match log.append(vec![record(&topic, Some(0), vec![0; 1_500])]).await {
            Err(LogError::Full { .. }) => break,
            // It waited, was never sent, and that is known.
            other => assert!(matches!(other, Err(LogError::Unavailable { .. })), "{other:?}"),
        }
    }
    let too_large = log.append(vec![record(&topic, Some(0), vec![0; 3_000])]).await;
    assert!(matches!(too_large, Err(LogError::TooLarge { .. })), "{too_large:?}");
    let outcome = first.await.unwrap();
    assert!(matches!(outcome, Err(LogError::Unavailable { .. } | LogError::Full { .. })), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_with_the_producers_clock_is_refused() {
    let stage = Stage::kafka();
    let name = unique("foreign");
    let foreign =
        NewTopic::new(&name, 1, TopicReplication::Fixed(1)).set("message.timestamp.type", "CreateTime");
    admin().create_topics([&foreign], &AdminOptions::new()).await.unwrap();
    let error = stage.log.ensure_topics(&[spec(&name, 1)]).await.unwrap_err();
    assert!(matches!(error, LogError::TopicMismatch { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.contains("CreateTime") && message.contains("kafka-configs.sh"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_would_forget_decisions_is_refused() {
    let stage = Stage::kafka();
    let cases = [
        ("retention.ms", "604800000"),
        ("retention.bytes", "1073741824"),
        ("cleanup.policy", "compact"),
        ("message.timestamp.type", "CreateTime"),
        ("unclean.leader.election.enable", "true"),
    ];
    for (setting, value) in cases {
        let name = unique("foreign");
        let good = [("retention.ms", "-1"), ("message.timestamp.type", "LogAppendTime")];
        let new = NewTopic::new(&name, 1, TopicReplication::Fixed(1));
        let new = good.iter().fold(new, |new, (name, value)| new.set(name, value)).set(setting, value);
        admin().create_topics([&new], &AdminOptions::new()).await.unwrap();
        let error = stage.log.ensure_kept_topic(&name).await.unwrap_err();
        assert!(matches!(error, LogError::TopicMismatch { .. }), "{setting}: {error:?}");
        assert!(error.to_string().contains(&format!("{setting}={value}")), "{error}");
    }
}

/// A producer of transactions.
struct Transactions(ThreadedProducer<DefaultProducerContext>);

impl Transactions {
    fn start() -> Self {
        let mut config = client_config();
        config.set("transactional.id", unique("transaction")).set("partitioner", "murmur2_random");
        let producer: ThreadedProducer<DefaultProducerContext> = config.create().unwrap();
        producer.init_transactions(support::PATIENCE).unwrap();
        Self(producer)
    }

    /// Begins one, and has the broker take a record in it.
    fn begin(&self, topic: &Arc<str>, text: &str) {
        self.0.begin_transaction().unwrap();
        let record = BaseRecord::<str, str>::to(topic).payload(text).key("k");
        self.0.send(record).map_err(|(error, _)| error).unwrap();
        self.0.flush(support::PATIENCE).unwrap();
    }

    fn end(&self, keep: bool) {
        if keep {
            self.0.commit_transaction(support::PATIENCE).unwrap();
        } else {
            self.0.abort_transaction(support::PATIENCE).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aborted_transactions_and_their_marks_are_no_records_and_no_gaps() {
    let stage = Stage::kafka();
    let topic = stage.topic(1).await;
    let producer = Transactions::start();
    for (text, keep) in [("one", true), ("lost", false), ("two", true)] {
        producer.begin(&topic, text);
        producer.end(keep);
    }
    stage.log.append(vec![record(&topic, Some(0), "three")]).await.unwrap();
    let mut consumer = stage.log.consumer(group_of(&topic, Start::Earliest)).unwrap();
    let mut diary = Diary::default();
    read(&mut consumer, &mut diary, 3);
    assert_eq!(diary.texts(), ["one", "two", "three"]);
    let offsets: Vec<u64> = diary.records().iter().map(|record| record.offset).collect();
    assert_eq!(offsets, [0, 4, 6]);
    assert!(!diary.events.iter().any(|event| matches!(event, Event::Gap { .. })));
}

/// The same for a reader in no group, which sees no more of transactions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_transactions_leave_is_passed_by_a_reader_too() {
    let stage = Stage::kafka();
    let topic = stage.topic(1).await;
    let producer = Transactions::start();
    let mut reader = stage.log.reader(ReaderSpec { topic: topic.clone(), offsets: vec![0] }).unwrap();
    let mut notes = Notes::default();
    let mut until = |next: u64| {
        while !notes.0.events.iter().any(|event| matches!(event, Event::Passed(passed) if *passed == next)) {
            reader.poll(Duration::from_millis(100), 100, &mut notes).unwrap();
        }
        notes.0.texts()
    };
    producer.begin(&topic, "one");
    producer.end(true);
    assert_eq!(until(2), ["one"]);
    producer.begin(&topic, "lost");
    producer.end(false);
    assert_eq!(until(4), ["one"]);
    stage.log.append(vec![record(&topic, Some(0), "two")]).await.unwrap();
    producer.begin(&topic, "three");
    producer.end(true);
    assert_eq!(until(7), ["one", "two", "three"]);
    let next = notes.0.events.iter().map(|event| match event {
        Event::Record(record) => record.offset + 1,
        Event::Passed(next) => *next,
        other => panic!("{other:?}"),
    });
    assert!(next.is_sorted_by(|before, after| before < after), "{:?}", notes.0.events);
}

/// Markers and aborted records behind the last record: whoever reads goes on behind them, at once and when it is
/// resumed or begun anew; an open transaction is the end for now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_transactions_leave_behind_the_last_record_is_passed() {
    let stage = Stage::kafka();
    let topic = stage.topic(1).await;
    let producer = Transactions::start();
    let passed = |diary: &Diary| {
        let offset = |event: &Event| if let Event::Passed(next) = event { Some(*next) } else { None };
        diary.events.iter().rev().find_map(offset)
    };
    let until = |consumer: &mut Box<dyn Consumer>, diary: &mut Diary, next: u64| {
        poll_until(&mut [(consumer, diary)], |diaries| passed(diaries[0]) == Some(next));
    };
    let high = || async { stage.log.watermarks(&place(&topic, 0)).await.unwrap().high };
    let group = group_of(&topic, Start::Earliest);
    let mut consumer = stage.log.consumer(group.clone()).unwrap();
    let mut diary = Diary::default();

    producer.begin(&topic, "one");
    producer.end(true);
    until(&mut consumer, &mut diary, 2);
    assert_eq!((diary.texts(), high().await), (vec!["one".to_owned()], 2));
    producer.begin(&topic, "lost");
    producer.end(false);
    until(&mut consumer, &mut diary, 4);

    consumer.pause(&[place(&topic, 0)]).unwrap();
    producer.begin(&topic, "lost too");
    producer.end(false);
    for _ in 0..5 {
        consumer.poll(Duration::from_millis(100), 100, &mut diary).unwrap();
    }
    assert_eq!(passed(&diary), Some(4), "a paused partition stands still");
    consumer.resume(&[place(&topic, 0)]).unwrap();
    until(&mut consumer, &mut diary, 6);

    producer.begin(&topic, "two");
    for _ in 0..5 {
        consumer.poll(Duration::from_millis(100), 100, &mut diary).unwrap();
    }
    // A record of an open transaction is not there yet for anybody: neither to be read nor to be waited for.
    assert_eq!((passed(&diary), high().await), (Some(6), 6));
    producer.end(true);
    until(&mut consumer, &mut diary, 8);
    assert_eq!(diary.texts(), ["one", "two"]);
    let epoch = diary.assignment(0).epoch;
    let at = |offset| Commit { partition: place(&topic, 0), epoch, offset, metadata: String::new() };
    consumer.committer().commit(&[at(2)]).unwrap();
    consumer.close().unwrap();

    // Begun anew where only such offsets and one record follow.
    let mut diary = Diary::default();
    let mut consumer = stage.log.consumer(group).unwrap();
    until(&mut consumer, &mut diary, 8);
    assert_eq!(diary.texts(), ["two"]);
    assert!(!diary.events.iter().any(|event| matches!(event, Event::Gap { .. })), "{diary:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_comes_back_finds_everybody_going_on() {
    let broker = KafkaBroker::start().unwrap();
    let log = connect(broker.bootstrap(), |config| {
        config.request_timeout = Duration::from_secs(2);
        config.delivery_timeout = Duration::from_secs(120);
    });
    let log: Arc<dyn Log> = Arc::new(log);
    let topic: Arc<str> = unique("topic").into();
    log.ensure_topics(&[spec(&topic, 1)]).await.unwrap();
    log.append(vec![record(&topic, Some(0), "before")]).await.unwrap();
    let mut consumer = log.consumer(group_of(&topic, Start::Earliest)).unwrap();
    let mut diary = Diary::default();
    read(&mut consumer, &mut diary, 1);
    let commit = |consumer: &dyn Consumer, diary: &Diary, offset| {
        let epoch = diary.assignment(0).epoch;
        let commit = Commit { partition: place(&topic, 0), epoch, offset, metadata: "v1".into() };
        consumer.committer().commit(&[commit]).unwrap();
    };
    commit(&*consumer, &diary, 1);

    broker.kill().unwrap();
    assert!(log.check().await.is_err());
    let during = {
        let (log, topic) = (log.clone(), topic.clone());
        tokio::spawn(async move { log.append(vec![record(&topic, Some(0), "during")]).await })
    };
    // A consumer without a broker waits, it does not fail.
    consumer.poll(Duration::from_millis(200), 10, &mut diary).unwrap();
    broker.restart().unwrap();
    during.await.unwrap().unwrap();
    log.append(vec![record(&topic, Some(0), "after")]).await.unwrap();
    // The group may have been made anew meanwhile: then it goes on at the committed position.
    poll_until(&mut [(&mut consumer, &mut diary)], |diaries| {
        diaries[0].texts().contains(&"after".to_owned())
    });
    let mut texts = diary.texts();
    texts.dedup();
    assert!(texts.ends_with(&["during".to_owned(), "after".to_owned()]), "{texts:?}");
    assert_eq!(texts.iter().filter(|text| *text == "before").count(), 1, "{texts:?}");
    commit(&*consumer, &diary, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_named_instance_gets_its_partitions_back_at_once() {
    let stage = Stage::kafka();
    let topic = stage.topic(2).await;
    let group = group_of(&topic, Start::Earliest);
    let brokers = KafkaBroker::shared().bootstrap();
    // Would hold the partitions for as long if the second were a stranger.
    let name = |config: &mut KafkaConfig| {
        config.instance_id = Some("kelly-1".into());
        config.properties.insert("session.timeout.ms".into(), "300000".into());
    };
    let first = connect(brokers, name);
    let mut consumer = first.consumer(group.clone()).unwrap();
    let mut diary = Diary::default();
    poll_until(&mut [(&mut consumer, &mut diary)], |diaries| diaries[0].assignments.len() == 2);
    // A static member does not leave when it is closed: for the group this is a crash.
    consumer.close().unwrap();
    let mut consumer = connect(brokers, name).consumer(group).unwrap();
    let mut diary = Diary::default();
    poll_until(&mut [(&mut consumer, &mut diary)], |diaries| diaries[0].assignments.len() == 2);
}
