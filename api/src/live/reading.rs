//! What users have read, for those who look at it. The store knows: each instance asks it once a second how much its users have
//! marked, all of them in one question, and not at all while nobody looks. So a mark reaches the user's connections wherever it was made,
//! and nothing that is missed lasts longer than that second. Each user is counted for by itself: one whose marks take long, or cannot be
//! read, keeps nobody else waiting.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kelly_live::{Readers, StatePosition, User};
use kelly_query::{Reader, ReadingVersion};
use serde_json::value::RawValue;
use tokio::sync::Notify;
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};

use super::task::{Running, Runs};
use crate::answers::{self, Question};
use crate::caller::Caller;
use crate::problem::Problem;
use crate::state::HandlerState;

/// Between two looks at what was marked at other instances.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// States that are counted at once. At it: the others wait for their turn, each of which the bound on questions ends.
const AT_ONCE: usize = 4;

/// After so long a state is counted once more: over several replicas of a store, what has been marked may have been seen at one that was
/// ahead of the one where the events were counted. Longer than an answer is kept.
const CONFIRM_AFTER: Duration = Duration::from_secs(2);

/// The task that looks, where one runs.
#[derive(Debug, Default)]
pub(crate) struct ReadingTask {
    runs: Runs,
    /// Who came, or marked something here, since the task last looked. Only users who look, so they are as many as connections at most.
    wanted: Mutex<HashSet<User>>,
    somebody_wants: Notify,
}

impl ReadingTask {
    /// This user looks, or marked something here: where their state is another one by now, they get it at once.
    pub(crate) fn look(&self, shared: &HandlerState, user: &User) {
        if shared.app.live.hub.read_states().of_user(user).is_empty() {
            return;
        }
        self.wanted().insert(user.clone());
        self.somebody_wants.notify_one();
        if self.runs.begin() {
            tokio::spawn(run(shared.clone()));
        }
    }

    pub(super) fn runs(&self) -> &Runs {
        &self.runs
    }

    fn wanted(&self) -> MutexGuard<'_, HashSet<User>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn run(shared: HandlerState) {
    let live = shared.app.live.clone();
    let mut running = Running::new(&live, |live| live.reading.runs());
    let mut stopping = live.stop.watch();
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut counting = Counting::new(shared);
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                if running.ends(|live| live.hub.read_states().is_empty()) {
                    return;
                }
                counting.look();
                counting.confirm();
            }
            () = live.reading.somebody_wants.notified() => {
                let wanted = std::mem::take(&mut *live.reading.wanted());
                for user in wanted {
                    counting.want(live.hub.read_states().of_user(&user));
                }
            }
            () = counting.something_is_done() => {}
            () = stopping.begun() => return,
        }
        counting.go_on();
    }
}

/// Whose states are counted, and whose wait for that.
struct Counting {
    shared: HandlerState,
    /// The look at all users: one at most, which gives those whose state is another one.
    looks: JoinSet<Vec<Readers>>,
    /// Each gives whether a state was published that is to be confirmed.
    tasks: JoinSet<bool>,
    /// By their tasks.
    counted: HashMap<Id, Readers>,
    due: VecDeque<Readers>,
    /// The same, and whether it is counted though nothing was marked since the last time.
    confirms: HashMap<Readers, bool>,
    /// Wanted anew while they are counted: perhaps too late for what was marked since.
    again: HashSet<Readers>,
    /// States that are counted once more, and when they were published.
    unconfirmed: HashMap<Readers, Instant>,
}

impl Counting {
    fn new(shared: HandlerState) -> Self {
        Self {
            shared,
            looks: JoinSet::new(),
            tasks: JoinSet::new(),
            counted: HashMap::new(),
            due: VecDeque::new(),
            confirms: HashMap::new(),
            again: HashSet::new(),
            unconfirmed: HashMap::new(),
        }
    }

    /// Begins a look at all users, where none is under way.
    fn look(&mut self) {
        if self.looks.is_empty() {
            let shared = self.shared.clone();
            self.looks.spawn(async move {
                // The next look tries again, and the store's health is told elsewhere.
                news(&shared).await.unwrap_or_else(|problem| {
                    tracing::debug!(code = problem.code().name(), "what users have read is looked at later");
                    Vec::new()
                })
            });
        }
    }

    fn want(&mut self, all: Vec<Readers>) {
        for readers in all {
            if self.is_counted(&readers) {
                self.again.insert(readers);
            } else {
                self.add(readers, false);
            }
        }
    }

    /// Those that were published a while ago are counted once more.
    fn confirm(&mut self) {
        let mut ready = Vec::new();
        self.unconfirmed.retain(|readers, published| {
            let is_ready = published.elapsed() >= CONFIRM_AFTER
                && self.counted.values().all(|counted| counted != readers);
            if is_ready {
                ready.push(readers.clone());
            }
            !is_ready
        });
        for readers in ready {
            self.add(readers, true);
        }
    }

    fn is_counted(&self, readers: &Readers) -> bool {
        self.counted.values().any(|counted| counted == readers)
    }

    fn add(&mut self, readers: Readers, confirms: bool) {
        match self.confirms.entry(readers) {
            Entry::Occupied(mut known) => *known.get_mut() |= confirms,
            Entry::Vacant(place) => {
                self.due.push_back(place.key().clone());
                place.insert(confirms);
            }
        }
    }

    fn go_on(&mut self) {
        while self.tasks.len() < AT_ONCE
            && let Some(readers) = self.due.pop_front()
        {
            let confirms = self.confirms.remove(&readers).unwrap_or_default();
            let (shared, of) = (self.shared.clone(), readers.clone());
            let task = self.tasks.spawn(async move {
                count(&shared, &of, confirms).await.unwrap_or_else(|problem| {
                    // The next look wants it again, where something was marked since. To a look nothing is new of one that was to be
                    // confirmed: it stays to be.
                    tracing::debug!(code = problem.code().name(), "what a user has read is counted later");
                    confirms
                })
            });
            self.counted.insert(task.id(), readers);
        }
    }

    /// Waits until a task has ended; for ever where there is none.
    async fn something_is_done(&mut self) {
        tokio::select! {
            Some(looked) = self.looks.join_next() => match looked {
                Ok(news) => {
                    // Those that are counted now are looked at again by the next look.
                    let news = news.into_iter().filter(|readers| !self.is_counted(readers)).collect();
                    self.want(news);
                }
                Err(error) => tracing::error!(%error, "looking what users have read ended with a defect"),
            },
            Some(counted) = self.tasks.join_next_with_id() => {
                let (id, to_confirm) = counted.unwrap_or_else(|error| {
                    tracing::error!(%error, "counting what a user has read ended with a defect");
                    (error.id(), false)
                });
                let Some(readers) = self.counted.remove(&id) else { return };
                if self.again.remove(&readers) {
                    self.add(readers.clone(), false);
                }
                if to_confirm {
                    self.unconfirmed.insert(readers, Instant::now());
                }
            }
            else => std::future::pending().await,
        }
    }
}

/// Those whose state is another one than they were given.
async fn news(shared: &HandlerState) -> Result<Vec<Readers>, Problem> {
    let looking = shared.app.live.hub.read_states().readers();
    let mut readers: Vec<Reader> = looking.iter().map(|(readers, _)| reader(&readers.user)).collect();
    readers.sort_unstable();
    readers.dedup();
    let versions = versions(shared, readers.clone()).await?;
    let is_news = |(readers_of_state, position): (Readers, Option<StatePosition>)| {
        let number = readers.binary_search(&reader(&readers_of_state.user)).ok()?;
        (!is_at(position.as_ref(), versions.get(number)?)).then_some(readers_of_state)
    };
    Ok(looking.into_iter().filter_map(is_news).collect())
}

/// Counts for these readers, where they have marked something since they were given a state or that one is confirmed, and publishes it;
/// whether it is to be confirmed.
async fn count(shared: &HandlerState, readers: &Readers, confirms: bool) -> Result<bool, Problem> {
    let states = shared.app.live.hub.read_states();
    if !states.has(readers) {
        // Nobody looks any more.
        return Ok(false);
    }
    let reader = reader(&readers.user);
    let Some(version) = versions(shared, vec![reader.clone()]).await?.pop() else { return Ok(false) };
    let is_known = is_at(states.position(readers).as_ref(), &version);
    if is_known && !confirms {
        return Ok(false);
    }
    let question = Question::Unread(reader, version.clone(), readers.accounts.clone());
    let body = answers::body(shared, question).await?;
    let data: Box<RawValue> = serde_json::from_slice(&body)
        .map_err(|error| Problem::internal(format!("what is unread is not JSON: {error}")))?;
    states.publish(readers, (&version.epoch, version.offset), data);
    Ok(!is_known)
}

async fn versions(shared: &HandlerState, readers: Vec<Reader>) -> Result<Vec<ReadingVersion>, Problem> {
    let admitted = shared.gates.admit(Caller::Internal)?;
    Ok(shared.gates.query(admitted, 1, shared.app.queries.reading_versions(readers)).await??)
}

fn is_at(position: Option<&StatePosition>, version: &ReadingVersion) -> bool {
    position.is_some_and(|(epoch, offset)| (&**epoch, *offset) == (version.epoch.as_str(), version.offset))
}

fn reader(user: &User) -> Reader {
    Reader { issuer: user.issuer.to_string(), subject: user.subject.to_string() }
}
