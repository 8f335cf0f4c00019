//! What is to be sent, when and where: alerts, answers and a time in, messages out. Pure.
//!
//! Alerts are put into threads: one for a group of alerts at a destination. A thread knows what was last told of it; whenever
//! an alert of it changes, or its time comes, what is so now is held against that. So nothing depends on seeing every single
//! change: after a restart it is enough to be shown the alerts as they are.

mod answer;
mod build;
mod destination;
mod groups;
mod key;
mod outcome;
mod schedule;
#[cfg(test)]
mod tests;
mod thread;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use kelly_control::alert::{Alert, Status};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::settings::Settings;

pub use answer::Answer;
pub use destination::{DestinationState, Ill};
pub use key::Key;
pub use thread::{Act, Delivery, MAX_MEMBERS, Member, Place, Thread, Told};

/// Messages of a destination that are under way at once: at it the next one waits.
pub const MAX_IN_FLIGHT: usize = 4;

/// Most threads of a destination: at it further alerts go into its digest, criticals too.
pub const MAX_THREADS: usize = 5_000;

/// Most dead letters: at it the oldest is forgotten, and counted.
pub const MAX_DEAD_LETTERS: usize = 5_000;

/// How long a message is tried.
const GIVE_UP_MS: i64 = 24 * 60 * 60 * 1_000;

/// Longest wait of a digest before its first message.
const DIGEST_WAIT_MS: i64 = 30_000;

/// The alerts as they are.
pub trait Book {
    /// One.
    fn alert(&self, id: &Uuid) -> Option<&Alert>;
    /// Those that are not resolved.
    fn open(&self) -> Box<dyn Iterator<Item = &Alert> + '_>;
}

/// An alert that is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// As it is.
    pub alert: &'a Alert,
    /// Whether anybody is to be told of it.
    pub is_audible: bool,
}

/// A message that was given up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The message.
    pub delivery: Delivery,
    /// Its thread.
    pub thread: String,
    /// Where it was to go.
    pub destination: String,
    /// When it was given up.
    pub at_ms: i64,
    /// Why.
    pub problem: String,
}

/// A message that can be sent now.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its thread.
    pub thread: String,
    /// Where it goes.
    pub destination: String,
    /// The message; its first act is what is to be done.
    pub delivery: Delivery,
    /// Where the provider keeps the thread's message.
    pub place: Option<Place>,
}

/// What somebody should read in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// Nothing more is sent to a destination.
    Ill {
        /// Which.
        destination: String,
        /// Why.
        problem: String,
    },
    /// It takes messages again.
    Well {
        /// Which.
        destination: String,
    },
    /// A message was given up.
    Dead {
        /// Where it was to go.
        destination: String,
        /// Which.
        id: String,
        /// Why.
        problem: String,
    },
    /// Further alerts are told of in a digest.
    Digest {
        /// Where.
        destination: String,
    },
    /// A dead letter was forgotten, because there are too many.
    Forgotten {
        /// Which.
        id: String,
    },
}

/// A part of the state that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{key} of the notifications' state cannot be read: {problem}")]
pub struct StateFault {
    /// Its name.
    pub key: String,
    /// What is wrong.
    pub problem: String,
}

/// The order in which messages of a destination are sent: criticals first, then by age.
type Turn = (bool, i64, String);

/// Decides what is sent.
#[derive(Debug, Default)]
pub struct Notifier {
    settings: Arc<Settings>,
    public_url: Option<String>,
    next_control: Option<u64>,
    threads: BTreeMap<String, Thread>,
    destinations: BTreeMap<String, DestinationState>,
    dead: BTreeMap<String, DeadLetter>,
    dead_order: BTreeSet<(i64, String)>,
    /// The thread that takes further alerts of a group, by destination, route and group.
    groups: HashMap<(String, String, String), String>,
    threads_of: HashMap<Uuid, BTreeSet<String>>,
    threads_at: HashMap<String, usize>,
    wakes: BTreeSet<(i64, String)>,
    wake_of: HashMap<String, i64>,
    ready: BTreeMap<String, BTreeSet<Turn>>,
    turn_of: HashMap<String, Turn>,
    /// Threads of which a message is under way.
    under_way: BTreeSet<String>,
    under_way_at: HashMap<String, usize>,
    changed: BTreeSet<Key>,
    news: Vec<News>,
}

impl Notifier {
    /// Without a past.
    #[must_use]
    pub fn new(settings: Arc<Settings>, public_url: Option<String>) -> Self {
        Self { settings, public_url, ..Self::default() }
    }

    /// As it was when these parts were kept. A message that was not known to be taken then may have been.
    ///
    /// # Errors
    /// Names a part that cannot be read.
    pub fn restore<'a>(
        settings: Arc<Settings>,
        public_url: Option<String>,
        parts: impl IntoIterator<Item = (&'a str, &'a Value)>,
        now_ms: i64,
    ) -> Result<Self, StateFault> {
        let mut notifier = Self::new(settings, public_url);
        for (name, value) in parts {
            notifier.restore_part(name, value)?;
        }
        let ids: Vec<String> = notifier.threads.keys().cloned().collect();
        for id in ids {
            notifier.take_up(&id, now_ms);
        }
        Ok(notifier)
    }

    fn restore_part(&mut self, name: &str, value: &Value) -> Result<(), StateFault> {
        let fault = |problem: String| StateFault { key: name.to_owned(), problem };
        let wrong = |error: serde_json::Error| fault(error.to_string());
        match Key::parse(name).ok_or_else(|| fault("no such part".into()))? {
            Key::Position => self.next_control = Some(u64::deserialize(value).map_err(wrong)?),
            Key::Destination(id) => {
                self.destinations.insert(id, DestinationState::deserialize(value).map_err(wrong)?);
            }
            Key::Thread(id) => {
                self.threads.insert(id, Thread::deserialize(value).map_err(wrong)?);
            }
            Key::Dead(id) => {
                let letter = DeadLetter::deserialize(value).map_err(wrong)?;
                self.dead_order.insert((letter.at_ms, id.clone()));
                self.dead.insert(id, letter);
            }
        }
        Ok(())
    }

    /// Takes up a thread of before.
    fn take_up(&mut self, id: &str, now_ms: i64) {
        let Some(thread) = self.threads.get_mut(id) else { return };
        if let Some(head) = thread.queue.front_mut() {
            head.is_unsure = true;
        }
        let thread = thread.clone();
        if self.settings.destination(&thread.destination).is_none() {
            for delivery in thread.queue {
                self.bury(
                    id,
                    &thread.destination,
                    delivery,
                    "the destination is not in the settings any more",
                    now_ms,
                );
            }
            self.threads.remove(id);
            self.changed.insert(Key::Thread(id.to_owned()));
            return;
        }
        for member in thread.members.keys() {
            self.threads_of.entry(*member).or_default().insert(id.to_owned());
        }
        *self.threads_at.entry(thread.destination.clone()).or_default() += 1;
        self.groups.insert((thread.destination, thread.route, thread.group), id.to_owned());
        // Looked at as soon as somebody has the alerts.
        self.wake_at(id, now_ms);
    }

    /// The next offset of the control log; `None` before the first.
    #[must_use]
    pub fn next_control(&self) -> Option<u64> {
        self.next_control
    }

    /// Notes that everything before this offset of the control log was shown.
    pub fn passed(&mut self, next_control: u64) {
        if self.next_control.is_none_or(|before| before < next_control) {
            self.next_control = Some(next_control);
            self.changed.insert(Key::Position);
        }
    }

    /// Looks at an alert that changed.
    pub fn observe(&mut self, seen: Seen<'_>, book: &dyn Book, now_ms: i64) {
        let Seen { alert, is_audible } = seen;
        let ids: Vec<String> = self.threads_of.get(&alert.id).into_iter().flatten().cloned().collect();
        for id in ids {
            self.update_member(&id, alert, is_audible, book, now_ms);
        }
        if !alert.is_open() || !is_audible {
            return;
        }
        let settings = self.settings.clone();
        for route in settings.routes.iter().filter(|route| route.takes(alert)) {
            for destination in &route.destinations {
                if !self.is_told_at(alert, destination) {
                    self.join(alert, route, destination, book, now_ms);
                }
            }
            if route.last {
                break;
            }
        }
    }

    /// Alerts of threads that are not known any more count as over: the control log was made anew.
    pub fn forget_unknown(&mut self, book: &dyn Book, now_ms: i64) {
        let gone: Vec<Uuid> = self.threads_of.keys().filter(|id| book.alert(id).is_none()).copied().collect();
        for alert in gone {
            for id in self.threads_of.get(&alert).cloned().unwrap_or_default() {
                let Some(member) =
                    self.threads.get_mut(&id).and_then(|thread| thread.members.get_mut(&alert))
                else {
                    continue;
                };
                if member.status != Status::Resolved {
                    member.status = Status::Resolved;
                    self.changed.insert(Key::Thread(id.clone()));
                    self.look(&id, book, now_ms);
                }
            }
        }
    }

    /// What changed since the last call, to be kept; `None` where it is gone.
    pub fn take_changes(&mut self) -> Vec<(Key, Option<Value>)> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().map(|key| (key.clone(), self.part(&key))).collect()
    }

    /// Has these parts count as changed again: they could not be kept.
    pub fn mark_changed(&mut self, keys: impl IntoIterator<Item = Key>) {
        self.changed.extend(keys);
    }

    /// Whether an alert is in a thread.
    #[must_use]
    pub fn knows(&self, alert: &Uuid) -> bool {
        self.threads_of.get(alert).is_some_and(|ids| !ids.is_empty())
    }

    /// All parts of the state.
    #[must_use]
    pub fn parts(&self) -> Vec<(Key, Value)> {
        let dead = self.dead.keys().cloned().map(Key::Dead);
        let destinations = self.destinations.keys().cloned().map(Key::Destination);
        let threads = self.threads.keys().cloned().map(Key::Thread);
        let keys = dead.chain(destinations).chain(threads).chain([Key::Position]);
        keys.filter_map(|key| self.part(&key).map(|value| (key, value))).collect()
    }

    /// What is to be logged since the last call.
    pub fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    /// Threads that are not over.
    pub fn threads(&self) -> impl Iterator<Item = &Thread> {
        self.threads.values()
    }

    /// How a destination is, once something was sent there.
    #[must_use]
    pub fn destination(&self, id: &str) -> Option<&DestinationState> {
        self.destinations.get(id)
    }

    /// Dead letters.
    pub fn dead_letters(&self) -> impl Iterator<Item = (&str, &DeadLetter)> {
        self.dead.iter().map(|(id, letter)| (id.as_str(), letter))
    }

    fn part(&self, key: &Key) -> Option<Value> {
        // Of these types writing to memory does not fail.
        fn json(value: &impl Serialize) -> Value {
            serde_json::to_value(value).unwrap_or_default()
        }
        match key {
            Key::Position => self.next_control.map(Value::from),
            Key::Destination(id) => self.destinations.get(id).map(json),
            Key::Thread(id) => self.threads.get(id).map(json),
            Key::Dead(id) => self.dead.get(id).map(json),
        }
    }
}

fn digest_of(parts: &[&str], bytes: usize) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().iter().take(bytes).map(|byte| format!("{byte:02x}")).collect()
}
