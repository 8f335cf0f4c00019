//! The figures of the dashboard: computed once for each set of accounts that somebody looks at, and not at all while nobody
//! does.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kelly_auth::Accounts;
use serde_json::{Map, Value};
use tokio::sync::Notify;
use tokio::task::{Id, JoinSet};
use tokio::time::MissedTickBehavior;

use super::Live;
use crate::answers::{self, Question};
use crate::problem::Problem;
use crate::state::HandlerState;

/// Audiences whose figures are computed at once. At it: the others wait for their turn, each of which the bound on questions
/// ends.
const AT_ONCE: usize = 4;

/// The task that computes them, where one runs.
#[derive(Debug, Default)]
pub(crate) struct FiguresTask {
    runs: Mutex<bool>,
    somebody_came: Notify,
}

impl FiguresTask {
    /// Somebody looks: those who have no figures yet get some at once.
    pub(crate) fn look(&self, shared: &HandlerState) {
        let mut runs = self.lock();
        self.somebody_came.notify_one();
        if !std::mem::replace(&mut *runs, true) {
            tokio::spawn(run(shared.clone()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says that the task runs no more, also where it ends by a panic.
struct Running {
    live: Arc<Live>,
    is_told: bool,
}

impl Running {
    /// Whether the task ends because nobody looks.
    fn ends(&mut self) -> bool {
        // Under the lock, so that nobody who comes meanwhile believes that it still runs.
        let mut runs = self.live.figures.lock();
        if self.live.hub.audiences().is_empty() {
            *runs = false;
            self.is_told = true;
        }
        self.is_told
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.is_told {
            *self.live.figures.lock() = false;
        }
    }
}

async fn run(shared: HandlerState) {
    let live = shared.app.live.clone();
    let mut running = Running { live: live.clone(), is_told: false };
    let mut stopping = live.stop.watch();
    let mut ticks = tokio::time::interval(live.settings.figures_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut asking = Asking { shared, tasks: JoinSet::new(), asked: HashMap::new(), due: VecDeque::new() };
    loop {
        let is_tick = tokio::select! {
            _ = ticks.tick() => true,
            () = live.figures.somebody_came.notified() => false,
            () = asking.one_is_done() => {
                asking.go_on();
                continue;
            }
            () = stopping.begun() => return,
        };
        if is_tick && running.ends() {
            return;
        }
        let audiences = live.hub.audiences().into_iter();
        asking
            .want(audiences.filter(|(_, has_figures)| is_tick || !has_figures).map(|(accounts, _)| accounts));
        asking.go_on();
    }
}

/// The audiences whose figures are computed, and those who wait for that.
struct Asking {
    shared: HandlerState,
    tasks: JoinSet<()>,
    /// By their tasks. One whose answer takes long is not asked for again meanwhile, and keeps no other waiting.
    asked: HashMap<Id, Accounts>,
    due: VecDeque<Accounts>,
}

impl Asking {
    fn want(&mut self, audiences: impl Iterator<Item = Accounts>) {
        let known: HashSet<Accounts> = self.asked.values().chain(&self.due).cloned().collect();
        self.due.extend(audiences.filter(|accounts| !known.contains(accounts)));
    }

    fn go_on(&mut self) {
        while self.tasks.len() < AT_ONCE
            && let Some(accounts) = self.due.pop_front()
        {
            let (shared, audience) = (self.shared.clone(), accounts.clone());
            let task = self.tasks.spawn(async move { publish(&shared, &audience).await });
            self.asked.insert(task.id(), accounts);
        }
    }

    /// Waits until one is done; for ever where none is asked.
    async fn one_is_done(&mut self) {
        let id = match self.tasks.join_next_with_id().await {
            None => std::future::pending().await,
            Some(Ok((id, ()))) => id,
            Some(Err(error)) => {
                tracing::error!(%error, "computing the live figures ended with a defect");
                error.id()
            }
        };
        self.asked.remove(&id);
    }
}

async fn publish(shared: &HandlerState, accounts: &Accounts) {
    match figures_of(shared, accounts).await {
        Ok(figures) => shared.app.live.hub.publish_figures(accounts, figures),
        // The next tick tries again, and the store's health is told elsewhere.
        Err(problem) => tracing::debug!(code = problem.code().name(), "the live figures are left out"),
    }
}

/// The figures of these accounts now; equal questions share an answer.
pub(super) async fn figures_of(
    shared: &HandlerState,
    accounts: &Accounts,
) -> Result<Map<String, Value>, Problem> {
    let body = answers::body(shared, Question::Overview(accounts.clone())).await?;
    serde_json::from_slice(&body)
        .map_err(|error| Problem::internal(format!("the overview is not what it was written as: {error}")))
}

#[cfg(test)]
mod tests {
    use kelly_live::{Bounds, Hub};

    use super::*;
    use crate::live::LiveSettings;

    #[tokio::test]
    async fn a_task_that_panicked_runs_no_more() {
        let hub = Arc::new(Hub::new(Bounds::default(), "process"));
        let live = Arc::new(Live::new(hub, LiveSettings::default()));
        *live.figures.lock() = true;
        let running = Running { live: live.clone(), is_told: false };
        let task = tokio::spawn(async move {
            let _running = running;
            panic!("a defect");
        });
        assert!(task.await.unwrap_err().is_panic());
        assert!(!*live.figures.lock(), "the next one who looks starts it again");
    }
}
