//! Seats of live connections in Redis, so that a user has so many over all instances. Each seat is a lease: an instance that is killed
//! renews its own no more, and they are free again when the leases end.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use kelly_api::{SeatName, ShareSeats};
use redis::{Script, ScriptInvocation};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::shared::SharedRedis;

/// How long a seat is kept that nobody renews.
const LEASE: Duration = Duration::from_secs(30);
/// A lease is renewed so many times before it would end.
const RENEWALS: u32 = 3;
/// Seats that wait to be given back: those of many connections that end at once. At it, one is not: its lease ends by itself.
const MAX_GIVEN_BACK: usize = 16_384;
/// Users whose leases are renewed, and seats that are given back, without waiting for the answer to the one before. The next ones
/// wait for all of their answers.
const AT_ONCE: usize = 128;

/// Seats that instances share.
pub struct SharedSeats {
    redis: Arc<SharedRedis>,
    take: Script,
    lease: Duration,
    held: Arc<Held>,
    given_back: mpsc::Sender<SeatName>,
    /// Renews, and gives back. They end with it.
    keeping: [JoinHandle<()>; 2],
}

/// The seats of this instance, by user. At most as many as it has live connections.
#[derive(Default)]
struct Held(Mutex<HashMap<String, HashSet<String>>>);

impl SharedSeats {
    /// Seats in this Redis.
    pub fn new(redis: Arc<SharedRedis>) -> Self {
        Self::with_lease(redis, LEASE)
    }

    pub(super) fn with_lease(redis: Arc<SharedRedis>, lease: Duration) -> Self {
        let held: Arc<Held> = Arc::default();
        let (given_back, to_give_back) = mpsc::channel(MAX_GIVEN_BACK);
        let keeper = Keeper {
            redis: redis.clone(),
            held: held.clone(),
            lease,
            renew: Script::new(include_str!("renew_seats.lua")),
            given_back: given_back.clone(),
        };
        let renewing = tokio::spawn(keeper.keep());
        // Apart: who comes back finds their seat free, however many leases are being renewed.
        let giving_back = tokio::spawn(give_back(redis.clone(), to_give_back));
        Self {
            redis,
            take: Script::new(include_str!("take_seat.lua")),
            lease,
            held,
            given_back,
            keeping: [renewing, giving_back],
        }
    }
}

impl Drop for SharedSeats {
    fn drop(&mut self) {
        self.keeping.iter().for_each(JoinHandle::abort);
    }
}

#[async_trait]
impl ShareSeats for SharedSeats {
    async fn take(&self, seat: &SeatName, most: usize) -> bool {
        let mut call = self.take.key(key(&seat.user));
        call.arg(milliseconds(self.lease)).arg(most).arg(&seat.id);
        let is_free: Option<bool> = self.redis.ask(&call).await;
        if is_free == Some(false) {
            return false;
        }
        // Also while Redis is away: it learns of the seat once it is back.
        self.held.lock().entry(seat.user.clone()).or_default().insert(seat.id.clone());
        true
    }

    fn give_back(&self, seat: SeatName) {
        {
            let mut held = self.held.lock();
            if let Some(seats) = held.get_mut(&seat.user) {
                seats.remove(&seat.id);
                if seats.is_empty() {
                    held.remove(&seat.user);
                }
            }
        }
        try_give_back(&self.given_back, seat);
    }
}

fn try_give_back(given_back: &mpsc::Sender<SeatName>, seat: SeatName) {
    if given_back.try_send(seat).is_err() {
        tracing::debug!("a seat of a live connection is free once its lease ends");
    }
}

/// Tells Redis of seats that are free. While it is away their leases end by themselves.
async fn give_back(redis: Arc<SharedRedis>, mut to_give_back: mpsc::Receiver<SeatName>) {
    let script = Script::new("return redis.call('ZREM', KEYS[1], ARGV[1])");
    let mut seats = Vec::with_capacity(AT_ONCE);
    while to_give_back.recv_many(&mut seats, AT_ONCE).await > 0 {
        let calls: Vec<ScriptInvocation<'_>> = seats
            .iter()
            .map(|seat| {
                let mut call = script.key(key(&seat.user));
                call.arg(&seat.id);
                call
            })
            .collect();
        redis.ask_all(&calls).await;
        drop(calls);
        seats.clear();
    }
}

/// Keeps Redis in step with what is held.
struct Keeper {
    redis: Arc<SharedRedis>,
    held: Arc<Held>,
    lease: Duration,
    renew: Script,
    given_back: mpsc::Sender<SeatName>,
}

impl Keeper {
    async fn keep(self) {
        let mut renewals = tokio::time::interval(self.lease / RENEWALS);
        renewals.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            renewals.tick().await;
            let users: Vec<String> = self.held.lock().keys().cloned().collect();
            for users in users.chunks(AT_ONCE) {
                if !self.renew(users).await {
                    // It is away; the next round tells it everything.
                    break;
                }
            }
        }
    }

    /// Renews the leases of these users; whether Redis answers.
    async fn renew(&self, users: &[String]) -> bool {
        let seats: Vec<(&String, HashSet<String>)> = {
            let held = self.held.lock();
            users.iter().filter_map(|user| Some((user, held.get(user)?.clone()))).collect()
        };
        let calls: Vec<ScriptInvocation<'_>> = seats
            .iter()
            .map(|(user, seats)| {
                let mut call = self.renew.key(key(user));
                call.arg(milliseconds(self.lease)).arg(seats);
                call
            })
            .collect();
        let answered = self.redis.ask_all(&calls).await;
        // The renewal may have come after what gave them back.
        for (user, seats) in &seats {
            for id in self.held.gone(user, seats) {
                try_give_back(&self.given_back, SeatName { user: (*user).clone(), id });
            }
        }
        answered
    }
}

impl Held {
    /// Those of the seats of a user that are held no more.
    fn gone(&self, user: &str, seats: &HashSet<String>) -> Vec<String> {
        let held = self.lock();
        let own = held.get(user);
        seats.iter().filter(|id| own.is_none_or(|own| !own.contains(*id))).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, HashSet<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(user: &str) -> String {
    format!("kelly:seats:{user}")
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
