//! Sending spans to a collector, beside the requests: a request puts its span into a queue and goes on, whatever the collector does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use kelly_api::{Observation, Observe};
use prost::Message;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{StatusCode, Url};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::message::{
    ExportTraceServiceRequest, ExportTraceServiceResponse, InstrumentationScope, Resource, ResourceSpans,
    ScopeSpans, text,
};
use super::span::{Finished, Ratio};

/// Spans that wait to be sent. At it the next one is dropped and counted.
const QUEUE: usize = 2_048;
/// Spans of one message.
const SENT_AT_ONCE: usize = 512;
/// How long a span waits for others to be sent with.
const GATHER: Duration = Duration::from_secs(1);
/// How long the collector may take for one message.
const SEND_TIME: Duration = Duration::from_secs(10);
/// Tries of one message. After the last its spans are given up and counted.
const TRIES: u32 = 3;
/// The pause before the second try; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// How long all that waits may take to be sent when the process stops. What is left is given up.
const FLUSH_TIME: Duration = Duration::from_secs(3);
/// Bytes of an answer that are read; a collector answers with a few.
const ANSWER_BYTES: usize = 64 << 10;

/// Where spans go.
pub struct Collector {
    /// The address that takes traces.
    pub url: Url,
    /// Sent along, for a collector that wants to know who sends.
    pub headers: HeaderMap,
    /// Which traces are exported.
    pub ratio: Ratio,
}

/// What became of the spans that were to be exported.
#[derive(Debug, Default)]
pub struct SpanCounts {
    sent: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

impl SpanCounts {
    /// What became of how many.
    pub fn outcomes(&self) -> [(&'static str, u64); 3] {
        [("sent", &self.sent), ("dropped", &self.dropped), ("failed", &self.failed)]
            .map(|(outcome, count)| (outcome, count.load(Ordering::Relaxed)))
    }
}

/// Takes the spans of requests.
pub struct Spans {
    queue: mpsc::Sender<Finished>,
    ratio: Ratio,
    counts: Arc<SpanCounts>,
}

impl Observe for Spans {
    fn observe(&self, request: &Observation<'_>) {
        if self.ratio.takes(&request.trace) && self.queue.try_send(Finished::from(request)).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The two ends: what takes spans, and what sends them until told to stop.
pub fn open(collector: Collector, counts: Arc<SpanCounts>) -> anyhow::Result<(Spans, Exporter)> {
    let Collector { url, headers, ratio } = collector;
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(SEND_TIME)
        .default_headers(headers)
        .build()
        .context("preparing to export traces")?;
    let (sender, queue) = mpsc::channel(QUEUE);
    let resource = Resource {
        attributes: vec![
            text("service.name", "kelly"),
            text("service.version", env!("CARGO_PKG_VERSION")),
            text("service.instance.id", uuid::Uuid::new_v4().to_string()),
        ],
    };
    let exporter = Exporter { client, url, resource, queue, counts: counts.clone(), is_away: false };
    Ok((Spans { queue: sender, ratio, counts }, exporter))
}

/// Sends what is in the queue.
pub struct Exporter {
    client: reqwest::Client,
    url: Url,
    resource: Resource,
    queue: mpsc::Receiver<Finished>,
    counts: Arc<SpanCounts>,
    /// Whether the last message was not taken: that it is so is news once.
    is_away: bool,
}

/// Why a message was not taken.
enum NotTaken {
    /// It may be taken later.
    ForNow(String),
    /// It never will be.
    Refused(String),
}

impl Exporter {
    /// Sends until told to stop, and then what is left, within a bound.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(SENT_AT_ONCE);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                taken = self.queue.recv_many(&mut batch, SENT_AT_ONCE) => if taken == 0 { break },
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.fill(&mut batch) => {}
            }
            if !self.send_with_patience(&batch, &stop).await {
                break;
            }
            batch.clear();
        }
        self.flush(batch).await;
    }

    /// Waits a moment for more.
    async fn fill(&mut self, batch: &mut Vec<Finished>) {
        let more = async {
            while batch.len() < SENT_AT_ONCE {
                let room = SENT_AT_ONCE - batch.len();
                if self.queue.recv_many(batch, room).await == 0 {
                    return;
                }
            }
        };
        // Either way the batch has what came.
        let _ = tokio::time::timeout(GATHER, more).await;
    }

    /// Sends a batch, several times if need be. False when it was told to stop before the batch had an end.
    async fn send_with_patience(&mut self, batch: &[Finished], stop: &CancellationToken) -> bool {
        let mut pause = FIRST_PAUSE;
        for attempt in 1..=TRIES {
            let sent = tokio::select! {
                () = stop.cancelled() => return false,
                sent = self.send(batch) => sent,
            };
            match sent {
                Ok(()) => break,
                Err(NotTaken::ForNow(why)) if attempt < TRIES => {
                    self.note_away(&why);
                    tokio::select! {
                        () = stop.cancelled() => return false,
                        () = tokio::time::sleep(pause) => pause *= 2,
                    }
                }
                Err(NotTaken::ForNow(why) | NotTaken::Refused(why)) => {
                    self.note_away(&why);
                    self.counts.failed.fetch_add(batch.len() as u64, Ordering::Relaxed);
                    break;
                }
            }
        }
        true
    }

    async fn flush(&mut self, mut batch: Vec<Finished>) {
        self.queue.close();
        let all = async {
            loop {
                while batch.len() < SENT_AT_ONCE
                    && let Ok(next) = self.queue.try_recv()
                {
                    batch.push(next);
                }
                if batch.is_empty() {
                    return;
                }
                if let Err(NotTaken::ForNow(why) | NotTaken::Refused(why)) = self.send(&batch).await {
                    return self.note_away(&why);
                }
                batch.clear();
            }
        };
        // Either way what is left is counted.
        let _ = tokio::time::timeout(FLUSH_TIME, all).await;
        let left = batch.len() + self.queue.len();
        if left > 0 {
            self.counts.failed.fetch_add(left as u64, Ordering::Relaxed);
            tracing::warn!(spans = left, "spans that waited for the collector were given up");
        }
    }

    async fn send(&mut self, batch: &[Finished]) -> Result<(), NotTaken> {
        let scope =
            InstrumentationScope { name: "kelly".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
        let spans = batch.iter().map(Finished::span).collect();
        let message = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(self.resource.clone()),
                scope_spans: vec![ScopeSpans { scope: Some(scope), spans }],
            }],
        };
        let request = self.client.post(self.url.clone()).header(CONTENT_TYPE, "application/x-protobuf");
        // Its text may name the address with what stands in it.
        let mut answer = request.body(message.encode_to_vec()).send().await.map_err(|error| {
            NotTaken::ForNow(
                if error.is_timeout() { "no answer in time" } else { "no connection" }.to_owned(),
            )
        })?;
        let status = answer.status();
        if !status.is_success() {
            let why = format!("status {}", status.as_u16());
            let comes_back = matches!(
                status,
                StatusCode::TOO_MANY_REQUESTS
                    | StatusCode::BAD_GATEWAY
                    | StatusCode::SERVICE_UNAVAILABLE
                    | StatusCode::GATEWAY_TIMEOUT
            );
            return Err(if comes_back { NotTaken::ForNow(why) } else { NotTaken::Refused(why) });
        }
        let mut body = Vec::new();
        while let Ok(Some(piece)) = answer.chunk().await {
            body.extend_from_slice(&piece);
            if body.len() > ANSWER_BYTES {
                break;
            }
        }
        // A collector that answers otherwise than it should has taken them all the same.
        let rejected = ExportTraceServiceResponse::decode(&*body)
            .ok()
            .and_then(|answer| answer.partial_success)
            .map_or(0, |partial| u64::try_from(partial.rejected_spans).unwrap_or_default());
        let rejected = rejected.min(batch.len() as u64);
        self.counts.failed.fetch_add(rejected, Ordering::Relaxed);
        self.counts.sent.fetch_add(batch.len() as u64 - rejected, Ordering::Relaxed);
        if std::mem::take(&mut self.is_away) {
            tracing::info!("the collector takes spans again");
        }
        Ok(())
    }

    fn note_away(&mut self, why: &str) {
        if !std::mem::replace(&mut self.is_away, true) {
            tracing::warn!(
                why,
                "the collector of OTEL_EXPORTER_OTLP_ENDPOINT does not take spans; requests go on"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_drops_and_counts() {
        let counts = Arc::<SpanCounts>::default();
        let collector = Collector {
            url: "http://127.0.0.1:9/v1/traces".parse().unwrap(),
            headers: HeaderMap::new(),
            ratio: Ratio::new(1.0).unwrap(),
        };
        // Nobody sends.
        let (spans, _exporter) = open(collector, counts.clone()).unwrap();
        for _ in 0..QUEUE + 3 {
            spans.observe(&Observation::of(("GET", "/livez"), 200, Duration::ZERO));
        }
        assert_eq!(counts.outcomes(), [("sent", 0), ("dropped", 3), ("failed", 0)]);
    }
}
