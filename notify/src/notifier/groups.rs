//! Which thread an alert belongs to.

use std::collections::{BTreeMap, VecDeque};

use kelly_control::alert::{Alert, Severity};

use super::{Book, DIGEST_WAIT_MS, Key, MAX_MEMBERS, MAX_THREADS, Member, News, Notifier, Thread, digest_of};
use crate::settings::Route;

impl Notifier {
    /// Whether an alert is in a thread of the destination. One in a digest that has become critical leaves it.
    pub(super) fn is_told_at(&mut self, alert: &Alert, destination: &str) -> bool {
        let ids = self.threads_of.get(&alert.id).cloned().unwrap_or_default();
        let mut is_told = false;
        for id in ids {
            let Some(thread) = self.threads.get_mut(&id) else { continue };
            if thread.destination != destination {
                continue;
            }
            let has_room = self.threads_at.get(destination).copied().unwrap_or(0) < MAX_THREADS;
            if thread.is_digest && alert.severity == Severity::Critical && has_room {
                thread.members.remove(&alert.id);
                self.changed.insert(Key::Thread(id.clone()));
                if let Some(ids) = self.threads_of.get_mut(&alert.id) {
                    ids.remove(&id);
                }
            } else {
                is_told = true;
            }
        }
        is_told
    }

    pub(super) fn update_member(
        &mut self,
        id: &str,
        alert: &Alert,
        is_audible: bool,
        book: &dyn Book,
        now_ms: i64,
    ) {
        let Some(member) = self.threads.get_mut(id).and_then(|thread| thread.members.get_mut(&alert.id))
        else {
            return;
        };
        let now = Member { is_told: member.is_told, ..Member::of(alert, is_audible) };
        if now.version >= member.version && *member != now {
            *member = now;
            self.changed.insert(Key::Thread(id.to_owned()));
            self.look(id, book, now_ms);
        }
    }

    /// Puts an alert into the thread of its group, or of the digest.
    pub(super) fn join(
        &mut self,
        alert: &Alert,
        route: &Route,
        destination: &str,
        book: &dyn Book,
        now_ms: i64,
    ) {
        let own = (destination.to_owned(), route.id.clone(), route.group_of(alert));
        let (place, is_digest) = match self.room_in(&own) {
            true => (own, false),
            false if self.is_for_digest(alert, destination, now_ms) => {
                ((destination.to_owned(), String::new(), "digest".to_owned()), true)
            }
            false => (own, false),
        };
        let id = match self.groups.get(&place) {
            Some(id) if self.room_in(&place) => id.clone(),
            _ => {
                let wait_ms = match is_digest {
                    true => DIGEST_WAIT_MS.min(i64::from(self.settings.digest.every_seconds) * 1_000),
                    false => i64::from(route.wait_seconds) * 1_000,
                };
                if is_digest {
                    self.news.push(News::Digest { destination: destination.to_owned() });
                }
                let (destination, route, group) = place;
                let thread = Thread {
                    id: thread_id(&destination, &route, &group, alert),
                    destination,
                    route,
                    group,
                    is_digest,
                    members: BTreeMap::new(),
                    told: None,
                    wait_until_ms: now_ms + wait_ms,
                    queue: VecDeque::new(),
                    next: 0,
                    place: None,
                };
                self.insert_thread(thread)
            }
        };
        if let Some(thread) = self.threads.get_mut(&id) {
            thread.members.insert(alert.id, Member::of(alert, true));
        }
        self.threads_of.entry(alert.id).or_default().insert(id.clone());
        self.changed.insert(Key::Thread(id.clone()));
        self.look(&id, book, now_ms);
    }

    /// Whether there is a thread for a group that takes a further alert.
    pub(super) fn room_in(&self, group: &(String, String, String)) -> bool {
        let thread = self.groups.get(group).and_then(|id| self.threads.get(id));
        thread.is_some_and(|thread| thread.members.len() < MAX_MEMBERS)
    }

    pub(super) fn is_for_digest(&mut self, alert: &Alert, destination: &str, now_ms: i64) -> bool {
        let digest = &self.settings.digest;
        let state = self.destinations.entry(destination.to_owned()).or_default();
        self.changed.insert(Key::Destination(destination.to_owned()));
        let too_many = state.is_too_many(digest.over, i64::from(digest.window_seconds) * 1_000, now_ms);
        let is_full = self.threads_at.get(destination).copied().unwrap_or(0) >= MAX_THREADS;
        is_full || (too_many && alert.severity != Severity::Critical)
    }

    pub(super) fn insert_thread(&mut self, thread: Thread) -> String {
        let id = thread.id.clone();
        *self.threads_at.entry(thread.destination.clone()).or_default() += 1;
        let group = (thread.destination.clone(), thread.route.clone(), thread.group.clone());
        self.groups.insert(group, id.clone());
        self.threads.insert(id.clone(), thread);
        id
    }

    pub(super) fn close(&mut self, id: &str) {
        self.unplan(id);
        let Some(thread) = self.threads.remove(id) else { return };
        self.changed.insert(Key::Thread(id.to_owned()));
        for member in thread.members.keys() {
            if let Some(ids) = self.threads_of.get_mut(member) {
                ids.remove(id);
                if ids.is_empty() {
                    self.threads_of.remove(member);
                }
            }
        }
        if let Some(count) = self.threads_at.get_mut(&thread.destination) {
            *count = count.saturating_sub(1);
        }
        let group = (thread.destination, thread.route, thread.group);
        if self.groups.get(&group).is_some_and(|newest| newest == id) {
            self.groups.remove(&group);
        }
    }
}

/// The key of a thread: the same when the same alert is shown again, another when it is open again later.
fn thread_id(destination: &str, route: &str, group: &str, alert: &Alert) -> String {
    digest_of(&[destination, route, group, &alert.id.to_string(), &alert.version().to_string()], 32)
}
