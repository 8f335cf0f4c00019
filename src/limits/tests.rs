//! Counting in a real Redis.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use kelly_api::rates::Budget;
use kelly_api::{PartStatus, SeatName};

use super::*;

/// A Redis of the test's own, which keeps nothing.
struct Redis {
    port: u16,
    process: Child,
}

impl Redis {
    /// At a port of its own; returns once it answers.
    async fn start(port: Option<u16>) -> Self {
        let port =
            port.unwrap_or_else(|| TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port());
        let process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed by scripts/setup");
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Self { port, process }
    }

    /// A connection of one instance.
    fn shared(&self) -> Arc<SharedRedis> {
        Arc::new(SharedRedis::new(&format!("redis://127.0.0.1:{}", self.port)).unwrap())
    }

    fn counts(&self, quotas: Quotas) -> SharedCounts {
        SharedCounts::new(self.shared(), quotas)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn quotas() -> Quotas {
    Quotas { requests: NonZeroU32::new(10).unwrap(), ..Quotas::default() }
}

fn some(whose: &str, amount: u32) -> Use<'_> {
    Use { budget: Budget::Requests, whose, amount: NonZeroU32::new(amount).unwrap() }
}

#[tokio::test]
async fn instances_share_one_quota() {
    let redis = Redis::start(None).await;
    let (here, there) = (redis.counts(quotas()), redis.counts(quotas()));
    assert_eq!(here.take(some("ann", 6)).await.left, 4);
    let verdict = there.take(some("ann", 3)).await;
    assert!(verdict.fits && (1..=2).contains(&verdict.left), "{verdict:?}");
    let refused = here.take(some("ann", 6)).await;
    assert!(!refused.fits, "{refused:?}");
    assert!(refused.retry_after > Duration::ZERO && refused.retry_after <= WINDOW, "{refused:?}");
    assert!(refused.until_whole <= WINDOW, "{refused:?}");
    // What is refused takes nothing, and another user and another budget have their own.
    assert!(there.take(some("ann", 1)).await.fits);
    assert_eq!(there.take(some("bob", 1)).await.left, 9);
    let emergency = Use { budget: Budget::Emergency, ..some("ann", 1) };
    assert_eq!(here.take(emergency).await.left, Quotas::default().emergency.get() - 1);
    assert_eq!(here.redis.health().status, PartStatus::Healthy);
}

#[tokio::test]
async fn while_redis_is_away_each_instance_counts_itself_and_says_so() {
    let redis = Redis::start(None).await;
    let port = redis.port;
    let counts = redis.counts(quotas());
    while counts.take(some("ann", 1)).await.fits {}
    drop(redis);
    // Not closed: the instance has a quota of its own. Not open: it ends.
    let mut fitted = 0;
    while counts.take(some("ann", 1)).await.fits {
        fitted += 1;
        assert!(fitted <= 11, "the limit is open");
    }
    assert!(fitted >= 10, "{fitted}");
    let health = counts.redis.health();
    assert_eq!(health.status, PartStatus::Degraded);
    assert!(health.summary.contains("has not answered since"), "{}", health.summary);
    let _redis = Redis::start(Some(port)).await;
    // It is left alone for a second, then asked again.
    while counts.redis.health().status != PartStatus::Healthy {
        counts.take(some("cid", 1)).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(counts.take(some("ann", 1)).await.fits, "the new Redis knows nothing of what was used");
}

/// The settings' own defaults and those of the library are written in two places.
#[test]
fn nobody_who_configures_nothing_gets_other_quotas() {
    assert_eq!(super::quotas(&crate::config::Config::of(&[]).limits), Quotas::default());
}

/// Short, so that a test sees leases end.
const LEASE: Duration = Duration::from_millis(600);

fn seat(id: &str) -> SeatName {
    SeatName { user: "kelly\nann".to_owned(), id: id.to_owned() }
}

/// A seat that is free in the end.
async fn until_taken(seats: &SharedSeats, id: &str) {
    while !seats.take(&seat(id), 2).await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_user_has_so_many_seats_over_all_instances() {
    let redis = Redis::start(None).await;
    let [here, there] = [(); 2].map(|()| SharedSeats::new(redis.shared()));
    assert!(here.take(&seat("1"), 2).await && there.take(&seat("2"), 2).await);
    assert!(!here.take(&seat("3"), 2).await && !there.take(&seat("4"), 2).await);
    let bob = SeatName { user: "kelly\nbob".to_owned(), ..seat("1") };
    assert!(here.take(&bob, 2).await, "another user has seats of their own");
    here.give_back(seat("1"));
    until_taken(&there, "5").await;
    assert!(!there.take(&seat("6"), 2).await);
}

#[tokio::test]
async fn seats_of_an_instance_that_is_killed_come_back_and_those_of_a_living_one_stay() {
    let redis = Redis::start(None).await;
    let living = SharedSeats::with_lease(redis.shared(), LEASE);
    let killed = SharedSeats::with_lease(redis.shared(), LEASE);
    assert!(living.take(&seat("1"), 2).await && killed.take(&seat("2"), 2).await);
    drop(killed);
    // It gave nothing back: only the end of its lease makes room.
    until_taken(&living, "3").await;
    // The first one's lease would have ended meanwhile, had nobody renewed it.
    assert!(!living.take(&seat("4"), 2).await);
}

#[tokio::test]
async fn while_redis_is_away_seats_are_given_and_it_learns_of_them_when_it_is_back() {
    let redis = Redis::start(None).await;
    let port = redis.port;
    let [here, there] = [(); 2].map(|()| SharedSeats::with_lease(redis.shared(), LEASE));
    assert!(here.take(&seat("1"), 2).await);
    drop(redis);
    assert!(here.take(&seat("2"), 2).await, "each instance counts for itself");
    let _redis = Redis::start(Some(port)).await;
    // The new one knows nothing until both are told to it again.
    let mut number = 3;
    while there.take(&seat(&number.to_string()), 2).await {
        there.give_back(seat(&number.to_string()));
        number += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
