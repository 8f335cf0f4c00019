//! Dead letters: found by what they are, counted by why, and marked once they were put on the log again.

use kelly_harness::TestDatabase;
use kelly_sql::queries::{LetterFilter, ReplayMark, ReplayState};

const NOW_MS: i64 = 1_790_000_000_000;

async fn database() -> TestDatabase {
    let database = TestDatabase::create().await;
    let letter = |topic: &str, offset: u64, row: u32, code: &str, bytes: &str| {
        format!(
            "('{topic}', 2, {offset}, {row}, fromUnixTimestamp64Milli({}, 'UTC'), '{code}', 'because {offset}', '', {bytes})",
            NOW_MS + offset as i64
        )
    };
    let letters = [
        letter("kelly.metrics", 5, 0, "too_old", "'{}'"),
        letter("kelly.metrics", 5, 3, "too_old", "'[1]'"),
        letter("kelly.activity", 6, 0, "invalid_utf8", "unhex('FF00C3')"),
    ];
    database.query(&format!("INSERT INTO dead_letters VALUES {}", letters.join(", "))).await;
    database
}

#[tokio::test]
async fn letters_are_found_with_their_bytes() {
    let database = database().await;
    let every = LetterFilter::default();
    let found = database.store().dead_letters(&every, 10, 2).await.unwrap();
    let places: Vec<(u64, u32)> =
        found.iter().map(|letter| (letter.place.offset, letter.place.row)).collect();
    assert_eq!(places, [(6, 0), (5, 3), (5, 0)], "newest first");
    assert_eq!((found[0].bytes.as_slice(), found[0].size), (&[0xff, 0][..], 3), "any bytes, the first two");
    assert!(found.iter().all(|letter| letter.replay == ReplayState::Never));
    assert_eq!(database.store().dead_letters(&every, 1, 0).await.unwrap().len(), 1);
    for (filter, expected) in [
        (LetterFilter { topic: Some("kelly.metrics".into()), ..every.clone() }, 2),
        (LetterFilter { codes: vec!["invalid_utf8".into(), "none".into()], ..every.clone() }, 1),
        (LetterFilter { since_ms: NOW_MS + 6, ..every.clone() }, 1),
        (LetterFilter { offset: Some(5), row: Some(3), partition: Some(2), ..every.clone() }, 1),
        (LetterFilter { offset: Some(5), partition: Some(1), ..every.clone() }, 0),
    ] {
        assert_eq!(
            database.store().dead_letters(&filter, 10, 0).await.unwrap().len(),
            expected,
            "{filter:?}"
        );
    }
    let reasons = database.store().dead_letter_reasons(&every).await.unwrap();
    let counts: Vec<(&str, u64)> =
        reasons.iter().map(|reason| (reason.reason_code.as_str(), reason.count)).collect();
    assert_eq!(counts, [("too_old", 2), ("invalid_utf8", 1)]);
    assert_eq!((reasons[0].newest, reasons[0].newest_reason.as_str()), (NOW_MS + 5, "because 5"));
}

#[tokio::test]
async fn a_replay_is_marked() {
    let database = database().await;
    let store = database.store();
    let one = LetterFilter { offset: Some(5), row: Some(3), ..LetterFilter::default() };
    let letter = store.dead_letters(&one, 1, 10).await.unwrap().remove(0);
    let mark = |at_ms| ReplayMark { run: "one", at_ms: NOW_MS + at_ms };
    store.note_replay_started(&letter, mark(100)).await.unwrap();
    let state = async || store.dead_letters(&one, 1, 0).await.unwrap()[0].replay;
    assert_eq!(state().await, ReplayState::Started { at_ms: NOW_MS + 100 });
    // Refused within the same millisecond.
    store.note_replay_refused(&letter, mark(100)).await.unwrap();
    assert_eq!(state().await, ReplayState::Never);
    for _ in 0..2 {
        store.note_replayed(&letter, mark(101)).await.unwrap();
    }
    assert_eq!(state().await, ReplayState::Replayed { at_ms: NOW_MS + 101 });
    // A second attempt that broke off does not make it one that was never finished.
    store.note_replay_started(&letter, ReplayMark { run: "two", at_ms: NOW_MS + 102 }).await.unwrap();
    assert!(matches!(state().await, ReplayState::Replayed { .. }));
    assert_eq!(database.query("SELECT count() FROM dead_letter_replays").await, "4", "each mark once");
    let neighbour = LetterFilter { row: Some(0), ..one.clone() };
    assert_eq!(store.dead_letters(&neighbour, 1, 0).await.unwrap()[0].replay, ReplayState::Never);
}

#[tokio::test]
async fn what_two_runs_began_is_distinguished() {
    let database = database().await;
    let store = database.store();
    let one = LetterFilter { offset: Some(5), row: Some(3), ..LetterFilter::default() };
    let letter = store.dead_letters(&one, 1, 10).await.unwrap().remove(0);
    let open = async || {
        let letter = store.dead_letters(&one, 1, 0).await.unwrap().remove(0);
        let mut runs = letter.open_runs;
        runs.sort();
        (runs.join(" "), letter.replay != ReplayState::Never)
    };
    assert_eq!(open().await, (String::new(), false));
    let (a, b) = (ReplayMark { run: "a", at_ms: NOW_MS }, ReplayMark { run: "b", at_ms: NOW_MS });
    store.note_replay_started(&letter, a).await.unwrap();
    store.note_replay_started(&letter, b).await.unwrap();
    assert_eq!(open().await, ("a b".to_owned(), true));
    // That one did not send it says nothing of the other.
    store.note_replay_refused(&letter, b).await.unwrap();
    assert_eq!(open().await, ("a".to_owned(), true));
    store.note_replay_refused(&letter, a).await.unwrap();
    assert_eq!(open().await, (String::new(), false));
}

#[tokio::test]
async fn what_is_to_be_replayed_comes_oldest_first_and_the_hopeless_last() {
    let database = database().await;
    let store = database.store();
    database
        .query(&format!(
            "INSERT INTO dead_letters VALUES \
             ('kelly.metrics', 0, 1, 0, fromUnixTimestamp64Milli({NOW_MS}, 'UTC'), 'conversation_content', 'x', '', '{{}}'), \
             ('kelly.metrics', 0, 2, 0, fromUnixTimestamp64Milli({NOW_MS}, 'UTC'), 'lost_to_retention', 'x', '', '')"
        ))
        .await;
    let places = async |again: bool, max_rows: u32| {
        let filter = LetterFilter::default();
        let found = store.dead_letters_to_replay(&filter, again, max_rows).await.unwrap();
        found.iter().map(|letter| (letter.place.offset, letter.place.row)).collect::<Vec<_>>()
    };
    assert_eq!(places(false, 10).await, [(5, 0), (5, 3), (6, 0), (1, 0), (2, 0)]);
    assert_eq!(places(false, 1).await, [(5, 0)]);
    let letters = store.dead_letters_to_replay(&LetterFilter::default(), false, 2).await.unwrap();
    store.note_replayed(&letters[0], ReplayMark { run: "a", at_ms: NOW_MS }).await.unwrap();
    store.note_replay_started(&letters[1], ReplayMark { run: "a", at_ms: NOW_MS + 1 }).await.unwrap();
    assert_eq!(places(false, 1).await, [(6, 0)], "what was sent or begun does not stand in the way");
    assert_eq!(places(false, 10).await, [(6, 0), (1, 0), (2, 0), (5, 3)]);
    assert_eq!(places(true, 10).await, [(6, 0), (5, 0), (5, 3), (1, 0), (2, 0)], "the oldest mark first");
}
