//! Diagnostics: tracing to stderr, as text for people or one JSON object a line. stdout belongs to
//! the commands' own answers. How much is said can be changed while a role runs.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::Utc;
use indicatif::MultiProgress;
use kelly_api::{ChangedLevel, LogComponent, LogLevels};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::config::Logging;
use crate::log_levels::Changes;

/// What is logged when RUST_LOG says nothing: Kelly's own doings, and of the libraries what is wrong.
/// Ingest's are the coming and going of partitions, which is news only to whoever looks for it.
const DEFAULT_FILTER: &str = "warn,kelly=info,kelly_ingest=warn";

/// The same for commands whose answer says what is wrong.
const QUIET_FILTER: &str = "off";

/// How much is said when RUST_LOG says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Otherwise {
    /// What an operator wants to know.
    Usual,
    /// Nothing.
    Quiet,
}

/// Starts diagnostics. `otherwise` is what RUST_LOG stands over. `progress` is cleared while a line is written, so that bars and lines do not mix.
pub fn start(logging: Logging, otherwise: Otherwise, progress: &MultiProgress) -> Arc<Levels> {
    let configured = match std::env::var("RUST_LOG") {
        Ok(directives) if !directives.trim().is_empty() => directives,
        _ => match otherwise {
            Otherwise::Usual => DEFAULT_FILTER,
            Otherwise::Quiet => QUIET_FILTER,
        }
        .to_owned(),
    };
    let (filter, levels) = Levels::of(configured);
    let writer = AroundProgress { progress: progress.clone() };
    let registry = tracing_subscriber::registry().with(filter);
    match logging {
        Logging::Json => registry
            .with(
                tracing_subscriber::fmt::layer()
                    .json()
                    .flatten_event(true)
                    .with_span_list(false)
                    .with_writer(writer),
            )
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
    Arc::new(levels)
}

/// How much is said, and what is changed of it for now.
pub struct Levels {
    configured: String,
    changes: Mutex<Changes>,
    filter: reload::Handle<EnvFilter, Registry>,
    is_changed: Notify,
}

impl Levels {
    fn of(configured: String) -> (reload::Layer<EnvFilter, Registry>, Self) {
        let (layer, filter) = reload::Layer::new(EnvFilter::new(&configured));
        (layer, Self { configured, changes: Mutex::default(), filter, is_changed: Notify::new() })
    }

    /// Ends each change at its time, until told to stop.
    pub async fn keep_ends(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let next = self.changes().next_end();
            let end = async {
                match next {
                    Some(end) => {
                        let left: Duration = (end - Utc::now()).to_std().unwrap_or_default();
                        tokio::time::sleep(left).await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.is_changed.notified() => {}
                () = end => {
                    let mut changes = self.changes();
                    for component in changes.end(Utc::now()) {
                        tracing::warn!(component = component.as_str(), "the configured log level is in force again");
                    }
                    self.apply(&changes);
                }
            }
        }
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, changes: &Changes) {
        // It fails only when the log is gone, and with it who could be told.
        let _ = self.filter.reload(EnvFilter::new(changes.directives(&self.configured)));
        self.is_changed.notify_one();
    }
}

impl LogLevels for Levels {
    fn configured(&self) -> String {
        self.configured.clone()
    }

    fn changed(&self) -> Vec<ChangedLevel> {
        self.changes().list()
    }

    fn change(&self, change: ChangedLevel) {
        let mut changes = self.changes();
        let (component, level) = (change.component.as_str(), change.level.as_str());
        tracing::warn!(component, level, until = %change.until, "the log level is changed");
        changes.set(change);
        self.apply(&changes);
    }

    fn reset(&self, component: LogComponent) {
        let mut changes = self.changes();
        changes.reset(component);
        self.apply(&changes);
        tracing::warn!(component = component.as_str(), "the configured log level is in force again");
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

#[cfg(test)]
mod tests {
    use std::io::Write;

    use chrono::TimeDelta;
    use kelly_api::LogLevel;

    use super::*;

    /// Keeps what is written.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(line)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn say(what: &str) {
        tracing::debug!(target: "kelly_api::edge", "api {what}");
        tracing::debug!(target: "kelly_ingest::reader", "ingest {what}");
        tracing::debug!(target: "kelly::roles", "roles {what}");
        tracing::debug!(target: "hyper", "library {what}");
    }

    #[test]
    fn a_change_reaches_its_component_and_no_other() {
        let (filter, levels) = Levels::of(DEFAULT_FILTER.to_owned());
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::registry()
            .with(filter)
            .with(tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || writer.clone()));
        let change = |component, level| {
            levels.change(ChangedLevel { component, level, until: Utc::now() + TimeDelta::minutes(1) });
        };
        tracing::subscriber::with_default(subscriber, || {
            say("before");
            change(LogComponent::Api, LogLevel::Debug);
            say("one");
            levels.reset(LogComponent::Api);
            change(LogComponent::Roles, LogLevel::Debug);
            say("two");
            change(LogComponent::All, LogLevel::Debug);
            say("three");
            levels.reset(LogComponent::All);
            say("after");
        });
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        let said = text.lines().filter(|line| line.contains("DEBUG"));
        let said: Vec<&str> = said.filter_map(|line| line.rsplit_once(": ").map(|(_, what)| what)).collect();
        assert_eq!(said, ["api one", "roles two", "api three", "ingest three", "roles three"], "{text}");
    }
}
