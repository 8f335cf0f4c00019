//! Readers in no group: each has every record from its offsets on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kelly_stream::{LogError, Reader, ReaderSpec, Start};

use super::{append_texts, conformance, numbered};
use crate::support::{
    Diary, Event, NarrowNotes, Notes, PATIENCE, Stage, group_of, place, poll_until, read, record,
};

conformance! {
    every_reader_gets_every_record_from_its_offsets_on
    a_reader_that_waits_sees_what_is_appended
    a_reader_without_room_loses_and_repeats_nothing
    a_reader_is_told_of_a_gap
    a_reader_behind_the_end_of_its_partition_is_told_so
    a_topic_has_an_id_of_its_own
}

fn reader_of(stage: &Stage, topic: &Arc<str>, offsets: &[u64]) -> Box<dyn Reader> {
    stage.log.reader(ReaderSpec { topic: topic.clone(), offsets: offsets.to_vec() }).unwrap()
}

/// Polls until so many events were written down.
fn read_to(reader: &mut Box<dyn Reader>, notes: &mut Notes, events: usize) {
    let deadline = Instant::now() + PATIENCE;
    while notes.0.events.len() < events {
        assert!(Instant::now() < deadline, "waited in vain; it saw {:#?}", notes.0.events);
        reader.poll(Duration::from_millis(50), 10_000, notes).unwrap();
    }
}

async fn every_reader_gets_every_record_from_its_offsets_on(stage: Stage) {
    let topic = stage.topic(3).await;
    for partition in 0..3 {
        let texts = numbered(0..20).into_iter().map(|number| format!("{partition}-{number}"));
        append_texts(&stage, &topic, partition, texts).await;
    }
    // A group that shares the partitions takes nothing from a reader.
    let mut member = stage.log.consumer(group_of(&topic, Start::Earliest)).unwrap();
    let mut diary = Diary::default();
    read(&mut member, &mut diary, 60);
    for offsets in [[0, 0, 0], [5, 20, 19], [20, 20, 20]] {
        let mut reader = reader_of(&stage, &topic, &offsets);
        append_texts(&stage, &topic, 1, ["a further one".to_owned()]).await;
        let ends = stage.log.ends(&topic).await.unwrap();
        let mut expected: Vec<(u32, u64)> = Vec::new();
        for (partition, (from, end)) in (0..).zip(offsets.iter().zip(&ends)) {
            expected.extend((*from..end.high).map(|offset| (partition, offset)));
        }
        let mut notes = Notes::default();
        read_to(&mut reader, &mut notes, expected.len());
        let mut found: Vec<(u32, u64)> =
            notes.0.records().iter().map(|record| (record.partition, record.offset)).collect();
        assert!((0..3).all(|partition| found.iter().filter(|place| place.0 == partition).is_sorted()));
        found.sort_unstable();
        assert_eq!(found, expected);
    }
    let refusal = |topic: Arc<str>, partitions| {
        stage.log.reader(ReaderSpec { topic, offsets: vec![0; partitions] }).err().unwrap()
    };
    let unknown = refusal("nowhere".into(), 1);
    assert!(matches!(unknown, LogError::UnknownTopic { .. }), "{unknown:?}");
    let beyond = refusal(topic.clone(), 4);
    assert!(matches!(beyond, LogError::UnknownPartition { partition: 3, .. }), "{beyond:?}");
}

async fn a_reader_that_waits_sees_what_is_appended(stage: Stage) {
    let topic = stage.topic(2).await;
    let mut reader = reader_of(&stage, &topic, &[0, 0]);
    let reading = tokio::task::spawn_blocking(move || {
        let mut notes = Notes::default();
        read_to(&mut reader, &mut notes, 10);
        notes.0.texts()
    });
    for number in 0..10 {
        append_texts(&stage, &topic, 1, [number.to_string()]).await;
    }
    assert_eq!(reading.await.unwrap(), numbered(0..10));
}

async fn a_reader_without_room_loses_and_repeats_nothing(stage: Stage) {
    let topic = stage.topic(1).await;
    stage.log.append((0..30).map(|n: u32| record(&topic, Some(0), n.to_string())).collect()).await.unwrap();
    let mut reader = reader_of(&stage, &topic, &[0]);
    let mut narrow = NarrowNotes::default();
    let deadline = Instant::now() + PATIENCE;
    for room in (1..5).cycle() {
        if narrow.notes.0.events.len() >= 30 {
            break;
        }
        assert!(Instant::now() < deadline, "it saw {:#?}", narrow.notes.0.events);
        narrow.room = room;
        let handed_over = reader.poll(Duration::from_millis(50), 3, &mut narrow).unwrap();
        assert!(handed_over <= room.min(3), "{handed_over} records into room for {room}");
    }
    assert_eq!(narrow.notes.0.texts(), numbered(0..30));
}

async fn a_reader_is_told_of_a_gap(stage: Stage) {
    let topic = stage.topic(1).await;
    append_texts(&stage, &topic, 0, numbered(0..10)).await;
    stage.remove_all_but_the_last(&topic).await;
    let low = stage.log.watermarks(&place(&topic, 0)).await.unwrap().low;
    assert!(low > 2, "{low}");
    let mut reader = reader_of(&stage, &topic, &[2]);
    let mut notes = Notes::default();
    read_to(&mut reader, &mut notes, 1 + (10 - low) as usize);
    let [Event::Gap { expected: 2, found }, records @ ..] = &notes.0.events[..] else {
        panic!("{:#?}", notes.0.events)
    };
    assert_eq!(*found, low);
    assert!(records.iter().all(|event| matches!(event, Event::Record(_))));
    assert_eq!(notes.0.texts(), numbered(low as usize..10));
}

async fn a_reader_behind_the_end_of_its_partition_is_told_so(stage: Stage) {
    let topic = stage.topic(1).await;
    append_texts(&stage, &topic, 0, numbered(0..3)).await;
    let mut reader = reader_of(&stage, &topic, &[8]);
    let mut notes = Notes::default();
    let deadline = Instant::now() + PATIENCE;
    let error = loop {
        assert!(Instant::now() < deadline, "it went on, and saw {:#?}", notes.0.events);
        if let Err(error) = reader.poll(Duration::from_millis(50), 10, &mut notes) {
            break error;
        }
    };
    assert!(matches!(error, LogError::Corrupt { .. }), "{error:?}");
    assert!(!error.is_retryable() && error.to_string().contains("at offset 8, but it ends at 3"), "{error}");
    assert!(notes.0.events.is_empty());
}

async fn a_topic_has_an_id_of_its_own(stage: Stage) {
    let (first, second) = (stage.topic(1).await, stage.topic(2).await);
    let id = stage.log.topic_id(&first).await.unwrap();
    assert!(id.is_some());
    assert_eq!(stage.log.topic_id(&first).await.unwrap(), id, "it stays");
    assert_ne!(stage.log.topic_id(&second).await.unwrap(), id);
    let mut consumer = stage.log.consumer(group_of(&first, Start::Earliest)).unwrap();
    let mut diary = Diary::default();
    poll_until(&mut [(&mut consumer, &mut diary)], |diaries| !diaries[0].assignments.is_empty());
    assert_eq!(diary.assignment(0).topic_id, id, "a member of a group is told the same");
    let unknown = stage.log.topic_id("nowhere").await;
    assert!(matches!(unknown, Err(LogError::UnknownTopic { .. })), "{unknown:?}");
}
