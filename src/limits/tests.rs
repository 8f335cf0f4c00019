//! Counting in a real Redis.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use kelly_api::rates::Budget;
use kelly_api::{PartStatus, SeatName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

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

/// Hands on what is sent to a Redis and what it answers, each answer a little later, and notes how many calls of scripts were without
/// an answer at once.
async fn slow_line(redis: u16) -> (u16, Arc<AtomicUsize>) {
    const LATER: Duration = Duration::from_millis(5);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let most = Arc::new(AtomicUsize::new(0));
    let seen = most.clone();
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = tokio::net::TcpStream::connect(("127.0.0.1", redis)).await.unwrap();
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let waiting = AtomicUsize::new(0);
        let asking = async {
            let mut bytes = vec![0; 64 << 10];
            while let Ok(length @ 1..) = from_client.read(&mut bytes).await {
                let calls = String::from_utf8_lossy(&bytes[..length]).matches("EVALSHA").count();
                let now = waiting.fetch_add(calls, Ordering::Relaxed) + calls;
                seen.fetch_max(now, Ordering::Relaxed);
                to_server.write_all(&bytes[..length]).await.unwrap();
            }
        };
        let answering = async {
            let mut bytes = vec![0; 64 << 10];
            while let Ok(length @ 1..) = from_server.read(&mut bytes).await {
                tokio::time::sleep(LATER).await;
                // A script answers with a number, or that it is not known yet.
                let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
                let answers =
                    text.lines().filter(|line| line.starts_with(':') || line.starts_with("-NOSCRIPT"));
                let answers = answers.count();
                let _ = waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |calls| {
                    Some(calls.saturating_sub(answers))
                });
                if to_client.write_all(&bytes[..length]).await.is_err() {
                    return;
                }
            }
        };
        tokio::join!(asking, answering);
    });
    (port, most)
}

fn seat_of(user: usize) -> SeatName {
    SeatName { user: format!("kelly\nuser {user}"), id: "1".to_owned() }
}

#[tokio::test]
async fn leases_of_many_users_are_renewed_without_waiting_for_each() {
    let redis = Redis::start(None).await;
    let (port, most) = slow_line(redis.port).await;
    let slow = Arc::new(SharedRedis::new(&format!("redis://127.0.0.1:{port}")).unwrap());
    let seats = SharedSeats::with_lease(slow, LEASE);
    for user in 0..20 {
        assert!(seats.take(&seat_of(user), 1).await);
    }
    // Many rounds long.
    for _ in 0..200 {
        if most.load(Ordering::Relaxed) >= 10 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("at most {} were asked for at once", most.load(Ordering::Relaxed));
}

/// Of a user whose key holds something else, nothing is renewed; of all others it is.
#[tokio::test]
async fn what_redis_refuses_of_one_user_ends_no_lease_of_others() {
    const USERS: usize = 40;
    const BROKEN: usize = 5;
    let redis = Redis::start(None).await;
    let [living, there] = [(); 2].map(|()| SharedSeats::with_lease(redis.shared(), LEASE));
    for user in 0..USERS {
        assert!(living.take(&seat_of(user), 1).await);
    }
    let client = redis::Client::open(format!("redis://127.0.0.1:{}", redis.port)).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    for user in 0..BROKEN {
        let key = format!("kelly:seats:{}", seat_of(user).user);
        let () = redis::cmd("SET").arg(key).arg("text").query_async(&mut connection).await.unwrap();
    }
    // Leases of two instances that are killed, one after the other, end.
    for round in 0..2 {
        let of_round = |id: &str| SeatName { user: format!("kelly\nround {round}"), id: id.to_owned() };
        let killed = SharedSeats::with_lease(redis.shared(), LEASE);
        assert!(killed.take(&of_round("1"), 1).await);
        drop(killed);
        while !there.take(&of_round("2"), 1).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    for user in BROKEN..USERS {
        let another = SeatName { id: "2".to_owned(), ..seat_of(user) };
        assert!(!there.take(&another, 1).await, "the lease of user {user} ended");
    }
}
