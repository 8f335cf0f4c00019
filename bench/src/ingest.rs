//! How fast a backlog reaches the store: exactly once, rollups on. The backlog is on the log before
//! the clock starts; the clock stops when the last position is confirmed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use clap::{Args, ValueEnum};
use comfy_table::Table as TextTable;
use indicatif::{ProgressBar, ProgressStyle};
use kelly_harness::{BrokerOptions, KafkaBroker};
use kelly_ingest::{IngestConfig, Pipeline, Rules};
use kelly_schemas::decode::ARROW_STREAM;
use kelly_schemas::{Limits, Stream};
use kelly_sql::Store;
use kelly_stream::partitioner::partition_of;
use kelly_stream::{
    EmbeddedConfig, EmbeddedLog, KafkaConfig, KafkaLog, Log, NewRecord, Retention, TopicSpec,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::processes::CpuWatch;
use crate::store::{FreshStore, Overrides};
use crate::{Report, machine, traffic};

/// Where the backlog lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Source {
    /// Apache Kafka, one broker on this machine.
    Kafka,
    /// The embedded log.
    Embedded,
}

/// How its messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// JSON, each metric an object.
    Json,
    /// Arrow IPC streams.
    Arrow,
}

impl Format {
    /// Metrics in one message where nothing else is said: a JSON producer that sends each by itself, an Arrow one that
    /// gathers.
    fn rows_a_message(self) -> u64 {
        match self {
            Self::Json => 1,
            Self::Arrow => 8_000,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Arrow => "arrow",
        }
    }
}

/// What to measure.
#[derive(Debug, Default, Args)]
pub struct Options {
    /// Where the backlog lies; both when left out
    #[arg(long)]
    source: Option<Source>,
    /// How its messages are written; both when left out
    #[arg(long)]
    format: Option<Format>,
    /// Metrics in the backlog; 6,000,000 when left out
    #[arg(long)]
    rows: Option<u64>,
    /// Metrics in one message; when left out 1 of JSON, a producer that sends each by itself, and 8,000 of Arrow
    #[arg(long)]
    rows_a_message: Option<u64>,
    /// Partitions of the topic; 2, as many as Kelly makes, when left out
    #[arg(long)]
    partitions: Option<u32>,
    /// Rows that close a batch; the pipeline's own default when left out
    #[arg(long)]
    batch_rows: Option<usize>,
}

impl Options {
    fn backlogs(&self) -> Vec<Backlog> {
        let sources = self.source.map_or(vec![Source::Kafka, Source::Embedded], |source| vec![source]);
        let formats = self.format.map_or(vec![Format::Json, Format::Arrow], |format| vec![format]);
        let backlog = |source, format: Format| Backlog {
            source,
            format,
            rows: self.rows.unwrap_or(6_000_000),
            rows_a_message: self.rows_a_message.unwrap_or_else(|| format.rows_a_message()).max(1),
            partitions: self.partitions.unwrap_or(2),
        };
        sources.iter().flat_map(|source| formats.iter().map(|format| backlog(*source, *format))).collect()
    }
}

/// Runs every case asked for.
pub async fn run(options: &Options) -> Result<Report> {
    let mut table = TextTable::new();
    table.set_header([
        "ingest",
        "format",
        "rows",
        "rows/s",
        "us CPU a row: kelly",
        "engine",
        "broker",
        "bytes a raw row",
    ]);
    let mut cases = Vec::new();
    for backlog in options.backlogs() {
        let case = run_case(&backlog, options.batch_rows).await?;
        let cpu = &case["cpu_us_per_row"];
        let shown = |value: &Value, digits: usize| {
            value.as_f64().map_or_else(|| "-".to_owned(), |number| format!("{number:.digits$}"))
        };
        table.add_row([
            case["source"].as_str().unwrap_or_default().to_owned(),
            case["format"].as_str().unwrap_or_default().to_owned(),
            case["rows"].to_string(),
            shown(&case["rows_per_s"], 0),
            shown(&cpu["kelly"], 2),
            shown(&cpu["engine"], 2),
            shown(&cpu["broker"], 2),
            shown(&case["bytes_per_row"], 1),
        ]);
        cases.push(case);
    }
    let json = match <[Value; 1]>::try_from(cases) {
        Ok([case]) => case,
        Err(cases) => json!({"bench": "ingest", "machine": machine::describe(), "cases": cases}),
    };
    Ok(Report { table, json, failed: false })
}

/// A backlog to be made.
#[derive(Debug, Clone, Copy)]
pub struct Backlog {
    /// Where it lies.
    pub source: Source,
    /// How its messages are written.
    pub format: Format,
    /// Metrics.
    pub rows: u64,
    /// Metrics in one message.
    pub rows_a_message: u64,
    /// Partitions of the topic.
    pub partitions: u32,
}

/// A log with a backlog on it.
pub struct Prepared {
    /// The log.
    pub log: Arc<dyn Log>,
    /// Its broker, when it is Apache Kafka.
    pub broker: Option<KafkaBroker>,
    rows: u64,
    _directory: TempDir,
}

/// Makes a log and fills it.
pub async fn prepare(backlog: &Backlog) -> Result<Prepared> {
    let directory = tempfile::tempdir().context("making a directory for the log")?;
    let (log, broker): (Arc<dyn Log>, Option<KafkaBroker>) = match backlog.source {
        Source::Embedded => (Arc::new(EmbeddedLog::open(EmbeddedConfig::new(directory.path()))?), None),
        Source::Kafka => {
            let broker = KafkaBroker::start_with(&BrokerOptions {
                heap_mb: 1024,
                quick_start: false,
                ..BrokerOptions::default()
            })?;
            (Arc::new(KafkaLog::connect(KafkaConfig::new(broker.bootstrap()))?), Some(broker))
        }
    };
    let topic = |name: &str, partitions| TopicSpec {
        name: name.to_owned(),
        partitions,
        retention: Retention::default(),
    };
    log.ensure_topics(&[
        topic(Stream::Metrics.topic(), backlog.partitions),
        topic(Stream::Activity.topic(), 1),
    ])
    .await?;
    fill(&*log, backlog).await?;
    Ok(Prepared { log, broker, rows: backlog.rows, _directory: directory })
}

/// How a backlog is drained.
#[derive(Debug, Clone, Default)]
pub struct Drain {
    /// Consumer group; the usual one when left out.
    pub group: Option<String>,
    /// Rows that close a batch; the pipeline's own default when left out.
    pub batch_rows: Option<usize>,
}

/// What is reported of a drain.
#[derive(Debug, Clone, Copy)]
pub enum Seen {
    /// The pipeline is started next.
    Begins,
    /// So many rows are in the store and confirmed.
    Rows(u64),
    /// All are.
    Done,
}

/// Drains a backlog into `store` with Kelly's pipeline, telling how far it is.
pub async fn drain(
    prepared: &Prepared,
    store: &Store,
    how: &Drain,
    mut tell: impl FnMut(Seen) -> Result<()>,
) -> Result<()> {
    let mut config = IngestConfig::new(Rules { limits: Limits::default(), raw_retention_ms: 72 * 3_600_000 });
    if let Some(group) = &how.group {
        config.group.clone_from(group);
    }
    if let Some(rows) = how.batch_rows {
        // The bytes of a batch follow its rows, so that the rows decide.
        config.bounds.max_rows = rows;
        config.bounds.max_bytes = rows * 200;
    }
    // A fresh broker makes its own topic of positions at the first question about a group: seconds
    // that are no part of draining.
    while let Err(fault) = kelly_ingest::lag(&*prepared.log, &config.group, &config.streams).await {
        if !fault.is_retryable() {
            return Err(fault.into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let progress = progress("draining", prepared.rows);
    tell(Seen::Begins)?;
    let begun = Instant::now();
    let pipeline = Pipeline::start(Arc::clone(&prepared.log), Arc::new(store.clone()), config)?;
    loop {
        let counts = pipeline.counts();
        progress.set_position(counts.rows);
        if counts.rows >= prepared.rows {
            break;
        }
        tell(Seen::Rows(counts.rows))?;
        if begun.elapsed() > Duration::from_secs(600) {
            bail!("not drained after ten minutes: {counts:?}");
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    tell(Seen::Done)?;
    progress.finish_and_clear();
    let counts = pipeline.shutdown().await?;
    if counts.rows != prepared.rows || counts.dead_letters != 0 {
        bail!("the backlog came out wrong: {counts:?}");
    }
    Ok(())
}

async fn run_case(backlog: &Backlog, batch_rows: Option<usize>) -> Result<Value> {
    let prepared = prepare(backlog).await?;
    let fresh = FreshStore::start(&Overrides::default()).await?;
    let mut watched = vec![("kelly", std::process::id()), ("engine", fresh.pid()?)];
    watched.extend(prepared.broker.as_ref().and_then(KafkaBroker::pid).map(|pid| ("broker", pid)));
    let (mut clock, mut outcome) = (None, None);
    drain(&prepared, fresh.store(), &Drain { group: None, batch_rows }, |seen| {
        match seen {
            Seen::Begins => clock = Some((CpuWatch::start(&watched)?, Instant::now())),
            Seen::Rows(_) => {}
            Seen::Done => {
                if let Some((cpu, begun)) = &clock {
                    outcome = Some((begun.elapsed(), cpu.used()?));
                }
            }
        }
        Ok(())
    })
    .await?;
    let (took, used) = outcome.context("the drain never ended")?;
    let tables = fresh.store().storage().await?;
    let raw =
        tables.iter().find(|table| table.table == "system_metrics").context("the raw table is empty")?;
    prepared.log.close().await?;
    let per_row: serde_json::Map<String, Value> = used
        .iter()
        .map(|(name, used)| ((*name).to_owned(), json!(used.as_secs_f64() * 1e6 / backlog.rows as f64)))
        .collect();
    let case = json!({
        "bench": "ingest",
        "source": if backlog.source == Source::Kafka { "kafka" } else { "embedded" },
        "format": backlog.format.name(),
        "rows": backlog.rows,
        "rows_per_message": backlog.rows_a_message,
        "partitions": backlog.partitions,
        "seconds": took.as_secs_f64(),
        "rows_per_s": backlog.rows as f64 / took.as_secs_f64(),
        "cpu_us_per_row": per_row,
        "bytes_per_row": raw.bytes_on_disk as f64 / raw.rows.max(1) as f64,
        "machine": machine::describe(),
    });
    fresh.end().await;
    Ok(case)
}

async fn fill(log: &dyn Log, backlog: &Backlog) -> Result<()> {
    const ROWS_AN_APPEND: u64 = 20_000;
    let topic: Arc<str> = Stream::Metrics.topic().into();
    let newest_ms = chrono::Utc::now().timestamp_millis();
    let progress = progress("filling the log", backlog.rows);
    let (mut number, mut records) = (0, Vec::new());
    while number < backlog.rows {
        let key = format!("conv-{}", traffic::conversation(number));
        // The backlog is of the last hour.
        let time = |number: u64| newest_ms - 3_600_000 + (number * 3_600_000 / backlog.rows) as i64;
        let end = (number + backlog.rows_a_message).min(backlog.rows);
        let record = match backlog.format {
            // Of thousands of rows no conversation is the key: a producer hands them out in turn.
            Format::Arrow => NewRecord {
                topic: Arc::clone(&topic),
                partition: Some((number / backlog.rows_a_message % u64::from(backlog.partitions)) as u32),
                key: None,
                payload: Bytes::from(traffic::metrics_arrow(number..end, time)?),
                content_type: Some(ARROW_STREAM.into()),
            },
            Format::Json => {
                let payload = if backlog.rows_a_message == 1 {
                    traffic::metric_json(number, time(number))
                } else {
                    let rows: Vec<String> =
                        (number..end).map(|number| traffic::metric_json(number, time(number))).collect();
                    format!("[{}]", rows.join(","))
                };
                NewRecord {
                    topic: Arc::clone(&topic),
                    partition: Some(partition_of(key.as_bytes(), backlog.partitions)),
                    key: Some(Bytes::from(key)),
                    payload: Bytes::from(payload),
                    content_type: None,
                }
            }
        };
        records.push(record);
        number += backlog.rows_a_message;
        if records.len() as u64 * backlog.rows_a_message >= ROWS_AN_APPEND {
            log.append(std::mem::take(&mut records)).await?;
            progress.set_position(number);
        }
    }
    log.append(records).await?;
    progress.finish_and_clear();
    Ok(())
}

/// A bar on standard error; nothing when that is no terminal.
pub fn progress(what: &'static str, length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:20} {wide_bar} {human_pos}/{human_len} {per_sec}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style).with_message(what)
}
