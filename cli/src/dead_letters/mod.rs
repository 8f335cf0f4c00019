//! `kelly dead-letters`: what could not be taken from the log, and sending it again.

mod bytes;
mod replay;

use anyhow::{Context, bail};
use chrono::Utc;
use indicatif::MultiProgress;
use kelly_sql::Store;
use kelly_sql::queries::{DeadLetter, LetterFilter, LetterReason, ReplayState};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::arguments::{DeadLettersWhat, ListLetters, Place, ShowLetter, WhichLetters, place_text};
use crate::output::{self, grouped, printable};
use crate::{Settings, Summary};
use bytes::{Shown, is_redacted};

/// Bytes of a letter that a list shows.
const BYTES_LISTED: u32 = 60;

/// Characters of a reason that a list shows; `show` has all.
const REASON_LISTED: usize = 80;

/// Letters of one message at most: as many as it can have rows.
const LETTERS_OF_A_MESSAGE: u32 = 10_000;

/// All that are kept of a letter.
const ALL_BYTES: u32 = u32::MAX;

/// Does what the command line says.
pub async fn run(
    what: &DeadLettersWhat,
    settings: &Settings,
    bars: MultiProgress,
    stop: CancellationToken,
) -> anyhow::Result<Summary> {
    let store = settings.store.client()?;
    match what {
        DeadLettersWhat::List(arguments) => list(arguments, &store).await.map(|()| Summary::default()),
        DeadLettersWhat::Show(arguments) => show(arguments, &store).await.map(|()| Summary::default()),
        DeadLettersWhat::Replay(arguments) => {
            replay::run(arguments, replay::Context { settings, store, bars, stop }).await
        }
    }
}

async fn list(arguments: &ListLetters, store: &Store) -> anyhow::Result<()> {
    let filter = filter(&arguments.which);
    if arguments.by_reason {
        let reasons = store.dead_letter_reasons(&filter).await.context("counting dead letters")?;
        return if arguments.json {
            output::json(&json!(reasons.iter().map(reason_json).collect::<Vec<_>>()))
        } else {
            output::line(reasons_text(&reasons))
        };
    }
    let letters =
        store.dead_letters(&filter, arguments.limit, BYTES_LISTED).await.context("reading dead letters")?;
    if arguments.json {
        return output::json(&json!(letters.iter().map(listed_json).collect::<Vec<_>>()));
    }
    if letters.is_empty() {
        return output::line("no dead letters match");
    }
    output::line(letters_text(&letters))?;
    if letters.len() == arguments.limit as usize {
        output::line(format!(
            "\nthe newest {}; more with --limit, how many of which kind with --by-reason",
            grouped(letters.len() as u64)
        ))?;
    }
    Ok(())
}

async fn show(arguments: &ShowLetter, store: &Store) -> anyhow::Result<()> {
    let letters = of_place(store, &arguments.letter).await?;
    if arguments.json {
        return output::json(&json!(letters.iter().map(shown_json).collect::<Vec<_>>()));
    }
    for (index, letter) in letters.iter().enumerate() {
        if index > 0 {
            output::line("")?;
        }
        output::line(letter_text(letter, arguments.hex))?;
    }
    Ok(())
}

/// The letters of a place, in the order of the message; that there are none is an error.
async fn of_place(store: &Store, place: &Place) -> anyhow::Result<Vec<DeadLetter>> {
    let filter = LetterFilter {
        topic: Some(place.topic.clone()),
        partition: Some(place.partition),
        offset: Some(place.offset),
        row: place.row,
        ..LetterFilter::default()
    };
    let mut letters =
        store.dead_letters(&filter, LETTERS_OF_A_MESSAGE, ALL_BYTES).await.context("reading dead letters")?;
    if letters.is_empty() {
        bail!(
            "there is no dead letter at {}/{}/{}{}; `kelly dead-letters list` shows those there are",
            place.topic,
            place.partition,
            place.offset,
            place.row.map_or_else(String::new, |row| format!("/{row}"))
        );
    }
    letters.reverse();
    Ok(letters)
}

fn filter(which: &WhichLetters) -> LetterFilter {
    LetterFilter {
        topic: which.topic.map(|stream| stream.topic().to_owned()),
        codes: which.reasons.clone(),
        since_ms: which.since.map_or(0, |since| since.ms(Utc::now())),
        ..LetterFilter::default()
    }
}

fn reasons_text(reasons: &[LetterReason]) -> String {
    if reasons.is_empty() {
        return "no dead letters match".to_owned();
    }
    let rows = reasons.iter().map(|reason| {
        [
            grouped(reason.count),
            reason.topic.clone(),
            reason.reason_code.clone(),
            output::time(reason.newest),
            shortened(&reason.newest_reason),
        ]
    });
    output::table(["COUNT", "TOPIC", "REASON", "NEWEST", "OF THE NEWEST"], rows)
}

fn letters_text(letters: &[DeadLetter]) -> String {
    let rows = letters.iter().map(|letter| {
        [
            output::time(letter.log_time_ms),
            place_text(&letter.place),
            letter.reason_code.clone(),
            replay_text(letter.replay).unwrap_or("-").to_owned(),
            shortened(&letter.reason),
        ]
    });
    output::table(["LOG TIME", "PLACE", "REASON", "REPLAY", "WHY"], rows)
}

fn replay_text(replay: ReplayState) -> Option<&'static str> {
    match replay {
        ReplayState::Never => None,
        ReplayState::Started { .. } => Some("begun"),
        ReplayState::Replayed { .. } => Some("done"),
    }
}

fn shortened(text: &str) -> String {
    let text = printable(text);
    match text.char_indices().nth(REASON_LISTED) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Everything about a letter.
fn letter_text(letter: &DeadLetter, hex: bool) -> String {
    let mut lines = vec![
        format!("place         {}", place_text(&letter.place)),
        format!("log time      {}", output::time(letter.log_time_ms)),
        format!("reason        {}", letter.reason_code),
        format!("              {}", printable(&letter.reason)),
    ];
    if !letter.content_type.is_empty() {
        lines.push(format!("content type  {}", printable(&letter.content_type)));
    }
    match letter.replay {
        ReplayState::Never => {}
        ReplayState::Started { at_ms } => lines.push(format!(
            "replay        begun {}, its end is not known: it may be on the log again",
            output::time(at_ms)
        )),
        ReplayState::Replayed { at_ms } => lines.push(format!("replay        {}", output::time(at_ms))),
    }
    let size = grouped(letter.size);
    let note = if is_redacted(letter) {
        ", redacted: strings that could hold conversation content are replaced by their length"
    } else if bytes::is_cut(letter) {
        ", the first of them: more are not kept"
    } else {
        ""
    };
    lines.push(format!("bytes         {size}{note}"));
    if letter.size > 0 {
        lines.push(String::new());
        lines.push(match Shown::of(&letter.bytes, hex) {
            Shown::Text(text) => text,
            Shown::Hexadecimal(dump) => dump,
        });
    }
    lines.join("\n")
}

fn reason_json(reason: &LetterReason) -> Value {
    json!({
        "topic": reason.topic,
        "reason_code": reason.reason_code,
        "count": reason.count,
        "oldest": output::time(reason.oldest),
        "newest": output::time(reason.newest),
        "newest_reason": reason.newest_reason,
    })
}

/// A letter without its bytes.
fn listed_json(letter: &DeadLetter) -> Value {
    let replay = match letter.replay {
        ReplayState::Never => Value::Null,
        ReplayState::Started { at_ms } => json!({"state": "started", "at": output::time(at_ms)}),
        ReplayState::Replayed { at_ms } => json!({"state": "replayed", "at": output::time(at_ms)}),
    };
    json!({
        "place": place_text(&letter.place),
        "topic": letter.place.topic,
        "partition": letter.place.partition,
        "offset": letter.place.offset,
        "row": letter.place.row,
        "log_time": output::time(letter.log_time_ms),
        "reason_code": letter.reason_code,
        "reason": letter.reason,
        "content_type": letter.content_type,
        "size": letter.size,
        "replay": replay,
    })
}

/// A letter with its bytes: as text where they are UTF-8, as hexadecimal digits where not.
fn shown_json(letter: &DeadLetter) -> Value {
    let mut document = listed_json(letter);
    document["redacted"] = is_redacted(letter).into();
    match std::str::from_utf8(&letter.bytes) {
        Ok(text) => document["text"] = text.into(),
        Err(_) => document["hex"] = bytes::digits(&letter.bytes).into(),
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;
    use kelly_sql::queries::LetterPlace;

    pub(super) fn letter(code: &str, bytes: &[u8]) -> DeadLetter {
        DeadLetter {
            place: LetterPlace { topic: "kelly.metrics".into(), partition: 3, offset: 1_042, row: 7 },
            log_time_ms: 1_790_000_000_123,
            reason_code: code.into(),
            reason: "because".into(),
            content_type: String::new(),
            size: bytes.len() as u64,
            bytes: bytes.to_vec(),
            replay: ReplayState::Never,
            open_runs: Vec::new(),
        }
    }

    #[test]
    fn a_letter_is_shown_whole() {
        let message = letter_text(&letter("too_old", br#"{"metric_name":"m"}"#), false);
        let expected = "\
place         kelly.metrics/3/1042/7
log time      2026-09-21T14:13:20.123Z
reason        too_old
              because
bytes         19

{\"metric_name\":\"m\"}";
        assert_eq!(message, expected);
        let mut redacted = letter("conversation_content", br#"{"text":12}"#);
        redacted.replay = ReplayState::Started { at_ms: 0 };
        let message = letter_text(&redacted, false);
        assert!(message.contains("bytes         11, redacted: "), "{message}");
        assert!(message.contains("begun 1970-01-01T00:00:00.000Z, its end is not known"), "{message}");
        let lost = letter_text(&letter("lost_to_retention", b""), false);
        assert!(lost.ends_with("bytes         0"), "{lost}");
        let binary = letter_text(&letter("invalid_utf8", &[0xff, b'a']), false);
        assert!(binary.ends_with("ff 61                                            |.a|"), "{binary}");
    }

    #[test]
    fn programs_get_any_bytes() {
        assert_eq!(shown_json(&letter("too_old", b"{}"))["text"], "{}");
        let binary = shown_json(&letter("invalid_utf8", &[0xff, 0x0a]));
        assert_eq!((&binary["hex"], &binary["text"]), (&json!("ff0a"), &Value::Null));
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let message = shortened(&"é".repeat(REASON_LISTED + 1));
        assert_eq!(message.chars().count(), REASON_LISTED + 1);
        assert!(message.ends_with('…'));
    }
}
