//! From the append to Kafka until an event is on a socket, while metrics come at a steady rate.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use kelly_harness::{BrokerOptions, KafkaBroker};
use kelly_schemas::Stream;
use kelly_stream::{KafkaConfig, KafkaLog, Log, NewRecord};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::sockets::{self, Events, Way, milliseconds};
use crate::freshness::Sending;
use crate::kelly::{Kelly, resident_mib};
use crate::processes::CpuWatch;
use crate::{machine, traffic};

/// Sockets that follow.
const SOCKETS: usize = 10;
/// Events a second.
const EVENTS_A_SECOND: u64 = 20;
const WARM_UP_SECONDS: u64 = 5;

pub async fn run(metrics_a_second: u64, seconds: u64) -> Result<Value> {
    let broker = KafkaBroker::start_with(&BrokerOptions {
        heap_mb: 1024,
        quick_start: false,
        ..BrokerOptions::default()
    })?;
    let address = format!("kafka://{}", broker.bootstrap());
    let kelly = Kelly::start(&["up", "--log", &address], &[]).await?;
    let log = Arc::new(KafkaLog::connect(KafkaConfig::new(broker.bootstrap()))?);
    let metrics = Sending::to_kafka(log.clone(), metrics_a_second, traffic::metric_json).await?;
    let events = Events::new(EVENTS_A_SECOND * (WARM_UP_SECONDS + seconds));
    let (ended, mut ends) = mpsc::channel(1);
    let mut following = JoinSet::new();
    let ways = (0..SOCKETS).map(|number| Way::of(&kelly, number)).collect::<Result<Vec<_>>>()?;
    sockets::open(ways, |socket| {
        following.spawn(sockets::follow(socket, events.clone(), ended.clone()));
    })
    .await?;
    let mut watched =
        vec![("kelly", kelly.pid()?), ("engine", kelly.engine_pid()?), ("load", std::process::id())];
    watched.extend(broker.pid().map(|pid| ("broker", pid)));
    let cpu = CpuWatch::start(&watched)?;
    let begun = std::time::Instant::now();
    let sent_before = metrics.sent();
    append(&log, &events).await?;
    events.have_come(SOCKETS, &mut ends).await?;
    let percent = cpu.percent_of_a_core(begun.elapsed())?;
    let achieved = (metrics.sent() - sent_before) as f64 / begun.elapsed().as_secs_f64();
    let resident = resident_mib(kelly.pid()?)?;
    metrics.end().await?;
    kelly.end().await.context("ending kelly")?;
    let (from_sent, _) = events.latencies((EVENTS_A_SECOND * WARM_UP_SECONDS) as usize)?;
    Ok(json!({
        "case": "produced",
        "source": "kafka",
        "sockets": SOCKETS,
        "metrics_per_s": metrics_a_second,
        "metrics_achieved_per_s": achieved,
        "offered_per_s": EVENTS_A_SECOND,
        "events": events.count(),
        "p50_ms": milliseconds(&from_sent, 0.5),
        "p99_ms": milliseconds(&from_sent, 0.99),
        "rss_mib": {"loaded": resident},
        "cpu_percent_of_a_core": percent,
        "errors": 0,
        "machine": machine::describe(),
    }))
}

/// Appends an event at each tick, whether or not the one before is acknowledged.
async fn append(log: &Arc<KafkaLog>, events: &Arc<Events>) -> Result<()> {
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / EVENTS_A_SECOND as f64));
    let mut sending = JoinSet::new();
    for number in 0..events.count() {
        ticks.tick().await;
        let record = NewRecord {
            topic: Stream::Activity.topic().into(),
            partition: None,
            key: Some(Bytes::from(format!("conversation-{}", number % 100))),
            payload: Bytes::from(events.send(number).to_string()),
            content_type: None,
        };
        let log = log.clone();
        sending.spawn(async move { log.append(vec![record]).await.map(drop) });
    }
    while let Some(sent) = sending.join_next().await {
        sent?.context("appending an event")?;
    }
    Ok(())
}
