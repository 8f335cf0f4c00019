//! Counting in a real Redis.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use kelly_api::rates::Budget;

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

    fn counts(&self, quotas: Quotas) -> SharedCounts {
        SharedCounts::new(&format!("redis://127.0.0.1:{}", self.port), quotas).unwrap()
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
    assert_eq!(here.health().status, PartStatus::Healthy);
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
    let health = counts.health();
    assert_eq!(health.status, PartStatus::Degraded);
    assert!(health.summary.contains("has not answered since"), "{}", health.summary);
    let _redis = Redis::start(Some(port)).await;
    // It is left alone for a second, then asked again.
    while counts.health().status != PartStatus::Healthy {
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
