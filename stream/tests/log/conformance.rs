//! What every log has to do, tried on both: nothing above the port may tell them apart.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::support::{
    self, Diary, Event, Later, Narrow, Stage, group_of, place, poll_until, read, record, spec,
};
use bytes::Bytes;
use kelly_stream::bounds::MAX_RECORD_BYTES;
use kelly_stream::partitioner::partition_of;
use kelly_stream::{
    Commit, Committed, Consumer, ConsumerSpec, LogError, MAX_COMMIT_METADATA_BYTES, NewRecord, Position,
    Start, TopicPartition, Watermarks,
};

macro_rules! conformance {
    ($($name:ident)*) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Stage::embedded()).await;
            })*
        }
        mod kafka {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Stage::kafka()).await;
            })*
        }
    };
}

conformance! {
    records_are_read_in_the_order_they_were_appended
    a_key_decides_the_partition_as_in_kafka
    what_a_record_carries_comes_back
    positions_keep_their_text
    a_group_goes_on_where_it_committed
    a_group_without_position_starts_where_it_says
    a_partition_without_position_is_begun_where_it_is_said_later
    a_partition_that_waits_for_its_position_can_be_taken_away
    a_gap_left_by_retention_is_reported
    a_pause_loses_and_repeats_nothing
    a_partition_revoked_while_paused_is_read_again_when_it_comes_back
    a_sink_without_room_loses_and_repeats_nothing
    what_found_no_room_is_read_again_by_whoever_has_the_partition_next
    a_member_that_leaves_with_records_that_found_no_room_leaves_them_to_the_next
    two_members_share_and_hand_over
    a_commit_of_an_assignment_that_is_over_is_fenced
    groups_do_not_disturb_each_other
    watermarks_tell_the_ends
    a_topic_that_differs_is_refused
    large_records_pass_and_too_large_ones_are_refused
    many_partitions_are_read
    concurrent_producers_keep_their_orders
    a_waiting_consumer_sees_what_is_appended
    what_is_not_there_is_said_so
    a_closed_log_refuses
}

fn commit(partition: TopicPartition, epoch: u64, offset: u64, metadata: &str) -> Commit {
    Commit { partition, epoch, offset, metadata: metadata.into() }
}

async fn append_texts(
    stage: &Stage,
    topic: &Arc<str>,
    partition: u32,
    texts: impl IntoIterator<Item = String>,
) {
    for text in texts {
        stage.log.append(vec![record(topic, Some(partition), text)]).await.unwrap();
    }
}

fn numbered(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
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

async fn positions_keep_their_text(stage: Stage) {
    let topic = stage.topic(2).await;
    let group = group_of(&topic, Start::Earliest);
    append_texts(&stage, &topic, 1, numbered(0..5)).await;
    assert_eq!(stage.log.committed(&group.group, &topic).await.unwrap(), [None, None]);

    let mut consumer = stage.log.consumer(group.clone()).unwrap();
    let committer = consumer.committer();
    let mut diary = Diary::default();
    read(&mut consumer, &mut diary, 5);
    let assignment = diary.assignment(1);
    assert_eq!(assignment.committed, None);
    let text = format!("v1;end=5;{}", "é".repeat(1_800));
    committer.commit(&[commit(place(&topic, 1), assignment.epoch, 3, &text)]).unwrap();
    let committed = stage.log.committed(&group.group, &topic).await.unwrap();
    assert_eq!(committed[0], None);
    assert_eq!(
        committed[1].as_ref().map(|committed| (committed.offset, &committed.metadata)),
        Some((3, &text))
    );

    // Going back is a commit like any other: a declared range is replayed from its beginning.
    committer.commit(&[commit(place(&topic, 1), assignment.epoch, 2, "")]).unwrap();
    let long = "x".repeat(MAX_COMMIT_METADATA_BYTES + 1);
    let refused = committer.commit(&[commit(place(&topic, 1), assignment.epoch, 4, &long)]);
    assert!(matches!(refused, Err(LogError::TooLarge { .. })), "{refused:?}");
    let committed = stage.log.committed(&group.group, &topic).await.unwrap();
    assert_eq!(
        committed[1].as_ref().map(|committed| (committed.offset, committed.metadata.as_str())),
        Some((2, ""))
    );
}

async fn a_group_goes_on_where_it_committed(stage: Stage) {
    let topic = stage.topic(1).await;
    let group = group_of(&topic, Start::Earliest);
    append_texts(&stage, &topic, 0, numbered(0..10)).await;
    let mut consumer = stage.log.consumer(group.clone()).unwrap();
    let mut diary = Diary::default();
    read(&mut consumer, &mut diary, 10);
    let epoch = diary.assignment(0).epoch;
    consumer.committer().commit(&[commit(place(&topic, 0), epoch, 4, "v1;end=10")]).unwrap();
    consumer.close().unwrap();

    append_texts(&stage, &topic, 0, numbered(10..12)).await;
    let mut consumer = stage.log.consumer(group).unwrap();
    let mut diary = Diary::default();
    read(&mut consumer, &mut diary, 8);
    assert_eq!(diary.texts(), numbered(4..12));
    let committed = diary.assignment(0).committed.unwrap();
    assert_eq!((committed.offset, committed.metadata.as_str()), (4, "v1;end=10"));
}

async fn a_group_without_position_starts_where_it_says(stage: Stage) {
    let topic = stage.topic(1).await;
    append_texts(&stage, &topic, 0, numbered(0..3)).await;
    let mut consumer = stage.log.consumer(group_of(&topic, Start::Latest)).unwrap();
    let mut diary = Diary::default();
    poll_until(&mut [(&mut consumer, &mut diary)], |diaries| !diaries[0].assignments.is_empty());
    append_texts(&stage, &topic, 0, numbered(3..5)).await;
    read(&mut consumer, &mut diary, 2);
    assert_eq!(diary.texts(), numbered(3..5));
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

async fn a_pause_loses_and_repeats_nothing(stage: Stage) {
    let topic = stage.topic(2).await;
    for partition in 0..2 {
        let records =
            numbered(0..500).into_iter().map(|text| record(&topic, Some(partition), text)).collect();
        stage.log.append(records).await.unwrap();
    }
    let mut consumer = stage.log.consumer(group_of(&topic, Start::Earliest)).unwrap();
    let mut diary = Diary::default();
    // Unknown ones are ignored.
    consumer.pause(&[place(&topic, 77)]).unwrap();
    while diary.records().len() < 100 {
        consumer.poll(Duration::from_millis(50), 7, &mut diary).unwrap();
    }
    consumer.pause(&[place(&topic, 0)]).unwrap();
    let of = |diary: &Diary, partition: u32| -> Vec<u64> {
        diary
            .records()
            .iter()
            .filter(|record| record.partition == partition)
            .map(|record| record.offset)
            .collect()
    };
    let at_pause = of(&diary, 0).len();
    append_texts(&stage, &topic, 0, numbered(500..510)).await;
    poll_until(&mut [(&mut consumer, &mut diary)], |diaries| of(diaries[0], 1).len() == 500);
    for _ in 0..3 {
        consumer.poll(Duration::from_millis(50), 1_000, &mut diary).unwrap();
    }
    assert_eq!(of(&diary, 0).len(), at_pause, "nothing comes from a paused partition");
    consumer.resume(&[place(&topic, 0)]).unwrap();
    poll_until(&mut [(&mut consumer, &mut diary)], |diaries| of(diaries[0], 0).len() >= 510);
    assert_eq!(of(&diary, 0), (0..510).collect::<Vec<u64>>());
    assert_eq!(of(&diary, 1), (0..500).collect::<Vec<u64>>());
}

async fn a_partition_revoked_while_paused_is_read_again_when_it_comes_back(stage: Stage) {
    let topic = stage.topic(2).await;
    let group = group_of(&topic, Start::Earliest);
    let mut first = stage.log.consumer(group.clone()).unwrap();
    let mut first_diary = Diary::default();
    poll_until(&mut [(&mut first, &mut first_diary)], |diaries| diaries[0].assignments.len() == 2);
    let both = [place(&topic, 0), place(&topic, 1)];
    first.pause(&both).unwrap();

    let mut second = stage.log.consumer(group).unwrap();
    let mut second_diary = Diary::default();
    poll_until(&mut [(&mut first, &mut first_diary), (&mut second, &mut second_diary)], |diaries| {
        diaries.iter().all(|diary| diary.assignments.len() == 1)
    });
    let moved = second_diary.assignments[0].partition.clone();
    // It is not assigned here any more, so neither means anything.
    first.pause(&both).unwrap();
    first.resume(std::slice::from_ref(&moved)).unwrap();
    second.close().unwrap();
    poll_until(&mut [(&mut first, &mut first_diary)], |diaries| diaries[0].assignments.len() == 2);

    for partition in 0..2 {
        append_texts(&stage, &topic, partition, numbered(0..5)).await;
    }
    read(&mut first, &mut first_diary, 5);
    let partitions: BTreeSet<u32> = first_diary.records().iter().map(|record| record.partition).collect();
    assert_eq!(partitions, [moved.partition].into(), "what stayed is paused still");
    first.resume(&both).unwrap();
    read(&mut first, &mut first_diary, 10);
    assert_eq!(first_diary.texts(), [numbered(0..5), numbered(0..5)].concat());
}

async fn a_partition_without_position_is_begun_where_it_is_said_later(stage: Stage) {
    let (topic, other) = (stage.topic(1).await, stage.topic(1).await);
    append_texts(&stage, &topic, 0, numbered(0..10)).await;
    append_texts(&stage, &other, 0, numbered(20..22)).await;
    let group =
        ConsumerSpec { topics: vec![topic.clone(), other.clone()], ..group_of(&topic, Start::Earliest) };
    let known = Committed { offset: 4, metadata: "known".into() };
    let mut sink = Later::default();
    let mut consumer = stage.log.consumer(group.clone()).unwrap();
    let deadline = Instant::now() + support::PATIENCE;
    let poll = |consumer: &mut Box<dyn Consumer>, sink: &mut Later| {
        assert!(Instant::now() < deadline, "waited in vain; it saw {sink:#?}");
        consumer.poll(Duration::from_millis(20), 1_000, sink).unwrap();
    };
    while sink.asked.len() < 2 {
        poll(&mut consumer, &mut sink);
    }
    // Nothing of them comes before it is said where to begin, and polls go on meanwhile.
    for _ in 0..5 {
        poll(&mut consumer, &mut sink);
    }
    assert!(sink.diary.events.is_empty(), "{:?}", sink.diary);
    consumer.begin(&place(&topic, 0), Some(known.clone()));
    consumer.begin(&place(&topic, 7), Some(known.clone()));
    while sink.diary.records().len() < 6 {
        poll(&mut consumer, &mut sink);
    }
    assert_eq!(sink.diary.texts(), numbered(4..10));
    let assignment = sink.diary.assignment(0);
    assert_eq!(assignment.committed, Some(known));
    let id = assignment.topic_id.expect("either log has an id for each topic");
    for asked in &sink.asked {
        let high = if asked.partition.topic == topic { 10 } else { 2 };
        assert_eq!(asked.topic_id == Some(id), asked.partition.topic == topic);
        assert_eq!(asked.ends, Watermarks { low: 0, high });
    }
    // The one without an answer is begun where the group begins.
    consumer.begin(&place(&other, 0), None);
    while sink.diary.records().len() < 8 {
        poll(&mut consumer, &mut sink);
    }
    assert_eq!(sink.diary.texts()[6..], numbered(20..22));
    consumer.committer().commit(&[commit(place(&topic, 0), assignment.epoch, 7, "")]).unwrap();
    consumer.close().unwrap();

    // What has a position is read without asking, and what waits can be taken away and left.
    let mut sink = Later::default();
    let mut consumer = stage.log.consumer(group.clone()).unwrap();
    while sink.diary.records().len() < 3 || sink.asked.is_empty() {
        poll(&mut consumer, &mut sink);
    }
    assert_eq!(sink.diary.texts(), numbered(7..10));
    assert!(sink.asked.iter().all(|asked| asked.partition.topic == other), "{:?}", sink.asked);
    consumer.close().unwrap();
    let mut diary = Diary::default();
    let mut consumer = stage.log.consumer(group).unwrap();
    read(&mut consumer, &mut diary, 5);
}

async fn a_partition_that_waits_for_its_position_can_be_taken_away(stage: Stage) {
    let topic = stage.topic(2).await;
    append_texts(&stage, &topic, 0, numbered(0..3)).await;
    append_texts(&stage, &topic, 1, numbered(3..6)).await;
    let group = group_of(&topic, Start::Earliest);
    let mut waiting = Later::default();
    let mut first = stage.log.consumer(group.clone()).unwrap();
    let deadline = Instant::now() + support::PATIENCE;
    while waiting.asked.len() < 2 {
        assert!(Instant::now() < deadline, "waited in vain; it saw {waiting:#?}");
        first.poll(Duration::from_millis(20), 1_000, &mut waiting).unwrap();
    }
    // A second member takes one of them; an answer that comes too late is of no concern.
    let mut diary = Diary::default();
    let mut second = stage.log.consumer(group).unwrap();
    while diary.records().len() < 3 {
        assert!(Instant::now() < deadline, "waited in vain; it saw {waiting:#?} {diary:#?}");
        first.poll(Duration::from_millis(20), 1_000, &mut waiting).unwrap();
        second.poll(Duration::from_millis(20), 1_000, &mut diary).unwrap();
    }
    for partition in [0, 1] {
        first.begin(&place(&topic, partition), None);
    }
    while waiting.diary.records().len() < 3 {
        assert!(Instant::now() < deadline, "waited in vain; it saw {waiting:#?} {diary:#?}");
        first.poll(Duration::from_millis(20), 1_000, &mut waiting).unwrap();
        second.poll(Duration::from_millis(20), 1_000, &mut diary).unwrap();
    }
    let mut texts = [waiting.diary.texts(), diary.texts()].concat();
    texts.sort();
    assert_eq!(texts, numbered(0..6));
    assert!(matches!(waiting.diary.events.first(), Some(Event::Revoked)), "{:?}", waiting.diary);
}

async fn a_sink_without_room_loses_and_repeats_nothing(stage: Stage) {
    let topic = stage.topic(2).await;
    for (partition, range) in [(0, 0..40), (1, 0..60), (0, 40..60)] {
        // Several to an append, so that it is the middle of what lies together that finds no room.
        let records = numbered(range).into_iter().map(|text| record(&topic, Some(partition), text)).collect();
        stage.log.append(records).await.unwrap();
    }
    let mut consumer = stage.log.consumer(group_of(&topic, Start::Earliest)).unwrap();
    let mut sink = Narrow::default();
    let of = |sink: &Narrow, partition: u32| -> Vec<u64> {
        let records = sink.diary.records();
        records.iter().filter(|record| record.partition == partition).map(|record| record.offset).collect()
    };
    let mut at_pause = None;
    let deadline = Instant::now() + support::PATIENCE;
    for turn in 0.. {
        assert!(Instant::now() < deadline, "waited in vain; it saw {:#?}", sink.diary);
        sink.room = turn % 4;
        let before = sink.diary.records().len();
        let handed_over = consumer.poll(Duration::from_millis(20), 1_000, &mut sink).unwrap();
        assert_eq!(handed_over, sink.diary.records().len() - before);
        assert!(handed_over <= turn % 4, "{handed_over} records into room for {}", turn % 4);
        let read = before + handed_over;
        match at_pause {
            None if read >= 20 => {
                consumer.pause(&[place(&topic, 0)]).unwrap();
                at_pause = Some(of(&sink, 0));
            }
            Some(_) if read == 120 => break,
            Some(paused) if of(&sink, 1).len() == 60 => {
                assert!(paused.len() == of(&sink, 0).len() || paused.is_empty(), "paused at {paused:?}");
                consumer.resume(&[place(&topic, 0)]).unwrap();
                at_pause = Some(Vec::new());
            }
            waiting => at_pause = waiting,
        }
    }
    assert_eq!((of(&sink, 0), of(&sink, 1)), ((0..60).collect(), (0..60).collect()));
    assert!(!sink.diary.events.iter().any(|event| matches!(event, Event::Gap { .. })), "{:#?}", sink.diary);
}

async fn what_found_no_room_is_read_again_by_whoever_has_the_partition_next(stage: Stage) {
    let topic = stage.topic(2).await;
    for partition in 0..2 {
        let records = numbered(0..20).into_iter().map(|text| record(&topic, Some(partition), text)).collect();
        stage.log.append(records).await.unwrap();
    }
    let group = group_of(&topic, Start::Earliest);
    let mut first = stage.log.consumer(group.clone()).unwrap();
    let mut sink = Narrow::default();
    let deadline = Instant::now() + support::PATIENCE;
    // A record of each, and all others find no room.
    while sink.diary.records().iter().map(|record| record.partition).collect::<BTreeSet<_>>().len() < 2 {
        assert!(Instant::now() < deadline, "waited in vain; it saw {:#?}", sink.diary);
        sink.room = 1;
        first.poll(Duration::from_millis(20), 1_000, &mut sink).unwrap();
    }
    let mut second = stage.log.consumer(group).unwrap();
    let mut second_diary = Diary::default();
    while sink.diary.assignments.len() != 1 || second_diary.assignments.len() != 1 {
        assert!(Instant::now() < deadline, "waited in vain; it saw {:#?}", sink.diary);
        first.poll(Duration::from_millis(20), 1_000, &mut sink).unwrap();
        second.poll(Duration::from_millis(20), 1_000, &mut second_diary).unwrap();
    }
    let moved = second_diary.assignments[0].partition.partition;
    read(&mut second, &mut second_diary, 20);
    assert_eq!(second_diary.texts(), numbered(0..20), "from the position, which nobody moved");
    second.close().unwrap();

    let of = |diary: &Diary, partition: u32| -> Vec<String> {
        let records = diary.records();
        records
            .iter()
            .filter(|record| record.partition == partition)
            .map(super::support::Kept::text)
            .collect()
    };
    let (mut diary, read_before) = (sink.diary.clone(), of(&sink.diary, 1 - moved));
    diary.events.clear();
    // It comes back, and so does all that was kept back of it.
    poll_until(&mut [(&mut first, &mut diary)], |diaries| {
        of(diaries[0], moved).len() >= 20 && read_before.len() + of(diaries[0], 1 - moved).len() >= 20
    });
    assert_eq!(of(&diary, moved), numbered(0..20));
    let stayed = [read_before, of(&diary, 1 - moved)].concat();
    assert_eq!(stayed, numbered(0..20), "what stayed goes on where it was");
}

async fn a_member_that_leaves_with_records_that_found_no_room_leaves_them_to_the_next(stage: Stage) {
    let topic = stage.topic(1).await;
    let records = numbered(0..20).into_iter().map(|text| record(&topic, Some(0), text)).collect();
    stage.log.append(records).await.unwrap();
    let group = group_of(&topic, Start::Earliest);
    let mut consumer = stage.log.consumer(group.clone()).unwrap();
    let mut sink = Narrow::default();
    let deadline = Instant::now() + support::PATIENCE;
    while sink.diary.records().len() < 3 {
        assert!(Instant::now() < deadline, "waited in vain; it saw {:#?}", sink.diary);
        sink.room = 1;
        consumer.poll(Duration::from_millis(20), 1_000, &mut sink).unwrap();
    }
    let epoch = sink.diary.assignment(0).epoch;
    consumer.committer().commit(&[commit(place(&topic, 0), epoch, 3, "")]).unwrap();
    consumer.close().unwrap();
    let mut next = stage.log.consumer(group).unwrap();
    let mut diary = Diary::default();
    read(&mut next, &mut diary, 17);
    assert_eq!(diary.texts(), numbered(3..20));
}

async fn two_members_share_and_hand_over(stage: Stage) {
    let topic = stage.topic(4).await;
    let group = group_of(&topic, Start::Earliest);
    for partition in 0..4 {
        append_texts(&stage, &topic, partition, numbered(0..3)).await;
    }
    let mut first = stage.log.consumer(group.clone()).unwrap();
    let mut first_diary = Diary::default();
    read(&mut first, &mut first_diary, 12);
    let before = first_diary.assignments.clone();
    for assignment in &before {
        let done = commit(assignment.partition.clone(), assignment.epoch, 2, "first");
        first.committer().commit(&[done]).unwrap();
    }

    let mut second = stage.log.consumer(group).unwrap();
    let mut second_diary = Diary::default();
    poll_until(&mut [(&mut first, &mut first_diary), (&mut second, &mut second_diary)], |diaries| {
        diaries.iter().all(|diary| diary.assignments.len() == 2)
    });
    poll_until(&mut [(&mut first, &mut first_diary), (&mut second, &mut second_diary)], |diaries| {
        diaries[1].records().len() >= 2
    });
    for assignment in &second_diary.assignments {
        let committed = assignment.committed.as_ref().unwrap();
        assert_eq!((committed.offset, committed.metadata.as_str()), (2, "first"));
        let old = before.iter().find(|old| old.partition == assignment.partition).unwrap();
        let refused = first.committer().commit(&[commit(old.partition.clone(), old.epoch, 1, "zombie")]);
        assert!(matches!(refused, Err(LogError::Fenced { .. })), "{refused:?}");
        let own = commit(assignment.partition.clone(), assignment.epoch, 3, "second");
        second.committer().commit(&[own]).unwrap();
    }
    assert_eq!(second_diary.texts(), ["2", "2"], "the new owner goes on at the position");
    // What stayed keeps its epoch.
    for assignment in &first_diary.assignments {
        assert!(
            before.iter().any(|old| old.epoch == assignment.epoch && old.partition == assignment.partition)
        );
    }

    second.close().unwrap();
    poll_until(&mut [(&mut first, &mut first_diary)], |diaries| diaries[0].assignments.len() == 4);
    let newest = before.iter().map(|old| old.epoch).max().unwrap();
    let taken_back = first_diary.assignments.iter().filter(|assignment| assignment.epoch > newest);
    let texts: Vec<_> = taken_back.map(|assignment| assignment.committed.clone().unwrap().metadata).collect();
    assert_eq!(texts, ["second", "second"]);
}

async fn a_commit_of_an_assignment_that_is_over_is_fenced(stage: Stage) {
    let topic = stage.topic(1).await;
    let group = group_of(&topic, Start::Earliest);
    append_texts(&stage, &topic, 0, numbered(0..2)).await;
    let mut consumer = stage.log.consumer(group.clone()).unwrap();
    let committer = consumer.committer();
    let mut diary = Diary::default();
    read(&mut consumer, &mut diary, 2);
    let epoch = diary.assignment(0).epoch;
    let wrong = committer.commit(&[commit(place(&topic, 0), epoch + 1, 1, "")]);
    assert!(matches!(wrong, Err(LogError::Fenced { .. })), "{wrong:?}");
    // Nothing of a commit counts when one part of it is fenced.
    let partly =
        committer.commit(&[commit(place(&topic, 0), epoch, 2, ""), commit(place(&topic, 5), epoch, 1, "")]);
    assert!(matches!(partly, Err(LogError::Fenced { partition: 5, .. })), "{partly:?}");
    assert_eq!(stage.log.committed(&group.group, &topic).await.unwrap(), [None]);
    committer.commit(&[commit(place(&topic, 0), epoch, 1, "")]).unwrap();
    consumer.close().unwrap();
    let late = committer.commit(&[commit(place(&topic, 0), epoch, 2, "")]);
    assert!(matches!(late, Err(LogError::Fenced { .. })), "{late:?}");
    let committed = stage.log.committed(&group.group, &topic).await.unwrap();
    assert_eq!(committed[0].as_ref().unwrap().offset, 1);
}

async fn groups_do_not_disturb_each_other(stage: Stage) {
    let topics = [stage.topic(1).await, stage.topic(2).await];
    for topic in &topics {
        append_texts(&stage, topic, 0, numbered(0..4)).await;
    }
    let both = ConsumerSpec { topics: topics.to_vec(), ..group_of(&topics[0], Start::Earliest) };
    let mut all = stage.log.consumer(both).unwrap();
    let mut one = stage.log.consumer(group_of(&topics[1], Start::Earliest)).unwrap();
    let (mut all_diary, mut one_diary) = (Diary::default(), Diary::default());
    read(&mut all, &mut all_diary, 8);
    read(&mut one, &mut one_diary, 4);
    assert_eq!(all_diary.assignments.len(), 3);
    assert_eq!(one_diary.assignments.len(), 2);
    assert_eq!(one_diary.texts(), numbered(0..4));
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
