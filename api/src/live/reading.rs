//! What users have read, for those who look at it. The store knows: each instance asks it once a second how much its users have
//! marked, all of them in one question, and not at all while nobody looks. So a mark reaches the user's connections wherever it was made,
//! and nothing that is missed lasts longer than that second.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kelly_live::{Readers, User};
use kelly_query::{Reader, ReadingVersion};
use serde_json::value::RawValue;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use crate::answers::{self, Question};
use crate::caller::Caller;
use crate::problem::Problem;
use crate::state::HandlerState;

/// Between two looks at what was marked at other instances.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The task that looks, where one runs.
#[derive(Debug, Default)]
pub(crate) struct ReadingTask {
    runs: Mutex<bool>,
    look_now: Notify,
}

impl ReadingTask {
    /// Somebody looks, or marked something here: those whose state is another one by now get it at once.
    pub(crate) fn look(&self, shared: &HandlerState) {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.app.live.hub.read_states().readers().is_empty() {
            return;
        }
        self.look_now.notify_one();
        if !std::mem::replace(&mut *runs, true) {
            tokio::spawn(run(shared.clone()));
        }
    }
}

async fn run(shared: HandlerState) {
    let live = shared.app.live.clone();
    let mut stopping = live.stop.watch();
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = live.reading.look_now.notified() => {}
            () = stopping.begun() => return,
        }
        {
            // Under the lock, so that nobody who comes meanwhile believes that it still runs.
            let mut runs = live.reading.runs.lock().unwrap_or_else(PoisonError::into_inner);
            if live.hub.read_states().readers().is_empty() {
                *runs = false;
                return;
            }
        }
        if let Err(problem) = look(&shared).await {
            // The next look tries again, and the store's health is told elsewhere.
            tracing::debug!(code = problem.code().name(), "what users have read is looked at later");
        }
    }
}

async fn look(shared: &HandlerState) -> Result<(), Problem> {
    let states = shared.app.live.hub.read_states();
    let looking = states.readers();
    let mut readers: Vec<Reader> = looking.iter().map(|(readers, _)| reader(&readers.user)).collect();
    readers.sort_unstable();
    readers.dedup();
    let asked = shared.app.queries.reading_versions(readers.clone());
    let admitted = shared.gates.admit(Caller::Internal)?;
    let versions = shared.gates.query(admitted, 1, asked).await??;
    for (readers_of_state, position) in looking {
        let of = reader(&readers_of_state.user);
        let Ok(number) = readers.binary_search(&of) else { continue };
        let Some(version) = versions.get(number) else { continue };
        let is_known = position
            .is_some_and(|(epoch, offset)| (&*epoch, offset) == (version.epoch.as_str(), version.offset));
        if !is_known {
            publish(shared, &readers_of_state, of, version).await?;
        }
    }
    Ok(())
}

async fn publish(
    shared: &HandlerState,
    readers: &Readers,
    reader: Reader,
    version: &ReadingVersion,
) -> Result<(), Problem> {
    let question = Question::Unread(reader, version.clone(), readers.accounts.clone());
    let body = answers::body(shared, question).await?;
    let data: Box<RawValue> = serde_json::from_slice(&body)
        .map_err(|error| Problem::internal(format!("what is unread is not JSON: {error}")))?;
    shared.app.live.hub.read_states().publish(readers, (&version.epoch, version.offset), data);
    Ok(())
}

fn reader(user: &User) -> Reader {
    Reader { issuer: user.issuer.to_string(), subject: user.subject.to_string() }
}
