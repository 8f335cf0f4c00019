//! What all connections of an instance share: the recent events, the newest figures, and whom to wake for what.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use kelly_auth::Accounts;
use serde_json::{Map, Value};
use tokio::sync::Notify;

use crate::alert::{OpenAlerts, PushedAlert, RecordAlerts};
use crate::bounds::Bounds;
use crate::event::RecordEvents;
use crate::message::ResetReason;
use crate::newest::{Newest, Seen};
use crate::reading::ReadStates;
use crate::rendered::RenderedRecord;
use crate::ring::{Beginning, Ring};
use crate::room::Feeding;

/// What the connections of an instance share.
#[derive(Debug)]
pub struct Hub {
    bounds: Bounds,
    activity: Followed,
    alerts: Followed,
    figures: Mutex<Figures>,
    read_states: ReadStates,
    ids: AtomicU64,
    feed: Mutex<FeedState>,
    skipped_figures: AtomicU64,
    resets: AtomicU64,
}

/// The recent events of a log, and whom to wake for them.
#[derive(Debug)]
struct Followed {
    ring: RwLock<Ring>,
    listeners: Mutex<Listeners>,
}

/// How reading the log goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum FeedState {
    /// It has not begun.
    #[default]
    Starting,
    /// It follows the log.
    Following,
    /// It does not, and tries again; why not.
    Trouble(String),
    /// It was told to stop.
    Stopped,
}

/// The figures, for each set of accounts that somebody looks at.
#[derive(Debug)]
struct Figures {
    /// Of this process: each counts its updates by itself.
    epoch: Arc<str>,
    audiences: HashMap<Accounts, Audience>,
}

#[derive(Debug, Default)]
struct Audience {
    newest: Newest,
    /// Who looks, by the number of the connection.
    listeners: HashMap<u64, Arc<Notify>>,
}

/// Whom to wake when there are events.
#[derive(Debug, Default)]
struct Listeners {
    all: HashMap<u64, Arc<Notify>>,
    conversations: HashMap<Arc<str>, HashMap<u64, Arc<Notify>>>,
}

impl Hub {
    /// A hub without events and figures. `epoch` names this process among all there ever are.
    #[must_use]
    pub fn new(bounds: Bounds, epoch: &str) -> Self {
        Self {
            bounds,
            activity: Followed::new(Ring::new(bounds)),
            alerts: Followed::new(Ring::of_alerts(bounds)),
            figures: Mutex::new(Figures { epoch: epoch.into(), audiences: HashMap::new() }),
            read_states: ReadStates::default(),
            ids: AtomicU64::new(1),
            feed: Mutex::default(),
            skipped_figures: AtomicU64::new(0),
            resets: AtomicU64::new(0),
        }
    }

    /// Its bounds.
    #[must_use]
    pub fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// How reading the log goes.
    #[must_use]
    pub fn feed_state(&self) -> FeedState {
        lock(&self.feed).clone()
    }

    pub(crate) fn set_feed_state(&self, state: FeedState) {
        *lock(&self.feed) = state;
    }

    /// Events that are kept.
    #[must_use]
    pub fn kept_events(&self) -> usize {
        self.ring(Feeding::Activity).len()
    }

    /// The next offset of each partition that is read.
    #[must_use]
    pub fn feed_position(&self) -> Vec<u64> {
        self.ring(Feeding::Activity).position().iter().map(|place| place.offset).collect()
    }

    /// Updates of figures that a connection was not sent because a newer one was there first.
    #[must_use]
    pub fn skipped_figures(&self) -> u64 {
        self.skipped_figures.load(Ordering::Relaxed)
    }

    pub(crate) fn note_skipped_figures(&self, updates: u64) {
        self.skipped_figures.fetch_add(updates, Ordering::Relaxed);
    }

    /// Rooms that could not go on where their client was, and began anew.
    #[must_use]
    pub fn resets(&self) -> u64 {
        self.resets.load(Ordering::Relaxed)
    }

    pub(crate) fn note_reset(&self) {
        self.resets.fetch_add(1, Ordering::Relaxed);
    }

    /// Begins a new life of the events, under another epoch or after a loss. What is at these offsets and behind is news.
    pub fn begin(&self, epoch: &str, offsets: &[u64], why: ResetReason) {
        let beginnings: Vec<Beginning> = offsets.iter().copied().map(Beginning::at).collect();
        self.begin_with_backlog(epoch, &beginnings, why);
    }

    /// The same, where records are read that were there before, for who resumes.
    pub fn begin_with_backlog(&self, epoch: &str, beginnings: &[Beginning], why: ResetReason) {
        self.activity.ring_mut().begin(epoch, beginnings, why);
        self.activity.wake_all();
    }

    /// Begins a new life of the alerts: these are open before the record at this offset, and from it on all is news.
    pub fn begin_alerts(
        &self,
        epoch: &str,
        offset: u64,
        open: impl IntoIterator<Item = PushedAlert>,
        why: ResetReason,
    ) {
        let open = OpenAlerts::of(open);
        {
            let mut ring = self.alerts.ring_mut();
            ring.begin(epoch, &[Beginning::at(offset)], why);
            ring.begin_with_open(open);
        }
        self.alerts.wake_all();
    }

    pub(crate) fn add_partitions(&self, offsets: &[u64]) {
        self.activity.ring_mut().add_partitions(offsets);
    }

    /// Adds the events of records and wakes whoever follows them.
    pub fn publish(&self, records: impl IntoIterator<Item = RecordEvents>) {
        self.activity.publish(records, RenderedRecord::of);
    }

    /// Adds what records of the control log did to alerts and wakes whoever follows them.
    pub fn publish_alerts(&self, records: impl IntoIterator<Item = RecordAlerts>) {
        self.alerts.publish(records, RenderedRecord::of_alerts);
    }

    /// The sets of accounts whose figures somebody looks at, and whether each has figures already.
    #[must_use]
    pub fn audiences(&self) -> Vec<(Accounts, bool)> {
        let figures = lock(&self.figures);
        figures
            .audiences
            .iter()
            .map(|(accounts, audience)| (accounts.clone(), audience.newest.version() > 0))
            .collect()
    }

    /// Newer figures of these accounts, for whoever looks at them.
    pub fn publish_figures(&self, accounts: &Accounts, fields: Map<String, Value>) {
        let mut figures = lock(&self.figures);
        let epoch = figures.epoch.clone();
        if let Some(audience) = figures.audiences.get_mut(accounts) {
            audience.newest.publish(&epoch, fields);
            audience.listeners.values().for_each(|listener| listener.notify_one());
        }
    }

    pub(crate) fn figures_epoch(&self) -> Arc<str> {
        lock(&self.figures).epoch.clone()
    }

    /// What brings somebody who has seen so much to the newest, and what is seen then.
    pub(crate) fn figures_since(&self, accounts: &Accounts, seen: Seen) -> Option<(bytes::Bytes, Seen)> {
        let figures = lock(&self.figures);
        let newest = &figures.audiences.get(accounts)?.newest;
        Some((newest.since(seen)?, newest.seen()))
    }

    /// What somebody has seen who was given figures beside the updates, after having seen this.
    pub(crate) fn figures_beside(&self, accounts: &Accounts, seen: Seen) -> Seen {
        let figures = lock(&self.figures);
        figures.audiences.get(accounts).map_or(seen, |audience| audience.newest.beside(seen))
    }

    pub(crate) fn figures_version(&self, accounts: &Accounts) -> u64 {
        lock(&self.figures).audiences.get(accounts).map_or(0, |audience| audience.newest.version())
    }

    /// What users have read.
    #[must_use]
    pub fn read_states(&self) -> &ReadStates {
        &self.read_states
    }

    pub(crate) fn new_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn look_at_figures(&self, accounts: &Accounts, id: u64, listener: &Arc<Notify>) {
        let mut figures = lock(&self.figures);
        figures.audiences.entry(accounts.clone()).or_default().listeners.insert(id, listener.clone());
    }

    pub(crate) fn look_away(&self, accounts: &Accounts, id: u64) {
        let mut figures = lock(&self.figures);
        if let Some(audience) = figures.audiences.get_mut(accounts) {
            audience.listeners.remove(&id);
            if audience.listeners.is_empty() {
                figures.audiences.remove(accounts);
            }
        }
    }

    pub(crate) fn follow(
        &self,
        feeding: Feeding,
        conversation: Option<&Arc<str>>,
        id: u64,
        listener: &Arc<Notify>,
    ) {
        self.followed(feeding).follow(conversation, id, listener);
    }

    pub(crate) fn leave(&self, feeding: Feeding, conversation: Option<&Arc<str>>, id: u64) {
        self.followed(feeding).leave(conversation, id);
    }

    pub(crate) fn ring(&self, feeding: Feeding) -> RwLockReadGuard<'_, Ring> {
        self.followed(feeding).ring()
    }

    fn followed(&self, feeding: Feeding) -> &Followed {
        match feeding {
            Feeding::Activity => &self.activity,
            Feeding::Alerts => &self.alerts,
        }
    }
}

impl Followed {
    fn new(ring: Ring) -> Self {
        Self { ring: RwLock::new(ring), listeners: Mutex::default() }
    }

    fn wake_all(&self) {
        let listeners = lock(&self.listeners);
        let followers = listeners.conversations.values().flat_map(HashMap::values);
        listeners.all.values().chain(followers).for_each(|listener| listener.notify_one());
    }

    fn publish<R>(
        &self,
        records: impl IntoIterator<Item = R>,
        render: impl Fn(&Arc<str>, R) -> RenderedRecord,
    ) {
        let mut conversations: Vec<Arc<str>> = Vec::new();
        let epoch = self.ring().epoch().clone();
        let had_read_backlog = {
            let mut ring = self.ring_mut();
            ring.expect_more();
            ring.has_read_backlog()
        };
        for record in records {
            let record = render(&epoch, record);
            conversations.extend(record.events.iter().filter_map(|event| event.conversation.clone()));
            // A record at a time, so that nobody waits long.
            self.ring_mut().push(record);
        }
        if !had_read_backlog && self.ring().has_read_backlog() {
            // Snapshots wait for it.
            self.wake_all();
            return;
        }
        let listeners = lock(&self.listeners);
        listeners.all.values().for_each(|listener| listener.notify_one());
        if listeners.conversations.is_empty() {
            return;
        }
        for id in conversations {
            if let Some(followers) = listeners.conversations.get(&id) {
                followers.values().for_each(|follower| follower.notify_one());
            }
        }
    }

    fn follow(&self, conversation: Option<&Arc<str>>, id: u64, listener: &Arc<Notify>) {
        if let Some(conversation) = conversation {
            self.ring_mut().follow(conversation);
        }
        let mut listeners = lock(&self.listeners);
        let group = match conversation {
            None => &mut listeners.all,
            Some(conversation) => listeners.conversations.entry(conversation.clone()).or_default(),
        };
        group.insert(id, listener.clone());
    }

    fn leave(&self, conversation: Option<&Arc<str>>, id: u64) {
        {
            let mut listeners = lock(&self.listeners);
            match conversation {
                None => drop(listeners.all.remove(&id)),
                Some(conversation) => {
                    if let Some(followers) = listeners.conversations.get_mut(conversation) {
                        followers.remove(&id);
                        if followers.is_empty() {
                            listeners.conversations.remove(conversation);
                        }
                    }
                }
            }
        }
        if let Some(conversation) = conversation {
            self.ring_mut().leave(conversation);
        }
    }

    fn ring(&self) -> RwLockReadGuard<'_, Ring> {
        // The ring is whole after every call, so a panic elsewhere does not spoil it.
        self.ring.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring_mut(&self) -> RwLockWriteGuard<'_, Ring> {
        self.ring.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
