//! The same rooms as server-sent events: for where WebSockets do not pass. Each event has as its id the position behind it,
//! which a browser sends back by itself when it connects again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use kelly_live::{Close, Outlook, Progress, Resume, ServerMessage, render};
use tokio::sync::Notify;

use super::session::Session;
use super::stop::Stopping;

/// Has proxies pass on what comes at once.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Milliseconds after which a browser connects again.
const RETRY_MS: u32 = 2_000;

/// A stream of the rooms, until one of them cannot go on. One that is not read is ended by the bound on idle connections.
pub(crate) fn events(mut session: Session, rooms: Vec<Resume>) -> Response {
    let live = session.shared.app.live.clone();
    let mut first = vec![session.welcome()];
    first.extend(session.subscribe(None, rooms));
    let head = head(&first, session.position_text().as_deref());
    session.counted.sent(first.len(), head.len());
    let streaming = Streaming {
        woken: session.woken(),
        stop: live.stop.watch(),
        beat_at: Instant::now() + live.settings.ping_every(),
        beat_every: live.settings.ping_every(),
        ready: VecDeque::from([head]),
        is_over: false,
        session,
    };
    let body = stream::unfold(streaming, |mut streaming| async move {
        let next = streaming.next().await?;
        Some((Ok::<_, std::convert::Infallible>(next), streaming))
    });
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (ACCEL_BUFFERING, HeaderValue::from_static("no")),
    ];
    (headers, Body::from_stream(body)).into_response()
}

/// What comes first, in one piece: only the last of it has an id, so whoever misses a part begins anew.
fn head(messages: &[Bytes], position: Option<&str>) -> Bytes {
    let mut text = format!("retry: {RETRY_MS}\n\n").into_bytes();
    for (number, message) in messages.iter().enumerate() {
        let id = position.filter(|_| number + 1 == messages.len());
        text.extend_from_slice(&event(message, id));
    }
    text.into()
}

/// An event. A message is one line of JSON.
fn event(message: &[u8], id: Option<&str>) -> Bytes {
    let mut text = Vec::with_capacity(message.len() + 64);
    if let Some(id) = id {
        text.extend_from_slice(b"id: ");
        text.extend_from_slice(id.as_bytes());
        text.push(b'\n');
    }
    text.extend_from_slice(b"data: ");
    text.extend_from_slice(message);
    text.extend_from_slice(b"\n\n");
    text.into()
}

struct Streaming {
    session: Session,
    woken: Arc<Notify>,
    stop: Stopping,
    beat_at: Instant,
    beat_every: Duration,
    ready: VecDeque<Bytes>,
    is_over: bool,
}

impl Streaming {
    /// What is sent next; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(next) = self.ready.pop_front() {
                return Some(next);
            }
            if self.is_over {
                return None;
            }
            // Looked at between two messages, however much there is to send.
            let live = self.session.shared.app.live.clone();
            if live.stop.has_begun() {
                tokio::time::sleep(live.stop.pause_before_close()).await;
                self.end(Close::ShuttingDown);
                continue;
            }
            match self.look() {
                Ok(true) => continue,
                Ok(false) => {}
                Err(close) => self.end(close),
            }
            if self.is_over {
                continue;
            }
            let wake_at = self.session.look_again_at().map_or(self.beat_at, |at| at.min(self.beat_at));
            tokio::select! {
                biased;
                () = self.session.withdrawn() => {}
                () = self.woken.notified() => {}
                () = tokio::time::sleep_until(wake_at.into()) => {}
                () = self.stop.begun() => {}
            }
        }
    }

    /// Puts what there is into `ready`; false when there is nothing.
    fn look(&mut self) -> Result<bool, Close> {
        let now = Instant::now();
        self.session.recheck()?;
        if let Some(message) = self.session.check(now)? {
            self.push(event(&message, None));
        }
        let mut messages = Vec::new();
        // One at a time, so that each has the position behind it.
        let progress = self.session.next(1, &mut |message| messages.push(message));
        if now >= self.beat_at {
            self.beat_at = now + self.beat_every;
            // A comment, so that the connection is not idle.
            self.ready.push_back(Bytes::from_static(b":\n\n"));
            // With the position: where nothing else comes, the one before would grow too old to go on at.
            messages.extend(self.session.tell_positions());
        }
        let position = self.session.position_text();
        for (number, message) in messages.iter().enumerate() {
            let id = position.as_deref().filter(|_| number + 1 == messages.len());
            self.push(event(message, id));
        }
        match progress {
            Progress::Close(close) => Err(close),
            Progress::More => Ok(true),
            Progress::Done => Ok(!self.ready.is_empty()),
        }
    }

    fn push(&mut self, event: Bytes) {
        self.session.counted.sent(1, event.len());
        self.ready.push_back(event);
    }

    fn end(&mut self, close: Close) {
        self.is_over = true;
        let message = render(&ServerMessage::Closing { code: close.code(), reason: close.reason() });
        self.push(event(&message, None));
        self.session.counted.close(close);
        if close.outlook() == Outlook::Final {
            // A browser connects again whatever it is told; the answer it gets then says why not.
            tracing::debug!(reason = close.reason(), "a stream of events was ended for good");
        }
    }
}
