//! Collects the facts. Everything is asked side by side and for a bounded time; nothing is changed, created or locked.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::Utc;
use indicatif::ProgressBar;
use kelly_ingest::PartitionPosition;
use kelly_schemas::{INGEST_GROUP, Stream, error_chain};
use kelly_sql::StoreError;
use kelly_sql::queries::{LetterFilter, StoreRight};
use kelly_stream::{KafkaLog, Log as _, LogError, TopicPartition};
use serde_json::Value;

use super::facts::{Answers, Facts, Local, Log, Part, Running, Store, Topic};
use crate::client::Client;
use crate::{LogAddress, Settings, StoreAddress};

/// How long log, store and Kelly have for all their answers.
const PATIENCE: Duration = Duration::from_secs(20);

/// Time between two looks at positions that lag: some batches are confirmed in it, if any are.
const BETWEEN_LOOKS: Duration = Duration::from_secs(4);

/// Pause before brokers that answer, but not this, are asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);

const HEALTH: &str = "api/v1/kelly/monitoring/health";

/// Looks at everything.
pub async fn facts(settings: &Settings, local: Local, bar: &ProgressBar) -> Facts {
    bar.set_message("asking log, store and Kelly");
    let health = async {
        let client = settings.client().map_err(|error| Running::Silent(format!("{error:#}")))?;
        match tokio::time::timeout(PATIENCE, client.get(HEALTH)).await {
            Ok(Ok(report)) => Ok((client, report)),
            Ok(Err(error)) => Err(not_told(&client, format!("{error:#}")).await),
            Err(_) => Err(Running::Silent(no_answer())),
        }
    };
    let (health, store, kafka) = tokio::join!(health, store(&settings.store), kafka(&settings.log));
    let log = match kafka {
        Some(kafka) => kafka.finish(bar).await,
        None => embedded_log(&settings.log, health.as_ref().ok(), bar).await,
    };
    let kelly = match &health {
        Ok((_, report)) => running(report),
        Err(running) => running.clone(),
    };
    let Local { configuration, data, library } = local;
    Facts {
        now_ms: Utc::now().timestamp_millis(),
        version: env!("CARGO_PKG_VERSION"),
        configuration,
        open_files: open_files(),
        data,
        library,
        kelly,
        log,
        store,
    }
}

/// Soft and hard limit of this process; Kelly's are the same when it is started from the same shell.
pub fn open_files() -> Option<(u64, u64)> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is ours and outlives the call; it is read only when the call says it was filled.
    let asked = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    (asked == 0).then_some((limit.rlim_cur, limit.rlim_max))
}

fn no_answer() -> String {
    format!("no answer within {} s", PATIENCE.as_secs())
}

/// What a Kelly tells that did not give its report, for this reason.
async fn not_told(client: &Client, why: String) -> Running {
    match tokio::time::timeout(PATIENCE, client.missing_parts()).await {
        Ok(Some(missing)) => Running::ToStrangers { why, missing },
        Ok(None) | Err(_) => Running::Silent(why),
    }
}

fn running(report: &Value) -> Running {
    let text = |value: &Value| value.as_str().unwrap_or("unknown").to_owned();
    let parts = report["parts"].as_array().map(Vec::as_slice).unwrap_or_default();
    let part = |part: &Value| Part {
        name: text(&part["name"]),
        status: text(&part["status"]),
        summary: text(&part["summary"]),
    };
    Running::Answers { version: text(&report["version"]), parts: parts.iter().map(part).collect() }
}

/// Ingest's positions by the account of the process that has them.
fn reported_positions(report: &Value) -> Option<Vec<PartitionPosition>> {
    let ingest = report["parts"].as_array()?.iter().find(|part| part["name"] == "ingest")?;
    let position = |reported: &Value| {
        Some(PartitionPosition {
            stream: reported["topic"].as_str()?.parse().ok()?,
            partition: reported["partition"].as_u64()?.try_into().ok()?,
            low: reported["low"].as_u64()?,
            high: reported["high"].as_u64()?,
            committed: reported["committed"].as_u64(),
        })
    };
    ingest["details"]["positions"].as_array()?.iter().map(position).collect()
}

/// The embedded log belongs to its process, which is asked over HTTP.
async fn embedded_log(log: &LogAddress, health: Option<&(Client, Value)>, bar: &ProgressBar) -> Log {
    let place = log.shown.clone();
    let Some((client, report)) = health else { return Log::NotAsked { place } };
    let Some(positions) = reported_positions(report) else {
        return Log::Away { place, why: "Kelly does not tell how far its ingest is".to_owned() };
    };
    let mut later = None;
    if positions.iter().any(|position| position.behind() > 0) {
        wait_for_progress(bar).await;
        later = client.get(HEALTH).await.ok().as_ref().and_then(reported_positions);
    }
    let topics = by_topic(&positions, |_| None);
    Log::Answers { place, topics, later, newest_ms: None }
}

async fn wait_for_progress(bar: &ProgressBar) {
    bar.set_message("looking whether ingest moves");
    tokio::time::sleep(BETWEEN_LOOKS).await;
}

fn by_topic(
    positions: &[PartitionPosition],
    mut settings: impl FnMut(Stream) -> Option<kelly_stream::kafka::TopicSettings>,
) -> Vec<Topic> {
    let topic = |stream| Topic {
        stream,
        positions: positions.iter().filter(|position| position.stream == stream).cloned().collect(),
        settings: settings(stream),
        held_back: 0,
    };
    Stream::ALL.map(topic).into()
}

/// Apache Kafka, asked once.
enum Kafka {
    Away(Log),
    Answers { log: KafkaLog, positions: Vec<PartitionPosition>, facts: Log },
}

/// Asks Apache Kafka; `None` where the log is embedded.
async fn kafka(address: &LogAddress) -> Option<Kafka> {
    address.kafka.as_ref()?;
    let place = address.shown.clone();
    let away = |why: String| Some(Kafka::Away(Log::Away { place: place.clone(), why }));
    let log = match address.kafka() {
        Ok(log) => log,
        Err(error) => return away(format!("{error:#}")),
    };
    let mut last = no_answer();
    let ask = async {
        loop {
            match ask_kafka(&place, &log).await {
                // Brokers that have just come up do not know yet who keeps the positions of a group.
                Err(error) if error.is_retryable() && log.check().await.is_ok() => last = error_chain(&error),
                asked => return asked,
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    };
    let asked = tokio::time::timeout(PATIENCE, ask).await;
    match asked {
        Ok(Ok((positions, facts))) => Some(Kafka::Answers { log, positions, facts }),
        Ok(Err(error)) => away(error_chain(&error)),
        Err(_) => away(last),
    }
}

async fn ask_kafka(place: &str, log: &KafkaLog) -> Result<(Vec<PartitionPosition>, Log), LogError> {
    log.check().await?;
    let mut positions = Vec::new();
    let mut held_back = BTreeMap::new();
    let mut newest_ms = None;
    for stream in Stream::ALL {
        match kelly_ingest::positions(log, INGEST_GROUP, &[stream]).await {
            Ok(found) => positions.extend(found),
            // Missing is a finding, and the other topic is looked at all the same.
            Err(LogError::UnknownTopic { .. }) => continue,
            Err(error) => return Err(error),
        }
        held_back.insert(stream, log.held_back(stream.topic()).await?.iter().sum());
        newest_ms = newest_ms.max(log.newest_record_ms(stream.topic()).await?);
    }
    // A user without the right to read them gets none.
    let settings = log.topic_settings(&Stream::ALL.map(Stream::topic)).await.unwrap_or_default();
    let mut topics = by_topic(&positions, |stream| {
        let index = Stream::ALL.iter().position(|known| *known == stream)?;
        settings.get(index).cloned()
    });
    for topic in &mut topics {
        topic.held_back = held_back.get(&topic.stream).copied().unwrap_or_default();
    }
    Ok((positions, Log::Answers { place: place.to_owned(), topics, later: None, newest_ms }))
}

/// Moves a position on to the first record behind it: an ingest that is not running has not passed the markers of
/// transactions and the aborted records before that, and it is not behind for them.
async fn pass_over_markers(position: &mut PartitionPosition, log: &KafkaLog) {
    // What retention removed is a finding of its own.
    let is_lost = position.committed.is_some_and(|committed| committed < position.low);
    if position.behind() == 0 || is_lost {
        return;
    }
    let partition = TopicPartition { topic: position.stream.topic().into(), partition: position.partition };
    // Where that is not to be learned in time, all of it counts.
    if let Ok(first) = log.first_record(&partition, position.committed.unwrap_or(position.low)).await {
        position.committed = Some(first.unwrap_or(position.high).min(position.high));
    }
}

impl Kafka {
    /// Looks again where there is a lag, and lets go of the clients.
    async fn finish(self, bar: &ProgressBar) -> Log {
        let (log, mut positions, mut facts) = match self {
            Self::Away(facts) => return facts,
            Self::Answers { log, positions, facts } => (log, positions, facts),
        };
        for position in &mut positions {
            pass_over_markers(position, &log).await;
        }
        if let Log::Answers { topics, .. } = &mut facts {
            for topic in topics {
                let of_topic = positions.iter().filter(|position| position.stream == topic.stream);
                topic.positions = of_topic.cloned().collect();
            }
        }
        if positions.iter().any(|position| position.behind() > 0) {
            wait_for_progress(bar).await;
            if let Log::Answers { later, .. } = &mut facts {
                *later = kelly_ingest::positions(&log, INGEST_GROUP, &Stream::ALL).await.ok();
            }
        }
        // What it says no longer matters: nothing was appended.
        let _ = log.close().await;
        facts
    }
}

async fn store(address: &StoreAddress) -> Store {
    let state = async {
        let store = address.client().map_err(|error| format!("{error:#}"))?;
        match tokio::time::timeout(PATIENCE, ask_store(&store)).await {
            Ok(answers) => answers.map_err(|error| error_chain(&error)),
            Err(_) => Err(no_answer()),
        }
    };
    Store { place: address.shown.clone(), is_embedded: address.is_embedded(), state: state.await }
}

/// Asks the store. Only that it answers is needed; what it may not say stays unknown.
async fn ask_store(store: &kelly_sql::Store) -> Result<Answers, StoreError> {
    // The first question opens the connection, which is not what a question takes.
    store.ping().await?;
    let asked = Instant::now();
    let version = store.version().await?;
    let round_trip_ms = asked.elapsed().as_secs_f64() * 1_000.0;
    let before = Utc::now().timestamp_millis();
    let theirs = store.server_time_ms().await?;
    let ours = i64::midpoint(before, Utc::now().timestamp_millis());
    // Before the tables are looked at: a user without the right to read them learns that first.
    let mut rights = Vec::new();
    for right in StoreRight::ALL {
        if let Ok(has) = store.has_right(right).await {
            rights.push((right, has));
        }
    }
    let schema = match store.verify_schema().await {
        Ok(()) => Some(Ok(())),
        Err(StoreError::Schema(problem)) => Some(Err(problem.to_string())),
        Err(error) if error.is_access_denied() => {
            // Of one right among those that make up this one the server may have said nothing.
            rights.retain(|(right, _)| *right != StoreRight::Read);
            rights.push((StoreRight::Read, false));
            None
        }
        Err(error) => return Err(error),
    };
    let letters = match &schema {
        Some(Ok(())) => {
            let since_ms = theirs - 24 * 3_600_000;
            let filter = LetterFilter { since_ms, ..LetterFilter::default() };
            store.dead_letter_reasons(&filter).await?
        }
        _ => Vec::new(),
    };
    let tables = match store.table_states().await {
        Err(error) if error.is_access_denied() => Vec::new(),
        tables => tables?,
    };
    let config = store.config();
    Ok(Answers {
        version,
        user: (config.user.clone(), config.database.clone()),
        round_trip_ms,
        ahead_ms: theirs - ours,
        schema,
        rights,
        tables,
        disks: store.disks().await.unwrap_or_default(),
        background: store.background().await.ok(),
        letters,
    })
}
