//! The producer beside the kills: metrics as JSON and as Arrow, events, and poison, on Kafka or over HTTP.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use kelly_schemas::Stream;
use kelly_schemas::decode::ARROW_STREAM;
use kelly_schemas::encode::ArrowEncoder;
use kelly_stream::{KafkaConfig, KafkaLog, Log, LogError, NewRecord, Position};
use serde_json::Value;

use crate::sign_in;
use crate::truth::{Event, Fate, Sample, Truth};

/// A message nothing can be made of, neither as JSON nor as Arrow: it must become a dead letter, once.
const POISON: &str = r#"{"metric_name":"chaos.0","value":"#;

const ROWS_A_REQUEST: u64 = 60;
/// Every so many requests on the log one message is [`POISON`].
const POISON_EVERY: usize = 23;
/// Every so many requests a request of events follows.
const EVENTS_EVERY: usize = 4;
/// Every so many requests over HTTP are Arrow.
const ARROW_EVERY: usize = 3;

/// A producer that goes on at its pace whatever happens around it.
#[derive(Debug)]
pub struct Producer {
    truth: Arc<Mutex<Truth>>,
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Result<()>>,
}

impl Producer {
    /// Writes to the topic of metrics, poison among them. The log must take everything: a broker that
    /// is away is waited for.
    ///
    /// # Errors
    /// When no client can be made.
    pub fn on_kafka(bootstrap: &str, pace: Duration) -> Result<Self> {
        let log = KafkaLog::connect(KafkaConfig {
            // A broker that is killed is back before an append is given up.
            delivery_timeout: Duration::from_secs(300),
            ..KafkaConfig::new(bootstrap)
        })?;
        Ok(Self::spawn(|truth, stop| async move { write(log, &truth, &stop, pace).await }))
    }

    /// Records over HTTP at the address, whoever listens there with that data directory and whether anybody does.
    pub fn over_http(address: &str, data: &Path, pace: Duration) -> Self {
        let place = Place { url: format!("http://{address}"), data: data.to_owned() };
        Self::spawn(|truth, stop| async move { post(&place, &truth, &stop, pace).await })
    }

    fn spawn<F>(work: impl FnOnce(Arc<Mutex<Truth>>, Arc<AtomicBool>) -> F) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let now_ms = std::time::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_millis());
        let truth = Arc::new(Mutex::new(Truth::new("chaos", now_ms as i64, ROWS_A_REQUEST)));
        let stop = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(work(truth.clone(), stop.clone()));
        Self { truth, stop, task }
    }

    /// What it was told so far.
    pub(super) fn truth(&self) -> &Mutex<Truth> {
        &self.truth
    }

    /// Rows acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        lock(&self.truth).rows(Fate::Acknowledged)
    }

    /// Ends it, when its last request is answered, and gives what it was told.
    ///
    /// # Errors
    /// When the log did not take what it must take.
    pub async fn stop(self) -> Result<Truth> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.context("the producer ended unexpectedly")??;
        Arc::into_inner(self.truth)
            .context("the producer has ended and still holds its notes")?
            .into_inner()
            .map_err(|_| anyhow::anyhow!("the producer panicked"))
    }
}

async fn write(log: KafkaLog, truth: &Mutex<Truth>, stop: &AtomicBool, pace: Duration) -> Result<()> {
    while !stop.load(Ordering::Relaxed) {
        append(&log, truth).await?;
        tokio::time::sleep(pace).await;
    }
    log.close().await.context("closing the producer")
}

/// Appends the next request, poison among it now and then, and now and then events. The log must take it.
pub(super) async fn append(log: &dyn Log, truth: &Mutex<Truth>) -> Result<()> {
    let (request, samples) = lock(truth).next_request();
    let mut records = messages(&samples)?;
    let poison_at = request.is_multiple_of(POISON_EVERY).then_some(request % (records.len() + 1));
    if let Some(at) = poison_at {
        let is_arrow = (request / POISON_EVERY) % 2 == 1;
        records.insert(at, record(Stream::Metrics.topic(), "poison", POISON.into(), is_arrow));
    }
    let positions = appended(log, records).await?;
    {
        let mut truth = lock(truth);
        truth.settle(request, Fate::Acknowledged);
        if let Some(at) = poison_at {
            truth.poisoned(positions[at]);
        }
    }
    if !request.is_multiple_of(EVENTS_EVERY) {
        return Ok(());
    }
    let (request, events) = lock(truth).next_events();
    let records = events.iter().flat_map(|event| {
        event
            .json()
            .map(|row| record(Stream::Activity.topic(), &event.conversation, row.to_string().into(), false))
    });
    appended(log, records.collect()).await?;
    lock(truth).settle_events(request, Fate::Acknowledged);
    Ok(())
}

/// A third of the rows each as a message of its own, a third together, and a third together as Arrow.
fn messages(samples: &[Sample]) -> Result<Vec<NewRecord>> {
    let (single, together) = samples.split_at(samples.len() / 3);
    let (as_json, as_arrow) = together.split_at(together.len() / 2);
    let metrics = |key: &str, payload, is_arrow| record(Stream::Metrics.topic(), key, payload, is_arrow);
    let mut records: Vec<NewRecord> =
        single.iter().map(|sample| metrics(&sample.key, sample.json().to_string().into(), false)).collect();
    if let Some(last) = as_json.last() {
        let rows: Value = as_json.iter().map(Sample::json).collect();
        records.push(metrics(&last.key, rows.to_string().into(), false));
    }
    if let Some(last) = as_arrow.last() {
        records.push(metrics(&last.key, arrow(as_arrow)?.into(), true));
    }
    Ok(records)
}

fn arrow(samples: &[Sample]) -> Result<Vec<u8>> {
    let mut message = ArrowEncoder::default();
    samples.iter().for_each(|sample| message.push(&sample.arrow()));
    message.finish().context("encoding rows as Arrow")
}

fn record(topic: &str, key: &str, payload: Bytes, is_arrow: bool) -> NewRecord {
    NewRecord {
        topic: topic.into(),
        partition: None,
        key: Some(Bytes::from(key.to_owned())),
        payload,
        content_type: is_arrow.then(|| ARROW_STREAM.into()),
    }
}

async fn appended(log: &dyn Log, records: Vec<NewRecord>) -> Result<Vec<Position>> {
    loop {
        match log.append(records.clone()).await {
            Ok(positions) => return Ok(positions),
            // Nothing was taken.
            Err(LogError::Full { .. }) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(error) => return Err(error).context("appending to the log"),
        }
    }
}

/// Where a Kelly listens, and where the secret is with which the producer signs in.
struct Place {
    url: String,
    data: PathBuf,
}

/// Sends requests over HTTP, to whoever listens now.
async fn post(place: &Place, truth: &Mutex<Truth>, stop: &AtomicBool, pace: Duration) -> Result<()> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(20))
        .build()
        .context("making an HTTP client")?;
    let post_to = |route: &str| {
        let request = client.post(format!("{}/api/v1/kelly/monitoring/{route}", place.url));
        match sign_in::token(&place.data) {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    };
    while !stop.load(Ordering::Relaxed) {
        let (request, samples) = lock(truth).next_request();
        let sending = post_to("metrics/record");
        let sending = if request.is_multiple_of(ARROW_EVERY) {
            sending.header("content-type", ARROW_STREAM).body(arrow(&samples)?)
        } else {
            sending.json(&samples.iter().map(Sample::json).collect::<Value>())
        };
        let mut fate = sent(sending).await;
        lock(truth).settle(request, fate);
        if request.is_multiple_of(EVENTS_EVERY) {
            let (request, events) = lock(truth).next_events();
            let rows: Value = events.iter().flat_map(Event::json).collect();
            fate = sent(post_to("activity/record").json(&rows)).await;
            lock(truth).settle_events(request, fate);
        }
        let pause = if fate == Fate::Acknowledged { pace } else { Duration::from_millis(20) };
        tokio::time::sleep(pause).await;
    }
    Ok(())
}

async fn sent(request: reqwest::RequestBuilder) -> Fate {
    match request.send().await {
        Err(error) if error.is_connect() => Fate::Refused,
        Err(_) => Fate::Unknown,
        Ok(answer) => fate_of(answer.status().as_u16(), answer.json().await.ok().as_ref()),
    }
}

/// What an answer to a recording says about its rows.
pub fn fate_of(status: u16, body: Option<&Value>) -> Fate {
    let code = body.and_then(|body| body["code"].as_str());
    match (status, code) {
        (202, _) => Fate::Acknowledged,
        (503, Some("log_full" | "log_unavailable" | "server_busy")) | (400..500, _) => Fate::Refused,
        _ => Fate::Unknown,
    }
}

fn lock(truth: &Mutex<Truth>) -> std::sync::MutexGuard<'_, Truth> {
    truth.lock().unwrap_or_else(PoisonError::into_inner)
}
