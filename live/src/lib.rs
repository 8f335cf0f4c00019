//! Live push: rooms, positions and what a connection is sent. The transport (WebSockets, server-sent events) is the API's.
//!
//! Two kinds of room. *Newest only* (the dashboard's figures): a connection that is slow misses values in between and
//! never the newest; so is what a user has read. *Every one* (events): nothing is left out; who cannot keep up is disconnected with a code that says
//! so, and resumes from its position.
//!
//! ```text
//! log ─► feed ─► ring of recent events ─► cursor of each connection ─► its socket
//! ```
//! There is one copy of an event's message: a connection has a cursor into the ring and no queue of its own. What waits for
//! a connection is what lies between its cursor and the end of the ring; [`Bounds`] says how much that may be.
//!
//! `feed` reads the log and [`hub`](Hub) wakes connections; everything else is pure.

mod alert;
mod bounds;
mod close;
mod command;
mod connection;
mod event;
mod feed;
mod hub;
mod message;
mod newest;
mod position;
mod reading;
mod rendered;
mod ring;
mod room;

pub use alert::{AlertBy, AlertChange, PushedAlert, RecordAlerts};
pub use bounds::Bounds;
pub use close::{Close, Outlook};
pub use command::{
    ClientMessage, Command, MessageId, Mistake, MistakeCode, Request, Resume, Token, parse as parse_command,
};
pub use connection::{Connection, Progress};
pub use event::{LiveEvent, RecordEvents, events_of};
pub use feed::{Feed, FeedConfig};
pub use hub::{FeedState, Hub};
pub use message::{
    ActivitySnapshot, AlertPush, AlertSnapshot, LeaveReason, ResetReason, RoomState, ServerMessage,
    SnapshotAlerts, SnapshotData, render,
};
pub use position::{
    MAX_POSITION_BYTES, Place, Position, Positions, UnreadablePosition, to_text as positions_text,
};
pub use reading::{ReadStates, Readers, StatePosition, User};
pub use ring::Beginning;
pub use room::{Kind, MAX_ROOMS, Room, UnknownRoom};
