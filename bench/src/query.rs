//! How fast the detailed endpoint's question is answered: 30 days of 60 metrics of 200 accounts, every
//! timeframe, for all accounts and for one, with no cache between and with ingest beside; and one URL
//! polled over HTTP, as dashboards do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use clap::Args;
use comfy_table::Table as TextTable;
use hdrhistogram::Histogram;
use kelly_ingest::{IngestConfig, Pipeline, Rules};
use kelly_query::{Accounts, DetailedRequest, QueryService, QueryServiceParts, RangeRequest};
use kelly_schemas::{Catalogue, Limits, Stream};
use kelly_sql::Store;
use kelly_stream::{self as stream, EmbeddedConfig, EmbeddedLog, Log, NewRecord, TopicSpec};
use serde_json::{Value, json};

use crate::freshness::Sending;
use crate::http_load::{self, Load, Server};
use crate::ingest::progress;
use crate::kelly::Kelly;
use crate::store::{FreshStore, Overrides};
use crate::{Report, machine, traffic};

const METRICS: u64 = 60;
const ACCOUNTS: u64 = 200;
const DAYS: u64 = 30;
/// Longest latency that is distinguished: a minute.
const LONGEST_MICROSECONDS: u64 = 60_000_000;
/// How long ingest runs before questions beside it count.
const WARM_UP: Duration = Duration::from_secs(3);
const TIMEFRAMES: [&str; 5] = ["1h", "6h", "24h", "7d", "30d"];

/// What to measure.
#[derive(Debug, Args)]
pub struct Options {
    /// Minutes between two samples of one metric of one account
    #[arg(long, default_value_t = 120)]
    minutes: u64,
    /// Questions a case
    #[arg(long, default_value_t = 150)]
    questions: u64,
    /// Metrics a second recorded beside the questions, in the second half
    #[arg(long, default_value_t = 10_000)]
    per_second: u64,
    /// Connections that poll one URL
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Seconds they do so
    #[arg(long, default_value_t = 10)]
    poll_seconds: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { minutes: 120, questions: 150, per_second: 10_000, connections: 32, poll_seconds: 10 }
    }
}

/// Fills thirty days through the pipeline, then asks: the store through the service, with nothing else
/// going on and with ingest beside; then a whole `kelly up` on that store, over HTTP.
pub async fn run(options: &Options) -> Result<Report> {
    let fresh = FreshStore::start(&Overrides::default()).await?;
    let rows = fill(fresh.store(), options).await?;
    fresh.merge_past_weeks().await?;
    let mut answers = Answers::default();
    ask_service(fresh.store(), options, "alone", &mut answers).await?;

    let config = fresh.store().config();
    let store = format!("{}/{}", config.url.replace("://", &format!("://{}@", config.user)), config.database);
    let environment = [("KELLY_STORE", store.as_str()), ("KELLY_STORE_PASSWORD", config.password.as_str())];
    let kelly = Kelly::start(&["up"], &environment).await?;
    let sending = Sending::beside(&kelly, options.per_second, |number, timestamp_ms| {
        // Into the very series that are asked for.
        traffic::even_metric_json(number, METRICS, ACCOUNTS, timestamp_ms)
    })?;
    tokio::time::sleep(WARM_UP).await;
    let (sent_before, begun) = (sending.sent(), Instant::now());
    ask_service(fresh.store(), options, "ingest beside", &mut answers).await?;
    poll(&kelly, options, &mut answers).await?;
    let achieved_per_s = (sending.sent() - sent_before) as f64 / begun.elapsed().as_secs_f64();
    if achieved_per_s == 0.0 {
        bail!("nothing was recorded beside: the benchmark would measure a quiet store");
    }
    sending.end().await?;
    kelly.end().await?;
    fresh.end().await;
    let json = json!({
        "bench": "query", "samples": rows, "metrics": METRICS, "accounts": ACCOUNTS, "days": DAYS,
        "ingest_beside": { "offered_per_s": options.per_second, "achieved_per_s": achieved_per_s },
        "machine": machine::describe(), "cases": answers.cases,
    });
    Ok(Report { table: answers.table, json, failed: false })
}

/// What was found so far.
struct Answers {
    table: TextTable,
    cases: Vec<Value>,
}

impl Default for Answers {
    fn default() -> Self {
        let mut table = TextTable::new();
        table.set_header([
            "query",
            "beside",
            "timeframe",
            "scope",
            "questions",
            "p50 ms",
            "p99 ms",
            "per s",
            "errors",
            "304s",
        ]);
        Self { table, cases: Vec::new() }
    }
}

impl Answers {
    /// A case by its names, and what was measured of it under the names every latency has.
    fn add(&mut self, [query, beside, timeframe, scope]: [&str; 4], questions: u64, measured: Value) {
        let number = |name: &str, digits: usize| {
            measured[name].as_f64().map_or_else(|| "-".to_owned(), |number| format!("{number:.digits$}"))
        };
        self.table.add_row([
            query.to_owned(),
            beside.to_owned(),
            timeframe.to_owned(),
            scope.to_owned(),
            questions.to_string(),
            number("p50_ms", 1),
            number("p99_ms", 1),
            number("achieved_per_s", 0),
            measured["errors"].to_string(),
            measured["not_modified"].as_u64().map_or_else(|| "-".to_owned(), |number| number.to_string()),
        ]);
        let mut case = json!({
            "bench": "query", "query": query, "beside": beside, "timeframe": timeframe, "scope": scope,
            "questions": questions,
        });
        if let (Some(case), Value::Object(measured)) = (case.as_object_mut(), measured) {
            case.extend(measured);
        }
        self.cases.push(case);
    }
}

/// The service itself, which has no cache, one question after the other.
async fn ask_service(store: &Store, options: &Options, beside: &str, answers: &mut Answers) -> Result<()> {
    let service = QueryService::new(QueryServiceParts {
        store: store.clone(),
        catalogue: Arc::new(Catalogue::builtin().clone()),
        clock: chrono::Utc::now,
    });
    for timeframe in TIMEFRAMES {
        for account in [None, Some("account-7")] {
            // Each metric once, with the store's caches as what went before left them; then again and again.
            for (query, questions) in [("each once", METRICS), ("again", options.questions)] {
                let latencies = ask(&service, timeframe, account, questions).await?;
                let scope = if account.is_some() { "account" } else { "all" };
                answers.add([query, beside, timeframe, scope], questions, latencies.json());
            }
        }
    }
    Ok(())
}

/// The same URL asked over and over by many connections, as dashboards do.
async fn poll(kelly: &Kelly, options: &Options, answers: &mut Answers) -> Result<()> {
    let path = "/api/v1/kelly/monitoring/metrics/detailed/metric_7?timeframe=30d";
    let client = kelly.client()?;
    let server = Server { address: kelly.address(), token: kelly.token()? };
    for (query, is_tagged) in [("polled over HTTP", false), ("polled over HTTP with its ETag", true)] {
        // Asked for just before, so that the tag is that of the data which is there when polling begins.
        let answer = client.get(kelly.url(path)).send().await?;
        let status = answer.status();
        let tag = answer.headers().get("etag").and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        let body: Value = serde_json::from_str(&answer.text().await?).context("the answer is no JSON")?;
        if !status.is_success() || body["sample_count"].as_u64().is_none_or(|samples| samples == 0) {
            bail!("GET {path} answered {status} {body}: the benchmark would measure emptiness");
        }
        let tag = if is_tagged { Some(tag.context("an answer without an ETag")?) } else { None };
        let outcome = http_load::closed_loop(Load {
            address: kelly.address(),
            requests: vec![server.get(path, tag.as_deref())],
            connections: options.connections,
            // New rows make the tag an old one; then the whole answer comes.
            good: [200, if is_tagged { 304 } else { 200 }],
            measured: Duration::from_secs(options.poll_seconds),
            warm_up: Duration::from_secs(1),
        })
        .await?;
        let mut measured = outcome.json(None);
        measured["not_modified"] = outcome.not_modified.into();
        answers.add([query, "ingest beside", "30d", "all"], outcome.good, measured);
    }
    Ok(())
}

struct Latencies {
    microseconds: Histogram<u64>,
    took: Duration,
}

impl Latencies {
    fn milliseconds(&self, quantile: f64) -> f64 {
        self.microseconds.value_at_quantile(quantile) as f64 / 1000.0
    }

    fn json(&self) -> Value {
        json!({
            "offered_per_s": Value::Null,
            "achieved_per_s": self.microseconds.len() as f64 / self.took.as_secs_f64(),
            "p50_ms": self.milliseconds(0.5),
            "p99_ms": self.milliseconds(0.99),
            "p999_ms": self.milliseconds(0.999),
            "errors": 0,
        })
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
            range: RangeRequest::Last(timeframe.parse()?),
            accounts: Accounts::All,
            account_id: account.map(str::to_owned),
            conversation_id: None,
            step_seconds: None,
            compare: None,
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
async fn fill(store: &Store, options: &Options) -> Result<u64> {
    let directory = tempfile::tempdir().context("making a directory for the log")?;
    let log: Arc<dyn Log> = Arc::new(EmbeddedLog::open(EmbeddedConfig::new(directory.path()))?);
    let topic = |name: &str| TopicSpec {
        name: name.to_owned(),
        partitions: 1,
        retention: stream::Retention::default(),
    };
    log.ensure_topics(&[topic(Stream::Metrics.topic()), topic(Stream::Activity.topic())]).await?;
    let config = IngestConfig::new(Rules { limits: Limits::default(), raw_retention_ms: 72 * 3_600_000 });
    let pipeline = Pipeline::start(Arc::clone(&log), Arc::new(store.clone()), config)?;
    let now_ms = chrono::Utc::now().timestamp_millis();
    let steps = DAYS * 24 * 60 / options.minutes;
    let total = steps * METRICS * ACCOUNTS;
    let bar = progress("filling 30 days", total);
    let topic: Arc<str> = Stream::Metrics.topic().into();
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
