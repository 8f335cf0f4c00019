//! What the server sends.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::alert::AlertBy;
use crate::command::{MessageId, Mistake, MistakeCode};
use crate::event::LiveEvent;
use crate::position::Place;
use crate::room::Kind;

/// A message of the server.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schema(as = LiveServerMessage)]
pub enum ServerMessage {
    /// The first message of a connection.
    Welcome {
        /// Seconds between two pings of the server.
        ping_interval: u64,
        /// Seconds without an answer to a ping after which the server closes the connection.
        timeout: u64,
        /// When the token ends, in seconds since 1970; null where it does not.
        expires_at: Option<i64>,
    },
    /// The rooms that were entered, each with the position it begins at. A snapshot and all that comes behind follow.
    Subscribed {
        /// Of the message that is answered.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<MessageId>,
        /// The rooms.
        rooms: Vec<RoomState>,
    },
    /// Rooms that were left.
    Unsubscribed {
        /// Of the message that is answered; absent where nobody asked.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<MessageId>,
        /// The rooms.
        rooms: Vec<String>,
        /// Why.
        reason: LeaveReason,
    },
    /// The figures of the dashboard.
    MetricsUpdate {
        /// The room.
        room: String,
        /// As in [`Position`](crate::Position).
        #[schema(value_type = String)]
        epoch: Arc<str>,
        /// Counts the updates.
        offset: u64,
        /// Whether `data` has only the figures that changed since the update before.
        partial: bool,
        /// Of the message that is answered, where one is.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<MessageId>,
        /// The figures, as `GET /api/v1/kelly/monitoring/metrics` gives them.
        #[schema(value_type = Object)]
        data: Box<RawValue>,
    },
    /// What the user has read by now: whenever the user marks something, on whichever instance, and when the room is entered.
    ReadState {
        /// The room.
        room: String,
        /// Another one means that the oldest marks have expired.
        #[schema(value_type = String)]
        epoch: Arc<str>,
        /// Counts what the user has marked and undone: of two states with one epoch the greater is the newer.
        offset: u64,
        /// How much is unread, as `GET /api/v1/kelly/monitoring/activity/unread` gives it.
        #[schema(value_type = Object)]
        data: Box<RawValue>,
    },
    /// One event, as it came on the log.
    ActivityEvent {
        /// The room.
        room: String,
        /// As in [`Position`](crate::Position).
        #[schema(value_type = String)]
        epoch: Arc<str>,
        /// Partition of the record the event came in.
        partition: u32,
        /// Offset of that record.
        offset: u64,
        /// Row of the event in it, from 0.
        row: u32,
        /// What to put into `offsets` at `partition` to go on behind this event.
        next: Place,
        /// The event.
        data: Box<LiveEvent>,
    },
    /// The newest events there were when the room was entered, newest first.
    ActivitySnapshot(ActivitySnapshot),
    /// An alert that somebody is to look at: it was raised, got worse, was opened again, or came to a higher level, and is not silenced.
    AlertNotification(AlertPush),
    /// An alert that changed in another way: somebody took it, it is over, it has an owner, a note ….
    AlertUpdate(AlertPush),
    /// The alerts that were open when the room was entered, the worst first.
    AlertSnapshot(AlertSnapshot),
    /// Everything before these offsets has been sent. A client that has less has lost something: it subscribes again at
    /// its own position.
    Position {
        /// The room.
        room: String,
        /// As in [`Position`](crate::Position).
        #[schema(value_type = String)]
        epoch: Arc<str>,
        /// By partition.
        offsets: Vec<Place>,
    },
    /// The room cannot go on where the client was: what it has shown may lack events. A position and a snapshot follow.
    Reset {
        /// The room.
        room: String,
        /// Why.
        reason: ResetReason,
    },
    /// The answer to a `ping`.
    Pong {
        /// Of the message that is answered.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<MessageId>,
    },
    /// The token ends soon: send `refresh_token`, or the connection is closed with 4001.
    TokenExpiring {
        /// In seconds since 1970.
        expires_at: i64,
    },
    /// The new token is in force.
    TokenRefreshed {
        /// Of the message that is answered.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<MessageId>,
        /// When it ends, in seconds since 1970; null where it does not.
        expires_at: Option<i64>,
    },
    /// A message of the client was not obeyed.
    Error {
        /// Of that message, where it could be read.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<MessageId>,
        /// Stable code.
        code: MistakeCode,
        /// What was wrong and what is right.
        detail: String,
        /// Whether the same message may succeed later.
        temporary: bool,
    },
    /// The server ends the connection. Over a WebSocket the close frame says this; only server-sent events have a message.
    Closing {
        /// As in the table of close codes.
        code: u16,
        /// Its name.
        reason: &'static str,
    },
}

/// An alert that changed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LiveAlertPush)]
pub struct AlertPush {
    /// The room.
    pub room: String,
    /// As in [`Position`](crate::Position).
    #[schema(value_type = String)]
    pub epoch: Arc<str>,
    /// Always 0: decisions have one order.
    pub partition: u32,
    /// Offset on the control log.
    pub offset: u64,
    /// Which one of those that this record changed, from 0.
    pub row: u32,
    /// What to put into `offsets` at `partition` to go on behind this change.
    pub next: Place,
    /// What happened, e.g. `raised`, `acknowledged`, `climbed`, `data_resolved`.
    #[schema(value_type = Vec<String>, example = json!(["acknowledged"]))]
    pub steps: Vec<&'static str>,
    /// Who did it.
    pub by: AlertBy,
    /// The alert as it is now, as `GET /api/v1/kelly/alerts/active` gives it.
    #[schema(value_type = Object)]
    pub data: Box<RawValue>,
}

/// The open alerts of a room.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LiveAlertSnapshot)]
pub struct AlertSnapshot {
    /// The room.
    pub room: String,
    /// As in [`Position`](crate::Position).
    #[schema(value_type = String)]
    pub epoch: Arc<str>,
    /// The position the room was entered at: changes from there on follow.
    pub offsets: Vec<Place>,
    /// The alerts.
    pub data: SnapshotAlerts,
}

/// What a snapshot of alerts holds.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LiveSnapshotAlerts)]
pub struct SnapshotAlerts {
    /// How many are open. Where that is more than `alerts` has, `GET /api/v1/kelly/alerts/active` has the others.
    pub open: u64,
    /// The worst first, of equal ones the newest.
    #[schema(value_type = Vec<Object>)]
    pub alerts: Vec<Box<RawValue>>,
}

/// The newest events of a room.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LiveActivitySnapshot)]
pub struct ActivitySnapshot {
    /// The room.
    pub room: String,
    /// As in [`Position`](crate::Position).
    #[schema(value_type = String)]
    pub epoch: Arc<str>,
    /// The position the room was entered at: events from there on follow.
    pub offsets: Vec<Place>,
    /// The events.
    pub data: SnapshotData,
}

/// What a snapshot holds.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LiveSnapshotData)]
pub struct SnapshotData {
    /// Newest first.
    #[schema(value_type = Vec<LiveEvent>)]
    pub events: Vec<Box<RawValue>>,
}

/// A room that was entered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = LiveRoomState)]
pub struct RoomState {
    /// Its name.
    pub room: String,
    /// Whether messages may be left out.
    pub kind: Kind,
    /// As in [`Position`](crate::Position); null where nothing feeds the room yet.
    #[schema(value_type = Option<String>)]
    pub epoch: Option<Arc<str>>,
    /// The position it begins at.
    pub offsets: Vec<Place>,
    /// Whether it goes on where the client was.
    pub resumed: bool,
    /// Why nothing comes in it yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<&'static str>,
}

/// Why a room was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = LiveLeaveReason)]
pub enum LeaveReason {
    /// The client asked.
    Asked,
    /// The new token does not permit it.
    Forbidden,
}

/// Why a room begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = LiveResetReason)]
pub enum ResetReason {
    /// What feeds the room was made anew.
    OtherEpoch,
    /// The position is older than what this instance has at hand.
    TooOld,
    /// The position is one that the room has not reached, and did not within a few seconds.
    NotReached,
    /// Records were removed from the log before they were read.
    Lost,
}

/// Writes a message down.
#[must_use]
pub fn render(message: &ServerMessage) -> Bytes {
    // Its maps have string keys and its numbers are finite, so it always serialises.
    serde_json::to_vec(message).unwrap_or_default().into()
}

impl From<Mistake> for ServerMessage {
    fn from(Mistake { id, code, detail }: Mistake) -> Self {
        Self::Error { id, code, detail, temporary: code.is_temporary() }
    }
}
