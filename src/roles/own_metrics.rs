//! Kelly's own metrics: gathered from whatever counts, each time somebody asks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kelly_api::{Expose, Health, Live, MetricsForm, Part, PartStatus, Transport};
use kelly_ingest::PartitionPosition;
use kelly_schemas::Stream;
use kelly_stream::{Log, LogError};
use tokio::time::timeout;

use super::health::PartsHealth;
use super::progress::Progress;
use crate::metrics::catalogue as metric;
use crate::metrics::{Gathered, Processes, Recorded, RefusedUses, RequestMetrics, Value};
use crate::traces::SpanCounts;

/// How long anything may take to say how it is. What takes longer is left out this time: a scrape must not wait for what is ill.
const DEADLINE: Duration = Duration::from_secs(4);

/// Where the metrics come from.
pub struct OwnMetrics {
    /// Requests.
    pub requests: Arc<RequestMetrics>,
    /// Uses beyond budgets.
    pub refused: Arc<RefusedUses>,
    /// What was recorded over HTTP.
    pub recorded: Arc<Recorded>,
    /// Ingest, where this process has it.
    pub ingest: Option<Arc<Progress>>,
    /// Live push.
    pub live: Arc<Live>,
    /// The log.
    pub log: Arc<dyn Log>,
    /// The parts.
    pub health: Arc<PartsHealth>,
    /// What became of spans.
    pub spans: Arc<SpanCounts>,
    /// The processes.
    pub processes: Processes,
}

#[async_trait]
impl Expose for OwnMetrics {
    async fn metrics(&self, form: MetricsForm) -> String {
        let processes = self.processes.clone();
        let readings = tokio::task::spawn_blocking(move || processes.read());
        let positions = async {
            match &self.ingest {
                Some(progress) => timeout(DEADLINE, progress.positions()).await.ok()?.ok(),
                None => None,
            }
        };
        let (parts, positions, feed_lag, readings) = tokio::join!(
            timeout(DEADLINE, self.health.parts()),
            positions,
            timeout(DEADLINE, self.feed_lag()),
            readings,
        );
        let mut gathered = Gathered::default();
        gathered.count(&metric::BUILD, [env!("CARGO_PKG_VERSION").into()], 1);
        // A defect there was logged; the others are told.
        if let Ok(readings) = readings {
            readings.gather(&mut gathered);
        }
        parts_into(&mut gathered, &parts.unwrap_or_default());
        self.requests.gather(&mut gathered);
        self.refused.gather(&mut gathered);
        self.recorded.gather(&mut gathered);
        self.ingest_into(&mut gathered, positions.as_deref());
        self.live_into(&mut gathered, feed_lag.ok().and_then(Result::ok));
        for (outcome, count) in self.spans.outcomes() {
            gathered.count(&metric::TRACE_SPANS, [outcome.into()], count);
        }
        gathered.write(form)
    }
}

impl OwnMetrics {
    /// Events on the log that live push has not read.
    async fn feed_lag(&self) -> Result<u64, LogError> {
        let read = self.live.feed_position();
        let ends = self.log.ends(Stream::Activity.topic()).await?;
        let behind = |(partition, ends): (usize, &kelly_stream::Watermarks)| {
            ends.high.saturating_sub(read.get(partition).copied().unwrap_or(ends.low).max(ends.low))
        };
        Ok(ends.iter().enumerate().map(behind).sum())
    }

    fn ingest_into(&self, into: &mut Gathered, positions: Option<&[PartitionPosition]>) {
        let Some(progress) = &self.ingest else { return };
        let counts = progress.counts();
        for (metric, count) in [
            (&metric::INGEST_RECORDS, counts.records),
            (&metric::INGEST_ROWS, counts.rows),
            (&metric::INGEST_DEAD_LETTERS, counts.dead_letters),
            (&metric::INGEST_RETRIES, counts.retries),
            (&metric::INGEST_LOST, counts.lost),
            (&metric::INGEST_BUFFERED, counts.buffered_bytes),
            (&metric::INGEST_PARTITIONS, counts.partitions),
        ] {
            into.count(metric, [], count);
        }
        let [rows, bytes] = progress.batch_sizes();
        into.add(&metric::INGEST_BATCH_ROWS, [], Value::Sizes(rows));
        into.add(&metric::INGEST_BATCH_BYTES, [], Value::Sizes(bytes));
        if let Some(written) = counts.last_written_ms {
            into.add(&metric::INGEST_WRITTEN, [], Value::Number(written as f64 / 1_000.0));
        }
        let mut lag = BTreeMap::<&'static str, u64>::new();
        for position in positions.unwrap_or_default() {
            *lag.entry(position.stream.topic()).or_default() += position.behind();
        }
        for (topic, records) in lag {
            into.count(&metric::INGEST_LAG, [topic.into()], records);
        }
    }

    fn live_into(&self, into: &mut Gathered, feed_lag: Option<u64>) {
        for transport in Transport::ALL {
            let (name, counts) = (transport.name(), self.live.counts(transport));
            into.count(&metric::LIVE_CONNECTIONS, [name.into()], counts.open);
            into.count(&metric::LIVE_MESSAGES, [name.into()], counts.messages);
            into.count(&metric::LIVE_BYTES, [name.into()], counts.bytes);
            let closes = counts.closes.iter().map(|(close, count)| (close.reason(), *count));
            for (reason, count) in closes.chain([("gone", counts.gone)]) {
                into.count(&metric::LIVE_CLOSES, [name.into(), reason.into()], count);
            }
        }
        into.count(&metric::LIVE_SKIPPED, [], self.live.skipped_figures());
        into.count(&metric::LIVE_RESETS, [], self.live.resets());
        if let Some(lag) = feed_lag {
            into.count(&metric::LIVE_FEED_LAG, [], lag);
        }
    }
}

fn parts_into(into: &mut Gathered, parts: &[Part]) {
    const STATES: [(PartStatus, &str); 4] = [
        (PartStatus::Healthy, "healthy"),
        (PartStatus::Degraded, "degraded"),
        (PartStatus::Starting, "starting"),
        (PartStatus::Down, "down"),
    ];
    for part in parts {
        for (status, state) in STATES {
            let labels = [part.name.clone().into(), state.into()];
            into.count(&metric::PART_STATE, labels, u64::from(part.status == status));
        }
        let since = part.since.timestamp_millis() as f64 / 1_000.0;
        into.add(&metric::PART_SINCE, [part.name.clone().into()], Value::Number(since));
    }
}
