//! One WebSocket: reads what the client sends, writes what its rooms have, and ends when one of them cannot go on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use bytes::Bytes;
use futures_util::SinkExt;
use kelly_live::{Close, Progress, Resume, parse_command, render};
use tokio::sync::Notify;
use tokio::time::{Sleep, timeout};

use super::incoming::Budget;
use super::session::{Asked, Outcome, Session};
use super::stop::Stopping;

/// The subprotocol of Kelly's WebSockets.
pub(crate) const SUBPROTOCOL: &str = "kelly.v1";

/// Bytes that are written before the next look at what comes in.
const WRITTEN_AT_ONCE: usize = 64 << 10;

/// How long the other end has to take the close frame and answer it; then the connection is dropped.
const CLOSE_TIME: Duration = Duration::from_secs(5);

/// How long the other end has to take the close frame while what it sends is not read.
const UNREAD_TIME: Duration = Duration::from_secs(1);

/// How the WebSocket library begins what it says of a message that is too large; it has no other sign outside.
const TOO_LARGE: &str = "Space limit exceeded";

/// Serves a socket until it ends. It begins in these rooms.
pub(crate) async fn run(socket: WebSocket, session: Session, rooms: Vec<Resume>) {
    let live = session.shared.app.live.clone();
    let (woken, stop) = (session.woken(), live.stop.watch());
    let now = Instant::now();
    let mut serving = Serving {
        socket,
        session,
        has_more: false,
        woken,
        stop,
        asked: None,
        budget: Budget::new(now),
        last_pong: now,
        ping_at: now + live.settings.ping_every(),
        timeout: live.settings.timeout,
        ping_every: live.settings.ping_every(),
        write_timeout: live.settings.write_timeout,
    };
    let Err(end) = serving.serve(rooms).await;
    let close = match end {
        End::Gone => return,
        End::Close(close) => close,
    };
    serving.session.counted.close(close);
    if close == Close::ShuttingDown {
        tokio::time::sleep(live.stop.pause_before_close()).await;
    }
    serving.close(close).await;
}

/// Why a socket ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The other end is gone, or cannot be written to.
    Gone,
    /// It is to be closed.
    Close(Close),
}

/// Nothing: a socket is served until it ends.
enum Never {}

struct Serving {
    socket: WebSocket,
    session: Session,
    /// Whether the rooms have more than was written last.
    has_more: bool,
    woken: Arc<Notify>,
    stop: Stopping,
    asked: Option<Asked>,
    budget: Budget,
    last_pong: Instant,
    ping_at: Instant,
    timeout: Duration,
    ping_every: Duration,
    write_timeout: Duration,
}

impl Serving {
    async fn serve(&mut self, rooms: Vec<Resume>) -> Result<Never, End> {
        // It may have been withdrawn since it was verified.
        self.session.recheck().map_err(End::Close)?;
        let mut first = vec![self.session.welcome()];
        if !rooms.is_empty() {
            first.extend(self.session.subscribe(None, rooms));
        }
        self.write(texts(first)).await?;
        let mut timer = Box::pin(tokio::time::sleep_until(self.wake_at().into()));
        loop {
            let wake_at = self.wake_at().into();
            if timer.deadline() != wake_at {
                timer.as_mut().reset(wake_at);
            }
            self.turn(&mut timer).await?;
            // Also where nothing woke it: a write may have taken the notice.
            self.deliver().await?;
        }
    }

    /// Waits for the next thing to do, and does it.
    async fn turn(&mut self, timer: &mut std::pin::Pin<Box<Sleep>>) -> Result<(), End> {
        tokio::select! {
            biased;
            () = self.stop.begun() => Err(End::Close(Close::ShuttingDown)),
            () = timer.as_mut() => self.look_at_time().await,
            () = self.session.withdrawn() => self.session.recheck().map_err(End::Close),
            answer = answered(&mut self.asked) => {
                self.asked = None;
                let messages = self.session.answer(answer).map_err(End::Close)?;
                self.write(texts(messages)).await
            }
            message = self.socket.recv() => self.take(message).await,
            () = self.woken.notified() => Ok(()),
            // Last: however much there is to write, everything above is looked at between two pieces of it.
            () = std::future::ready(()), if self.has_more => Ok(()),
        }
    }

    /// When something is due though nothing comes.
    fn wake_at(&self) -> Instant {
        let due = self.ping_at.min(self.last_pong + self.timeout);
        self.session.look_again_at().map_or(due, |at| due.min(at))
    }

    async fn look_at_time(&mut self) -> Result<(), End> {
        let now = Instant::now();
        // Whatever comes in: a line that is dead one way only is dead.
        if now >= self.last_pong + self.timeout {
            return Err(End::Close(Close::NoSignOfLife));
        }
        if let Some(message) = self.session.check(now).map_err(End::Close)? {
            self.write(texts([message])).await?;
        }
        if now >= self.ping_at {
            self.ping_at = now + self.ping_every;
            let mut messages = vec![Message::Ping(Bytes::new())];
            messages.extend(texts(self.session.tell_positions()));
            self.write(messages).await?;
        }
        Ok(())
    }

    async fn take(&mut self, message: Option<Result<Message, axum::Error>>) -> Result<(), End> {
        let now = Instant::now();
        let message = match message {
            None => return Err(End::Gone),
            Some(Err(error)) if error.to_string().starts_with(TOO_LARGE) => {
                return Err(End::Close(Close::TooLarge));
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "a WebSocket broke off");
                return Err(End::Gone);
            }
            Some(Ok(message)) => message,
        };
        if !self.budget.take(now) {
            return Err(End::Close(Close::TooManyMessages));
        }
        match message {
            Message::Text(text) => self.obey(&text).await,
            Message::Binary(_) => Err(End::Close(Close::NotText)),
            Message::Pong(_) => {
                self.last_pong = now;
                Ok(())
            }
            // The library answers it.
            Message::Ping(_) => self.write(Vec::new()).await,
            Message::Close(_) => Err(End::Close(Close::Normal)),
        }
    }

    async fn obey(&mut self, text: &str) -> Result<(), End> {
        let outcome = match parse_command(text) {
            Ok(command) => self.session.obey(command, self.asked.is_some()),
            Err(mistake) => Outcome::Messages(vec![render(&mistake.into())]),
        };
        match outcome {
            Outcome::Messages(messages) => self.write(texts(messages)).await,
            Outcome::Later(asked) => {
                self.asked = Some(asked);
                Ok(())
            }
        }
    }

    /// Writes a piece of what the rooms have.
    async fn deliver(&mut self) -> Result<(), End> {
        let mut messages = Vec::new();
        let progress = self.session.next(WRITTEN_AT_ONCE, &mut |message| messages.push(message));
        self.write(texts(messages)).await?;
        self.has_more = match progress {
            Progress::Done => false,
            Progress::More => true,
            Progress::Close(close) => return Err(End::Close(close)),
        };
        Ok(())
    }

    /// Writes messages within their time. While they are on their way, it is looked whether too much waits behind them.
    async fn write(&mut self, messages: Vec<Message>) -> Result<(), End> {
        let bytes_of =
            |message: &Message| if let Message::Text(text) = message { Some(text.len()) } else { None };
        let texts: Vec<usize> = messages.iter().filter_map(bytes_of).collect();
        self.session.counted.sent(texts.len(), texts.iter().sum());
        let socket = &mut self.socket;
        let writing = async {
            for message in messages {
                socket.feed(message).await?;
            }
            socket.flush().await
        };
        let mut writing = std::pin::pin!(timeout(self.write_timeout, writing));
        loop {
            tokio::select! {
                biased;
                written = &mut writing => return match written {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(_)) => Err(End::Gone),
                    Err(_) => Err(End::Close(Close::SlowConsumer)),
                },
                () = self.woken.notified() => {
                    if self.session.is_too_far_behind() {
                        return Err(End::Close(Close::SlowConsumer));
                    }
                }
            }
        }
    }

    /// Sends the close frame behind what is on its way, and waits for its answer, both within a bounded time. Ending at once
    /// would take from the other end what it has not read yet.
    async fn close(mut self, close: Close) {
        let frame = CloseFrame { code: close.code(), reason: Utf8Bytes::from_static(close.reason()) };
        let closing = async {
            let sent = match close {
                // The library has put its answer to the other end's frame on its way.
                Close::Normal => self.socket.flush().await,
                _ => self.socket.send(Message::Close(Some(frame))).await,
            };
            if sent.is_ok() {
                while let Some(Ok(_)) = self.socket.recv().await {}
            }
            if close == Close::TooLarge {
                // The rest of the message is not read, and ending with that unread would take the frame back.
                tokio::time::sleep(UNREAD_TIME).await;
            }
        };
        if timeout(CLOSE_TIME, closing).await.is_err() {
            tracing::debug!(reason = close.reason(), "a WebSocket did not take its close frame in time");
        }
    }
}

async fn answered(asked: &mut Option<Asked>) -> super::session::Answer {
    match asked {
        Some(asked) => asked.await,
        None => std::future::pending().await,
    }
}

fn texts(messages: impl IntoIterator<Item = Bytes>) -> Vec<Message> {
    // What is written down as JSON is UTF-8.
    messages.into_iter().filter_map(|message| Utf8Bytes::try_from(message).ok()).map(Message::Text).collect()
}
