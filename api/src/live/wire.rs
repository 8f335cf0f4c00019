//! A WebSocket over an upgraded connection. tungstenite knows the protocol: it reads what comes, and writes pings, answers to them and
//! close frames. Messages go past it, from the bytes that all sockets share to the connection: it would copy each into a
//! buffer of the socket's own, which keeps the size of the longest one.
//!
//! Everything goes through one queue of frames, so nothing that answers what is read gets into the middle of a message. Both
//! directions can be left at any await and taken up again.

use std::future::poll_fn;
use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message, Utf8Bytes};

use super::outgoing::{Full, Outgoing};

/// Bytes that are read ahead: what clients send is small, and each socket has so many. A longer message gets room of its own.
const READ_BUFFER: usize = 512;

/// Largest message of a client. At it: reading ends with [`Error::Capacity`].
const MAX_MESSAGE: usize = 64 << 10;

/// Bytes that are gathered before some are written. At it: the next message waits.
const GATHERED: usize = 16 << 10;

/// Parts of frames that are written at once, two a message.
const SLICES: usize = 64;

/// One end of a WebSocket: the server's.
pub(super) struct Wire<S> {
    stream: S,
    protocol: WebSocketContext,
    outgoing: Outgoing,
    /// Whether reading has ended, for whatever reason.
    has_ended: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Over a connection that speaks WebSocket from its next byte on.
    pub(super) fn new(stream: S) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            // What it writes goes on into the queue at once.
            .write_buffer_size(0)
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        Self {
            stream,
            protocol: WebSocketContext::new(Role::Server, Some(config)),
            outgoing: Outgoing::default(),
            has_ended: false,
        }
    }

    /// The next message. The answer to a ping or to a close frame waits to be written then. After an error nothing more is read.
    pub(super) async fn recv(&mut self) -> Result<Message, Error> {
        poll_fn(|context| self.poll_recv(context)).await
    }

    fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Result<Message, Error>> {
        if self.has_ended {
            return Poll::Ready(Err(Error::AlreadyClosed));
        }
        let mut reading =
            Reading { stream: &mut self.stream, context, outgoing: Queueing(&mut self.outgoing) };
        match self.protocol.read(&mut reading) {
            Ok(message) => {
                if matches!(message, Message::Ping(_) | Message::Close(_)) {
                    queued(self.protocol.flush(&mut reading.outgoing))?;
                }
                Poll::Ready(Ok(message))
            }
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            Err(error) => {
                self.has_ended = true;
                Poll::Ready(Err(error))
            }
        }
    }

    /// Puts a message of text behind what waits, once there is room for it. It waits until it is flushed.
    pub(super) async fn send(&mut self, text: Bytes) -> io::Result<()> {
        poll_fn(|context| self.poll_written(context, GATHERED - 1)).await?;
        Ok(self.outgoing.push_text(text)?)
    }

    /// Puts a ping behind what waits. It waits until it is flushed.
    pub(super) fn ping(&mut self) -> io::Result<()> {
        queued(self.protocol.write(&mut Queueing(&mut self.outgoing), Message::Ping(Bytes::new())))
    }

    /// Puts a close frame behind what waits. It waits until it is flushed, and nothing but its answer comes after it.
    pub(super) fn close(&mut self, code: u16, reason: &'static str) -> io::Result<()> {
        let frame = CloseFrame { code: code.into(), reason: Utf8Bytes::from_static(reason) };
        queued(self.protocol.close(&mut Queueing(&mut self.outgoing), Some(frame)))
    }

    /// Writes all that waits.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|context| {
            ready!(self.poll_written(context, 0))?;
            Pin::new(&mut self.stream).poll_flush(context)
        })
        .await
    }

    /// Writes until no more bytes wait than so many.
    fn poll_written(&mut self, context: &mut Context<'_>, most: usize) -> Poll<io::Result<()>> {
        while self.outgoing.waiting() > most {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = self.outgoing.slices(&mut slices);
            let stream = Pin::new(&mut self.stream);
            let written = ready!(stream.poll_write_vectored(context, &slices[..count]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outgoing.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

/// What came of putting frames of tungstenite's into the queue. It says that the connection is over once the answer to a close
/// frame was given to it; here that has yet to be written.
fn queued(result: Result<(), Error>) -> io::Result<()> {
    match result {
        Ok(()) | Err(Error::ConnectionClosed) => Ok(()),
        Err(Error::Io(error)) => Err(error),
        Err(error) => Err(io::Error::other(error)),
    }
}

impl From<Full> for io::Error {
    fn from(_: Full) -> Self {
        Self::other("too much waits to be written to the WebSocket")
    }
}

/// Where tungstenite writes to: the queue.
struct Queueing<'a>(&'a mut Outgoing);

impl Write for Queueing<'_> {
    /// It writes whole frames: it has no buffer of its own to gather some, and here all are taken or none.
    fn write(&mut self, frames: &[u8]) -> io::Result<usize> {
        self.0.push_frames(frames)?;
        Ok(frames.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Queueing<'_> {
    /// Nothing is read while something is put into the queue.
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

/// Where tungstenite reads from: the connection. What it writes meanwhile goes into the queue.
struct Reading<'a, 'b, S> {
    stream: &'a mut S,
    context: &'a mut Context<'b>,
    outgoing: Queueing<'a>,
}

impl<S: AsyncRead + Unpin> Read for Reading<'_, '_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(buffer);
        match Pin::new(&mut *self.stream).poll_read(self.context, &mut buffer) {
            Poll::Ready(read) => read.map(|()| buffer.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl<S> Write for Reading<'_, '_, S> {
    fn write(&mut self, frames: &[u8]) -> io::Result<usize> {
        self.outgoing.write(frames)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.outgoing.flush()
    }
}

#[cfg(test)]
mod tests;
