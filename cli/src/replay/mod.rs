//! `kelly replay`: files of metrics or events to a running Kelly or to the log, at a pace.

mod arrow;
mod first_pass;
mod pace;
mod send;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use chrono::Utc;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use kelly_schemas::Limits;
use kelly_stream::Log;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::arguments;
use crate::input::{BadRow, Found, Options, Place, Row, Source, Stream};
use crate::output::{self, grouped};
use crate::{Settings, Usage};
use arrow::ArrowFile;
use first_pass::{FirstPass, Span, blocking};
use pace::{Pace, Schedule};
use send::{Outgoing, Target};

/// Rows sent at once at most: far under the server's limits, and large enough that the way there
/// does not count.
const ROWS_A_BATCH: usize = 2_000;
/// Bytes sent at once at most, likewise.
const BYTES_A_BATCH: usize = 1 << 20;
/// A batch of a paced replay spans this much time at most, so that rows trickle and do not lurch.
const BATCH_SPAN: Duration = Duration::from_millis(50);
/// Bad rows described one by one for each kind of fault; of more only the number is shown.
const BAD_ROWS_SHOWN: u64 = 10;

/// What moves times, or goes by them, needs them.
const NEEDS_TIMES: &str = "--shift-to-now and --speed go by the rows' times";

/// How a replay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Rows that are durable (with `--check`: that would be sent).
    pub rows: u64,
    /// Rows that were left out.
    pub bad: u64,
    /// Whether it was stopped before its end.
    pub stopped: bool,
}

/// Replays what the command line says.
pub async fn run(
    arguments: &arguments::Replay,
    settings: &Settings,
    bars: MultiProgress,
    stop: CancellationToken,
) -> anyhow::Result<Summary> {
    let options = arguments.reading.options(arguments.shift_to_now || arguments.speed.is_some());
    let open = || arguments.files.iter().map(|path| Input::new(path, arguments, &options)).collect();
    let inputs: Vec<Input> = blocking(open)?;
    let pace = match (arguments.rate, arguments.speed) {
        (Some(rate), _) => Pace::Rate(rate),
        (None, Some(factor)) => Pace::Speed(factor),
        (None, None) => Pace::Fastest,
    };
    let needs_span = arguments.shift_to_now || arguments.speed.is_some();
    if let Some(once) = inputs.iter().find(|input| needs_span && input.is_read_once()) {
        return Err(Usage(format!(
            "--shift-to-now and --speed read the files twice, and {} can be read only once: put it into a file first",
            once.name()
        ))
        .into());
    }
    let bar = bar(&inputs, &bars);
    let (inputs, span) = match needs_span {
        true => {
            let first_pass = FirstPass { bar: bar.clone(), stop: stop.clone() };
            first_pass.run(inputs, |first_pass, inputs| first_pass.span(inputs)).await?
        }
        false => (inputs, Span::default()),
    };
    if needs_span && span.times.is_none() && span.rows > 0 && !stop.is_cancelled() {
        return Err(Usage(format!(
            "{NEEDS_TIMES}, and no row of {} has one that can be read",
            if inputs.len() == 1 { inputs[0].name() } else { "these files".to_owned() }
        ))
        .into());
    }
    let schedule = Schedule {
        pace: if arguments.check { Pace::Fastest } else { pace },
        shift: arguments.shift_to_now,
        first_ms: span.times.map(|(first, _)| first),
        last_ms: span.times.map(|(_, last)| last),
        began_ms: Utc::now().timestamp_millis(),
    };
    let limits = settings.limits;
    let first_pass = FirstPass { bar: bar.clone(), stop: stop.clone() };
    // A file that is refused is described before the first row of the first one is sent.
    let began_ms = schedule.began_ms;
    let (inputs, ()) =
        first_pass.run(inputs, move |first_pass, inputs| first_pass.check(inputs, began_ms, &limits)).await?;
    if stop.is_cancelled() {
        bar.finish_and_clear();
        output::line("stopped before anything was sent")?;
        return Ok(Summary { stopped: true, ..Summary::default() });
    }
    bar.set_position(0);
    bar.reset_eta();
    let target = match arguments.check {
        true => None,
        false => Some(target(arguments, settings).await?),
    };
    let mut replay = Replay {
        limits,
        schedule,
        needs_times: needs_span,
        // The pace's zero.
        began: Instant::now(),
        names: inputs.iter().map(Input::name).collect(),
        bar,
        bytes_before: 0,
        bars,
        target,
        batch: Vec::new(),
        batch_bytes: 0,
        seen: 0,
        summary: Summary::default(),
        bad_by_code: BTreeMap::new(),
        came_to: None,
        stop,
    };
    let outcome = replay.files(&inputs).await;
    replay.bar.finish_and_clear();
    if let Err(error) = outcome {
        // What was recorded stays recorded: whoever goes on must know from where.
        replay.report(arguments, Some("broken off"))?;
        return Err(error);
    }
    if let Some(Target::Log(log)) = &replay.target {
        log.close().await.context("closing the log")?;
    }
    let ended = replay.summary.stopped.then_some("stopped before the end");
    replay.report(arguments, ended)?;
    Ok(replay.summary)
}

/// A file.
enum Input {
    /// Rows of text, one after the other.
    Rows(Source),
    /// Rows in columns, sent as they are.
    Arrow(ArrowFile),
}

impl Input {
    fn new(path: &Path, arguments: &arguments::Replay, options: &Options) -> anyhow::Result<Self> {
        let source = Source::new(path, options)?;
        let is_changed = arguments.rate.is_some() || arguments.speed.is_some() || arguments.shift_to_now;
        if !is_changed && source.is_sendable_arrow()? {
            return Ok(Self::Arrow(ArrowFile::new(path)));
        }
        Ok(Self::Rows(source))
    }

    fn is_read_once(&self) -> bool {
        matches!(self, Self::Rows(source) if source.is_read_once())
    }

    fn name(&self) -> String {
        match self {
            Self::Rows(source) => source.name(),
            Self::Arrow(file) => file.name(),
        }
    }

    fn bytes(&self) -> Option<u64> {
        match self {
            Self::Rows(source) => source.bytes(),
            Self::Arrow(file) => file.bytes(),
        }
    }
}

async fn target(arguments: &arguments::Replay, settings: &Settings) -> anyhow::Result<Target> {
    if arguments.log.is_none() {
        return Ok(Target::Server(settings.client()?));
    }
    if settings.server.is_some() {
        return Err(Usage("--log and --server name two places to send to: leave one out".to_owned()).into());
    }
    let Some(kafka) = &settings.log.kafka else {
        return Err(Usage(
            "--log takes kafka://host:port; the embedded log belongs to the running Kelly: use --server"
                .to_owned(),
        )
        .into());
    };
    let brokers = &kafka.brokers;
    let log = settings.log.kafka()?;
    log.check().await.with_context(|| format!("connecting to Kafka at {brokers}"))?;
    Ok(Target::Log(Arc::new(log)))
}

fn bar(inputs: &[Input], bars: &MultiProgress) -> ProgressBar {
    let total: Option<u64> = inputs.iter().map(Input::bytes).sum();
    let (bar, template) = match total {
        Some(total) => (ProgressBar::new(total), "{bar:30} {percent:>3} % · {msg} · {eta} left"),
        None => (ProgressBar::new_spinner(), "{spinner} {msg}"),
    };
    let style = ProgressStyle::with_template(template).expect("the templates name known placeholders");
    bars.add(bar.with_style(style))
}

struct Replay {
    limits: Limits,
    schedule: Schedule,
    /// Whether a row without a time is left out.
    needs_times: bool,
    began: Instant,
    names: Vec<String>,
    bar: ProgressBar,
    /// Of the files before the one at hand.
    bytes_before: u64,
    bars: MultiProgress,
    /// `None` only checks.
    target: Option<Target>,
    /// Rows of one kind, waiting to be sent together.
    batch: Vec<Outgoing>,
    batch_bytes: usize,
    /// Rows read.
    seen: u64,
    summary: Summary,
    /// Bad rows by kind of fault: as many entries as there are kinds.
    bad_by_code: BTreeMap<Cow<'static, str>, u64>,
    /// File and place of the last row that was sent: it and all before it are recorded or refused.
    came_to: Option<(usize, Place)>,
    stop: CancellationToken,
}

impl Replay {
    async fn files(&mut self, inputs: &[Input]) -> anyhow::Result<()> {
        for (file, input) in inputs.iter().enumerate() {
            let source = match input {
                Input::Rows(source) => source,
                Input::Arrow(arrow) => {
                    // Rows go in the order of the files.
                    self.flush().await?;
                    self.arrow(file, arrow).await?;
                    if self.summary.stopped {
                        return Ok(());
                    }
                    continue;
                }
            };
            let mut rows = source.stream()?;
            while let Some(found) = self.next(&mut rows).await? {
                self.bar.set_position(self.bytes_before + source.bytes_read());
                match found {
                    Found::Bad(bad) => self.bad(file, &bad),
                    Found::Row(row) => self.row(file, &row).await?,
                }
            }
            self.bytes_before += source.bytes().unwrap_or_default();
            if self.summary.stopped {
                return Ok(());
            }
        }
        self.flush().await
    }

    async fn arrow(&mut self, file: usize, arrow: &ArrowFile) -> anyhow::Result<()> {
        let mut pieces = arrow.pieces()?;
        while let Some(piece) =
            pieces.next_piece().with_context(|| format!("reading {} a second time", arrow.name()))?
        {
            if self.stop.is_cancelled() {
                self.summary.stopped = true;
                return Ok(());
            }
            let (bytes, rows) = (piece.bytes.len() as u64, piece.rows as u64);
            if let Some(target) = self.target.as_ref().filter(|_| rows > 0) {
                let place = || format!("sending {} of {}", arrow::place(&piece), arrow.name());
                let body = Bytes::copy_from_slice(&piece.bytes);
                if !target.send_arrow(body, &self.stop).await.with_context(place)? {
                    self.summary.stopped = true;
                    return Ok(());
                }
                self.came_to = Some((file, Place::Row(piece.first_row as u64 + rows)));
            }
            self.bytes_before += bytes;
            self.bar.set_position(self.bytes_before);
            self.sent(rows);
        }
        Ok(())
    }

    /// The next row or bad row; `None` at the end, and after Ctrl-C. Before it waits for input it sends what it has.
    async fn next(&mut self, rows: &mut Stream) -> anyhow::Result<Option<Found>> {
        if let Some(found) = rows.try_next() {
            self.summary.stopped |= self.stop.is_cancelled();
            return if self.summary.stopped { Ok(None) } else { found.map(Some) };
        }
        self.flush().await?;
        tokio::select! {
            () = self.stop.cancelled() => {
                self.summary.stopped = true;
                Ok(None)
            }
            found = rows.next() => found,
        }
    }

    async fn row(&mut self, file: usize, row: &Row) -> anyhow::Result<()> {
        if self.needs_times && row.at_ms.is_none() {
            let now_ms = Utc::now().timestamp_millis();
            let without_time = || BadRow::unreadable(row.place, format!("it has no time; {NEEDS_TIMES}"));
            let bad = row.check(&row.json(None), now_ms, &self.limits).err().unwrap_or_else(without_time);
            self.bad(file, &bad);
            return Ok(());
        }
        let due = self.began + self.schedule.due(self.seen, row.at_ms);
        self.seen += 1;
        if self.schedule.pace != Pace::Fastest && due > Instant::now() + BATCH_SPAN {
            self.flush().await?;
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                () = tokio::time::sleep_until(due) => {}
            }
        }
        let json = row.json(self.schedule.time(row.at_ms));
        let key = match row.check(&json, Utc::now().timestamp_millis(), &self.limits) {
            Ok(key) => key,
            Err(bad) => {
                self.bad(file, &bad);
                return Ok(());
            }
        };
        if self.target.is_none() {
            self.sent(1);
            return Ok(());
        }
        let is_full = self.batch.len() >= ROWS_A_BATCH
            || self.batch_bytes + json.len() > BYTES_A_BATCH
            || self.batch.first().is_some_and(|first| first.kind != row.kind);
        if is_full {
            self.flush().await?;
        }
        self.batch_bytes += json.len() + 1;
        self.batch.push(Outgoing { kind: row.kind, json: json.into_owned(), key, file, place: row.place });
        Ok(())
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        let batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        let Some(target) = &self.target else { return Ok(()) };
        if batch.is_empty() {
            return Ok(());
        }
        let rows = batch.len() as u64;
        let last = batch.last().map(|row| (row.file, row.place));
        match target.send(batch, &self.stop).await? {
            Some(refused) => {
                self.came_to = last;
                self.sent(rows - refused.len() as u64);
                for row in refused {
                    self.bad(row.file, &row.bad);
                }
            }
            None => self.summary.stopped = true,
        }
        Ok(())
    }

    fn sent(&mut self, rows: u64) {
        self.summary.rows += rows;
        let seconds = self.began.elapsed().as_secs_f64().max(0.001);
        let rate = (self.summary.rows as f64 / seconds) as u64;
        self.bar.set_message(format!("{} rows · {}/s", grouped(self.summary.rows), grouped(rate)));
    }

    fn bad(&mut self, file: usize, bad: &BadRow) {
        self.summary.bad += 1;
        let count = self.bad_by_code.entry(bad.code.clone()).or_default();
        *count += 1;
        if *count <= BAD_ROWS_SHOWN {
            let name = &self.names[file];
            self.bars.suspend(|| eprintln!("{name}: {bad}"));
        }
    }

    /// The last words; `ended` when it was before the end.
    fn report(&self, arguments: &arguments::Replay, ended: Option<&str>) -> anyhow::Result<()> {
        for (code, count) in &self.bad_by_code {
            if let more @ 1.. = count.saturating_sub(BAD_ROWS_SHOWN) {
                eprintln!("… and {} more of {code}", counted(more, "row"));
            }
        }
        let Summary { rows, bad, .. } = self.summary;
        let mut message = counted(rows, "row");
        if arguments.check {
            message.push_str(if rows == 1 { " is right" } else { " are right" });
        } else {
            message.push_str(&format!(" recorded in {:.1} s", self.began.elapsed().as_secs_f64()));
        }
        if bad > 0 {
            let kinds: Vec<String> =
                self.bad_by_code.iter().map(|(code, count)| format!("{} {code}", grouped(*count))).collect();
            message.push_str(&format!(", {} left out: {}", counted(bad, "row"), kinds.join(", ")));
        }
        if let Some(ended) = ended {
            message.push_str(&format!(", {ended}"));
            if let Some((file, place)) = self.came_to {
                let place = match place {
                    Place::Line(number) => format!("line {}", grouped(number)),
                    Place::Row(number) => format!("row {}", grouped(number)),
                };
                message.push_str(&format!("; everything up to {} {place} is done", self.names[file]));
            }
        }
        output::line(message)?;
        if rows == 0 && bad > 0 && self.bad_by_code.get(TOO_OLD) == Some(&bad) && !arguments.shift_to_now {
            eprintln!(
                "All rows are older than what is kept; --shift-to-now moves them so that the last is now."
            );
        }
        Ok(())
    }
}

/// The decoder's code of a row that is older than what is kept.
const TOO_OLD: &str = "too_old";

fn counted(number: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(number), if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests;
