//! Instances of `kelly ingest` that share the partitions: they join, are killed, leave, and stand
//! still until others have taken over, all of it under load and in the middle of batches.

use kelly_harness::chance::{Chance, SEED_VARIABLE};
use kelly_harness::process::Kelly;

use crate::apart::{Apart, Changes};

fn chance() -> Chance {
    let chance = Chance::from_environment();
    eprintln!("play this again with {SEED_VARIABLE}={}", chance.seed());
    chance
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_join_are_killed_and_leave_in_the_middle_of_batches() {
    const ROUNDS: usize = 6;
    let mut chance = chance();
    // Batches stay open for long enough that every rebalance meets some.
    let environment = [("KELLY_INGEST_BATCH_MILLISECONDS", "300")];
    let stage = Apart::set(Changes { environment: &environment, ..Changes::default() }).await;
    let mut instances: Vec<Kelly> = (0..2).map(|_| stage.spawn(&["ingest"])).collect();
    stage.until_topics().await;
    let producer = stage.producer();
    stage.until_more(1).await;
    for _ in 0..ROUNDS {
        instances.push(stage.spawn(&["ingest"]));
        tokio::time::sleep(chance.milliseconds(1_500)).await;
        let victim = instances.remove(chance.below(3) as usize);
        victim.kill();
        stage.until_more(500).await;
        // One more leaves as it should, and two carry on.
        instances.push(stage.spawn(&["ingest"]));
        tokio::time::sleep(chance.milliseconds(1_500)).await;
        let leaver = instances.remove(chance.below(3) as usize);
        assert_eq!(leaver.terminate(), Some(0), "an instance leaves cleanly");
        stage.until_more(500).await;
    }
    stage.assert_exact(producer).await;
    for instance in instances {
        assert_eq!(instance.terminate(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zombie_that_wakes_is_fenced_and_comes_back() {
    const ROUNDS: usize = 3;
    let mut chance = chance();
    let environment = [("KELLY_INGEST_BATCH_MILLISECONDS", "300")];
    let stage = Apart::set(Changes { environment: &environment, ..Changes::default() }).await;
    let mut first = stage.spawn(&["ingest"]);
    stage.until_topics().await;
    let producer = stage.producer();
    stage.until_more(1).await;
    for _ in 0..ROUNDS {
        // It owns everything, has batches open and inserts under way.
        tokio::time::sleep(chance.milliseconds(700)).await;
        first.suspend();
        let second = stage.spawn(&["ingest"]);
        // Written by the second, which took over what the zombie had declared.
        stage.until_more(2_000).await;
        first.wake();
        tokio::time::sleep(chance.milliseconds(700)).await;
        // The zombie's own partitions come back to it only if it was fenced and joined again.
        second.kill();
        stage.until_more(2_000).await;
        assert_eq!(first.ended(), None, "a zombie goes on");
    }
    stage.assert_exact(producer).await;
    assert_eq!(first.terminate(), Some(0));
}
