//! Opens what roles run on: the catalogue, the log, the store.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use kelly_ingest::{BatchBounds, IngestConfig, Rules};
use kelly_schemas::{Catalogue, Limits, Stream, error_chain};
use kelly_sql::engine::{Engine, EngineSpec, LibraryPlaces, find_library};
use kelly_sql::{MigrationParams, MigrationReport, Retentions, Store, StoreConfig};
use kelly_stream::{EmbeddedConfig, EmbeddedLog, KafkaConfig, KafkaLog, Log, LogError, Retention, TopicSpec};

use super::parts::Part;
use crate::config::{Config, Invalid, Loaded, LogTarget, StoreTarget};

/// The builtin catalogue, with the operator's thresholds over its own.
pub fn catalogue(loaded: &Loaded) -> anyhow::Result<Arc<Catalogue>> {
    let builtin = Catalogue::builtin();
    let Some(thresholds) = &loaded.thresholds else { return Ok(Arc::new(builtin.clone())) };
    let catalogue = builtin.with_thresholds(thresholds).map_err(|error| {
        Invalid::of("monitoring.alert_thresholds_config", &loaded.merged, error_chain(&error))
    })?;
    Ok(Arc::new(catalogue))
}

/// Whether the thresholds file can be used.
pub fn check_thresholds(loaded: &Loaded) -> anyhow::Result<()> {
    catalogue(loaded).map(drop)
}

/// Opens or connects to the log and makes sure of its topics.
pub async fn log(config: &Config) -> anyhow::Result<(Arc<dyn Log>, Part)> {
    let log: Arc<dyn Log> = match &config.log {
        LogTarget::Embedded(directory) => {
            let directory = directory.clone();
            let opened =
                tokio::task::spawn_blocking(move || EmbeddedLog::open(EmbeddedConfig::new(directory)));
            Arc::new(
                opened
                    .await
                    .context("opening the embedded log")?
                    .with_context(|| format!("opening the log ({})", config.log))?,
            )
        }
        LogTarget::Kafka(brokers) => Arc::new(
            KafkaLog::connect(kafka_config(config, brokers))
                .with_context(|| format!("connecting to the log ({})", config.log))?,
        ),
    };
    prepare(&*log, config).await.with_context(|| format!("preparing the log ({})", config.log))?;
    let closing = log.clone();
    let part = Part::new("log", "records to be acknowledged", move || async move {
        closing.close().await.context("closing the log")
    });
    Ok((log, part))
}

/// How Apache Kafka is reached at these brokers.
pub fn kafka_config(config: &Config, brokers: &str) -> KafkaConfig {
    KafkaConfig {
        brokers: brokers.to_owned(),
        properties: config.kafka_properties.clone(),
        ..KafkaConfig::default()
    }
}

/// Pause before brokers that do not answer are asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Makes sure of the topics. Brokers may start after Kelly: those that do not answer are waited for,
/// and that is logged once. The embedded log is there or it is not.
async fn prepare(log: &dyn Log, config: &Config) -> Result<(), LogError> {
    let topics = topic_specs(config);
    let mut is_logged = false;
    loop {
        match log.ensure_topics(&topics).await {
            Err(error) if error.is_retryable() && matches!(config.log, LogTarget::Kafka(_)) => {
                if !is_logged {
                    let error = error_chain(&error);
                    tracing::warn!(log = %config.log, error, "waiting for the log to answer; Ctrl-C stops");
                }
                is_logged = true;
            }
            outcome => {
                if is_logged && outcome.is_ok() {
                    tracing::info!(log = %config.log, "the log answers");
                }
                return outcome;
            }
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

fn topic_specs(config: &Config) -> Vec<TopicSpec> {
    let retention =
        Retention { time: Some(config.topics.retention_time), bytes: Some(config.topics.retention_bytes) };
    let partitions = |stream| match stream {
        Stream::Metrics | Stream::Activity => config.topics.partitions,
    };
    let topic = |stream: Stream| TopicSpec {
        name: stream.topic().to_owned(),
        partitions: partitions(stream),
        retention,
    };
    Stream::ALL.map(topic).into()
}

/// Starts the engine or makes the client of a server.
pub async fn store(config: &Config) -> anyhow::Result<(Store, Part)> {
    match &config.store {
        StoreTarget::Embedded(directory) => {
            let library = find_library(&LibraryPlaces {
                configured: config.store_access.libchdb.clone(),
                ..LibraryPlaces::from_environment()
            })?;
            let program = std::env::current_exe().context("finding Kelly's own program")?;
            let spec = EngineSpec {
                memory_limit_bytes: config.store_access.engine_memory,
                ..EngineSpec::new(directory.clone(), library, program, vec!["engine".into()])
            };
            let engine = Engine::start(spec).await.context("starting the embedded store")?;
            let store = engine.store().context("preparing the store's client")?;
            let files = store.clone();
            let part = Part::new("store", "the engine to end", move || async move {
                let found = files.verify_files().context("closing the store");
                engine.shutdown().await;
                found
            });
            Ok((store, part))
        }
        StoreTarget::Server { url, user, database } => {
            let store = Store::new(store_config(config, url, user, database))
                .context("preparing the store's client")?;
            Ok((store, Part::new("store", "nothing", || async { Ok(()) })))
        }
    }
}

/// Brings the tables to what this version needs, and says what changed.
pub async fn update_tables(config: &Config, store: &Store) -> anyhow::Result<()> {
    tracing::info!("bringing the store's tables up to date");
    let report = migrate(config, store).await?;
    if !report.applied.is_empty() {
        tracing::info!(migrations = report.applied.len(), "the store's tables are up to date");
    }
    if !report.retention.is_empty() {
        tracing::info!(tables = report.retention.join(", "), "retention follows the configuration");
    }
    Ok(())
}

/// Refuses a store whose tables are not those of this version.
pub async fn verify_tables(config: &Config, store: &Store) -> anyhow::Result<()> {
    let verified = store.verify_schema().await;
    verified.with_context(|| format!("checking the tables of the store ({})", config.store))
}

/// Brings the tables to what this version needs.
pub async fn migrate(config: &Config, store: &Store) -> anyhow::Result<MigrationReport> {
    let tables = MigrationParams {
        metrics_retention_hours: config.monitoring.metrics_retention_hours,
        retention_days: config.monitoring.retention_days,
        audit_retention_days: config.monitoring.audit_retention_days,
        cluster: config.store_access.cluster.as_ref().map(|cluster| cluster.0.clone()),
    };
    store
        .migrate(&tables)
        .await
        .with_context(|| format!("preparing the tables of the store ({})", config.store))
}

/// How a ClickHouse server is reached.
pub fn store_config(config: &Config, url: &str, user: &str, database: &str) -> StoreConfig {
    let password = config.store_access.password.as_ref();
    StoreConfig {
        url: url.to_owned(),
        database: database.to_owned(),
        user: user.to_owned(),
        password: password.map_or_else(String::new, |password| password.reveal().to_owned()),
        inserts_yield: false,
    }
}

/// What a row may be.
pub fn limits(config: &Config) -> Limits {
    Limits::with_retention_days(config.monitoring.retention_days)
}

/// How ingest runs.
pub fn ingest_config(config: &Config, stored: &Retentions) -> IngestConfig {
    let mut ingest =
        IngestConfig::new(Rules { limits: limits(config), raw_retention_ms: stored.samples.longest_ms() });
    ingest.bounds = BatchBounds {
        max_rows: config.ingest.batch_rows,
        max_bytes: config.ingest.batch_bytes,
        max_age: config.ingest.batch_time,
        ..BatchBounds::default()
    };
    ingest
}
