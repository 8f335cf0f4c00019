//! Seats of live connections in Redis, so that a user has so many over all instances. Each seat is a lease: an instance that is killed
//! renews its own no more, and they are free again when the leases end.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use kelly_api::{SeatName, ShareSeats};
use redis::Script;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::shared::SharedRedis;

/// How long a seat is kept that nobody renews.
const LEASE: Duration = Duration::from_secs(30);
/// A lease is renewed so many times before it would end.
const RENEWALS: u32 = 3;
/// Seats that wait to be given back. At it, one is not: its lease ends by itself.
const MAX_GIVEN_BACK: usize = 1_024;

/// Seats that instances share.
pub struct SharedSeats {
    redis: Arc<SharedRedis>,
    take: Script,
    lease: Duration,
    held: Arc<Held>,
    given_back: mpsc::Sender<SeatName>,
    /// Renews and gives back. Ends with it.
    keeping: JoinHandle<()>,
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
        let keeper = Keeper { redis: redis.clone(), held: held.clone(), lease };
        Self {
            redis,
            take: Script::new(include_str!("take_seat.lua")),
            lease,
            held,
            given_back,
            keeping: tokio::spawn(keeper.keep(to_give_back)),
        }
    }
}

impl Drop for SharedSeats {
    fn drop(&mut self) {
        self.keeping.abort();
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
        // Behind a renewal that is under way and may have it still.
        if self.given_back.try_send(seat).is_err() {
            tracing::debug!("a seat of a live connection is free once its lease ends");
        }
    }
}

/// Keeps Redis in step with what is held.
struct Keeper {
    redis: Arc<SharedRedis>,
    held: Arc<Held>,
    lease: Duration,
}

impl Keeper {
    async fn keep(self, mut to_give_back: mpsc::Receiver<SeatName>) {
        let renew = Script::new(include_str!("renew_seats.lua"));
        let give_back = Script::new("return redis.call('ZREM', KEYS[1], ARGV[1])");
        let mut renewals = tokio::time::interval(self.lease / RENEWALS);
        renewals.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = renewals.tick() => self.renew(&renew).await,
                seat = to_give_back.recv() => {
                    let Some(seat) = seat else { return };
                    let mut call = give_back.key(key(&seat.user));
                    call.arg(&seat.id);
                    // While Redis is away the lease ends by itself.
                    let _: Option<i64> = self.redis.ask(&call).await;
                }
            }
        }
    }

    async fn renew(&self, renew: &Script) {
        let users: Vec<String> = self.held.lock().keys().cloned().collect();
        for user in users {
            let seats: Vec<String> = self.held.lock().get(&user).into_iter().flatten().cloned().collect();
            if seats.is_empty() {
                continue;
            }
            let mut call = renew.key(key(&user));
            call.arg(milliseconds(self.lease)).arg(seats);
            if self.redis.ask::<i64>(&call).await.is_none() {
                // It is away; the next round tells it everything.
                return;
            }
        }
    }
}

impl Held {
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
