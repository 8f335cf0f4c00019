//! A running evaluator.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use kelly_alerts::Transition;
use kelly_control::Replica;
use kelly_schemas::{Limits, Stream};
use kelly_stream::{ConsumerSpec, Log, LogError, Retention, Start};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::context::{Clock, Context};
use crate::decide::ControlLog;
use crate::ends;
use crate::hearing::{self, NEWS_WAITING};
use crate::place::Partitions;
use crate::reader::{Lanes, ReadError, ReadingThread};
use crate::rules::InForce;
use crate::stats::{EvaluatorCounts, EvaluatorStats};
use crate::topics::{GROUP, ROWS_TOPIC, STATE_TOPIC, ensure_topics};

/// How an evaluator reads and writes.
#[derive(Clone)]
pub struct EvaluatorConfig {
    /// Consumer group: instances of one group share the partitions.
    pub group: String,
    /// What a row may be; as for ingest.
    pub limits: Limits,
    /// What decides; the replica unless a test says otherwise.
    pub control: Arc<dyn ControlLog>,
    /// From which it hears of alerts that other engines raised.
    pub replica: Arc<Replica>,
    /// The rules in force.
    pub rules: watch::Receiver<Arc<InForce>>,
    /// How long rows for other engines are kept.
    pub retention: Retention,
    /// How often states and positions are stored. A start after a kill judges so much again.
    pub save_every: Duration,
    /// A group that begins judges what came in this time before, ms: what happened earlier is no news.
    pub judged_back_ms: i64,
    /// How long a shutdown waits for what was read to be decided and stored.
    pub drain_within: Duration,
    /// This instance's clock, ms since the epoch. It decides nothing but when silence may be noticed.
    pub clock: Clock,
}

impl EvaluatorConfig {
    /// With the usual group and times.
    pub fn new(replica: Arc<Replica>, rules: watch::Receiver<Arc<InForce>>, limits: Limits) -> Self {
        Self {
            group: GROUP.to_owned(),
            limits,
            control: replica.clone(),
            replica,
            rules,
            retention: Retention::default(),
            save_every: Duration::from_secs(5),
            judged_back_ms: 3_600_000,
            drain_within: Duration::from_secs(10),
            clock: Arc::new(system_clock),
        }
    }
}

fn system_clock() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Why an evaluator could not be started, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum EvaluatorError {
    /// The log is not as it is needed.
    #[error("preparing the log for the evaluation of alerts failed")]
    Log(#[from] LogError),
    /// The operating system gave no thread.
    #[error("cannot start the thread that judges rows")]
    Thread(#[source] std::io::Error),
    /// Reading ended.
    #[error("the evaluation of alerts stopped")]
    Read(#[source] ReadError),
    /// The reading thread panicked: a defect of this program.
    #[error("the thread that judges rows ended unexpectedly")]
    Panicked,
}

/// A running evaluator. Dropping it asks it to stop and does not wait.
pub struct Evaluator {
    /// Dropped to stop the reader.
    stop: SyncSender<()>,
    stats: Arc<EvaluatorStats>,
    ended: watch::Receiver<bool>,
    thread: std::thread::JoinHandle<Result<(), ReadError>>,
    /// Ends what asks and hears for the reader.
    helpers: DropGuard,
}

impl Evaluator {
    /// Makes sure of the topics, joins the group and starts. Must be called on a Tokio runtime with more than one thread: couriers run
    /// on it.
    pub async fn start(log: Arc<dyn Log>, config: EvaluatorConfig) -> Result<Self, EvaluatorError> {
        ensure_topics(&*log, config.retention).await?;
        let partitions = Partitions {
            metrics: log.partitions(Stream::Metrics.topic()).await?,
            rows: log.partitions(ROWS_TOPIC).await?,
            state: log.partitions(STATE_TOPIC).await?,
        };
        let consumer = log.consumer(ConsumerSpec {
            group: config.group.clone(),
            topics: vec![Stream::Metrics.topic().into(), ROWS_TOPIC.into()],
            start: Start::Earliest,
        })?;
        let stats = Arc::new(EvaluatorStats::default());
        let (rules, problems) = {
            let rules = config.rules.borrow();
            (rules.rules.len(), rules.problems.len())
        };
        stats.note_rules(rules, problems);
        let helpers = CancellationToken::new();
        let newest = ends::Newest::default();
        tokio::spawn(ends::ask(log.clone(), newest.clone(), config.clock.clone(), helpers.clone()));
        let (tell, news) = mpsc::channel::<Transition>(NEWS_WAITING);
        tokio::spawn(hearing::follow(config.replica.clone(), tell, helpers.clone()));
        let context = Arc::new(Context {
            committer: consumer.committer(),
            log,
            control: config.control,
            stats: stats.clone(),
            partitions,
            limits: config.limits,
            rows_topic: ROWS_TOPIC.into(),
            clock: config.clock,
            save_every: config.save_every,
            judged_back_ms: config.judged_back_ms,
        });
        let (stop, stopped) = sync_channel(0);
        let reader = ReadingThread {
            consumer,
            lanes: Lanes {
                context,
                runtime: Handle::current(),
                rules: config.rules,
                lanes: Vec::new(),
                last: 0,
                elsewhere: HashMap::new(),
            },
            news,
            ends: newest,
            stop: stopped,
            drain_within: config.drain_within,
        };
        let (on_end, ended) = watch::channel(false);
        let thread = std::thread::Builder::new()
            .name("evaluate".to_owned())
            .spawn(move || {
                // Dropped when the thread ends in whatever way, which the receiver sees.
                let _on_end = on_end;
                reader.run()
            })
            .map_err(EvaluatorError::Thread)?;
        Ok(Self { stop, stats, ended, thread, helpers: helpers.drop_guard() })
    }

    /// A handle for the counters that outlives the evaluator.
    pub fn stats(&self) -> Arc<EvaluatorStats> {
        Arc::clone(&self.stats)
    }

    /// Returns when it has ended by itself; [`shutdown`](Self::shutdown) then says why.
    pub async fn ended(&self) {
        let mut ended = self.ended.clone();
        // The value never changes: the error says that the thread let go of its end.
        let _ = ended.wait_for(|has_ended| *has_ended).await;
    }

    /// Stops reading, has decided and stored what was read, commits, leaves the group.
    pub async fn shutdown(self) -> Result<EvaluatorCounts, EvaluatorError> {
        let Self { stop, stats, thread, helpers, .. } = self;
        drop(stop);
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        drop(helpers);
        match joined {
            Ok(Ok(Ok(()))) => Ok(stats.counts()),
            Ok(Ok(Err(fault))) => Err(EvaluatorError::Read(fault)),
            Ok(Err(_)) | Err(_) => Err(EvaluatorError::Panicked),
        }
    }
}
