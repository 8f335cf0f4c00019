//! What follows from what became of a message.

use std::collections::{BTreeMap, VecDeque};

use super::answer::Answer;
use super::destination::{ASK_AGAIN_MS, asked_ms, pause_ms};
use super::{
    Act, Book, DeadLetter, Delivery, GIVE_UP_MS, Ill, Job, Key, MAX_DEAD_LETTERS, News, Notifier, Thread,
    Told,
};
use crate::notice::{Notice, ThreadStatus};

impl Notifier {
    /// Takes in what became of a message.
    pub fn settle(&mut self, job: &Job, answer: Answer, book: &dyn Book, now_ms: i64) {
        if self.under_way.remove(&job.thread)
            && let Some(count) = self.under_way_at.get_mut(&job.destination)
        {
            *count = count.saturating_sub(1);
        }
        let Some(thread) = self.threads.get_mut(&job.thread) else { return };
        let Some(head) = thread.queue.front_mut().filter(|head| head.id == job.delivery.id) else { return };
        let state = self.destinations.entry(job.destination.clone()).or_default();
        if let Some(ill) = &mut state.ill {
            ill.next_try_ms = ill.next_try_ms.map(|_| now_ms + ASK_AGAIN_MS);
        }
        self.changed.insert(Key::Thread(job.thread.clone()));
        self.changed.insert(Key::Destination(job.destination.clone()));
        if !matches!(answer, Answer::Accepted(_)) {
            head.attempts = head.attempts.saturating_add(1);
            state.failed += 1;
        }
        match answer {
            Answer::Accepted(place) => {
                state.sent += 1;
                state.busy_times = 0;
                if state.ill.take().is_some() {
                    self.news.push(News::Well { destination: job.destination.clone() });
                }
                if place.is_some() {
                    thread.place = place;
                }
                head.acts.pop_front();
                head.attempts = 0;
                head.is_unsure = false;
                if head.acts.is_empty() {
                    thread.queue.pop_front();
                }
            }
            Answer::Retry { after_ms, problem, is_unsure } => {
                let pause = pause_ms(head.attempts, &head.id);
                head.not_before_ms = now_ms + asked_ms(after_ms).unwrap_or(0).max(pause);
                head.problem = Some(problem);
                head.is_unsure |= is_unsure;
                if now_ms.saturating_sub(head.made_ms) >= GIVE_UP_MS {
                    self.give_up(&job.thread, now_ms);
                }
            }
            Answer::Busy { after_ms } => {
                state.busy_times = state.busy_times.saturating_add(1);
                let pause = asked_ms(after_ms).unwrap_or_else(|| pause_ms(state.busy_times, &head.id));
                state.busy_until_ms = state.busy_until_ms.max(now_ms + pause);
                head.problem = Some("the provider takes no more for a while".into());
            }
            Answer::Ill(problem) => {
                head.problem = Some(problem.clone());
                self.fall_ill(&job.destination, problem, Some(now_ms + ASK_AGAIN_MS), now_ms);
            }
            Answer::Gone(problem) => {
                head.problem = Some(problem.clone());
                self.fall_ill(&job.destination, problem, None, now_ms);
            }
            Answer::Refused(problem) => {
                if let Some(delivery) = thread.queue.pop_front() {
                    self.bury(&job.thread, &job.destination, delivery, &problem, now_ms);
                }
            }
            Answer::Lost => {
                thread.place = None;
                head.acts = VecDeque::from([Act::Send]);
                head.is_unsure = false;
            }
        }
        self.look(&job.thread, book, now_ms);
    }

    /// A destination works again: somebody has tried it.
    pub fn heal(&mut self, destination: &str, book: &dyn Book, now_ms: i64) {
        let Some(state) = self.destinations.get_mut(destination) else { return };
        if state.ill.take().is_none() {
            return;
        }
        self.changed.insert(Key::Destination(destination.to_owned()));
        self.news.push(News::Well { destination: destination.to_owned() });
        let ids = self.threads.values().filter(|thread| thread.destination == destination);
        let ids: Vec<String> = ids.map(|thread| thread.id.clone()).collect();
        ids.iter().for_each(|id| self.look(id, book, now_ms));
    }

    /// Sends a dead letter again. Whether there is one, and its destination is still there.
    pub fn replay(&mut self, id: &str, book: &dyn Book, now_ms: i64) -> bool {
        let Some(letter) = self.dead.get(id) else { return false };
        if self.settings.destination(&letter.destination).is_none() {
            return false;
        }
        let Some(letter) = self.dead.remove(id) else { return false };
        self.dead_order.remove(&(letter.at_ms, id.to_owned()));
        self.changed.insert(Key::Dead(id.to_owned()));
        let mut delivery = letter.delivery;
        delivery.attempts = 0;
        delivery.made_ms = now_ms;
        delivery.not_before_ms = now_ms;
        delivery.is_unsure = true;
        let key = letter.thread;
        if !self.threads.contains_key(&key) {
            self.insert_thread(ended_thread(&key, &letter.destination, &delivery.notice, now_ms));
        }
        if let Some(thread) = self.threads.get_mut(&key) {
            thread.queue.push_back(delivery);
        }
        self.changed.insert(Key::Thread(key.clone()));
        self.look(&key, book, now_ms);
        true
    }

    pub(super) fn give_up(&mut self, id: &str, now_ms: i64) {
        let Some(thread) = self.threads.get_mut(id) else { return };
        let destination = thread.destination.clone();
        let Some(delivery) = thread.queue.pop_front() else { return };
        let ill = self.destinations.get(&destination).and_then(|state| state.ill.as_ref());
        let why = delivery.problem.clone().or_else(|| ill.map(|ill| ill.problem.clone()));
        let problem = format!("given up after a day: {}", why.as_deref().unwrap_or("its turn did not come"));
        self.bury(id, &destination, delivery, &problem, now_ms);
    }

    pub(super) fn bury(
        &mut self,
        thread: &str,
        destination: &str,
        delivery: Delivery,
        problem: &str,
        now_ms: i64,
    ) {
        self.destinations.entry(destination.to_owned()).or_default().dead += 1;
        let id = delivery.id.clone();
        self.news.push(News::Dead {
            destination: destination.to_owned(),
            id: id.clone(),
            problem: problem.to_owned(),
        });
        self.changed.extend([
            Key::Destination(destination.to_owned()),
            Key::Thread(thread.to_owned()),
            Key::Dead(id.clone()),
        ]);
        let letter = DeadLetter {
            delivery,
            thread: thread.to_owned(),
            destination: destination.to_owned(),
            at_ms: now_ms,
            problem: problem.to_owned(),
        };
        self.dead_order.insert((now_ms, id.clone()));
        self.dead.insert(id, letter);
        while self.dead.len() > MAX_DEAD_LETTERS {
            let Some((_, oldest)) = self.dead_order.pop_first() else { return };
            self.dead.remove(&oldest);
            self.changed.insert(Key::Dead(oldest.clone()));
            self.news.push(News::Forgotten { id: oldest });
        }
    }

    pub(super) fn fall_ill(
        &mut self,
        destination: &str,
        problem: String,
        next_try_ms: Option<i64>,
        now_ms: i64,
    ) {
        let state = self.destinations.entry(destination.to_owned()).or_default();
        let since_ms = state.ill.as_ref().map(|ill| ill.since_ms);
        if since_ms.is_none() {
            self.news.push(News::Ill { destination: destination.to_owned(), problem: problem.clone() });
        }
        state.ill = Some(Ill { since_ms: since_ms.unwrap_or(now_ms), problem, next_try_ms });
    }
}

/// A thread that is over, for a message that comes after it.
fn ended_thread(id: &str, destination: &str, notice: &Notice, now_ms: i64) -> Thread {
    Thread {
        id: id.to_owned(),
        destination: destination.to_owned(),
        route: String::new(),
        group: format!("{} (sent again)", notice.group),
        is_digest: notice.is_digest,
        members: BTreeMap::new(),
        told: Some(Told {
            at_ms: now_ms,
            status: ThreadStatus::Resolved,
            severity: notice.severity,
            level: 0,
            open: 0,
        }),
        wait_until_ms: now_ms,
        queue: VecDeque::new(),
        next: 1_000,
        place: None,
    }
}
