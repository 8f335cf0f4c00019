//! Kelly's own metrics: gathered from whatever counts, each time somebody asks. What must be asked of others is a second old at most.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use kelly_api::{Expose, Live, MetricsForm, Part, PartStatus, Transport};
use kelly_control::Replica;
use kelly_evaluate::EvaluatorStats;
use kelly_ingest::PartitionPosition;

use super::looks::Looks;
use super::progress::Progress;
use crate::metrics::catalogue as metric;
use crate::metrics::{Gathered, Recorded, RefusedUses, RequestMetrics, Value};
use crate::traces::SpanCounts;

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
    /// What is decided.
    pub decisions: Arc<Replica>,
    /// The evaluation of alerts, where this process has it.
    pub evaluator: Option<Arc<EvaluatorStats>>,
    /// What became of spans.
    pub spans: Arc<SpanCounts>,
    /// What others must be asked for.
    pub looks: Arc<Looks>,
}

#[async_trait]
impl Expose for OwnMetrics {
    async fn metrics(&self, form: MetricsForm) -> String {
        let looked = self.looks.looked().await;
        let mut gathered = Gathered::default();
        gathered.count(&metric::BUILD, [env!("CARGO_PKG_VERSION").into()], 1);
        if let Some(readings) = &looked.readings {
            readings.gather(&mut gathered);
        }
        parts_into(&mut gathered, &looked.parts);
        self.requests.gather(&mut gathered);
        self.refused.gather(&mut gathered);
        self.recorded.gather(&mut gathered);
        self.ingest_into(&mut gathered, looked.positions.as_deref());
        self.live_into(&mut gathered, looked.feed_lag);
        self.decisions_into(&mut gathered);
        self.evaluator_into(&mut gathered);
        for (outcome, count) in self.spans.outcomes() {
            gathered.count(&metric::TRACE_SPANS, [outcome.into()], count);
        }
        gathered.write(form)
    }
}

impl OwnMetrics {
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

    fn evaluator_into(&self, into: &mut Gathered) {
        let Some(stats) = &self.evaluator else { return };
        let counts = stats.counts();
        for (metric, count) in [
            (&metric::EVALUATE_ROWS, counts.rows),
            (&metric::EVALUATE_SKIPPED, counts.skipped),
            (&metric::EVALUATE_PASSED_ON, counts.passed_on),
            (&metric::EVALUATE_LOST, counts.lost),
            (&metric::EVALUATE_LAG, counts.behind),
            (&metric::EVALUATE_PARTITIONS, counts.partitions),
            (&metric::EVALUATE_STARTING, counts.starting),
            (&metric::EVALUATE_STATES, counts.states),
            (&metric::EVALUATE_LATE, counts.late_rows),
            (&metric::EVALUATE_OVER_CAP, counts.over_cap),
            (&metric::EVALUATE_TRANSITIONS, counts.transitions),
            (&metric::EVALUATE_REFUSED, counts.dropped),
            (&metric::EVALUATE_WAITING, counts.put_off),
            (&metric::EVALUATE_UNKNOWN, counts.unknown),
            (&metric::EVALUATE_RETRIES, counts.retries),
            (&metric::ALERT_RULES, counts.rules),
            (&metric::ALERT_RULE_PROBLEMS, counts.problems),
            (&metric::ALERTS_FIRING, counts.firing),
        ] {
            into.count(metric, [], count);
        }
        if let Some(committed) = counts.committed_ms {
            into.add(&metric::EVALUATE_COMMITTED, [], Value::Number(committed as f64 / 1_000.0));
        }
    }

    fn decisions_into(&self, into: &mut Gathered) {
        for (verdict, count) in self.decisions.verdicts() {
            into.count(&metric::CONTROL_RECORDS, [verdict.into()], count);
        }
        let mut open = BTreeMap::from([("info", 0), ("warning", 0), ("critical", 0)]);
        let next_offset = self.decisions.read(|state| {
            for alert in state.alerts().book().open() {
                *open.entry(alert.severity.code()).or_default() += 1;
            }
            state.next_offset()
        });
        into.count(&metric::CONTROL_NEXT_OFFSET, [], next_offset);
        for (severity, count) in open {
            into.count(&metric::ALERTS_OPEN, [severity.into()], count);
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
