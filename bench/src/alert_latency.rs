//! From the append of a bad row to Kafka until the control log has decided that its alert is raised, while good rows come at a
//! steady rate. The rows are judged by a `kelly evaluate` process; the decision is seen by a replica in this one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use clap::Args;
use comfy_table::Table as TextTable;
use hdrhistogram::Histogram;
use kelly_control::{FileSnapshots, Op, Replica, ReplicaConfig};
use kelly_harness::process::{Kelly, Start};
use kelly_harness::{BrokerOptions, KafkaBroker};
use kelly_schemas::Stream;
use kelly_stream::{KafkaConfig, KafkaLog, Log, NewRecord};
use serde_json::{Value, json};

use crate::freshness::Sending;
use crate::processes::CpuWatch;
use crate::{Report, machine, traffic};

/// Bad rows a second, each of a conversation of its own.
const PROBES_A_SECOND: u64 = 20;
/// Probes whose alerts do not count: clients connect, and partitions are handed over.
const WARM_UP_SECONDS: u64 = 5;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);
const LONGEST_MICROSECONDS: u64 = 60_000_000;

/// What to measure.
#[derive(Debug, Args)]
pub struct Options {
    /// Good rows a second, a case for each
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000])]
    per_second: Vec<u64>,
    /// Seconds that are measured
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { per_second: vec![1_000, 10_000], seconds: 20 }
    }
}

/// Runs every case.
pub async fn run(options: &Options) -> Result<Report> {
    let mut table = TextTable::new();
    table.set_header([
        "alert latency, metrics/s",
        "achieved",
        "alerts",
        "p50 ms",
        "p99 ms",
        "max ms",
        "% of a core: evaluate",
        "broker",
    ]);
    let mut cases = Vec::new();
    for per_second in &options.per_second {
        let case = run_case(*per_second, options.seconds).await?;
        let number =
            |value: &Value| value.as_f64().map_or_else(|| "-".to_owned(), |number| format!("{number:.1}"));
        let cpu = &case["cpu_percent_of_a_core"];
        table.add_row([
            per_second.to_string(),
            number(&case["achieved_per_s"]),
            case["alerts"].to_string(),
            number(&case["p50_ms"]),
            number(&case["p99_ms"]),
            number(&case["max_ms"]),
            number(&cpu["evaluate"]),
            number(&cpu["broker"]),
        ]);
        cases.push(case);
    }
    let json = json!({"bench": "alert-latency", "machine": machine::describe(), "cases": cases});
    Ok(Report { table, json, failed: false })
}

async fn run_case(per_second: u64, seconds: u64) -> Result<Value> {
    let broker = KafkaBroker::start_with(&BrokerOptions {
        heap_mb: 1024,
        quick_start: false,
        ..BrokerOptions::default()
    })?;
    let directory = tempfile::tempdir().context("creating a directory")?;
    let address = format!("kafka://{}", broker.bootstrap());
    let environment = [("KELLY_LOG", address.as_str())];
    let evaluate =
        Kelly::spawn(Start { arguments: &["evaluate"], environment: &environment, data: directory.path() });
    let log = Arc::new(KafkaLog::connect(KafkaConfig::new(broker.bootstrap()))?);
    let begun = Instant::now();
    while log.partitions(Stream::Metrics.topic()).await.is_err() {
        if begun.elapsed() > PATIENCE {
            bail!("kelly evaluate made no topics");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let snapshots = Arc::new(FileSnapshots::new(directory.path().join("bench")));
    let replica = Replica::start(log.clone(), ReplicaConfig::new(snapshots)).await?;
    let mut watcher = replica.watch(None);
    let good = Sending::to_kafka(log.clone(), per_second, good_metric_json).await?;
    let count = PROBES_A_SECOND * (WARM_UP_SECONDS + seconds);
    let mut watched = vec![("evaluate", evaluate.pid()), ("load", std::process::id())];
    watched.extend(broker.pid().map(|pid| ("broker", pid)));
    let cpu = CpuWatch::start(&watched)?;
    let (began, sent_before) = (Instant::now(), good.sent());
    let probing = tokio::spawn(probe(log.clone(), count));
    let mut raised: HashMap<String, Instant> = HashMap::new();
    while (raised.len() as u64) < count {
        let next = tokio::time::timeout(PATIENCE, watcher.next()).await;
        let decision = next.context("alerts are not raised")?.map_err(|end| anyhow::anyhow!("{end:?}"))?;
        let now = Instant::now();
        if let Some(Op::Transition(transition)) = decision.command().map(|command| &command.op)
            && decision.verdict.is_applied()
            && let Some(conversation) = &transition.conversation_id
        {
            raised.entry(conversation.clone()).or_insert(now);
        }
    }
    let percent = cpu.percent_of_a_core(began.elapsed())?;
    let achieved = (good.sent() - sent_before) as f64 / began.elapsed().as_secs_f64();
    let sent = probing.await.context("probing panicked")??;
    good.end().await?;
    let mut latencies: Histogram<u64> =
        Histogram::new_with_bounds(1, LONGEST_MICROSECONDS, 3).context("a histogram")?;
    for (number, at) in sent.iter().enumerate().skip((PROBES_A_SECOND * WARM_UP_SECONDS) as usize) {
        let raised = raised.get(&conversation(number as u64)).context("an alert of no probe")?;
        latencies.saturating_record(raised.duration_since(*at).as_micros() as u64);
    }
    replica.stop().await;
    if evaluate.terminate() != Some(0) {
        bail!("kelly evaluate did not end well");
    }
    let milliseconds = |quantile: f64| latencies.value_at_quantile(quantile) as f64 / 1000.0;
    Ok(json!({
        "bench": "alert-latency",
        "source": "kafka",
        "offered_per_s": per_second,
        "achieved_per_s": achieved,
        "alerts": latencies.len(),
        "p50_ms": milliseconds(0.5),
        "p99_ms": milliseconds(0.99),
        "p999_ms": milliseconds(0.999),
        "max_ms": latencies.max() as f64 / 1000.0,
        "errors": 0,
        "cpu_percent_of_a_core": percent,
        "machine": machine::describe(),
    }))
}

/// Appends a bad row at each tick, whether or not the one before is acknowledged. Gives when each was handed over.
async fn probe(log: Arc<KafkaLog>, count: u64) -> Result<Vec<Instant>> {
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / PROBES_A_SECOND as f64));
    let mut sending = tokio::task::JoinSet::new();
    let mut sent = Vec::new();
    for number in 0..count {
        ticks.tick().await;
        let conversation = conversation(number);
        let row = json!({
            "metric_name": "safety_score", "value": 0.1, "account_id": "probes", "conversation_id": conversation,
        });
        let record = NewRecord {
            topic: Stream::Metrics.topic().into(),
            partition: None,
            key: Some(Bytes::from(conversation)),
            payload: Bytes::from(row.to_string()),
            content_type: None,
        };
        let log = log.clone();
        sent.push(Instant::now());
        sending.spawn(async move { log.append(vec![record]).await.map(drop) });
    }
    while let Some(done) = sending.join_next().await {
        done?.context("appending a bad row")?;
    }
    Ok(sent)
}

fn conversation(number: u64) -> String {
    format!("probe-{number}")
}

/// A row that the built-in rules judge and find good.
fn good_metric_json(number: u64, timestamp_ms: i64) -> String {
    let (name, value) = [
        ("system_load", 20.0),
        ("ai_confidence", 0.92),
        ("response_time", 300.0),
        ("safety_score", 0.97),
        ("tokens", 500.0),
        ("turns", 7.0),
    ][(traffic::mix(number) % 6) as usize];
    let conversation = traffic::conversation(number);
    format!(
        r#"{{"metric_name":"{name}","value":{value},"timestamp":{timestamp_ms},"account_id":"acct-{}","conversation_id":"conv-{conversation}"}}"#,
        conversation % 200
    )
}
