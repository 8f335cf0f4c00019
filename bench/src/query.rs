//! How fast the detailed endpoint's question is answered by the store: 30 days of 60 metrics of 200
//! accounts, every timeframe, for all accounts and for one. No cache stands between.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use clap::Args;
use comfy_table::Table as TextTable;
use hdrhistogram::Histogram;
use kelly_harness::TestDatabase;
use kelly_ingest::{IngestConfig, Pipeline, Rules};
use kelly_query::{DetailedRequest, QueryService, QueryServiceParts, RangeRequest, Retention};
use kelly_schemas::{Catalogue, Limits, topics};
use kelly_stream::{self as stream, EmbeddedConfig, EmbeddedLog, Log, NewRecord, TopicSpec};
use serde_json::{Value, json};

use crate::ingest::progress;
use crate::{Report, machine, traffic};

const METRICS: u64 = 60;
const ACCOUNTS: u64 = 200;
const DAYS: u64 = 30;
/// Longest latency that is told apart: a minute.
const LONGEST_MICROSECONDS: u64 = 60_000_000;
const TIMEFRAMES: [&str; 5] = ["1h", "6h", "24h", "7d", "30d"];

/// What to measure.
#[derive(Debug, Args)]
pub struct Options {
    /// Minutes between two samples of one metric of one account
    #[arg(long, default_value_t = 120)]
    minutes: u64,
    /// Questions a case
    #[arg(long, default_value_t = 300)]
    questions: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { minutes: 120, questions: 300 }
    }
}

/// Fills thirty days through the pipeline, then asks.
pub async fn run(options: &Options) -> Result<Report> {
    let database = TestDatabase::create().await;
    let rows = fill(&database, options).await?;
    let service = QueryService::new(QueryServiceParts {
        store: database.store().clone(),
        catalogue: Arc::new(Catalogue::builtin().clone()),
        retention: Retention { metrics_hours: 72, days: 90 },
        clock: chrono::Utc::now,
    });
    let mut table = TextTable::new();
    table.set_header([
        "query",
        "scope",
        "questions",
        "first: p50 ms",
        "p99",
        "again: p50 ms",
        "p99",
        "per s",
    ]);
    let mut cases = Vec::new();
    for timeframe in TIMEFRAMES {
        for account in [None, Some("account-7")] {
            // Each metric once, nothing of it in the store's caches; then again and again.
            let first = ask(&service, timeframe, account, METRICS).await?;
            let again = ask(&service, timeframe, account, options.questions).await?;
            table.add_row([
                timeframe.to_owned(),
                account.unwrap_or("all accounts").to_owned(),
                options.questions.to_string(),
                format!("{:.1}", first.milliseconds(0.5)),
                format!("{:.1}", first.milliseconds(0.99)),
                format!("{:.1}", again.milliseconds(0.5)),
                format!("{:.1}", again.milliseconds(0.99)),
                format!("{:.0}", again.per_second()),
            ]);
            for (state, latencies) in [("first", first), ("again", again)] {
                cases.push(json!({
                    "bench": "query",
                    "timeframe": timeframe,
                    "scope": if account.is_some() { "account" } else { "all" },
                    "state": state,
                    "offered_per_s": Value::Null,
                    "achieved_per_s": latencies.per_second(),
                    "p50_ms": latencies.milliseconds(0.5),
                    "p99_ms": latencies.milliseconds(0.99),
                    "p999_ms": latencies.milliseconds(0.999),
                    "errors": 0,
                }));
            }
        }
    }
    let json = json!({
        "bench": "query", "samples": rows, "metrics": METRICS, "accounts": ACCOUNTS, "days": DAYS,
        "machine": machine::describe(), "cases": cases,
    });
    Ok(Report { table, json, failed: false })
}

struct Latencies {
    microseconds: Histogram<u64>,
    took: Duration,
}

impl Latencies {
    fn milliseconds(&self, quantile: f64) -> f64 {
        self.microseconds.value_at_quantile(quantile) as f64 / 1000.0
    }

    fn per_second(&self) -> f64 {
        self.microseconds.len() as f64 / self.took.as_secs_f64()
    }
}

/// One question after the other, over the metrics in turn.
async fn ask(
    service: &QueryService,
    timeframe: &str,
    account: Option<&str>,
    questions: u64,
) -> Result<Latencies> {
    let mut microseconds = Histogram::new_with_bounds(1, LONGEST_MICROSECONDS, 3).context("a histogram")?;
    let begun = Instant::now();
    for question in 0..questions {
        let request = DetailedRequest {
            metric_name: format!("metric_{}", question % METRICS),
            range: RangeRequest::parse(Some(timeframe), None, None)?,
            account_id: account.map(str::to_owned),
            conversation_id: None,
        };
        let asked = Instant::now();
        let answer = service.detailed(request).await?;
        microseconds.saturating_record(asked.elapsed().as_micros() as u64);
        if timeframe == "30d" && answer.sample_count == 0 {
            bail!("the store answered nothing for 30 days: the benchmark would measure emptiness");
        }
    }
    Ok(Latencies { microseconds, took: begun.elapsed() })
}

/// Thirty days of samples through the embedded log and the pipeline; gives their number.
async fn fill(database: &TestDatabase, options: &Options) -> Result<u64> {
    let directory = tempfile::tempdir().context("making a directory for the log")?;
    let log: Arc<dyn Log> = Arc::new(EmbeddedLog::open(EmbeddedConfig::new(directory.path()))?);
    let topic = |name: &str| TopicSpec {
        name: name.to_owned(),
        partitions: 1,
        retention: stream::Retention::default(),
    };
    log.ensure_topics(&[topic(topics::METRICS), topic(topics::ACTIVITY)]).await?;
    let config = IngestConfig::new(Rules { limits: Limits::default(), raw_retention_ms: 72 * 3_600_000 });
    let pipeline = Pipeline::start(Arc::clone(&log), Arc::new(database.store().clone()), config)?;
    let now_ms = chrono::Utc::now().timestamp_millis();
    let steps = DAYS * 24 * 60 / options.minutes;
    let total = steps * METRICS * ACCOUNTS;
    let bar = progress("filling 30 days", total);
    let topic: Arc<str> = topics::METRICS.into();
    for step in 0..steps {
        let records = (0..METRICS).map(|metric| {
            let rows: Vec<String> = (0..ACCOUNTS)
                .map(|account| {
                    let random = traffic::mix((step * METRICS + metric) * ACCOUNTS + account);
                    // Spread over the whole step, so that minutes are as dense as in life.
                    let age_minutes = (steps - step) * options.minutes - random % options.minutes;
                    let value = f64::from((random >> 32) as u32 % 10_000) / 10.0 + 1.0;
                    format!(
                        r#"{{"metric_name":"metric_{metric}","value":{value},"timestamp":{},"account_id":"account-{account}"}}"#,
                        now_ms - (age_minutes * 60_000) as i64
                    )
                })
                .collect();
            NewRecord {
                topic: Arc::clone(&topic),
                partition: Some(0),
                key: None,
                payload: Bytes::from(format!("[{}]", rows.join(","))),
                content_type: None,
            }
        });
        log.append(records.collect()).await?;
        bar.set_position(pipeline.counts().rows);
    }
    while pipeline.counts().rows < total {
        bar.set_position(pipeline.counts().rows);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bar.finish_and_clear();
    pipeline.shutdown().await?;
    log.close().await?;
    Ok(total)
}
