//! What rules would have done, by the store, beside what they did: the same rows, through the log and the real ingest into the real store,
//! and into engines that heard them from the log as they came.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use kelly_alerts::rule::{RuleSet, Scope, parse_toml};
use kelly_alerts::{Engine, Place, Record, Rule, StateKey, Transition};
use kelly_harness::TestDatabase;
use kelly_ingest::{IngestConfig, Pipeline, Rules};
use kelly_query::{Accounts, QueryService, QueryServiceParts, RangeRequest};
use kelly_schemas::decode::{self, Origin};
use kelly_schemas::{Catalogue, Limits, Metric, Stream};
use kelly_stream::{
    EmbeddedConfig, EmbeddedLog, Log, NewRecord, ReaderSpec, RecordSink, Retention, TopicPartition, TopicSpec,
};
use serde_json::json;

use crate::samples::Numbers;

const PARTITIONS: u32 = 3;
const MESSAGES: usize = 4_000;
const ROWS_OF_A_MESSAGE: usize = 12;
/// After how many rows a live engine is ended and begun anew from what it stored.
const RESTART_EVERY: usize = 4_999;

const RULES: &str = r#"
[[rule]]
id = "newest"
metric = "latency"
direction = "above"
warning = 60
critical = 90

[[rule]]
id = "mean"
metric = "latency"
aggregation = "avg"
window = "1s"
direction = "above"
warning = 52
hysteresis = 2
for = "100ms"
mute_for = "200ms"

[[rule]]
id = "of_accounts"
metric = "latency"
scope = "account"
aggregation = "p95"
window = "2s"
direction = "above"
warning = 93
keep_firing_for = "150ms"

[[rule]]
id = "everything"
metric = "latency"
scope = "global"
aggregation = "max"
window = "1s"
direction = "above"
warning = 99.5

[[rule]]
id = "in_the_north"
metric = "latency"
filter = { "metadata.region" = "north" }
direction = "below"
warning = 20
inhibited_by = ["newest"]

[[rule]]
id = "both"
kind = "composite"
when = "newest and mean"
"#;

fn rules() -> Vec<Rule> {
    parse_toml(RULES).unwrap().rules
}

/// A row as it was heard.
struct Heard {
    place: Place,
    log_time_ms: i64,
    metric: Metric<'static>,
}

/// What a reader of the log hears, by partition.
struct Hearing {
    limits: Limits,
    heard: BTreeMap<u32, Vec<Heard>>,
    messages: usize,
}

impl RecordSink for Hearing {
    fn gap(&mut self, partition: &TopicPartition, expected: u64, found: u64) {
        panic!("{partition:?} lost {expected} to {found}");
    }

    fn record(&mut self, record: kelly_stream::Record<'_>) {
        self.messages += 1;
        let origin = Origin {
            partition: record.partition,
            offset: record.offset,
            log_time_ms: record.timestamp_ms,
            limits: &self.limits,
        };
        let heard = self.heard.entry(record.partition).or_default();
        decode::metrics(record.payload, &origin, &mut |row, metric| {
            let metric = metric.expect("a sound row");
            heard.push(Heard {
                place: Place { partition: record.partition, offset: record.offset as i64, row },
                log_time_ms: record.timestamp_ms,
                metric: owned(&metric),
            });
        });
    }
}

fn owned(metric: &Metric<'_>) -> Metric<'static> {
    let text = |text: &str| text.to_owned().into();
    Metric {
        metric_name: text(&metric.metric_name),
        metric_type: text(&metric.metric_type),
        value: metric.value,
        timestamp_ms: metric.timestamp_ms,
        account_id: text(&metric.account_id),
        conversation_id: text(&metric.conversation_id),
        user_id: text(&metric.user_id),
        metadata: text(&metric.metadata),
    }
}

/// Messages of several rows, some of which are late by up to two seconds, of conversations and of accounts without any. Each series
/// lies in one partition, as its key would have it.
async fn produce(log: &dyn Log) {
    let topics = [Stream::Metrics, Stream::Activity].map(|stream| TopicSpec {
        name: stream.topic().to_owned(),
        partitions: PARTITIONS,
        retention: Retention::default(),
    });
    log.ensure_topics(&topics).await.unwrap();
    let mut numbers = Numbers(11);
    let mut made = 0;
    while made < MESSAGES {
        let now_ms = Utc::now().timestamp_millis();
        let records = (0..20).map(|_| {
            let partition = (numbers.even() * f64::from(PARTITIONS)) as u32;
            let mut row = || {
                let number = (numbers.even() * 12.0) as u32;
                let late_ms = if numbers.even() < 0.1 { (numbers.even() * 2_000.0) as i64 } else { 0 };
                let mut row = json!({
                    "metric_name": "latency",
                    "value": (numbers.even() * 1_000.0).round() / 10.0,
                    "timestamp": now_ms - late_ms,
                    "account_id": format!("a{partition}-{}", number % 4),
                    "metadata": {"region": if numbers.even() < 0.5 { "north" } else { "south" }},
                });
                if !number.is_multiple_of(3) {
                    row["conversation_id"] = format!("c{partition}-{number}").into();
                }
                row
            };
            let rows: Vec<_> = (0..ROWS_OF_A_MESSAGE).map(|_| row()).collect();
            NewRecord {
                topic: Stream::Metrics.topic().into(),
                partition: Some(partition),
                key: None,
                payload: json!(rows).to_string().into(),
                content_type: None,
            }
        });
        let records: Vec<NewRecord> = records.collect();
        made += records.len();
        log.append(records).await.unwrap();
    }
}

async fn ingest(log: &Arc<dyn Log>, database: &TestDatabase) {
    let rules = Rules { limits: Limits::default(), raw_retention_ms: 72 * 3_600_000 };
    let pipeline =
        Pipeline::start(Arc::clone(log), Arc::new(database.store().clone()), IngestConfig::new(rules))
            .unwrap();
    while pipeline.lag().await.unwrap() > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    pipeline.shutdown().await.unwrap();
}

fn hear(log: &dyn Log) -> BTreeMap<u32, Vec<Heard>> {
    let spec = ReaderSpec { topic: Stream::Metrics.topic().into(), offsets: vec![0; PARTITIONS as usize] };
    let mut reader = log.reader(spec).unwrap();
    let mut hearing = Hearing { limits: Limits::default(), heard: BTreeMap::new(), messages: 0 };
    while hearing.messages < MESSAGES {
        reader.poll(Duration::from_millis(100), 1_000, &mut hearing).unwrap();
    }
    hearing.heard
}

/// An engine of some scopes over rows as they come: ticked before each, ended and begun anew now and then.
fn live<'h>(scopes: &[Scope], heard: impl Iterator<Item = &'h Heard>, until_ms: i64) -> Vec<Transition> {
    let begun = || Engine::of_scopes(RuleSet::new(&rules()).unwrap(), scopes);
    let mut engine = begun();
    let mut said = Vec::new();
    let mut stored: BTreeMap<StateKey, Option<Vec<u8>>> = BTreeMap::new();
    for (row, number) in heard.zip(1..) {
        engine.tick(row.log_time_ms - 1, &mut said);
        let Heard { place, log_time_ms, metric } = row;
        engine.record(&Record { place: Some(*place), log_time_ms: *log_time_ms, metric }, &mut said);
        if number % RESTART_EVERY == 0 {
            stored.extend(engine.take_changed());
            engine = begun();
            for (key, state) in &stored {
                if let Some(state) = state {
                    engine.restore(key.clone(), state, &mut said).unwrap();
                }
            }
        }
    }
    engine.tick(until_ms, &mut said);
    said
}

/// In the order of what they are about, and of one thing as they were said.
fn sorted(mut said: Vec<Transition>) -> Vec<Transition> {
    said.sort_by(|one, other| (&one.rule, &one.entity).cmp(&(&other.rule, &other.entity)));
    said
}

fn in_an_hour() -> DateTime<Utc> {
    Utc::now() + TimeDelta::hours(1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backtest_says_what_was_said_live_over_ten_thousand_alerts() {
    let directory = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = Arc::new(EmbeddedLog::open(EmbeddedConfig::new(directory.path())).unwrap());
    let database = TestDatabase::create().await;
    produce(&*log).await;
    ingest(&log, &database).await;
    let heard = hear(&*log);
    let until = Utc::now() + TimeDelta::minutes(30);
    let until = DateTime::from_timestamp_millis(until.timestamp_millis()).unwrap();
    let until_ms = until.timestamp_millis();

    // Series and conversations by partition, as they stand on the log; accounts and everything over the rows brought together.
    let mut said: Vec<Transition> = heard
        .values()
        .flat_map(|heard| live(&[Scope::Series, Scope::Conversation], heard.iter(), until_ms))
        .collect();
    let mut together: Vec<&Heard> = heard.values().flatten().collect();
    together.sort_by_key(|row| (row.log_time_ms, row.place));
    said.extend(live(&[Scope::Account, Scope::Global], together.into_iter(), until_ms));

    let service = QueryService::new(QueryServiceParts {
        store: database.store().clone(),
        catalogue: Arc::new(Catalogue::builtin().clone()),
        clock: in_an_hour,
    });
    let range = RangeRequest::Between { from: until - TimeDelta::hours(2), to: Some(until) };
    let report = service.backtest(&rules(), &Accounts::All, range).await.unwrap();

    assert_eq!(report.statistics.rows as usize, MESSAGES * ROWS_OF_A_MESSAGE);
    assert_eq!(report.not_kept, 0);
    let raised: u64 = report.outcomes.values().map(|outcome| outcome.raised).sum();
    assert!(raised >= 10_000, "{raised} alerts: {:?}", report.outcomes);
    for rule in rules() {
        assert!(
            report.outcomes.get(&rule.id).is_some_and(|outcome| outcome.raised > 0),
            "{} raised nothing",
            rule.id
        );
    }
    let (found, said) = (sorted(report.transitions), sorted(said));
    let first_difference = found.iter().zip(&said).find(|(found, said)| found != said);
    assert_eq!(first_difference, None, "of {} and {} transitions", found.len(), said.len());
    assert_eq!(found.len(), said.len());
}
