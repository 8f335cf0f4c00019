//! Dead letters: found by what they are, counted by why, and marked once they were put on the log again.

use kelly_harness::TestDatabase;
use kelly_sql::queries::{LetterFilter, ReplayState};

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
    let told: Vec<(&str, u64)> =
        reasons.iter().map(|reason| (reason.reason_code.as_str(), reason.count)).collect();
    assert_eq!(told, [("too_old", 2), ("invalid_utf8", 1)]);
    assert_eq!((reasons[0].newest, reasons[0].newest_reason.as_str()), (NOW_MS + 5, "because 5"));
}

#[tokio::test]
async fn a_replay_is_marked() {
    let database = database().await;
    let store = database.store();
    let one = LetterFilter { offset: Some(5), row: Some(3), ..LetterFilter::default() };
    let letter = store.dead_letters(&one, 1, 10).await.unwrap().remove(0);
    store.note_replay_started(&letter, NOW_MS + 100).await.unwrap();
    let state = async || store.dead_letters(&one, 1, 0).await.unwrap()[0].replay;
    assert_eq!(state().await, ReplayState::Started { at_ms: NOW_MS + 100 });
    // Refused within the same millisecond.
    store.note_replay_refused(&letter, NOW_MS + 100).await.unwrap();
    assert_eq!(state().await, ReplayState::Never);
    for _ in 0..2 {
        store.note_replayed(&letter, NOW_MS + 101).await.unwrap();
    }
    assert_eq!(state().await, ReplayState::Replayed { at_ms: NOW_MS + 101 });
    // A second attempt that broke off does not make it one that was never finished.
    store.note_replay_started(&letter, NOW_MS + 102).await.unwrap();
    assert!(matches!(state().await, ReplayState::Replayed { .. }));
    assert_eq!(database.query("SELECT count() FROM dead_letter_replays").await, "4", "each mark once");
    let neighbour = LetterFilter { row: Some(0), ..one.clone() };
    assert_eq!(store.dead_letters(&neighbour, 1, 0).await.unwrap()[0].replay, ReplayState::Never);
}
