//! SIGKILL at random points, to kelly, to its engine and to both, on both logs, under load. Afterwards
//! raw rows, every rollup, events and the dead letters are exactly what the log acknowledged.

use std::time::Duration;

use kelly_harness::chance::{Chance, SEED_VARIABLE};
use kelly_harness::chaos::{self, Blow, Plan, Under};

/// Deaths of kelly on each log; with those in `instances.rs` they are more than fifty. `kelly-bench
/// chaos` makes the same run longer.
const KILLS: u64 = 21;

async fn kills(under: Under, blows: &[Blow]) {
    let chance = Chance::from_environment();
    eprintln!("play this again with {SEED_VARIABLE}={}", chance.seed());
    let plan = Plan { under, kills: KILLS, chance, blows: blows.to_vec(), pace: Duration::from_millis(15) };
    let (done, verdict) = chaos::run(plan, |_| ()).await.expect("the run can be made");
    eprintln!("{done:?}\n{verdict}");
    assert!(done.kelly >= KILLS);
    assert!(verdict.acknowledged > 0 && verdict.events > 0, "nothing was recorded at all");
    assert!(verdict.is_exact(), "{verdict}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_log() {
    use Blow::{Both, Engine, Kelly, Pause, Starting};
    kills(Under::Embedded, &[Kelly, Kelly, Both, Starting, Starting, Starting, Engine, Pause]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka() {
    use Blow::{Both, Engine, Kelly, Pause, Starting};
    kills(Under::Kafka, &[Kelly, Kelly, Both, Starting, Starting, Starting, Engine, Pause]).await;
}
