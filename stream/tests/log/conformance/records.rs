//! What is appended is read: in order, from its partition, whole, and from where it is still kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kelly_harness::unique;
use kelly_stream::bounds::MAX_RECORD_BYTES;
use kelly_stream::partitioner::partition_of;
use kelly_stream::{Commit, ConsumerSpec, LogError, NewRecord, Position, Start, Watermarks};

use super::{append_texts, commit, conformance, numbered};
use crate::support::{self, Diary, Event, Stage, group_of, place, poll_until, read, record, spec};

conformance! {
    records_are_read_in_the_order_they_were_appended
    a_key_decides_the_partition_as_in_kafka
    what_a_record_carries_comes_back
    a_gap_left_by_retention_is_reported
    watermarks_tell_the_ends
    a_topic_that_differs_is_refused
    a_kept_topic_has_one_partition
    large_records_pass_and_too_large_ones_are_refused
    many_partitions_are_read
    concurrent_producers_keep_their_orders
    a_waiting_consumer_sees_what_is_appended
    what_is_not_there_is_said_so
    a_closed_log_refuses
}

async fn records_are_read_in_the_order_they_were_appended(stage: Stage) {
    let topic = stage.topic(3).await;
    let mut expected: BTreeMap<u32, Vec<(u64, String)>> = BTreeMap::new();
    for batch in 0..20 {
        let records: Vec<NewRecord> = (0..10)
            .map(|number| record(&topic, Some((batch + number) % 3), format!("{batch}-{number}")))
            .collect();
        let positions = stage.log.append(records.clone()).await.unwrap();
        for (record, position) in records.iter().zip(positions) {
            assert_eq!(Some(position.partition), record.partition);
            let text = String::from_utf8(record.payload.to_vec()).unwrap();
            expected.entry(position.partition).or_default().push((position.offset, text));
        }
    }
    for positions in expected.values() {
        let offsets: Vec<u64> = positions.iter().map(|(offset, _)| *offset).collect();
        assert_eq!(offsets, (0..offsets.len() as u64).collect::<Vec<_>>(), "gapless from 0");
    }
    let mut readings = Vec::new();
    for _ in 0..2 {
        let mut consumer = stage.log.consumer(group_of(&topic, Start::Earliest)).unwrap();
        let mut diary = Diary::default();
        read(&mut consumer, &mut diary, 200);
        let mut found: BTreeMap<u32, Vec<(u64, String)>> = BTreeMap::new();
        let mut times: BTreeMap<u32, Vec<i64>> = BTreeMap::new();
        for record in diary.records() {
            found.entry(record.partition).or_default().push((record.offset, record.text()));
            times.entry(record.partition).or_default().push(record.timestamp_ms);
        }
        assert_eq!(found, expected);
        assert!(times.values().all(|times| times.is_sorted() && times[0] > 1_600_000_000_000), "{times:?}");
        readings.push(times);
        consumer.close().unwrap();
    }
    assert_eq!(readings[0], readings[1], "the log's time is the same at every read");
}

async fn a_key_decides_the_partition_as_in_kafka(stage: Stage) {
    let topic = stage.topic(7).await;
    let keys: Vec<String> = (0..200).map(|number| format!("conversation-{number}")).collect();
    let records: Vec<NewRecord> = keys
        .iter()
        .map(|key| NewRecord { key: Some(key.clone().into()), ..record(&topic, None, "x") })
        .collect();
    let positions = stage.log.append(records).await.unwrap();
    for (key, position) in keys.iter().zip(positions) {
        assert_eq!(position.partition, partition_of(key.as_bytes(), 7), "{key}");
    }
    let keyless = stage.log.append(vec![record(&topic, None, "y"); 3]).await.unwrap();
    assert!(keyless.iter().all(|position| position.partition < 7));
}

async fn what_a_record_carries_comes_back(stage: Stage) {
    let topic = stage.topic(1).await;
    let plain = record(&topic, Some(0), &b"\x00\xff binary"[..]);
    let records = vec![
        plain.clone(),
        NewRecord { key: Some(Bytes::from_static(b"\x01\x00")), ..plain.clone() },
        NewRecord { content_type: Some("application/vnd.apache.arrow.stream".into()), ..plain.clone() },
        NewRecord {
            key: Some(Bytes::from_static(b"k")),
            content_type: Some("text/plain".into()),
            payload: Bytes::new(),
            ..plain
        },
    ];
    stage.log.append(records.clone()).await.unwrap();
    let mut consumer = stage.log.consumer(group_of(&topic, Start::Earliest)).unwrap();
    let mut diary = Diary::default();
    read(&mut consumer, &mut diary, records.len());
    for (found, wanted) in diary.records().iter().zip(&records) {
        assert_eq!(found.payload, wanted.payload);
        assert_eq!(found.key.as_deref(), wanted.key.as_deref());
        assert_eq!(found.content_type.as_deref(), wanted.content_type.as_deref());
    }
}

async fn a_gap_left_by_retention_is_reported(stage: Stage) {
    let topic = stage.topic(1).await;
    let group = group_of(&topic, Start::Earliest);
    append_texts(&stage, &topic, 0, numbered(0..10)).await;
    let mut consumer = stage.log.consumer(group.clone()).unwrap();
    let mut diary = Diary::default();
    read(&mut consumer, &mut diary, 10);
    let epoch = diary.assignment(0).epoch;
    consumer.committer().commit(&[commit(place(&topic, 0), epoch, 3, "")]).unwrap();
    consumer.close().unwrap();

    stage.remove_all_but_the_last(&topic).await;
    assert_eq!(stage.log.watermarks(&place(&topic, 0)).await.unwrap(), Watermarks { low: 9, high: 10 });
    assert_eq!(stage.log.ends(&topic).await.unwrap(), [Watermarks { low: 9, high: 10 }]);
    let mut consumer = stage.log.consumer(group).unwrap();
    let mut diary = Diary::default();
    read(&mut consumer, &mut diary, 1);
    let seen: Vec<String> = diary
        .events
        .iter()
        .map(|event| match event {
            Event::Assigned(assignments) => {
                format!("at {}", assignments[0].committed.as_ref().unwrap().offset)
            }
            Event::Gap { expected, found } => format!("gap {expected}..{found}"),
            Event::Record(record) => record.text(),
            Event::Passed(next) => format!("passed {next}"),
            Event::Revoked => "revoked".into(),
        })
        .collect();
    assert_eq!(seen, ["at 3", "gap 3..9", "9"]);
    // A group that starts at the beginning misses nothing.
    let mut consumer = stage.log.consumer(group_of(&topic, Start::Earliest)).unwrap();
    let mut diary = Diary::default();
    read(&mut consumer, &mut diary, 1);
    assert!(!diary.events.iter().any(|event| matches!(event, Event::Gap { .. })), "{:?}", diary.events);
    append_texts(&stage, &topic, 0, numbered(10..11)).await;
    assert_eq!(stage.log.watermarks(&place(&topic, 0)).await.unwrap().high, 11);
}

async fn watermarks_tell_the_ends(stage: Stage) {
    let topic = stage.topic(2).await;
    assert_eq!(stage.log.partitions(&topic).await.unwrap(), 2);
    let ends = |partition| {
        let place = place(&topic, partition);
        let log = stage.log.clone();
        async move {
            let deadline = Instant::now() + support::PATIENCE;
            loop {
                match log.watermarks(&place).await {
                    // A broker that is busy may not lead yet what it has just been given.
                    Err(error) if error.is_retryable() && Instant::now() < deadline => {}
                    outcome => return outcome,
                }
            }
        }
    };
    assert_eq!(ends(0).await.unwrap(), Watermarks { low: 0, high: 0 });
    let position = stage.log.append(vec![record(&topic, Some(1), "x")]).await.unwrap();
    assert_eq!(position, [Position { partition: 1, offset: 0 }]);
    assert_eq!(ends(0).await.unwrap(), Watermarks { low: 0, high: 0 });
    assert_eq!(ends(1).await.unwrap(), Watermarks { low: 0, high: 1 });
    assert!(matches!(ends(2).await, Err(LogError::UnknownPartition { partition: 2, .. })));
    let all = stage.log.ends(&topic).await.unwrap();
    assert_eq!(all, [Watermarks { low: 0, high: 0 }, Watermarks { low: 0, high: 1 }]);
    stage.log.check().await.unwrap();
}

async fn a_topic_that_differs_is_refused(stage: Stage) {
    let topic = stage.topic(2).await;
    stage.log.ensure_topics(&[spec(&topic, 1), spec(&topic, 2)][..1]).await.unwrap();
    stage.log.ensure_topics(&[spec(&topic, 2)]).await.unwrap();
    let error = stage.log.ensure_topics(&[spec(&topic, 3)]).await.unwrap_err();
    assert!(matches!(error, LogError::TopicMismatch { .. }), "{error:?}");
    let message = error.to_string();
    assert!(
        message.contains(&*topic) && message.contains("2 partitions") && message.contains("3 or more"),
        "{message}"
    );
    for bad in [spec("no spaces", 1), spec("", 1), spec("none", 0)] {
        assert!(matches!(stage.log.ensure_topics(&[bad]).await, Err(LogError::Config { .. })));
    }
}

async fn a_kept_topic_has_one_partition(stage: Stage) {
    let topic = unique("kept");
    stage.log.ensure_kept_topic(&topic).await.unwrap();
    stage.log.append(vec![record(&topic.as_str().into(), None, "x")]).await.unwrap();
    let id = stage.log.topic_id(&topic).await.unwrap();
    stage.log.ensure_kept_topic(&topic).await.unwrap();
    assert_eq!(stage.log.topic_id(&topic).await.unwrap(), id);
    assert_eq!(stage.log.ends(&topic).await.unwrap(), [Watermarks { low: 0, high: 1 }]);
    let several = stage.topic(2).await;
    let error = stage.log.ensure_kept_topic(&several).await.unwrap_err();
    assert!(matches!(error, LogError::TopicMismatch { .. }), "{error:?}");
    assert!(error.to_string().contains("2 partitions"), "{error}");
}

async fn large_records_pass_and_too_large_ones_are_refused(stage: Stage) {
    let topic = stage.topic(1).await;
    let large: Vec<u8> = (0..MAX_RECORD_BYTES).map(|index| (index / 251) as u8 ^ index as u8).collect();
    stage.log.append(vec![record(&topic, Some(0), large.clone())]).await.unwrap();
    append_texts(&stage, &topic, 0, numbered(1..2)).await;
    let refused = stage.log.append(vec![record(&topic, Some(0), vec![0; MAX_RECORD_BYTES + 1])]).await;
    assert!(matches!(refused, Err(LogError::TooLarge { .. })), "{refused:?}");
    let content_type = Some("x".repeat(256).into());
    let refused = stage.log.append(vec![NewRecord { content_type, ..record(&topic, Some(0), "x") }]).await;
    assert!(matches!(refused, Err(LogError::TooLarge { .. })), "{refused:?}");
    let mut consumer = stage.log.consumer(group_of(&topic, Start::Earliest)).unwrap();
    let mut diary = Diary::default();
    read(&mut consumer, &mut diary, 2);
    let records = diary.records();
    assert!(records[0].payload == large, "8 MiB come back as they were");
    assert_eq!(records[1].text(), "1");
}

async fn many_partitions_are_read(stage: Stage) {
    let topic = stage.topic(48).await;
    let records: Vec<NewRecord> =
        (0..480).map(|number| record(&topic, Some(number % 48), number.to_string())).collect();
    stage.log.append(records).await.unwrap();
    let mut consumer = stage.log.consumer(group_of(&topic, Start::Earliest)).unwrap();
    let mut diary = Diary::default();
    read(&mut consumer, &mut diary, 480);
    let mut numbers: Vec<u32> = diary.texts().iter().map(|text| text.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..480).collect::<Vec<u32>>());
    let commits: Vec<Commit> = diary
        .assignments
        .iter()
        .map(|assignment| commit(assignment.partition.clone(), assignment.epoch, 10, "all"))
        .collect();
    consumer.committer().commit(&commits).unwrap();
}

async fn concurrent_producers_keep_their_orders(stage: Stage) {
    let topic = stage.topic(3).await;
    let mut producers = tokio::task::JoinSet::new();
    for producer in 0..8 {
        let (log, topic) = (stage.log.clone(), topic.clone());
        producers.spawn(async move {
            let mut positions = Vec::new();
            for number in 0..50 {
                let text = format!("{producer}:{number}");
                let record =
                    NewRecord { key: Some(format!("key-{producer}").into()), ..record(&topic, None, text) };
                positions.extend(log.append(vec![record.clone(), record]).await.unwrap());
            }
            positions
        });
    }
    let positions: Vec<Position> = producers.join_all().await.into_iter().flatten().collect();
    let distinct: BTreeSet<(u32, u64)> =
        positions.iter().map(|place| (place.partition, place.offset)).collect();
    assert_eq!(distinct.len(), 800, "no position is given twice");
    let mut consumer = stage.log.consumer(group_of(&topic, Start::Earliest)).unwrap();
    let mut diary = Diary::default();
    read(&mut consumer, &mut diary, 800);
    let mut orders: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for text in diary.texts() {
        let (producer, number) = text.split_once(':').unwrap();
        orders.entry(producer.into()).or_default().push(number.parse().unwrap());
    }
    let wanted: Vec<usize> = (0..50).flat_map(|number| [number, number]).collect();
    assert!(orders.values().all(|order| *order == wanted), "{orders:?}");
}

async fn a_waiting_consumer_sees_what_is_appended(stage: Stage) {
    let topic = stage.topic(1).await;
    let mut consumer = stage.log.consumer(group_of(&topic, Start::Earliest)).unwrap();
    let mut diary = Diary::default();
    poll_until(&mut [(&mut consumer, &mut diary)], |diaries| !diaries[0].assignments.is_empty());
    assert_eq!(consumer.poll(Duration::ZERO, 10, &mut diary).unwrap(), 0);
    let (ready, waiting) = std::sync::mpsc::sync_channel(1);
    let reader = std::thread::spawn(move || {
        ready.send(()).unwrap();
        let count = consumer.poll(support::PATIENCE, 10, &mut diary).unwrap();
        (count, diary.texts())
    });
    waiting.recv().unwrap();
    append_texts(&stage, &topic, 0, numbered(0..1)).await;
    assert_eq!(reader.join().unwrap(), (1, numbered(0..1)));
}

async fn what_is_not_there_is_said_so(stage: Stage) {
    let absent: Arc<str> = kelly_harness::unique("absent").into();
    assert!(matches!(stage.log.partitions(&absent).await, Err(LogError::UnknownTopic { .. })));
    assert!(matches!(stage.log.watermarks(&place(&absent, 0)).await, Err(LogError::UnknownTopic { .. })));
    assert!(matches!(stage.log.ends(&absent).await, Err(LogError::UnknownTopic { .. })));
    assert!(matches!(stage.log.committed("nobody", &absent).await, Err(LogError::UnknownTopic { .. })));
    let appended = stage.log.append(vec![record(&absent, None, "x")]).await;
    assert!(matches!(appended, Err(LogError::UnknownTopic { .. })), "{appended:?}");
    let topic = stage.topic(1).await;
    let appended = stage.log.append(vec![record(&topic, Some(1), "x")]).await;
    assert!(matches!(appended, Err(LogError::UnknownPartition { partition: 1, .. })), "{appended:?}");
    assert_eq!(stage.log.append(Vec::new()).await.unwrap(), []);
    let nameless = ConsumerSpec { group: String::new(), ..group_of(&topic, Start::Earliest) };
    assert!(matches!(stage.log.consumer(nameless).err(), Some(LogError::Config { .. })));
}

async fn a_closed_log_refuses(stage: Stage) {
    let topic = stage.topic(1).await;
    let waiting: Vec<_> = (0..20)
        .map(|number| {
            let (log, topic) = (stage.log.clone(), topic.clone());
            tokio::spawn(async move { log.append(vec![record(&topic, Some(0), number.to_string())]).await })
        })
        .collect();
    let mut taken = 0;
    for append in waiting {
        taken += usize::from(append.await.unwrap().is_ok());
    }
    assert_eq!(taken, 20);
    stage.log.close().await.unwrap();
    stage.log.close().await.unwrap();
    assert!(matches!(stage.log.append(vec![record(&topic, Some(0), "late")]).await, Err(LogError::Closed)));
    assert!(matches!(stage.log.check().await, Err(LogError::Closed)));
    assert!(matches!(stage.log.partitions(&topic).await, Err(LogError::Closed)));
    assert!(matches!(stage.log.committed("g", &topic).await, Err(LogError::Closed)));
    assert!(matches!(stage.log.consumer(group_of(&topic, Start::Earliest)).err(), Some(LogError::Closed)));
}
