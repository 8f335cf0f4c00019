//! The figures of the dashboard: computed once for each set of accounts that somebody looks at, and not at all while nobody
//! does.

use std::collections::{HashMap, HashSet, VecDeque};

use kelly_auth::Accounts;
use serde_json::{Map, Value};
use tokio::sync::Notify;
use tokio::task::{Id, JoinSet};
use tokio::time::MissedTickBehavior;

use super::task::{Running, Runs};
use crate::answers::{self, Question};
use crate::problem::Problem;
use crate::state::HandlerState;

/// Audiences whose figures are computed at once. At it: the others wait for their turn, each of which the bound on questions
/// ends.
const AT_ONCE: usize = 4;

/// The task that computes them, where one runs.
#[derive(Debug, Default)]
pub(crate) struct FiguresTask {
    runs: Runs,
    somebody_came: Notify,
}

impl FiguresTask {
    /// Somebody looks: those who have no figures yet get some at once.
    pub(crate) fn look(&self, shared: &HandlerState) {
        self.somebody_came.notify_one();
        if self.runs.begin() {
            tokio::spawn(run(shared.clone()));
        }
    }

    pub(super) fn runs(&self) -> &Runs {
        &self.runs
    }
}

async fn run(shared: HandlerState) {
    let live = shared.app.live.clone();
    let mut running = Running::new(&live, |live| live.figures.runs());
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
        if is_tick && running.ends(|live| live.hub.audiences().is_empty()) {
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
