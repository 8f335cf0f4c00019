//! Sending dead letters again: each row alone, through the record endpoint, once.
//!
//! A letter is marked before it is sent and after the log has it. So whoever comes later knows of each whether it
//! is on the log again, is not, or may be; and nothing is sent twice without being asked for. Of runs at the same time
//! too at most one sends a letter: each looks at the marks after it set its own, so whoever set the later one sees
//! the other's and leaves the letter alone. That rests on a store that shows every mark once it has taken it: several
//! nodes learn of it from one another a moment later.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use chrono::Utc;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use kelly_schemas::decode::{self, Origin};
use kelly_schemas::{Fault, Limits, Stream, UnknownTopic};
use kelly_sql::Store;
use kelly_sql::queries::{DeadLetter, LetterFilter, ReplayMark, ReplayState};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::bytes::{is_cut, is_redacted};
use super::{ALL_BYTES, LETTERS_OF_A_MESSAGE, filter, of_place};
use crate::arguments::{ReplayLetters, place_text};
use crate::client::{Client, Failure, RowKind};
use crate::output::{self, grouped, printable};
use crate::{Settings, Summary, Usage};

/// How often a busy server is asked again for one letter.
const MAX_TRIES: u32 = 10;

/// Longest pause before a busy server is asked again.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A letter holds one row, or a message whose rows could not be told apart: JSON in both cases, or it is refused.
const CONTENT_TYPE: &str = "application/json";

/// What a replay works with.
pub struct Context<'c> {
    pub settings: &'c Settings,
    pub store: Store,
    pub bars: MultiProgress,
    pub stop: CancellationToken,
}

/// What became of a letter, or would become of it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// It is on the log again, or would be; without a time of its own it counts for now.
    Sent { has_time: bool },
    /// It was left out.
    LeftOut { code: &'static str, why: String },
}

/// Replays what the command line says.
pub async fn run(arguments: &ReplayLetters, context: Context<'_>) -> anyhow::Result<Summary> {
    let which = &arguments.which;
    let is_filtered = which.topic.is_some() || !which.reasons.is_empty() || which.since.is_some();
    if arguments.letters.is_empty() && !is_filtered && !arguments.all {
        return Err(Usage(
            "say which dead letters: places as `kelly dead-letters list` shows them, a filter such as \
             --reason or --since, or --all"
                .to_owned(),
        )
        .into());
    }
    let Selection { letters, more } = select(arguments, &context.store).await?;
    let client = match arguments.yes {
        true => Some(context.settings.client()?),
        false => None,
    };
    if let Some(client) = &client {
        // Before anything is marked as begun.
        client.get("livez").await.context("nothing was sent")?;
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} letters · {eta} left")
        .context("preparing the progress bar")?;
    let bar = context.bars.add(ProgressBar::new(letters.len() as u64).with_style(style));
    let mut replay = Replay {
        limits: context.settings.limits,
        again: arguments.again,
        run: Uuid::new_v4().to_string(),
        more,
        context,
        client,
        done: Vec::with_capacity(letters.len()),
        stopped: false,
    };
    let outcome = replay.all(letters, &bar).await;
    bar.finish_and_clear();
    // What was sent is reported also when it broke off.
    let summary = replay.summary();
    if arguments.json {
        replay.print_json()?
    } else {
        replay.print_text()?
    }
    outcome.map(|()| summary)
}

/// The letters of a run, oldest first, without their bytes, and whether more match.
struct Selection {
    letters: Vec<DeadLetter>,
    more: bool,
}

async fn select(arguments: &ReplayLetters, store: &Store) -> anyhow::Result<Selection> {
    let mut found = Vec::new();
    for place in &arguments.letters {
        found.extend(of_place(store, place).await?);
    }
    let limit = arguments.limit as usize;
    let mut more = false;
    if arguments.letters.is_empty() {
        let filter = filter(&arguments.which);
        let asked = store.dead_letters_to_replay(&filter, arguments.again, arguments.limit + 1).await;
        found = asked.context("reading dead letters")?;
        more = found.len() > limit;
        found.truncate(limit);
    }
    found.sort_by(|one, other| (one.log_time_ms, &one.place).cmp(&(other.log_time_ms, &other.place)));
    found.dedup_by(|one, other| one.place == other.place && one.log_time_ms == other.log_time_ms);
    Ok(Selection { letters: found, more })
}

struct Replay<'c> {
    limits: Limits,
    again: bool,
    /// Name of this run in the marks it sets.
    run: String,
    /// Whether more match than were selected.
    more: bool,
    context: Context<'c>,
    /// `None` only says what would be.
    client: Option<Client>,
    /// Place of each letter that was looked at, its reason then, and what became of it.
    done: Vec<(String, String, Outcome)>,
    stopped: bool,
}

impl Replay<'_> {
    async fn all(&mut self, letters: Vec<DeadLetter>, bar: &ProgressBar) -> anyhow::Result<()> {
        for letter in &letters {
            if self.context.stop.is_cancelled() {
                self.stopped = true;
                return Ok(());
            }
            // As it is now: another run may have sent it since, and it may have expired.
            let letter = self
                .look(letter, ALL_BYTES)
                .await?
                .unwrap_or_else(|| DeadLetter { size: 0, ..letter.clone() });
            let outcome = match judge(&letter, &self.limits, self.again, Utc::now().timestamp_millis()) {
                Outcome::Sent { has_time } => self.send(&letter, has_time).await?,
                left_out => left_out,
            };
            self.done.push((place_text(&letter.place), letter.reason_code, outcome));
            bar.inc(1);
        }
        Ok(())
    }

    async fn look(&self, letter: &DeadLetter, max_bytes: u32) -> anyhow::Result<Option<DeadLetter>> {
        let place = &letter.place;
        let filter = LetterFilter {
            topic: Some(place.topic.clone()),
            partition: Some(place.partition),
            offset: Some(place.offset),
            row: Some(place.row),
            since_ms: letter.log_time_ms,
            codes: Vec::new(),
        };
        let found = self.context.store.dead_letters(&filter, LETTERS_OF_A_MESSAGE, max_bytes).await;
        // A topic that was made anew may have had another letter at the same place.
        Ok(found
            .context("reading a dead letter")?
            .into_iter()
            .find(|found| found.log_time_ms == letter.log_time_ms))
    }

    async fn send(&self, letter: &DeadLetter, has_time: bool) -> anyhow::Result<Outcome> {
        let Some(client) = &self.client else { return Ok(Outcome::Sent { has_time }) };
        let kind = kind_of(letter)?;
        let place = place_text(&letter.place);
        let store = &self.context.store;
        store
            .note_replay_started(letter, self.mark())
            .await
            .with_context(|| format!("marking {place} before it is sent; it was not sent"))?;
        let marked = self.look(letter, 0).await;
        if !matches!(&marked, Ok(Some(marked)) if goes_on(letter, marked, &self.run)) {
            self.note_refused(letter).await?;
            marked.with_context(|| format!("looking at the marks of {place}; it was not sent"))?;
            return Ok(left_out("begun", "another replay has it under way or has just sent it"));
        }
        let mut tries = 0;
        loop {
            tries += 1;
            match client.send_as(kind, CONTENT_TYPE, letter.bytes.clone()).await {
                Ok(_) => break,
                Err(Failure::Rows(bad)) => {
                    self.note_refused(letter).await?;
                    let reasons: Vec<&str> = bad.iter().map(|row| row.reason.as_str()).collect();
                    return Ok(left_out("still_refused", reasons.join("; ")));
                }
                Err(Failure::Busy { pause, .. }) if tries < MAX_TRIES => {
                    tokio::time::sleep(pause.min(LONGEST_PAUSE)).await;
                }
                Err(Failure::Busy { message, .. }) => {
                    self.note_refused(letter).await?;
                    return Err(anyhow::anyhow!("{message}")).with_context(|| format!("sending {place}"));
                }
                Err(Failure::Refused(error)) => {
                    self.note_refused(letter).await?;
                    return Err(error).with_context(|| format!("sending {place}; it was not sent"));
                }
                Err(Failure::Other(error)) => return Err(error).with_context(|| format!("sending {place}")),
            }
        }
        store.note_replayed(letter, self.mark()).await.with_context(|| {
            format!("{place} is on the log again and could not be marked so; it shows as begun")
        })?;
        Ok(Outcome::Sent { has_time })
    }

    fn mark(&self) -> ReplayMark<'_> {
        ReplayMark { run: &self.run, at_ms: Utc::now().timestamp_millis() }
    }

    async fn note_refused(&self, letter: &DeadLetter) -> anyhow::Result<()> {
        let noted = self.context.store.note_replay_refused(letter, self.mark()).await;
        noted.with_context(|| {
            format!("{} was refused and shows as begun: that could not be marked", place_text(&letter.place))
        })
    }

    fn summary(&self) -> Summary {
        let sent = self.done.iter().filter(|(_, _, outcome)| matches!(outcome, Outcome::Sent { .. })).count();
        Summary { rows: sent as u64, bad: (self.done.len() - sent) as u64, stopped: self.stopped }
    }

    fn print_text(&self) -> anyhow::Result<()> {
        let is_real = self.client.is_some();
        let sent_word = if is_real { "sent" } else { "would be sent" };
        for (place, reason, outcome) in &self.done {
            output::line(match outcome {
                Outcome::Sent { has_time: true } => format!("{sent_word}  {place}  (was {reason})"),
                Outcome::Sent { has_time: false } => {
                    format!("{sent_word}  {place}  (was {reason}; has no time of its own: it counts for now)")
                }
                Outcome::LeftOut { why, .. } => format!("left out  {place}  {}", printable(why)),
            })?;
        }
        let Summary { rows, bad, stopped } = self.summary();
        let mut message = format!("{} {sent_word}", grouped(rows));
        if bad > 0 {
            let mut by_code: BTreeMap<&str, u64> = BTreeMap::new();
            for (_, _, outcome) in &self.done {
                if let Outcome::LeftOut { code, .. } = outcome {
                    *by_code.entry(code).or_default() += 1;
                }
            }
            let kinds: Vec<String> =
                by_code.iter().map(|(code, count)| format!("{} {code}", grouped(*count))).collect();
            message.push_str(&format!(", {} left out: {}", grouped(bad), kinds.join(", ")));
        }
        if stopped {
            message.push_str(", stopped before the end");
        }
        if self.more {
            message.push_str(match rows > 0 {
                true => "; more remain: say it again, or raise --limit",
                false => "; more remain: raise --limit, or narrow with --reason, --topic or --since",
            });
        }
        if !is_real && rows > 0 {
            message.push_str("; nothing was sent, --yes sends");
        }
        output::line(message)
    }

    fn print_json(&self) -> anyhow::Result<()> {
        let Summary { rows, bad, stopped } = self.summary();
        let letters: Vec<Value> = self
            .done
            .iter()
            .map(|(place, reason, outcome)| match outcome {
                Outcome::Sent { has_time } => {
                    json!({"place": place, "reason_code": reason, "outcome": "sent", "has_time": has_time})
                }
                Outcome::LeftOut { code, why } => json!({
                    "place": place, "reason_code": reason, "outcome": "left_out", "code": code, "why": why,
                }),
            })
            .collect();
        output::json(&json!({
            "dry_run": self.client.is_none(),
            "sent": rows,
            "left_out": bad,
            "stopped": stopped,
            "more": self.more,
            "letters": letters,
        }))
    }
}

fn left_out(code: &'static str, why: impl Into<String>) -> Outcome {
    Outcome::LeftOut { code, why: why.into() }
}

/// Whether the letter can be sent again, and would be taken at this time.
fn judge(letter: &DeadLetter, limits: &Limits, again: bool, now_ms: i64) -> Outcome {
    match letter.replay {
        ReplayState::Replayed { at_ms } if !again => {
            let at = output::time(at_ms);
            return left_out("replayed", format!("it was replayed {at}; --again sends it once more"));
        }
        ReplayState::Started { at_ms } if !again => {
            let at = output::time(at_ms);
            return left_out(
                "begun",
                format!(
                    "a replay was begun {at} and its end is not known: look whether its row is there, then --again"
                ),
            );
        }
        _ => {}
    }
    if letter.size == 0 {
        return left_out("no_bytes", "nothing of it is kept: the log had removed it, or it was empty");
    }
    if is_redacted(letter) {
        return left_out(
            "redacted",
            "conversation content was cut out of it: the producer must send it again",
        );
    }
    if is_cut(letter) {
        return left_out(
            "cut",
            "it is longer than what is kept of a letter: the producer must send it again",
        );
    }
    let Ok(kind) = kind_of(letter) else {
        return left_out("unknown_topic", "there is no record endpoint for its topic");
    };
    match faults(kind, letter, limits, now_ms) {
        Ok(has_time) => Outcome::Sent { has_time },
        Err(fault) => left_out("still_refused", format!("still wrong: {fault}")),
    }
}

/// Whether every row of the letter has a time of its own; or the first fault of one.
fn faults(kind: RowKind, letter: &DeadLetter, limits: &Limits, now_ms: i64) -> Result<bool, Fault> {
    let origin = Origin { partition: 0, offset: 0, log_time_ms: now_ms, limits };
    // Decoded as if the log had it at another time: what moves along has no time of its own.
    let later = Origin { log_time_ms: now_ms + 1, ..origin };
    let mut times: [Vec<Result<i64, Fault>>; 2] = Default::default();
    for (origin, times) in [origin, later].iter().zip(&mut times) {
        match kind {
            RowKind::Metrics => decode::metrics(&letter.bytes, origin, &mut |_, row| {
                times.push(row.map(|metric| metric.timestamp_ms).map_err(|reject| reject.fault));
            }),
            RowKind::Activity => decode::activities(&letter.bytes, origin, &mut |_, row| {
                times.push(row.map(|event| event.created_at_ms).map_err(|reject| reject.fault));
            }),
        }
    }
    let [now, later] = times;
    let now: Vec<i64> = now.into_iter().collect::<Result<_, _>>()?;
    let later: Vec<i64> = later.into_iter().collect::<Result<_, _>>()?;
    Ok(now == later)
}

/// Whether a run that has just marked the letter sends it: what was there before is judged, so nobody may have come in
/// between. Of two that mark at once both may stand back; both going on cannot be.
fn goes_on(before: &DeadLetter, marked: &DeadLetter, run: &str) -> bool {
    let is_replayed = |letter: &DeadLetter| matches!(letter.replay, ReplayState::Replayed { .. });
    is_replayed(before) == is_replayed(marked)
        && marked.open_runs.iter().all(|open| open == run || before.open_runs.contains(open))
}

fn kind_of(letter: &DeadLetter) -> Result<RowKind, UnknownTopic> {
    Stream::of_topic(&letter.place.topic).map(RowKind::of_stream)
}

#[cfg(test)]
mod tests {
    use super::super::tests::letter;
    use super::*;

    const NOW_MS: i64 = 1_790_000_000_000;

    fn code(letter: &DeadLetter, again: bool) -> &'static str {
        match judge(letter, &Limits::default(), again, NOW_MS) {
            Outcome::Sent { has_time: true } => "sent",
            Outcome::Sent { has_time: false } => "sent, timeless",
            Outcome::LeftOut { code, .. } => code,
        }
    }

    #[test]
    fn letters_are_judged_one_by_one() {
        let timed = br#"{"metric_name":"m","value":1,"timestamp":1790000000000}"#;
        for (expected, letter) in [
            ("sent", letter("too_far_in_future", timed)),
            ("sent, timeless", letter("value_out_of_range", br#"{"metric_name":"m","value":1}"#)),
            ("sent", letter("invalid_json", br#"[{"metric_name":"m","value":1,"timestamp":1790000000000}]"#)),
            ("still_refused", letter("missing_field", br#"{"metric_name":"m"}"#)),
            ("still_refused", letter("invalid_utf8", b"\xff")),
            ("still_refused", letter("invalid_json", br#"[{"metric_name":"m","value":1},{"value":1}]"#)),
            ("redacted", letter("conversation_content", br#"{"metric_name":"m","text":5}"#)),
            ("no_bytes", letter("lost_to_retention", b"")),
            ("cut", letter("message_too_large", &vec![b' '; kelly_ingest::MAX_KEPT_BYTES])),
        ] {
            assert_eq!(code(&letter, false), expected, "{}", letter.reason_code);
        }
        let mut other = letter("too_old", timed);
        other.place.topic = "other".into();
        assert_eq!(code(&other, false), "unknown_topic");
        let mut event = letter("x", br#"{"event_type":"e","title":"t"}"#);
        event.place.topic = Stream::Activity.topic().into();
        assert_eq!(code(&event, false), "sent, timeless");
    }

    #[test]
    fn of_two_runs_that_mark_a_letter_the_later_stands_back() {
        let before = letter("too_old", b"{}");
        let marked = |runs: &[&str], replay| DeadLetter {
            open_runs: runs.iter().map(|run| (*run).to_owned()).collect(),
            replay,
            ..before.clone()
        };
        let begun = ReplayState::Started { at_ms: 0 };
        assert!(goes_on(&before, &marked(&["mine"], begun), "mine"));
        assert!(!goes_on(&before, &marked(&["mine", "other"], begun), "mine"), "at once");
        let replayed = ReplayState::Replayed { at_ms: 0 };
        assert!(!goes_on(&before, &marked(&["mine"], replayed), "mine"), "sent since the last look");
        // With --again: what was known is no hindrance, what is new is.
        assert!(goes_on(&marked(&["old"], begun), &marked(&["old", "mine"], begun), "mine"));
        assert!(!goes_on(&marked(&["old"], begun), &marked(&["old", "mine", "new"], begun), "mine"));
        assert!(goes_on(&marked(&[], replayed), &marked(&["mine"], replayed), "mine"));
    }

    #[test]
    fn what_was_replayed_is_not_sent_again_by_accident() {
        let timed = br#"{"metric_name":"m","value":1,"timestamp":1790000000000}"#;
        for (replay, expected) in
            [(ReplayState::Replayed { at_ms: 0 }, "replayed"), (ReplayState::Started { at_ms: 0 }, "begun")]
        {
            let letter = DeadLetter { replay, ..letter("too_old", timed) };
            assert_eq!(code(&letter, false), expected);
            assert_eq!(code(&letter, true), "sent");
        }
    }
}
