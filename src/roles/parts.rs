//! A role as a list of parts: started in order, stopped in the reverse order, each with its own way to stop.
//!
//! [`run`] starts the parts that a role adds to its [`Parts`], waits until it is told to stop or a part ends by
//! itself, and stops every part that was started, whatever the others say. A start that fails, or that is
//! interrupted, is undone the same way.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::anyhow;
use futures_util::future::select_all;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How long a part may take to stop.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// After so long it is named, with what it waits for.
    named_after: Duration,
    /// After so long it is given up, and that is an error: a role ends, whatever a part waits for. What was acknowledged is on
    /// the log, as after a kill.
    given_up_after: Duration,
}

/// Four times what ingest may take to drain, which is the longest that a part waits by itself.
const PATIENCE: Patience =
    Patience { named_after: Duration::from_secs(2), given_up_after: Duration::from_secs(120) };

/// Something of a role that runs: a connection, a child process, a server, a task.
pub struct Part {
    name: &'static str,
    ended: Option<Task<()>>,
    stop: Box<dyn FnOnce() -> Task<anyhow::Result<()>> + Send>,
    waits_for: &'static str,
}

impl Part {
    /// A part that runs until it is stopped. `waits_for` says what its stop waits for.
    pub fn new<S>(
        name: &'static str,
        waits_for: &'static str,
        stop: impl FnOnce() -> S + Send + 'static,
    ) -> Self
    where
        S: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        Self { name, ended: None, stop: Box::new(move || Box::pin(stop())), waits_for }
    }

    /// The same, which may also end by itself: then `ended` resolves, the whole role stops, and the
    /// part's stop says why.
    pub fn ends_when(mut self, ended: impl Future<Output = ()> + Send + 'static) -> Self {
        self.ended = Some(Box::pin(ended));
        self
    }

    /// A task that runs until its token is cancelled. When it ends before, the role goes on; a defect of it is logged at once,
    /// and is an error when the role stops.
    pub fn task<F>(name: &'static str, task: impl FnOnce(CancellationToken) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let token = CancellationToken::new();
        let task = tokio::spawn(task(token.clone()));
        let watched = tokio::spawn(async move {
            let ended = task.await;
            if ended.is_err() {
                tracing::error!(
                    part = name,
                    "it ended with a defect; Kelly goes on without it until it is restarted"
                );
            }
            ended
        });
        Self::new(name, "its last step", move || async move {
            token.cancel();
            watched
                .await
                .flatten()
                .map_err(|error| anyhow::Error::new(error).context(format!("{name} ended with a defect")))
        })
    }
}

/// The parts of a role that run, in the order in which they were started.
#[derive(Default)]
pub struct Parts {
    places: AtomicUsize,
    running: Mutex<Vec<(usize, Part)>>,
}

impl Parts {
    /// Starts a part, or none where this process does without it. Its place in the order is that of the calls, also
    /// where several start at once or one starts later.
    pub fn start<'a, T, P: Into<Option<Part>>>(
        &'a self,
        starting: impl Future<Output = anyhow::Result<(T, P)>> + 'a,
    ) -> impl Future<Output = anyhow::Result<T>> + 'a {
        let place = self.places.fetch_add(1, Ordering::Relaxed);
        async move {
            let (started, part) = starting.await?;
            self.put(place, part.into());
            Ok(started)
        }
    }

    /// Adds a part that runs, if there is one.
    pub fn add(&self, part: impl Into<Option<Part>>) {
        self.put(self.places.fetch_add(1, Ordering::Relaxed), part.into());
    }

    fn put(&self, place: usize, part: Option<Part>) {
        let Some(part) = part else { return };
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let at = running.partition_point(|(other, _)| *other < place);
        running.insert(at, (place, part));
    }

    fn into_order(self) -> Vec<Part> {
        let running = self.running.into_inner().unwrap_or_else(PoisonError::into_inner);
        running.into_iter().map(|(_, part)| part).collect()
    }
}

/// Starts a role, keeps it until it is told to stop or a part ends by itself, and stops its parts in reverse.
/// The first thing that went wrong is the error; what goes wrong after it is logged.
pub async fn run(
    stop: &CancellationToken,
    start: impl AsyncFnOnce(&Parts) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let parts = Parts::default();
    let started = tokio::select! {
        biased;
        started = start(&parts) => started,
        () = stop.cancelled() => Ok(()),
    };
    let mut parts = parts.into_order();
    if started.is_ok() {
        tokio::select! {
            () = stop.cancelled() => {}
            name = one_ended(&mut parts) => tracing::error!("{name} ended by itself; stopping"),
        }
    }
    let stopped = stop_all(parts, PATIENCE).await;
    started.and(stopped)
}

/// Returns the name of the first part that ended by itself.
async fn one_ended(parts: &mut [Part]) -> &'static str {
    let ends: Vec<_> = parts
        .iter_mut()
        .filter_map(|part| Some((part.name, part.ended.as_mut()?)))
        .map(|(name, ended)| {
            Box::pin(async move {
                ended.await;
                name
            })
        })
        .collect();
    match ends.is_empty() {
        true => std::future::pending().await,
        false => select_all(ends).await.0,
    }
}

/// Stops every part, the last one first.
async fn stop_all(parts: Vec<Part>, patience: Patience) -> anyhow::Result<()> {
    let mut outcome = Ok(());
    for Part { name, stop, waits_for, .. } in parts.into_iter().rev() {
        tracing::debug!(part = name, "stopping");
        let stopped = stop_within(patience, (name, waits_for), stop()).await;
        match stopped {
            Ok(()) => tracing::debug!(part = name, "stopped"),
            Err(error) if outcome.is_ok() => outcome = Err(error),
            Err(error) => {
                tracing::error!(part = name, error = format!("{error:#}"), "a part did not stop well");
            }
        }
    }
    outcome
}

async fn stop_within(
    patience: Patience,
    (name, waits_for): (&str, &str),
    mut stopping: Task<anyhow::Result<()>>,
) -> anyhow::Result<()> {
    if let Ok(stopped) = timeout(patience.named_after, &mut stopping).await {
        return stopped;
    }
    tracing::warn!(part = name, waits_for, "still stopping; Ctrl-C ends at once");
    let rest = patience.given_up_after.saturating_sub(patience.named_after);
    timeout(rest, stopping).await.unwrap_or_else(|_| {
        Err(anyhow!(
            "{name} did not stop within {} s and was given up; it waited for {waits_for}",
            patience.given_up_after.as_secs()
        ))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::oneshot;

    use super::*;

    /// What happened, in order.
    #[derive(Clone, Default)]
    struct Book(Arc<Mutex<Vec<String>>>);

    impl Book {
        fn note(&self, what: impl Into<String>) {
            self.0.lock().unwrap().push(what.into());
        }

        fn notes(&self) -> Vec<String> {
            self.0.lock().unwrap().clone()
        }

        /// A part that writes down its stop, which may fail.
        fn part(&self, name: &'static str, fails: bool) -> Part {
            let book = self.clone();
            Part::new(name, "nothing", move || async move {
                book.note(format!("stop {name}"));
                if fails { Err(anyhow!("{name} failed")) } else { Ok(()) }
            })
        }

        async fn started(&self, name: &'static str) -> anyhow::Result<((), Part)> {
            self.note(format!("start {name}"));
            Ok(((), self.part(name, false)))
        }
    }

    #[tokio::test]
    async fn parts_are_stopped_in_the_reverse_order() {
        let (book, stop) = (Book::default(), CancellationToken::new());
        let outcome = run(&stop, async |parts| {
            for name in ["engine", "log", "ingest"] {
                parts.start(book.started(name)).await?;
            }
            stop.cancel();
            Ok(())
        });
        outcome.await.unwrap();
        let expected =
            ["start engine", "start log", "start ingest", "stop ingest", "stop log", "stop engine"];
        assert_eq!(book.notes(), expected);
    }

    #[tokio::test]
    async fn a_start_that_fails_undoes_what_was_started() {
        let (book, stop) = (Book::default(), CancellationToken::new());
        let outcome = run(&stop, async |parts| {
            parts.start(book.started("engine")).await?;
            parts.start(book.started("log")).await?;
            parts.start(async { Err::<((), Part), _>(anyhow!("the port is taken")) }).await?;
            unreachable!("the role has failed")
        });
        assert_eq!(outcome.await.unwrap_err().to_string(), "the port is taken");
        assert_eq!(book.notes(), ["start engine", "start log", "stop log", "stop engine"]);
    }

    #[tokio::test]
    async fn parts_that_start_at_once_stand_in_the_order_of_the_list_and_are_undone() {
        let (book, stop) = (Book::default(), CancellationToken::new());
        let (engine_is_up, wait_for_engine) = oneshot::channel::<()>();
        let outcome = run(&stop, async |parts| {
            // The second in the list is up first.
            let engine = parts.start(async {
                wait_for_engine.await?;
                book.started("engine").await
            });
            let log = parts.start(async {
                let started = book.started("log").await;
                engine_is_up.send(()).map_err(|()| anyhow!("nobody waits"))?;
                started
            });
            tokio::try_join!(engine, log)?;
            Err(anyhow!("no topics"))
        });
        assert_eq!(outcome.await.unwrap_err().to_string(), "no topics");
        assert_eq!(book.notes(), ["start log", "start engine", "stop log", "stop engine"]);
    }

    #[tokio::test]
    async fn an_interrupted_start_is_undone_and_is_no_error() {
        let (book, stop) = (Book::default(), CancellationToken::new());
        let outcome = run(&stop, async |parts| {
            parts.start(book.started("engine")).await?;
            stop.cancel();
            std::future::pending().await
        });
        outcome.await.unwrap();
        assert_eq!(book.notes(), ["start engine", "stop engine"]);
    }

    #[tokio::test]
    async fn a_part_that_ends_by_itself_stops_the_rest_and_says_why() {
        let (book, stop) = (Book::default(), CancellationToken::new());
        let (end, ended) = oneshot::channel::<()>();
        let outcome = run(&stop, async |parts| {
            parts.start(book.started("log")).await?;
            parts.add(book.part("ingest", true).ends_when(async move { drop(ended.await) }));
            parts.start(book.started("http")).await?;
            drop(end);
            Ok(())
        });
        assert_eq!(outcome.await.unwrap_err().to_string(), "ingest failed");
        assert_eq!(book.notes(), ["start log", "start http", "stop http", "stop ingest", "stop log"]);
        assert!(!stop.is_cancelled());
    }

    #[tokio::test]
    async fn every_stop_is_run_though_some_fail_and_the_first_failure_is_the_error() {
        let (book, stop) = (Book::default(), CancellationToken::new());
        let outcome = run(&stop, async |parts| {
            for (name, fails) in [("engine", false), ("log", true), ("ingest", true), ("http", false)] {
                parts.add(book.part(name, fails));
            }
            stop.cancel();
            Ok(())
        });
        assert_eq!(outcome.await.unwrap_err().to_string(), "ingest failed");
        assert_eq!(book.notes(), ["stop http", "stop ingest", "stop log", "stop engine"]);
    }

    #[tokio::test]
    async fn a_part_that_does_not_stop_is_given_up_and_the_others_are_stopped() {
        let book = Book::default();
        let stuck = Part::new("ingest", "a store that stands still", std::future::pending);
        let parts = vec![book.part("log", false), stuck, book.part("http", false)];
        let patience = Patience { named_after: Duration::ZERO, given_up_after: Duration::from_millis(1) };
        let error = stop_all(parts, patience).await.unwrap_err().to_string();
        assert!(
            error.starts_with("ingest did not stop within") && error.ends_with("a store that stands still"),
            "{error}"
        );
        assert_eq!(book.notes(), ["stop http", "stop log"]);
    }

    #[tokio::test]
    async fn a_task_ends_when_it_is_asked_to_and_a_panic_of_it_is_an_error() {
        let (book, stop) = (Book::default(), CancellationToken::new());
        let noted = book.clone();
        let outcome = run(&stop, async |parts| {
            parts.add(Part::task("monitor", |stop| async move {
                stop.cancelled().await;
                noted.note("the task ended");
            }));
            stop.cancel();
            Ok(())
        });
        outcome.await.unwrap();
        assert_eq!(book.notes(), ["the task ended"]);

        let stop = CancellationToken::new();
        let outcome = run(&stop, async |parts| {
            parts.add(Part::task("monitor", |_| async { panic!("a defect") }));
            stop.cancel();
            Ok(())
        });
        assert!(outcome.await.unwrap_err().to_string().contains("monitor ended with a defect"));
    }
}
