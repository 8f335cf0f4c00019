//! How the parts of a process are: what `/health` and `/readyz` say.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::Utc;
use kelly_api::{Health, Live, Part, PartStatus};
use kelly_control::Replica;
use kelly_evaluate::EvaluatorStats;
use kelly_ingest::PartitionPosition;
use kelly_live::FeedState;
use kelly_schemas::error_chain;
use kelly_sql::{RetentionReader, Store, StoreError};
use kelly_stream::{Log, LogError, LogKind};
use serde_json::json;
use tokio::time::{MissedTickBehavior, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::progress::Progress;
use super::retention::Configured;
use super::since::StateTimes;
use crate::limits::SharedRedis;

/// The parts of a role that are looked at.
pub struct Watched {
    /// The log.
    pub log: Arc<dyn Log>,
    /// The store.
    pub store: Store,
    /// Ingest, where this process has it.
    pub ingest: Option<Arc<Progress>>,
    /// Live push.
    pub live: Arc<Live>,
    /// What is decided, where this process follows it.
    pub decisions: Option<Arc<Replica>>,
    /// The evaluation of alerts, where this process has it.
    pub evaluator: Option<Arc<EvaluatorStats>>,
}

/// [`Health`] of the parts a role has.
pub struct PartsHealth {
    log: Arc<dyn Log>,
    store: Store,
    ingest: Option<Arc<Progress>>,
    live: Arc<Live>,
    decisions: Option<Arc<Replica>>,
    evaluator: Option<Arc<EvaluatorStats>>,
    configured: Configured,
    /// Limits, where instances share them.
    limits: Option<Arc<SharedRedis>>,
    retentions: RetentionReader,
    log_trouble: Trouble,
    store_trouble: Trouble,
    /// How long a part may take to say how it is.
    patience: Duration,
    seen: Mutex<Seen>,
}

/// What was seen when the parts were last looked at.
#[derive(Default)]
struct Seen {
    times: StateTimes,
    parts: Vec<Part>,
    /// How far ingest was; `None` where the log did not tell.
    positions: Option<Vec<PartitionPosition>>,
}

/// Whether a part was in trouble when it was last looked at: checks are frequent, their news are not.
struct Trouble {
    part: &'static str,
    is_on: AtomicBool,
}

impl Trouble {
    fn new(part: &'static str) -> Self {
        Self { part, is_on: AtomicBool::new(false) }
    }

    /// Logs the trouble when it begins and when it is over. True when it did.
    fn note(&self, error: Option<&dyn std::error::Error>) -> bool {
        let is_news = self.is_on.swap(error.is_some(), Ordering::Relaxed) != error.is_some();
        match error {
            Some(error) if is_news => {
                tracing::warn!(part = self.part, error = error_chain(error), "a part of Kelly is in trouble");
            }
            None if is_news => tracing::info!(part = self.part, "the trouble is over"),
            _ => {}
        }
        is_news
    }
}

/// What `/health` says of the log. A full disk and deleted files are named, since only the operator can do something.
fn log_summary(kind: LogKind, outcome: Result<&(), &LogError>) -> Result<String, String> {
    match outcome {
        Ok(()) => Ok(format!("{kind} answers")),
        Err(LogError::Full { what }) => Err(format!("{kind} takes nothing: {what}")),
        Err(LogError::Removed { .. }) => Err(format!(
            "{kind} takes nothing: its directory or a file of it was deleted, moved or replaced; stop Kelly and put it back"
        )),
        Err(_) => Err(format!("{kind} does not answer; Kelly's own log says why")),
    }
}

/// How often the parts are looked at though nobody asks.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How long a part may take to say how it is; then it is said not to answer. Below the time of a health report and of a scrape, so that a
/// part that hangs keeps nothing of the others from whoever asks, and above the two seconds after which Kafka's client says why.
pub const PART_DEADLINE: Duration = Duration::from_secs(3);

/// What `/health` says of the store.
fn store_summary(outcome: Result<&String, &StoreError>) -> Result<String, String> {
    match outcome {
        Ok(version) => Ok(format!("ClickHouse {version} answers")),
        Err(StoreError::Removed(_)) => {
            Err("its directory was deleted, moved or replaced; stop Kelly and put it back. Recording still works while the \
                 log is there, queries do not"
                .to_owned())
        }
        Err(StoreError::NotResponding { seconds, .. }) => Err(format!(
            "ClickHouse does not respond within {seconds} s, its process or its machine stands still; recording still works, \
             queries do not"
        )),
        Err(_) => Err("ClickHouse does not answer; recording still works, queries do not".to_owned()),
    }
}

/// Lag above which ingest is said to be behind. A burst of this size is gone within a second or two.
const LAG_REPORTED_ABOVE: u64 = 1_000_000;

#[async_trait]
impl Health for PartsHealth {
    async fn parts(&self) -> Vec<Part> {
        let (log, store, (ingest, positions)) = tokio::join!(self.log(), self.store(), self.ingest());
        let limits = self.limits.as_ref().map(|limits| limits.health());
        let decisions = self.decisions.as_deref().map(decisions);
        let evaluator = self.evaluator.as_deref().map(evaluator);
        let mut parts: Vec<Part> =
            [Some(log), Some(store), ingest, Some(self.live()), decisions, evaluator, limits]
                .into_iter()
                .flatten()
                .collect();
        let mut seen = self.seen();
        let now = Utc::now();
        for part in &mut parts {
            part.since = seen.times.note(&part.name, part.status, now);
        }
        seen.parts.clone_from(&parts);
        seen.positions = positions;
        parts
    }
}

impl PartsHealth {
    /// The parts of a role.
    pub fn new(watched: Watched, configured: Configured) -> Self {
        let Watched { log, store, ingest, live, decisions, evaluator } = watched;
        let (log_trouble, store_trouble) = (Trouble::new("log"), Trouble::new("store"));
        let retentions = RetentionReader::default();
        Self {
            log,
            store,
            ingest,
            live,
            decisions,
            evaluator,
            configured,
            limits: None,
            retentions,
            log_trouble,
            store_trouble,
            patience: PART_DEADLINE,
            seen: Mutex::default(),
        }
    }

    /// The same with the limits that instances share.
    pub fn with_limits(self, limits: Option<Arc<SharedRedis>>) -> Self {
        Self { limits, ..self }
    }

    /// The parts as they were when they were last looked at; none before the first look has ended.
    pub fn last_parts(&self) -> Vec<Part> {
        self.seen().parts.clone()
    }

    /// How far ingest was then, where this process has it and the log told.
    pub fn last_positions(&self) -> Option<Vec<PartitionPosition>> {
        self.seen().positions.clone()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the log once, so that trouble which is there from the start is logged then.
    pub async fn look(&self) {
        self.log().await;
    }

    /// Looks at all parts every few seconds until told to stop, so that it is known since when they are as they are though nobody
    /// asks.
    pub async fn keep_looking(&self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let look = async {
                ticks.tick().await;
                self.parts().await;
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = look => {}
            }
        }
    }

    async fn log(&self) -> Part {
        let began = Instant::now();
        let outcome = timeout(self.patience, self.log.check()).await.unwrap_or_else(|_| {
            Err(LogError::Unavailable {
                doing: format!("learn within {} s how it is", self.patience.as_secs_f64()),
                fix: "see whether it runs and can be reached".to_owned(),
                source: None,
            })
        });
        self.log_trouble.note(outcome.as_ref().err().map(|error| error as _));
        part("log", began, log_summary(self.log.kind(), outcome.as_ref()))
    }

    async fn store(&self) -> Part {
        let began = Instant::now();
        // Both questions together.
        let deadline = tokio::time::Instant::now() + self.patience;
        let asked = timeout_at(deadline, self.store.version()).await;
        let outcome = asked.unwrap_or_else(|_| {
            Err(StoreError::NotResponding {
                action: "tell its version".to_owned(),
                seconds: self.patience.as_secs(),
            })
        });
        self.store_trouble.note(outcome.as_ref().err().map(|error| error as _));
        let found = part("store", began, store_summary(outcome.as_ref()));
        if outcome.is_err() {
            return found;
        }
        let stored = timeout_at(deadline, self.retentions.get(&self.store)).await;
        match stored.ok().and_then(Result::ok).and_then(|stored| self.configured.difference(&stored)) {
            Some(summary) => Part { status: PartStatus::Degraded, summary, ..found },
            None => found,
        }
    }

    /// Without it questions are still answered, so nothing requires it.
    fn live(&self) -> Part {
        let (status, summary) = match self.live.feed_state() {
            FeedState::Starting => (PartStatus::Starting, "it has not begun to follow the log".to_owned()),
            FeedState::Following => (PartStatus::Healthy, "live push follows the log".to_owned()),
            FeedState::Trouble(_) => (
                PartStatus::Degraded,
                "live push cannot read the log at the moment; dashboards show no new events until it can"
                    .to_owned(),
            ),
            FeedState::Stopped => (PartStatus::Down, "live push has ended".to_owned()),
        };
        let details = BTreeMap::from([
            ("connections".to_owned(), json!(self.live.open())),
            ("kept_events".to_owned(), json!(self.live.kept_events())),
        ]);
        Part { name: "live".to_owned(), status, since: Utc::now(), required: false, summary, details }
    }

    /// Ingest, and how far it is, where the log tells.
    async fn ingest(&self) -> (Option<Part>, Option<Vec<PartitionPosition>>) {
        let Some(progress) = &self.ingest else { return (None, None) };
        let counts = progress.counts();
        let positions = timeout(self.patience, progress.positions()).await.ok().and_then(Result::ok);
        let lag =
            positions.as_ref().map(|positions| positions.iter().map(PartitionPosition::behind).sum::<u64>());
        let (status, summary) = if progress.has_ended() {
            (PartStatus::Down, "ingest ended; restart Kelly, its log says why".to_owned())
        } else if counts.last_error.is_some() {
            (PartStatus::Degraded, "the store does not take rows now; they wait on the log".to_owned())
        } else if counts.lost > 0 {
            let summary = "the log's retention removed records before they were read: give it more room";
            (PartStatus::Degraded, summary.to_owned())
        } else {
            match &lag {
                Some(lag) if *lag > LAG_REPORTED_ABOVE => {
                    (PartStatus::Degraded, format!("{lag} records behind, catching up"))
                }
                Some(lag) => (PartStatus::Healthy, format!("{lag} records behind")),
                None => (PartStatus::Degraded, "the log does not tell how far ingest is".to_owned()),
            }
        };
        let mut details = BTreeMap::from([
            ("rows".to_owned(), json!(counts.rows)),
            ("batches".to_owned(), json!(counts.batches)),
            ("dead_letters".to_owned(), json!(counts.dead_letters)),
            ("retries".to_owned(), json!(counts.retries)),
            ("lost_records".to_owned(), json!(counts.lost)),
            ("buffered_bytes".to_owned(), json!(counts.buffered_bytes)),
            ("partitions".to_owned(), json!(counts.partitions)),
        ]);
        if let Some(lag) = lag {
            details.insert("lag".to_owned(), json!(lag));
        }
        if let Some(positions) = &positions {
            let positions = positions.iter().map(|position| {
                json!({
                    "topic": position.stream.topic(),
                    "partition": position.partition,
                    "low": position.low,
                    "high": position.high,
                    "committed": position.committed,
                })
            });
            details.insert("positions".to_owned(), positions.collect());
        }
        if let Some(written) = counts.last_written_ms {
            details.insert("last_written_ms".to_owned(), json!(written));
        }
        let part =
            Part { name: "ingest".to_owned(), status, since: Utc::now(), required: true, summary, details };
        (Some(part), positions)
    }
}

/// Without it nothing is decided: no alert can be handled, nor is it known which there are.
fn decisions(replica: &Replica) -> Part {
    let (status, summary) = match replica.health() {
        kelly_control::Health::Starting => {
            (PartStatus::Starting, "it has not begun to follow the control log".to_owned())
        }
        kelly_control::Health::Following => {
            (PartStatus::Healthy, "decisions follow the control log".to_owned())
        }
        kelly_control::Health::Trouble(_) => (
            PartStatus::Degraded,
            "the control log cannot be read at the moment; nothing is decided here until it can".to_owned(),
        ),
        kelly_control::Health::Stopped(_) => (
            PartStatus::Down,
            "the control log is not followed any more, so nothing is decided here; Kelly's own log says why. Mend that and \
             restart Kelly"
                .to_owned(),
        ),
    };
    let (next_offset, open_alerts) =
        replica.read(|state| (state.next_offset(), state.alerts().book().open_count()));
    let details = BTreeMap::from([
        ("next_offset".to_owned(), json!(next_offset)),
        ("open_alerts".to_owned(), json!(open_alerts)),
    ]);
    Part { name: "decisions".to_owned(), status, since: Utc::now(), required: true, summary, details }
}

/// Records that are not judged yet above which alerts are said to come late.
const JUDGED_LATE_ABOVE: u64 = 100_000;

/// Without it no alert is raised or ends; everything else goes on, so nothing requires it.
fn evaluator(stats: &EvaluatorStats) -> Part {
    let counts = stats.counts();
    let (status, summary) = if let Some(error) = &counts.last_error {
        tracing::debug!(error, "alerts are evaluated with trouble");
        let summary =
            "the log does not take what happens to alerts at the moment; alerts come late".to_owned();
        (PartStatus::Degraded, summary)
    } else if counts.starting > 0 {
        let summary = format!("{} of {} partitions take up their states", counts.starting, counts.partitions);
        (PartStatus::Starting, summary)
    } else if counts.problems > 0 {
        let summary = format!(
            "{} files of rules, thresholds or rules are wrong; their alerts say why",
            counts.problems
        );
        (PartStatus::Degraded, summary)
    } else if counts.put_off > 0 {
        (PartStatus::Degraded, format!("{} alerts wait: as many are open as can be", counts.put_off))
    } else if counts.lost > 0 {
        let summary = "the log's retention removed records before they were judged: give it more room";
        (PartStatus::Degraded, summary.to_owned())
    } else if counts.behind > JUDGED_LATE_ABOVE {
        (PartStatus::Degraded, format!("{} records are not judged yet, catching up", counts.behind))
    } else {
        (PartStatus::Healthy, format!("{} rules, {} alerts fire", counts.rules, counts.firing))
    };
    let details = BTreeMap::from(
        [
            ("rules", counts.rules),
            ("problems", counts.problems),
            ("rows", counts.rows),
            ("transitions", counts.transitions),
            ("states", counts.states),
            ("firing", counts.firing),
            ("late_rows", counts.late_rows),
            ("partitions", counts.partitions),
            ("lag", counts.behind),
        ]
        .map(|(name, count)| (name.to_owned(), json!(count))),
    );
    Part { name: "evaluator".to_owned(), status, since: Utc::now(), required: false, summary, details }
}

fn part(name: &str, began: Instant, outcome: Result<String, String>) -> Part {
    let latency_ms = (began.elapsed().as_secs_f64() * 1e6).round() / 1e3;
    let (status, summary) = match outcome {
        Ok(summary) => (PartStatus::Healthy, summary),
        Err(summary) => (PartStatus::Down, summary),
    };
    Part {
        name: name.to_owned(),
        status,
        since: Utc::now(),
        required: true,
        summary,
        details: BTreeMap::from([("latency_ms".to_owned(), json!(latency_ms))]),
    }
}

#[cfg(test)]
pub mod tests {
    use kelly_api::LiveSettings;
    use kelly_ingest::{IngestConfig, IngestStats, Rules};
    use kelly_live::{Bounds, Hub};
    use kelly_schemas::Limits;
    use kelly_sql::StoreConfig;
    use kelly_stream::{
        Committed, Consumer, ConsumerSpec, NewRecord, Position, Reader, ReaderSpec, SetTo, TopicId,
        TopicPartition, TopicSpec, Watermarks,
    };

    use super::*;

    type Result<T> = std::result::Result<T, LogError>;

    /// A log that never answers, as Kafka does while no broker is there.
    pub struct Silent;

    #[async_trait]
    impl Log for Silent {
        async fn ensure_topics(&self, _: &[TopicSpec]) -> Result<()> {
            std::future::pending().await
        }

        async fn ensure_kept_topic(&self, _: &str) -> Result<()> {
            std::future::pending().await
        }

        async fn ensure_compacted_topic(&self, _: &str, _: u32) -> Result<()> {
            std::future::pending().await
        }

        async fn partitions(&self, _: &str) -> Result<u32> {
            std::future::pending().await
        }

        async fn append(&self, _: Vec<NewRecord>) -> Result<Vec<Position>> {
            std::future::pending().await
        }

        async fn watermarks(&self, _: &TopicPartition) -> Result<Watermarks> {
            std::future::pending().await
        }

        async fn ends(&self, _: &str) -> Result<Vec<Watermarks>> {
            std::future::pending().await
        }

        async fn committed(&self, _: &str, _: &str) -> Result<Vec<Option<Committed>>> {
            std::future::pending().await
        }

        async fn topic_id(&self, _: &str) -> Result<Option<TopicId>> {
            std::future::pending().await
        }

        fn consumer(&self, _: ConsumerSpec) -> Result<Box<dyn Consumer>> {
            Err(LogError::Closed)
        }

        fn reader(&self, _: ReaderSpec) -> Result<Box<dyn Reader>> {
            Err(LogError::Closed)
        }

        async fn check(&self) -> Result<()> {
            std::future::pending().await
        }

        async fn close(&self) -> Result<()> {
            Ok(())
        }

        fn kind(&self) -> LogKind {
            LogKind::ApacheKafka
        }

        fn describe(&self) -> String {
            "a log that never answers".to_owned()
        }

        fn how_to_set_position(&self, _: &str, _: &TopicPartition, _: SetTo) -> String {
            String::new()
        }
    }

    /// The parts of a process whose log never answers and whose store is not there.
    pub fn without_log_and_store(patience: Duration) -> PartsHealth {
        let log: Arc<dyn Log> = Arc::new(Silent);
        let config = StoreConfig {
            url: "http://127.0.0.1:1".to_owned(),
            database: "kelly".to_owned(),
            user: "kelly".to_owned(),
            password: String::new(),
            inserts_yield: false,
        };
        let rules = Rules { limits: Limits::default(), raw_retention_ms: 1 };
        let progress = Progress::new(Arc::<IngestStats>::default(), log.clone(), &IngestConfig::new(rules));
        let hub = Arc::new(Hub::new(Bounds::default(), "process"));
        let watched = Watched {
            log,
            store: Store::new(config).unwrap(),
            ingest: Some(Arc::new(progress)),
            live: Arc::new(Live::new(hub, LiveSettings::default())),
            decisions: None,
            evaluator: None,
        };
        PartsHealth { patience, ..PartsHealth::new(watched, Configured { hours: 72, days: 90 }) }
    }

    #[tokio::test]
    async fn a_log_that_never_answers_keeps_no_part_from_saying_how_it_is() {
        let health = without_log_and_store(Duration::from_millis(50));
        assert!(health.last_parts().is_empty());
        let parts = health.parts().await;
        let states: Vec<(&str, PartStatus)> =
            parts.iter().map(|part| (part.name.as_str(), part.status)).collect();
        let expected = [
            ("log", PartStatus::Down),
            ("store", PartStatus::Down),
            ("ingest", PartStatus::Degraded),
            ("live", PartStatus::Starting),
        ];
        assert_eq!(states, expected);
        assert_eq!((health.last_parts(), health.last_positions()), (parts.clone(), None));
        // Since when is kept from one look to the next.
        let again: Vec<_> = health.parts().await.iter().map(|part| part.since).collect();
        assert_eq!(again, parts.iter().map(|part| part.since).collect::<Vec<_>>());
    }

    #[test]
    fn a_full_disk_is_named_and_logged_when_it_begins_and_ends() {
        let full = LogError::Full { what: "the disk is nearly full: 3 MiB left".into() };
        let summary = log_summary(LogKind::Embedded, Err(&full)).unwrap_err();
        assert_eq!(summary, "embedded log takes nothing: the disk is nearly full: 3 MiB left");
        let summary = log_summary(LogKind::ApacheKafka, Err(&LogError::Closed)).unwrap_err();
        assert!(summary.contains("Kelly's own log says why"), "{summary}");
        let trouble = Trouble::new("log");
        let news: Vec<bool> =
            [None, Some(&full), Some(&full), None].map(|error| trouble.note(error.map(|e| e as _))).into();
        assert_eq!(news, [false, true, false, true]);
    }
}
