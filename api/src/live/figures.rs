//! The figures of the dashboard: computed once for each set of accounts that somebody looks at, and not at all while nobody
//! does.

use std::sync::{Mutex, PoisonError};

use kelly_auth::Accounts;
use serde_json::{Map, Value};
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use crate::answers::{self, Question};
use crate::problem::Problem;
use crate::state::HandlerState;

/// The task that computes them, where one runs.
#[derive(Debug, Default)]
pub(crate) struct FiguresTask {
    runs: Mutex<bool>,
    somebody_came: Notify,
}

impl FiguresTask {
    /// Somebody looks: those who have no figures yet get some at once.
    pub(crate) fn look(&self, shared: &HandlerState) {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        self.somebody_came.notify_one();
        if !std::mem::replace(&mut *runs, true) {
            tokio::spawn(run(shared.clone()));
        }
    }
}

async fn run(shared: HandlerState) {
    let live = shared.app.live.clone();
    let mut stopping = live.stop.watch();
    let mut ticks = tokio::time::interval(live.settings.figures_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_tick = tokio::select! {
            _ = ticks.tick() => true,
            () = live.figures.somebody_came.notified() => false,
            () = stopping.begun() => return,
        };
        {
            // Under the lock, so that nobody who comes meanwhile believes that it still runs.
            let mut runs = live.figures.runs.lock().unwrap_or_else(PoisonError::into_inner);
            if live.hub.audiences().is_empty() && is_tick {
                *runs = false;
                return;
            }
        }
        for (accounts, has_figures) in live.hub.audiences() {
            if is_tick || !has_figures {
                publish(&shared, &accounts).await;
            }
        }
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
