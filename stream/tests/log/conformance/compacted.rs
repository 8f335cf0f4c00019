//! Topics of which the newest record of each key stays.

use std::collections::BTreeMap;
use std::sync::Arc;

use kelly_harness::unique;
use kelly_stream::{LogError, NewRecord, ReaderSpec, Start, Watermarks};

use super::{commit, conformance};
use crate::support::{Diary, Notes, PATIENCE, Stage, group_of, place, read, record, spec};

conformance! {
    the_newest_record_of_each_key_stays_and_readers_notice_nothing
    a_topic_is_compacted_or_it_is_not
    records_without_payload_come_back_as_they_were
}

fn keyed(topic: &Arc<str>, key: &str, payload: &str) -> NewRecord {
    NewRecord { key: Some(key.to_owned().into()), ..record(topic, Some(0), payload.to_owned()) }
}

/// What somebody knows who reads all of it: the newest payload of each key.
fn newest(stage: &Stage, topic: &Arc<str>, high: u64) -> (BTreeMap<Vec<u8>, String>, usize, bool) {
    let mut reader = stage.log.reader(ReaderSpec { topic: topic.clone(), offsets: vec![0] }).unwrap();
    let mut notes = Notes::default();
    while notes.0.records().last().map_or(0, |last| last.offset + 1) < high {
        reader.poll(PATIENCE, 1_000, &mut notes).unwrap();
    }
    let diary = notes.0;
    let mut newest = BTreeMap::new();
    let records = diary.records();
    for record in &records {
        match record.text() {
            text if text.is_empty() => drop(newest.remove(record.key.as_ref().unwrap())),
            text => drop(newest.insert(record.key.clone().unwrap(), text)),
        }
    }
    (newest, records.len(), diary.has_gaps())
}

async fn the_newest_record_of_each_key_stays_and_readers_notice_nothing(stage: Stage) {
    let topic: Arc<str> = unique("compacted").into();
    stage.log.ensure_compacted_topic(&topic, 1).await.unwrap();
    let mut expected = BTreeMap::new();
    // Somebody who is in the middle of it, and somebody who has a position there.
    let mut slow = stage.log.reader(ReaderSpec { topic: topic.clone(), offsets: vec![0] }).unwrap();
    let mut seen = Notes::default();
    let group = group_of(&topic, Start::Earliest);
    let mut next = 0;
    for round in 0..4_u32 {
        for step in 0..30_u32 {
            let several = (0..3).map(|number| {
                let key = format!("k{}", (step * 7 + number * 3 + round) % 40);
                let gone = (step + number + round) % 11 == 0;
                let payload = if gone { String::new() } else { format!("{round}.{step}.{number}") };
                match gone {
                    true => drop(expected.remove(key.as_bytes())),
                    false => drop(expected.insert(key.clone().into_bytes(), payload.clone())),
                }
                keyed(&topic, &key, &payload)
            });
            let positions = stage.log.append(several.collect()).await.unwrap();
            assert_eq!(positions[0].offset, next, "offsets go on as if nothing had been removed");
            next += 3;
        }
        slow.poll(PATIENCE, 20, &mut seen).unwrap();
        stage.compact();
        let (found, count, has_gaps) = newest(&stage, &topic, next);
        assert_eq!(found, expected, "round {round}");
        assert!(!has_gaps, "what was compacted is no gap");
        assert!(count <= next as usize);
    }
    assert_eq!(stage.log.watermarks(&place(&topic, 0)).await.unwrap(), Watermarks { low: 0, high: next });
    // It reads on from where it was, over what is gone, and has every key's newest at the end.
    while seen.0.records().last().map_or(0, |last| last.offset + 1) < next {
        slow.poll(PATIENCE, 1_000, &mut seen).unwrap();
    }
    assert!(!seen.0.has_gaps());
    let offsets: Vec<u64> = seen.0.records().iter().map(|record| record.offset).collect();
    assert!(offsets.is_sorted_by(|one, next| one < next), "each at most once, in order");
    // A position in the middle, where there may be no record any more.
    let mut consumer = stage.log.consumer(group.clone()).unwrap();
    let mut diary = Diary::default();
    read(&mut consumer, &mut diary, 1);
    let epoch = diary.assignments[0].epoch;
    consumer.committer().commit(&[commit(place(&topic, 0), epoch, 100, "")]).unwrap();
    consumer.close().unwrap();
    let mut consumer = stage.log.consumer(group).unwrap();
    let mut diary = Diary::default();
    while diary.records().last().map_or(0, |last| last.offset + 1) < next {
        consumer.poll(PATIENCE, 1_000, &mut diary).unwrap();
    }
    assert!(diary.records()[0].offset >= 100 && !diary.has_gaps());
}

async fn a_topic_is_compacted_or_it_is_not(stage: Stage) {
    let plain = stage.topic(1).await;
    let refused = stage.log.ensure_compacted_topic(&plain, 1).await.unwrap_err();
    assert!(matches!(refused, LogError::TopicMismatch { .. }), "{refused:?}");
    let topic = unique("compacted");
    stage.log.ensure_compacted_topic(&topic, 2).await.unwrap();
    stage.log.ensure_compacted_topic(&topic, 1).await.unwrap();
    assert_eq!(stage.log.partitions(&topic).await.unwrap(), 2);
    let more = stage.log.ensure_compacted_topic(&topic, 3).await.unwrap_err();
    assert!(matches!(more, LogError::TopicMismatch { .. }), "{more:?}");
    let refused = stage.log.ensure_topics(&[spec(&topic, 2)]).await.unwrap_err();
    assert!(matches!(refused, LogError::TopicMismatch { .. }), "{refused:?}");
}

async fn records_without_payload_come_back_as_they_were(stage: Stage) {
    let topic = stage.topic(1).await;
    stage.log.append(vec![keyed(&topic, "k", ""), record(&topic, Some(0), "")]).await.unwrap();
    let mut consumer = stage.log.consumer(group_of(&topic, Start::Earliest)).unwrap();
    let mut diary = Diary::default();
    read(&mut consumer, &mut diary, 2);
    let records = diary.records();
    assert!(records.iter().all(|record| record.payload.is_empty()));
    assert_eq!((records[0].key.as_deref(), &records[1].key), (Some(&b"k"[..]), &None));
}
