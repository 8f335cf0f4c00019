//! The status line of `kelly up` on a terminal: one calm line at the bottom, once a second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use kelly_ingest::IngestCounts;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::monitor::Machine;
use super::progress::Progress;

/// How often the line is written.
const EVERY: Duration = Duration::from_secs(1);

/// Keeps the line until told to stop, then takes it away.
pub async fn run(progress: Arc<Progress>, bars: MultiProgress, stop: CancellationToken) {
    let style = ProgressStyle::with_template("{msg}").expect("the template is one placeholder");
    let bar = bars.add(ProgressBar::new_spinner().with_style(style));
    let mut machine = Machine::new();
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut before = (progress.counts().rows, Instant::now());
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = ticks.tick() => {}
        }
        let counts = progress.counts();
        let elapsed = before.1.elapsed();
        let rate = counts.rows.saturating_sub(before.0) as f64 / elapsed.as_secs_f64().max(0.001);
        before = (counts.rows, Instant::now());
        bar.set_message(line(&counts, rate, progress.lag().await.ok(), machine.load()));
        bar.tick();
    }
    bar.finish_and_clear();
}

/// The line.
fn line(counts: &IngestCounts, rate: f64, lag: Option<u64>, load: Option<f64>) -> String {
    let mut told = format!(
        "{} rows/s · {} rows · lag {}",
        grouped(rate.round() as u64),
        grouped(counts.rows),
        lag.map_or_else(|| "unknown".to_owned(), grouped),
    );
    if let Some(percent) = load {
        told.push_str(&format!(" · load {percent:.0} %"));
    }
    if counts.dead_letters > 0 {
        told.push_str(&format!(" · {} dead letters", grouped(counts.dead_letters)));
    }
    if counts.last_error.is_some() {
        told.push_str(" · the store does not take rows, they wait on the log");
    }
    told
}

/// Digits in groups of three.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (number, expected) in
            [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567"), (100_000, "100,000")]
        {
            assert_eq!(grouped(number), expected);
        }
    }

    #[test]
    fn trouble_shows_only_when_there_is_some() {
        let mut counts = IngestCounts { rows: 1_234, ..IngestCounts::default() };
        assert_eq!(line(&counts, 99.6, Some(0), Some(12.3)), "100 rows/s · 1,234 rows · lag 0 · load 12 %");
        counts.dead_letters = 2;
        counts.last_error = Some("x".into());
        let told = line(&counts, 0.0, None, None);
        assert!(told.contains("lag unknown") && told.contains("2 dead letters"), "{told}");
        assert!(told.contains("they wait on the log"), "{told}");
    }
}
