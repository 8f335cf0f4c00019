//! Positions that leave Kelly and come back: a feed's cursor, and the text beside a commit.

use kelly_ingest::{Journal, JournalError};
use kelly_query::ActivityKey;
use kelly_query::cursor::{self, Filters};
use uuid::Uuid;

/// A cursor: 24 bytes of position, then filters and an account by lines, of which the last is also read as a cursor of its own.
pub fn cursor(input: &[u8]) {
    let Some((position, rest)) = input.split_first_chunk::<24>() else { return };
    let (created_at, id) = position.split_at(8);
    let text = String::from_utf8_lossy(rest);
    let mut lines = text.split('\n');
    let mut filter = || lines.next().filter(|line| !line.is_empty());
    let (severity, event_type, account_id) = (filter(), filter(), filter());
    let position = ActivityKey {
        created_at_ms: i64::from_be_bytes(created_at.try_into().expect("eight bytes")),
        id: Uuid::from_slice(id).expect("sixteen bytes"),
        account_id: filter().unwrap_or_default().to_owned(),
    };
    let filters = Filters { severity, event_type, account_id, vip_only: position.created_at_ms % 2 == 0 };
    let made = cursor::encode(&position, &filters);
    assert_eq!(cursor::decode(&made, &filters).ok(), Some(position));
    let other = Filters { vip_only: !filters.vip_only, ..filters };
    assert_eq!(cursor::decode(&made, &other).map_err(|error| error.code()), Err("cursor_of_other_filters"));
    // Any text: refused, or what this very position is written as.
    let given = text.rsplit('\n').next().unwrap_or_default();
    match cursor::decode(given, &filters) {
        Ok(position) => assert_eq!(cursor::encode(&position, &filters), given),
        Err(error) => assert!(matches!(error.code(), "bad_cursor" | "cursor_of_other_filters"), "{error}"),
    }
}

/// The text beside a commit: what is read is what would be written, to the letter, or nothing is acted upon.
pub fn commit_metadata(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match Journal::parse(text) {
        Ok(None) => assert_eq!(text, ""),
        Ok(Some(journal)) => {
            assert_eq!(journal.to_string(), text);
            assert_eq!(Journal::parse(text), Ok(Some(journal)));
        }
        Err(JournalError::Foreign(shown)) => assert!(text.starts_with(&shown) && shown.chars().count() <= 80),
        Err(error) => assert!(text.starts_with("kelly1;"), "{error}"),
    }
}
