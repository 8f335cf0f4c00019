//! The events of a record as they are sent, each written down once. That takes the time, so it is done before anybody has to
//! wait for it.

use std::sync::Arc;

use bytes::Bytes;

use crate::alert::{AlertChange, PushedAlert, RecordAlerts};
use crate::event::{LiveEvent, RecordEvents};
use crate::message::{AlertPush, ServerMessage, render};
use crate::position::Place;
use crate::room::Room;

/// A record, written down under an epoch.
#[derive(Debug)]
pub(crate) struct RenderedRecord {
    pub(crate) epoch: Arc<str>,
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    pub(crate) events: Vec<RenderedEvent>,
    /// The alerts that it changed, as they are now.
    pub(crate) alerts: Vec<PushedAlert>,
}

/// One event of it.
#[derive(Debug)]
pub(crate) struct RenderedEvent {
    pub(crate) place: Place,
    /// Where to go on behind it.
    pub(crate) next: Place,
    pub(crate) account: Option<Arc<str>>,
    pub(crate) conversation: Option<Arc<str>>,
    /// What its messages are.
    pub(crate) kind: &'static str,
    /// The message of the room of all events.
    pub(crate) text: Bytes,
    /// Where in it what follows the room begins.
    pub(crate) rest_at: usize,
    /// Where in it the event itself begins.
    pub(crate) data_at: usize,
}

impl RenderedRecord {
    pub(crate) fn of(epoch: &Arc<str>, record: RecordEvents) -> Self {
        let RecordEvents { partition, offset, events } = record;
        let end = Place::at(offset + 1);
        let mut rendered = Vec::with_capacity(events.len());
        let mut rows = events.into_iter().peekable();
        while let Some((row, event)) = rows.next() {
            // What lies between two good rows is bad and not shown.
            let next = rows.peek().map_or(end, |(row, _)| Place { offset, row: *row });
            rendered.push(RenderedEvent::of(epoch, partition, Place { offset, row }, next, event));
        }
        Self { epoch: epoch.clone(), partition, offset, events: rendered, alerts: Vec::new() }
    }

    /// A record of the control log.
    pub(crate) fn of_alerts(epoch: &Arc<str>, record: RecordAlerts) -> Self {
        let RecordAlerts { offset, alerts: changes } = record;
        let count = changes.len();
        let (mut events, mut alerts) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for (row, change) in (0..).zip(changes) {
            let is_last = row as usize + 1 == count;
            let next = if is_last { Place::at(offset + 1) } else { Place { offset, row: row + 1 } };
            alerts.push(change.alert.clone());
            events.push(RenderedEvent::of_alert(epoch, Place { offset, row }, next, change));
        }
        Self { epoch: epoch.clone(), partition: 0, offset, events, alerts }
    }
}

impl RenderedEvent {
    fn of(epoch: &Arc<str>, partition: u32, place: Place, next: Place, event: LiveEvent) -> Self {
        let account = event.account_id.as_deref().map(Arc::from);
        let conversation = event.conversation_id.as_deref().map(Arc::from);
        let text = render(&ServerMessage::ActivityEvent {
            room: Room::ActivityFeed.name().into_owned(),
            epoch: epoch.clone(),
            partition,
            offset: place.offset,
            row: place.row,
            next,
            data: Box::new(event),
        });
        let (kind, room) = ("activity_event", Room::ActivityFeed);
        Self::written(Around { place, next, account, conversation, kind, room: &room }, text)
    }

    fn of_alert(epoch: &Arc<str>, place: Place, next: Place, change: AlertChange) -> Self {
        let AlertChange { alert, is_notification, steps, by } = change;
        let push = AlertPush {
            room: Room::Alerts.name().into_owned(),
            epoch: epoch.clone(),
            partition: 0,
            offset: place.offset,
            row: place.row,
            next,
            steps,
            by,
            data: alert.data,
        };
        let (kind, message) = match is_notification {
            true => ("alert_notification", ServerMessage::AlertNotification(push)),
            false => ("alert_update", ServerMessage::AlertUpdate(push)),
        };
        let (account, conversation) = (alert.account, alert.conversation);
        let around = Around { place, next, account, conversation, kind, room: &Room::Alerts };
        Self::written(around, render(&message))
    }

    fn written(around: Around<'_>, text: Bytes) -> Self {
        let Around { place, next, account, conversation, kind, room } = around;
        let data_at = find(&text, br#","data":"#).map_or(text.len(), |at| at + br#","data":"#.len());
        let rest_at = head(kind, room).len();
        Self { place, next, account, conversation, kind, text, rest_at, data_at }
    }
}

/// What is known of an event beside its message.
struct Around<'a> {
    place: Place,
    next: Place,
    account: Option<Arc<str>>,
    conversation: Option<Arc<str>>,
    kind: &'static str,
    /// The room that the message is written for.
    room: &'a Room,
}

/// How a message of this kind begins in a room.
pub(crate) fn head(kind: &str, room: &Room) -> String {
    let room = serde_json::to_string(&room.name()).unwrap_or_default();
    format!(r#"{{"type":"{kind}","room":{room},"#)
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}
