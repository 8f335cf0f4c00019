//! Positions of groups: kept with their text, gone on from, said later where there are none, and refused from who lost the
//! partition.

use std::time::{Duration, Instant};

use kelly_stream::{
    Committed, Consumer, ConsumerSpec, LogError, MAX_COMMIT_METADATA_BYTES, Start, Watermarks,
};

use super::{append_texts, commit, conformance, numbered};
use crate::support::{self, Diary, Event, Later, Stage, group_of, place, poll_until, read};

conformance! {
    positions_keep_their_text
    a_group_goes_on_where_it_committed
    a_group_without_position_starts_where_it_says
    a_partition_without_position_is_begun_where_it_is_said_later
    a_partition_that_waits_for_its_position_can_be_taken_away
    a_commit_of_an_assignment_that_is_over_is_fenced
    groups_do_not_disturb_each_other
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
