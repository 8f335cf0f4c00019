//! Diagnostics: tracing to stderr, as text for people or one JSON object a line. stdout belongs to
//! the commands' own answers.

use std::io::{self, IsTerminal, Write};

use indicatif::MultiProgress;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::Logging;

/// What is logged when RUST_LOG says nothing: Kelly's own doings, and of the libraries what is wrong.
/// Ingest's are the coming and going of partitions, which is news only to whoever looks for it.
const DEFAULT_FILTER: &str = "warn,kelly=info,kelly_ingest=warn";

/// The same for commands whose answer says what is wrong.
const QUIET_FILTER: &str = "off";

/// How much is said when RUST_LOG says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// What an operator wants to know.
    Usual,
    /// Nothing.
    Quiet,
}

/// Starts diagnostics. `otherwise` is what RUST_LOG stands over. `progress` is cleared while a line is written, so that bars and lines do not mix.
pub fn start(logging: Logging, otherwise: Default, progress: &MultiProgress) {
    let filter = match std::env::var("RUST_LOG") {
        Ok(directives) if !directives.trim().is_empty() => EnvFilter::new(directives),
        _ => EnvFilter::new(match otherwise {
            Default::Usual => DEFAULT_FILTER,
            Default::Quiet => QUIET_FILTER,
        }),
    };
    let writer = AroundProgress { progress: progress.clone() };
    let registry = tracing_subscriber::registry().with(filter);
    match logging {
        Logging::Json => registry
            .with(tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(writer))
            .init(),
        Logging::Text => registry
            .with(
                tracing_subscriber::fmt::layer()
                    .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
                    .with_target(false)
                    .with_writer(writer),
            )
            .init(),
    }
}

/// Writes to stderr above whatever bars are drawn there.
struct AroundProgress {
    progress: MultiProgress,
}

impl<'a> MakeWriter<'a> for AroundProgress {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        LineWriter { progress: &self.progress }
    }
}

/// One event's writer; the formatter hands over a whole line at once.
struct LineWriter<'a> {
    progress: &'a MultiProgress,
}

impl Write for LineWriter<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.progress.suspend(|| io::stderr().write(line))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
