//! One connection: which rooms it is in, and what it is sent next. It owns cursors and no queue.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kelly_auth::Accounts;
use serde_json::value::RawValue;
use tokio::sync::Notify;

use crate::close::Close;
use crate::command::{MessageId, Resume};
use crate::hub::Hub;
use crate::message::{LeaveReason, ResetReason, RoomState, ServerMessage, render};
use crate::newest::Seen;
use crate::position::{Place, Position, Positions, to_text};
use crate::reading::{Readers, User};
use crate::ring::{Cursor, Found, Ring, View};
use crate::room::{Feeding, MAX_ROOMS, Room, Source};

/// How long a position that this instance has not reached is waited for: another one was ahead in reading the log.
const AHEAD: Duration = Duration::from_secs(5);

/// What comes of asking for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nothing more for now: wait for [`Connection::woken`].
    Done,
    /// There is more.
    More,
    /// The connection is to be closed.
    Close(Close),
}

/// A connection's place in the hub. It leaves its rooms when it is dropped.
#[derive(Debug)]
pub struct Connection {
    hub: Arc<Hub>,
    id: u64,
    woken: Arc<Notify>,
    accounts: Accounts,
    user: Option<User>,
    rooms: Vec<Joined>,
    /// Where the next look begins, so that a busy room does not starve the others.
    turn: usize,
}

#[derive(Debug)]
struct Joined {
    room: Room,
    following: Following,
}

#[derive(Debug)]
enum Following {
    Figures { seen: Seen },
    Events(Box<Events>),
    Reading { readers: Readers, seen: u64 },
    Nothing,
}

#[derive(Debug)]
struct Events {
    feeding: Feeding,
    cursor: Cursor,
    view: View,
    /// Until when a position is waited for that this instance has not reached.
    ahead_until: Option<Instant>,
    /// Whether a snapshot comes before anything else, once the backlog has been read.
    is_snapshot_due: bool,
}

impl Events {
    /// Begins at the end: the snapshot is given at once, or once it can be whole.
    fn begin(feeding: Feeding, ring: &Ring, view: View) -> (Self, Option<Bytes>) {
        let cursor = ring.at_end();
        let snapshot = ring.has_read_backlog().then(|| ring.snapshot(&view, &cursor));
        (Self { feeding, cursor, view, ahead_until: None, is_snapshot_due: snapshot.is_none() }, snapshot)
    }

    /// Gives what comes next; an error says why it cannot go on where it is.
    fn next(
        &mut self,
        ring: &Ring,
        now: Instant,
        max_bytes: usize,
        give: &mut dyn FnMut(Bytes),
    ) -> Result<Progress, ResetReason> {
        if self.is_snapshot_due {
            if ring.is_of_this_life(&self.cursor) && !ring.has_read_backlog() {
                return Ok(Progress::Done);
            }
            self.cursor = ring.taken_up(&self.cursor)?;
            self.is_snapshot_due = false;
            give(ring.snapshot(&self.view, &self.cursor));
        }
        let found = ring.read(&mut self.cursor, &self.view, max_bytes, give);
        if let Found::Reset(reason) = found {
            return Err(reason);
        }
        if self.gives_up(ring, now) {
            return Err(ResetReason::NotReached);
        }
        Ok(match found {
            Found::TooFarBehind => Progress::Close(Close::SlowConsumer),
            Found::More => Progress::More,
            Found::End | Found::Reset(_) => Progress::Done,
        })
    }

    /// Whether a position that is ahead was waited for in vain. The wait begins once the backlog has been read.
    fn gives_up(&mut self, ring: &Ring, now: Instant) -> bool {
        let Some(until) = self.ahead_until else { return false };
        if !ring.is_ahead(&self.cursor) {
            self.ahead_until = None;
        } else if !ring.has_read_backlog() {
            self.ahead_until = Some(now + AHEAD);
        }
        self.ahead_until.is_some() && now >= until && ring.has_read_backlog()
    }

    fn is_too_far_behind(&self, ring: &Ring) -> bool {
        !self.is_snapshot_due && ring.is_too_far_behind(&self.cursor, &self.view)
    }
}

/// A room that was entered.
struct Entered {
    state: RoomState,
    following: Following,
    reset: Option<Bytes>,
    snapshot: Option<Bytes>,
}

impl Entered {
    fn new(state: RoomState, following: Following) -> Self {
        Self { state, following, reset: None, snapshot: None }
    }
}

impl Connection {
    /// A connection of somebody who sees these accounts, in no room.
    #[must_use]
    pub fn new(hub: &Arc<Hub>, accounts: Accounts) -> Self {
        let (hub, id, woken) = (hub.clone(), hub.new_id(), Arc::default());
        Self { hub, id, woken, accounts, user: None, rooms: Vec::new(), turn: 0 }
    }

    /// The same, of a user, who may look at what they have read.
    #[must_use]
    pub fn of_user(mut self, user: User) -> Self {
        self.user = Some(user);
        self
    }

    /// Is notified when there may be something to send.
    #[must_use]
    pub fn woken(&self) -> Arc<Notify> {
        self.woken.clone()
    }

    /// The rooms it is in.
    pub fn rooms(&self) -> impl Iterator<Item = &Room> {
        self.rooms.iter().map(|joined| &joined.room)
    }

    /// Whether it would be in too many rooms with these.
    #[must_use]
    pub fn has_room_for(&self, rooms: &[Resume]) -> bool {
        let new = rooms.iter().filter(|resume| self.rooms().all(|room| *room != resume.room)).count();
        self.rooms.len() + new <= MAX_ROOMS
    }

    /// Enters rooms, or enters them again. Answers with why some could not go on, the positions of all, then snapshots;
    /// what comes behind those positions follows.
    pub fn subscribe(&mut self, id: Option<MessageId>, rooms: Vec<Resume>, now: Instant) -> Vec<Bytes> {
        let mut states = Vec::with_capacity(rooms.len());
        let (mut messages, mut snapshots) = (Vec::new(), Vec::new());
        for Resume { room, at } in rooms {
            self.leave(&room);
            let Entered { state, following, reset, snapshot } = self.enter(&room, at.as_ref(), now);
            states.push(state);
            messages.extend(reset);
            snapshots.extend(snapshot);
            self.rooms.push(Joined { room, following });
        }
        messages.push(render(&ServerMessage::Subscribed { id, rooms: states }));
        messages.extend(snapshots);
        // What is there already is sent at once.
        self.woken.notify_one();
        messages
    }

    fn enter(&self, room: &Room, at: Option<&Position>, now: Instant) -> Entered {
        let state = |epoch, offsets, resumed, note| RoomState {
            room: room.name().into_owned(),
            kind: room.kind(),
            epoch,
            offsets,
            resumed,
            note,
        };
        match room.source() {
            Source::Nothing { waits_for } => {
                Entered::new(state(None, Vec::new(), false, Some(waits_for)), Following::Nothing)
            }
            Source::Figures => {
                self.hub.look_at_figures(&self.accounts, self.id, &self.woken);
                let version = self.hub.figures_version(&self.accounts);
                let offsets = vec![Place::at(version)];
                let state = state(Some(self.hub.figures_epoch()), offsets, false, None);
                Entered::new(state, Following::Figures { seen: Seen::default() })
            }
            Source::Reading => {
                let Some(readers) = self.readers() else {
                    let note = Some("nobody is signed in here");
                    return Entered::new(state(None, Vec::new(), false, note), Following::Nothing);
                };
                let position = self.hub.read_states().look(&readers, self.id, &self.woken);
                let (epoch, offset) = position.unzip();
                let offsets = offset.map(Place::at).into_iter().collect();
                Entered::new(state(epoch, offsets, false, None), Following::Reading { readers, seen: 0 })
            }
            Source::Log(feeding) => {
                // Woken for whatever comes behind the position that is read now.
                self.hub.follow(feeding, room.conversation_id(), self.id, &self.woken);
                let view = View::of(room, &self.accounts);
                let ring = self.hub.ring(feeding);
                let (resumed, reset) = match at.map(|position| ring.at(position)) {
                    Some(Ok(cursor)) => (Some(cursor), None),
                    Some(Err(reason)) => {
                        self.hub.note_reset();
                        (None, Some(reset(room, reason)))
                    }
                    None => (None, None),
                };
                let is_resumed = resumed.is_some();
                let (events, snapshot) = match resumed {
                    Some(cursor) => {
                        let ahead_until = ring.is_ahead(&cursor).then(|| now + AHEAD);
                        (Events { feeding, cursor, view, ahead_until, is_snapshot_due: false }, None)
                    }
                    None => Events::begin(feeding, &ring, view),
                };
                let offsets = events.cursor.position().to_vec();
                let state = state(Some(ring.epoch().clone()), offsets, is_resumed, None);
                Entered { state, following: Following::Events(Box::new(events)), reset, snapshot }
            }
        }
    }

    /// Whose state of what is read the connection gets.
    fn readers(&self) -> Option<Readers> {
        Some(Readers { user: self.user.clone()?, accounts: self.accounts.clone() })
    }

    /// Leaves rooms.
    pub fn unsubscribe(&mut self, id: Option<MessageId>, rooms: &[Room], reason: LeaveReason) -> Bytes {
        rooms.iter().for_each(|room| self.leave(room));
        let rooms = rooms.iter().map(|room| room.name().into_owned()).collect();
        render(&ServerMessage::Unsubscribed { id, rooms, reason })
    }

    fn leave(&mut self, room: &Room) {
        let Some(at) = self.rooms.iter().position(|joined| joined.room == *room) else { return };
        match self.rooms.remove(at).following {
            Following::Figures { .. } => self.hub.look_away(&self.accounts, self.id),
            Following::Reading { readers, .. } => self.hub.read_states().look_away(&readers, self.id),
            Following::Events(events) => {
                self.hub.leave(events.feeding, room.conversation_id(), self.id);
            }
            Following::Nothing => {}
        }
    }

    /// Sees these accounts from now on. Events that are on their way are held to it too.
    pub fn see(&mut self, accounts: Accounts) {
        if accounts == self.accounts {
            return;
        }
        let before = std::mem::replace(&mut self.accounts, accounts);
        for joined in &mut self.rooms {
            match &mut joined.following {
                Following::Figures { seen } => {
                    self.hub.look_away(&before, self.id);
                    self.hub.look_at_figures(&self.accounts, self.id, &self.woken);
                    *seen = Seen::default();
                }
                Following::Reading { readers, seen } => {
                    let states = self.hub.read_states();
                    states.look_away(readers, self.id);
                    readers.accounts = self.accounts.clone();
                    states.look(readers, self.id, &self.woken);
                    *seen = 0;
                }
                Following::Events(events) => events.view.accounts = self.accounts.clone(),
                Following::Nothing => {}
            }
        }
        self.woken.notify_one();
    }

    /// Gives what is to be sent next: messages until they have so many bytes. With a bound of one byte it is one message,
    /// behind which [`Connection::position_text`] is right.
    pub fn next(&mut self, now: Instant, max_bytes: usize, give: &mut dyn FnMut(Bytes)) -> Progress {
        let mut left = max_bytes;
        let count = self.rooms.len();
        for step in 0..count {
            let index = (self.turn + step) % count;
            if left == 0 {
                self.turn = index;
                return Progress::More;
            }
            match self.next_of(index, now, &mut left, give) {
                Progress::Done => {}
                Progress::More => {
                    self.turn = index + 1;
                    return Progress::More;
                }
                close @ Progress::Close(_) => return close,
            }
        }
        Progress::Done
    }

    fn next_of(
        &mut self,
        index: usize,
        now: Instant,
        left: &mut usize,
        give: &mut dyn FnMut(Bytes),
    ) -> Progress {
        let Some(Joined { room, following }) = self.rooms.get_mut(index) else { return Progress::Done };
        let budget = *left;
        match following {
            Following::Nothing => Progress::Done,
            Following::Figures { seen } => {
                if let Some((message, newest)) = self.hub.figures_since(&self.accounts, *seen) {
                    // The first one is of all figures, whatever came before.
                    let missed = match seen.version() {
                        0 => 0,
                        before => newest.version().saturating_sub(before + 1),
                    };
                    self.hub.note_skipped_figures(missed);
                    *seen = newest;
                    *left = left.saturating_sub(message.len());
                    give(message);
                }
                Progress::Done
            }
            Following::Reading { readers, seen } => {
                if let Some((message, version)) = self.hub.read_states().since(readers, *seen) {
                    *seen = version;
                    *left = left.saturating_sub(message.len());
                    give(message);
                }
                Progress::Done
            }
            Following::Events(events) => {
                let ring = self.hub.ring(events.feeding);
                let mut give = |message: Bytes| {
                    *left = left.saturating_sub(message.len());
                    give(message);
                };
                match events.next(&ring, now, budget, &mut give) {
                    Ok(progress) => progress,
                    Err(reason) => {
                        self.hub.note_reset();
                        let snapshot;
                        (**events, snapshot) = Events::begin(events.feeding, &ring, events.view.clone());
                        give(reset(room, reason));
                        // A snapshot that comes later brings its position with it: who is cut before that gets one.
                        if let Some(snapshot) = snapshot {
                            give(position(room, ring.epoch(), events.cursor.position()));
                            give(snapshot);
                        }
                        Progress::Done
                    }
                }
            }
        }
    }

    /// Whether it has fallen so far behind that it is to be closed, while what it was given is still on its way.
    #[must_use]
    pub fn is_too_far_behind(&self) -> bool {
        self.rooms.iter().any(|joined| match &joined.following {
            Following::Events(events) => events.is_too_far_behind(&self.hub.ring(events.feeding)),
            Following::Figures { .. } | Following::Reading { .. } | Following::Nothing => false,
        })
    }

    /// When to look again though nothing woke it.
    #[must_use]
    pub fn look_again_at(&self) -> Option<Instant> {
        let deadlines = self.rooms.iter().filter_map(|joined| match &joined.following {
            Following::Events(events) => events.ahead_until,
            Following::Figures { .. } | Following::Reading { .. } | Following::Nothing => None,
        });
        deadlines.min()
    }

    /// The answer to a question for the figures. It may be newer than the updates, and these say only what changed from one to
    /// the next: so the next one is given whole to who follows them.
    pub fn figures_answer(&mut self, id: Option<MessageId>, figures: Box<RawValue>) -> Bytes {
        for joined in &mut self.rooms {
            if let Following::Figures { seen } = &mut joined.following {
                *seen = self.hub.figures_beside(&self.accounts, *seen);
            }
        }
        render(&ServerMessage::MetricsUpdate {
            room: Room::Dashboard.name().into_owned(),
            epoch: self.hub.figures_epoch(),
            offset: self.hub.figures_version(&self.accounts),
            partial: false,
            id,
            data: figures,
        })
    }

    /// Messages that say up to where everything was given, which is nowhere before a snapshot.
    pub fn tell_positions(&self) -> Vec<Bytes> {
        let told = self.rooms.iter().filter_map(|joined| match &joined.following {
            Following::Events(events) => {
                let ring = self.hub.ring(events.feeding);
                let is_told = ring.is_of_this_life(&events.cursor) && !events.is_snapshot_due;
                is_told.then(|| position(&joined.room, ring.epoch(), events.cursor.position()))
            }
            Following::Figures { seen } => {
                let epoch = self.hub.figures_epoch();
                Some(position(&joined.room, &epoch, &[Place::at(seen.version())]))
            }
            Following::Reading { .. } | Following::Nothing => None,
        });
        told.collect()
    }

    /// Where it is in all its rooms, as one line: what [`Position::read_all`] reads. `None` where it would be longer than is
    /// read.
    #[must_use]
    pub fn position_text(&self) -> Option<String> {
        let positions: Positions = self
            .rooms
            .iter()
            .filter_map(|joined| match &joined.following {
                Following::Events(events) => {
                    let ring = self.hub.ring(events.feeding);
                    // Who comes back before its snapshot was sent gets one.
                    let is_known = ring.is_of_this_life(&events.cursor) && !events.is_snapshot_due;
                    is_known.then(|| {
                        let offsets = events.cursor.position().to_vec();
                        (joined.room.clone(), Position { epoch: ring.epoch().to_string(), offsets })
                    })
                }
                Following::Figures { .. } | Following::Reading { .. } | Following::Nothing => None,
            })
            .collect();
        to_text(&positions)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let rooms: Vec<Room> = self.rooms().cloned().collect();
        rooms.iter().for_each(|room| self.leave(room));
    }
}

fn reset(room: &Room, reason: ResetReason) -> Bytes {
    render(&ServerMessage::Reset { room: room.name().into_owned(), reason })
}

fn position(room: &Room, epoch: &Arc<str>, offsets: &[Place]) -> Bytes {
    let (room, epoch) = (room.name().into_owned(), epoch.clone());
    render(&ServerMessage::Position { room, epoch, offsets: offsets.to_vec() })
}

#[cfg(test)]
mod alert_tests;
#[cfg(test)]
mod tests;
