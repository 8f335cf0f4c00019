//! The status line of `kelly up` and `kelly ingest` on a terminal: one calm line at the bottom, once a second.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, MultiProgress, ProgressBar, ProgressStyle};
use kelly_cli::output::grouped;
use kelly_ingest::IngestCounts;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::monitor::Machine;
use super::parts::Part;
use super::progress::Progress;

/// How often the line is written.
const EVERY: Duration = Duration::from_secs(1);

/// Shows the line from now on; nothing is started where nobody sees it.
pub async fn start(progress: Arc<Progress>, bars: MultiProgress) -> anyhow::Result<((), Option<Part>)> {
    let is_seen = std::io::stderr().is_terminal();
    Ok(((), is_seen.then(|| Part::task("status line", |stop| run(progress, bars, stop)))))
}

/// Keeps the line until told to stop, then takes it away.
async fn run(progress: Arc<Progress>, bars: MultiProgress, stop: CancellationToken) {
    let style = ProgressStyle::with_template("{msg}").expect("the template is one placeholder");
    let bar = bars.add(ProgressBar::new_spinner().with_style(style));
    let mut machine = Machine::new();
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut before = (progress.counts().rows, None, Instant::now());
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = ticks.tick() => {}
        }
        let counts = progress.counts();
        let lag = progress.lag().await.ok();
        let (rows_before, lag_before, looked) = before;
        let elapsed = looked.elapsed().as_secs_f64().max(0.001);
        let rate = counts.rows.saturating_sub(rows_before) as f64 / elapsed;
        let left = lag.zip(lag_before).and_then(|(now, before)| time_left(before, now, elapsed));
        before = (counts.rows, lag, Instant::now());
        bar.set_message(line(&counts, Advance { rate, lag, left }, machine.load()));
        bar.tick();
    }
    bar.finish_and_clear();
}

/// Records behind above which it is worth telling when they will be done.
const BACKLOG: u64 = 50_000;

/// How fast ingest is, and how far.
#[derive(Debug, Clone, Copy, Default)]
struct Advance {
    /// Rows a second.
    rate: f64,
    /// Records behind.
    lag: Option<u64>,
    /// Seconds until there is no backlog any more.
    left: Option<f64>,
}

/// When a backlog will be gone if it goes on shrinking as it did over the `elapsed` seconds between two looks.
fn time_left(before: u64, now: u64, elapsed: f64) -> Option<f64> {
    let gone = before.checked_sub(now).filter(|gone| *gone > 0 && now >= BACKLOG)?;
    Some(now as f64 / (gone as f64 / elapsed))
}

/// The line.
fn line(counts: &IngestCounts, advance: Advance, load: Option<f64>) -> String {
    let Advance { rate, lag, left } = advance;
    let mut text = format!(
        "{} rows/s · {} rows · lag {}",
        grouped(rate.round() as u64),
        grouped(counts.rows),
        lag.map_or_else(|| "unknown".to_owned(), grouped),
    );
    if let Some(seconds) = left {
        let left = Duration::from_secs_f64(seconds.min(1e9).round());
        text.push_str(&format!(" · caught up in {}", HumanDuration(left)));
    }
    if let Some(percent) = load {
        text.push_str(&format!(" · load {percent:.0} %"));
    }
    if counts.dead_letters > 0 {
        text.push_str(&format!(" · {} dead letters", grouped(counts.dead_letters)));
    }
    if counts.last_error.is_some() {
        text.push_str(" · the store does not take rows, they wait on the log");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_tells_its_end() {
        assert_eq!(time_left(300_000, 200_000, 2.0), Some(4.0));
        for (before, now) in [(200_000, 300_000), (200_000, 200_000), (20_000, 10_000)] {
            assert_eq!(time_left(before, now, 1.0), None, "{before} to {now}");
        }
        let advance = Advance { rate: 5e4, lag: Some(200_000), left: Some(90.0) };
        let text = line(&IngestCounts::default(), advance, None);
        assert_eq!(text, "50,000 rows/s · 0 rows · lag 200,000 · caught up in 2 minutes");
    }

    #[test]
    fn trouble_shows_only_when_there_is_some() {
        let mut counts = IngestCounts { rows: 1_234, ..IngestCounts::default() };
        let advance = Advance { rate: 99.6, lag: Some(0), left: None };
        assert_eq!(line(&counts, advance, Some(12.3)), "100 rows/s · 1,234 rows · lag 0 · load 12 %");
        counts.dead_letters = 2;
        counts.last_error = Some("x".into());
        let text = line(&counts, Advance::default(), None);
        assert!(text.contains("lag unknown") && text.contains("2 dead letters"), "{text}");
        assert!(text.contains("they wait on the log"), "{text}");
    }
}
