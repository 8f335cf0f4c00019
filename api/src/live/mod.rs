//! Live push over WebSockets and server-sent events. What is sent is `kelly_live`'s; here is how: places for sockets,
//! heartbeats, time-outs, rights that end, and the end of the server.

mod access;
mod alerts;
mod counts;
mod figures;
mod incoming;
mod outgoing;
mod reading;
mod seats;
mod session;
mod socket;
mod stop;
mod stream;
mod task;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use kelly_live::{FeedState, Hub};

pub use counts::{Transport, TransportCounts};
pub use seats::{SeatName, ShareSeats};
pub(crate) use session::Session;
pub(crate) use socket::{SUBPROTOCOL, begin as begin_socket};
pub(crate) use stream::events;

use counts::LiveCounts;
use figures::FiguresTask;
use reading::ReadingTask;
use seats::Seats;
use stop::Stop;

/// Sockets of one user. At it: the next one is refused with 429.
pub const SOCKETS_OF_A_USER: usize = 10;

/// Settings of live push.
#[derive(Debug, Clone, Copy)]
pub struct LiveSettings {
    /// Sockets and streams at once. At it: the next one is refused with 503.
    pub max_connections: usize,
    /// Of these, those of one user. At it: the next one is refused with 429.
    pub max_of_a_user: usize,
    /// Time between two pings of the server.
    pub ping_interval: Duration,
    /// Time without an answer to a ping. At it: the socket is closed.
    pub timeout: Duration,
    /// Time in which a write must be done. At it: the socket is ended.
    pub write_timeout: Duration,
    /// Time between two updates of the figures.
    pub figures_interval: Duration,
}

impl Default for LiveSettings {
    fn default() -> Self {
        Self {
            max_connections: 1_000,
            max_of_a_user: SOCKETS_OF_A_USER,
            ping_interval: Duration::from_secs(30),
            timeout: Duration::from_secs(300),
            write_timeout: Duration::from_secs(10),
            figures_interval: Duration::from_secs(15),
        }
    }
}

impl LiveSettings {
    /// Between two pings; often enough for an answer within the time-out.
    fn ping_every(&self) -> Duration {
        self.ping_interval.min(self.timeout / 2)
    }
}

/// Live push of one server.
#[derive(Debug)]
pub struct Live {
    pub(crate) hub: Arc<Hub>,
    pub(crate) settings: LiveSettings,
    pub(crate) seats: Arc<Seats>,
    pub(crate) counts: Arc<LiveCounts>,
    pub(crate) figures: FiguresTask,
    pub(crate) reading: ReadingTask,
    pub(crate) stop: Stop,
}

impl Live {
    /// Over this hub.
    #[must_use]
    pub fn new(hub: Arc<Hub>, settings: LiveSettings) -> Self {
        Self {
            hub,
            seats: Arc::new(Seats::new(settings.max_connections, settings.max_of_a_user)),
            counts: Arc::default(),
            settings,
            figures: FiguresTask::default(),
            reading: ReadingTask::default(),
            stop: Stop::default(),
        }
    }

    /// Closes every socket with a code that says to connect again, some at a time, and takes no more.
    pub fn stop(&self) {
        self.stop.begin();
    }

    /// Sockets and streams that are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.seats.taken()
    }

    /// What was done for connections of this kind.
    #[must_use]
    pub fn counts(&self, transport: Transport) -> TransportCounts {
        self.counts.of(transport)
    }

    /// Updates of figures that a connection was not sent because a newer one was there first.
    #[must_use]
    pub fn skipped_figures(&self) -> u64 {
        self.hub.skipped_figures()
    }

    /// Rooms that could not go on where their client was, and began anew.
    #[must_use]
    pub fn resets(&self) -> u64 {
        self.hub.resets()
    }

    /// The next offset of each partition that is read.
    #[must_use]
    pub fn feed_position(&self) -> Vec<u64> {
        self.hub.feed_position()
    }

    /// How reading the log goes.
    #[must_use]
    pub fn feed_state(&self) -> FeedState {
        self.hub.feed_state()
    }

    /// Events that are kept for those who resume.
    #[must_use]
    pub fn kept_events(&self) -> usize {
        self.hub.kept_events()
    }
}
