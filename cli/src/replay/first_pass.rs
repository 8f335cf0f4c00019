//! What is looked at before anything is sent: the span of times, and Arrow files that are sent as they are. It may take long,
//! so it shows how far it is and ends by the first Ctrl-C.

use std::time::Duration;

use anyhow::Context;
use indicatif::ProgressBar;
use kelly_schemas::Limits;
use tokio_util::sync::CancellationToken;

use super::Input;
use crate::input::{Found, Source};

/// Rows between two looks at whether to go on.
const ROWS_BETWEEN_LOOKS: u64 = 4_096;

/// How often the bar is drawn while nothing moves.
const TICK: Duration = Duration::from_millis(100);

/// What the rows of all files say of their times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// The earliest and the latest, if any row has one.
    pub times: Option<(i64, i64)>,
    /// How many rows there are, with and without one.
    pub rows: u64,
}

impl Span {
    fn add(&mut self, at_ms: Option<i64>) {
        self.rows += 1;
        if let Some(at) = at_ms {
            self.times = Some(self.times.map_or((at, at), |(first, last)| (first.min(at), last.max(at))));
        }
    }
}

/// Shows how far it is, and knows when to stop.
#[derive(Clone)]
pub struct FirstPass {
    /// Where it is shown.
    pub bar: ProgressBar,
    /// Ctrl-C.
    pub stop: CancellationToken,
}

/// Work that does not wait, on a thread that may be blocked.
pub fn blocking<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    tokio::task::block_in_place(work)
}

impl FirstPass {
    /// Does it on a thread of its own and gives the files back.
    pub async fn run<T: Send + 'static>(
        self,
        inputs: Vec<Input>,
        work: impl FnOnce(&Self, &[Input]) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<(Vec<Input>, T)> {
        self.bar.enable_steady_tick(TICK);
        let bar = self.bar.clone();
        let done = tokio::task::spawn_blocking(move || work(&self, &inputs).map(|found| (inputs, found)))
            .await
            .context("looking at the files")?;
        bar.disable_steady_tick();
        if done.is_err() {
            bar.finish_and_clear();
        }
        done
    }

    /// The times of all rows; of those that were read when it was stopped.
    pub fn span(&self, inputs: &[Input]) -> anyhow::Result<Span> {
        self.bar.set_message("looking for the first and the last time");
        let mut span = Span::default();
        let mut bytes_before = 0;
        for input in inputs {
            let Input::Rows(source) = input else { continue };
            self.rows(source, bytes_before, |found| {
                if let Found::Row(row) = found {
                    span.add(row.at_ms);
                }
            })?;
            bytes_before += source.bytes().unwrap_or_default();
        }
        Ok(span)
    }

    fn rows(&self, source: &Source, bytes_before: u64, mut see: impl FnMut(&Found)) -> anyhow::Result<()> {
        let mut rows = source.open()?;
        let mut seen = 0_u64;
        while let Some(found) = rows.next()? {
            see(&found);
            seen += 1;
            if seen.is_multiple_of(ROWS_BETWEEN_LOOKS) {
                if self.stop.is_cancelled() {
                    return Ok(());
                }
                self.bar.set_position(bytes_before + source.bytes_read());
            }
        }
        Ok(())
    }

    /// Checks the files that are sent as they are.
    pub fn check(&self, inputs: &[Input], now_ms: i64, limits: &Limits) -> anyhow::Result<()> {
        let mut bytes_before = 0;
        for input in inputs {
            if let Input::Arrow(file) = input {
                self.bar.set_message(format!("checking {}", file.name()));
                file.check(now_ms, limits, &mut |bytes| {
                    self.bar.set_position(bytes_before + bytes);
                    !self.stop.is_cancelled()
                })?;
            }
            bytes_before += input.bytes().unwrap_or_default();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::Options;
    use crate::replay::arrow::ArrowFile;
    use kelly_schemas::encode::{ArrowEncoder, NewMetric};

    /// A stream of several pieces, and a text of many rows.
    fn inputs(directory: &std::path::Path) -> Vec<Input> {
        let mut stream = Vec::new();
        for batch in 0..4 {
            let mut encoder = ArrowEncoder::default();
            (0..8_000).for_each(|_| {
                encoder.push(&NewMetric { metric_name: "m", value: 1.0, ..NewMetric::default() });
            });
            let message = encoder.finish().unwrap();
            // One schema, then the batches.
            let schema = if batch == 0 { 0 } else { schema_bytes(&message) };
            stream.extend_from_slice(&message[schema..message.len() - END]);
        }
        let arrow = directory.join("a.arrow");
        std::fs::write(&arrow, stream).unwrap();
        let text = directory.join("a.csv");
        let rows: String = (0..20_000).map(|row| format!("{},1\n", 1_796_004_000_000_i64 + row)).collect();
        std::fs::write(&text, format!("timestamp,value\n{rows}")).unwrap();
        vec![
            Input::Arrow(ArrowFile::new(&arrow)),
            Input::Rows(Source::new(&text, &Options::default()).unwrap()),
        ]
    }

    const END: usize = 8;

    /// The length of the frame that a stream begins with.
    fn schema_bytes(stream: &[u8]) -> usize {
        let length = u32::from_le_bytes(*stream[4..].first_chunk().unwrap());
        8 + length as usize
    }

    #[test]
    fn it_shows_how_far_it_is_and_ends_when_it_is_stopped() {
        let directory = tempfile::tempdir().unwrap();
        let inputs = inputs(directory.path());
        let limits = Limits::default();
        let first_pass = FirstPass { bar: ProgressBar::hidden(), stop: CancellationToken::new() };
        first_pass.check(&inputs, 1_796_004_000_000, &limits).unwrap();
        let whole = first_pass.bar.position();
        assert!(whole >= inputs[0].bytes().unwrap(), "{whole}");
        let span = Span { times: Some((1_796_004_000_000, 1_796_004_019_999)), rows: 20_000 };
        assert_eq!(first_pass.span(&inputs).unwrap(), span);
        first_pass.stop.cancel();
        first_pass.bar.set_position(0);
        first_pass.check(&inputs, 1_796_004_000_000, &limits).unwrap();
        let stopped = first_pass.bar.position();
        assert!(stopped > 0 && stopped <= whole / 2, "one piece of several: {stopped} of {whole}");
        let (first, last) = first_pass.span(&inputs).unwrap().times.unwrap();
        assert!(last - first < 19_999, "it went on to {last}");
    }
}
