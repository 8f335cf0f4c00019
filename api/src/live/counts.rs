//! What live push has done since the start, by what carries a connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kelly_live::Close;

/// What carries a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A WebSocket.
    WebSocket,
    /// A stream of server-sent events.
    EventStream,
}

impl Transport {
    /// Both.
    pub const ALL: [Self; 2] = [Self::WebSocket, Self::EventStream];

    /// Its name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::EventStream => "event_stream",
        }
    }
}

/// The counts of one transport at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportCounts {
    /// Connections that are open.
    pub open: u64,
    /// Messages that were handed to connections.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Connections that the server ended, by the code of [`Close`], each with how many.
    pub closes: Vec<(Close, u64)>,
    /// Connections that were gone without a close of the server's.
    pub gone: u64,
}

#[derive(Debug, Default)]
struct Counts {
    open: AtomicU64,
    messages: AtomicU64,
    bytes: AtomicU64,
    closes: [AtomicU64; Close::ALL.len()],
    gone: AtomicU64,
}

/// Counts all connections.
#[derive(Debug, Default)]
pub(crate) struct LiveCounts {
    transports: [Counts; Transport::ALL.len()],
}

impl LiveCounts {
    pub(super) fn of(&self, transport: Transport) -> TransportCounts {
        let counts = &self.transports[transport as usize];
        let now = |count: &AtomicU64| count.load(Ordering::Relaxed);
        TransportCounts {
            open: now(&counts.open),
            messages: now(&counts.messages),
            bytes: now(&counts.bytes),
            closes: Close::ALL.into_iter().zip(counts.closes.iter().map(now)).collect(),
            gone: now(&counts.gone),
        }
    }

    /// A connection that is open until what this gives is dropped.
    pub(super) fn open(self: &Arc<Self>, transport: Transport) -> Counted {
        self.transports[transport as usize].open.fetch_add(1, Ordering::Relaxed);
        Counted { counts: Arc::clone(self), transport, is_closed: false }
    }
}

/// One connection among those that are counted.
#[derive(Debug)]
pub(super) struct Counted {
    counts: Arc<LiveCounts>,
    transport: Transport,
    is_closed: bool,
}

impl Counted {
    fn counts(&self) -> &Counts {
        &self.counts.transports[self.transport as usize]
    }

    /// So many messages, of so many bytes together, were handed over.
    pub(super) fn sent(&self, messages: usize, bytes: usize) {
        self.counts().messages.fetch_add(messages as u64, Ordering::Relaxed);
        self.counts().bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The server ends it.
    pub(super) fn close(&mut self, close: Close) {
        let place = Close::ALL.iter().position(|known| *known == close);
        if let Some(count) = place.and_then(|place| self.counts().closes.get(place))
            && !self.is_closed
        {
            count.fetch_add(1, Ordering::Relaxed);
            self.is_closed = true;
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.counts().open.fetch_sub(1, Ordering::Relaxed);
        if !self.is_closed {
            self.counts().gone.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_counted_once_whichever_way_it_ends() {
        let counts = Arc::new(LiveCounts::default());
        let mut closed = counts.open(Transport::WebSocket);
        let gone = counts.open(Transport::WebSocket);
        let stream = counts.open(Transport::EventStream);
        closed.sent(2, 30);
        closed.close(Close::SlowConsumer);
        closed.close(Close::Normal);
        assert_eq!(counts.of(Transport::WebSocket).open, 2);
        drop((closed, gone));
        let now = counts.of(Transport::WebSocket);
        assert_eq!((now.open, now.messages, now.bytes, now.gone), (0, 2, 30, 1));
        let ended: Vec<_> = now.closes.into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(ended, [(Close::SlowConsumer, 1)]);
        assert_eq!(counts.of(Transport::EventStream).open, 1);
        drop(stream);
    }
}
