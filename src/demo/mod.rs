//! `kelly up --demo`: believable traffic on the real log. The traffic itself is pure (`traffic`);
//! this file has the clock, the log, and a note of how far it came, so that a restart goes on there.

mod chance;
mod incident;
mod traffic;
mod world;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use chrono::Utc;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use kelly_cli::output::grouped;
use kelly_stream::{Log, LogError};
use serde::{Deserialize, Serialize};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::roles::Part;
use crate::rows;
use traffic::{Rows, Traffic};

/// How far back the first start reaches.
const BACKFILL_MS: i64 = 30 * 86_400_000;
/// Time of one step of the backfill: some thousand rows, one append.
const STEP_MS: i64 = 3 * 3_600_000;
/// How often live rows are written.
const LIVE_EVERY: Duration = Duration::from_secs(1);
/// Pause before an append is tried again when the log is full or away.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// Name of the note in the data directory.
const NOTE_FILE: &str = "demo.json";

/// What the demo needs.
pub struct Demo {
    /// Where the rows go.
    pub log: Arc<dyn Log>,
    /// Where the note lies.
    pub data: PathBuf,
    /// Which world.
    pub seed: u64,
    /// Days rows are kept: nothing older is made.
    pub retention_days: u32,
    /// Whether the machine's own load is recorded, so that the demo must not make one up beside it.
    pub has_system_load: bool,
    /// Where the progress bar is drawn.
    pub bars: MultiProgress,
}

/// How far a world came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    seed: u64,
    until_ms: i64,
}

/// Makes traffic from now on, if there is a demo. When it fails, Kelly goes on without it.
pub async fn start(demo: Option<Demo>) -> anyhow::Result<((), Option<Part>)> {
    let part = demo.map(|demo| {
        Part::task("demo", |stop| async move {
            if let Err(error) = run(demo, stop).await {
                tracing::error!("the demo's traffic ended: {error:#}");
            }
        })
    });
    Ok(((), part))
}

/// Backfills, then goes on live until told to stop.
async fn run(demo: Demo, stop: CancellationToken) -> anyhow::Result<()> {
    let now_ms = Utc::now().timestamp_millis();
    let from_ms = begin(read_note(&demo.data), demo.seed, now_ms - demo.reach_ms(), now_ms);
    let traffic = Traffic::new(demo.seed);
    let until_ms = demo.backfill(&traffic, from_ms, now_ms, &stop).await?;
    let traffic = if demo.has_system_load { traffic.without_system_load() } else { traffic };
    demo.live(&traffic, until_ms, &stop).await
}

/// Where to begin: after the note when it is of this world, and never more than a backfill ago.
fn begin(note: Option<Note>, seed: u64, earliest: i64, now_ms: i64) -> i64 {
    match note {
        Some(note) if note.seed == seed => note.until_ms.clamp(earliest, now_ms),
        _ => earliest,
    }
}

impl Demo {
    /// How far back rows are made: the backfill, or what is kept of it. An hour is left for the time
    /// the rows take to be decoded, by which they must still be young enough.
    fn reach_ms(&self) -> i64 {
        BACKFILL_MS.min(i64::from(self.retention_days) * 86_400_000 - 3_600_000)
    }

    async fn backfill(
        &self,
        traffic: &Traffic,
        from_ms: i64,
        until_ms: i64,
        stop: &CancellationToken,
    ) -> anyhow::Result<i64> {
        let steps = steps(from_ms, until_ms);
        // A restart after a moment has nothing worth a bar.
        let bar = if steps.len() > 1 { self.bar(steps.len() as u64) } else { ProgressBar::hidden() };
        let mut rows_written = 0;
        for (from, until) in steps {
            if stop.is_cancelled() {
                bar.abandon_with_message("stopped; the next start goes on here");
                return Ok(from);
            }
            let traffic = traffic.clone();
            let rows = tokio::task::spawn_blocking(move || traffic.between(from, until))
                .await
                .context("making the demo's traffic")?;
            rows_written += rows.len() as u64;
            if !self.write(&rows, until, stop).await? {
                return Ok(from);
            }
            bar.inc(1);
            bar.set_message(format!("{} rows", grouped(rows_written)));
        }
        bar.finish_and_clear();
        tracing::info!(rows = rows_written, "the demo's past is on the log; from here on it is live");
        Ok(until_ms)
    }

    async fn live(
        &self,
        traffic: &Traffic,
        mut from_ms: i64,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let mut ticks = tokio::time::interval(LIVE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = ticks.tick() => {}
            }
            let now_ms = Utc::now().timestamp_millis();
            // A clock set back yields nothing until it has caught up; one set forward, or a machine
            // that slept, is worked off in steps.
            for (from, until) in steps(from_ms.max(now_ms - self.reach_ms()), now_ms) {
                if !self.write(&traffic.between(from, until), until, stop).await? {
                    return Ok(());
                }
                from_ms = until;
            }
        }
    }

    /// Appends rows, waiting while the log has no room, and notes it. False when told to stop meanwhile.
    async fn write(&self, rows: &Rows, until_ms: i64, stop: &CancellationToken) -> anyhow::Result<bool> {
        if rows.len() > 0 {
            loop {
                match self.log.append(rows::records(&rows.metrics, &rows.events)).await {
                    Ok(_) => break,
                    Err(LogError::Full { .. } | LogError::Unavailable { .. }) => {}
                    // Written or not: a gap in a demo is better than rows that count twice.
                    Err(LogError::Unknown { .. }) => break,
                    Err(error) => return Err(error).context("writing the demo's traffic to the log"),
                }
                tokio::select! {
                    () = stop.cancelled() => return Ok(false),
                    () = tokio::time::sleep(RETRY_AFTER) => {}
                }
            }
        }
        write_note(&self.data, Note { seed: self.seed, until_ms })?;
        Ok(true)
    }

    fn bar(&self, steps: u64) -> ProgressBar {
        let style =
            ProgressStyle::with_template("demo: thirty days of traffic {bar:30} {percent:>3} % {msg}")
                .expect("the template names known placeholders");
        self.bars.add(ProgressBar::new(steps).with_style(style))
    }
}

/// `[from, until)` in pieces of at most [`STEP_MS`].
fn steps(from_ms: i64, until_ms: i64) -> Vec<(i64, i64)> {
    let mut steps = Vec::new();
    let mut from = from_ms;
    while from < until_ms {
        let until = until_ms.min(from + STEP_MS);
        steps.push((from, until));
        from = until;
    }
    steps
}

/// An unreadable note is as none: the demo then begins anew.
fn read_note(data: &Path) -> Option<Note> {
    serde_json::from_slice(&std::fs::read(data.join(NOTE_FILE)).ok()?).ok()
}

fn write_note(data: &Path, note: Note) -> anyhow::Result<()> {
    let path = data.join(NOTE_FILE);
    let whole = data.join(format!("{NOTE_FILE}.new"));
    let text = serde_json::to_vec(&note).context("writing down how far the demo is")?;
    std::fs::write(&whole, text)
        .and_then(|()| std::fs::rename(&whole, &path))
        .with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_goes_on_where_it_was() {
        let now = 100 * 86_400_000;
        let note = |seed, until_ms| Some(Note { seed, until_ms });
        for (found, expected) in [
            (None, now - BACKFILL_MS),
            (note(1, now - 5), now - 5),
            (note(2, now - 5), now - BACKFILL_MS),
            (note(1, 7), now - BACKFILL_MS),
            (note(1, now + 5), now),
        ] {
            assert_eq!(begin(found, 1, now - BACKFILL_MS, now), expected, "{found:?}");
        }
    }

    #[test]
    fn steps_cover_the_span_without_gap_or_overlap() {
        let steps = steps(5, 5 + 2 * STEP_MS + 1);
        assert_eq!(steps.len(), 3);
        assert_eq!((steps[0].0, steps[2].1), (5, 5 + 2 * STEP_MS + 1));
        assert!(steps.windows(2).all(|pair| pair[0].1 == pair[1].0));
        assert_eq!(super::steps(5, 5), []);
        assert_eq!(super::steps(5, 4), []);
    }

    #[test]
    fn the_note_is_read_back() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read_note(directory.path()), None);
        let note = Note { seed: 3, until_ms: 9 };
        write_note(directory.path(), note).unwrap();
        assert_eq!(read_note(directory.path()), Some(note));
    }
}
