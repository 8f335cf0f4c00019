//! Evaluators that end at any point, in any way: the same changes of alerts are decided as if none had ended.

use std::sync::atomic::Ordering;
use std::time::Duration;

use kelly_evaluate::{Evaluator, EvaluatorConfig};
use kelly_harness::chance::{Chance, SEED_VARIABLE};
use kelly_stream::Log;
use serde_json::json;

use crate::support::{Mortal, PATIENCE, Stage, rule_set};

/// Windows, a `for`, a hold, hysteresis, silence, accounts and everything: what must be remembered.
const RULES: &str = r#"
    [[rule]]
    id = "slow"
    metric = "latency"
    aggregation = "avg"
    window = "30s"
    direction = "above"
    warning = 60.0
    critical = 80.0
    hysteresis = 5.0
    keep_firing_for = "10s"

    [[rule]]
    id = "slow_for_long"
    metric = "latency"
    direction = "above"
    warning = 50.0
    for = "20s"

    [[rule]]
    id = "silent"
    kind = "no_data"
    metric = "latency"
    scope = "account"
    severity = "warning"
    for = "60s"

    [[rule]]
    id = "account"
    metric = "latency"
    scope = "account"
    aggregation = "p95"
    window = "1m"
    direction = "above"
    warning = 85.0
    min_samples = 5

    [[rule]]
    id = "everything"
    metric = "latency"
    scope = "global"
    aggregation = "max"
    window = "20s"
    direction = "above"
    critical = 97.0
"#;

fn seeded() -> Chance {
    let chance = Chance::from_environment();
    eprintln!("{SEED_VARIABLE}={}", chance.seed());
    chance
}

/// Rows of one step: several series, each a walk of its own, some late, some twice.
fn rows(chance: &mut Chance, stage: &Stage, levels: &mut [f64]) -> Vec<serde_json::Value> {
    let now_ms = stage.clock.load(Ordering::SeqCst);
    let mut rows = Vec::new();
    for _ in 0..chance.below(12) {
        let series = chance.below(levels.len() as u64) as usize;
        let step = chance.below(31) as f64 - 15.0;
        levels[series] = (levels[series] + step).clamp(0.0, 100.0);
        let late_ms = if chance.below(10) == 0 { chance.below(8_000) as i64 } else { 0 };
        let at = chrono::DateTime::from_timestamp_millis(now_ms - late_ms).unwrap().to_rfc3339();
        let mut row = json!({
            "metric_name": "latency", "value": levels[series], "account_id": format!("a-{}", series % 3),
            "timestamp": at,
        });
        if !series.is_multiple_of(4) {
            row["conversation_id"] = format!("c-{series}").into();
        }
        if chance.below(20) == 0 {
            rows.push(row.clone());
        }
        rows.push(row);
    }
    rows
}

/// Waits until everything that engines would say is decided, and compares.
async fn compare(stage: &Stage) {
    // Whatever is due by time alone becomes due, and nothing afterwards.
    stage.pass(3_600_000);
    let until_ms = stage.clock.load(Ordering::SeqCst) - 2_000;
    let begun = std::time::Instant::now();
    loop {
        let expected = stage.expected(&rule_set(RULES), until_ms).await;
        let decided = stage.decided().await;
        if expected == decided {
            assert!(expected.values().all(|count| *count == 1), "each once: {expected:#?}");
            assert!(expected.len() > 20, "too little happened: {}", expected.len());
            return;
        }
        if begun.elapsed() > PATIENCE / 3 {
            let lost: Vec<_> = expected.iter().filter(|(change, _)| !decided.contains_key(*change)).collect();
            let more: Vec<_> = decided.iter().filter(|(change, _)| !expected.contains_key(*change)).collect();
            panic!("of {} changes: lost {lost:#?}, more {more:#?}", expected.len());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_at_any_point_change_nothing() {
    let mut chance = seeded();
    let stage = Stage::new().await;
    let rules = stage.follow(RULES).await;
    let mut levels = vec![50.0; 14];
    for _ in 0..14 {
        let mortal = Mortal::new(&stage, Some(3 + chance.below(40) as u32));
        let config =
            EvaluatorConfig { control: mortal.clone(), drain_within: Duration::ZERO, ..stage.config(&rules) };
        let evaluator = Evaluator::start(mortal.clone(), config).await.unwrap();
        for _ in 0..2 + chance.below(12) {
            stage.record(&rows(&mut chance, &stage, &mut levels)).await;
            stage.pass(1_000 + chance.below(9_000) as i64);
            tokio::time::sleep(Duration::from_millis(chance.below(40))).await;
        }
        mortal.is_dead.store(true, Ordering::SeqCst);
        // It cannot do anything any more; its threads end.
        let _ = evaluator.shutdown().await;
    }
    let evaluator = stage.evaluator(&rules).await;
    compare(&stage).await;
    evaluator.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_move_between_instances_change_nothing() {
    let mut chance = seeded();
    let stage = Stage::new().await;
    let rules = stage.follow(RULES).await;
    let mut levels = vec![50.0; 14];
    let mut running = vec![stage.evaluator(&rules).await];
    for _ in 0..60 {
        stage.record(&rows(&mut chance, &stage, &mut levels)).await;
        stage.pass(1_000 + chance.below(9_000) as i64);
        tokio::time::sleep(Duration::from_millis(chance.below(30))).await;
        match chance.below(8) {
            0 if running.len() < 3 => running.push(stage.evaluator(&rules).await),
            1 if running.len() > 1 => {
                let leaving = running.swap_remove(chance.below(running.len() as u64) as usize);
                leaving.shutdown().await.unwrap();
            }
            2 => stage.log.compact().unwrap(),
            _ => {}
        }
    }
    compare(&stage).await;
    for evaluator in running {
        evaluator.shutdown().await.unwrap();
    }
    // The states fit into what compaction leaves of them.
    stage.log.compact().unwrap();
    let evaluator = stage.evaluator(&rules).await;
    compare(&stage).await;
    evaluator.shutdown().await.unwrap();
    assert!(stage.log.check().await.is_ok());
}
