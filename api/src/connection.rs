//! One connection: what its requests know of it, and its ends. It fails once it is cut, was idle for too long, or takes too
//! long over the head of a request. The failure ends its task, and a handler with it: the server polls for the client's
//! hang-up while a handler runs.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::connect_info::ConnectInfo;
use axum::extract::{Extension, Request};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::tls::Transport;

/// What the requests of a connection know of it.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionInfo {
    /// Who is at its other end.
    pub(crate) peer: SocketAddr,
    phase: Arc<Phase>,
}

/// Where a connection is between one request and the next. Shared by the stream, which sees bytes come, and the requests,
/// which see heads and answers end.
#[derive(Debug, Default)]
struct Phase(AtomicU8);

/// No byte of the next request has come.
const BETWEEN: u8 = 0;
/// The head of a request is on its way.
const HEAD: u8 = 1;
/// The head is whole; the request's body and its answer have bounds of their own.
const REQUEST: u8 = 2;
/// The connection speaks another protocol since, which has bounds of its own; it never comes back.
const UPGRADED: u8 = 3;

impl Phase {
    fn is(&self, phase: u8) -> bool {
        self.0.load(Ordering::Relaxed) == phase
    }

    fn set(&self, phase: u8) {
        self.0.store(phase, Ordering::Relaxed);
    }
}

/// Notes that the head of a request is whole, and when its answer is out.
pub(crate) async fn note_phase(
    connection: Option<Extension<ConnectInfo<ConnectionInfo>>>,
    request: Request,
    next: Next,
) -> Response {
    let Some(Extension(ConnectInfo(connection))) = connection else { return next.run(request).await };
    connection.phase.set(REQUEST);
    let answered = Answered(connection.phase);
    let response = next.run(request).await;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        answered.0.set(UPGRADED);
    }
    response.map(|body| Body::new(Answer { body, _answered: answered }))
}

/// An answer on its way out.
struct Answer {
    body: Body,
    _answered: Answered,
}

struct Answered(Arc<Phase>);

impl Drop for Answered {
    fn drop(&mut self) {
        if !self.0.is(UPGRADED) {
            self.0.set(BETWEEN);
        }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// How long a connection may take for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Nothing is read or written.
    pub(crate) idle: Duration,
    /// The head of a request, from its first byte.
    pub(crate) head: Duration,
}

/// A stream within these bounds.
pub(crate) struct Connection {
    stream: Transport,
    /// Whether the handshake is over, where there is one.
    is_open: bool,
    info: ConnectionInfo,
    patience: Patience,
    idle_at: Pin<Box<Sleep>>,
    /// Counts while the phase is [`HEAD`].
    head_at: Pin<Box<Sleep>>,
    cut: Pin<Box<dyn Future<Output = ()> + Send>>,
    is_cut: bool,
    /// What it holds for as long as it is there.
    _held: Box<dyn Send + Sync>,
}

impl Connection {
    /// A connection that was accepted; it ends when `cut` completes, and lets go of what it holds then.
    pub(crate) fn new(
        (stream, peer): (Transport, SocketAddr),
        patience: Patience,
        cut: impl Future<Output = ()> + Send + 'static,
        held: impl Send + Sync + 'static,
    ) -> Self {
        Self {
            stream,
            is_open: false,
            info: ConnectionInfo { peer, phase: Arc::default() },
            patience,
            idle_at: Box::pin(tokio::time::sleep(patience.idle)),
            head_at: Box::pin(tokio::time::sleep(patience.head)),
            cut: Box::pin(cut),
            is_cut: false,
            _held: Box::new(held),
        }
    }

    /// What its requests know of it.
    pub(crate) fn info(&self) -> ConnectionInfo {
        self.info.clone()
    }

    fn poll_alive(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        // A future must not be polled again after it is ready.
        self.is_cut = self.is_cut || self.cut.as_mut().poll(context).is_ready();
        if self.is_cut {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the server is stopping"));
        }
        if self.info.phase.is(HEAD) && self.head_at.as_mut().poll(context).is_ready() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the head of a request took too long"));
        }
        if !self.info.phase.is(UPGRADED) && self.idle_at.as_mut().poll(context).is_ready() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the connection was idle"));
        }
        Ok(())
    }

    /// Ready once the stream can be used. The handshake has the time of a head.
    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_open {
            return Poll::Ready(Ok(()));
        }
        match self.stream.poll_open(context) {
            Poll::Ready(Ok(())) => {
                self.is_open = true;
                self.info.phase.set(BETWEEN);
                self.touch();
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                self.info.phase.set(HEAD);
                match self.poll_alive(context) {
                    Ok(()) => Poll::Pending,
                    Err(error) => Poll::Ready(Err(error)),
                }
            }
        }
    }

    fn touch(&mut self) {
        if self.info.phase.is(UPGRADED) {
            return;
        }
        self.idle_at.as_mut().reset(Instant::now() + self.patience.idle);
    }

    /// The first byte after an answer begins a head, and its time. Bytes of a request that has come early count from the
    /// next byte on.
    fn note_bytes(&mut self) {
        if self.info.phase.is(BETWEEN) {
            self.info.phase.set(HEAD);
            self.head_at.as_mut().reset(Instant::now() + self.patience.head);
        }
    }

    /// A client that stops reading counts as idle, too.
    fn after_write(
        &mut self,
        context: &mut Context<'_>,
        result: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if result.is_ready() {
            self.touch();
            return result;
        }
        match self.poll_alive(context) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_open(context))?;
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        if result.is_ready() {
            self.touch();
            if buffer.filled().len() > before {
                self.note_bytes();
            }
            return result;
        }
        match self.poll_alive(context) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_open(context))?;
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.after_write(context, result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_open(context))?;
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.after_write(context, result)
    }
}
