//! When a thread is told, and when a message of it is sent.

use std::collections::{BTreeSet, VecDeque};

use kelly_control::alert::Severity;

use super::thread::{Judgement, Timing};
use super::{
    Act, Book, Delivery, GIVE_UP_MS, Job, Key, MAX_IN_FLIGHT, Notifier, Thread, Turn, build, digest_of,
};
use crate::notice::Reason;
use crate::settings::Kind;

impl Notifier {
    /// Does what is due.
    pub fn run_due(&mut self, book: &dyn Book, now_ms: i64) {
        while let Some((due_ms, id)) = self.wakes.first().cloned()
            && due_ms <= now_ms
        {
            self.unplan(&id);
            let given_up = self
                .threads
                .get(&id)
                .and_then(|thread| thread.queue.front())
                .is_some_and(|head| now_ms.saturating_sub(head.made_ms) >= GIVE_UP_MS);
            if given_up && !self.under_way.contains(&id) {
                self.give_up(&id, now_ms);
            }
            self.look(&id, book, now_ms);
        }
    }

    /// When something is due, or can be sent.
    #[must_use]
    pub fn next_due_ms(&self) -> Option<i64> {
        let sends = self.ready.iter().filter(|(_, turns)| !turns.is_empty()).filter_map(|(id, _)| {
            let is_full = self.under_way_at.get(id).copied().unwrap_or(0) >= self.room_at(id);
            if is_full { None } else { Some(self.free_at_ms(id)).filter(|free_ms| *free_ms < i64::MAX) }
        });
        self.wakes.first().map(|(due_ms, _)| *due_ms).into_iter().chain(sends).min()
    }

    /// The messages to be sent now. What they are about is to be durable before they are sent.
    pub fn take_due(&mut self, now_ms: i64) -> Vec<Job> {
        let mut jobs = Vec::new();
        let destinations: Vec<String> = self.ready.keys().cloned().collect();
        for destination in destinations {
            while self.under_way_at.get(&destination).copied().unwrap_or(0) < self.room_at(&destination)
                && self.free_at_ms(&destination) <= now_ms
                && let Some(turn) = self.ready.get_mut(&destination).and_then(BTreeSet::pop_first)
            {
                let (_, _, id) = turn;
                self.turn_of.remove(&id);
                let Some(thread) = self.threads.get(&id) else { continue };
                let Some(delivery) = thread.queue.front().cloned() else { continue };
                jobs.push(Job {
                    thread: id.clone(),
                    destination: destination.clone(),
                    delivery,
                    place: thread.place.clone(),
                });
                self.unplan(&id);
                let rate = self.rate_of(&destination);
                self.destinations.entry(destination.clone()).or_default().take(rate, now_ms);
                *self.under_way_at.entry(destination.clone()).or_default() += 1;
                self.under_way.insert(id);
            }
        }
        jobs
    }

    /// Holds a thread against what was told of it.
    pub(super) fn look(&mut self, id: &str, book: &dyn Book, now_ms: i64) {
        self.unplan(id);
        if self.under_way.contains(id) {
            return;
        }
        let Some(thread) = self.threads.get(id) else { return };
        if thread.queue.is_empty() {
            match thread.judge(self.timing_of(thread), now_ms) {
                Judgement::Tell(reason) => self.tell(id, reason, book, now_ms),
                Judgement::Wait(at_ms) => return self.wake_at(id, at_ms),
                Judgement::Idle => return,
                Judgement::Close => return self.close(id),
            }
        }
        self.plan(id, now_ms);
    }

    /// When the head of a thread's queue is sent.
    pub(super) fn plan(&mut self, id: &str, now_ms: i64) {
        let Some(thread) = self.threads.get(id) else { return };
        let Some(head) = thread.queue.front() else {
            // Told without a message: this kind of destination wants none of it.
            let judged = thread.judge(self.timing_of(thread), now_ms);
            return match judged {
                Judgement::Wait(at_ms) => self.wake_at(id, at_ms),
                Judgement::Close => self.close(id),
                Judgement::Tell(_) => self.wake_at(id, now_ms),
                Judgement::Idle => {}
            };
        };
        let give_up_ms = head.made_ms.saturating_add(GIVE_UP_MS);
        if head.not_before_ms > now_ms {
            return self.wake_at(id, head.not_before_ms.min(give_up_ms));
        }
        let turn: Turn = (head.notice.severity != Severity::Critical, head.made_ms, id.to_owned());
        self.ready.entry(thread.destination.clone()).or_default().insert(turn.clone());
        self.turn_of.insert(id.to_owned(), turn);
        self.wake_at(id, give_up_ms);
    }

    pub(super) fn unplan(&mut self, id: &str) {
        if let Some(at_ms) = self.wake_of.remove(id) {
            self.wakes.remove(&(at_ms, id.to_owned()));
        }
        if let Some(turn) = self.turn_of.remove(id)
            && let Some(thread) = self.threads.get(id)
            && let Some(turns) = self.ready.get_mut(&thread.destination)
        {
            turns.remove(&turn);
        }
    }

    pub(super) fn wake_at(&mut self, id: &str, at_ms: i64) {
        if let Some(before) = self.wake_of.insert(id.to_owned(), at_ms) {
            self.wakes.remove(&(before, id.to_owned()));
        }
        self.wakes.insert((at_ms, id.to_owned()));
    }

    /// Makes the message that tells a thread as it is now.
    pub(super) fn tell(&mut self, id: &str, reason: Reason, book: &dyn Book, now_ms: i64) {
        let Some(thread) = self.threads.get_mut(id) else { return };
        thread.note_told(now_ms);
        self.changed.insert(Key::Thread(id.to_owned()));
        let Some(destination) = self.settings.destination(&thread.destination) else { return };
        if !wants(destination.kind, reason) {
            return;
        }
        let notice = build::notice(
            thread,
            reason,
            &build::Around { book, public_url: self.public_url.as_deref() },
            now_ms,
        );
        thread.next = thread.next.saturating_add(1);
        let acts = match (destination.kind, &thread.place) {
            (Kind::Slack, Some(_)) => VecDeque::from([Act::Edit, Act::Reply]),
            _ => VecDeque::from([Act::Send]),
        };
        thread.queue.push_back(Delivery {
            id: digest_of(&[&thread.id, &thread.next.to_string()], 16),
            acts,
            notice,
            made_ms: now_ms,
            attempts: 0,
            not_before_ms: now_ms,
            problem: None,
            is_unsure: false,
        });
    }

    pub(super) fn rate_of(&self, destination: &str) -> u32 {
        self.settings.destination(destination).map_or(1, crate::settings::Destination::rate_per_minute)
    }

    pub(super) fn free_at_ms(&self, destination: &str) -> i64 {
        let rate = self.rate_of(destination);
        self.destinations.get(destination).map_or(i64::MIN, |state| state.free_at_ms(rate))
    }

    /// How many messages may be under way: of an ill destination one.
    pub(super) fn room_at(&self, destination: &str) -> usize {
        let is_ill = self.destinations.get(destination).is_some_and(|state| state.ill.is_some());
        if is_ill { 1 } else { MAX_IN_FLIGHT }
    }

    pub(super) fn timing_of(&self, thread: &Thread) -> Timing {
        if thread.is_digest {
            let more_ms = i64::from(self.settings.digest.every_seconds) * 1_000;
            return Timing { more_ms, renotify_ms: 0, criticals_wait: true };
        }
        // A route that is not in the settings any more: its threads end, and nobody is reminded of them.
        self.settings.route(&thread.route).map_or(
            Timing { more_ms: 30_000, renotify_ms: 0, criticals_wait: false },
            |route| Timing {
                more_ms: i64::from(route.more_seconds) * 1_000,
                renotify_ms: i64::from(route.renotify_minutes) * 60_000,
                criticals_wait: route.criticals_wait,
            },
        )
    }
}

/// Whether a kind of destination is told at all for this reason.
fn wants(kind: Kind, reason: Reason) -> bool {
    match kind {
        Kind::Slack | Kind::Webhook => true,
        // It knows no way back from an acknowledgement, and what gets better does not change an incident.
        Kind::Pagerduty => reason != Reason::Better,
        Kind::Email => !matches!(reason, Reason::Better | Reason::Acknowledged),
    }
}
