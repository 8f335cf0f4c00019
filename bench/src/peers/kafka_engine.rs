//! ClickHouse's own Kafka engine, inside the same engine Kelly uses, into the same tables.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kelly_harness::unique;

use super::views::{RAW_FROM_SOURCE, RollupsFrom, rollups};
use super::{Figures, Topic, watch};
use crate::store::{FreshStore, Overrides};

/// How often it is asked how many rows are there: the engine's CPU is charged to the peer, and so are the questions.
/// What came since the look before counts as there at that one, so that what this is too coarse for is in its favour.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// Longest a run may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// Threads of the pool that reads from message brokers: a server's documented default. The embedded
/// engine, which nobody sets up to read from brokers, comes with 2.
const SERVER_POOL: u32 = 16;

/// How the Kafka engine is set up. `None` is the documented default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// `kafka_num_consumers`.
    pub consumers: u32,
    /// `kafka_thread_per_consumer`: consumers insert in parallel.
    pub thread_per_consumer: bool,
    /// `kafka_max_block_size`.
    pub block_rows: Option<u32>,
    /// `kafka_poll_max_batch_size`.
    pub poll_rows: Option<u32>,
    /// `kafka_flush_interval_ms`, over `stream_flush_interval_ms` of the profile.
    pub flush_ms: Option<u32>,
    /// Where the rollups' views read.
    pub rollups_from: RollupsFrom,
    /// `parallel_view_processing` of the profile.
    pub parallel_views: bool,
    /// Larger fetches and a longer queue for librdkafka, as Kelly gives it.
    pub large_fetches: bool,
    /// `background_message_broker_schedule_pool_size`.
    pub pool: u32,
}

impl Setup {
    /// What the documentation's example leaves it at.
    pub fn documented() -> Self {
        Self {
            consumers: 1,
            thread_per_consumer: false,
            block_rows: None,
            poll_rows: None,
            flush_ms: None,
            rollups_from: RollupsFrom::Raw,
            parallel_views: false,
            large_fetches: false,
            pool: SERVER_POOL,
        }
    }

    /// One step of the search: what is tried from here, the best of it and of this being where the
    /// next step begins. `None` when the search is over.
    pub fn alternatives(&self, step: usize, partitions: u32) -> Option<Vec<Self>> {
        let with = |change: &dyn Fn(&mut Self)| {
            let mut setup = self.clone();
            change(&mut setup);
            setup
        };
        let mut setups = match step {
            0 => vec![
                with(&|setup| setup.consumers = 2),
                with(&|setup| (setup.consumers, setup.thread_per_consumer) = (2, true)),
                with(&|setup| (setup.consumers, setup.thread_per_consumer) = (partitions, true)),
            ],
            1 => vec![
                with(&|setup| setup.block_rows = Some(250_000)),
                with(&|setup| setup.block_rows = Some(500_000)),
            ],
            2 => vec![with(&|setup| setup.poll_rows = Some(250_000))],
            3 => vec![with(&|setup| setup.flush_ms = Some(2_000))],
            4 => vec![with(&|setup| setup.rollups_from = RollupsFrom::Null)],
            5 => vec![with(&|setup| setup.parallel_views = true)],
            6 => vec![with(&|setup| setup.large_fetches = true)],
            7 => vec![with(&|setup| setup.pool = 2)],
            _ => return None,
        };
        // With two partitions, two consumers are one each.
        setups.dedup();
        Some(setups)
    }

    fn overrides(&self) -> Overrides {
        let mut server = format!(
            "<background_message_broker_schedule_pool_size>{}</background_message_broker_schedule_pool_size>",
            self.pool
        );
        if self.large_fetches {
            server.push_str(
                "<kafka><fetch_min_bytes>1048576</fetch_min_bytes><fetch_wait_max_ms>100</fetch_wait_max_ms>\
                 <fetch_message_max_bytes>8388608</fetch_message_max_bytes>\
                 <queued_min_messages>1000000</queued_min_messages>\
                 <queued_max_messages_kbytes>262144</queued_max_messages_kbytes></kafka>",
            );
        }
        let profile = if self.parallel_views {
            "<parallel_view_processing>1</parallel_view_processing>".to_owned()
        } else {
            String::new()
        };
        Overrides { server, profile }
    }

    fn source(&self, topic: &Topic<'_>) -> String {
        let mut settings = format!(
            "kafka_broker_list = '{}', kafka_topic_list = '{}', kafka_group_name = '{}', \
             kafka_format = 'JSONEachRow', kafka_num_consumers = {}",
            topic.bootstrap,
            topic.name,
            unique("kafka-engine"),
            self.consumers,
        );
        if self.consumers > 2 {
            // Otherwise it refuses more consumers than cores.
            settings.push_str(", kafka_disable_num_consumers_limit = 1");
        }
        if self.thread_per_consumer {
            settings.push_str(", kafka_thread_per_consumer = 1");
        }
        let numbers = [
            ("kafka_max_block_size", self.block_rows),
            ("kafka_poll_max_batch_size", self.poll_rows),
            ("kafka_flush_interval_ms", self.flush_ms),
        ];
        for (name, number) in numbers {
            if let Some(number) = number {
                settings.push_str(&format!(", {name} = {number}"));
            }
        }
        format!(
            "CREATE TABLE source (metric_name String, value Float64, timestamp Int64, account_id String, \
             conversation_id String) ENGINE = Kafka SETTINGS {settings}"
        )
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} consumer{}", self.consumers, if self.consumers == 1 { "" } else { "s" })?;
        if self.thread_per_consumer {
            f.write_str(", a thread each")?;
        }
        let numbers = [(self.block_rows, "block"), (self.poll_rows, "poll"), (self.flush_ms, "flush ms")];
        for (number, name) in numbers {
            if let Some(number) = number {
                write!(f, ", {name} {number}")?;
            }
        }
        if self.rollups_from == RollupsFrom::Null {
            f.write_str(", rollups beside raw")?;
        }
        if self.parallel_views {
            f.write_str(", parallel views")?;
        }
        if self.large_fetches {
            f.write_str(", large fetches")?;
        }
        if self.pool != SERVER_POOL {
            write!(f, ", pool {}", self.pool)?;
        }
        Ok(())
    }
}

/// Whether a run goes on until every row is there and checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// To the end, then every table's count is compared.
    Drained,
    /// Until the steady share of the rows is there: a trial.
    Steady,
}

/// Drains the topic with the Kafka engine.
pub async fn run(setup: &Setup, topic: &Topic<'_>, until: Until) -> Result<Figures> {
    let store = FreshStore::start(&setup.overrides()).await?;
    store.query(&setup.source(topic)).await?;
    let rows = match setup.rollups_from {
        RollupsFrom::Raw => "system_metrics",
        RollupsFrom::Null => {
            store.query("CREATE TABLE passing AS system_metrics ENGINE = Null").await?;
            store
                .query("CREATE MATERIALIZED VIEW raw_kept TO system_metrics AS SELECT * FROM passing")
                .await?;
            "passing"
        }
    };
    for view in rollups() {
        store.query(&view.create(rows)).await?;
    }
    let watched = [("engine", store.pid()?), ("broker", topic.broker)];
    let mut figures = watch(topic.rows, &watched)?;
    // The clock starts at the one view of the source: without it nothing is read.
    store.query(&format!("CREATE MATERIALIZED VIEW raw_read TO {rows} AS {RAW_FROM_SOURCE}")).await?;
    let begun = figures.begun;
    let mut asked = begun.elapsed();
    let mut before;
    loop {
        (before, asked) = (asked, begun.elapsed());
        let rows = store.number("SELECT count() FROM system_metrics").await?;
        figures.saw_at(rows, before)?;
        if rows >= topic.rows || (until == Until::Steady && figures.is_steady()) {
            break;
        }
        if begun.elapsed() > PATIENCE {
            bail!("{setup}: {rows} of {} rows after {} s", topic.rows, PATIENCE.as_secs());
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    if until == Until::Drained {
        let lacking = until_rolled_up(&store, topic.rows).await?;
        figures.finish_at(lacking.map_or(before, |lacking| lacking.duration_since(begun)))?;
        verify(&store, topic.rows).await?;
    }
    // Ends its consumers before the engine goes, so that the group is left in order.
    store.query("DROP TABLE source SYNC").await.context("dropping the source")?;
    store.end().await;
    Ok(figures)
}

/// The raw rows of a block are there before its rollups. Returns when a look last found some lacking.
async fn until_rolled_up(store: &FreshStore, rows: u64) -> Result<Option<Instant>> {
    let begun = Instant::now();
    let mut lacking = None;
    for view in rollups() {
        while store.number(&view.counting()).await? < rows {
            if begun.elapsed() > PATIENCE {
                bail!("{} lacks rows", view.name());
            }
            lacking = Some(Instant::now());
            tokio::time::sleep(ASK_EVERY).await;
        }
    }
    Ok(lacking)
}

/// Every table holds every row once. (The Kafka engine does not promise it; without faults it is so.)
pub async fn verify(store: &FreshStore, rows: u64) -> Result<()> {
    let raw = store.number("SELECT count() FROM system_metrics").await?;
    if raw != rows {
        bail!("system_metrics holds {raw} rows instead of {rows}");
    }
    for view in rollups() {
        let counted = store.number(&view.counting()).await?;
        if counted != rows {
            bail!("{} counts {counted} rows instead of {rows}", view.name());
        }
    }
    Ok(())
}
