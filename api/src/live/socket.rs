//! One WebSocket: reads what the client sends, writes what its rooms have, and ends when one of them cannot go on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use kelly_live::{Close, Progress, Resume, parse_command, render};
use tokio::sync::Notify;
use tokio::time::{Sleep, timeout};
use tungstenite::{Error, Message};

use super::incoming::Budget;
use super::session::{Asked, Outcome, Session};
use super::stop::Stopping;
use super::wire::Wire;

/// The subprotocol of Kelly's WebSockets.
pub(crate) const SUBPROTOCOL: &str = "kelly.v1";

/// Bytes that are written before the next look at what comes in.
const WRITTEN_AT_ONCE: usize = 64 << 10;

/// How long the other end has to take the close frame and answer it; then the connection is dropped.
const CLOSE_TIME: Duration = Duration::from_secs(5);

/// How long the other end has to take the close frame while what it sends is not read.
const UNREAD_TIME: Duration = Duration::from_secs(1);

/// Makes a WebSocket of a connection, once the answer that says so is out, and serves it until it ends. It begins in these rooms.
pub(crate) fn begin(upgrading: OnUpgrade, session: Session, rooms: Vec<Resume>) {
    tokio::spawn(upgraded(upgrading, Box::new(session), rooms));
}

/// What is large is boxed: a future has room for what it was given, for each place that this is moved to, and for all that is
/// alive at any one await, and each socket has that future for as long as it is open.
async fn upgraded(upgrading: OnUpgrade, session: Box<Session>, rooms: Vec<Resume>) {
    match upgrading.await {
        Ok(connection) => Serving::new(connection, session).run(rooms).await,
        Err(error) => tracing::debug!(%error, "a connection did not become a WebSocket"),
    }
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
    wire: Wire<TokioIo<Upgraded>>,
    session: Box<Session>,
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
    fn new(connection: Upgraded, session: Box<Session>) -> Box<Self> {
        let live = &session.shared.app.live;
        let settings = live.settings;
        let now = Instant::now();
        Box::new(Self {
            wire: Wire::new(TokioIo::new(connection)),
            has_more: false,
            woken: session.woken(),
            stop: live.stop.watch(),
            asked: None,
            budget: Budget::new(now),
            last_pong: now,
            ping_at: now + settings.ping_every(),
            timeout: settings.timeout,
            ping_every: settings.ping_every(),
            write_timeout: settings.write_timeout,
            session,
        })
    }

    async fn run(mut self: Box<Self>, rooms: Vec<Resume>) {
        let Err(end) = self.serve(rooms).await;
        let close = match end {
            End::Gone => return,
            End::Close(close) => close,
        };
        self.session.counted.close(close);
        if close == Close::ShuttingDown {
            let pause = self.session.shared.app.live.stop.pause_before_close();
            tokio::time::sleep(pause).await;
        }
        self.close(close).await;
    }

    async fn serve(&mut self, rooms: Vec<Resume>) -> Result<Never, End> {
        // It may have been withdrawn since it was verified.
        self.session.recheck().map_err(End::Close)?;
        let mut first = vec![self.session.welcome()];
        if !rooms.is_empty() {
            first.extend(self.session.subscribe(None, rooms));
        }
        self.write(first).await?;
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
                self.write(messages).await
            }
            message = self.wire.recv() => self.take(message).await,
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
            self.write(vec![message]).await?;
        }
        if now >= self.ping_at {
            self.ping_at = now + self.ping_every;
            self.wire.ping().map_err(|_| End::Gone)?;
            self.write(self.session.tell_positions()).await?;
        }
        Ok(())
    }

    async fn take(&mut self, message: Result<Message, Error>) -> Result<(), End> {
        let now = Instant::now();
        let message = match message {
            Err(Error::Capacity(_)) => return Err(End::Close(Close::TooLarge)),
            Err(error) => {
                tracing::debug!(%error, "a WebSocket broke off");
                return Err(End::Gone);
            }
            Ok(message) => message,
        };
        if !self.budget.take(now) {
            return Err(End::Close(Close::TooManyMessages));
        }
        match message {
            Message::Text(text) => self.obey(&text).await,
            // The last of these is none that is read.
            Message::Binary(_) | Message::Frame(_) => Err(End::Close(Close::NotText)),
            Message::Pong(_) => {
                self.last_pong = now;
                Ok(())
            }
            // Its answer waits to be written.
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
            Outcome::Messages(messages) => self.write(messages).await,
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
        self.write(messages).await?;
        self.has_more = match progress {
            Progress::Done => false,
            Progress::More => true,
            Progress::Close(close) => return Err(End::Close(close)),
        };
        Ok(())
    }

    /// Writes messages, behind what waits already, within their time. While they are on their way, it is looked whether too much
    /// waits behind them.
    async fn write(&mut self, messages: Vec<Bytes>) -> Result<(), End> {
        self.session.counted.sent(messages.len(), messages.iter().map(Bytes::len).sum());
        let wire = &mut self.wire;
        let writing = async {
            for message in messages {
                wire.send(message).await?;
            }
            wire.flush().await
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
    async fn close(&mut self, close: Close) {
        let closing = async {
            let begun = match close {
                // The answer to the other end's frame waits to be written.
                Close::Normal => Ok(()),
                _ => self.wire.close(close.code(), close.reason()),
            };
            if begun.is_ok() && self.wire.flush().await.is_ok() {
                while self.wire.recv().await.is_ok() {}
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of what an asynchronous function gives.
    fn size_of_future<A, B, C, F>(_: impl Fn(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    /// A part of the 12 KiB that a socket may have of memory; the rest is its buffers and its connection's.
    #[test]
    fn a_socket_has_little_of_its_own() {
        let sizes = [size_of_future(upgraded), size_of::<Serving>(), size_of::<Session>()];
        assert!(sizes.iter().sum::<usize>() <= 4 << 10, "{sizes:?}");
    }
}
