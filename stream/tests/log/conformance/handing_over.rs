//! Nothing is lost and nothing comes twice when a reader pauses, has no room, or hands its partitions to another member.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use kelly_stream::{LogError, Start};

use super::{append_texts, commit, conformance, numbered};
use crate::support::{self, Diary, Event, Narrow, Stage, group_of, place, poll_until, read, record};

conformance! {
    a_pause_loses_and_repeats_nothing
    a_partition_revoked_while_paused_is_read_again_when_it_comes_back
    a_sink_without_room_loses_and_repeats_nothing
    what_found_no_room_is_read_again_by_whoever_has_the_partition_next
    a_member_that_leaves_with_records_that_found_no_room_leaves_them_to_the_next
    two_members_share_and_hand_over
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
        records.iter().filter(|record| record.partition == partition).map(support::Kept::text).collect()
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
