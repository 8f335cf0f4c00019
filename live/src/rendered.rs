//! The events of a record as they are sent, each written down once. That takes the time, so it is done before anybody has to
//! wait for it.

use std::sync::Arc;

use bytes::Bytes;

use crate::event::{LiveEvent, RecordEvents};
use crate::message::{ServerMessage, render};
use crate::position::Place;
use crate::room::Room;

/// A record, written down under an epoch.
#[derive(Debug)]
pub(crate) struct RenderedRecord {
    pub(crate) epoch: Arc<str>,
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    pub(crate) events: Vec<RenderedEvent>,
}

/// One event of it.
#[derive(Debug)]
pub(crate) struct RenderedEvent {
    pub(crate) place: Place,
    /// Where to go on behind it.
    pub(crate) next: Place,
    pub(crate) account: Option<Arc<str>>,
    pub(crate) conversation: Option<Arc<str>>,
    /// The message of the room of all events.
    pub(crate) text: Bytes,
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
        Self { epoch: epoch.clone(), partition, offset, events: rendered }
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
        let data_at = find(&text, br#","data":"#).map_or(text.len(), |at| at + br#","data":"#.len());
        Self { place, next, account, conversation, text, data_at }
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}
